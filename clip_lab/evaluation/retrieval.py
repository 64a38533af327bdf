"""Retrieval as benchmarks report it: is the right one among the first 1, 5 or 10 found?

R@k (recall at k), for text to image: the share of captions whose picture is among the k best; for
image to text: the share of pictures of which at least one caption is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from clip_lab.evaluation.accuracy import wilson

KS = (1, 5, 10)
BLOCK = 2**22  # scores held at a time: 16 MB, and a little for what is worked out from them


@dataclass(frozen=True)
class Retrieval:
    """R@1, 5 and 10, shares of one, both ways, and their 95 % intervals."""

    text_to_image: tuple[float, ...]
    image_to_text: tuple[float, ...]
    text_to_image_intervals: tuple[tuple[float, float], ...]
    image_to_text_intervals: tuple[tuple[float, float], ...]
    pictures: int
    captions: int

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values, under CLIP_benchmark's names ("image retrieval" is text to image)."""
        values: dict[str, Any] = {
            "task": "retrieval",
            "pictures": self.pictures,
            "captions": self.captions,
        }
        for way, recalls, intervals in (
            ("image_retrieval", self.text_to_image, self.text_to_image_intervals),
            ("text_retrieval", self.image_to_text, self.image_to_text_intervals),
        ):
            for k, recall, interval in zip(KS, recalls, intervals, strict=True):
                values[f"{way}_recall@{k}"] = recall
                values[f"{way}_recall@{k}_interval_95"] = list(interval)
        return values

    def rows(self) -> list[str]:
        """Lines of a table."""
        lines = ["               " + "".join(f"{f'R@{k}':>18}" for k in KS)]
        for way, recalls, intervals in (
            ("text to image", self.text_to_image, self.text_to_image_intervals),
            ("image to text", self.image_to_text, self.image_to_text_intervals),
        ):
            lines.append(f"{way:15}" + "".join(f"{recall:18.2%}" for recall in recalls))
            bounds = (f"{100 * low:.2f} to {100 * high:.2f}" for low, high in intervals)
            lines.append("  95 % interval" + "".join(f"{text:>18}" for text in bounds))
        return lines


def retrieve(
    image_vectors: Float[Tensor, "pictures embed_dim"],
    text_vectors: Float[Tensor, "captions embed_dim"],
    captions: Sequence[Sequence[str]],
) -> Retrieval:
    """Every caption looks for its picture, every picture for one of its captions.

    `captions`: those of each picture; `text_vectors` has a row for each, in the same order. A
    caption in another picture's list that says the very same words is right as well: there is no
    telling them apart. Both ways the intervals are for pictures drawn at random, each with its
    captions, and for a collection as large as this one: among more pictures every recall is lower.
    """
    owners = [i for i, own in enumerate(captions) for _ in own]
    columns: dict[str, list[int]] = {}
    for column, text in enumerate(text for own in captions for text in own):
        columns.setdefault(text, []).append(column)
    right_texts = [[column for text in set(own) for column in columns[text]] for own in captions]
    to_image = ranks_of_best(text_vectors, image_vectors, [[owner] for owner in owners])
    to_text = ranks_of_best(image_vectors, text_vectors, right_texts)
    return Retrieval(
        _recalls(to_image),
        _recalls(to_text),
        _intervals(to_image, torch.tensor(owners)),
        _intervals(to_text, torch.arange(len(to_text))),
        len(image_vectors),
        len(text_vectors),
    )


def _recalls(ranks: Int[Tensor, " queries"]) -> tuple[float, ...]:
    return tuple((ranks < k).double().mean().item() for k in KS)


def _intervals(
    ranks: Int[Tensor, " queries"], owners: Int[Tensor, " queries"]
) -> tuple[tuple[float, float], ...]:
    """95 % intervals of the recalls; `owners`: the picture that each query belongs to."""
    return tuple(_interval((ranks < k).double(), owners) for k in KS)


def _interval(
    found: Float[Tensor, " queries"], owners: Int[Tensor, " queries"]
) -> tuple[float, float]:
    """Wilson's interval for as many queries as these are worth.

    Captions of one picture tend to find it together or to miss it together, so five of them say
    less than five captions of five pictures. The variance of the recall when whole pictures are
    drawn, over that of independent queries, is Kish's design effect; the number of queries is
    divided by it. Where all or none are found it can't be told, and a picture counts once.
    """
    number, recall = len(found), found.mean().item()
    if 0 < recall < 1:
        together = torch.bincount(owners, found - recall).square().sum().item()
        queries = round(number / max(1.0, together / (number * recall * (1 - recall))))
    else:
        queries = len(owners.unique())
    return wilson(recall, max(1, queries))


def ranks_of_best(
    queries: Float[Tensor, "queries embed_dim"],
    candidates: Float[Tensor, "candidates embed_dim"],
    right: Sequence[Sequence[int]],
) -> Int[Tensor, " queries"]:
    """For each query, how many wrong candidates stand before the best of its right ones.

    They are counted, not sorted, for a few queries at a time: `BLOCK` bounds the memory, however
    many there are. A wrong candidate that scores exactly as high counts as standing before, so
    that a model which gives the same vector to everything finds nothing.
    """
    size = max(1, BLOCK // len(candidates))
    ranks = torch.empty(len(queries), dtype=torch.long)
    for start in range(0, len(queries), size):
        scores = queries[start : start + size] @ candidates.T
        pairs = [(row, i) for row, own in enumerate(right[start : start + size]) for i in own]
        rows, columns = torch.tensor(pairs).T
        own = scores[rows, columns]
        best = torch.full((len(scores),), -torch.inf).scatter_reduce(0, rows, own, "amax")
        as_high = (scores >= best[:, None]).sum(dim=1)
        right_ones = torch.bincount(rows[own >= best[rows]], minlength=len(scores))
        ranks[start : start + size] = as_high - right_ones
    return ranks
