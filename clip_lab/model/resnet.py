"""The paper's modified ResNet (2.4): three changes to He et al.'s network (arXiv 1512.03385).

A stem of three 3×3 convolutions; blurred strides (average-pool, then convolve: Zhang 2019); and
at the end, instead of an average over the picture, attention with the mean as its question.
"""

from collections import OrderedDict

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from clip_lab.model.config import ResNetConfig


def _conv3(channels_in: int, channels_out: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(channels_in, channels_out, 3, stride=stride, padding=1, bias=False)


class Bottleneck(nn.Module):
    """1×1 down, 3×3, 1×1 up to four times the channels, added to a shortcut."""

    expansion = 4

    def __init__(self, channels_in: int, channels: int, stride: int):
        super().__init__()
        channels_out = channels * self.expansion
        self.conv1 = nn.Conv2d(channels_in, channels, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = _conv3(channels, channels)
        self.bn2 = nn.BatchNorm2d(channels)
        # Every convolution has stride 1: shrinking is left to a pool, which doesn't alias.
        self.pool = nn.AvgPool2d(stride) if stride > 1 else nn.Identity()
        self.conv3 = nn.Conv2d(channels, channels_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(channels_out)
        nn.init.zeros_(self.bn3.weight)  # each block starts as the identity
        self.downsample = None
        if stride > 1 or channels_in != channels_out:
            shortcut: OrderedDict[str, nn.Module] = OrderedDict(pool=nn.AvgPool2d(stride))
            shortcut["0"] = nn.Conv2d(channels_in, channels_out, 1, bias=False)
            shortcut["1"] = nn.BatchNorm2d(channels_out)
            self.downsample = nn.Sequential(shortcut)

    def forward(
        self, x: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch _ _ _"]:
        shortcut = x if self.downsample is None else self.downsample(x)
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.pool(F.relu(self.bn2(self.conv2(x))))
        return F.relu(self.bn3(self.conv3(x)) + shortcut)


class AttentionPool2d(nn.Module):
    """One attention layer in which the mean of all places asks, and every place answers.

    A plain average weighs every place alike; here the picture decides which places count.
    """

    def __init__(self, side: int, width: int, heads: int, embed_dim: int):
        super().__init__()
        self.heads = heads
        scale = width**-0.5
        self.positional_embedding = nn.Parameter(scale * torch.randn(side * side + 1, width))
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, width)
        self.v_proj = nn.Linear(width, width)
        self.c_proj = nn.Linear(width, embed_dim)
        for layer in (self.q_proj, self.k_proj, self.v_proj, self.c_proj):
            nn.init.normal_(layer.weight, std=scale)

    def forward(
        self, x: Float[Tensor, "batch width side side"]
    ) -> Float[Tensor, "batch embed_dim"]:
        x = x.flatten(2).transpose(1, 2)  # (B, places, C)
        x = torch.cat([x.mean(dim=1, keepdim=True), x], dim=1)  # (B, 1 + places, C)
        x = x + self.positional_embedding.to(x.dtype)
        q = self._split(self.q_proj(x[:, :1]))  # (B, H, 1, C/H): the mean alone asks
        k, v = self._split(self.k_proj(x)), self._split(self.v_proj(x))
        pooled = F.scaled_dot_product_attention(q, k, v)  # (B, H, 1, C/H)
        return self.c_proj(pooled.flatten(1))

    def _split(
        self, x: Float[Tensor, "batch tokens width"]
    ) -> Float[Tensor, "batch heads tokens _"]:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


class ModifiedResNet(nn.Module):
    """Pictures to vectors: stem, four stages that each halve the side (but the first), pooling."""

    def __init__(self, config: ResNetConfig, embed_dim: int):
        super().__init__()
        width = config.width
        self.conv1 = _conv3(3, width // 2, stride=2)
        self.bn1 = nn.BatchNorm2d(width // 2)
        self.conv2 = _conv3(width // 2, width // 2)
        self.bn2 = nn.BatchNorm2d(width // 2)
        self.conv3 = _conv3(width // 2, width)
        self.bn3 = nn.BatchNorm2d(width)
        self.avgpool = nn.AvgPool2d(2)
        self.layer1 = self._stage(width, width, config.layers[0], stride=1)
        self.layer2 = self._stage(width * 4, width * 2, config.layers[1], stride=2)
        self.layer3 = self._stage(width * 8, width * 4, config.layers[2], stride=2)
        self.layer4 = self._stage(width * 16, width * 8, config.layers[3], stride=2)
        self.attnpool = AttentionPool2d(
            config.image_size // 32, width * 32, config.heads, embed_dim
        )

    @staticmethod
    def _stage(channels_in: int, channels: int, blocks: int, stride: int) -> nn.Sequential:
        first = Bottleneck(channels_in, channels, stride)
        rest = [Bottleneck(channels * 4, channels, 1) for _ in range(blocks - 1)]
        return nn.Sequential(first, *rest)

    def forward(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch embed_dim"]:
        x = F.relu(self.bn1(self.conv1(images)))  # (B, W/2, H/2, W/2)
        x = F.relu(self.bn2(self.conv2(x)))
        x = self.avgpool(F.relu(self.bn3(self.conv3(x))))  # a quarter of the side
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
        return self.attnpool(x)  # from (B, 32·width, side/32, side/32)
