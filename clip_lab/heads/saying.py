"""From a trained caption head to captions: word by word, always the likeliest."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from clip_lab.heads.captions import CaptionHead, token_states
from clip_lab.model.text import TextTransformer


@torch.no_grad()
def say(
    head: CaptionHead,
    text: TextTransformer,
    places: Float[Tensor, "pictures places features"],
    start: int,
) -> Int[Tensor, "pictures context"]:
    """A row of tokens a picture, from the start token to the end token and padded with more ends.

    What is said becomes what is read, until every row has said its end or the context is full.
    """
    end = text.config.end_token
    tokens = torch.full((len(places), text.config.context_length), end, device=places.device)
    tokens[:, 0] = start
    for place in range(1, tokens.shape[1] - 1):
        # The states are causal: the end that stands at `place` for now changes none before it.
        states = token_states(text, tokens[:, : place + 1])[:, :place]
        following = head(places, states)[:, -1].argmax(dim=-1)
        over = (tokens[:, 1:place] == end).any(dim=1)
        tokens[:, place] = torch.where(over, end, following)
        if (over | (following == end)).all():
            break
    return tokens
