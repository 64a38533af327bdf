"""Attention pooling, to be touched: how much each place of a picture weighs, head by head."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import traitlets
from jaxtyping import Float

from clip_lab.errors import LabError
from clip_lab.view.widgets.base import LabWidget, picture_address

HERE = Path(__file__).parent
MOST_PLACES = 64


class PoolingWidget(LabWidget):
    """Some pictures, and for each head of an attention pool the shares that it gives the tokens.

    `shares[p, h]` are the shares of picture p in head h: first that of the mean of all places,
    then those of the places, row by row from the top left (a square number of them, 64 at most).
    Each row sums to 1. `pictures` are (height, width, 3) arrays, uint8 or between 0 and 1; `names`
    say what they show. `picture`, `head` and `place` are where one starts, and can be read and set
    later. LabError for anything else.
    """

    _esm = HERE / "pooling.js"
    _css = HERE / "pooling.css"

    shares = traitlets.List().tag(sync=True)
    pictures = traitlets.List(traitlets.Unicode()).tag(sync=True)
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    picture = traitlets.Int(0, min=0).tag(sync=True)
    head = traitlets.Int(0, min=0).tag(sync=True)
    place = traitlets.Int(0, min=0).tag(sync=True)

    def __init__(
        self,
        shares: Float[np.ndarray, "pictures heads tokens"],
        pictures: Sequence[np.ndarray],
        names: Sequence[str],
        *,
        picture: int = 0,
        head: int = 0,
        place: int = 0,
    ) -> None:
        given = np.asarray(shares, dtype=float)
        if given.ndim != 3 or not len(given) == len(pictures) == len(names) or not given.size:
            raise LabError(
                "Shares are (pictures, heads, tokens), with a picture and a name for each; these "
                f"are shares of shape {given.shape}, {len(pictures)} pictures, {len(names)} names."
            )
        places = given.shape[2] - 1
        if not 1 <= places <= MOST_PLACES or round(places**0.5) ** 2 != places:
            raise LabError(
                f"{given.shape[2]} tokens: one is the mean, and the other {places} should be a "
                f"square of places, {MOST_PLACES} at most. Is the mean's share among them?"
            )
        if not np.allclose(given.sum(axis=2), 1, atol=1e-3) or given.min() < 0:  # also NaN
            raise LabError("The shares of each head should sum to 1: softmax over the tokens.")
        wanted = np.array([picture, head, place])
        if (wanted < 0).any() or (wanted >= [*given.shape[:2], places]).any():
            raise LabError(
                f"Picture {picture}, head {head}, place {place}: there are {len(given)} pictures, "
                f"{given.shape[1]} heads and {places} places, counted from 0."
            )
        super().__init__(
            shares=given.round(6).tolist(),
            pictures=[picture_address(image, size=256) for image in pictures],
            names=list(names),
            picture=picture,
            head=head,
            place=place,
        )
