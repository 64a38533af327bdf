"""Collections that come with the lab: emoji in any artist's style, and drawn shapes."""

from collections.abc import Callable
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from clip_lab.data.augment import on_white
from clip_lab.data.emoji_table import CELL, STYLES, emoji_table, pictures
from clip_lab.data.shapes import KINDS, ShapesPairs
from clip_lab.dual_encoder import DualEncoder
from clip_lab.errors import LabError
from clip_lab.files import cache_folder
from clip_lab.preprocess import open_image
from clip_lab.retrieval import VectorIndex
from clip_lab.search.collection import Collection
from clip_lab.search.filters import Row
from clip_lab.search.folder import fingerprint

SHAPES_EACH = 512  # scenes of each kind
SIDE = 64  # pixels
Bytes = UInt8[Tensor, "pictures 3 64 64"]


def emoji_collection(encoder: DualEncoder, style: str = "noto") -> Collection:
    """Every base emoji that an artist has drawn, some 1,900, on white.

    Rows: name, group, subgroup, emoji, and whether the thing was held out of training. Raises
    LabError for a style that there is none of.
    """
    if style not in STYLES:
        raise LabError(f"There is no emoji style {style!r}: choose from {', '.join(STYLES)}.")
    table = emoji_table()
    numbers = table.bases("all", [style])
    rows: list[Row] = [
        {
            "name": row.label,
            "group": row.group,
            "subgroup": row.subgroup,
            "emoji": row.emoji,
            "held_out": table.held_out(number),
            "cell": row.cells[style],
            "width": CELL,
            "height": CELL,
        }
        for number, row in ((number, table.rows[number]) for number in numbers)
    ]

    def of(chosen: list[Row]) -> Bytes:
        return _bytes(on_white(pictures(style)[[row["cell"] for row in chosen]]))

    return _collection(encoder, f"emoji-{style}", rows, of)


def shapes_collection(encoder: DualEncoder) -> Collection:
    """Some 2,500 scenes, the same ones every time, of combinations that training may show.

    Rows: name (a caption), group (the kind of scene: single, pair, count, word, medley).
    """
    rows: list[Row] = []
    drawn = []
    for kind in KINDS:
        pairs = ShapesPairs(SHAPES_EACH, SIDE, seed=1, kinds={kind: 1.0})
        images, captions, *_ = pairs.batch(0)
        start = sum(map(len, drawn))
        rows += [
            {"name": name, "group": kind, "cell": start + i, "width": SIDE, "height": SIDE}
            for i, name in enumerate(captions)
        ]
        drawn.append(_bytes(images))
    everything = torch.cat(drawn)
    return _collection(
        encoder, "shapes", rows, lambda chosen: everything[[row["cell"] for row in chosen]]
    )


def _collection(
    encoder: DualEncoder, name: str, rows: list[Row], of: Callable[[list[Row]], Bytes]
) -> Collection:
    """The vectors are made at the first use, and kept in the cache folder if that can be had."""
    place = cache_folder() / "search" / name / fingerprint(encoder)
    index = _kept(place, rows, encoder.embed_dim)
    if index is None:
        vectors = encoder.encode_images(of(rows).float() / 255, progress=True)
        index = VectorIndex.build(vectors, rows)
        try:
            index.save(place)
        except LabError:
            return Collection(name, index, lambda row: open_image(of([row])[0]))
    return Collection(name, index, lambda row: open_image(of([row])[0]), place)


def _kept(place: Path, rows: list[Row], embed_dim: int) -> VectorIndex | None:
    """What was made before. If it's of other rows, or damaged, it is made again."""
    try:
        index = VectorIndex.open(place)
    except LabError:
        return None
    same = list(index.rows) == rows and index.vectors.shape == (len(rows), embed_dim)
    return index if same else None


def _bytes(pictures: Float[Tensor, "pictures 3 64 64"]) -> Bytes:
    return (pictures * 255).round().byte()
