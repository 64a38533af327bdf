"""What a map shows of a model: a collection of pictures and texts, and where the model puts them.

`map_of(encoder)` is what an app opens. Its points come from the package at once where the model is
built in (scripts/map_coordinates.py made them); its vectors, which neighbours, the gap slider and
anything new need, are encoded at first use (some 15 seconds for the emoji on one core) and kept
in memory.
"""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from threading import Lock, RLock

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Num
from torch import Tensor
from tqdm.auto import tqdm

from clip_lab.data.augment import on_white
from clip_lab.data.emoji_table import EmojiRow, emoji_table, pictures, texts
from clip_lab.data.scene import concatenate
from clip_lab.data.shape_captions import captions, plain_caption
from clip_lab.data.shape_drawing import draw
from clip_lab.data.shape_sampling import combination_names, held_out_table, sample_scenes
from clip_lab.data.shapes import dice
from clip_lab.dual_encoder import DualEncoder
from clip_lab.errors import LabError
from clip_lab.evaluation.accuracy import rank_of_target
from clip_lab.maps import (
    LaidOut,
    LinearView,
    gap_axes,
    open_coordinates,
    pca,
    read_signature,
    towards_each_other,
    umap_view,
)
from clip_lab.pretrained import names as built_in
from clip_lab.search.folder import fingerprint

FILES = Path(__file__).parent / "maps" / "files"
STYLE = "noto"
LANGUAGES = ("zh", "es", "hi", "ja", "de", "ru")  # beside English; they take turns
COPIES = 5  # of each combination of shape, colour and size
SEED = 2021  # of what is drawn and said in the shapes' collection
VIEWS = ("gap", "pca", "umap")
KEPT_MAPS = 2  # each holds a model and some 10 MB
BATCH = 256

View = LinearView | LaidOut


@dataclass(frozen=True)
class Content:
    """Pictures and texts, without a model. Rows are numbered through: pictures first, then texts.

    `columns`: what is known of each row, by what a map may be coloured by ("modality", "group",
    "language", ...); "" where there is nothing to say. `targets`: the row of each picture's name.
    """

    name: str
    names: tuple[str, ...]
    columns: dict[str, tuple[str, ...]]
    targets: Int[np.ndarray, " pictures"]
    draw: Callable[[Sequence[int]], Float[Tensor, "n 3 64 64"]]  # pictures by row, in [0, 1]

    def __len__(self) -> int:
        return len(self.names)

    @property
    def pictures(self) -> int:
        return len(self.targets)

    @property
    def is_text(self) -> Bool[np.ndarray, " rows"]:
        return np.arange(len(self)) >= self.pictures

    def digest(self) -> str:
        """Changes with what is in the collection, and with its order."""
        known = json.dumps([self.name, self.names, self.columns, self.targets.tolist()])
        return hashlib.sha256(known.encode()).hexdigest()[:12]


@cache
def emoji_content() -> Content:
    """Every emoji as Noto draws it, but for skin tones; its English name; one in another language.

    The other languages take turns. Skin tones are left out since they are a map's ruin: six to
    twenty-five all but equal pictures have only each other for neighbours, and UMAP makes some 300
    islands of them, with all the rest squeezed in the middle.
    """
    table = emoji_table()
    rows = [table.rows[i] for i in table.bases("all", [STYLE])]
    foreign = [LANGUAGES[i % len(LANGUAGES)] for i in range(len(rows))]
    said = [texts(lang)[row.hexcode][0] for lang, row in zip(foreign, rows, strict=True)]
    labels = [row.label for row in rows]
    columns = {
        "modality": _modality(len(rows), 2 * len(rows)),
        "group": tuple(row.group for row in rows) * 3,
        "language": ("",) * len(rows) + ("en",) * len(rows) + tuple(foreign),
    }
    targets = np.arange(len(rows)) + len(rows)
    return Content("emoji", (*labels, *labels, *said), columns, targets, _emoji_drawer(rows))


