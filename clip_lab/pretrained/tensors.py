"""The tensors of a checkpoint file, whatever its format, strictly as data.

The format is told from the file's first bytes, not from its name:

    safetensors     a length, a JSON header, the bytes
    torch's zip     what torch.save writes, and TorchScript archives (see torchscript.py)
    a pickle        what torch.save wrote before 2020
    JSON            the index of a checkpoint in several files ("shards")

A pickle is a little program. Those that ask for anything but tensors are refused, unrun.
"""

import json
import pickle
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from clip_lab.errors import LabError
from clip_lab.pretrained.torchscript import (
    activation_in_code,
    damaged,
    is_torchscript,
    read_torchscript,
    refusal,
)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """All tensors of a checkpoint by name, on the CPU, in the dtype they are stored in.

    Tables kept under "state_dict" or "model" are taken out; "module." before every name (a trace of
    DistributedDataParallel) is removed. The file is mapped where its format allows: tensors are
    read from it as they are used, and writing to them doesn't change it. Raises LabError for a file
    that is missing, damaged, no checkpoint, or that would run code; never returns a part.
    """
    tensors = _read(path)
    if tensors and all(name.startswith("module.") for name in tensors):
        tensors = {name.removeprefix("module."): tensor for name, tensor in tensors.items()}
    return tensors


def activation_of(path: Path) -> str | None:
    """ "quick_gelu" or "gelu", where the file itself tells: a TorchScript archive's code does.

    None for every other file: no tensor tells which one a model was trained with.
    """
    if _format(path) != "zip":
        return None
    with _opened_zip(path) as archive:
        return activation_in_code(path, archive) if is_torchscript(archive) else None


def _read(path: Path) -> dict[str, Tensor]:
    readers = {
        "safetensors": _read_safetensors,
        "zip": _read_zip,
        "pickle": lambda path: _read_torch(path, mmap=False),
        "index": _read_shards,
    }
    return readers[_format(path)](path)


# -- which format ---------------------------------------------------------------------------------


def _format(path: Path) -> str:
    start = _first_bytes(path)
    if start.startswith(b"PK\x03\x04"):
        return "zip"
    if start[4:9] == b"\0\0\0\0{":  # a length of eight bytes, the upper ones zero
        return "safetensors"
    if start.startswith(b"\x80"):
        return "pickle"
    if start.lstrip().startswith(b"{"):
        return "index"
    if start.startswith(b"version https://"):
        raise LabError(
            f"“{path}” is a Git LFS pointer, not the weights themselves. Run “git lfs pull” in its "
            "folder, or download the file."
        )
    raise LabError(
        f"“{path}” is no checkpoint: neither safetensors nor anything that torch.save writes. "
        "Check that it's the right file."
    )


def _first_bytes(path: Path) -> bytes:
    if path.is_dir():
        raise LabError(f"“{path}” is a folder, not a checkpoint file. Give a file in it.")
    try:
        with path.open("rb") as file:
            start = file.read(32)
    except FileNotFoundError as error:
        raise LabError(f"“{path}” isn't there. Check the path.") from error
    except OSError as error:
        raise LabError(f"“{path}” can't be read: {error.strerror}. Check that you may.") from error
    if not start:
        raise LabError(f"“{path}” is empty. Fetch it again.")
    return start


# -- one reader a format --------------------------------------------------------------------------


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise LabError(damaged(path, error)) from error


def _read_zip(path: Path) -> dict[str, Tensor]:
    with _opened_zip(path) as archive:
        if is_torchscript(archive):
            return read_torchscript(path, archive)
        if not any(re.fullmatch(r"[^/]+/data\.pkl", name) for name in archive.namelist()):
            raise LabError(
                f"“{path}” is a zip file, but no checkpoint. Check that it's the right one."
            )
    # To be mapped, torch must have the path; and then it takes this ending for the format.
    return _read_torch(path, mmap=path.suffix != ".safetensors")


@contextmanager
def _opened_zip(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:  # its directory, which comes last, isn't there
        raise LabError(damaged(path, error)) from error
    with archive:
        yield archive


def _read_torch(path: Path, mmap: bool) -> dict[str, Tensor]:
    try:
        with path.open("rb") as file:
            source = path if mmap else file
            content = torch.load(source, map_location="cpu", weights_only=True, mmap=mmap)
    except pickle.UnpicklingError as error:
        asked = re.search(r"GLOBAL ([\w.]+)", str(error))
        raise LabError(refusal(path, asked[1] if asked else None)) from error
    except Exception as error:  # a forged or broken pickle may fail in any way
        raise LabError(damaged(path, error)) from error
    return _table(path, content)


def _table(path: Path, content: Any) -> dict[str, Tensor]:
    """The table of tensors in what a file held, be it the whole or under a training loop's key."""
    for key in ("state_dict", "model"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not content:
        raise LabError(f"“{path}” holds a {type(content).__name__}, not a table of tensors.")
    for name, value in content.items():
        if not isinstance(value, Tensor) or not isinstance(name, str):
            raise LabError(
                f"“{path}” is no table of tensors: “{name}” in it is a {type(value).__name__}. "
                "Save the model's state_dict() alone."
            )
    return {name: tensor.detach() for name, tensor in content.items()}


def _read_shards(path: Path) -> dict[str, Tensor]:
    """A checkpoint in several files, which an index names tensor by tensor."""
    try:
        files: dict[str, str] = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
        shards = sorted(set(files.values()))
        # Only beside the index, and no index again: it could name itself.
        plain = all(Path(name).name == name and not name.endswith(".json") for name in shards)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise LabError(f"“{path}” is no index of a checkpoint's files ({error!r}).") from error
    if not shards or not plain:
        raise LabError(f"“{path}” names files that can't be parts of a checkpoint. Fetch it again.")
    missing = [name for name in shards if not (path.parent / name).exists()]
    if missing:
        raise LabError(
            f"{len(missing)} of the {len(shards)} files that “{path}” names are missing: "
            f"{', '.join(missing)}. Put them beside it."
        )
    tensors: dict[str, Tensor] = {}
    for name in shards:
        tensors |= _read(path.parent / name)
    absent = sorted(files.keys() - tensors.keys())
    if absent:
        raise LabError(
            f"“{path}” names {len(absent)} tensors that are in none of its files, “{absent[0]}” "
            "among them. Index and files don't belong together: fetch all of them again."
        )
    return tensors
