"""A caption head: it has read the words so far, looks at the picture, and says what comes next.

VirTex (Desai & Johnson 2021, arXiv 2006.06666, section 3) trains an image tower through such a head
alone. CoCa (Yu et al. 2022, arXiv 2205.01917, section 3.2) has it beside the contrast: the lower
layers of its decoder read text only, and their last state is the text's vector; the upper layers
look at the picture. Here CLIP's own text tower, which is causal, is the lower half.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from clip_lab.model import CLIP
from clip_lab.model.config import TextConfig
from clip_lab.model.text import TextTransformer, end_positions
from clip_lab.model.transformer import Attention, LayerNorm, mlp

ACTIVATION, NORM_EPS = "gelu", 1e-5


class LookingBlock(nn.Module):
    """The transformer's block with a step between: each word asks, the picture's places answer.

    ("Attention is all you need", 3.2.3, second kind.)
    """

    def __init__(self, config: TextConfig):
        super().__init__()
        width, heads = config.width, config.width // config.head_width
        self.ln_1, self.ln_look, self.ln_2 = (LayerNorm(width, NORM_EPS) for _ in range(3))
        self.attn = Attention(width, heads, config.layers)
        self.look = Attention(width, heads, config.layers)
        self.mlp = mlp(width, config.mlp_width, config.layers, ACTIVATION)

    def forward(
        self,
        x: Float[Tensor, "batch length width"],
        places: Float[Tensor, "batch places width"],
        mask: Bool[Tensor, "length length"],
    ) -> Float[Tensor, "batch length width"]:
        x = x + self.attn(self.ln_1(x), mask)
        x = x + self.look(places, asking=self.ln_look(x))
        return x + self.mlp(self.ln_2(x))


class CaptionHead(nn.Module):
    """States of the words so far and a picture's places to logits of the word that follows each.

    `features` is the width of what the image tower gives for each place; `config` is the text
    tower's, with this head's own number of layers.
    """

    def __init__(self, features: int, config: TextConfig):
        super().__init__()
        self.see = nn.Linear(features, config.width)
        self.blocks: Any = nn.ModuleList(LookingBlock(config) for _ in range(config.layers))
        self.ln_final = LayerNorm(config.width, NORM_EPS)
        self.next_word = nn.Linear(config.width, config.vocab_size)

    def forward(
        self,
        places: Float[Tensor, "batch places features"],
        states: Float[Tensor, "batch length width"],
    ) -> Float[Tensor, "batch length vocabulary"]:
        mask = causal_mask(states)
        seen = self.see(places)  # (B, places, C)
        for block in self.blocks:
            states = block(states, seen, mask)
        return self.next_word(self.ln_final(states))


class Captioned(NamedTuple):
    """Everything that a batch's losses are made of. Vectors have any length."""

    images: Float[Tensor, "batch embed_dim"]
    texts: Float[Tensor, "batch embed_dim"]
    logits: Float[Tensor, "batch length vocabulary"]


class Captioner(nn.Module):
    """A CLIP with a caption head (CoCa, figure 2): one pass of each tower serves both losses.

    The head sees what CLIP sees: the picture's one vector. (CoCa gives it 256 places.)
    """

    def __init__(self, model: CLIP, layers: int = 1):
        super().__init__()
        assert isinstance(model.config.text, TextConfig)
        self.model = model
        self.head = CaptionHead(model.config.embed_dim, replace(model.config.text, layers=layers))

    @property
    def text(self) -> TextTransformer:
        assert isinstance(self.model.text, TextTransformer)
        return self.model.text

    def forward(
        self, images: Float[Tensor, "batch 3 height width"], tokens: Int[Tensor, "batch context"]
    ) -> Captioned:
        vectors = self.model.encode_image(images)
        states = token_states(self.text, tokens)
        logits = self.head(vectors[:, None], states)
        return Captioned(vectors, text_vectors(self.text, states, tokens), logits)


# -- what the text tower knows after each word ----------------------------------------------------


def token_states(
    text: TextTransformer, tokens: Int[Tensor, "batch context"]
) -> Float[Tensor, "batch length width"]:
    """The state at every token, cut at the batch's last end; each knows only what stands before.

    (`text` itself gives the end token's alone, which is all that CLIP needs.)
    """
    length = int(end_positions(tokens, text.config.end_token).max()) + 1
    x = text.token_embedding(tokens[:, :length]) + text.positional_embedding[:length]
    return text.transformer(x, causal_mask(x))


def text_vectors(
    text: TextTransformer,
    states: Float[Tensor, "batch length width"],
    tokens: Int[Tensor, "batch context"],
) -> Float[Tensor, "batch embed_dim"]:
    """CLIP's text vectors, from states that were computed anyway."""
    ends = end_positions(tokens, text.config.end_token)
    return text.ln_final(states[torch.arange(len(states)), ends]) @ text.text_projection


def causal_mask(x: Float[Tensor, "batch length width"]) -> Bool[Tensor, "length length"]:
    """Row by row, whom a token sees: itself and those before it."""
    place = torch.arange(x.shape[1], device=x.device)
    return place <= place[:, None]


# -- how likely a caption is ----------------------------------------------------------------------


def log_probabilities(
    logits: Float[Tensor, "batch length vocabulary"], tokens: Int[Tensor, "batch context"], end: int
) -> Float[Tensor, "batch following"]:
    """log p(next token | those before, picture) for all but the first; 0 after a text's end.

    The end token counts: a caption also has to say when it is over.
    """
    following = tokens[:, 1 : logits.shape[1]]
    chosen = logits[:, :-1].log_softmax(dim=-1).gather(2, following[..., None])[..., 0]
    place = torch.arange(1, logits.shape[1], device=tokens.device)
    return chosen * (place <= end_positions(tokens, end)[:, None])


def nats_per_token(
    logits: Float[Tensor, "batch length vocabulary"], tokens: Int[Tensor, "batch context"], end: int
) -> Float[Tensor, ""]:
    """The captioning loss (CoCa, equation 3), as a mean over all tokens of all captions."""
    return -log_probabilities(logits, tokens, end).sum() / end_positions(tokens, end).sum()


@torch.inference_mode()
def caption_scores(
    captioner: Captioner,
    vectors: Float[Tensor, "pictures embed_dim"],
    tokens: Int[Tensor, "texts context"],
    at_once: int = 32,
) -> Float[Tensor, "pictures texts"]:
    """log p(text | picture) of every text for every picture, `at_once` pictures at a time.

    The text tower reads each text once; only the head must see every pair. A longer text scores
    lower, so compare texts of like length.
    """
    states = token_states(captioner.text, tokens)
    rows = []
    for some in vectors.split(at_once):
        pairs = some.repeat_interleave(len(tokens), dim=0)[:, None]
        logits = captioner.head(pairs, states.repeat(len(some), 1, 1))
        every = log_probabilities(
            logits, tokens.repeat(len(some), 1), captioner.text.config.end_token
        )
        rows.append(every.sum(dim=1).unflatten(0, (len(some), len(tokens))))
    return torch.cat(rows)
