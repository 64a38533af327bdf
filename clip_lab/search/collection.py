"""Something to search in: vectors, what each row is, and its picture. For any kind of pictures."""

import io
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from PIL import Image, ImageDraw
from torch import Tensor

from clip_lab.errors import LabError
from clip_lab.preprocess import FORMATS, MAX_PIXELS, open_image
from clip_lab.retrieval import Hit, VectorIndex
from clip_lab.search.approximate import ApproximateIndex, share_found
from clip_lab.search.filters import Filter, Row

THUMBNAIL = 160  # pixels, the longer side
KEPT = 2000  # thumbnails: some 10 MB
EVERYTHING = Filter()


@dataclass(frozen=True)
class Answer:
    """What was found, and how.

    `matching`: rows that the filter lets through. `approximate`: whether the graph answered; then
    `recall` is the share of the exact answer that it found, for this very query, and
    `exact_seconds` what the exact answer took.
    """

    hits: list[Hit]
    seconds: float
    matching: int
    approximate: bool = False
    recall: float | None = None
    exact_seconds: float | None = None


class Collection:
    """Pictures to search in.

    Args:
        name: what to call it.
        index: the vectors; its rows have at least "name", and where it is known "folder", "group",
            "date" (ISO), "width", "height" (pixels) and "bytes".
        picture: opens a row's picture; may raise LabError or OSError.
        place: the folder where a graph for approximate search is kept, if it is to be.
    """

    def __init__(
        self,
        name: str,
        index: VectorIndex,
        picture: Callable[[Row], Image.Image],
        place: Path | None = None,
    ):
        self.name, self.index, self.place = name, index, place
        self._picture = picture
        self._among = lru_cache(maxsize=8)(self._mask)
        self.thumbnail = lru_cache(maxsize=KEPT)(self._thumbnail)
        self._graph: ApproximateIndex | None = None

    @property
    def rows(self) -> Any:
        """What is known of each picture: a sequence of dictionaries."""
        return self.index.rows

    def __len__(self) -> int:
        return len(self.index)

    def vector(self, number: int) -> Float[Tensor, " embed_dim"]:
        """A row's own unit vector, to look for what resembles it."""
        return torch.from_numpy(self.index.vectors[number].astype(np.float32))

    def search(
        self,
        query: Float[Tensor, " embed_dim"],
        k: int = 12,
        where: Filter = EVERYTHING,
        approximate: bool = False,
    ) -> Answer:
        """The k rows nearest to a unit vector among those that `where` lets through.

        The filter comes before the choice: k come back wherever k match. With a filter the exact
        index answers, asked for or not: it looks at matching rows alone, while a graph would have
        to be walked through all the others. Raises LabError for another model's vector.
        """
        among = None if where == EVERYTHING else self._among(where)
        began = time.perf_counter()
        right = self.index.search(query[None], k, among)[0]
        seconds = time.perf_counter() - began
        matching = len(self) if among is None else int(among.sum())
        if not approximate or among is not None:
            return Answer(right, seconds, matching)
        graph = self.graph()
        began = time.perf_counter()
        found = graph.search(query[None], k)[0]
        took = time.perf_counter() - began
        return Answer(found, took, matching, True, share_found(right, found), seconds)

    def _mask(self, where: Filter) -> Bool[np.ndarray, " rows"]:
        return where.among(self.rows)

    def graph(self) -> ApproximateIndex:
        """The graph for approximate search: the kept one, or made now and kept.

        Raises LabError where usearch isn't installed, or the graph can't be written.
        """
        if self._graph is None and self.place is not None:
            self._graph = ApproximateIndex.open(self.place, self.index)
        if self._graph is None:
            self._graph = ApproximateIndex.build(self.index, progress=True)
            if self.place is not None:
                self._graph.save(self.place)
        return self._graph

    def picture(self, number: int) -> Image.Image:
        """A row's picture as it is. Raises LabError where its file is gone or damaged."""
        try:
            return open_image(self._picture(self.rows[number]))
        except OSError as error:
            raise LabError(f"The picture can't be opened: {error.strerror or error}.") from error

    def _thumbnail(self, number: int, side: int = THUMBNAIL) -> bytes:
        """A row's picture as a small WebP file; a crossed-out square where it's gone."""
        try:
            image = self._picture(self.rows[number])
            image.draft("RGB", (side, side))  # a JPEG is decoded no larger than it has to be
            image = open_image(image)
            image.thumbnail((side, side))
        except (LabError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            image = _placeholder(side)
        file = io.BytesIO()
        image.save(file, "WEBP", quality=80)
        return file.getvalue()


def picture_inside(folder: Path, path: str) -> Image.Image:
    """A file inside `folder`, its header read. Raises LabError for one outside, or too large.

    Links are resolved first: one that was put in a picture's place leads nowhere else.
    """
    whole = (folder / path).resolve()
    if not whole.is_relative_to(folder.resolve()):
        raise LabError(f"“{path}” lies outside its folder.")
    image = Image.open(whole, formats=FORMATS)
    if image.width * image.height > MAX_PIXELS:
        raise LabError(f"“{path}” has over {MAX_PIXELS // 1_000_000} megapixels.")
    return image


def _placeholder(side: int) -> Image.Image:
    image = Image.new("RGB", (side, side), (200, 200, 200))
    draw = ImageDraw.Draw(image)
    for line in ((0, 0, side, side), (0, side, side, 0)):
        draw.line(line, fill=(150, 150, 150), width=2)
    return image
