"""Exact views: straight axes through the embedding space.

A linear view shows some directions and drops all others. Nothing in it is bent: two points that
are far apart on the map are at least as far apart in the space. (Not the other way round: what
lies close on the map may differ in what was dropped. The axes' shares of the variance say how much
that is.)
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float

from clip_lab.errors import LabError
from clip_lab.evaluation.geometry import modality_gap, shift_kinds

FLAT = 1e-12  # a share of the variance that is rounding, not a direction


class Placed(NamedTuple):
    """Where vectors land on a map, and whether that is only near where they belong."""

    points: Float[np.ndarray, "vectors dimensions"]
    approximate: bool


@dataclass(frozen=True)
class LinearView:
    """A matrix and a mean: point = (vector − mean) · axesᵀ."""

    mean: Float[np.ndarray, " embed_dim"]
    axes: Float[np.ndarray, "dimensions embed_dim"]  # of length 1, at right angles to each other
    shares: Float[np.ndarray, " dimensions"]  # of the variance, for each axis; of all axes, 1
    titles: tuple[str, ...]

    def project(
        self, vectors: Float[np.ndarray, "vectors embed_dim"]
    ) -> Float[np.ndarray, "vectors dimensions"]:
        """Where any vectors lie, known or new. Raises LabError for another model's."""
        return (finite(vectors, len(self.mean)) - self.mean) @ self.axes.T

    def place(
        self,
        vectors: Float[np.ndarray, "vectors embed_dim"],
        is_text: Bool[np.ndarray, " vectors"],
    ) -> Placed:
        """As every view can. Here a new vector's place is exact, and its kind doesn't matter."""
        return Placed(self.project(vectors), approximate=False)


def gap_axes(
    pictures: Float[np.ndarray, "pictures embed_dim"],
    texts: Float[np.ndarray, "texts embed_dim"],
    dimensions: int = 2,
) -> LinearView:
    """x runs along the modality gap, the others along what varies most at right angles to it.

    x is the pictures' mean less the texts', made to length 1 (Liang et al. 2022, "Mind the gap",
    arXiv 2203.02053): pictures lie to its right. The other axes are principal components of all
    vectors after their part along x is taken off. Off the gap both kinds have the same mean, so
    whatever these axes show isn't the gap.

    Raises LabError where one kind is missing, where the means coincide, or where the vectors
    differ in fewer directions than there are axes.
    """
    for kind, vectors in (("pictures", pictures), ("texts", texts)):
        if len(vectors) == 0:
            raise LabError(
                f"The modality gap lies between pictures and texts, and there are no {kind} here. "
                f"Add some {kind}, or choose the principal components."
            )
    images, words = finite(pictures), finite(texts)
    both = np.concatenate([images, words])
    gap = modality_gap(torch.from_numpy(images), torch.from_numpy(words)).numpy()
    length = np.linalg.norm(gap)
    if length < 1e-6:
        raise LabError(
            "Pictures and texts have the same mean, so there is no gap to draw along. Choose the "
            "principal components."
        )
    x = gap / length
    mean, centred, variance = _centred(both)
    off_gap = centred - np.outer(centred @ x, x)
    components = _principal(off_gap, dimensions - 1, variance)
    titles = ("modality gap", *(f"component {i} off the gap" for i in range(1, dimensions)))
    axes = np.vstack([x, components])
    return LinearView(mean, axes, _along(axes, centred) / variance, titles)


def pca(vectors: Float[np.ndarray, "vectors embed_dim"], dimensions: int = 2) -> LinearView:
    """The directions in which the vectors vary most (Pearson 1901), all kinds together.

    A component and its opposite are as good as each other: here its largest number is positive, so
    that the same vectors always give the same map. Raises LabError where the vectors differ in
    fewer directions than there are axes.
    """
    mean, centred, variance = _centred(finite(vectors))
    axes = _principal(centred, dimensions, variance)
    titles = tuple(f"principal component {i}" for i in range(1, dimensions + 1))
    return LinearView(mean, axes, _along(axes, centred) / variance, titles)


def towards_each_other(
    pictures: Float[np.ndarray, "pictures embed_dim"],
    texts: Float[np.ndarray, "texts embed_dim"],
    share: float,
) -> tuple[Float[np.ndarray, "pictures embed_dim"], Float[np.ndarray, "texts embed_dim"]]:
    """Both kinds moved along the gap by `share` of it, and back onto the sphere.

    At ½ the means (nearly) meet, at 1 they have changed sides; 0 moves nothing. Project the result
    with the axes of the vectors as they were: `evaluation.geometry.shift_gap`, seen on a map.
    """
    both = torch.from_numpy(finite(pictures)), torch.from_numpy(finite(texts))
    images, words = shift_kinds(*both, share)
    return images.numpy(), words.numpy()


def finite(
    vectors: Float[np.ndarray, "vectors embed_dim"], width: int | None = None
) -> Float[np.ndarray, "vectors embed_dim"]:
    """The vectors in float64. Raises LabError for NaN, infinities, or another width."""
    if width is not None and vectors.shape[1] != width:
        raise LabError(
            f"The map was made of vectors of {width} numbers, these have {vectors.shape[1]}. "
            "Encode them with the model that the map shows."
        )
    exact = np.asarray(vectors, dtype=np.float64)
    if not np.isfinite(exact).all():
        raise LabError("Some vectors aren't finite numbers. Leave them out, or encode them again.")
    return exact


def _centred(
    vectors: Float[np.ndarray, "vectors embed_dim"],
) -> tuple[Float[np.ndarray, " embed_dim"], Float[np.ndarray, "vectors embed_dim"], float]:
    """Mean, vectors less the mean, variance in all directions. Raises LabError where it is 0."""
    mean = vectors.mean(axis=0) if len(vectors) else np.zeros(vectors.shape[1])
    centred = vectors - mean
    variance = float(np.square(centred).sum() / max(1, len(vectors)))
    if variance <= FLAT:
        raise LabError("A map needs at least two vectors that differ. Add some.")
    return mean, centred, variance


def _principal(
    centred: Float[np.ndarray, "vectors embed_dim"], number: int, variance: float
) -> Float[np.ndarray, "number embed_dim"]:
    """The first eigenvectors of the covariance; `variance` is what theirs is held against."""
    values, directions = np.linalg.eigh(centred.T @ centred / len(centred))
    found = int((values > FLAT * variance).sum())
    if not 0 <= number <= found:
        raise LabError(
            f"These vectors differ in {found} directions that could be drawn, not in {number}. "
            "Ask for fewer dimensions, or add vectors."
        )
    components = directions.T[::-1][:number]  # eigh has the smallest first
    largest = np.abs(components).argmax(axis=1)
    return components * np.sign(components[np.arange(number), largest])[:, None]


def _along(
    axes: Float[np.ndarray, "dimensions embed_dim"],
    centred: Float[np.ndarray, "vectors embed_dim"],
) -> Float[np.ndarray, " dimensions"]:
    """The variance along each axis."""
    return np.square(centred @ axes.T).mean(axis=0)
