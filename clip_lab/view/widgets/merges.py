"""Byte-pair encoding, to be stepped through: any text, merge by merge, forward and back."""

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import traitlets

from clip_lab.errors import LabError
from clip_lab.view.widgets.base import LabWidget

HERE = Path(__file__).parent
MOST_MERGES = 20_000  # they travel with the page: these are about 250 kB
LONGEST = 200  # characters of a text; the field takes no more either


class HasMerges(Protocol):
    """What is shown of a tokenizer: clip_lab.tokenizer.Tokenizer has it all."""

    merges: list[tuple[str, str]]
    context_length: int
    repair: bool


class MergesWidget(LabWidget):
    """How a tokenizer cuts a text: characters, bytes, symbols, then each merge with its rank.

    `text` is what it starts with; `examples` become buttons. `text`, `word` (which of its words is
    shown) and `step` (merges done) can be read and set later. LabError for a tokenizer that mends
    its texts (OpenAI's: ftfy is Python), one that has no merges to show or more than 20,000, and
    texts longer than 200 characters.
    """

    _esm = HERE / "merges.js"
    _css = HERE / "merges.css"

    merges = traitlets.List(traitlets.Unicode()).tag(sync=True)
    text = traitlets.Unicode().tag(sync=True)
    word = traitlets.Int(0, min=0).tag(sync=True)
    step = traitlets.Int(0, min=0).tag(sync=True)
    room = traitlets.Int(75).tag(sync=True)
    examples = traitlets.List(traitlets.Unicode()).tag(sync=True)

    def __init__(
        self, tokenizer: HasMerges, text: str = "lowest", *, examples: Sequence[str] = ()
    ) -> None:
        if not hasattr(tokenizer, "merges"):
            raise LabError(
                f"This shows CLIP's merges; a {type(tokenizer).__name__} has another way to cut."
            )
        if tokenizer.repair:
            raise LabError(
                "This tokenizer mends texts by ftfy, which a page without Python doesn't have. "
                "Show Tokenizer(tokenizer.merges[:20_000]) instead."
            )
        if len(tokenizer.merges) > MOST_MERGES:
            raise LabError(
                f"{len(tokenizer.merges):,} merges are too many to carry in a page; the most are "
                f"{MOST_MERGES:,}. The first ones alone are a tokenizer too."
            )
        for given in (text, *examples):
            if len(given) > LONGEST:
                raise LabError(f"“{given[:30]}…” has {len(given)} characters; {LONGEST} fit here.")
        super().__init__(
            merges=[" ".join(pair) for pair in tokenizer.merges],
            text=text,
            room=tokenizer.context_length - 2,
            examples=list(examples),
        )
