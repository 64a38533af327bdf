"""A picture as a Vision Transformer gets it: patches, numbers, positions, and what it all costs."""

from pathlib import Path

import numpy as np
import traitlets
from jaxtyping import Float

from clip_lab.errors import LabError
from clip_lab.view.widgets.base import LabWidget

HERE = Path(__file__).parent
FINEST = 16  # patches a side: more can't be pointed at
LARGEST = 64  # pixels a side, all of which travel with the widget


class PatchesWidget(LabWidget):
    """One picture, cut into patches of a size that a slider chooses.

    `picture` is a square (height, width, 3) array, uint8 or between 0 and 1, of at most 64 pixels a
    side. `positions` are a tower's learned ones, (1 + grid², width): the class token's first, then
    the patches' row by row. `layers` is the tower's, for the cost. `patch` is the size that the
    slider starts from, by default the one that `positions` were learnt for; `token` is the one
    looked at (0: the class token). Both can be read and set later. On another grid than their own,
    positions are interpolated. LabError for anything else.
    """

    _esm = HERE / "patches.js"
    _css = HERE / "patches.css"

    pixels = traitlets.List().tag(sync=True)  # rows of [red, green, blue], 0 to 255
    positions = traitlets.List().tag(sync=True)
    sizes = traitlets.List(traitlets.Int()).tag(sync=True)  # of a patch, finest first
    layers = traitlets.Int(1, min=1).tag(sync=True)
    patch = traitlets.Int(1, min=1).tag(sync=True)
    token = traitlets.Int(0, min=0).tag(sync=True)

    def __init__(
        self,
        picture: np.ndarray,
        positions: Float[np.ndarray, "tokens width"],
        *,
        layers: int = 12,
        patch: int | None = None,
        token: int = 1,
    ) -> None:
        pixels = _whole_numbers(picture)
        side, grid = len(pixels), _grid(positions)
        sizes = [size for size in range(1, side // 2 + 1) if fits(side, size)]
        learnt_for = side // grid
        patch = learnt_for if patch is None else patch
        if learnt_for not in sizes or side % grid:
            raise LabError(
                f"Positions for {grid} x {grid} patches don't fit a picture of {side} pixels: the "
                f"side must be {grid} times a patch, and a grid has 2 to {FINEST} patches a side."
            )
        if patch not in sizes:
            raise LabError(
                f"Patches of {patch} pixels don't cut a side of {side} evenly into 2 to {FINEST}. "
                f"These do: {', '.join(map(str, sizes))}."
            )
        if not 0 <= token <= (side // patch) ** 2:
            raise LabError(f"There is no token {token}: they go from 0 to {(side // patch) ** 2}.")
        super().__init__(
            pixels=pixels.tolist(),
            positions=np.asarray(positions, dtype=float).round(5).tolist(),
            sizes=sizes,
            layers=layers,
            patch=patch,
            token=token,
        )


def fits(side: int, patch: int) -> bool:
    """Whether patches of this size cut a side evenly, into as many as can be pointed at."""
    return side % patch == 0 and 2 <= side // patch <= FINEST


def vit_cost(image_size: int, patch_size: int, width: int, layers: int) -> dict[str, int]:
    """Multiply-adds of a Vision Transformer for one picture, part by part.

    Only matrix products count: the rest is small beside them. `attention products` are queries
    against keys and shares against values, the one part that grows with the square of the tokens.
    """
    patches = (image_size // patch_size) ** 2
    tokens = patches + 1  # the class token
    return {
        "patches to tokens": patches * 3 * patch_size**2 * width,
        "queries, keys, values, output": layers * 4 * tokens * width**2,
        "MLP": layers * 8 * tokens * width**2,
        "attention products": layers * 2 * tokens**2 * width,
    }


def _whole_numbers(picture: np.ndarray) -> np.ndarray:
    """The picture's pixels from 0 to 255."""
    pixels = np.asarray(picture)
    square = pixels.ndim == 3 and pixels.shape[0] == pixels.shape[1] and pixels.shape[2] == 3
    if not square or not 2 <= len(pixels) <= LARGEST:
        raise LabError(
            f"A picture is (side, side, 3) with 2 to {LARGEST} pixels a side; this one is "
            f"{pixels.shape}."
        )
    if pixels.dtype.kind == "f":
        pixels = (pixels.clip(0, 1) * 255).round()
    return pixels.astype(int)


def _grid(positions: np.ndarray) -> int:
    """Patches a side of a square grid with a class token before it."""
    shape = np.shape(positions)
    grid = round(max(shape[0] - 1, 0) ** 0.5) if len(shape) == 2 else 0
    if grid < 2 or grid**2 + 1 != shape[0]:
        raise LabError(
            "Positions are (1 + grid², width): the class token's, then a square grid's; these are "
            f"{shape}."
        )
    if not np.isfinite(positions).all():
        raise LabError("The positions hold nan or inf.")
    return grid
