"""Search by meaning: keep many unit vectors, find those nearest to a query's.

Exact: one matrix product over all vectors, which are memory-mapped as float16, so that a big
collection needn't fit in memory; SQLite says what each row is. Filters, folders of one's own
pictures and approximate search: `clip_lab.search`.
"""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from clip_lab.errors import LabError
from clip_lab.files import write_whole

PICTURE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
VECTORS, ROWS = "vectors.npy", "rows.sqlite"
BLOCK = 2048  # rows multiplied at a time: as float32 they still lie in the processor's cache


@dataclass(frozen=True)
class Hit:
    """One result: the cosine to the query, what is known of the row, and the row's number."""

    score: float
    row: dict[str, Any]
    number: int


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

    def search(
        self,
        queries: Float[Tensor, "queries embed_dim"],
        k: int = 10,
        among: Bool[np.ndarray, " rows"] | None = None,
    ) -> list[list[Hit]]:
        """For each query its k nearest rows by cosine, best first; fewer where there are fewer.

        `among`: only the rows marked True are looked at, so k come back wherever k are marked. Of
        equally near rows the earlier comes first. Raises LabError for another model's vectors.
        """
        self.check(queries, k)
        numbers = np.arange(len(self)) if among is None else np.flatnonzero(among)
        if len(numbers) == 0:
            return [[] for _ in queries]
        scores = self._cosines(queries, None if among is None else numbers)
        return [
            [self._hit(int(numbers[i]), float(row[i])) for i in k_best(row, k)] for row in scores
        ]

    def _hit(self, number: int, score: float) -> Hit:
        return Hit(score, self.rows[number], number)

    def check(self, queries: Float[Tensor, "queries query_dim"], k: int) -> None:
        """Raises LabError for queries that can't be answered."""
        if len(self) and queries.shape[1] != self.vectors.shape[1]:
            raise LabError(
                f"The index was made by another model: its vectors have {self.vectors.shape[1]} "
                f"numbers, the query {queries.shape[1]}."
            )
        if not queries.isfinite().all():
            raise LabError("The query's vector holds values that are no numbers. Encode it again.")
        if k < 1:
            raise LabError(f"The {k} nearest can't be found: ask for 1 or more.")

    def _cosines(
        self,
        queries: Float[Tensor, "queries embed_dim"],
        numbers: Int[np.ndarray, " chosen"] | None,
    ) -> Float[np.ndarray, "queries chosen"]:
        """Block by block, each made float32 in the same small piece of memory.

        A fresh piece for each block would cost ten times the product itself: the system has to
        find and clear it.
        """
        vectors = torch.from_numpy(self.vectors)
        count = len(vectors) if numbers is None else len(numbers)
        buffer = torch.empty(min(BLOCK, count), vectors.shape[1])
        scores = torch.empty(len(queries), count)
        for start in range(0, count, BLOCK):
            own = slice(start, min(start + BLOCK, count))
            block = vectors[own if numbers is None else torch.from_numpy(numbers[own])]
            scores[:, own] = queries @ buffer[: len(block)].copy_(block).T
        return scores.numpy()

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
            # "c": torch wants memory that could be written to. Nothing is, and no file changes.
            vectors = np.load(folder / VECTORS, mmap_mode="c", allow_pickle=False)
            connection = sqlite3.connect(f"file:{folder / ROWS}?mode=ro", uri=True)
            rows = connection.execute("SELECT json FROM rows ORDER BY id").fetchall()
            connection.close()
            return cls(vectors, [json.loads(row) for (row,) in rows])
        except (OSError, ValueError, EOFError, sqlite3.Error) as error:
            raise LabError(f"“{folder}” holds no index that can be read ({error}).") from error


def k_best(scores: Float[np.ndarray, " rows"], k: int) -> Int[np.ndarray, " best"]:
    """Places of the k highest scores, best first; of equal ones the earlier place first.

    Only what reaches the k-th highest is sorted: finding that one takes a pass or two over the
    scores, sorting them all some twenty.
    """
    places = np.arange(len(scores))
    if k < len(scores):
        lowest = np.partition(scores, len(scores) - k)[len(scores) - k]
        places = np.flatnonzero(scores >= lowest)
    return places[np.argsort(-scores[places], kind="stable")][:k]


def find_pictures(folder: str | Path) -> Iterator[Path]:
    """Every file below the folder whose name ends like a picture's, in order of name."""
    if not Path(folder).is_dir():
        raise LabError(f"There is no folder “{folder}”.")
    for path in sorted(Path(folder).rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in PICTURE_SUFFIXES and not hidden and path.is_file():
            yield path
