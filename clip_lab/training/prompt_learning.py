"""Learned prompts: CoOp and CoCoOp. The words in front of a class name are found by gradient.

A prompt reaches the text tower as a row of token embeddings, and nothing says that they must be
embeddings of words. CoOp (Zhou et al. 2022a, arXiv 2109.01134) learns M of them from a few labelled
pictures, while both towers stay as they are. CoCoOp (Zhou et al. 2022b, arXiv 2203.05557) adds to
them a vector made from the picture, so that the prompt may differ from picture to picture.
"""

import copy
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from clip_lab.dual_encoder import DualEncoder
from clip_lab.errors import LabError
from clip_lab.model.text import TextTransformer, end_positions


class FrozenText:
    """A text tower that reads embeddings instead of token ids; a locked copy, no module's part.

    Being no `nn.Module`, it hands its weights to no optimiser; being a copy, it leaves the model
    that it came from as it was.
    """

    def __init__(self, encoder: DualEncoder):
        tower = encoder.model.text
        if not isinstance(tower, TextTransformer) or tower.config.pooling != "end":
            raise LabError(
                "Prompts can be learnt for text towers that read from left to right, as CLIP's "
                "does. This model's reads otherwise: choose another model."
            )
        self.tower = copy.deepcopy(tower).requires_grad_(False).eval()
        self.tokenizer = encoder.tokenizer

    @property
    def context_length(self) -> int:
        return self.tower.config.context_length

    def tokens(self, texts: Sequence[str]) -> Int[Tensor, "texts length"]:
        """Ids from the start token to the last end token."""
        tokens = self.tokenizer(list(texts))
        return tokens[:, : int(self.ends(tokens).max()) + 1]

    def ends(self, tokens: Int[Tensor, "texts length"]) -> Int[Tensor, " texts"]:
        return end_positions(tokens, self.tower.config.end_token)

    def embed(self, tokens: Int[Tensor, "*shape"]) -> Float[Tensor, "*shape width"]:
        """Token embeddings, positions not yet added."""
        return self.tower.token_embedding(tokens)

    def words(self, text: str) -> Float[Tensor, "words width"]:
        """The embeddings of a text's tokens, without start and end: a context to begin with."""
        return self.embed(self.tokens([text]))[0, 1:-1].clone()

    def read(
        self, x: Float[Tensor, "rows length width"], ends: Int[Tensor, " rows"]
    ) -> Float[Tensor, "rows embed_dim"]:
        """Unit vectors of rows of embeddings, each read at its own end."""
        length = x.shape[1]
        place = torch.arange(length)
        x = x + self.tower.positional_embedding[:length]
        state = self.tower.transformer.one(x, ends, place <= place[:, None])
        return F.normalize(self.tower.ln_final(state) @ self.tower.text_projection, dim=-1)


class LearnedPrompts(nn.Module):
    """CoOp: t_i = [V]₁ [V]₂ … [V]_M [CLASS]_i, the same M vectors for all classes.

    A picture's logits are cosines with the prompts' vectors, times the model's own scale; training
    minimises their cross-entropy (arXiv 2109.01134, section 3.2). The name stands at the end, where
    CLIP's prompts have it. `name` changes the classes: what was learnt on some is then asked about
    others.

    Args:
        classes: names as they would stand in a prompt, "small red circle".
        context: what to begin with: the embeddings of words (`FrozenText.words`), or noise.

    Raises LabError for a text tower that isn't CLIP's, no classes, or prompts that are too long.
    """

    def __init__(
        self, text: FrozenText, classes: Sequence[str], context: Float[Tensor, "m width"],
        scale: float,
    ):  # fmt: skip
        super().__init__()
        self.text, self.scale = text, scale
        self.context = nn.Parameter(context.clone())
        self.name(classes)

    def name(self, classes: Sequence[str]) -> None:
        """Ask about these classes from now on."""
        if not classes:
            raise LabError("Give at least one class to learn prompts for.")
        tokens = self.text.tokens(classes)
        length = tokens.shape[1] + len(self.context)
        if length > self.text.context_length:
            raise LabError(
                f"With {len(self.context)} learned vectors a prompt has {length} tokens; this "
                f"model reads {self.text.context_length}. Learn fewer vectors."
            )
        self.ends = self.text.ends(tokens) + len(self.context)
        embedded = self.text.embed(tokens)
        self.start, self.rest = embedded[:, :1], embedded[:, 1:]  # (K, 1, C), (K, L − 1, C)

    def prompts(self, context: Float[Tensor, "m width"]) -> Float[Tensor, "classes embed_dim"]:
        """A unit vector a class."""
        between = context.expand(len(self.rest), -1, -1)
        return self.text.read(torch.cat([self.start, between, self.rest], dim=1), self.ends)

    def forward(self, images: Float[Tensor, "batch embed_dim"]) -> Float[Tensor, "batch classes"]:
        """Logits of pictures, given as unit vectors."""
        return self.scale * images @ self.prompts(self.context).T


class ConditionalPrompts(LearnedPrompts):
    """CoCoOp: [V]_m(x) = [V]_m + π, π = h(x), x the picture's vector.

    h, the meta-network, is two layers with a sixteenth of the width between them (arXiv 2203.05557,
    section 3.2). Here its last layer begins at 0, so that both methods begin with the same prompts.
    A prompt for each picture and class costs as many passes of the text tower: that is the method's
    price.
    """

    def __init__(
        self, text: FrozenText, classes: Sequence[str], context: Float[Tensor, "m width"],
        scale: float,
    ):  # fmt: skip
        super().__init__(text, classes, context, scale)
        embed_dim = text.tower.text_projection.shape[1]
        narrow = max(1, embed_dim // 16)
        last = nn.Linear(narrow, context.shape[1])
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        first = nn.Linear(embed_dim, narrow)
        self.meta = nn.Sequential(first, nn.ReLU(), last).to(context.dtype)

    def forward(self, images: Float[Tensor, "batch embed_dim"]) -> Float[Tensor, "batch classes"]:
        """Each picture against prompts of its own, all in one pass."""
        batch, classes = len(images), len(self.rest)
        context = self.context + self.meta(images)[:, None]  # (B, M, C)
        rows = [
            self.start.expand(batch, -1, -1, -1),
            context[:, None].expand(-1, classes, -1, -1),
            self.rest.expand(batch, -1, -1, -1),
        ]
        x = torch.cat(rows, dim=2).flatten(0, 1)  # (B·K, length, C)
        vectors = self.text.read(x, self.ends.repeat(batch)).unflatten(0, (batch, classes))
        return self.scale * torch.einsum("bd,bkd->bk", images, vectors)
