"""Emoji to train on and to test with: endless pairs, tests of what was never seen, a plain view.

`EmojiPairs` gives batches for training, `emoji_test` the zero-shot tests, `EmojiPictures` the
pictures one by one. Where the pictures and names come from: `clip_lab.data.emoji_table`.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.utils.data import Dataset

from clip_lab.data.augment import Augmentation, augment, on_white
from clip_lab.data.batch import Batch, Pairs
from clip_lab.data.captions import CaptionMix, Captions
from clip_lab.data.emoji_table import (
    TRAINED_STYLES,
    EmojiRow,
    emoji_table,
    forbidden_texts,
    pictures,
    texts,
)
from clip_lab.errors import LabError

TONED = 0.3  # how often an emoji that has skin tones is shown in one of them
TRIES = 20  # for a caption that no other picture of the batch has
COLOUR = re.compile(
    r"\b(red|orange|yellow|green|blue|purple|brown|black|white|gr[ae]y|pink|blond|colou?r|rainbow)\b"
)


def named_by_colour(row: EmojiRow) -> bool:
    """Whether another hue would make the name a lie: "red heart", "green apple", any flag."""
    return row.group == "flags" or COLOUR.search(row.label) is not None


class EmojiPairs(Pairs):
    """Batches of pictures and captions without end, for contrastive training.

    No base emoji comes twice in a batch and no caption does, so the pairs off the diagonal of the
    similarity matrix are true negatives. Each epoch goes through all base emoji once, in a random
    order; what doesn't fill a batch is left out until the next.

    Args:
        styles: whose drawings; OpenMoji is meant for tests.
        languages, language_weights: of the captions, and how often each is heard. By default the
            first language has 60 % and the others share the rest.
        captions_each: how many captions a picture has, each in another language.
        split: "train" keeps clear of the held-out concepts and of every text that names one.

    Raises LabError for an unknown style, language or split, or a batch larger than the collection.
    """

    def __init__(
        self,
        *,
        batch_size: int = 256,
        size: int = 48,
        seed: int = 0,
        start_step: int = 0,
        styles: Sequence[str] = TRAINED_STYLES,
        languages: Sequence[str] = ("en", "zh"),
        language_weights: Sequence[float] | None = None,
        captions_each: int = 1,
        split: str = "train",
        augmentation: Augmentation | None = None,
        caption_mix: CaptionMix | None = None,
    ) -> None:
        self.batch_size, self.size, self.seed = batch_size, size, seed
        self.start_step, self.styles, self.augmentation = start_step, tuple(styles), augmentation
        self.captions_each = captions_each
        for style in styles:
            pictures(style)  # an unknown one is said now; workers find the sheets decoded
        forbidden = forbidden_texts(languages) if split == "train" else frozenset()
        weights = language_weights or default_weights(len(languages))
        bases = emoji_table().bases(split, styles)
        self.captions = Captions(bases, languages, weights, forbidden, caption_mix)
        self.bases = self.captions.bases
        if not 0 < batch_size <= len(self.bases):
            raise LabError(
                f"A batch of {batch_size} can't be filled: there are {len(self.bases)} emoji, and "
                "none comes twice in a batch. Choose a batch size from 1 to that."
            )

    @property
    def steps_per_epoch(self) -> int:
        return len(self.bases) // self.batch_size

    def batch(self, step: int) -> Batch:
        rng = random.Random(f"emoji {self.seed} {step}")
        chosen = [(base, *self._picture(base, rng)) for base in self.bases_of(step)]
        captions: list[str] = []
        for base, row, _ in chosen:
            captions += self._captions(row, base, set(captions), rng)
        cells = torch.stack([cell for _, _, cell in chosen])  # (B, 4, 64, 64)
        rows = [emoji_table().rows[base] for base, _, _ in chosen]
        keep_colour = torch.tensor([named_by_colour(row) for row in rows])
        generator = torch.Generator().manual_seed(rng.getrandbits(63))
        images = augment(cells, self.size, generator, keep_colour, self.augmentation)
        numbers = torch.tensor([base for base, _, _ in chosen])
        return Batch(images, captions, numbers, [row.hexcode for row in rows])

    def bases_of(self, step: int) -> list[int]:
        """The base emoji of a batch: its slice of the epoch's random order."""
        epoch, place = divmod(step, self.steps_per_epoch)
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.bases))
        start = place * self.batch_size
        return [self.bases[i] for i in order[start : start + self.batch_size]]

    def _picture(self, base: int, rng: random.Random) -> tuple[int, UInt8[Tensor, "4 64 64"]]:
        """A random style of those that drew this emoji, at times in a random skin tone."""
        table = emoji_table()
        style = rng.choice([style for style in self.styles if style in table.rows[base].cells])
        row = base
        if rng.random() < TONED:
            drawn = [row for row in table.variants[base] if style in table.rows[row].cells]
            row = rng.choice(drawn)
        return row, pictures(style)[table.rows[row].cells[style]]

    def _captions(self, row: int, base: int, taken: set[str], rng: random.Random) -> list[str]:
        """Captions that no other picture of the batch has, as far as that can be had."""
        said: list[str] = []
        for language in self.captions.languages_for(base, self.captions_each, rng):
            for _ in range(TRIES):
                caption = self.captions.say(row, base, language, rng)
                if caption not in taken:
                    break
            said.append(caption)
        return said


def default_weights(count: int) -> list[float]:
    """The first language 60 %, the others equal shares of the rest; one language alone, all."""
    return [1.0] if count == 1 else [0.6] + [0.4 / (count - 1)] * (count - 1)


@dataclass(frozen=True)
class EmojiTest:
    """A zero-shot test: which of `labels` is each picture of?"""

    pictures: Float[Tensor, "n 3 64 64"]  # on white, in [0, 1]
    labels: list[str]  # class names, all different
    targets: Int[Tensor, " n"]  # index into `labels`
    rows: list[int]  # rows of the emoji table


def emoji_test(style: str, split: str = "heldout", language: str = "en") -> EmojiTest:
    """All base emoji of a split in one style, to be told apart by their names in one language.

    "heldout": concepts that training never showed, in any style, skin tone, gender or language.
    "seen": those that it showed in Noto, Twemoji or Fluent, so that OpenMoji tests style alone.
    Two emoji with the same name in a language are one class.
    """
    if split not in ("heldout", "seen"):
        raise LabError(f"There is no test {split!r}: choose heldout or seen.")
    table = emoji_table()
    trained = table.bases("heldout" if split == "heldout" else "train", TRAINED_STYLES)
    sheet, names = pictures(style), texts(language)
    rows = [row for row in trained if style in table.rows[row].cells]
    named = [names[table.rows[row].hexcode][0] for row in rows]
    labels = list(dict.fromkeys(named))
    number = {label: i for i, label in enumerate(labels)}
    cells = sheet[[table.rows[row].cells[style] for row in rows]]
    return EmojiTest(on_white(cells), labels, torch.tensor([number[name] for name in named]), rows)


class EmojiPictures(Dataset):
    """Base emoji of one style, one by one: (picture on white, name, row of the table).

    The picture is Float[Tensor, "3 64 64"] in [0, 1], as drawn, without augmentation.
    """

    def __init__(self, style: str = "noto", language: str = "en", split: str = "all") -> None:
        self.style, self.names, self.sheet = style, texts(language), pictures(style)
        self.rows = emoji_table().bases(split, [style])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Float[Tensor, "3 64 64"], str, int]:
        row = emoji_table().rows[self.rows[index]]
        cell = self.sheet[row.cells[self.style]]
        return on_white(cell[None])[0], self.names[row.hexcode][0], self.rows[index]
