"""The text tower: a causal transformer whose state at the end token is the text's vector."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from clip_lab.model.config import TextConfig
from clip_lab.model.transformer import LayerNorm, Transformer


class TextTransformer(nn.Module):
    """Token ids to vectors (paper 2.4: the end token's state, normalised, then projected)."""

    def __init__(self, config: TextConfig, embed_dim: int, activation: str):
        super().__init__()
        self.end_token = config.end_token
        self.token_embedding = nn.Embedding(config.vocab_size, config.width)
        nn.init.normal_(self.token_embedding.weight, std=0.02)
        self.positional_embedding = nn.Parameter(
            0.01 * torch.randn(config.context_length, config.width)
        )
        self.transformer = Transformer(
            config.width, config.heads, config.layers, activation, causal=True
        )
        self.ln_final = LayerNorm(config.width)
        self.text_projection = nn.Parameter(
            config.width**-0.5 * torch.randn(config.width, embed_dim)
        )

    def forward(self, tokens: Int[Tensor, "batch context"]) -> Float[Tensor, "batch embed_dim"]:
        """Each row holds one end token; whatever follows it is padding.

        The mask is causal, so nothing after a text's end can reach its vector: the batch is cut at
        its last end token, which changes no result and saves most of the work on short captions.
        """
        ends = end_positions(tokens, self.end_token)
        tokens = tokens[:, : int(ends.max()) + 1]  # (B, T)
        x = self.token_embedding(tokens)  # (B, T, C)
        x = x + self.positional_embedding[: x.shape[1]].to(x.dtype)
        x = self.transformer(x)
        x = x[torch.arange(len(x), device=x.device), ends]  # (B, C)
        return self.ln_final(x) @ self.text_projection


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
