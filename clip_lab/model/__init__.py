"""CLIP's two towers: tensors in, vectors and logits out. Imports torch and nothing of the lab."""

from clip_lab.model.clip import CLIP
from clip_lab.model.config import (
    CONFIGS,
    BertConfig,
    CLIPConfig,
    ResNetConfig,
    TextConfig,
    ViTConfig,
)

__all__ = ["CLIP", "CONFIGS", "BertConfig", "CLIPConfig", "ResNetConfig", "TextConfig", "ViTConfig"]
