"""The text tower: a causal transformer whose state at the end token is the text's vector."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from clip_lab.model.config import TextConfig
from clip_lab.model.transformer import LayerNorm, Transformer

WORTH_SHARING = 64  # tokens: below that, a pass of its own for a shared beginning costs more


class TextTransformer(nn.Module):
    """Token ids to vectors (paper 2.4: the end token's state, normalised, then projected)."""

    def __init__(self, config: TextConfig, embed_dim: int, activation: str, norm_eps: float):
        super().__init__()
        self.config = config
        width = config.width
        self.token_embedding = nn.Embedding(config.vocab_size, width)
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        self.positional_embedding = nn.Parameter(0.01 * torch.randn(config.context_length, width))
        self.transformer = Transformer(config, config.activation or activation, norm_eps)
        self.ln_final = LayerNorm(width, norm_eps)
        self.text_projection = nn.Parameter(width**-0.5 * torch.randn(width, embed_dim))
        if config.pooling == "last":
            self.text_projection_bias = nn.Parameter(torch.zeros(embed_dim))

    def forward(self, tokens: Int[Tensor, "batch context"]) -> Float[Tensor, "batch embed_dim"]:
        """Each row holds one end token; whatever follows it is padding."""
        if self.config.pooling == "last":
            return self._read_last(tokens)
        return self.ln_final(self._read_causally(tokens)) @ self.text_projection

    def _read_causally(self, tokens: Int[Tensor, "batch context"]) -> Float[Tensor, "batch width"]:
        """The mask is causal: a state depends on what stands before it alone. Two savings follow.

        Nothing after a text's end can reach its vector, so the batch is cut at its last end token.
        And where all texts begin alike ("a photo of a ..."), their states there are the same: they
        are computed once.
        """
        ends = end_positions(tokens, self.config.end_token)
        x = self._embed(tokens[:, : int(ends.max()) + 1])  # (B, T, C)
        place = torch.arange(x.shape[1], device=x.device)
        mask = place <= place[:, None]  # (T, T): row by row, whom a token sees
        shared = shared_beginning(tokens, ends)
        if shared * (len(x) - 1) < WORTH_SHARING:
            return self.transformer.one(x, ends, mask)
        before = self.transformer.keys_values(x[:1, :shared], mask[:shared, :shared])
        return self.transformer.one(x[:, shared:], ends - shared, mask[shared:], before)

    def _read_last(self, tokens: Int[Tensor, "batch context"]) -> Float[Tensor, "batch embed_dim"]:
        """SigLIP: every token sees every other, padding too; the last position is read."""
        last = torch.full((len(tokens),), tokens.shape[1] - 1, device=tokens.device)
        x = self.ln_final(self.transformer.one(self._embed(tokens), last))
        return x @ self.text_projection + self.text_projection_bias

    def _embed(self, tokens: Int[Tensor, "batch length"]) -> Float[Tensor, "batch length width"]:
        x = self.token_embedding(tokens)
        return x + self.positional_embedding[: tokens.shape[1]].to(x.dtype)


def end_positions(tokens: Int[Tensor, "batch context"], end_token: int) -> Int[Tensor, "batch"]:
    """Where each text ends: its first end token, found by equality.

    (OpenAI's code takes the largest id, which fails once a token is added above the end token.)
    Raises ValueError where a row has none.
    """
    is_end = tokens == end_token
    if not is_end.any(dim=1).all():
        raise ValueError(
            f"A row of tokens has no end token ({end_token}): its text was cut off, or was made "
            "by a tokenizer that doesn't belong to this model."
        )
    return is_end.int().argmax(dim=1)


def shared_beginning(tokens: Int[Tensor, "batch context"], ends: Int[Tensor, "batch"]) -> int:
    """With how many tokens all texts begin alike; each keeps at least its end for itself."""
    alike = (tokens == tokens[0]).all(dim=0).int().cumprod(dim=0).sum()
    return int(torch.minimum(alike, ends.min()))
