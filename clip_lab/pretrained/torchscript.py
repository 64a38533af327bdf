"""Tensors out of a TorchScript archive, as data: none of its code is run.

OpenAI published CLIP as such archives (`ViT-B-32.pt` …): a zip file of

    ROOT/data.pkl        the tree of modules, a pickle that names classes of the archive's own
    ROOT/data/N          the bytes of one tensor, stored as they are
    ROOT/code/…py        the modules' methods, as text
    ROOT/constants.pkl   tensors that the methods use, with their bytes in ROOT/constants/N

`torch.jit.load` would compile the code. Here the pickle is read by an unpickler that knows how to
make tensors, and puts an empty box wherever a class is asked for; any other name in it is refused.
"""

import pickle
import re
import struct
import zipfile
from collections import OrderedDict
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from jaxtyping import UInt8
from torch import Tensor

from clip_lab.errors import LabError

# At the root of OpenAI's modules: sizes that the tensors' shapes tell as well; and the causal mask,
# which open_clip registers and which holds nothing learned.
NOT_WEIGHTS = {"input_resolution", "context_length", "vocab_size", "attn_mask"}

QUICK_GELU_FACTOR = 1.702
LARGEST_TEXT = 64 << 20  # bytes, unpacked; OpenAI's code is under one megabyte

DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}


def is_torchscript(archive: zipfile.ZipFile) -> bool:
    """TorchScript keeps constants apart; what `torch.save` writes has none."""
    return _root(archive) is not None


def read_torchscript(path: Path, archive: zipfile.ZipFile) -> dict[str, Tensor]:
    """Parameters and buffers under their dotted names, on the CPU, in the dtype they are stored in.

    The tensors are views of the mapped file: nothing is copied until it is used. Raises LabError
    for a pickle that asks for anything but tensors.
    """
    root = _unpickle(path, archive, "data")
    if not isinstance(root, _Module):
        raise LabError(f"“{path}” is a TorchScript archive, but of no module. Use another file.")
    tensors = _collect(root, _registered(_code(path, archive)))
    return {name: tensor for name, tensor in tensors.items() if name not in NOT_WEIGHTS}


def activation_in_code(path: Path, archive: zipfile.ZipFile) -> str | None:
    """ "quick_gelu" or "gelu", whichever the archive's code calls; None where it calls neither.

    A scripted module has the factor 1.702 in its text; a traced one keeps it among its constants.
    """
    code = _code(path, archive)
    constants = _unpickle(path, archive, "constants")
    numbers = [float(match) for match in re.findall(r"\b1\.70\d*", code)]
    constants = constants if isinstance(constants, tuple) else ()
    numbers += [c.item() for c in constants if isinstance(c, Tensor) and c.numel() == 1]
    factor = any(abs(number - QUICK_GELU_FACTOR) < 1e-3 for number in numbers)  # also when halved
    quick = factor and "torch.sigmoid(" in code
    plain = "torch.gelu(" in code
    if quick == plain:
        return None
    return "quick_gelu" if quick else "gelu"


# -- the modules' tensors -------------------------------------------------------------------------


class _Module:
    """An empty box in place of a module: what the archive says of it lands in its `__dict__`."""

    qualified_name = ""


def _collect(root: _Module, registered: dict[str, set[str]]) -> dict[str, Tensor]:
    """Tensors by dotted name, depth first. Each module once: a made-up archive may hold itself."""
    tensors: dict[str, Tensor] = {}
    seen: set[int] = set()
    waiting = [("", root)]
    while waiting:
        prefix, module = waiting.pop()
        if id(module) in seen:
            continue
        seen.add(id(module))
        names = registered.get(module.qualified_name, set(vars(module)))
        for name, value in vars(module).items():
            if isinstance(value, _Module):
                waiting.append((f"{prefix}{name}.", value))
            elif isinstance(value, Tensor) and name in names:
                tensors[prefix + name] = value
    return tensors


def _registered(code: str) -> dict[str, set[str]]:
    """For each class the names of its parameters and buffers; other tensors are by-products."""
    pattern = (
        r"# (?P<place>\S+)\n|"
        r"class (?P<name>\w+)\(Module\):\n"
        r"  __parameters__ = \[(?P<parameters>.*?)\]\n"
        r"  __buffers__ = \[(?P<buffers>.*?)\]\n"
    )
    place, found = "", {}
    for match in re.finditer(pattern, code):
        if match["place"]:
            place = match["place"]
        else:
            names = re.findall(r'"([^"]+)"', match["parameters"] + match["buffers"])
            found[f"{place}.{match['name']}"] = set(names)
    return found


