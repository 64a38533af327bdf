"""An ensemble of prompt templates, to be touched: tick and untick, and see what each brings."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import traitlets
from jaxtyping import Float, Int

from clip_lab.errors import LabError
from clip_lab.view.widgets.base import LabWidget

HERE = Path(__file__).parent
MOST = 12  # templates on a laptop's screen
NUMBERS = 40_000  # cosines that a page carries at most


class TemplatesWidget(LabWidget):
    """A small test, classified with every template apart and with the ticked ones together.

    `image_vectors` (n, d) and `text_vectors` (classes, templates, d) have length 1; `targets` are
    the pictures' classes. `on` are the places of the templates ticked at first; the first template
    is what accuracies are compared with. `combine` is "vectors" (the mean vector of each class,
    length 1 again) or "shares" (the mean of the softmax shares at `scale`, which is 1/τ). Only
    cosines and inner products go to the page. LabError for what doesn't fit together.
    """

    _esm = HERE / "templates.js"
    _css = HERE / "templates.css"

    cosines = traitlets.List().tag(sync=True)  # [picture][class][template]
    gram = traitlets.List().tag(sync=True)  # [class][template][template]
    targets = traitlets.List(traitlets.Int()).tag(sync=True)
    classes = traitlets.List(traitlets.Unicode()).tag(sync=True)
    templates = traitlets.List(traitlets.Unicode()).tag(sync=True)
    scale = traitlets.Float(1.0).tag(sync=True)
    on = traitlets.List(traitlets.Int()).tag(sync=True)
    combine = traitlets.Enum(["vectors", "shares"], "vectors").tag(sync=True)

    def __init__(
        self,
        image_vectors: Float[np.ndarray, "n d"],
        text_vectors: Float[np.ndarray, "classes templates d"],
        targets: Int[np.ndarray, " n"],
        classes: Sequence[str],
        templates: Sequence[str],
        *,
        scale: float,
        on: Sequence[int] = (0,),
        combine: str = "vectors",
    ) -> None:
        images, texts = (np.asarray(v, dtype=float) for v in (image_vectors, text_vectors))
        _check_vectors(images, texts, len(classes), len(templates))
        places = _checked_targets(targets, len(images), len(classes))
        if any(place not in range(len(templates)) for place in on):
            raise LabError(f"on names templates by their places, 0 to {len(templates) - 1}.")
        if not 0 < scale < np.inf:
            raise LabError(f"The scale is 1/τ, above 0; not {scale:.3g}.")
        super().__init__(
            cosines=np.einsum("nd,ctd->nct", images, texts).round(4).tolist(),
            gram=np.einsum("ctd,cud->ctu", texts, texts).round(4).tolist(),
            targets=places.tolist(),
            classes=list(classes),
            templates=list(templates),
            scale=float(scale),
            on=sorted(set(on)),
            combine=combine,
        )


def _check_vectors(images: np.ndarray, texts: np.ndarray, classes: int, templates: int) -> None:
    fits = images.ndim == 2 and texts.shape == (classes, templates, images.shape[-1])
    if not fits or classes < 2 or not 1 <= templates <= MOST:
        raise LabError(
            f"{classes} classes and {templates} templates need text vectors of shape ({classes}, "
            f"{templates}, d) and image vectors (n, d), 2 classes or more and at most {MOST} "
            f"templates; these are {texts.shape} and {images.shape}."
        )
    if not 0 < images.shape[0] * classes * templates <= NUMBERS:
        raise LabError(f"pictures x classes x templates is 1 to {NUMBERS:,}: take fewer pictures.")
    lengths = np.concatenate([np.linalg.norm(v, axis=-1).ravel() for v in (images, texts)])
    if not np.abs(lengths - 1).max() <= 1e-3:  # also catches NaN
        raise LabError("Every vector should have length 1. Scale them before you hand them over.")


def _checked_targets(targets: Int[np.ndarray, " n"], count: int, classes: int) -> np.ndarray:
    places = np.asarray(targets)
    if places.shape != (count,) or places.dtype.kind not in "iu":
        raise LabError(f"Give each of the {count} pictures the number of its class.")
    if places.min() < 0 or places.max() >= classes:
        raise LabError(f"A class's number is 0 to {classes - 1}; these go to {places.max()}.")
    return places
