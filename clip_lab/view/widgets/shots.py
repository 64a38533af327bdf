"""Between names and examples, to be touched: two classifiers' logits, blended by a slider."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import traitlets
from jaxtyping import Float, Int
from numpy.typing import ArrayLike

from clip_lab.errors import LabError
from clip_lab.view.widgets.base import LabWidget, picture_address

HERE = Path(__file__).parent
NUMBERS = 120_000  # logits that a page carries at most: 320 KB
UNIT = 1 / 4000  # logits travel as whole numbers of it, in 16 bits: up to 8 spreads either way


class ShotsWidget(LabWidget):
    """(1 − α) times the names' logits + α times a probe's, over a test, for each number of shots.

    `names` are the zero-shot logits, (n, classes); `probes[k]` those of probes trained on k
    examples a class, (draws, n, classes); `targets` the pictures' classes. `pictures`: some of the
    n, by their place, as (height, width, 3) arrays: the page shows what becomes of their answers.
    The page opens with `alpha` and the fewest examples. LabError for what doesn't fit together.

    A probe's penalty decides how large its logits are. So that α weighs like with like, every
    classifier's are first brought to the same spread (`levelled`).
    """

    _esm = HERE / "shots.js"
    _css = HERE / "shots.css"

    names = traitlets.Unicode().tag(sync=True)  # `packed` logits, [picture][class]
    probes = traitlets.List().tag(sync=True)  # [shots][draw], `packed`
    shots = traitlets.List(traitlets.Int()).tag(sync=True)
    targets = traitlets.List(traitlets.Int()).tag(sync=True)
    classes = traitlets.List(traitlets.Unicode()).tag(sync=True)
    shown = traitlets.List(traitlets.Int()).tag(sync=True)
    pictures = traitlets.List(traitlets.Unicode()).tag(sync=True)
    alpha = traitlets.Float(0.0, min=0.0, max=1.0).tag(sync=True)
    at = traitlets.Int(0).tag(sync=True)  # the place in `shots`
    draw = traitlets.Int(0).tag(sync=True)

    def __init__(
        self,
        names: Float[np.ndarray, "n classes"],
        probes: Mapping[int, ArrayLike],
        targets: Int[np.ndarray, " n"],
        classes: Sequence[str],
        pictures: Mapping[int, np.ndarray],
        *,
        alpha: float = 0.0,
    ) -> None:
        bare = np.asarray(names, dtype=float)
        learnt = {k: np.asarray(probes[k], dtype=float) for k in sorted(probes)}
        _check_logits(bare, learnt, len(classes))
        _check_places(np.asarray(targets), [*pictures], len(bare), len(classes))
        if not 0 <= alpha <= 1:
            raise LabError(f"alpha is {alpha:.3g}; it goes from 0, names alone, to 1, examples.")
        super().__init__(
            names=packed(levelled(bare)),
            probes=[_distinct(draws) for draws in learnt.values()],
            shots=list(learnt),
            targets=np.asarray(targets).tolist(),
            classes=list(classes),
            shown=list(pictures),
            pictures=[picture_address(picture, 40) for picture in pictures.values()],
            alpha=float(alpha),
        )

    @traitlets.validate("at", "draw")
    def _there(self, proposal: Any) -> int:
        most = len(self.shots) if proposal["trait"].name == "at" else max(map(len, self.probes))
        if not 0 <= proposal["value"] < most:
            raise LabError(f"{proposal['trait'].name} is a place: 0 to {most - 1}.")
        return proposal["value"]


def levelled(logits: Float[np.ndarray, "n classes"]) -> Float[np.ndarray, "n classes"]:
    """The same answers, with mean 0 for each picture and standard deviation 1 over all logits."""
    centred = logits - logits.mean(axis=1, keepdims=True)
    return centred / centred.std()


def packed(logits: Float[np.ndarray, "n classes"]) -> str:
    """Whole numbers of `UNIT`, little-endian 16 bits each, as base64: half of what JSON takes."""
    whole = (logits / UNIT).round().clip(-32768, 32767)
    return base64.b64encode(whole.astype("<i2").tobytes()).decode()


def _distinct(draws: Float[np.ndarray, "draws n classes"]) -> list[str]:
    """Each draw's logits; where every draw took all the pictures there are, those of one."""
    return list(dict.fromkeys(packed(levelled(draw)) for draw in draws))


def _check_logits(names: np.ndarray, probes: dict[int, np.ndarray], classes: int) -> None:
    if names.ndim != 2 or names.shape[1] != classes or classes < 2 or not len(names):
        raise LabError(f"{classes} classes (2 or more) need logits (n, {classes}); the names' are "
                       f"{names.shape}.")  # fmt: skip
    if not probes or min(probes) < 1:
        raise LabError("Give probes by their examples a class, 1 or more: {1: ..., 4: ...}.")
    for k, draws in probes.items():
        if draws.shape[1:] != names.shape or not len(draws):
            raise LabError(f"The probes of {k} a class need logits (draws, {len(names)}, {classes})"
                           f"; these are {draws.shape}.")  # fmt: skip
    everything = [names, *(draw for draws in probes.values() for draw in draws)]
    if not all(np.isfinite(logits).all() for logits in everything):
        raise LabError("A logit isn't finite. Check the model that made it.")
    if any(np.ptp(logits, axis=1).max() == 0 for logits in everything):
        raise LabError("A classifier's logits are all alike: it tells nothing apart.")
    if names.size * len(everything) > NUMBERS:
        raise LabError(f"All logits together are {NUMBERS:,} at most: take fewer pictures or "
                       "draws.")  # fmt: skip


def _check_places(targets: np.ndarray, shown: list[int], count: int, classes: int) -> None:
    if targets.shape != (count,) or targets.dtype.kind not in "iu":
        raise LabError(f"Give each of the {count} pictures the number of its class.")
    if targets.min() < 0 or targets.max() >= classes:
        raise LabError(f"A class's number is 0 to {classes - 1}; these are {targets.min()} to "
                       f"{targets.max()}.")  # fmt: skip
    if not shown or any(place not in range(count) for place in shown):
        raise LabError(f"Give pictures by their places in the test, 0 to {count - 1}.")
