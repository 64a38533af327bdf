"""How big each part is: a handful of numbers describe any CLIP, and its nearest kin.

The nine published models are tables 19 and 20 of the paper (arXiv 2103.00020). The lab's own are
the same architecture at a size that two processor cores can train. Fields with a default are where
the largest OpenCLIP models, SigLIP (arXiv 2303.15343) and Chinese-CLIP (2211.01335) differ.
"""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class ViTConfig:
    """A Vision Transformer (paper 2.4): square patches, each a token, and one class token."""

    image_size: int  # pixels a side
    patch_size: int  # pixels a side
    width: int  # channels of each token; a multiple of head_width
    layers: int
    head_width: int = 64
    mlp_width: int | None = None  # None: four times the width
    pooling: str = "class"  # or "attention": no class token; a learned query pools (SigLIP)


@dataclass(frozen=True)
class ResNetConfig:
    """The paper's modified ResNet (2.4): `layers` blocks in each of four stages."""

    image_size: int  # pixels a side; a multiple of 32
    layers: tuple[int, int, int, int]
    width: int  # channels after the stem; the last stage has 32 times as many

    @property
    def heads(self) -> int:
        return self.width * 32 // 64


@dataclass(frozen=True)
class TextConfig:
    """A transformer over tokens (paper 2.4)."""

    vocab_size: int = 49408
    context_length: int = 77  # positions, start and end token included
    width: int = 512
    layers: int = 12
    end_token: int = 49407  # the state at this token becomes the text's vector
    head_width: int = 64
    mlp_width: int | None = None
    pooling: str = "end"  # or "last": no causal mask, the last position's state (SigLIP)
    activation: str | None = None  # None: the image tower's


@dataclass(frozen=True)
class BertConfig:
    """A BERT (Devlin et al. 2018, arXiv 1810.04805): the text tower of Chinese-CLIP."""

    vocab_size: int = 21128
    context_length: int = 52
    width: int = 768
    layers: int = 12
    positions: int = 512  # how many were trained; context_length of them are used
    head_width: int = 64
    mlp_width: int | None = None
    pad_token: int = 0


@dataclass(frozen=True)
class CLIPConfig:
    """Both towers and the width of the space they share.

    `activation` is a field because no tensor in a checkpoint tells which one it was trained with:
    OpenAI's weights need "quick_gelu", most others "gelu", and the wrong one fails silently.
    """

    embed_dim: int
    vision: ViTConfig | ResNetConfig
    text: TextConfig | BertConfig = field(default_factory=TextConfig)
    activation: str = "quick_gelu"
    norm_eps: float = 1e-5
    logit_bias: bool = False  # SigLIP adds one number to every logit

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and names, as they stand in a model folder's config.json."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "CLIPConfig":
        """The inverse of `to_dict`. Raises KeyError or TypeError where a field is off."""
        vision, text = dict(values["vision"]), values["text"]
        if "patch_size" in vision:
            image_tower = ViTConfig(**vision)
        else:
            image_tower = ResNetConfig(**{**vision, "layers": tuple(vision["layers"])})
        text_tower = BertConfig(**text) if "positions" in text else TextConfig(**text)
        return cls(**{**values, "vision": image_tower, "text": text_tower})


def _openai(embed_dim: int, vision: ViTConfig | ResNetConfig, text_width: int) -> CLIPConfig:
    return CLIPConfig(embed_dim, vision, TextConfig(width=text_width), "quick_gelu")


CONFIGS: dict[str, CLIPConfig] = {
    "RN50": _openai(1024, ResNetConfig(224, (3, 4, 6, 3), 64), 512),
    "RN101": _openai(512, ResNetConfig(224, (3, 4, 23, 3), 64), 512),
    "RN50x4": _openai(640, ResNetConfig(288, (4, 6, 10, 6), 80), 640),
    "RN50x16": _openai(768, ResNetConfig(384, (6, 8, 18, 8), 96), 768),
    "RN50x64": _openai(1024, ResNetConfig(448, (3, 15, 36, 10), 128), 1024),
    "ViT-B-32": _openai(512, ViTConfig(224, 32, 768, 12), 512),
    "ViT-B-16": _openai(512, ViTConfig(224, 16, 768, 12), 512),
    "ViT-L-14": _openai(768, ViTConfig(224, 14, 1024, 24), 768),
    "ViT-L-14-336": _openai(768, ViTConfig(336, 14, 1024, 24), 768),
}
