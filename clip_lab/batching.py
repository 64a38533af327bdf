"""How many things become batches: texts beside texts like them, pictures prepared ahead."""

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

import torch
from jaxtyping import Int
from torch import Tensor

T = TypeVar("T")
U = TypeVar("U")

MANY = 64  # texts: that many with one beginning are batches of their own
SHORTEST, LONGEST = 4, 16  # tokens: the beginnings that are looked for
WORTH_A_BATCH = 200  # tokens: fewer don't keep a matrix product busy


def alike(tokens: Int[Tensor, "texts context"], size: int) -> Iterator[Int[Tensor, "batch"]]:
    """Row numbers, at most `size` at a time: texts that begin alike, then texts of like length.

    The model works through a shared beginning once and cuts a batch at its longest text, so such
    batches are the cheapest. Prompts of one template begin alike; most captions don't.
    """
    group = torch.zeros(len(tokens), dtype=torch.long)
    for depth in range(SHORTEST, LONGEST + 1):  # the longest beginning that many share counts
        _, which, counts = tokens[:, :depth].unique(dim=0, return_inverse=True, return_counts=True)
        many = counts[which] >= MANY
        group[many] = which[many] + depth * len(tokens)
    last = last_tokens(tokens)
    order = (group * tokens.shape[1] + last).argsort(stable=True)
    sizes = group[order].unique_consecutive(return_counts=True)[1].tolist()
    for part in order.split(sizes):
        yield from _of_like_length(part, (last[part] + 1).tolist(), size)


def _of_like_length(
    rows: Int[Tensor, "rows"], lengths: list[int], size: int
) -> Iterator[Int[Tensor, "batch"]]:
    """Cut where texts get a quarter longer, if enough tokens have come together by then."""
    start = 0
    for i in range(1, len(rows) + 1):
        full = i == len(rows) or i - start == size
        if full or (
            lengths[i] > 1.25 * lengths[start] and (i - start) * lengths[i - 1] >= WORTH_A_BATCH
        ):
            yield rows[start:i]
            start = i


def last_tokens(tokens: Int[Tensor, "texts context"]) -> Int[Tensor, "texts"]:
    """Where each text's last token stands: what follows is padding, zeros."""
    return (tokens != 0).mul(torch.arange(tokens.shape[1], device=tokens.device)).amax(dim=1)


def ahead(function: Callable[[T], U], items: Iterable[T], limit: int) -> Iterator[U]:
    """function(item) for each, in order, worked out in threads while the caller does other things.

    At most `limit` results wait to be taken, so that memory stays bounded however many items come.
    The first error is raised in its item's place.
    """
    waiting: deque[Future[U]] = deque()
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        for item in items:
            waiting.append(pool.submit(function, item))
            if len(waiting) >= limit:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of `size` items, the last one shorter."""
    iterator = iter(items)
    while chunk := list(islice(iterator, size)):
        yield chunk