def _code(path: Path, archive: zipfile.ZipFile) -> str:
    """The text of all code files, each headed by a line with the module it is: `# __torch__.a.b`"""
    files = [
        info for info in archive.infolist() if re.search(r"^[^/]+/code/.*\.py$", info.filename)
    ]
    if sum(info.file_size for info in files) > LARGEST_TEXT:
        raise LabError(f"“{path}” holds far too much code for a CLIP. It was left unread.")
    texts = []
    for info in files:
        place = info.filename.split("/code/", 1)[1].removesuffix(".py").replace("/", ".")
        try:
            texts.append(f"# {place}\n{archive.read(info).decode('utf-8', 'replace')}\n")
        except Exception as error:  # zipfile, zlib and others, on forged or broken members
            raise LabError(damaged(path, error)) from error
    return "".join(texts)


# -- the pickle -----------------------------------------------------------------------------------


class _Refused(Exception):
    """The pickle asks for a name that tensors don't need."""


class _Unpickler(pickle.Unpickler):
    """Makes tensors, boxes, and Python's plain values, and nothing else."""

    def __init__(self, path: Path, archive: zipfile.ZipFile, part: str):
        size = path.stat().st_size
        self.whole = torch.from_file(str(path), shared=False, size=size, dtype=torch.uint8)
        self.archive, self.stem = archive, f"{_root(archive)}/{part}"
        super().__init__(BytesIO(self._record(f"{self.stem}.pkl").numpy().tobytes()))

    def find_class(self, module: str, name: str) -> Any:
        if module == "torch" and name in DTYPES:
            return DTYPES[name]
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _rebuild
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch.jit._pickle":  # typed lists: build_intlist and its kin
            return _as_it_is
        if module.partition(".")[0] == "__torch__":
            return type("Module", (_Module,), {"qualified_name": f"{module}.{name}"})
        raise _Refused(f"{module}.{name}")

    def persistent_load(self, pid: Any) -> Tensor:
        """A record's bytes as a flat tensor of the dtype that the pickle names."""
        _, dtype, key, _, _ = pid
        record = self._record(f"{self.stem}/{key}")
        if record.storage_offset() % dtype.itemsize:  # packed anew by a tool that doesn't align
            record = record.clone()
        return record.view(dtype)

    def _record(self, name: str) -> UInt8[Tensor, "bytes"]:
        """A file of the archive: a window on the mapped whole."""
        info = self.archive.getinfo(name)
        if info.compress_type != zipfile.ZIP_STORED:
            raise ValueError(f"{name} is compressed, which torch doesn't do")
        # The local header's two last lengths may differ from the directory's: read them there.
        header = info.header_offset
        lengths = self.whole[header + 26 : header + 30].numpy().tobytes()
        start = header + 30 + sum(struct.unpack("<HH", lengths))
        return self.whole[start : start + info.file_size]


def _unpickle(path: Path, archive: zipfile.ZipFile, part: str) -> Any:
    """`data.pkl` or `constants.pkl`. A forged pickle may fail in any way: all are LabErrors."""
    try:
        return _Unpickler(path, archive, part).load()
    except _Refused as error:
        raise LabError(refusal(path, str(error))) from error
    except Exception as error:
        raise LabError(damaged(path, error)) from error


def damaged(path: Path, error: Exception) -> str:
    """The sentence for a file that can't be read to its end, with the first line of the reason."""
    reason = str(error).partition("\n")[0] or type(error).__name__
    return f"“{path}” is damaged or cut short ({reason}). Fetch it again."


def refusal(path: Path, name: str | None) -> str:
    """`name`: what the pickle would have called; None where that can't be told."""
    why = f"opening it would have run code (“{name}”)" if name else "it holds more than tensors"
    return (
        f"“{path}” was refused: {why}. Nothing of it was run. Weights need no code: get them as "
        "safetensors, from a source you trust."
    )


def _root(archive: zipfile.ZipFile) -> str | None:
    """The one folder that all of it lies in."""
    found = (re.fullmatch(r"([^/]+)/constants\.pkl", name) for name in archive.namelist())
    return next((match[1] for match in found if match), None)


def _rebuild(
    record: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_unused: Any
) -> Tensor:
    """A tensor in its record's bytes."""
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    # The record is a window: torch itself would only check against the ends of the file.
    if offset < 0 or min(stride, default=0) < 0 or (0 not in size and last >= len(record)):
        raise ValueError(f"a tensor of {size} reaches beyond its record")
    return record.as_strided(size, stride, record.storage_offset() + offset)


def _as_it_is(data: Any, *_unused: Any) -> Any:
    return data