def _emoji_drawer(rows: Sequence[EmojiRow]) -> Callable[[Sequence[int]], Tensor]:
    cells = [row.cells[STYLE] for row in rows]
    return lambda chosen: on_white(pictures(STYLE)[[cells[i] for i in chosen]])


@cache
def shapes_content() -> Content:
    """Single objects: each combination of shape, colour and size five times, held-out ones too.

    Texts are each combination's plain name ("a small red circle"), by which pictures are
    classified, then a caption for each picture in free words, which may leave things out.
    """
    every = combination_names(torch.ones_like(held_out_table()))
    generator, words = dice(SEED, -1)
    parts = []
    for place in torch.ones_like(held_out_table()).nonzero():
        only_this = torch.zeros(held_out_table().shape)
        only_this[tuple(place)] = 1
        parts.append(sample_scenes(COPIES, generator, weights=only_this))
    scenes = concatenate(parts)
    drawn = [name for name in every for _ in range(COPIES)]
    plain = [plain_caption(*name) for name in every]
    shown = [plain[i // COPIES] for i in range(len(drawn))]
    of_rows = list(zip(*drawn, *every, *drawn, strict=True))
    columns = {
        "modality": _modality(len(drawn), len(every) + len(drawn)),
        "group": of_rows[0],
        "colour": of_rows[1],
        "size": of_rows[2],
        "language": ("",) * len(drawn) + ("en",) * (len(every) + len(drawn)),
    }
    targets = len(drawn) + np.arange(len(every)).repeat(COPIES)
    names = (*shown, *plain, *captions(scenes, words))
    return Content(
        "shapes", names, columns, targets, lambda rows: draw(scenes[torch.tensor([*rows])])
    )


def _modality(pictures: int, texts: int) -> tuple[str, ...]:
    return ("picture",) * pictures + ("text",) * texts


CONTENTS = {"emoji": emoji_content, "shapes": shapes_content}


class ModelMap:
    """A collection as a model sees it. Use `map_of`, which keeps the last few."""

    def __init__(self, encoder: DualEncoder, content: Content):
        self.encoder, self.content = encoder, content
        self.signature = f"{fingerprint(encoder)} on {content.name} {content.digest()}"
        self._views: dict[tuple[str, int], View] = {}
        self._lock = RLock()  # two tabs that open the map at once encode it once

    @property
    def file(self) -> Path:
        """Where the package has this model's points, if it has."""
        return FILES / f"{self.encoder.name}.npz"

    @cached_property
    def is_shipped(self) -> bool:
        """Whether the package has points for these very weights. Raises LabError if damaged."""
        ours = self.encoder.name in built_in() and self.file.exists()
        return ours and read_signature(self.file) == self.signature

    @cached_property
    def shipped(self) -> dict[str, np.ndarray]:
        """Raises LabError where the package's points are missing, damaged or of other weights."""
        return open_coordinates(self.file, self.signature, len(self.content))

    @property
    def vectors(self) -> Float[np.ndarray, "rows embed_dim"]:
        """A unit vector for each row, float32; encoded at first use."""
        with self._lock:
            return self._encoded

    @cached_property
    def _encoded(self) -> Float[np.ndarray, "rows embed_dim"]:
        here, parts = self.content, []
        for start in tqdm(range(0, here.pictures, BATCH), f"{here.name}, pictures", leave=False):
            rows = range(start, min(start + BATCH, here.pictures))
            parts.append(self.encoder.encode_images(here.draw(rows), batch_size=64))
        said = here.names[here.pictures :]
        parts.append(self.encoder.encode_texts(said, truncate=True))
        return torch.cat(parts).numpy()

    def points(self, view: str, dimensions: int = 2) -> Float[np.ndarray, "rows dimensions"]:
        """Where everything lies in a view ("gap", "pca" or "umap"): at once for built-in models.

        What is shipped is rounded to float16; `view(...)` computes it exactly.
        """
        _known(view)
        if self.is_shipped:
            name = f"umap{dimensions}" if view == "umap" else view
            if name in self.shipped and dimensions <= self.shipped[name].shape[1]:
                return self.shipped[name][:, :dimensions]
        made = self.view(view, dimensions)
        return made.points if isinstance(made, LaidOut) else made.project(self.vectors)

    def moved(
        self, share: float, view: str = "gap", dimensions: int = 2
    ) -> Float[np.ndarray, "rows dimensions"]:
        """Pictures and texts moved towards each other, in the axes of where they were.

        `share` of the gap, as in `towards_each_other`. Raises LabError for UMAP, which has no axes.
        """
        axes = self.view(view, dimensions) if view != "umap" else None
        if not isinstance(axes, LinearView):
            raise LabError("UMAP has no axes to move along. Choose the gap axes or the components.")
        is_text = self.content.is_text
        both = towards_each_other(self.vectors[~is_text], self.vectors[is_text], share)
        return axes.project(np.concatenate(both))

    def view(self, view: str, dimensions: int = 2) -> View:
        """The view itself, which can place new vectors. Needs the vectors, so may take a while.

        UMAP is taken from the package where it fits these weights, and else computed.
        """
        _known(view)
        with self._lock:
            key = view, dimensions
            if key not in self._views:
                self._views[key] = self._made(view, dimensions)
            return self._views[key]

    def _made(self, view: str, dimensions: int) -> View:
        vectors, is_text = self.vectors, self.content.is_text
        if view == "gap":
            return gap_axes(vectors[~is_text], vectors[is_text], dimensions)
        if view == "pca":
            return pca(vectors, dimensions)
        if self.is_shipped and f"umap{dimensions}" in self.shipped:
            return LaidOut(self.shipped[f"umap{dimensions}"], vectors, is_text)
        return umap_view(vectors, is_text, dimensions)

    @cached_property
    def columns(self) -> dict[str, tuple[str, ...]]:
        """The collection's columns, and "zero-shot": "right" or "wrong" for each picture."""
        words = {1: "right", 0: "wrong", -1: ""}
        right = self.shipped["right"] if self.is_shipped else self.right
        return self.content.columns | {"zero-shot": tuple(words[int(r)] for r in right)}

    @cached_property
    def right(self) -> Num[np.ndarray, " rows"]:
        """1 for a picture whose own name is the nearest of all names, 0 if not; −1 for texts."""
        vectors, targets = torch.from_numpy(self.vectors), self.content.targets
        first: dict[str, int] = {}  # pictures with the same name are one class
        owners = [first.setdefault(self.content.names[row], row) for row in targets]
        classes = {row: i for i, row in enumerate(first.values())}
        scores = vectors[: len(targets)] @ vectors[list(classes)].T
        ranks = rank_of_target(scores, torch.tensor([classes[row] for row in owners]))
        texts = len(self.content) - len(targets)
        return np.concatenate([(ranks == 0).numpy(), np.full(texts, -1)]).astype(np.int8)


def _known(view: str) -> None:
    if view not in VIEWS:
        raise LabError(f"There is no view “{view}”: choose from {', '.join(VIEWS)}.")


_kept: OrderedDict[str, ModelMap] = OrderedDict()
_keeping = Lock()


def map_of(encoder: DualEncoder, collection: str | None = None) -> ModelMap:
    """The map of a model; the same one again for the same weights.

    By default on the emoji, a shapes model on the shapes. Raises LabError for an unknown name.
    """
    name = collection or ("shapes" if encoder.name.startswith("shapes") else "emoji")
    if name not in CONTENTS:
        raise LabError(f"There is no collection “{name}”: choose from {', '.join(CONTENTS)}.")
    made = ModelMap(encoder, CONTENTS[name]())
    with _keeping:
        kept = _kept.pop(made.signature, made)
        _kept[made.signature] = kept
        while len(_kept) > KEPT_MAPS:
            _kept.popitem(last=False)
    return kept
