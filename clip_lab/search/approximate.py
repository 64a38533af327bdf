"""Approximate search: a graph over the same vectors, walked towards the query.

HNSW (Malkov and Yashunin 2016, arXiv 1603.09320), by usearch. It looks at a few thousand vectors
instead of all, and may miss some of the nearest. How many, `recall_at_k` says.
"""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm

from clip_lab.errors import LabError
from clip_lab.files import write_text, write_whole
from clip_lab.retrieval import BLOCK, Hit, VectorIndex, k_best

GRAPH, STAMP = "graph.usearch", "graph.json"
EXPANSION = 128  # candidates kept while walking: more find more, and take longer


class ApproximateIndex:
    """The graph of a `VectorIndex`, and that index itself: scores are its own exact cosines."""

    def __init__(self, exact: VectorIndex, graph: Any):
        self.exact = exact
        self.graph = graph

    @classmethod
    def build(cls, exact: VectorIndex, progress: bool = False) -> "ApproximateIndex":
        """A new graph. It takes minutes where there are 100,000 vectors: `save` it.

        `progress`: with a bar, once it has taken a second.
        """
        graph = _usearch()(
            ndim=exact.vectors.shape[1],
            metric="cos",
            dtype="f16",
            expansion_add=EXPANSION,
            expansion_search=EXPANSION,
        )
        with tqdm(total=len(exact), unit=" vectors", delay=1, disable=not progress) as bar:
            for start in range(0, len(exact), BLOCK):
                block = np.asarray(exact.vectors[start : start + BLOCK])
                graph.add(np.arange(start, start + len(block)), block)
                bar.update(len(block))
        return cls(exact, graph)

    def search(self, queries: Float[Tensor, "queries embed_dim"], k: int = 10) -> list[list[Hit]]:
        """For each query about its k nearest rows, best first. Raises LabError as the exact one."""
        self.exact.check(queries, k)
        if len(self.exact) == 0:
            return [[] for _ in queries]
        return [self._search(query, k) for query in queries.numpy().astype(np.float32)]

    def _search(self, query: Float[np.ndarray, " embed_dim"], k: int) -> list[Hit]:
        keys = self.graph.search(query, min(k, len(self.exact))).keys
        numbers: list[int] = sorted(keys.tolist())  # of equal scores the earlier row first
        scores = self.exact.vectors[numbers].astype(np.float32) @ query
        rows = self.exact.rows
        return [Hit(float(scores[i]), rows[numbers[i]], numbers[i]) for i in k_best(scores, k)]

    def save(self, folder: Path) -> None:
        """Two files: the graph, and what it was made of."""
        write_whole(folder / GRAPH, lambda path: self.graph.save(str(path)))
        stamp = {
            "vectors": _digest(self.exact.vectors),
            "graph": _digest(np.fromfile(folder / GRAPH, dtype=np.uint8)),
        }
        write_text(folder / STAMP, json.dumps(stamp))

    @classmethod
    def open(cls, folder: Path, exact: VectorIndex) -> "ApproximateIndex | None":
        """The graph that `save` left there; None where there is none of just these vectors.

        A damaged one counts as none. It is never handed to usearch, which trusts what it reads.
        """
        try:
            stamp = json.loads((folder / STAMP).read_text(encoding="utf-8"))
            content = (folder / GRAPH).read_bytes()
            whole = stamp["graph"] == _digest(np.frombuffer(content, dtype=np.uint8))
            if not whole or stamp["vectors"] != _digest(exact.vectors):
                return None
        except (OSError, ValueError, KeyError, TypeError):
            return None
        graph = _usearch().restore(content)
        if graph is None:
            return None
        graph.expansion_search = EXPANSION  # no part of the file
        return cls(exact, graph)


def recall_at_k(
    exact: VectorIndex | ApproximateIndex,
    approximate: VectorIndex | ApproximateIndex,
    queries: Float[Tensor, "queries embed_dim"],
    k: int = 10,
) -> float:
    """The share of the k nearest rows that the approximate index finds, over all queries."""
    pairs = zip(exact.search(queries, k), approximate.search(queries, k), strict=True)
    shares = [share_found(right, found) for right, found in pairs]
    if not shares:
        raise LabError("Recall needs at least one query to be measured on.")
    return sum(shares) / len(shares)


def share_found(right: Sequence[Hit], found: Sequence[Hit]) -> float:
    """How much of `right`, the k nearest, is found. A row as near as the farthest of them counts.

    Duplicates are equally near, and which of them comes k-th is an accident.
    """
    if not right:
        return 1.0
    farthest = right[-1].score - 1e-6  # two ways to add up a cosine differ by as much
    return min(sum(hit.score >= farthest for hit in found), len(right)) / len(right)


def _digest(array: np.ndarray) -> str:
    return hashlib.blake2b(np.ascontiguousarray(array).data.cast("B"), digest_size=16).hexdigest()


def _usearch() -> Any:
    try:
        from usearch.index import Index
    except ImportError as error:
        raise LabError(
            f"Approximate search needs: pip install “clip-lab[search]” ({error})."
        ) from error
    return Index
