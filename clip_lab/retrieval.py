"""Search by meaning: keep many unit vectors, find those nearest to a query's.

Exact: one matrix product over all vectors, which are memory-mapped as float16, so that a big
collection needn't fit in memory; SQLite says what each row is.
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor

from clip_lab.errors import LabError
from clip_lab.files import write_whole

PICTURE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
VECTORS, ROWS = "vectors.npy", "rows.sqlite"
BLOCK = 65_536  # rows multiplied at a time: bounds memory on a big collection


@dataclass(frozen=True)
class Hit:
    """One result: the cosine to the query, and what is known of the row."""

    score: float
    row: dict[str, Any]


class VectorIndex:
    """Unit vectors, and a small dictionary for each of them."""

    def __init__(
        self, vectors: Float[np.ndarray, "rows embed_dim"], rows: Sequence[dict[str, Any]]
    ):
        if len(vectors) != len(rows):
            raise LabError(f"{len(vectors)} vectors, but {len(rows)} rows that say what they are.")
        self.vectors = vectors
        self.rows = rows

    @classmethod
    def build(cls, vectors: Float[Tensor, "rows embed_dim"], rows: Sequence[dict]) -> "VectorIndex":
        """An index in memory."""
        return cls(vectors.numpy().astype(np.float16), rows)

    def __len__(self) -> int:
        return len(self.vectors)

    def search(self, queries: Float[Tensor, "queries embed_dim"], k: int = 10) -> list[list[Hit]]:
        """For each query its k nearest rows by cosine, best first; fewer where there are fewer."""
        if len(self) == 0:
            return [[] for _ in queries]
        if queries.shape[1] != self.vectors.shape[1]:
            raise LabError(
                f"The index was made by another model: its vectors have {self.vectors.shape[1]} "
                f"numbers, the query {queries.shape[1]}."
            )
        scores = self._cosines(queries.numpy())
        order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return [
            [Hit(float(row[i]), self.rows[i]) for i in best]
            for row, best in zip(scores, order, strict=True)
        ]

    def _cosines(
        self, queries: Float[np.ndarray, "queries embed_dim"]
    ) -> Float[np.ndarray, "queries rows"]:
        blocks = (self.vectors[i : i + BLOCK] for i in range(0, len(self), BLOCK))
        return np.concatenate([queries @ block.astype(np.float32).T for block in blocks], axis=1)

    def save(self, folder: str | Path) -> None:
        """Two files, each written whole or not at all."""
        folder = Path(folder)
        write_whole(folder / ROWS, self._write_rows)
        write_whole(folder / VECTORS, self._write_vectors)

    def _write_vectors(self, path: Path) -> None:
        with path.open("wb") as file:
            np.save(file, self.vectors)

    def _write_rows(self, path: Path) -> None:
        connection = sqlite3.connect(path)
        with connection:
            connection.execute("CREATE TABLE rows (id INTEGER PRIMARY KEY, json TEXT)")
            values = ((i, json.dumps(row)) for i, row in enumerate(self.rows))
            connection.executemany("INSERT INTO rows VALUES (?, ?)", values)
        connection.close()

    @classmethod
    def open(cls, folder: str | Path) -> "VectorIndex":
        """An index that `save` wrote. Raises LabError where it is missing or damaged."""
        folder = Path(folder)
        try:
            vectors = np.load(folder / VECTORS, mmap_mode="r", allow_pickle=False)
            connection = sqlite3.connect(f"file:{folder / ROWS}?mode=ro", uri=True)
            rows = connection.execute("SELECT json FROM rows ORDER BY id").fetchall()
            connection.close()
            return cls(vectors, [json.loads(row) for (row,) in rows])
        except (OSError, ValueError, EOFError, sqlite3.Error) as error:
            raise LabError(f"“{folder}” holds no index that can be read ({error}).") from error


def find_pictures(folder: str | Path) -> Iterator[Path]:
    """Every file below the folder whose name ends like a picture's, in order of name."""
    if not Path(folder).is_dir():
        raise LabError(f"There is no folder “{folder}”.")
    for path in sorted(Path(folder).rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in PICTURE_SUFFIXES and not hidden and path.is_file():
            yield path
