"""Models in other projects' layouts: a folder as it lies on the hub, or a file of weights alone."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from torch import Tensor

from clip_lab.dual_encoder import DualEncoder
from clip_lab.errors import LabError
from clip_lab.model import BertConfig, CLIPConfig
from clip_lab.preprocess import Preprocess
from clip_lab.pretrained.build import build_at, check_vocabulary
from clip_lab.pretrained.hub import weights_file
from clip_lab.pretrained.layouts import huggingface, open_clip, tables
from clip_lab.pretrained.layouts.inferred import infer_config
from clip_lab.pretrained.preprocess_files import (
    preprocess_from_huggingface,
    preprocess_from_open_clip,
)
from clip_lab.pretrained.tensors import activation_of, read_tensors
from clip_lab.pretrained.tokenizer_files import AnyTokenizer, tokenizer_from_folder

OPEN_CLIP_CONFIG, HF_CONFIG = "open_clip_config.json", "config.json"
ACTIVATION_UNKNOWN = (
    "Nothing beside {where} says which activation it was trained with, and the wrong one fails "
    "without a word. Give activation=“quick_gelu” (OpenAI's own weights, DFN, MetaCLIP) or "
    "activation=“gelu” (most of LAION's and DataComp's)."
)


@dataclass(frozen=True)
class Description:
    """What the file beside the weights says: sizes, how pictures are prepared, which names."""

    config: CLIPConfig
    table: Callable[[CLIPConfig, dict[str, Tensor]], tables.Table]
    preprocess: Preprocess
    tokenizer_kwargs: dict[str, Any] | None  # open_clip's; None where transformers' class decides


def read_published(
    path: Path, activation: str | None = None, image_size: int | None = None
) -> DualEncoder:
    """A model from a folder in open_clip's or Hugging Face's layout, or from a file of weights.

    `activation`: for weights with no configuration beside them; elsewhere it overrides the file's.
    `image_size`: another resolution than the one it was trained at. Raises LabError for whatever is
    missing, damaged or doesn't fit together, naming it.
    """
    folder, weights = (path, _weights_in(path)) if path.is_dir() else (path.parent, path)
    tensors = read_tensors(weights)
    description = _describe(folder, weights, tensors, activation)
    config = description.config
    if activation:
        config = replace(config, activation=activation)
    state = tables.to_ours(description.table(config, tensors), tensors, str(weights))
    model, preprocess = build_at(image_size, config, state, description.preprocess, str(weights))
    tokenizer = _tokenizer(folder, config, description.tokenizer_kwargs)
    card = {"name": path.name, "source": "published weights"}
    return DualEncoder(model, tokenizer, preprocess, path.name, card)


def _weights_in(folder: Path) -> Path:
    try:
        name = weights_file({path.name for path in folder.iterdir()})
    except OSError as error:
        raise LabError(f"“{folder}” can't be read ({error.strerror}).") from error
    if name is None:
        raise LabError(
            f"“{folder}” holds no model. It needs {OPEN_CLIP_CONFIG} with "
            f"open_clip_model.safetensors (or open_clip_pytorch_model.bin), or {HF_CONFIG} with "
            "model.safetensors (or pytorch_model.bin). A file of weights can be given by itself."
        )
    return folder / name


def _describe(
    folder: Path, weights: Path, tensors: dict[str, Tensor], activation: str | None
) -> Description:
    if (folder / OPEN_CLIP_CONFIG).is_file() and not _named_by_huggingface(tensors):
        return _of_open_clip(folder)
    if (folder / HF_CONFIG).is_file() and _named_by_huggingface(tensors):
        return _of_huggingface(folder)
    return _of_nothing(weights, tensors, activation)


def _named_by_huggingface(tensors: dict[str, Tensor]) -> bool:
    return any(name.startswith("vision_model.") for name in tensors)


def _of_open_clip(folder: Path) -> Description:
    values = _json(folder / OPEN_CLIP_CONFIG)
    with _blaming(folder / OPEN_CLIP_CONFIG):
        config = open_clip.read_config(values["model_cfg"])
        preprocess = preprocess_from_open_clip(
            values.get("preprocess_cfg", {}), config.vision.image_size
        )
        tokenizer_kwargs = values["model_cfg"]["text_cfg"].get("tokenizer_kwargs", {})
        return Description(config, _open_clip_table, preprocess, tokenizer_kwargs)


def _open_clip_table(config: CLIPConfig, tensors: dict[str, Tensor]) -> tables.Table:
    prefixed = any(name.startswith("text.") for name in tensors)
    return tables.open_clip(config, "text." if prefixed else "")


def _of_huggingface(folder: Path) -> Description:
    values = _json(folder / HF_CONFIG)
    with _blaming(folder / HF_CONFIG):
        config = huggingface.read_config(values)
    preprocess = _huggingface_preprocess(folder)
    if preprocess.size != config.vision.image_size:
        raise LabError(
            f"“{folder}”: pictures are prepared at {preprocess.size} pixels, but the model reads "
            f"{config.vision.image_size}."
        )
    return Description(config, lambda config, _: tables.huggingface(config), preprocess, None)


def _huggingface_preprocess(folder: Path) -> Preprocess:
    for name in ("preprocessor_config.json", "processor_config.json"):
        if (folder / name).is_file():
            with _blaming(folder / name):
                return preprocess_from_huggingface(_json(folder / name))
    raise LabError(f"“{folder}” lacks preprocessor_config.json: how pictures are prepared.")


def _of_nothing(weights: Path, tensors: dict[str, Tensor], activation: str | None) -> Description:
    """OpenAI's names, or Chinese-CLIP's, with no configuration beside them."""
    prefix = "text." if any(name.startswith("text.") for name in tensors) else ""
    bare = {name.removeprefix(prefix): tensor for name, tensor in tensors.items()}
    chinese = any(name.startswith("bert.") for name in tensors)
    # Chinese-CLIP's own files belong to one project, which uses QuickGELU throughout.
    activation = activation or ("quick_gelu" if chinese else activation_of(weights))
    try:
        config = infer_config(bare, activation or "")
    except (KeyError, IndexError, ValueError, ZeroDivisionError) as error:
        raise LabError(
            f"“{weights}” holds no CLIP under names that the lab knows ({error!r}), and no "
            "configuration lies beside it."
        ) from error
    if not activation:
        raise LabError(ACTIVATION_UNKNOWN.format(where=f"“{weights}”"))
    if chinese:
        table = tables.chinese_clip(config)
        preprocess = Preprocess(config.vision.image_size, resize="squash")  # as its own code does
        return Description(config, lambda *_: table, preprocess, {})
    return Description(config, _open_clip_table, Preprocess(config.vision.image_size), {})


def _tokenizer(
    folder: Path, config: CLIPConfig, tokenizer_kwargs: dict[str, Any] | None
) -> AnyTokenizer:
    text = config.text
    if isinstance(text, BertConfig):
        kind = "chinese_clip"
    else:
        kind = "siglip" if text.pooling == "last" else "clip"
    tokenizer = tokenizer_from_folder(folder, kind, text.context_length, tokenizer_kwargs)
    check_vocabulary(len(tokenizer), text, f"“{folder}”")
    return tokenizer


def _json(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError("not a JSON object")
        return values
    except (OSError, ValueError) as error:
        raise LabError(f"{path} is damaged ({error}).") from error


class _blaming:
    """Turns what goes wrong in reading a configuration into a sentence that names its file."""

    def __init__(self, path: Path):
        self.path = path

    def __enter__(self) -> None: ...

    def __exit__(self, kind, error, traceback) -> None:
        if isinstance(error, LabError):
            raise LabError(f"{self.path}: {error}") from error
        if isinstance(error, KeyError | TypeError | ValueError | AttributeError | ArithmeticError):
            raise LabError(f"{self.path} does not describe a model ({error!r}).") from error
