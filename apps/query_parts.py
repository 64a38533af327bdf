"""A search's query as a page and its address write it: words, pictures, results; added or not.

[{"words": "red fruit"}, {"row": "12", "of": "emoji-noto", "weight": -1}, {"picture": "data:…"}]
"""

import json
import math
from dataclasses import asdict, dataclass

from PIL import Image

from apps.guard import is_tangled
from apps.inputs import MAX_LABEL_LENGTH, Upload, read_picture
from apps.panels import Value, data_address
from clip_lab import LabError

MAX_PARTS, MAX_WEIGHT = 8, 10.0
SIDE = 512  # pixels of a picture in a query: more than any model sees
TRIES = {  # by the kind of collection
    "emoji": [
        "something to eat",
        "an animal in the sea",
        '[{"words": "smiling face"}, {"words": "cat"}]',
        '[{"words": "fruit"}, {"words": "red", "weight": -1}]',
    ],
    "shapes": ["three red circles", "a small blue star", "a triangle above a square"],
    "folder": [
        "people",
        "food on a table",
        "a screenshot",
        '[{"words": "a beach"}, {"words": "people", "weight": -1}]',
    ],
}


@dataclass(frozen=True)
class Part:
    """One of these: words; a picture as a data: address; a row of a collection, by its key."""

    words: str = ""
    picture: str = ""
    row: str = ""
    of: str = ""  # the collection that the row is of
    name: str = ""  # the row's, for people
    weight: float = 1.0


def parse_parts(text: str) -> list[Part]:
    """A query's parts. What isn't written as a list is read as words.

    Raises LabError for what isn't a query, for too many or too long parts, and for none.
    """
    text = (text or "").strip()
    parts = _listed(text) if text.startswith("[") else [Part(words=text)]
    parts = [part for part in parts if part.words.strip() or part.picture or part.row]
    if not parts:
        raise LabError("Nothing to look for: write words, give a picture, or click a result.")
    if len(parts) > MAX_PARTS:
        raise LabError(f"{len(parts)} parts are too many for a query; at most {MAX_PARTS} count.")
    for part in parts:
        if len(part.words) > MAX_LABEL_LENGTH:
            raise LabError(
                f"“{part.words[:40]}…” has {len(part.words):,} characters; at most "
                f"{MAX_LABEL_LENGTH} are read. Shorten it."
            )
        if part.picture and not part.picture.startswith("data:image/"):
            raise LabError("A picture of the query is no data: address. Upload it again.")
        if not math.isfinite(part.weight) or abs(part.weight) > MAX_WEIGHT:
            raise LabError(f"A weight lies between −{MAX_WEIGHT:.0f} and {MAX_WEIGHT:.0f}.")
    return parts


def _listed(text: str) -> list[Part]:
    try:
        if is_tangled(text.encode()):
            raise ValueError
        return [_part(**one) for one in json.loads(text)]
    except (ValueError, TypeError, RecursionError) as error:
        raise LabError("The query can't be read. Empty it and start again.") from error


def _part(weight: float = 1.0, **texts: str) -> Part:
    if not all(isinstance(text, str) for text in texts.values()):
        raise TypeError
    return Part(**texts, weight=float(weight))


def write_parts(parts: list[Part]) -> str:
    """The parts as text, without what goes without saying."""
    kept = [
        {field: value for field, value in asdict(part).items() if value != getattr(Part, field)}
        for part in parts
    ]
    return json.dumps(kept, ensure_ascii=False)


def with_row(text: str, act: str, row: str, of: str, name: str) -> str:
    """The query after a click on a result: “like” it alone, or “plus” or “minus” it."""
    weight = -1.0 if act == "minus" else 1.0
    new = Part(row=str(row), of=str(of), name=str(name)[:MAX_LABEL_LENGTH], weight=weight)
    kept = [] if act == "like" else _kept(text)
    return write_parts([*(one for one in kept if (one.row, one.of) != (new.row, new.of)), new])


def with_picture(text: str, upload: Upload | None) -> str:
    """The query and a picture of one's own. Raises LabError where it can't be opened.

    It is made small, and what the camera noted beside it, such as the place, is dropped.
    """
    picture = read_picture(upload)
    picture.thumbnail((SIDE, SIDE), Image.Resampling.LANCZOS)
    part = Part(picture=data_address(picture, lossless=True), name="your picture")
    return write_parts([*_kept(text), part])


def _kept(text: str) -> list[Part]:
    """What is there already; nothing where it is empty or can't be read."""
    try:
        return parse_parts(text)
    except LabError:
        return []


def terms_value(query: str, collection: str) -> Value:
    """The query for the panel `terms`, and others to try in that collection."""
    kind = str(collection).partition("-")[0]
    return {"query": query or "", "tries": TRIES.get(kind, TRIES["folder"])}
