"""The published models that have a name here: where each lies on the hub, and what is known of it.

`registry.json` is the table; it says where its figures come from. A model needs no row: any id on
the hub loads as well.
"""

import json
import re
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path

TABLE = Path(__file__).parent / "registry.json"


@dataclass(frozen=True)
class Row:
    """One model. `None`: not stated by its makers, or nowhere found."""

    name: str  # what `clip_lab.load` takes
    repo: str  # on the hub
    parameters: float  # millions, both towers
    embed_dim: int
    resolution: int  # pixels a side
    imagenet: float | None  # published zero-shot top-1, per cent
    source: str | None  # of that figure: a key of `sources()`
    licence: str | None  # of the weights
    trained_on: str


def rows() -> list[Row]:
    """The whole table, families together."""
    return [Row(**values) for values in _table()["models"]]


def sources() -> dict[str, str]:
    """Where the published figures stand, by the short name that rows give."""
    return dict(_table()["sources"])


def find(name: str) -> Row | None:
    """The row of that name, as `openai/ViT-B-32`; None for all others."""
    return next((row for row in rows() if row.name == name), None)


def suggestions(name: str) -> str:
    """ "Did you mean …? " with up to three names close to this one, or nothing where none is."""
    known = {_plain(row.name): row.name for row in rows()}
    asked = _plain(name)
    near = [asked] if asked in known else []
    near = near or [key for key in known if key.startswith(asked) or key.endswith(f"-{asked}")]
    near = near or get_close_matches(asked, known, cutoff=0.8)
    listed = " or ".join(f"“{known[key]}”" for key in near[:3])
    return f"Did you mean {listed}? " if listed else ""


def _plain(name: str) -> str:
    """One spelling for all: papers write ViT-B/32 and ViT-L/14@336px."""
    return re.sub("[/@_]", "-", name.casefold()).removesuffix("px")


@cache
def _table() -> dict:
    return json.loads(TABLE.read_text(encoding="utf-8"))
