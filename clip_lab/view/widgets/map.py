"""An embedding space as a map, to be touched: both kinds in one picture, and who is really near."""

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import traitlets
from jaxtyping import Float
from PIL import Image

from clip_lab.errors import LabError
from clip_lab.view.widgets.base import LabWidget

HERE = Path(__file__).parent
MOST = 500  # pairs: more can't be told apart, nor chosen by hand
ACROSS, CELL = 20, 40  # small pictures in a row of the sheet, and their size; map.js knows both
STEPS = 32767  # of a number between 0 and 1, as it is sent


class MapWidget(LabWidget):
    """Pictures (dots) and their texts (diamonds), text i belonging to picture i.

    `image_vectors` and `text_vectors` are the full space, rows of length 1; `names[i]` says what
    pair i is. `views` says, by their names, where everything lies: an array (2 n, 2) of points,
    pictures first, or a straight view with `axes` (2, d), a `mean` (d) and `titles`, such as
    `clip_lab.maps.pca` returns. Only in straight views can the gap be closed. `view`, `share` (of
    the gap, from 0 to 1) and `chosen` (a row, pictures first) can be read and set. LabError for
    what doesn't fit together.
    """

    _esm = HERE / "map.js"
    _css = HERE / "map.css"

    vectors = traitlets.Unicode().tag(sync=True)
    width = traitlets.Int().tag(sync=True)
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    sheet = traitlets.Unicode().tag(sync=True)
    views = traitlets.List().tag(sync=True)
    view = traitlets.Unicode().tag(sync=True)
    share = traitlets.Float(0.0, min=0.0, max=1.0).tag(sync=True)
    chosen = traitlets.Int(0).tag(sync=True)

    def __init__(
        self,
        image_vectors: Float[np.ndarray, "n d"],
        text_vectors: Float[np.ndarray, "n d"],
        names: Sequence[str],
        pictures: Sequence[np.ndarray],
        views: Mapping[str, Any],
        *,
        chosen: int = 0,
    ) -> None:
        images, texts = (np.asarray(v, dtype=float) for v in (image_vectors, text_vectors))
        _check(images, texts, names, pictures, chosen)
        both = np.concatenate([images, texts])
        if not views:
            raise LabError("A map needs at least one view.")
        super().__init__(
            vectors=base64.b64encode((both * STEPS).round().astype("<i2").tobytes()).decode(),
            width=both.shape[1],
            names=list(names),
            sheet=_sheet(pictures),
            views=[_plain(name, view, *both.shape) for name, view in views.items()],
            view=next(iter(views)),
            chosen=int(chosen),
        )

    @traitlets.validate("view")
    def _known(self, proposal: Any) -> str:
        names = [view["name"] for view in self.views]
        if proposal["value"] not in names:
            raise LabError(f"There is no view “{proposal['value']}”: choose from {names}.")
        return proposal["value"]

    @traitlets.validate("chosen")
    def _there(self, proposal: Any) -> int:
        if not 0 <= proposal["value"] < 2 * len(self.names):
            raise LabError(f"Rows go from 0 to {2 * len(self.names) - 1}, pictures first.")
        return proposal["value"]


def _check(
    images: np.ndarray,
    texts: np.ndarray,
    names: Sequence[str],
    pictures: Sequence[np.ndarray],
    chosen: int,
) -> None:
    n = len(names)
    if images.ndim != 2 or images.shape != texts.shape or not len(images) == len(pictures) == n:
        raise LabError(
            f"{n} names need as many pictures, and as many vectors of pictures and of texts; these "
            f"are {len(pictures)} pictures and vectors of shapes {images.shape} and {texts.shape}."
        )
    if not 2 <= n <= MOST:
        raise LabError(f"A map of {n} pairs: from 2 to {MOST} can be shown.")
    lengths = np.linalg.norm(np.concatenate([images, texts]), axis=1)
    if not np.abs(lengths - 1).max() < 1e-3:  # also catches NaN
        raise LabError("Every vector must have length 1: normalise them first.")


def _plain(name: str, view: Any, rows: int, width: int) -> dict[str, Any]:
    """A view as plain JSON values."""
    if hasattr(view, "axes"):
        axes, mean = np.asarray(view.axes, dtype=float), np.asarray(view.mean, dtype=float)
        if axes.shape != (2, width) or mean.shape != (width,):
            raise LabError(
                f"The view “{name}” has axes of shape {axes.shape} and a mean of {mean.shape}; "
                f"two axes of {width} numbers are needed."
            )
        return {"name": name, "axes": axes.round(7).tolist(), "mean": mean.round(7).tolist(),
                "titles": list(view.titles)}  # fmt: skip
    points = np.asarray(view, dtype=float)
    if points.shape != (rows, 2) or not np.isfinite(points).all():
        raise LabError(f"The view “{name}” needs {rows} points (x, y), pictures first.")
    return {"name": name, "points": points.round(4).tolist()}


def _sheet(pictures: Sequence[np.ndarray]) -> str:
    """All pictures, small, side by side in one image: a `data:` address."""
    whole = Image.new("RGB", (ACROSS * CELL, -(-len(pictures) // ACROSS) * CELL), "white")
    for place, picture in enumerate(pictures):
        pixels = np.asarray(picture)
        if pixels.ndim != 3 or pixels.shape[2] != 3:
            raise LabError(f"A picture is (height, width, 3); this one is {pixels.shape}.")
        if pixels.dtype.kind == "f":
            pixels = (pixels.clip(0, 1) * 255).round().astype(np.uint8)
        row, column = divmod(place, ACROSS)
        small = Image.fromarray(pixels).resize((CELL, CELL))
        whole.paste(small, (column * CELL, row * CELL))
    file = io.BytesIO()
    whole.save(file, "WEBP", quality=75, method=6)  # two thirds of a JPEG that is as good
    return "data:image/webp;base64," + base64.b64encode(file.getvalue()).decode()
