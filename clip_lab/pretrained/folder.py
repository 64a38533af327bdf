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

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from clip_lab.dual_encoder import DualEncoder
from clip_lab.errors import LabError
from clip_lab.files import write_text, write_whole
from clip_lab.model import CLIP, CLIPConfig
from clip_lab.preprocess import Preprocess
from clip_lab.tokenizer import Tokenizer


def save(encoder: DualEncoder, folder: str | Path, half: bool = False) -> None:
    """Write a model to a folder, the weights last, each file whole or not at all.

    `half`: store 16-bit numbers, half the size; they are read back into 32 bits.
    """
    folder = Path(folder)
    config = {
        "model": encoder.model.config.to_dict(),
        "preprocess": asdict(encoder.preprocess),
    }
    write_text(folder / "config.json", json.dumps(config, indent=2) + "\n")
    write_text(folder / "tokenizer.json", encoder.tokenizer.to_json())
    card = json.dumps(encoder.card, indent=2, ensure_ascii=False)
    write_text(folder / "card.json", card + "\n")
    tensors = {name: tensor.contiguous() for name, tensor in encoder.model.state_dict().items()}
    if half:
        tensors = {k: t.half() if t.is_floating_point() else t for k, t in tensors.items()}
    write_whole(folder / "model.safetensors", lambda path: save_file(tensors, path))


def read_folder(folder: Path) -> DualEncoder:
    """A model from a folder that `save` wrote. Raises LabError that names the file at fault."""
    config = _read(folder, "config.json", _object)
    try:
        model = CLIP(CLIPConfig.from_dict(config["model"]))
        preprocess = Preprocess(**_tuples(config["preprocess"]))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise LabError(
            f"{folder / 'config.json'} does not describe a model ({error!r})."
        ) from error
    tokenizer = _read(folder, "tokenizer.json", Tokenizer.from_json)
    if len(tokenizer) != model.config.text.vocab_size:
        raise LabError(
            f"{folder}: the tokenizer has {len(tokenizer)} tokens, the model "
            f"{model.config.text.vocab_size}. They belong to different models."
        )
    _fill(model, folder / "model.safetensors")
    card = _read(folder, "card.json", _object)
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


def _fill(model: CLIP, path: Path) -> None:
    """Strictly: every tensor is used, none is missing, all shapes agree."""
    try:
        tensors = load_file(path)
    except FileNotFoundError as error:
        raise LabError(f"“{path.parent}” is no model folder: {path.name} is missing.") from error
    except (SafetensorError, OSError) as error:
        raise LabError(f"{path} is damaged or cut short ({error}). Fetch it again.") from error
    try:
        model.load_state_dict({name: tensor.float() for name, tensor in tensors.items()})
    except RuntimeError as error:
        raise LabError(f"{path} does not fit its config.json. {error}") from error
