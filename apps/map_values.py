"""What the map's panels draw, as plain JSON values. `static/map*.js` draws them.

A collection's names don't change with the model, so the page asks for them once (`content_value`);
small pictures come a sheet at a time (`sheet`); a map's own value holds little but its points.
"""

import base64
import math
import threading
from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor

from apps.inputs import MAX_PICTURES, Upload, parse_lines, read_pictures
from apps.panels import Value, data_address
from clip_lab.errors import LabError
from clip_lab.evaluation.geometry import modality_gap
from clip_lab.map_collections import CONTENTS, ModelMap
from clip_lab.maps import LinearView, neighbours, true_on_map, trustworthiness

ACROSS = 16  # pictures in a row of a sheet, and rows in a sheet
BESIDE = 10  # neighbours on the map that are held against the true ones
CLOSE = 8  # true neighbours of each kind that are shown

NOTES = {
    "gap": "Exact. x runs along the modality gap, from the texts' mean to the pictures' mean; the "
    "other axes show what varies most at right angles to it. What lies apart here lies apart in "
    "the full space; what lies together may not.",
    "pca": "Exact. The directions in which all vectors vary most. What lies apart here lies apart "
    "in the full space; what lies together may not.",
    "umap": "Neighbours are kept together as far as that can be done. Distances between far "
    "clusters mean nothing, nor do the clusters' sizes or the axes. A picture or text of your own "
    "is put among those it is most like: its place is approximate.",
}
TITLES = {
    "gap": ("modality gap", "component 1 off the gap", "component 2 off the gap"),
    "pca": ("principal component 1", "principal component 2", "principal component 3"),
    "umap": ("", "", ""),
}


# By what points may be coloured, and what it is called.
COLUMNS = {"emoji": ["group", "modality", "language", "zero-shot"],
           "shapes": ["group", "colour", "size", "modality", "language", "zero-shot"]}  # fmt: skip
NAMED = {"group": "group", "zero-shot": "right or wrong", "modality": "picture or text"}


class Own(NamedTuple):
    """A picture or a text of the visitor's. A text has no picture."""

    name: str
    picture: Image.Image | None


def columns(collection: str) -> list[tuple[str, str]]:
    """By what its points may be coloured: what a list shows, and the column behind it."""
    return [(NAMED.get(key, key), key) for key in COLUMNS[collection]]


def settings(dimensions: Any, share: Any) -> tuple[int, float]:
    """Two or three dimensions and a share between 0 and 1, whatever the address says."""
    known = isinstance(share, int | float) and math.isfinite(share)
    return 3 if dimensions in (3, "3") else 2, min(max(float(share), 0.0), 1.0) if known else 0.0


def own_things(files: Sequence[Upload] | None, text: str | None) -> list[Own]:
    """Pictures, then texts one a line. Raises LabError for too many, or what is no picture."""
    named = [(upload.get("orig_name") or f"picture {i}") for i, upload in enumerate(files or [], 1)]
    pictures = read_pictures(files)
    lines = parse_lines(text, MAX_PICTURES) if text and text.strip() else ()
    return [*map(Own, named, pictures), *(Own(line, None) for line in lines)]


def own_vectors(here: ModelMap, own: Sequence[Own]) -> Float[np.ndarray, "own embed_dim"]:
    """Unit vectors of what is the visitor's, in their order."""
    pictures = [one.picture for one in own if one.picture is not None]
    texts = [one.name for one in own if one.picture is None]
    parts: list[Tensor] = []
    if pictures:
        parts.append(here.encoder.encode_images(pictures))
    if texts:
        parts.append(here.encoder.encode_texts(texts, truncate=True))
    return torch.cat(parts).numpy() if parts else here.vectors[:0]


def content_value(name: str) -> Value:
    """Names and columns of a collection; a column is its values and, for each row, which of them.

    Raises LabError for a collection that isn't there.
    """
    if name not in CONTENTS:
        raise LabError(f"There is no collection “{name}”.")
    content = CONTENTS[name]()
    columns = {key: column_value(column) for key, column in content.columns.items()}
    return {"names": list(content.names), "pictures": content.pictures, "columns": columns}


def column_value(column: Sequence[str]) -> Value:
    values, rows = np.unique(np.array(column), return_inverse=True)
    return {"values": values.tolist(), "rows": rows.tolist()}


def sheet(asked: Any) -> str:
    """Small pictures of a collection, 16 by 16 on a sheet, as a data: address: "emoji 0" the first.

    "" for a sheet that isn't there.
    """
    name, _, number = str(asked).partition(" ")
    there = name in CONTENTS and number.isascii() and number.isdigit() and len(number) < 5
    return _sheet(name, int(number)) if there else ""


@lru_cache(maxsize=32)
def _sheet(name: str, number: int) -> str:
    content, first = CONTENTS[name](), number * ACROSS**2
    if first >= content.pictures:
        return ""
    drawn = content.draw(range(first, min(first + ACROSS**2, content.pictures)))
    size = drawn.shape[-1]
    whole = torch.ones(ACROSS**2, 3, size, size)
    whole[: len(drawn)] = drawn
    rows = whole.view(ACROSS, ACROSS, 3, size, size).permute(0, 3, 1, 4, 2)
    pixels = rows.reshape(ACROSS * size, ACROSS * size, 3).mul(255).round().byte().numpy()
    return data_address(Image.fromarray(pixels))


