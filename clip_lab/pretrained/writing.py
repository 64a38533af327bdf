"""Models written down: in the lab's own layout, or in one that other projects' code reads."""

import json
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from clip_lab.dual_encoder import DualEncoder
from clip_lab.errors import LabError
from clip_lab.file_tokenizer import FileTokenizer
from clip_lab.files import write_whole
from clip_lab.pretrained import folder as lab
from clip_lab.pretrained.layouts import huggingface, open_clip, tables
from clip_lab.pretrained.narrow import narrow
from clip_lab.pretrained.preprocess_files import to_huggingface, to_open_clip
from clip_lab.pretrained.tokenizer_files import (
    is_openai,
    open_clip_tokenizer_kwargs,
    tokenizer_to_huggingface,
)

LAYOUTS = ("lab", "open_clip", "huggingface")


def save(encoder: DualEncoder, folder: str | Path, bits: int = 32, layout: str = "lab") -> None:
    """Write a model to a folder, the weights last, each file whole or not at all.

    `bits`: of each weight in the file, 32, 16 or (in the lab's layout alone) 8; what is read back
    has 32 again.
    `layout`: "lab" (see folder.py); "open_clip", for open_clip.create_model("local-dir:FOLDER");
    "huggingface", for transformers' from_pretrained(FOLDER). Raises LabError for a layout that has
    no place for this model, before anything is written.
    """
    if bits == 8 and layout != "lab":
        raise LabError("Other projects don't read the lab's 8-bit weights. Use 16 bits, or 32.")
    if layout not in LAYOUTS:
        raise LabError(f"There is no layout “{layout}”. Use one of {', '.join(LAYOUTS)}.")
    writer = {"lab": _lab, "open_clip": _open_clip, "huggingface": _huggingface}[layout]
    files, tensors, weights = writer(encoder)
    for name, content in files.items():
        data = content.encode() if isinstance(content, str) else content
        write_whole(Path(folder) / name, lambda path, data=data: path.write_bytes(data))
    tensors = narrow(tensors, bits)
    write_whole(
        Path(folder) / weights, lambda path: save_file(tensors, path, metadata={"format": "pt"})
    )


Written = tuple[
    dict[str, str | bytes], dict[str, Tensor], str
]  # files, tensors, the weights' file name


def _lab(encoder: DualEncoder) -> Written:
    return dict(lab.files(encoder)), dict(encoder.model.state_dict()), "model.safetensors"


def _open_clip(encoder: DualEncoder) -> Written:
    config = encoder.model.config
    model = open_clip.write_config(config)
    files: dict[str, str | bytes] = {}
    if not is_openai(encoder.tokenizer):  # open_clip then takes the tokenizer from this folder
        files = tokenizer_to_huggingface(encoder.tokenizer)
        model["text_cfg"]["hf_tokenizer_name"] = "."
        if isinstance(encoder.tokenizer, FileTokenizer):
            kwargs = open_clip_tokenizer_kwargs(encoder.tokenizer)
            model["text_cfg"]["tokenizer_kwargs"] = kwargs
    values = {"model_cfg": model, "preprocess_cfg": to_open_clip(encoder.preprocess)}
    files["open_clip_config.json"] = _json(values)
    table = tables.open_clip(config, "text." if "custom_text" in model else "")
    tensors = tables.to_theirs(table, encoder.model.state_dict())
    return files, tensors, "open_clip_model.safetensors"


def _huggingface(encoder: DualEncoder) -> Written:
    config = encoder.model.config
    values = huggingface.write_config(config)
    kind = values["architectures"][0].removesuffix("Model") + "ImageProcessor"
    files = tokenizer_to_huggingface(encoder.tokenizer)
    files["config.json"] = _json(values)
    files["preprocessor_config.json"] = _json(to_huggingface(encoder.preprocess, kind))
    tensors = tables.to_theirs(tables.huggingface(config), encoder.model.state_dict())
    return files, tensors, "model.safetensors"


def _json(values: dict[str, Any]) -> str:
    return json.dumps(values, indent=2) + "\n"
