"""A fixed number of pairs, drawn once: training that goes through the same data again and again.

The shapes world is endless, the internet is not. Here a finite part of it is kept, as whole numbers
from 0 to 255 (3 KB a picture of 32 pixels), so that the number of distinct pairs, or the size of a
batch, can vary while everything else stays.
"""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from clip_lab.data.batch import Batch, Pairs
from clip_lab.data.shapes import ShapesPairs
from clip_lab.errors import LabError

AT_ONCE = 500


class Drawn(NamedTuple):
    """Pictures and their captions, row by row."""

    pictures: UInt8[Tensor, "pairs 3 size size"]
    captions: list[str]

    def first(self, count: int) -> "Drawn":
        """The beginning: of one draw, the smaller sets are part of the larger."""
        return Drawn(self.pictures[:count], self.captions[:count])


def draw_pairs(count: int, size: int, seed: int) -> Drawn:
    """`count` pairs of the shapes world, in which no held-out combination appears."""
    endless = ShapesPairs(AT_ONCE, size, seed)
    pictures = torch.empty(count, 3, size, size, dtype=torch.uint8)
    captions: list[str] = []
    for number, start in enumerate(range(0, count, AT_ONCE)):
        batch = endless.batch(number)
        room = min(AT_ONCE, count - start)
        pictures[start : start + room] = (batch.images[:room] * 255).round()
        captions += batch.captions[:room]
    return Drawn(pictures, captions)


class Pool(Pairs):
    """Batches of what was drawn, epoch after epoch, each in a random order of its own.

    The order depends on the seed alone: batches of another size cut the same row of pairs in other
    places. What doesn't fill a batch is left out until the next epoch.
    """

    def __init__(self, drawn: Drawn, batch_size: int, seed: int) -> None:
        count = len(drawn.captions)
        if not 0 < batch_size <= count:
            raise LabError(f"A batch of {batch_size} can't be filled from {count} pairs.")
        self.drawn, self.batch_size, self.seed = drawn, batch_size, seed

    def batch(self, step: int) -> Batch:
        count = len(self.drawn.captions)
        epoch, place = divmod(step, count // self.batch_size)
        order = np.random.default_rng([self.seed, epoch]).permutation(count)
        rows = order[place * self.batch_size : (place + 1) * self.batch_size]
        captions = [self.drawn.captions[row] for row in rows]
        return Batch(self.drawn.pictures[torch.from_numpy(rows)], captions)
