"""Points of maps as they lie in the package: made once, opened without computing anything.

One small file a model: compressed arrays (float16 for points) with a row for each picture and text,
and a signature that names the very weights and the very collection. The eye doesn't see what
float16 rounds off, at most 1/2000 of a coordinate.
"""

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Shaped

from clip_lab.errors import LabError
from clip_lab.files import write_whole

SIGNATURE = "signature"
# What numpy says of a file that isn't there, isn't an archive, or is one with something else in it.
FAULTS = (OSError, ValueError, KeyError, EOFError, AttributeError, TypeError, NotImplementedError,
          zlib.error, zipfile.BadZipFile)  # fmt: skip
Arrays = Mapping[str, Shaped[np.ndarray, "rows *columns"]]


def save_coordinates(path: Path, signature: str, arrays: Arrays) -> None:
    """Write arrays with a row for each thing on the map; numbers with a point become float16."""
    short: dict[str, Any] = {name: _short(array) for name, array in arrays.items()}
    short[SIGNATURE] = np.array(signature)

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            np.savez_compressed(file, **short)

    write_whole(path, write)


def _short(array: np.ndarray) -> np.ndarray:
    return array.astype(np.float16) if array.dtype.kind == "f" else array


def read_signature(path: Path) -> str:
    """What a file of coordinates belongs to. Raises LabError where it can't be read."""
    return str(_read(path)[SIGNATURE])


def open_coordinates(path: Path, signature: str, rows: int) -> dict[str, np.ndarray]:
    """The arrays of a file that `save_coordinates` wrote, points in float32.

    Raises LabError where the file is missing or damaged, where it belongs to other weights or
    another collection, or where it hasn't a row for each thing.
    """
    arrays = _read(path)
    belongs = str(arrays.pop(SIGNATURE))
    if belongs != signature:
        raise LabError(
            f"The coordinates in “{path.name}” are those of {belongs}, not of {signature}. "
            "Make them anew: python scripts/map_coordinates.py."
        )
    for name, array in arrays.items():
        if array.ndim == 0 or len(array) != rows or not np.isfinite(array).all():
            raise LabError(f"“{path.name}” is damaged: {name} hasn't a number for each of {rows}.")
    return {
        name: array.astype(np.float32) if array.dtype.kind == "f" else array
        for name, array in arrays.items()
    }


def _read(path: Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        numbers = all(
            array.dtype.kind in "fi" for name, array in arrays.items() if name != SIGNATURE
        )
        if arrays[SIGNATURE].dtype.kind != "U" or not numbers:
            raise ValueError("not what was expected inside")
        return arrays
    except FAULTS as error:
        raise LabError(
            f"“{path}” holds no coordinates that can be read ({error}). "
            "Make them anew: python scripts/map_coordinates.py."
        ) from error
