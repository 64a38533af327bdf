"""BERT (Devlin et al. 2018, arXiv 1810.04805): the text tower of Chinese-CLIP (arXiv 2211.01335).

Three things differ from CLIP's own tower: every token sees every other, each half of a block is
normalised after it is added (Post-LN), and the vector is read at the first token, [CLS].
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from clip_lab.model.config import BertConfig
from clip_lab.model.transformer import LayerNorm, ResidualAttentionBlock

EPS = 1e-12


class PostNormBlock(ResidualAttentionBlock):
    """LN(x + attention(x)), then LN(x + MLP(x)): the same parts, the other order."""

    def forward(
        self, x: Float[Tensor, "batch tokens width"], mask: Bool[Tensor, "batch 1 1 tokens"]
    ) -> Float[Tensor, "batch tokens width"]:
        x = self.ln_1(x + self.attn(x, mask))
        return self.ln_2(x + self.mlp(x))


class BertTransformer(nn.Module):
    """Token ids to vectors: WordPiece tokens, [CLS] first, padded at the end."""

    def __init__(self, config: BertConfig, embed_dim: int):
        super().__init__()
        width = config.width
        self.pad_token = config.pad_token
        self.token_embedding = nn.Embedding(config.vocab_size, width)
        self.positional_embedding = nn.Parameter(0.02 * torch.randn(config.positions, width))
        # BERT tells two sentences apart by these; a caption is always the first.
        self.type_embedding = nn.Parameter(0.02 * torch.randn(2, width))
        self.ln_pre = LayerNorm(width, EPS)
        self.resblocks = nn.ModuleList(
            PostNormBlock(config, "gelu", EPS) for _ in range(config.layers)
        )
        self.text_projection = nn.Parameter(width**-0.5 * torch.randn(width, embed_dim))
        nn.init.normal_(self.token_embedding.weight, std=0.02)

    def forward(self, tokens: Int[Tensor, "batch context"]) -> Float[Tensor, "batch embed_dim"]:
        """No token sees padding, so the batch is cut at its longest text."""
        real = tokens != self.pad_token  # (B, context)
        length = int(real.sum(dim=1).max())
        tokens, mask = tokens[:, :length], real[:, None, None, :length]
        x = self.token_embedding(tokens) + self.positional_embedding[:length]
        x = self.ln_pre(x + self.type_embedding[0])  # (B, T, C)
        for block in self.resblocks:
            x = block(x, mask)
        return x[:, 0] @ self.text_projection
