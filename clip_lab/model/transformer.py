"""The one block that all towers share: attention, then a small network, each added to its input.

Pre-LN as in GPT-2 (paper 2.4): each half reads a normalised copy and adds to the residual stream.
Modules carry the names of OpenAI's checkpoints, so that published weights fit without renaming.
"""

from collections import OrderedDict
from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from clip_lab.model.config import BertConfig, TextConfig, ViTConfig

TransformerConfig = ViTConfig | TextConfig | BertConfig
KeysValues = tuple[Float[Tensor, "1 heads before _"], Float[Tensor, "1 heads before _"]]


class LayerNorm(nn.LayerNorm):
    """Layer normalisation in float32 at least: in half precision its sums would lose digits."""

    def forward(self, x: Float[Tensor, "*shape width"]) -> Float[Tensor, "*shape width"]:
        dtype = torch.promote_types(x.dtype, torch.float32)
        weight, bias = self.weight.to(dtype), self.bias.to(dtype)
        return F.layer_norm(x.to(dtype), self.normalized_shape, weight, bias, self.eps).to(x.dtype)


class QuickGELU(nn.Module):
    """x · sigmoid(1.702 x), the cheap stand-in for GELU that OpenAI's weights were trained with.

    Written as silu(1.702 x) / 1.702, since that can be done in place: moving memory is its cost.
    """

    def forward(self, x: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
        return F.silu(1.702 * x, inplace=True).mul_(1 / 1.702)


ACTIVATIONS = {
    "quick_gelu": QuickGELU,
    "gelu": nn.GELU,
    "gelu_tanh": partial(nn.GELU, approximate="tanh"),
}


class Attention(nn.Module):
    """Multi-head attention ("Attention is all you need", 3.2.2).

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
        self,
        x: Float[Tensor, "batch tokens width"],
        mask: Bool[Tensor, "... _ keys"] | None = None,
        asking: Float[Tensor, "batch queries width"] | None = None,
        before: KeysValues | None = None,
    ) -> Float[Tensor, "batch queries width"]:
        """Each token asks, all tokens of x answer that `mask` lets it see (None: all of them).

        `asking`: other vectors that ask instead. `before`: keys and values of tokens that stand
        before x in every row of the batch, and answer too.
        """
        if asking is None:
            q, k, v = self._project(x, 0, 3)
        else:
            (q,), (k, v) = self._project(asking, 0, 1), self._project(x, 1, 3)
        if before is not None:
            k = torch.cat([before[0].expand(len(x), -1, -1, -1), k], dim=2)
            v = torch.cat([before[1].expand(len(x), -1, -1, -1), v], dim=2)
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)  # (B, H, queries, C/H)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))

    def keys_values(self, x: Float[Tensor, "batch tokens width"]) -> KeysValues:
        """What these tokens answer with."""
        k, v = self._project(x, 1, 3)
        return k, v

    def _project(
        self, x: Float[Tensor, "batch tokens width"], start: int, stop: int
    ) -> Float[Tensor, "thirds batch heads tokens _"]:
        rows = slice(start * x.shape[2], stop * x.shape[2])  # of the three thirds, these
        out = F.linear(x, self.in_proj_weight[rows], self.in_proj_bias[rows])  # (B, T, thirds·C)
        return out.unflatten(2, (stop - start, self.heads, -1)).permute(2, 0, 3, 1, 4)


def residual_std(width: int, layers: int) -> float:
    """Standard deviation for a layer that ends in the residual stream.

    2·layers of them are summed there; dividing by the root of that keeps the sum's variance level.
    """
    return width**-0.5 * (2 * layers) ** -0.5


def mlp(width: int, hidden: int | None, layers: int, activation: str) -> nn.Sequential:
    """Two layers, four times as wide between them unless `hidden` says otherwise."""
    hidden = hidden or 4 * width
    c_fc, c_proj = nn.Linear(width, hidden), nn.Linear(hidden, width)
    nn.init.normal_(c_fc.weight, std=(2 * width) ** -0.5)
    nn.init.normal_(c_proj.weight, std=residual_std(width, layers))
    return nn.Sequential(OrderedDict(c_fc=c_fc, act=ACTIVATIONS[activation](), c_proj=c_proj))


class ResidualAttentionBlock(nn.Module):
    """x + attention(LN(x)), then x + MLP(LN(x))."""

    def __init__(self, config: TransformerConfig, activation: str, norm_eps: float):
        super().__init__()
        self.ln_1 = LayerNorm(config.width, norm_eps)
        self.attn = Attention(config.width, config.width // config.head_width, config.layers)
        self.ln_2 = LayerNorm(config.width, norm_eps)
        self.mlp = mlp(config.width, config.mlp_width, config.layers, activation)

    def forward(
        self,
        x: Float[Tensor, "batch tokens width"],
        mask: Bool[Tensor, "... _ keys"] | None = None,
        before: KeysValues | None = None,
    ) -> Float[Tensor, "batch tokens width"]:
        x = x + self.attn(self.ln_1(x), mask, before=before)
        return x + self.mlp(self.ln_2(x))

    def one(
        self,
        x: Float[Tensor, "batch tokens width"],
        place: Int[Tensor, "batch"],
        mask: Bool[Tensor, "tokens keys"] | None = None,
        before: KeysValues | None = None,
    ) -> Float[Tensor, "batch width"]:
        """The same, for one token a row alone: it asks, all answer."""
        rows, normed = torch.arange(len(x), device=x.device), self.ln_1(x)
        sees = None if mask is None else mask[place][:, None, None]  # (B, 1, 1, keys)
        x, asking = x[rows, place][:, None], normed[rows, place][:, None]  # (B, 1, C)
        x = x + self.attn(normed, sees, asking, before)
        return (x + self.mlp(self.ln_2(x)))[:, 0]


class Transformer(nn.Module):
    """`layers` blocks, one after the other."""

    def __init__(self, config: TransformerConfig, activation: str, norm_eps: float):
        super().__init__()
        blocks = [
            ResidualAttentionBlock(config, activation, norm_eps) for _ in range(config.layers)
        ]
        self.resblocks: Any = nn.ModuleList(blocks)

    def forward(
        self,
        x: Float[Tensor, "batch tokens width"],
        mask: Bool[Tensor, "tokens keys"] | None = None,
    ) -> Float[Tensor, "batch tokens width"]:
        for block in self.resblocks:
            x = block(x, mask)
        return x

    def one(
        self,
        x: Float[Tensor, "batch tokens width"],
        place: Int[Tensor, "batch"],
        mask: Bool[Tensor, "tokens keys"] | None = None,
        before: Sequence[KeysValues | None] | None = None,
    ) -> Float[Tensor, "batch width"]:
        """The last state of one token a row: the last block needn't work for the others."""
        before = before or [None] * len(self.resblocks)
        for block, earlier in zip(self.resblocks[:-1], before[:-1], strict=True):
            x = block(x, mask, earlier)
        return self.resblocks[-1].one(x, place, mask, before[-1])

    def keys_values(
        self, x: Float[Tensor, "batch tokens width"], mask: Bool[Tensor, "tokens tokens"]
    ) -> list[KeysValues]:
        """What each block's keys and values of x are, for tokens that come after x."""
        kept = []
        for block in self.resblocks:
            kept.append(block.attn.keys_values(block.ln_1(x)))
            x = block(x, mask)
        return kept
