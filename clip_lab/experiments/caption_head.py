"""A caption head on a CLIP that stays as it is: trained quickly, and judged by what it names."""

from dataclasses import replace

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from clip_lab.data.scene import Thing
from clip_lab.data.shape_captions import SYNONYMS
from clip_lab.dual_encoder import DualEncoder
from clip_lab.experiments.learning import Plan, learn
from clip_lab.heads.captions import CaptionHead, nats_per_token, token_states
from clip_lab.model.text import TextTransformer


def train_head(
    encoder: DualEncoder,
    vectors: Float[Tensor, "pairs embed_dim"],
    tokens: Int[Tensor, "pairs context"],
    plan: Plan,
    seed: int,
) -> CaptionHead:
    """A projector and one block between two frozen towers: only these learn.

    The lower half of the decoder is CLIP's own text tower, as in CoCa; that both towers stay
    frozen is BLIP-2's way (Li et al. 2023, arXiv 2301.12597, 3.1) and LLaVA's first stage.
    """
    text = text_tower(encoder)
    torch.manual_seed(seed)
    head = CaptionHead(encoder.embed_dim, replace(text.config, layers=1))
    generator = Generator().manual_seed(seed)
    with torch.no_grad():
        states = token_states(text, tokens)  # frozen: once for all steps

    def loss(step: int) -> Tensor:
        rows = torch.randint(len(vectors), (plan.batch,), generator=generator)
        logits = head(vectors[rows, None], states[rows])
        return nats_per_token(logits, tokens[rows], text.config.end_token)

    learn(head, loss, plan)
    return head.eval()


def says(text: str, thing: Thing) -> bool:
    """Whether the text names the thing's colour and its shape, in any of their words."""
    text = f" {text} "
    words = ([name, *SYNONYMS.get(name, ())] for name in (thing.colour, thing.shape))
    return all(any(f" {word} " in text for word in names) for names in words)


def text_tower(encoder: DualEncoder) -> TextTransformer:
    assert isinstance(encoder.model.text, TextTransformer)
    return encoder.model.text
