"""Photographs of 200 things: Tiny ImageNet, put into words.

The pictures are not the lab's to pass on: they are read from a folder that the user has (WebDataset
tars of 64 px pictures, named after their class's WordNet id). What the package has is a table of
the classes: names and synonyms as WordNet has them, and *kinds*, near to far after its hierarchy:
a Chihuahua is a dog, a mammal, an animal. Captions speak of all three, and of what augmentation did
to the picture, so that a model of 180 classes also understands "dog" and "a blurry photo of".

Twenty classes, spread over the kinds, are never trained on: the zero-shot test.
"""

import csv
import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from random import Random
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int, UInt8
from PIL import Image
from torch import Tensor

from clip_lab.data.batch import Batch, Pairs
from clip_lab.data.photo_augment import augment_photos
from clip_lab.data.webdataset import shard_files
from clip_lab.errors import LabError

TABLE = Path(__file__).parent / "files" / "photos" / "classes.csv"
SIZE = 64
TEMPLATES = (
    "{}",
    "a photo of a {}.",
    "a {} photo",
    "a photo of the {}.",
    "a picture of a {}.",
    "one {}.",
    "a photo of one {}.",
    "there is a {} in the photo.",
)
# What was done to the picture -> how one says so. {} is the thing.
CHANGED = {
    "close-up": ("a close-up photo of a {}.", "a cropped photo of the {}."),
    "black and white": ("a black and white photo of a {}.", "a black and white photo of the {}."),
    "blurry": ("a blurry photo of a {}.", "a blurry photo of the {}."),
    "low resolution": ("a low resolution photo of a {}.", "a pixelated photo of a {}."),
    "dark": ("a dark photo of a {}.", "a dark photo of the {}."),
    "bright": ("a bright photo of a {}.", "a bright photo of the {}."),
}
KINDLY = ("a photo of a {}, a kind of {}.", "a photo of a {}, a type of {}.", "{}, a {}", "{}: {}")
# The prompts of the zero-shot tests: neutral ones that training says too (paper 3.1.4).
ENSEMBLE = (
    "{}",
    "a photo of a {}.",
    "a photo of the {}.",
    "a close-up photo of a {}.",
    "a low resolution photo of a {}.",
    "a bright photo of a {}.",
    "a black and white photo of a {}.",
)
# How often a batch speaks of names, of near kinds ("dog"), of the next ("mammal"), of the widest.
LEVELS = {"name": 0.7, "kind": 0.18, "next": 0.06, "widest": 0.06}


@dataclass(frozen=True)
class PhotoClass:
    """One of the 200 things."""

    wnid: str  # WordNet's id, such as "n02123045"
    name: str  # as OpenAI's list for ImageNet has it
    synonyms: tuple[str, ...]
    kinds: tuple[tuple[str, ...], ...]  # near to far; each with its synonyms
    held_out: bool

    def at(self, level: str) -> tuple[str, ...]:
        """What it may be called at a level; one that is missing is its widest kind."""
        if level == "name":
            return (self.name, *self.synonyms)
        place = {"kind": 0, "next": 1, "widest": -1}[level]
        return self.kinds[min(place, len(self.kinds) - 1)]


@cache
def photo_classes() -> tuple[PhotoClass, ...]:
    """All 200, in order of their ids."""
    with TABLE.open(encoding="utf-8", newline="") as stream:
        return tuple(_photo_class(row) for row in csv.DictReader(stream))


def _photo_class(row: dict[str, str]) -> PhotoClass:
    kinds = tuple(tuple(kind.split("/")) for kind in row["kinds"].split(";"))
    synonyms = tuple(filter(None, row["synonyms"].split(";")))
    return PhotoClass(row["wnid"], row["name"], synonyms, kinds, row["held_out"] == "1")


class Photos(NamedTuple):
    """Pictures in memory, and the number of each one's class in `photo_classes()`."""

    pictures: UInt8[Tensor, "n 3 64 64"]
    classes: Int[Tensor, " n"]
    keys: list[str]

    def of(self, wanted: Callable[[PhotoClass], bool]) -> "Photos":
        """Those of some classes only."""
        chosen = torch.tensor([wanted(photo_classes()[c]) for c in self.classes.tolist()])
        keys = [key for key, keep in zip(self.keys, chosen.tolist(), strict=True) if keep]
        return Photos(self.pictures[chosen], self.classes[chosen], keys)


