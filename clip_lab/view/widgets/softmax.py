"""From cosines to shares, to be touched: scale, exp, division by the sum; the sigmoid beside."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import traitlets
from jaxtyping import Float

from clip_lab.errors import LabError
from clip_lab.view.widgets.base import LabWidget, picture_address

HERE = Path(__file__).parent
MOST = 12  # labels that a laptop's screen shows well


class SoftmaxWidget(LabWidget):
    """A few pictures against a list of labels, of which each can be taken off and put back.

    `cosines[i, j]` compares picture i with label j; `pictures` are (height, width, 3) arrays, uint8
    or between 0 and 1; `names` say what each shows. `scale` is 1/τ, between 1 and 100 (CLIP's own
    bounds). `none` is the label that is meant to say “none of these”, if there is one. `off` are
    the labels that are not on the list at first. `threshold` is the cosine at which the sigmoid,
    which asks each label alone, says 50 %. LabError for what doesn't fit together.
    """

    _esm = HERE / "softmax.js"
    _css = HERE / "softmax.css"

    cosines = traitlets.List().tag(sync=True)
    pictures = traitlets.List(traitlets.Unicode()).tag(sync=True)
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    labels = traitlets.List(traitlets.Unicode()).tag(sync=True)
    none = traitlets.Unicode("").tag(sync=True)
    picture = traitlets.Int(0).tag(sync=True)
    tau = traitlets.Float(0.07, min=0.01, max=1.0).tag(sync=True)
    threshold = traitlets.Float(0.5, min=-1.0, max=1.0).tag(sync=True)
    off = traitlets.List(traitlets.Unicode()).tag(sync=True)

    def __init__(
        self,
        cosines: Float[np.ndarray, "pictures labels"],
        pictures: Sequence[np.ndarray],
        names: Sequence[str],
        labels: Sequence[str],
        *,
        scale: float,
        none: str = "",
        off: Sequence[str] = (),
        threshold: float = 0.5,
    ) -> None:
        matrix = np.asarray(cosines, dtype=float)
        _check_sizes(matrix, len(pictures), len(names), labels)
        _check_labels(labels, [*off, *filter(None, [none])])
        if not 1 <= scale <= 100.001:
            raise LabError(f"The scale is {scale:.3g}; the slider goes from 1 to 100, as CLIP's.")
        if not -1 <= threshold <= 1:
            raise LabError(f"The threshold is a cosine, between -1 and 1; not {threshold:.3g}.")
        super().__init__(
            cosines=matrix.clip(-1, 1).round(6).tolist(),
            pictures=[picture_address(picture) for picture in pictures],
            names=list(names),
            labels=list(labels),
            none=none,
            tau=max(0.01, 1 / float(scale)),
            threshold=float(threshold),
            off=list(off),
        )


def _check_sizes(matrix: np.ndarray, pictures: int, names: int, labels: Sequence[str]) -> None:
    expected = (names, len(labels))
    if matrix.shape != expected or pictures != names or not names:
        raise LabError(
            f"{names} names and {len(labels)} labels need {names} pictures and {names} x "
            f"{len(labels)} cosines; these are {pictures} pictures and cosines of shape "
            f"{matrix.shape}."
        )
    if not 2 <= len(labels) <= MOST:
        raise LabError(f"Give 2 to {MOST} labels; these are {len(labels)}.")
    if not np.abs(matrix).max() <= 1.0001:  # also catches NaN
        raise LabError(
            f"Cosines lie between -1 and 1; these reach {np.abs(matrix).max():.3g}. "
            "Scale every vector to length 1 before you multiply."
        )


def _check_labels(labels: Sequence[str], named: Sequence[str]) -> None:
    if len(set(labels)) < len(labels):
        raise LabError("A label stands there twice: two classes of one name can't be told apart.")
    unknown = [label for label in named if label not in labels]
    if unknown:
        raise LabError(f"“{unknown[0]}” is not among the labels.")
