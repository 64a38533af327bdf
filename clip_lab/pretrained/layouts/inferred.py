"""A configuration from nothing but the tensors' shapes, for weights with no file beside them."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from clip_lab.model import BertConfig, CLIPConfig, ResNetConfig, TextConfig, ViTConfig

# How wide a head is leaves no trace in any shape: 64, but in OpenCLIP's three largest models, known
# by (width, layers).
HEAD_WIDTHS = {(1280, 32): 80, (1408, 40): 88, (1664, 48): 104}


def infer_config(tensors: Mapping[str, Tensor], activation: str) -> CLIPConfig:
    """From tensors under OpenAI's names or Chinese-CLIP's. Raises KeyError where one is missing."""
    if "visual.layer1.0.conv1.weight" in tensors:
        vision: Any = _resnet(tensors)
    else:
        vision = _vit(tensors)
    if "bert.embeddings.word_embeddings.weight" in tensors:
        text: Any = _bert(tensors)
    else:
        text = _text(tensors)
    return CLIPConfig(tensors["text_projection"].shape[1], vision, text, activation)


def _layers(tensors: Mapping[str, Tensor], beginning: str, ending: str) -> int:
    return sum(name.startswith(beginning) and name.endswith(ending) for name in tensors)


def _vit(tensors: Mapping[str, Tensor]) -> ViTConfig:
    width, _, patch, _ = tensors["visual.conv1.weight"].shape
    blocks = "visual.transformer.resblocks."
    layers = _layers(tensors, blocks, ".ln_1.weight")
    side = round((len(tensors["visual.positional_embedding"]) - 1) ** 0.5)
    hidden = len(tensors[f"{blocks}0.mlp.c_fc.weight"])
    head_width = HEAD_WIDTHS.get((width, layers), 64)
    return ViTConfig(side * patch, patch, width, layers, head_width, _unusual(hidden, width))


def _resnet(tensors: Mapping[str, Tensor]) -> ResNetConfig:
    width = len(tensors["visual.layer1.0.conv1.weight"])
    one, two, three, four = (
        _layers(tensors, f"visual.layer{i}.", ".conv1.weight") for i in range(1, 5)
    )
    side = round((len(tensors["visual.attnpool.positional_embedding"]) - 1) ** 0.5)
    return ResNetConfig(side * 32, (one, two, three, four), width)


def _text(tensors: Mapping[str, Tensor]) -> TextConfig:
    vocab_size, width = tensors["token_embedding.weight"].shape
    layers = _layers(tensors, "transformer.resblocks.", ".ln_1.weight")
    hidden = len(tensors["transformer.resblocks.0.mlp.c_fc.weight"])
    return TextConfig(
        vocab_size,
        len(tensors["positional_embedding"]),
        width,
        layers,
        end_token=vocab_size - 1,
        mlp_width=_unusual(hidden, width),
    )


def _bert(tensors: Mapping[str, Tensor]) -> BertConfig:
    vocab_size, width = tensors["bert.embeddings.word_embeddings.weight"].shape
    layers = _layers(tensors, "bert.encoder.layer.", ".output.dense.weight") // 2
    positions = len(tensors["bert.embeddings.position_embeddings.weight"])
    hidden = len(tensors["bert.encoder.layer.0.intermediate.dense.weight"])
    return BertConfig(
        vocab_size, min(52, positions), width, layers, positions, mlp_width=_unusual(hidden, width)
    )


def _unusual(hidden: int, width: int) -> int | None:
    return None if hidden == 4 * width else hidden
