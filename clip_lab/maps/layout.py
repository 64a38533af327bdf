"""UMAP (McInnes et al. 2018, arXiv 1802.03426): neighbours kept together, everything else given up.

Its axes mean nothing, nor do the sizes of its clusters and the distances between them. There is no
formula for where a new vector belongs: it is put among those that it is most like.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from clip_lab.errors import LabError
from clip_lab.maps.linear import Placed, finite
from clip_lab.maps.neighbours import nearest

NEIGHBOURS = 15  # that UMAP looks at for each vector; its own default
SAME = 1e-7  # a distance below which two float32 unit vectors are the same


@dataclass(frozen=True)
class LaidOut:
    """Points that were laid out together, with the vectors that they stand for."""

    points: Float[np.ndarray, "rows dimensions"]
    vectors: Float[np.ndarray, "rows embed_dim"]
    is_text: Bool[np.ndarray, " rows"]

    def place(
        self,
        vectors: Float[np.ndarray, "vectors embed_dim"],
        is_text: Bool[np.ndarray, " vectors"],
        k: int = 5,
    ) -> Placed:
        """Each new vector at the mean of its k nearest of the same kind, the nearer counting more.

        Nearest in the full space; weights are 1 / (1 − cosine). Of the same kind, since pictures
        and texts lie apart, and a mean of both would land in no man's land. A known vector lands
        on its own point. Raises LabError where the map has none of that kind.
        """
        new = finite(vectors, self.vectors.shape[1])
        points = [self._between(v, text, k) for v, text in zip(new, is_text.tolist(), strict=True)]
        return Placed(np.stack(points) if points else self.points[:0], approximate=True)

    def _between(
        self, vector: Float[np.ndarray, " embed_dim"], is_text: bool, k: int
    ) -> Float[np.ndarray, " dimensions"]:
        alike = np.flatnonzero(self.is_text == is_text)
        if len(alike) == 0:
            kind = "texts" if is_text else "pictures"
            raise LabError(f"There are no {kind} on this map to place a new one among. Add some.")
        found = nearest(self.vectors, vector, alike, k)
        weights = 1 / np.maximum(1 - found.cosines, SAME)
        return weights @ self.points[found.rows].astype(np.float64) / weights.sum()


def umap_view(
    vectors: Float[np.ndarray, "rows embed_dim"],
    is_text: Bool[np.ndarray, " rows"],
    dimensions: int = 2,
    seed: int = 0,
) -> LaidOut:
    """Lay all vectors out together, by cosine.

    The same vectors and seed give the same points again on the same machine; that takes one
    thread. The first call of a process compiles for about half a minute, 10,000 vectors take some
    ten seconds more. Raises LabError without umap-learn, or for fewer than four vectors.
    """
    if len(vectors) <= dimensions + 1:
        raise LabError(f"UMAP needs more than {dimensions + 1} vectors; here are {len(vectors)}.")
    exact = finite(vectors)
    try:
        from umap import UMAP  # pyright: ignore[reportMissingImports]  (extra maps)
    except ImportError as error:
        raise LabError("umap-learn isn't installed: pip install “clip-lab[maps]”.") from error
    reducer = UMAP(
        n_components=dimensions,
        n_neighbors=min(NEIGHBOURS, len(vectors) - 1),
        metric="cosine",
        random_state=seed,
        n_jobs=1,
    )
    points = np.asarray(reducer.fit_transform(exact.astype(np.float32)))
    return LaidOut(points - points.mean(axis=0), vectors, is_text)
