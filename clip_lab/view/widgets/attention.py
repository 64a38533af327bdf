"""Who looks at whom: a transformer's attention by layer, head and token, to be touched."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import traitlets
from jaxtyping import Float

from clip_lab.errors import LabError
from clip_lab.view.widgets.base import LabWidget, picture_address

HERE = Path(__file__).parent
MOST = 500_000  # numbers that a page can hold without growing slow
MEAN = -1  # as a head: the mean of all heads


class AttentionWidget(LabWidget):
    """Tokens in a row, and what each of them takes from each, in every head of every layer.

    `weights[layer, head, i, j]` is what token i takes from token j; a row sums to 1. `names` are
    the tokens in order. Where no token takes anything from a later one, the widget tells so and
    marks what is hidden: a causal mask. With `grid`, (rows, columns), the last rows x columns
    tokens are patches of a picture: they are laid out so, over `picture` if there is one (a
    (height, width, 3) array, uint8 or between 0 and 1).

    `layer`, `head` and `token` say where it starts, counted from 0 (`token` from the end if below
    0); head -1 is the mean of the heads. `show` is "arcs" or "matrix". All four can be read and set
    later. LabError for anything that doesn't fit together.
    """

    _esm = HERE / "attention.js"
    _css = HERE / "attention.css"

    weights = traitlets.List().tag(sync=True)
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    causal = traitlets.Bool(False).tag(sync=True)
    grid = traitlets.List(traitlets.Int()).tag(sync=True)
    picture = traitlets.Unicode("").tag(sync=True)
    layer = traitlets.Int(0).tag(sync=True)
    head = traitlets.Int(0).tag(sync=True)
    token = traitlets.Int(0).tag(sync=True)
    show = traitlets.Enum(["arcs", "matrix"], "arcs").tag(sync=True)

    def __init__(
        self,
        weights: Float[np.ndarray, "layers heads n n"],
        names: Sequence[str],
        *,
        grid: tuple[int, int] | None = None,
        picture: np.ndarray | None = None,
        layer: int = 0,
        head: int = 0,
        token: int = -1,
        show: str = "arcs",
    ) -> None:
        values = _checked(np.asarray(weights, dtype=float), len(names))
        layers, heads, n, _ = values.shape
        if grid is not None and not 0 < grid[0] * grid[1] <= n:
            raise LabError(
                f"A grid of {grid[0]} x {grid[1]} patches needs as many of the {n} tokens."
            )
        if picture is not None and grid is None:
            raise LabError("A picture needs `grid`, the (rows, columns) of its patches.")
        if not (0 <= layer < layers and MEAN <= head < heads and -n <= token < n):
            raise LabError(
                f"There are {layers} layers, {heads} heads and {n} tokens, counted from 0; layer "
                f"{layer}, head {head}, token {token} isn't among them."
            )
        super().__init__(
            weights=values.clip(0, 1).round(4).tolist(),
            names=list(names),
            causal=bool(np.abs(np.triu(values, 1)).max() < 1e-6),
            grid=list(grid or ()),
            picture="" if picture is None else picture_address(picture, 256),
            layer=layer,
            head=head,
            token=token % n,
            show=show,
        )


def _checked(weights: np.ndarray, n: int) -> np.ndarray:
    """The weights, if they are attention over `n` tokens; else LabError."""
    if weights.ndim != 4 or weights.shape[2:] != (n, n) or n < 2 or 0 in weights.shape:
        raise LabError(
            f"{n} tokens need weights of shape (layers, heads, {n}, {n}), at least 2 tokens; these "
            f"are {weights.shape}."
        )
    if weights.size > MOST:
        raise LabError(
            f"{weights.size:,} weights are too many for a page. Give fewer layers or heads."
        )
    if not (np.abs(weights.sum(-1) - 1).max() < 1e-3 and weights.min() > -1e-6):  # NaN too
        raise LabError(
            "What a token takes must sum to 1 over the last axis, with nothing below 0. Are these "
            "the weights after the softmax?"
        )
    return weights
