"""The emoji as they lie in the package: table, names in 28 languages, picture sheets, split.

Four artists drew the same 1,900 things, and people all over the world wrote down what the things
are called. That makes emoji a small, real image-text data set that everyone may pass on. The files
are built by scripts/build_emoji.py; NOTICE names the artists and their licences.

A *base* emoji has no skin tone; its toned variants are rows of their own. A *concept* joins bases
that are one thing but for gender, number of people or direction: "man farmer" and "farmer". The
split holds out whole concepts, so that a model can be asked for things that it has never seen, in
any style, skin tone, gender or language.
"""

import csv
import gzip
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from clip_lab.errors import LabError

FILES = Path(__file__).parent / "files" / "emoji"
CELL = 64  # pixels, the side of a picture in a sheet
TRAINED_STYLES = ("noto", "twemoji", "fluent")
STYLES = (*TRAINED_STYLES, "openmoji")  # OpenMoji is never trained on: it is the shift in style


@dataclass(frozen=True)
class EmojiRow:
    """One emoji: a base, or one of its skin tones."""

    hexcode: str  # code points, such as "1F468-1F3FD-200D-1F33E"
    emoji: str  # the characters themselves
    label: str  # English name
    group: str  # such as "people-body"
    subgroup: str  # such as "person-role"
    tone: str  # "" for a base, "1" (light) to "5" (dark), "1-3" for two people
    base: str  # hexcode of the emoji without skin tone
    concept: str
    cells: dict[str, int]  # style -> number of its cell in that style's sheet


class EmojiTable:
    """All rows, and which of them are bases, variants, held out.

    Rows are numbered by their place in `rows`. Use `emoji_table()`, which reads the file once.
    """

    def __init__(self, folder: Path = FILES) -> None:
        with (folder / "table.csv").open(encoding="utf-8", newline="") as stream:
            self.rows = [_row(fields) for fields in csv.DictReader(stream)]
        split = json.loads((folder / "split.json").read_text(encoding="utf-8"))
        self.held_out_concepts = frozenset(split["held_out"])
        self.number = {row.hexcode: i for i, row in enumerate(self.rows)}
        self.variants: dict[int, list[int]] = {}  # base -> itself and its skin tones
        for i, row in enumerate(self.rows):
            self.variants.setdefault(self.number[row.base], []).append(i)

    def __len__(self) -> int:
        return len(self.rows)

    def held_out(self, row: int) -> bool:
        return self.rows[row].concept in self.held_out_concepts

    def bases(self, split: str = "all", styles: Sequence[str] = STYLES) -> list[int]:
        """Base emoji of a split that at least one of the styles has a picture of."""
        if split not in ("train", "heldout", "all"):
            raise LabError(f"There is no split {split!r}: choose train, heldout or all.")
        return [
            i
            for i in self.variants
            if (split == "all" or self.held_out(i) == (split == "heldout"))
            and any(style in self.rows[i].cells for style in styles)
        ]


def _row(fields: dict[str, str]) -> EmojiRow:
    cells = {style: int(fields[style]) for style in STYLES if fields[style]}
    return EmojiRow(cells=cells, **{key: fields[key] for key in fields if key not in STYLES})


@cache
def emoji_table() -> EmojiTable:
    """The table of the package, read once (about 30 ms)."""
    return EmojiTable()


@cache
def languages() -> tuple[str, ...]:
    """Codes of the languages that names exist in: 'bn', 'da', ... 'zh-hant'."""
    return tuple(sorted(path.name.split(".")[0] for path in (FILES / "names").glob("*.json.gz")))


@cache
def texts(language: str) -> dict[str, list[str]]:
    """{hexcode: [name, keyword, ...]} in one language, as people wrote them for Unicode.

    Raises LabError for a language that isn't there.
    """
    if language not in languages():
        raise LabError(f"No emoji names in {language!r}; there are {', '.join(languages())}.")
    with gzip.open(FILES / "names" / f"{language}.json.gz", "rt", encoding="utf-8") as stream:
        return json.load(stream)


def forbidden_texts(languages: Sequence[str]) -> frozenset[str]:
    """Case-folded names of everything held out: what no training caption may be made of."""
    table = emoji_table()
    hexcodes = [row.hexcode for i, row in enumerate(table.rows) if table.held_out(i)]
    named = (texts(language)[hexcode][0] for language in languages for hexcode in hexcodes)
    return frozenset(name.casefold() for name in named)


@cache
def pictures(style: str) -> UInt8[Tensor, "cells 4 64 64"]:
    """A style's whole sheet, cut into cells: red, green, blue, alpha from 0 to 255.

    The picture of table row `i` is cell `table.rows[i].cells[style]`. Decoding takes a fraction of
    a second and 65 MB; the result is kept. Raises LabError for an unknown style.
    """
    if style not in STYLES:
        raise LabError(f"There is no emoji style {style!r}: choose from {', '.join(STYLES)}.")
    with Image.open(FILES / f"{style}.webp") as sheet:
        pixels = np.asarray(sheet.convert("RGBA"))  # (rows * 64, columns * 64, 4)
    rows, columns = pixels.shape[0] // CELL, pixels.shape[1] // CELL
    grid = torch.from_numpy(pixels.copy()).view(rows, CELL, columns, CELL, 4)
    cells = grid.permute(0, 2, 4, 1, 3).reshape(rows * columns, 4, CELL, CELL)
    return cells.contiguous()
