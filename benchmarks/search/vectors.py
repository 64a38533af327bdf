"""One query against many vectors: ours, usearch, and what one would write in NumPy or PyTorch."""

import time
from collections.abc import Callable, Sequence
from importlib import metadata
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.inference.measure import by_turns, compared
from clip_lab.retrieval import VectorIndex
from clip_lab.search import ApproximateIndex, Filter

Record = dict[str, Any]
EMBED_DIM, K, QUERIES = 512, 10, 100
TOPICS, SPREAD = 1000, 0.8  # a collection has kinds of things in it: noise alone has no neighbours
OURS = "clip_lab exact"


def made(number: int, seed: int) -> Tensor:
    """Unit vectors around a thousand topics, each topic about 0.78 from its own."""
    topics = F.normalize(torch.randn(TOPICS, EMBED_DIM, generator=_dice(0)), dim=-1)
    dice = _dice(seed)
    chosen = topics[torch.randint(TOPICS, (number,), generator=dice)]
    noise = torch.randn(number, EMBED_DIM, generator=dice) * SPREAD / EMBED_DIM**0.5
    return F.normalize(chosen + noise, dim=-1)


def _dice(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def vectors_part(rounds: int, sizes: Sequence[int]) -> Record:
    """By size: seconds, recall@10 of each, and what the graph took to build."""
    result: Record = {"embed_dim": EMBED_DIM, "k": K, "usearch": metadata.version("usearch")}
    for number in sizes:
        result[str(number)] = one_size(number, rounds)
    return result


def one_size(number: int, rounds: int) -> Record:
    vectors, queries = made(number, 1), made(QUERIES, 2)
    index = VectorIndex.build(vectors, [{"name": f"photo {i}.jpg"} for i in range(number)])
    began = time.perf_counter()
    graph = ApproximateIndex.build(index)
    built = time.perf_counter() - began
    cases = contenders(index, graph)
    seconds = by_turns({name: _asked(case, queries) for name, case in cases.items()}, rounds, 3)
    found = compared(seconds, OURS)
    truth = exact(index, queries)
    for name, case in cases.items():
        if "filter" not in name:
            found[name]["recall_at_10"] = recall(truth, [case(query) for query in queries])
    return {"graph_build_seconds": round(built, 2), "contenders": found}


def contenders(
    index: VectorIndex, graph: ApproximateIndex
) -> dict[str, Callable[[Tensor], list[int]]]:
    """Each takes a query and gives the numbers of the nearest rows."""
    from usearch.index import MetricKind, search

    half = index.vectors
    whole = half.astype(np.float32)
    tensor = torch.from_numpy(whole)

    def filtered(query: Tensor) -> list[int]:
        among = Filter(name="7.jpg").among(index.rows)  # a tenth of them
        return [hit.number for hit in index.search(query[None], K, among)[0]]

    return {
        OURS: lambda query: [hit.number for hit in index.search(query[None], K)[0]],
        "clip_lab exact, a filter worked out each time": filtered,
        "clip_lab approximate": lambda query: [h.number for h in graph.search(query[None], K)[0]],
        "usearch graph": lambda query: graph.graph.search(query.numpy(), K).keys.tolist(),
        "usearch exact, float16": lambda query: search(
            half, query.half().numpy(), K, MetricKind.Cos, exact=True
        ).keys.tolist(),
        "NumPy, float32 held": lambda query: np.argsort(-(whole @ query.numpy()))[:K].tolist(),
        "NumPy, from float16": lambda query: np.argsort(-(half.astype(np.float32) @ query.numpy()))[
            :K
        ].tolist(),
        "PyTorch topk, float32 held": lambda query: (tensor @ query).topk(K).indices.tolist(),
    }


def _asked(case: Callable[[Tensor], list[int]], queries: Tensor) -> Callable[[], list[int]]:
    """Another query each time, so that nothing is remembered."""
    turn = 0

    def ask() -> list[int]:
        nonlocal turn
        turn += 1
        return case(queries[turn % len(queries)])

    return ask


def exact(index: VectorIndex, queries: Tensor) -> list[list[int]]:
    """The nearest rows by float64, sorted whole."""
    scores = queries.double().numpy() @ index.vectors.astype(np.float64).T
    return np.argsort(-scores, axis=1, kind="stable")[:, :K].tolist()


def recall(truth: list[list[int]], found: list[list[int]]) -> float:
    """Means the same as `recall_at_k`, worked out apart from it."""
    shares = [len(set(a) & set(b)) / len(a) for a, b in zip(truth, found, strict=True)]
    return round(sum(shares) / len(shares), 4)
