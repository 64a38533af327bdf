"""What the Search tab's controls call: collections kept open, results, and a folder's index."""

import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import gradio as gr
import torch
from torch import Tensor

from apps.folders import Folders
from apps.frame import Frame, of_each
from apps.inputs import read_picture
from apps.panels import Value
from apps.query_parts import Part, parse_parts
from apps.search_values import (
    compared,
    done_value,
    filter_of,
    named,
    number_of,
    progress_value,
    results_of,
    results_value,
)
from clip_lab import DualEncoder, LabError
from clip_lab.search import Collection, FolderIndex, combine, emoji_collection, shapes_collection
from clip_lab.search.store import Store

KEPT = 12  # collections open at a time
FOLDER = "folder"
# A collection's name -> what a list shows.
BUILT_IN = {
    "emoji-noto": "Emoji by Noto",
    "emoji-twemoji": "Emoji by Twemoji",
    "emoji-fluent": "Emoji by Fluent 3D",
    "emoji-openmoji": "Emoji by OpenMoji",
    "shapes": "Shapes, drawn",
}


@dataclass(frozen=True)
class Opened:
    """A collection and what it was made from: for another model of that name, or an index that has
    changed since, it is opened again."""

    encoder: Callable[[], DualEncoder | None]  # a weak reference: the model may be let go of
    collection: Collection
    store: Store | None = None
    stamp: tuple[int, int] = (0, 0)

    def fits(self, encoder: DualEncoder) -> bool:
        """Whether it would be the same if it were opened now."""
        unchanged = self.store is None or self.store.stamp == self.stamp
        return unchanged and self.encoder() is encoder


class Shelf:
    """The collections of a page, opened when first asked for; the last ones stay open."""

    def __init__(self, folders: Folders):
        self.folders = folders
        self._kept: OrderedDict[tuple[str, str], Opened] = OrderedDict()

    def get(self, encoder: DualEncoder, name: str, request: gr.Request | None) -> Collection:
        """The collection of that name: a built-in one, or "folder:" and a path.

        Raises LabError where there is none, where it may not be read, or isn't indexed.
        """
        kind, _, path = name.partition(":")
        if kind == FOLDER:  # asked each time, before anything that is open is handed out
            name = f"{FOLDER}:{self.folders.find(path, request)}"
        elif name not in BUILT_IN:
            raise LabError(f"There is no collection “{name[:80]}”. Choose one from the list.")
        kept = self._kept.pop((encoder.name, name), None)
        if kept is None or not kept.fits(encoder):
            kept = self._open_folder(encoder, name.partition(":")[2], path) if kind == FOLDER else (
                Opened(weakref.ref(encoder), built_in(encoder, name))
            )  # fmt: skip
        self._kept[encoder.name, name] = kept
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)
        return kept.collection

    def _open_folder(self, encoder: DualEncoder, folder: str, shown: str) -> Opened:
        index = FolderIndex(folder, encoder)
        if not index.store.exists:
            raise LabError(
                f"“{shown.strip()}” isn't indexed for “{encoder.name}” yet. "
                "Press “Index or update”."
            )
        stamp = index.store.stamp  # before it is read: what is added meanwhile shows next time
        return Opened(weakref.ref(encoder), index.open(), index.store, stamp)


def built_in(encoder: DualEncoder, name: str) -> Collection:
    """A collection that comes with the lab; encoded at the first use."""
    if name == "shapes":
        return shapes_collection(encoder)
    return emoji_collection(encoder, name.removeprefix("emoji-"))


class Page:
    """The tab's functions. `request` says who asks: folders are not for everyone."""

    def __init__(self, frame: Frame):
        self.frame = frame
        self.shelf = Shelf(frame.folders)

    def search(
        self, request: gr.Request, model: str, other: str, query: str, collection: str, path: str,
        count: float, approximate: bool, name: str, group: str, folder: str, after: str,
        before: str, smallest: float, largest: float,
        progress: gr.Progress = gr.Progress(track_tqdm=True),  # noqa: B008
    ) -> Any:  # fmt: skip
        """Both models' results for the same query."""
        chosen = f"{FOLDER}:{path}" if collection == FOLDER else collection

        def of(encoder: DualEncoder) -> Value:
            parts, filters = parse_parts(query), filter_of(name, group, folder, after, before,
                                                           smallest, largest)  # fmt: skip
            vector = self._vector(encoder, parts, request)
            searched = self.shelf.get(encoder, chosen, request)
            answer = searched.search(vector, results_of(count), filters, bool(approximate))
            return results_value(chosen, searched, answer)

        return compared(*of_each(self.frame, (model, other), of))

    def _vector(self, encoder: DualEncoder, parts: list[Part], request: gr.Request) -> Tensor:
        def one(part: Part) -> Tensor:
            if part.row:
                collection = self.shelf.get(encoder, part.of, request)
                return collection.vector(number_of(collection, part.row))
            if part.picture:
                return encoder.encode_images([read_picture({"url": part.picture})])[0]
            return encoder.encode_texts([part.words])[0]

        return combine(torch.stack([one(part) for part in parts]), [part.weight for part in parts])

    def choices(self, request: gr.Request, model: str, collection: str, path: str) -> Any:
        """The groups and folders that a filter can name."""
        chosen = f"{FOLDER}:{path}" if collection == FOLDER else collection
        try:
            rows = self.shelf.get(self.frame.models.get(model), chosen, request).rows
        except LabError:  # the search says why
            rows = []
        return [gr.update(choices=named(rows, field)) for field in ("group", "folder")]

    # -- a folder's index -------------------------------------------------------------------------

    def index(self, request: gr.Request, model: str, other: str, path: str) -> Iterator[Value]:
        """Bring a folder's index up to date for each chosen model, saying how far it has come.

        Closed on its way, by the stop button or as the page is left, it keeps what is finished.
        """
        shown = (path or "").strip()
        folder = shown
        try:
            folder = self.frame.folders.find(shown, request)
            yield {"state": "working", "text": f"Looking through “{shown}” …"}
            for name in dict.fromkeys(filter(None, (model, other))):
                index = FolderIndex(folder, self.frame.models.get(name))
                with closing(index.update()) as update:
                    for progress in update:
                        yield progress_value(name if other else "", progress)
                done = done_value(index, shown)
            yield done
        except LabError as error:
            yield {"error": str(error).replace(str(folder), shown)}

    def remove(self, request: gr.Request, model: str, other: str, path: str) -> Value:
        """Delete a folder's index for each chosen model: on this machine alone, as whoever visits
        a page could otherwise undo an hour's work."""
        try:
            if not self.frame.folders.any_folder:
                raise LabError("An index is removed where it lies: `clip-lab search … --remove`.")
            folder = self.frame.folders.find(path, request)
            for name in dict.fromkeys(filter(None, (model, other))):
                FolderIndex(folder, self.frame.models.get(name)).remove()
        except LabError as error:
            return {"error": str(error)}
        return {"state": "done", "text": "The index is removed. The pictures are untouched."}
