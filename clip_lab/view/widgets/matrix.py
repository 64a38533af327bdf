"""The similarity matrix of a batch, to be touched: temperature, softmax by row or column, loss."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import traitlets
from jaxtyping import Float

from clip_lab.errors import LabError
from clip_lab.view.widgets.base import LabWidget, picture_address

HERE = Path(__file__).parent


class MatrixWidget(LabWidget):
    """N pictures against N captions, picture i belonging to caption i.

    `cosines[i, j]` compares picture i with caption j; `pictures` are (height, width, 3) arrays,
    uint8 or between 0 and 1; `tau` is the temperature that the slider starts from, between 0.01
    and 1 (CLIP's own bounds). `show` is one of "cosine", "logits", "captions" (softmax over
    captions, along the rows) and "pictures" (along the columns). Both can be read and set later.
    Twelve pairs are the most that a laptop's screen shows well. LabError for anything else.
    """

    _esm = HERE / "matrix.js"
    _css = HERE / "matrix.css"

    cosines = traitlets.List().tag(sync=True)
    pictures = traitlets.List(traitlets.Unicode()).tag(sync=True)
    captions = traitlets.List(traitlets.Unicode()).tag(sync=True)
    tau = traitlets.Float(0.07, min=0.01, max=1.0).tag(sync=True)
    show = traitlets.Enum(["cosine", "logits", "captions", "pictures"], "cosine").tag(sync=True)

    def __init__(
        self,
        cosines: Float[np.ndarray, "n n"],
        pictures: Sequence[np.ndarray],
        captions: Sequence[str],
        *,
        tau: float = 0.07,
        show: str = "cosine",
    ) -> None:
        matrix = np.asarray(cosines, dtype=float)
        n = len(captions)
        if matrix.shape != (n, n) or len(pictures) != n or n < 2:
            raise LabError(
                f"A matrix of {n} captions needs {n} pictures and {n} x {n} cosines, at least 2; "
                f"these are {len(pictures)} pictures and cosines of shape {matrix.shape}."
            )
        if not np.abs(matrix).max() <= 1.0001:  # also catches NaN
            raise LabError(
                f"Cosines lie between -1 and 1; these reach {np.abs(matrix).max():.3g}. "
                "Scale every vector to length 1 before you multiply."
            )
        if not 0.01 <= tau <= 1:
            raise LabError(f"tau is {tau:.3g}; the slider goes from 0.01 to 1, as CLIP's own does.")
        super().__init__(
            cosines=matrix.clip(-1, 1).round(6).tolist(),
            pictures=[picture_address(picture) for picture in pictures],
            captions=list(captions),
            tau=float(tau),
            show=show,
        )
