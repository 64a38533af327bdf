"""Training batches from pictures on the disk, however many: any *source* of rows, in random order.

A source is rows by number (`pair_shards`, `pair_tables` and `pair_sources` have some). Which rows
are in batch n, how each is cropped, and which caption is chosen when there are several, follow from
the settings and n alone. Nothing else is kept, so a run goes on from any step, in any number of
processes and loader workers, as if it had never stopped.
"""

import copy
import io
import math
import warnings
from abc import ABC, abstractmethod
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int, UInt8
from PIL import Image
from torch import Tensor

from clip_lab.data.batch import Batch, Pairs
from clip_lab.errors import LabError
from clip_lab.preprocess import FORMATS, open_image

SMALLEST = 0.9  # of the largest square's area that a crop keeps at least, as OpenCLIP's recipe
FEW = 8  # damaged samples in a batch, however small, that stop nothing
SHOWN = 3  # of the damaged samples, in an error message
ORDER, SHUFFLE, SAMPLE = 1, 2, 3  # one stream of random numbers for each purpose


class Row(NamedTuple):
    """A pair as it lies there: the picture not decoded, the captions to choose one from."""

    picture: bytes | Path
    captions: list[str]
    id: str  # where it comes from, as a message names it


class Source(ABC):
    """Rows by number.

    `shard_sizes`: how many rows lie in each file, in order; one number where each row is a file of
    its own. `notes`: a sentence for each thing that was amiss at opening and is worked around.
    """

    shard_sizes: Int[np.ndarray, " shards"]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return int(self.shard_sizes.sum())

    @abstractmethod
    def row(self, number: int) -> Row:
        """Row `number`, from 0. Raises LabError for one that can't be read."""


