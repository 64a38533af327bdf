"""The one block that both towers share: attention, then a small network, each added to its input.

Pre-LN as in GPT-2 (paper 2.4): each half reads a normalised copy and adds to the residual stream.
Modules carry the names of OpenAI's checkpoints, so that published weights fit without renaming.
"""

from collections import OrderedDict

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


class LayerNorm(nn.LayerNorm):
    """Layer normalisation in float32 whatever comes in: in half precision its sums lose digits."""

    def forward(self, x: Float[Tensor, "*shape width"]) -> Float[Tensor, "*shape width"]:
        weight, bias = self.weight.float(), self.bias.float()
        return F.layer_norm(x.float(), self.normalized_shape, weight, bias, self.eps).to(x.dtype)


class QuickGELU(nn.Module):
    """x · sigmoid(1.702 x), the cheap stand-in for GELU that OpenAI's weights were trained with."""

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return x * torch.sigmoid(1.702 * x)


ACTIVATIONS: dict[str, type[nn.Module]] = {"quick_gelu": QuickGELU, "gelu": nn.GELU}


class Attention(nn.Module):
    """Multi-head self-attention ("Attention is all you need", 3.2.2).

    One matrix, `in_proj_weight`, makes queries, keys and values: its three thirds, in this order.
    """

    def __init__(self, width: int, heads: int, layers: int):
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.randn(3 * width, width) * width**-0.5)
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.normal_(self.out_proj.weight, std=residual_std(width, layers))
        nn.init.zeros_(self.out_proj.bias)

    def forward(
        self, x: Float[Tensor, "batch tokens width"], causal: bool = False
    ) -> Float[Tensor, "batch tokens width"]:
        batch, tokens, width = x.shape
        qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias)  # (B, T, 3C)
        qkv = qkv.view(batch, tokens, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (B, H, T, C/H)
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        return self.out_proj(mixed.transpose(1, 2).reshape(batch, tokens, width))


def residual_std(width: int, layers: int) -> float:
    """Standard deviation for a layer that ends in the residual stream.

    2·layers of them are summed there; dividing by the root of that keeps the sum's variance level.
    """
    return width**-0.5 * (2 * layers) ** -0.5


class ResidualAttentionBlock(nn.Module):
    """x + attention(LN(x)), then x + MLP(LN(x)); the MLP is four times as wide."""

    def __init__(self, width: int, heads: int, layers: int, activation: str):
        super().__init__()
        self.ln_1 = LayerNorm(width)
        self.attn = Attention(width, heads, layers)
        self.ln_2 = LayerNorm(width)
        c_fc, c_proj = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        nn.init.normal_(c_fc.weight, std=(2 * width) ** -0.5)
        nn.init.normal_(c_proj.weight, std=residual_std(width, layers))
        act = ACTIVATIONS[activation]()
        self.mlp = nn.Sequential(OrderedDict(c_fc=c_fc, act=act, c_proj=c_proj))

    def forward(
        self, x: Float[Tensor, "batch tokens width"], causal: bool = False
    ) -> Float[Tensor, "batch tokens width"]:
        x = x + self.attn(self.ln_1(x), causal)
        return x + self.mlp(self.ln_2(x))


class Transformer(nn.Module):
    """`layers` blocks, one after the other. `causal`: a token sees itself and those before it."""

    def __init__(self, width: int, heads: int, layers: int, activation: str, causal: bool):
        super().__init__()
        self.causal = causal
        self.resblocks = nn.ModuleList(
            ResidualAttentionBlock(width, heads, layers, activation) for _ in range(layers)
        )

    def forward(
        self, x: Float[Tensor, "batch tokens width"]
    ) -> Float[Tensor, "batch tokens width"]:
        for block in self.resblocks:
            x = block(x, self.causal)
        return x
