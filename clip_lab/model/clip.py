"""CLIP: two towers and one number (paper, figure 3).

image_vectors = unit(visual(images))
text_vectors  = unit(text(tokens))
logits        = exp(logit_scale) · image_vectors @ text_vectors.T
"""

import math
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from clip_lab.model.bert import BertTransformer
from clip_lab.model.config import BertConfig, CLIPConfig, ViTConfig
from clip_lab.model.resnet import ModifiedResNet
from clip_lab.model.text import TextTransformer
from clip_lab.model.vit import VisionTransformer

INITIAL_LOGIT_SCALE = math.log(1 / 0.07)  # paper 2.5
MAX_LOGIT_SCALE = math.log(100)


class CLIP(nn.Module):
    """An image tower, a text tower, and the learned logarithm of the scale between them."""

    def __init__(self, config: CLIPConfig):
        super().__init__()
        self.config = config
        embed_dim, activation, eps = config.embed_dim, config.activation, config.norm_eps
        if isinstance(config.vision, ViTConfig):
            self.visual = VisionTransformer(config.vision, embed_dim, activation, eps)
        else:
            self.visual = ModifiedResNet(config.vision, embed_dim)
        if isinstance(config.text, BertConfig):
            self.text = BertTransformer(config.text, embed_dim)
        else:
            self.text = TextTransformer(config.text, embed_dim, activation, eps)
        self.logit_scale = nn.Parameter(torch.tensor(INITIAL_LOGIT_SCALE))
        self.logit_bias = nn.Parameter(torch.tensor(-10.0)) if config.logit_bias else None
        self.register_state_dict_post_hook(_text_names_to_root)
        self.register_load_state_dict_pre_hook(_text_names_from_root)

    def encode_image(
        self, images: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch embed_dim"]:
        """Normalised pictures (mean and std as the model expects) to vectors of any length."""
        return self.visual(images.to(self.visual.conv1.weight.dtype))

    def encode_text(self, tokens: Int[Tensor, "batch context"]) -> Float[Tensor, "batch embed_dim"]:
        """Token ids, one end token a row, to vectors of any length."""
        return self.text(tokens)

    def forward(
        self,
        images: Float[Tensor, "images 3 height width"],
        tokens: Int[Tensor, "texts context"],
    ) -> Float[Tensor, "images texts"]:
        """The logits of every picture against every text: scaled cosines."""
        image_vectors = F.normalize(self.encode_image(images), dim=-1)
        text_vectors = F.normalize(self.encode_text(tokens), dim=-1)
        logits = self.logit_scale.exp() * image_vectors @ text_vectors.T
        return logits if self.logit_bias is None else logits + self.logit_bias


# OpenAI's checkpoints keep the text tower's tensors at the root ("transformer.resblocks.0...", not
# "text.transformer..."). Here the tower is a module of its own, and the two hooks below rename its
# tensors on their way out and in, so that saved names are OpenAI's.


def _text_names_to_root(
    module: nn.Module, state: dict[str, Tensor], prefix: str, _metadata: Any
) -> None:
    for name in [name for name in state if name.startswith(f"{prefix}text.")]:
        state[prefix + name.removeprefix(f"{prefix}text.")] = state.pop(name)


def _text_names_from_root(
    module: nn.Module, state: dict[str, Tensor], prefix: str, *_unused: Any
) -> None:
    own = (f"{prefix}visual.", f"{prefix}text.", f"{prefix}logit_")
    for name in [name for name in state if name.startswith(prefix) and not name.startswith(own)]:
        state[f"{prefix}text.{name.removeprefix(prefix)}"] = state.pop(name)
