"""A model from a configuration and tensors under our names: strictly, at any resolution."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from clip_lab.errors import LabError
from clip_lab.model import CLIP, BertConfig, CLIPConfig, TextConfig, ViTConfig
from clip_lab.preprocess import Preprocess

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}


def build(config: CLIPConfig, tensors: Mapping[str, Tensor], where: str) -> CLIP:
    """The model with these weights, in float32. Raises LabError that names each that doesn't fit.

    The model is laid out without memory first, so that no weight is drawn only to be overwritten.
    """
    try:
        with torch.device("meta"):
            model = CLIP(config)
    except (KeyError, TypeError, ValueError, RuntimeError, ArithmeticError) as error:
        raise LabError(f"{where}: its configuration describes no model ({error!r}).") from error
    wanted = {name: tensor.shape for name, tensor in model.state_dict().items()}
    faults = [f"{name} is missing" for name in wanted if name not in tensors]
    faults += [f"{name} is not part of the model" for name in tensors if name not in wanted]
    faults += [
        f"{name} has shape {list(tensors[name].shape)} instead of {list(shape)}"
        for name, shape in wanted.items()
        if name in tensors and tensors[name].shape != shape
    ]
    if faults:
        more = f" (and {len(faults) - 6} faults more)" if len(faults) > 6 else ""
        raise LabError(f"{where} does not fit its configuration: {'; '.join(faults[:6])}{more}.")
    model.load_state_dict({k: _float32(v) for k, v in tensors.items()}, assign=True)
    return model


def build_at(
    image_size: int | None,
    config: CLIPConfig,
    tensors: Mapping[str, Tensor],
    preprocess: Preprocess,
    where: str,
) -> tuple[CLIP, Preprocess]:
    """The model and its preprocessing at a resolution; None, or its own, leaves both alone."""
    model = build(config, tensors, where)  # at its own size first: that must fit
    if image_size is None or image_size == preprocess.size:
        return model, preprocess
    config, resized = at_resolution(config, model.state_dict(), image_size)
    return build(config, resized, where), replace(preprocess, size=image_size)


def _float32(tensor: Tensor) -> Tensor:
    """In 32 bits. What is so already stays a view of its file, which is read as it is used."""
    return (tensor.float() if tensor.is_floating_point() else tensor).contiguous()


def check_vocabulary(size: int, text: TextConfig | BertConfig, where: str) -> None:
    """Raises LabError unless a tokenizer of this size belongs to the text tower.

    SigLIP's and BERT's tables may have rows to spare; a causal tower's end token is its last.
    """
    spare = text.vocab_size - size
    exact = isinstance(text, TextConfig) and text.pooling == "end"
    if spare < 0 or (exact and spare > 0):
        raise LabError(
            f"{where}: the tokenizer has {size} tokens, the model {text.vocab_size}. They belong "
            "to different models."
        )


def at_resolution(
    config: CLIPConfig, tensors: dict[str, Tensor], image_size: int
) -> tuple[CLIPConfig, dict[str, Tensor]]:
    """The same weights for pictures of another size: positions are interpolated.

    As open_clip does, bicubic and antialiased, a class token's position left alone. Raises LabError
    for a size that isn't a multiple of the patch (of 32, in a ResNet).
    """
    vision = config.vision
    if isinstance(vision, ViTConfig):
        name, step, extra = "visual.positional_embedding", vision.patch_size, vision.pooling
        extra = int(extra == "class")
    else:
        name, step, extra = "visual.attnpool.positional_embedding", 32, 1
    if image_size < step or image_size % step:
        raise LabError(f"An image size of {image_size} is no multiple of {step}, the patch's side.")
    old, new = vision.image_size // step, image_size // step
    resized = {**tensors, name: resize_positions(tensors[name].float(), old, new, extra)}
    return replace(config, vision=replace(vision, image_size=image_size)), resized


def resize_positions(
    positions: Float[Tensor, "tokens width"], old: int, new: int, extra: int
) -> Float[Tensor, "new_tokens width"]:
    """A grid of old × old positions as one of new × new; the `extra` first ones as they are."""
    if old == new:
        return positions
    grid = positions[extra:].unflatten(0, (old, old)).permute(2, 0, 1)[None]  # (1, C, old, old)
    grid = F.interpolate(grid, (new, new), mode="bicubic", antialias=True, align_corners=False)
    return torch.cat([positions[:extra], grid[0].flatten(1).T])


def set_precision(model: CLIP, dtype: str) -> None:
    """Weights in half precision where it saves time: in matrix products and convolutions.

    Normalisations, and the scale that makes logits, stay in float32.
    """
    if dtype not in DTYPES:
        raise LabError(f"“{dtype}” is no precision. Use one of {', '.join(DTYPES)}.")
    for module in model.modules():
        if not isinstance(module, nn.LayerNorm | nn.BatchNorm2d | CLIP):
            for parameter in module.parameters(recurse=False):
                parameter.data = parameter.data.to(DTYPES[dtype])
