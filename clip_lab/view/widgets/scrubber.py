"""A training to be gone through: a slider over its steps, its curves, and what it made of pairs."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import traitlets
from jaxtyping import Float

from clip_lab.errors import LabError
from clip_lab.view.widgets.base import LabWidget, picture_address

HERE = Path(__file__).parent
CURVES = ("loss", "scale", "accuracy")


class ScrubberWidget(LabWidget):
    """A run at some of its steps, its moments: at each, n pictures against n captions.

    `cosines[k, i, j]` compares picture i with caption j at step `steps[k]`; picture i belongs to
    caption i. `pictures` are (height, width, 3) arrays, uint8 or between 0 and 1. `curves` holds
    (step, value) points of the run's "loss", "scale" (1/τ) and "accuracy" (a share), `chance` what
    guessing gives for the last. `at` is the moment shown, `show` "cosine" or "captions" (softmax
    over captions at the scale of that moment): both can be read and set later. LabError for
    anything else.
    """

    _esm = HERE / "scrubber.js"
    _css = HERE / "scrubber.css"

    steps = traitlets.List(traitlets.Int()).tag(sync=True)
    cosines = traitlets.List().tag(sync=True)
    pictures = traitlets.List(traitlets.Unicode()).tag(sync=True)
    captions = traitlets.List(traitlets.Unicode()).tag(sync=True)
    curves = traitlets.Dict().tag(sync=True)
    chance = traitlets.Float(0.0).tag(sync=True)
    at = traitlets.Int(0).tag(sync=True)
    show = traitlets.Enum(["cosine", "captions"], "cosine").tag(sync=True)

    def __init__(
        self,
        steps: Sequence[int],
        cosines: Float[np.ndarray, "moments n n"],
        pictures: Sequence[np.ndarray],
        captions: Sequence[str],
        curves: Mapping[str, Sequence[tuple[int, float]]],
        *,
        chance: float = 0.0,
        at: int = 0,
        show: str = "cosine",
    ) -> None:
        matrices = np.asarray(cosines, dtype=float)
        _check(steps, matrices, pictures, captions, curves, at)
        super().__init__(
            steps=[int(step) for step in steps],
            cosines=matrices.clip(-1, 1).round(4).tolist(),
            pictures=[picture_address(picture) for picture in pictures],
            captions=list(captions),
            curves={name: [[int(s), round(float(v), 5)] for s, v in curves[name]]
                    for name in CURVES},
            chance=float(chance),
            at=at,
            show=show,
        )  # fmt: skip

    @traitlets.validate("at")
    def _a_moment(self, proposal: dict) -> int:
        if not 0 <= proposal["value"] < len(self.steps):
            raise traitlets.TraitError(f"There are moments 0 to {len(self.steps) - 1}.")
        return proposal["value"]


def _check(
    steps: Sequence[int],
    matrices: np.ndarray,
    pictures: Sequence[np.ndarray],
    captions: Sequence[str],
    curves: Mapping[str, Sequence[tuple[int, float]]],
    at: int,
) -> None:
    moments, n = len(steps), len(captions)
    if moments < 2 or steps[0] < 0 or any(b <= a for a, b in pairwise(steps)):
        raise LabError("A run needs two steps at least, each later than the one before.")
    if matrices.shape != (moments, n, n) or len(pictures) != n or n < 2:
        raise LabError(
            f"{moments} steps of {n} captions need {n} pictures and {moments} x {n} x {n} cosines, "
            f"at least 2 pairs; these are {len(pictures)} pictures and cosines of shape "
            f"{matrices.shape}."
        )
    if not np.abs(matrices).max() <= 1.0001:  # also catches NaN
        raise LabError(
            f"Cosines lie between -1 and 1; these reach {np.abs(matrices).max():.3g}. "
            "Scale every vector to length 1 before you multiply."
        )
    for name in CURVES:
        points = np.asarray(curves.get(name, ()), dtype=float)
        if points.ndim != 2 or points.shape[1] != 2 or not np.isfinite(points).all():
            raise LabError(f"The curve “{name}” must be (step, value) points, all of them numbers.")
        if (np.diff(points[:, 0]) <= 0).any():
            raise LabError(f"The steps of the curve “{name}” must rise.")
    if not 0 <= at < moments:
        raise LabError(f"There are moments 0 to {moments - 1}; there is none numbered {at}.")
