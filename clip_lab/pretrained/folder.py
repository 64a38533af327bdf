"""The lab's own layout: a folder of four files that a person can read, weights aside.

    config.json          sizes of the towers, and how pictures are prepared
    tokenizer.json       the merges
    model.safetensors    the tensors, under OpenAI's names
    card.json            what it was trained on, by which command, and how well it does

Safetensors and JSON hold data alone: opening a model from elsewhere runs no code of its maker's.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from clip_lab.dual_encoder import DualEncoder
from clip_lab.errors import LabError
from clip_lab.model import CLIPConfig
from clip_lab.preprocess import Preprocess
from clip_lab.pretrained.build import build_at, check_vocabulary
from clip_lab.pretrained.narrow import widen
from clip_lab.pretrained.tensors import read_tensors
from clip_lab.pretrained.tokenizer_files import tokenizer_from_json


def files(encoder: DualEncoder) -> dict[str, str]:
    """What stands beside the weights, by the file's name."""
    config = {
        "model": encoder.model.config.to_dict(),
        "preprocess": asdict(encoder.preprocess),
    }
    return {
        "config.json": json.dumps(config, indent=2) + "\n",
        "tokenizer.json": encoder.tokenizer.to_json(),
        "card.json": json.dumps(encoder.card, indent=2, ensure_ascii=False) + "\n",
    }


def is_ours(folder: Path) -> bool:
    """Whether this folder is in the lab's layout, whole or not, and not in another project's."""
    if not (folder / "config.json").exists():
        return (folder / "tokenizer.json").exists() and (folder / "card.json").exists()
    try:
        return "model_type" not in _object((folder / "config.json").read_text(encoding="utf-8"))
    except (ValueError, OSError):
        return not (folder / "open_clip_config.json").exists()


MODEL_FILE = "model.safetensors"


def read_folder(
    folder: Path, image_size: int | None = None, weights_file: str = MODEL_FILE
) -> DualEncoder:
    """A model from a folder that `save` wrote. Raises LabError that names the file at fault."""
    config = _read(folder, "config.json", _object)
    try:
        model_config = CLIPConfig.from_dict(config["model"])
        preprocess = Preprocess(**_tuples(config["preprocess"]))
    except (KeyError, TypeError, ValueError) as error:
        raise LabError(
            f"{folder / 'config.json'} does not describe a model ({error!r})."
        ) from error
    tokenizer = _read(folder, "tokenizer.json", tokenizer_from_json)
    check_vocabulary(len(tokenizer), model_config.text, str(folder))
    card = _read(folder, "card.json", _object)
    weights = folder / weights_file
    if not weights.exists():
        raise LabError(f"“{folder}” is no model folder: {weights.name} is missing.")
    tensors = widen(read_tensors(weights), str(weights))
    model, preprocess = build_at(image_size, model_config, tensors, preprocess, str(weights))
    return DualEncoder(model, tokenizer, preprocess, card.get("name", folder.name), card)


def _read(folder: Path, name: str, parse: Any) -> Any:
    try:
        return parse((folder / name).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise LabError(f"“{folder}” is no model folder: {name} is missing.") from error
    except (ValueError, KeyError, TypeError, AttributeError, OSError) as error:
        raise LabError(f"{folder / name} is damaged ({error}).") from error


def _object(text: str) -> dict[str, Any]:
    values = json.loads(text)
    if not isinstance(values, dict):
        raise ValueError("not a JSON object")
    return values


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
