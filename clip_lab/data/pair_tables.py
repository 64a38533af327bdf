"""Pairs from tables: CSV, TSV and Parquet files with a column of picture files and one of captions.

Paths are relative to the table's folder and stay in it: one that climbs out by ".." is refused. An
absolute path is taken as it stands: who writes one means that place.
"""

import csv
import os
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from clip_lab.data.file_pairs import Row, Source
from clip_lab.errors import LabError

DELIMITERS = {".csv": ",", ".tsv": "\t"}
PARQUET = ".parquet"
TABLES = (*DELIMITERS, PARQUET)
PICTURE_COLUMNS = (
    "filepath", "file_path", "path", "image_path", "img_path", "file_name", "filename", "file",
    "image", "img", "picture",
)  # fmt: skip
CAPTION_COLUMNS = ("caption", "captions", "title", "text", "description")
MISSING_ARROW = 'Parquet files need pyarrow: pip install "clip-lab[training]"'


class Strings:
    """Strings end to end in one piece of memory, with where each ends.

    A list of millions of strings takes several times the room, and loader processes, which begin as
    copies of this one, would each come to hold it anew.
    """

    def __init__(self, strings: Iterable[str] = ()):
        self.bytes, self.ends = bytearray(), array("q")
        for string in strings:
            self.append(string)

    def append(self, string: str) -> None:
        self.bytes += string.encode("utf-8", "surrogateescape")  # file names may be no UTF-8
        self.ends.append(len(self.bytes))

    def __len__(self) -> int:
        return len(self.ends)

    def __getitem__(self, number: int) -> str:
        start = self.ends[number - 1] if number else 0
        return self.bytes[start : self.ends[number]].decode("utf-8", "surrogateescape")

    def __iter__(self) -> Iterator[str]:
        return (self[number] for number in range(len(self)))


class Table(Source):
    """A row is a row: a picture that stands in five rows with five captions is five pairs."""

    def __init__(self, folder: Path, paths: Any, captions: Any):
        self.folder, self.paths, self.captions = folder, paths, captions
        self.shard_sizes = np.array([len(paths)])

    def row(self, number: int) -> Row:
        try:
            path, captions = _plain(self.paths[number]), _plain(self.captions[number])
        except UnicodeDecodeError as error:
            raise LabError(f"It holds no UTF-8 ({error.reason}).") from error
        texts = captions if isinstance(captions, list) else [captions]
        good = [text.strip() for text in texts if isinstance(text, str) and text.strip()]
        return Row(self._inside(path), good, str(path))

    def _inside(self, path: Any) -> Path:
        if not isinstance(path, str) or not path:
            raise LabError("It names no picture file.")
        if os.path.normpath(path).split(os.sep)[0] == os.pardir:
            raise LabError(f"“{path}” lies outside of the table's folder, where it isn't looked.")
        if not os.path.isfile(self.folder / path):  # a device or a pipe could be read for ever
            raise LabError(f"There is no file “{path}”.")
        return self.folder / path


def _plain(value: Any) -> Any:
    """Arrow's values as Python's."""
    return value if isinstance(value, str) else value.as_py()


def open_table(
    path: Path, picture_column: str | None = None, caption_column: str | None = None
) -> Table:
    """The pairs of a .csv, .tsv or .parquet file; the first line of a text table names the columns.

    Columns are found by their usual names ("filepath", "image", ...; "caption", "title", ...)
    unless they are given. Raises LabError for a file that can't be read, has no such column or no
    row. In Parquet a caption may be a list: one is chosen each time.
    """
    read = _read_parquet if path.suffix.lower() == PARQUET else _read_text
    paths, captions = read(path, picture_column, caption_column)
    if not len(paths):
        raise LabError(f"“{path}” has no rows below the names of its columns.")
    first = str(_plain(paths[0]))
    if "://" in first:
        raise LabError(
            f"“{path}” holds addresses such as “{first}”, not files. Fetch the pictures first: "
            "img2dataset does it (book, “Training at scale”)."
        )
    return Table(path.parent, paths, captions)


def _read_text(path: Path, picture: str | None, caption: str | None) -> tuple[Strings, Strings]:
    paths, captions = Strings(), Strings()
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = csv.reader(stream, delimiter=DELIMITERS[path.suffix.lower()])
            names = next(rows, [])
            first = names.index(_column(path, names, picture, PICTURE_COLUMNS, "picture"))
            second = names.index(_column(path, names, caption, CAPTION_COLUMNS, "caption"))
            for cells in filter(None, rows):
                cells += [""] * (len(names) - len(cells))  # a short row lacks its last cells
                paths.append(cells[first])
                captions.append(cells[second])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise LabError(
            f"“{path}” is no table in UTF-8 that can be read ({error}). Export it again."
        ) from error
    return paths, captions


def _read_parquet(path: Path, picture: str | None, caption: str | None) -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise LabError(MISSING_ARROW) from error
    text = (pyarrow.string(), pyarrow.large_string())
    lists = tuple(make(kind) for make in (pyarrow.list_, pyarrow.large_list) for kind in text)
    try:
        schema = parquet.read_schema(path)
        first = _column(path, schema.names, picture, PICTURE_COLUMNS, "picture")
        second = _column(path, schema.names, caption, CAPTION_COLUMNS, "caption")
        for name, allowed in ((first, text), (second, text + lists)):
            if (kind := schema.field(name).type) not in allowed:
                raise LabError(
                    f"The column “{name}” of “{path}” holds {kind}, not text. Choose another: "
                    f"{', '.join(schema.names)}."
                )
        table = parquet.read_table(path, columns=sorted({first, second}))
        return table[first], table[second]
    except (OSError, KeyError, pyarrow.ArrowException) as error:
        raise LabError(f"“{path}” is no Parquet file that can be read ({error}).") from error


def _column(
    path: Path, names: Sequence[str], asked: str | None, usual: Sequence[str], what: str
) -> str:
    """The column's name: the one that was asked for, else the first of the usual ones."""
    if asked is None:
        by_lower = {name.strip().lower(): name for name in reversed(names)}
        found = next((by_lower[name] for name in usual if name in by_lower), None)
    else:
        found = asked if asked in names else None
    if found is None:
        raise LabError(
            f"“{path}” has no column “{asked or usual[0]}” for the {what}; it has: "
            f"{', '.join(names) or 'none'}. Say which one it is."
        )
    return found
