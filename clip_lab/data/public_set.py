"""What a public test set is, wherever it lies: pictures one by one, each with its right answer."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from clip_lab.errors import LabError

CLASS_NAMES = "classnames.txt"
TEMPLATES = "zeroshot_classification_templates.txt"


@dataclass(frozen=True)
class Sample:
    """One picture, not yet decoded, and what is true of it."""

    key: str  # where it lies, as an error message names it
    image: bytes | Path
    target: int | tuple[str, ...]  # the class's number, or the picture's captions


@dataclass(frozen=True)
class PublicSet:
    """Pictures to classify, or pictures and captions to find each other.

    `samples()` reads from the start each time, in an order that never changes, and holds one
    picture at a time.
    """

    name: str
    task: Literal["classification", "retrieval"]
    samples: Callable[[], Iterator[Sample]]
    classes: tuple[str, ...] = ()  # names in order of number; none for retrieval
    templates: tuple[str, ...] = ()  # the set's own, {} in the class's place
    pictures: int | None = None  # how many, where that is known before reading


def class_names(text: str, name: str) -> tuple[str, ...]:
    """Names from a file's text, one a line. Raises LabError for a line without a name."""
    names = tuple(line.strip() for line in text.splitlines())
    if not names or not all(names):
        line = names.index("") + 1 if names else 1
        raise LabError(f"Line {line} of {name} is empty. Every class needs a name.")
    return names
