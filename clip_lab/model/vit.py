"""Vision Transformer: cut the picture into patches and read them as if they were words.

Dosovitskiy et al. 2021 (arXiv 2010.11929), with CLIP's one change: a LayerNorm before the first
block as well (paper 2.4).
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from clip_lab.model.config import ViTConfig
from clip_lab.model.transformer import LayerNorm, Transformer


class VisionTransformer(nn.Module):
    """Pictures to vectors: patches, positions, transformer, and the class token's last state."""

    def __init__(self, config: ViTConfig, embed_dim: int, activation: str):
        super().__init__()
        patches = (config.image_size // config.patch_size) ** 2
        scale = config.width**-0.5
        # A convolution whose stride is its size is one linear map, applied to every patch.
        self.conv1 = nn.Conv2d(
            3, config.width, config.patch_size, stride=config.patch_size, bias=False
        )
        self.class_embedding = nn.Parameter(scale * torch.randn(config.width))
        self.positional_embedding = nn.Parameter(scale * torch.randn(patches + 1, config.width))
        self.ln_pre = LayerNorm(config.width)
        self.transformer = Transformer(
            config.width, config.heads, config.layers, activation, causal=False
        )
        self.ln_post = LayerNorm(config.width)
        self.proj = nn.Parameter(scale * torch.randn(config.width, embed_dim))

    def forward(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch embed_dim"]:
        x = self.conv1(images)  # (B, C, H/P, W/P)
        x = x.flatten(2).transpose(1, 2)  # (B, patches, C)
        class_token = self.class_embedding.to(x.dtype).expand(x.shape[0], 1, -1)
        x = torch.cat([class_token, x], dim=1)  # (B, 1 + patches, C)
        x = x + self.positional_embedding.to(x.dtype)
        x = self.transformer(self.ln_pre(x))
        return self.ln_post(x[:, 0]) @ self.proj  # the class token's state, (B, E)