def map_value(
    here: ModelMap, view: str, dimensions: int, share: float, own: Sequence[Own]
) -> Value:
    """Where everything lies, for `map`; `share` of the gap is closed in a linear view.

    Nothing is encoded for a built-in model, but for a share or for something of one's own.
    """
    points = here.points(view, dimensions)
    box = [
        [float(low), float(high)] for low, high in zip(points.min(0), points.max(0), strict=True)
    ]
    share = 0.0 if view == "umap" else share
    placed, approximate = place(here, view, dimensions, share, own)
    return {
        "collection": here.content.name,
        "view": view,
        "dimensions": dimensions,
        "points": packed(here.moved(share, view, dimensions) if share else points),
        "box": box,
        "titles": TITLES[view][:dimensions],
        "right": column_value(here.columns["zero-shot"]),
        "approximate": approximate,
        "note": NOTES[view],
        "mine": [
            {"name": one.name, "src": thumbnail(one.picture), "point": np.round(at, 4).tolist()}
            for one, at in zip(own, placed, strict=True)
        ],
    }


def place(
    here: ModelMap, view: str, dimensions: int, share: float, own: Sequence[Own]
) -> tuple[Float[np.ndarray, "own dimensions"], bool]:
    """Where one's own things land, and whether that is only near where they belong."""
    if not own:
        return np.empty((0, dimensions)), view == "umap"
    is_text = np.array([one.picture is None for one in own])
    vectors = towards_other_kind(here, own_vectors(here, own), is_text, share)
    return here.view(view, dimensions).place(vectors, is_text)


def towards_other_kind(
    here: ModelMap,
    vectors: Float[np.ndarray, "own embed_dim"],
    is_text: Bool[np.ndarray, " own"],
    share: float,
) -> Float[np.ndarray, "own embed_dim"]:
    """New vectors moved as `towards_each_other` moves the map's, along the map's own gap."""
    if not share:
        return vectors
    texts = here.content.is_text
    gap = modality_gap(
        torch.from_numpy(here.vectors[~texts]), torch.from_numpy(here.vectors[texts])
    ).numpy()
    moved = vectors + np.where(is_text, share, -share)[:, None] * gap
    return moved / np.linalg.norm(moved, axis=1, keepdims=True)


def packed(points: Float[np.ndarray, "rows dimensions"]) -> str:
    """Point after point as little-endian float32 in base64: a third of what JSON would take."""
    return base64.b64encode(points.astype("<f4").tobytes()).decode()


def thumbnail(picture: Image.Image | None) -> str:
    if picture is None:
        return ""
    small = picture.copy()
    small.thumbnail((96, 96))
    return data_address(small)


def near_value(
    here: ModelMap, view: str, dimensions: int, share: float, own: Sequence[Own], item: str
) -> Value:
    """The true neighbours of an item, and how the map does there, for `map_near`.

    `item`: a row's number, or "own 0" for the first of one's own; where there is none such, the
    value has no item.
    """
    row = row_of(item, len(here.content), len(own))
    if row is None:
        return {"item": ""}
    vectors, is_text, points = here.vectors, here.content.is_text, here.points(view, dimensions)
    share = 0.0 if view == "umap" else share
    points = here.moved(share, view, dimensions) if share else points
    if own:  # they are judged as the others are: as one more row
        vectors = np.concatenate([vectors, own_vectors(here, own)])
        is_text = np.append(is_text, [one.picture is None for one in own])
        points = np.concatenate([points, place(here, view, dimensions, share, own)[0]])
    rows = slice(len(here.content))
    left_out = row if row < len(here.content) else None
    found = neighbours(vectors[rows], is_text[rows], vectors[row], CLOSE, left_out)
    return {
        "item": item,
        "collection": here.content.name,
        "pictures": _listed(found.pictures),
        "texts": _listed(found.texts),
        "true": true_on_map(points, vectors, row, BESIDE),
        "beside": min(BESIDE, len(vectors) - 1),
        "facts": facts(here, view, dimensions),
    }


def row_of(item: str, rows: int, own: int) -> int | None:
    """An item's row, one's own after all others; None for what the map doesn't have."""
    kind, _, number = str(item or "").rpartition(" ")
    if not (number.isascii() and number.isdigit() and len(number) < 9 and kind in ("", "own")):
        return None
    place, most = int(number), own if kind else rows
    return None if place >= most else place + (rows if kind else 0)


def _listed(found: Any) -> list[tuple[int, float]]:
    return [(int(row), round(float(cosine), 4)) for row, cosine in zip(*found, strict=True)]


_trust: WeakKeyDictionary[ModelMap, dict[tuple[str, int], float]] = WeakKeyDictionary()
_measuring = threading.Lock()


def facts(here: ModelMap, view: str, dimensions: int) -> str:
    """How far the whole map can be believed, in a sentence or two."""
    key = view, dimensions
    with _measuring:
        known = _trust.setdefault(here, {})
        if key not in known:
            k = max(1, min(BESIDE, (len(here.content) - 1) // 2))
            known[key] = trustworthiness(here.points(view, dimensions), here.vectors, k)
    told = f"Trustworthiness of the whole map: {known[key]:.2f} (1: all neighbours on it are true "
    told += "ones; about 0.5: chance)."
    made = here.view(view, dimensions)
    if isinstance(made, LinearView):
        parts = [f"{100 * share:.0f} %" for share in made.shares]
        told += f" Of the variance, the axes show {' + '.join(parts)}: "
        told += f"{100 * (1 - made.shares.sum()):.0f} % isn't on the map."
    return told
