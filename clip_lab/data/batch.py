"""What training learns from: batches by number, the same whenever they are asked for."""

from abc import abstractmethod
from collections.abc import Iterator
from hashlib import blake2b
from typing import NamedTuple

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

# In [0, 1], or whole numbers from 0 to 255, which take a quarter of the room on their way.
Pictures = Float[Tensor, "batch 3 size size"] | UInt8[Tensor, "batch 3 size size"]


class Batch(NamedTuple):
    """Pictures and captions, row by row, and what the loop needs to know about them.

    A picture may have several captions, as many as every other: they stand side by side.
    """

    images: Pictures  # not yet normalised
    captions: list[str]
    groups: Int[Tensor, " batch"] | None = None  # rows that are right for each other share a number
    ids: list[str] | None = None  # where each pair comes from, for a message when something fails
    skipped: tuple[str, ...] = ()  # damaged samples that others took the place of, and why

    def right(self) -> Int[Tensor, " batch"]:
        """The groups; by default, pictures whose captions are the very same belong together."""
        if self.groups is not None:
            return self.groups
        each = len(self.captions) // len(self.images)
        rows = range(0, len(self.captions), each)
        return caption_groups(["\n".join(self.captions[row : row + each]) for row in rows])

    def part(self, rank: int, world: int) -> "Batch":
        """The rows of one process of several; they differ by one at most, and leave none out."""
        count = len(self.images)
        each = len(self.captions) // count
        first, last = rank * count // world, (rank + 1) * count // world
        return Batch(
            self.images[first:last],
            self.captions[first * each : last * each],
            self.right()[first:last],
            self.ids and self.ids[first:last],
            self.skipped if rank == 0 else (),
        )


def caption_groups(captions: list[str]) -> Int[Tensor, " batch"]:
    """One number for each different caption: the same in every batch and every process."""
    digests = (blake2b(caption.encode(), digest_size=8).digest() for caption in captions)
    return torch.tensor([int.from_bytes(digest, "little", signed=True) for digest in digests])


class Pairs(IterableDataset):
    """Endless batches for contrastive training.

    Batch number n depends on the data's own settings and on n alone, so that training resumes
    exactly from any step. As an iterable it gives batches from `start_step` on; of several
    `DataLoader` workers (with `batch_size=None`) each makes every k-th, and the loader gives them
    in order.
    """

    start_step = 0

    @abstractmethod
    def batch(self, step: int) -> Batch:
        """Batch number `step`."""

    def part(self, rank: int, world: int) -> "Pairs":
        """What one process of several sees of each batch."""
        return self if world == 1 else _Part(self, rank, world)

    def __iter__(self) -> Iterator[Batch]:
        worker = get_worker_info()
        first, stride = (worker.id, worker.num_workers) if worker else (0, 1)
        step = self.start_step + first
        while True:
            yield self.batch(step)
            step += stride


class _Part(Pairs):
    """The rows of one process; made by cutting the whole, so that all agree on what it is."""

    def __init__(self, whole: Pairs, rank: int, world: int):
        self.whole, self.rank, self.world = whole, rank, world
        self.start_step = whole.start_step

    def batch(self, step: int) -> Batch:
        return self.whole.batch(step).part(self.rank, self.world)
