"""Vision Transformer: cut the picture into patches and read them as if they were words.

Dosovitskiy et al. 2021 (arXiv 2010.11929), with CLIP's one change: a LayerNorm before the first
block as well (paper 2.4). SigLIP has none of that, and no class token: a query of its own, learnt
in training, gathers the picture from its patches (Zhai et al. 2022, arXiv 2106.04560, 3.2).
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from clip_lab.model.config import ViTConfig
from clip_lab.model.transformer import Attention, LayerNorm, Transformer, mlp


class VisionTransformer(nn.Module):
    """Pictures to vectors: patches, positions, transformer, and the class token's last state."""

    def __init__(self, config: ViTConfig, embed_dim: int, activation: str, norm_eps: float):
        super().__init__()
        patches, width = (config.image_size // config.patch_size) ** 2, config.width
        scale = width**-0.5
        self.has_class = config.pooling == "class"
        # A convolution whose stride is its size is one linear map, applied to every patch.
        self.conv1 = nn.Conv2d(
            3, width, config.patch_size, stride=config.patch_size, bias=not self.has_class
        )
        positions = patches + self.has_class
        self.positional_embedding = nn.Parameter(scale * torch.randn(positions, width))
        self.transformer = Transformer(config, activation, norm_eps)
        self.ln_post = LayerNorm(width, norm_eps)
        if self.has_class:
            self.class_embedding = nn.Parameter(scale * torch.randn(width))
            self.ln_pre = LayerNorm(width, norm_eps)
            self.proj = nn.Parameter(scale * torch.randn(width, embed_dim))
        else:
            self.attnpool = AttentionPool(config, activation, norm_eps)

    def forward(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch embed_dim"]:
        x = self.conv1(images)  # (B, C, H/P, W/P)
        x = x.flatten(2).transpose(1, 2)  # (B, patches, C)
        if not self.has_class:
            x = self.transformer(x + self.positional_embedding.to(x.dtype))
            return self.attnpool(self.ln_post(x))
        class_token = self.class_embedding.to(x.dtype).expand(len(x), 1, -1)
        x = torch.cat([class_token, x], dim=1)  # (B, 1 + patches, C)
        x = self.ln_pre(x + self.positional_embedding.to(x.dtype))
        first = torch.zeros(len(x), dtype=torch.long, device=x.device)
        x = self.transformer.one(x, first)  # the class token's state, (B, C)
        return self.ln_post(x) @ self.proj


class AttentionPool(nn.Module):
    """SigLIP's ending: one learned query asks all patches, and a small network follows."""

    def __init__(self, config: ViTConfig, activation: str, norm_eps: float):
        super().__init__()
        self.probe = nn.Parameter(config.width**-0.5 * torch.randn(config.width))
        self.attn = Attention(config.width, config.width // config.head_width, config.layers)
        self.ln = LayerNorm(config.width, norm_eps)
        self.mlp = mlp(config.width, config.mlp_width, config.layers, activation)

    def forward(self, x: Float[Tensor, "batch patches width"]) -> Float[Tensor, "batch width"]:
        probe = self.probe.to(x.dtype).expand(len(x), 1, -1)
        x = self.attn(x, asking=probe)[:, 0]
        return x + self.mlp(self.ln(x))
