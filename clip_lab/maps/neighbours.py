"""What is really near: neighbours in the full space, and how far a map can be believed.

However a map was made, most of the space isn't on it. So whoever clicks a point is shown its true
neighbours, by cosine, and how many of those beside it on the map are among them.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from clip_lab.errors import LabError
from clip_lab.maps.linear import finite

DECIMALS = 12  # of a cosine; beyond them is the order of a sum, which would shuffle ties


class Found(NamedTuple):
    """Rows, nearest first, with their cosines. Of equally near ones the earlier row comes first."""

    rows: Int[np.ndarray, " k"]
    cosines: Float[np.ndarray, " k"]


class Neighbours(NamedTuple):
    """The nearest of each kind: across a gap, the other kind would never be among the nearest."""

    pictures: Found
    texts: Found


def nearest(
    vectors: Float[np.ndarray, "rows embed_dim"],
    query: Float[np.ndarray, " query_dim"],
    among: Int[np.ndarray, " candidates"],
    k: int,
) -> Found:
    """The k of the rows `among` with the highest cosine to the query; all if they are fewer.

    Vectors and query of length 1 are expected. Raises LabError for k below 1, or a query that has
    another width.
    """
    if k < 1:
        raise LabError(f"At least one neighbour is looked for, not {k}.")
    query = finite(query[None], vectors.shape[1])[0]
    cosines = np.round(vectors[among].astype(np.float64) @ query, DECIMALS)
    order = np.argsort(-cosines, kind="stable")[:k]
    return Found(among[order], cosines[order])


def neighbours(
    vectors: Float[np.ndarray, "rows embed_dim"],
    is_text: Bool[np.ndarray, " rows"],
    query: Float[np.ndarray, " query_dim"],
    k: int = 8,
    leave_out: int | None = None,
) -> Neighbours:
    """The k nearest pictures and the k nearest texts, in the full space.

    `leave_out`: the query's own row, where it is one of those on the map.
    """
    others = np.arange(len(vectors)) != leave_out
    pictures, texts = np.flatnonzero(~is_text & others), np.flatnonzero(is_text & others)
    return Neighbours(nearest(vectors, query, pictures, k), nearest(vectors, query, texts, k))


def true_on_map(
    points: Float[np.ndarray, "rows dimensions"],
    vectors: Float[np.ndarray, "rows embed_dim"],
    row: int,
    k: int = 10,
) -> int:
    """How many of a point's k nearest on the map, of any kind, are among its k nearest by cosine.

    0 where the map misleads, k (or as many others as there are) where it tells the truth. Whatever
    is exactly as near as the k-th nearest counts as true.
    """
    others = np.flatnonzero(np.arange(len(vectors)) != row)
    ranked = nearest(vectors, vectors[row], others, max(1, len(others)))
    k = min(k, len(others))
    true = ranked.rows[ranked.cosines >= ranked.cosines[:k].min(initial=1.0)]
    distances = np.square(points[others].astype(np.float64) - points[row]).sum(axis=1)
    beside = others[np.argsort(distances, kind="stable")[:k]]
    return int(np.isin(beside, true).sum())


def trustworthiness(
    points: Float[np.ndarray, "rows dimensions"],
    vectors: Float[np.ndarray, "rows embed_dim"],
    k: int = 10,
    sample: int = 1500,
    seed: int = 0,
) -> float:
    """One figure for a whole map: 1 where all neighbours on it are true ones, about ½ by chance.

    Venna & Kaski 2001: a false neighbour costs the more, the further it is down the true order
    (scikit-learn's computation, by cosine). It takes all distances, so it is measured among at most
    `sample` random rows, where neighbours are further apart than among all. Raises LabError for
    fewer than 2 k + 1 rows, or without scikit-learn.
    """
    if len(vectors) <= 2 * k:
        raise LabError(f"Trustworthiness for {k} neighbours needs more than {2 * k} points.")
    try:
        from sklearn import manifold
    except ImportError as error:
        raise LabError("scikit-learn isn't installed: pip install “clip-lab[maps]”.") from error
    rows = np.random.default_rng(seed).permutation(len(vectors))[:sample]
    full, seen = finite(vectors[rows]), finite(points[rows])
    return float(manifold.trustworthiness(full, seen, n_neighbors=k, metric="cosine"))