class FilePairs(Pairs):
    """Batches of `size` pixels from any source, each row once an epoch.

    An epoch is `steps_per_epoch` batches; the rows that don't fill another one are left out, others
    each time. Its order: the shards are permuted, taken `shuffle_shards` at a time, and the rows of
    those shuffled. So only a few files are read at a time, and each batch reads its rows in the
    order in which they lie there, which disks of all kinds reward; where there is only one shard
    (tables, folders), all rows are shuffled.

    A row that can't be read, or has no caption, is replaced by one drawn at random; the batch's
    `skipped` says which and why. Raises LabError in place of a batch of which more than half is
    damaged.
    """

    def __init__(
        self,
        source: Source,
        batch_size: int = 256,
        size: int = 224,
        seed: int = 0,
        shuffle_shards: int = 8,
    ):
        if not 0 < batch_size <= len(source):
            raise LabError(f"A batch of {batch_size:,} can't be filled from {len(source):,} pairs.")
        if min(size, shuffle_shards) < 1 or seed < 0:
            raise LabError(
                "Pictures of 1 pixel or more, 1 shard or more at a time, and a seed of 0 or more "
                f"are needed; these are {size}, {shuffle_shards} and {seed}."
            )
        self.source, self.batch_size, self.size, self.seed = source, batch_size, size, seed
        self.shuffle_shards = shuffle_shards
        self.steps_per_epoch = len(source) // batch_size
        self.first, self.last = 0, batch_size  # the part of each batch that this process makes
        self._order: EpochOrder | None = None

    def part(self, rank: int, world: int) -> "FilePairs":
        """Process `rank`'s rows of the same batches; no other's are read or decoded.

        The parts of all ranks, one after the other, are the whole batch, bit for bit; they differ
        by one row at most.
        """
        if not 0 <= rank < world <= self.batch_size:
            raise LabError(
                f"A batch of {self.batch_size:,} can't be shared out to {world} processes (this "
                f"one is {rank}). Take a bigger batch or fewer processes."
            )
        part = copy.copy(self)
        part.first = rank * self.batch_size // world
        part.last = (rank + 1) * self.batch_size // world
        return part

    def batch(self, step: int) -> Batch:
        """Batch number `step`, or this process's part of it."""
        rows = self.rows(step)
        images = torch.empty(len(rows), 3, self.size, self.size, dtype=torch.uint8)
        captions, ids = [""] * len(rows), [""] * len(rows)
        skipped: list[tuple[int, str]] = []
        for place in np.argsort(rows).tolist():  # as they lie on the disk
            found = self._sample(step, self.first + place, int(rows[place]), skipped)
            images[place], captions[place], ids[place] = found
        reasons = tuple(reason for _, reason in sorted(skipped, key=lambda entry: entry[0]))
        return Batch(images, captions, ids=ids, skipped=reasons)

    def rows(self, step: int) -> Int[np.ndarray, " part"]:
        """The numbers of the rows that batch `step`, or this part of it, is made of."""
        epoch, place = divmod(step, self.steps_per_epoch)
        if self._order is None or self._order.epoch != epoch:
            sizes = self.source.shard_sizes
            self._order = EpochOrder(sizes, self.shuffle_shards, self.seed, epoch)
        start = place * self.batch_size
        return self._order.rows(start + self.first, start + self.last)

    def _sample(
        self, step: int, place: int, row: int, skipped: list[tuple[int, str]]
    ) -> tuple[UInt8[Tensor, "3 size size"], str, str]:
        """Pixels, caption and id of a row, or of the first that can be read of those in its stead.

        Its random numbers depend on its place in the whole batch, so that parts make the same.
        """
        draw = seeded(SAMPLE, self.seed, step, place)
        while True:
            name = f"row {row:,}"
            try:
                picture, captions, name = self.source.row(row)
                if not captions:
                    raise LabError("It has no caption.")
                caption = captions[int(draw.integers(len(captions)))]
                return random_crop(decode(picture, self.size), self.size, draw), caption, name
            except LabError as error:
                skipped.append((place, f"{name}: {error}"))
                self._stop_if_most_are_damaged(step, skipped)
                row = int(draw.integers(len(self.source)))

    def _stop_if_most_are_damaged(self, step: int, skipped: list[tuple[int, str]]) -> None:
        if len(skipped) > max(FEW, (self.last - self.first) // 2):
            some = " ".join(reason for _, reason in skipped[:SHOWN])
            raise LabError(
                f"More than half of batch {step:,} is damaged. {some} Check that the data has been "
                "fetched whole and that its disk is there."
            )


class EpochOrder:
    """In which order one epoch shows the rows.

    A permutation of all rows that is made piece by piece: only the shards' own order, and the last
    group of shards that was asked for, are in memory.
    """

    def __init__(self, sizes: Int[np.ndarray, " shards"], together: int, seed: int, epoch: int):
        self.seed, self.epoch, self.sizes = seed, epoch, sizes
        self.starts = np.cumsum(sizes) - sizes
        shards = seeded(ORDER, seed, epoch).permutation(len(sizes))
        self.groups = [shards[i : i + together] for i in range(0, len(shards), together)]
        self.ends = np.cumsum([int(sizes[group].sum()) for group in self.groups])
        self._last: tuple[int, Int[np.ndarray, " group"]] | None = None

    def rows(self, start: int, stop: int) -> Int[np.ndarray, " rows"]:
        """The rows at the places from `start` up to `stop` of the epoch."""
        pieces = []
        while start < stop:
            number = int(np.searchsorted(self.ends, start, side="right"))
            group = self._group(number)
            offset = int(self.ends[number]) - len(group)
            pieces.append(group[start - offset : stop - offset])
            start += len(pieces[-1])
        return np.concatenate(pieces)

    def _group(self, number: int) -> Int[np.ndarray, " group"]:
        if self._last is None or self._last[0] != number:
            shards = self.groups[number]
            rows = np.concatenate([self.starts[s] + np.arange(int(self.sizes[s])) for s in shards])
            shuffled = seeded(SHUFFLE, self.seed, self.epoch, number).permutation(rows)
            self._last = number, shuffled
        return self._last[1]


def seeded(*numbers: int) -> np.random.Generator:
    """A stream of random numbers that these name, the same on every machine."""
    return np.random.default_rng(numbers)


# -- pictures -------------------------------------------------------------------------------------


def decode(picture: bytes | Path, size: int) -> Image.Image:
    """A picture as upright RGB, big enough to crop `size` pixels from.

    A JPEG much bigger than that is decoded at a half, a quarter or an eighth: it is stored as
    frequencies, and the high ones needn't be computed. Raises LabError as `open_image` does.
    """
    needed = math.ceil(size / math.sqrt(SMALLEST))
    file = io.BytesIO(picture) if isinstance(picture, bytes) else picture
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata; `open_image` sees to the rest
            image = Image.open(file, formats=FORMATS)
            image.draft(None, (needed, needed))
    except Exception:  # damaged headers make Pillow raise nearly anything
        return open_image(picture)  # which says what is wrong
    with image:
        return open_image(image)


def random_crop(
    image: Image.Image, size: int, draw: np.random.Generator
) -> UInt8[Tensor, "3 size size"]:
    """A random square that keeps nearly all of the shorter side, as `size` × `size` pixels.

    The paper's only augmentation (2.4) is a random square crop of a resized picture; how much such
    a crop keeps is OpenCLIP's figure. Nothing is mirrored: pictures have writing in them.
    """
    side = min(image.size) * math.sqrt(draw.uniform(SMALLEST, 1))
    left, top = draw.uniform(0, 1, 2) * (image.width - side, image.height - side)
    box = (left, top, min(left + side, image.width), min(top + side, image.height))
    square = image.resize((size, size), Image.Resampling.BICUBIC, box)
    return torch.from_numpy(np.array(square)).permute(2, 0, 1)