def read_photos(folder: Path, part: str) -> Photos:
    """Every picture of a part ("train", 0.9 GB of memory, or "val"), decoded.

    Raises LabError for a folder without them, a damaged archive or an unknown class.
    """
    shards = sorted(folder.glob(f"{part}*.tar"))
    if not shards:
        raise LabError(
            f"“{folder}” holds no {part}*.tar. It should be Tiny ImageNet as WebDataset tars, a "
            "picture named after its class's WordNet id: n02123045_17.webp."
        )
    number = {entry.wnid: i for i, entry in enumerate(photo_classes())}
    keys, cells, classes = [], [], []
    for shard in shards:
        with shard.open("rb") as stream:
            for key, _, data in shard_files(stream, shard.name, str(folder)):
                wnid = key.split("_")[0]
                if wnid not in number:
                    raise LabError(f"{key} in {shard.name} is of none of the 200 classes.")
                keys.append(key)
                classes.append(number[wnid])
                cells.append(_decode(data, f"{key} in {shard.name}"))
    pictures = torch.from_numpy(np.stack(cells)).permute(0, 3, 1, 2).contiguous()
    return Photos(pictures, torch.tensor(classes), keys)


def _decode(data: bytes, name: str) -> UInt8[np.ndarray, "64 64 3"]:
    try:
        picture = Image.open(io.BytesIO(data), formats=("WEBP", "PNG", "JPEG")).convert("RGB")
    except (OSError, ValueError, SyntaxError) as error:
        raise LabError(f"{name} is damaged ({error}).") from error
    if picture.size != (SIZE, SIZE):
        raise LabError(f"{name} is {picture.width} × {picture.height} pixels, not {SIZE}.")
    return np.asarray(picture)


class PhotoPairs(Pairs):
    """Batches of photographs with captions, none of a held-out class.

    Each epoch shows every picture once, in a random order. All captions of a batch speak at one
    level, of names or of kinds, and pairs whose things have the same name there are right for each
    other: no picture of a dog is ever a wrong answer to "a photo of a dog".
    """

    def __init__(self, photos: Photos, batch_size: int = 256, size: int = SIZE, seed: int = 0):
        self.photos = photos.of(lambda entry: not entry.held_out)
        if not 0 < batch_size <= len(self.photos.keys):
            raise LabError(
                f"A batch of {batch_size} can't be filled from {len(self.photos.keys)} pictures."
            )
        self.batch_size, self.size, self.seed = batch_size, size, seed
        self.steps_per_epoch = len(self.photos.keys) // batch_size

    def batch(self, step: int) -> Batch:
        chosen = self._rows(step)
        seeds = np.random.SeedSequence([self.seed, step]).generate_state(2, np.uint64).tolist()
        generator, rng = torch.Generator().manual_seed(seeds[0] >> 1), Random(seeds[1])
        images, changes = augment_photos(self.photos.pictures[chosen], self.size, generator)
        level = rng.choices(list(LEVELS), list(LEVELS.values()))[0]
        things = [photo_classes()[c] for c in self.photos.classes[chosen].tolist()]
        pairs = zip(things, changes, strict=True)
        captions = [photo_caption(thing, level, change, rng) for thing, change in pairs]
        numbers: dict[str, int] = {}
        groups = [numbers.setdefault(thing.at(level)[0], len(numbers)) for thing in things]
        keys = [self.photos.keys[i] for i in chosen.tolist()]
        return Batch(images, captions, torch.tensor(groups), keys)

    def _rows(self, step: int) -> Int[Tensor, " batch"]:
        epoch, place = divmod(step, self.steps_per_epoch)
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.photos.keys))
        start = place * self.batch_size
        return torch.from_numpy(order[start : start + self.batch_size])


def photo_caption(thing: PhotoClass, level: str, changes: list[str], rng: Random) -> str:
    """Says what it is at a level, and at times what was done to it."""
    called = thing.at(level)
    name = called[0] if rng.random() < 0.6 else rng.choice(called)
    if changes and rng.random() < 0.6:
        return rng.choice(CHANGED[rng.choice(changes)]).replace("{}", name)
    if level == "name" and rng.random() < 0.35:
        kind = rng.choice(rng.choice(thing.kinds))
        return rng.choice(KINDLY).replace("{}", name, 1).replace("{}", kind, 1)
    return rng.choice(TEMPLATES).replace("{}", name)


def photo_corpus() -> Iterator[str]:
    """Captions in which every trained name and kind occurs, for the tokenizer to learn from."""
    rng = Random(0)
    for thing in photo_classes():
        if not thing.held_out:
            for level in LEVELS:
                for name in thing.at(level):
                    yield from (template.replace("{}", name) for template in TEMPLATES[:2])
                    yield photo_caption(thing, level, [rng.choice(list(CHANGED))], rng)
