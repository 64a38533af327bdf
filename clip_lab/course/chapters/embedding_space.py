"""Chapter 12: retrieval and the embedding space. What its build exercises look for.

Right values are written out in float64; beside each stands what the likely mistakes would give on
the same input.
"""

from typing import Any

import torch
from torch import Tensor

from clip_lab.course.checks import Answer, Wrong, compare, exercise
from clip_lab.course.words import ANSWERS

Mistakes = list[tuple[Tensor, str]]

ANSWERS["perfectly mixed"] = """
    UMAP keeps neighbours as well as it can and lets everything else go, so a gap can vanish on it,
    and an island can appear where there is none. Two measurements decide: the distance of the two
    centroids, beside that of two random halves; and, of a description's ten nearest in the full
    space, how many are photos. If those are mostly descriptions, one list sorted by cosine buries
    the photos. Then I would search each kind by itself, or move both along the gap first, and
    count again.
"""


def rows_of_length_one(count: int, length: int, seed: int) -> Tensor:
    """Vectors as an encoder gives them."""
    random = torch.Generator().manual_seed(seed)
    rows = torch.randn(count, length, generator=random)
    return rows / torch.einsum("nd,nd->n", rows, rows).sqrt()[:, None]


def pair_of(answer: Answer, result: Any, first: str, second: str) -> tuple[Tensor, Tensor]:
    """Two tensors, or Wrong."""
    is_pair = isinstance(result, tuple | list) and len(result) == 2
    if not is_pair or not all(isinstance(one, Tensor) for one in result):
        raise Wrong(f"{answer.name} should return two tensors: {first}, then {second}.")
    return result[0], result[1]


# -- search ---------------------------------------------------------------------------------------


@exercise(
    "nearest_k",
    hints=(
        "Of vectors of length 1, the cosine is a dot product. All queries with all vectors: which "
        "one operation is that?",
        "The product of the queries with the vectors turned on their side has a row for each "
        "query. A tensor has a method that finds a row's k largest entries and where they stand.",
        "topk gives values and indices, largest first, along the axis that you name: the one that "
        "runs over the vectors. Return the values, then the indices.",
    ),
)
def _nearest(answer: Answer) -> str:
    queries, vectors = rows_of_length_one(3, 4, seed=1), rows_of_length_one(7, 4, seed=2)
    cosines, rows = pair_of(answer, answer(queries, vectors, 4), "cosines", "rows")
    if rows.is_floating_point() and not cosines.is_floating_point():
        raise Wrong("The two are exchanged: the cosines come first, then the rows.")
    for one, what in ((cosines, "cosines"), (rows, "rows")):
        if tuple(one.shape) != (3, 4):
            raise Wrong(
                f"The {what} have the shape {tuple(one.shape)}; 3 queries with 4 nearest each make "
                "(3, 4). Which axis runs over the vectors?"
            )
    all_cosines = torch.einsum("qd,nd->qn", queries.double(), vectors.double())
    order = torch.argsort(all_cosines, dim=1, descending=True)
    if torch.equal(rows.long(), order.flip(1)[:, :4]):
        raise Wrong("These are the *least* alike, worst first: a large cosine means near.")
    if torch.equal(rows.long(), order[:, :4].flip(1)):
        raise Wrong("The right ones, but the best comes last. Best first.")
    unsigned = all_cosines.abs().argsort(dim=1, descending=True)[:, :4]
    compare(rows.double(), order[:, :4].double(), [
        (unsigned.double(), "The sign was dropped: a cosine near −1 means very unlike, not near."),
    ])  # fmt: skip
    wanted = torch.gather(all_cosines, 1, order[:, :4])
    distances = (2 - 2 * wanted).sqrt()
    mistakes = [
        (distances, "The rows are right, but these are distances. The cosines were asked for."),
        (distances.square(), "The rows are right, but these are squared distances, not cosines."),
        (1 - wanted, "The rows are right, but this is 1 − cosine."),
        (torch.gather(all_cosines.softmax(1), 1, order[:, :4]), "The rows are right, but these are "
         "shares of a softmax. The cosines themselves were asked for."),
        (all_cosines[:, :4], "The rows are right, but the cosines are those of the first four "
         "vectors, not of the rows found."),
    ]  # fmt: skip
    compare(cosines.double(), wanted, mistakes)
    return "Exact: every query met every vector, and the best come first."


# -- ranks ----------------------------------------------------------------------------------------

# Ranks along rows: 1, 3, 2, 4. Along columns: 2, 1, 3, 4. No two entries are equal.
SCORES = [[0.9, 0.1, 0.2, 0.3], [0.95, 0.4, 0.5, 0.1], [0.3, 0.2, 0.6, 0.7], [0.8, 0.35, 0.75, 0.0]]


@exercise(
    "partner_ranks",
    hints=(
        "A rank is one more than the number of those that stand before. So nothing needs sorting: "
        "count.",
        "The partner's own score stands on the diagonal. Compare each row with its own entry "
        "there; the yeses of a row, summed, are a count.",
        "“At least as large as the partner” is true of the partner itself, which makes the count "
        "start at 1, and of ties, which then stand before it. Mind that the diagonal must become a "
        "column to be compared row by row.",
    ),
)
def _ranks(answer: Answer) -> str:
    scores = torch.tensor(SCORES)
    result = answer.tensor(scores, shape=(4,), means="one rank for each query")
    own = scores.diagonal()
    ranks = 1 + (scores > own.unsqueeze(1)).double().sum(1)
    columns = 1 + (scores > own.unsqueeze(0)).double().sum(0)
    order = scores.argsort(dim=1, descending=True)
    mistakes = [
        (ranks - 1, "Your ranks start at 0. The best has rank 1 here: the partner counts itself."),
        (columns, "These are ranks within columns. Row i is query i: compare along the rows."),
        (1 + (scores > own.unsqueeze(0)).double().sum(1), "Each row was compared with the whole "
         "diagonal, entry by entry. Row i has one partner, entry (i, i): make the diagonal a "
         "column."),
        ((scores >= own.unsqueeze(1)).double().sum(0), "Compared along the rows, but counted down "
         "the columns: sum over the other axis."),
        (5 - ranks, "You counted from the worst: a large score is a good one."),
        (4 - ranks, "You counted those that are *worse* than the partner."),
        (order.diagonal().double(), "This is *who* stands at place i. Where the partner stands was "
         "asked."),
        (1 + order.diagonal().double(), "This is *who* stands at place i. Where the partner stands "
         "was asked."),
        (scores.argmax(1).double(), "This is who comes first in each row. How far down does the "
         "partner stand?"),
    ]  # fmt: skip
    compare(result, ranks, mistakes)
    _ties(answer)
    return "From these ranks come recall at any k and the median, both ways."


def _ties(answer: Answer) -> None:
    same = answer.tensor(torch.full((3, 3), 0.5), shape=(3,))
    if not torch.equal(same, torch.full((3,), 3.0, dtype=torch.float64)):
        raise Wrong(
            "A model that gives every pair the same score finds nothing, and yours says "
            f"{[int(rank) for rank in same]} for three such rows. Count ties against it: 3, 3, 3."
        )


# -- the gap --------------------------------------------------------------------------------------


@exercise(
    "centroid_gap",
    hints=(
        "A centroid is the mean of all vectors of a kind: one vector.",
        "Which axis of an (n, d) matrix runs over the vectors? Average along it, for each kind.",
        "“From the texts to the pictures”: what must be added to the texts' mean to get the "
        "pictures'? No normalising anywhere.",
    ),
)
def _gap(answer: Answer) -> str:
    images, texts = rows_of_length_one(5, 3, seed=3), rows_of_length_one(7, 3, seed=4)
    pairs = answer(images, texts[:5])
    if isinstance(pairs, Tensor) and tuple(pairs.shape) == (5,):
        raise Wrong("One number a row: the mean was taken inside each vector. Average over them.")
    result = answer(images, texts)
    if isinstance(result, float) or (isinstance(result, Tensor) and result.ndim == 0):
        raise Wrong("That is one number. The whole vector was asked for: it also says which way.")
    value = answer.tensor(images, texts, shape=(3,), means="a vector, as wide as the others")
    i, t = images.double(), texts.double()
    mean_i, mean_t = i.sum(0) / 5, t.sum(0) / 7
    wanted = mean_i - mean_t
    mistakes = [
        (-wanted, "This leads from the pictures to the texts: turn it round."),
        (wanted / wanted.square().sum().sqrt(), "This was made length 1. Its length is the very "
         "thing to be measured."),
        (mean_i / mean_i.square().sum().sqrt() - mean_t / mean_t.square().sum().sqrt(), "The "
         "centroids were made length 1 first. How short a centroid is says how far its kind is "
         "spread: leave it."),
        (i.sum(0) - t.sum(0), "These are sums. With 5 pictures and 7 texts their difference is "
         "not that of the means."),
        ((mean_i + mean_t) / 2, "That is the middle between the two, not the way from one to the "
         "other."),
        (wanted.abs(), "Without its signs it no longer says which way."),
    ]  # fmt: skip
    compare(value, wanted, mistakes)
    return "Its length is Liang's gap; its direction is the axis that the widget can draw."


# -- principal components -------------------------------------------------------------------------


@exercise(
    "principal",
    hints=(
        "Three steps: take the mean vector off, decompose, look at the data from the first k "
        "directions.",
        "torch.linalg.svd of an (n, d) matrix with full_matrices=False gives U, S and Vᵀ. A "
        "direction is a row of Vᵀ; places along it are dot products with the centred data.",
        "Variance goes with the square of a singular value. A share is of *all* variance, so "
        "divide by the sum over all of S², also of those beyond the first k.",
    ),
)
def _principal(answer: Answer) -> str:
    spread = torch.tensor([3.0, 0.5, 1.5, 1.0])
    vectors = rows_of_length_one(9, 4, seed=5) * spread + torch.tensor([1.0, 2.0, 0.0, -1.0])
    points, shares = pair_of(answer, answer(vectors, 2), "places", "shares")
    if tuple(points.shape) != (9, 2) or tuple(shares.shape) != (2,):
        raise Wrong(
            f"The shapes are {tuple(points.shape)} and {tuple(shares.shape)}; 9 vectors on 2 "
            "components have places of shape (9, 2) and 2 shares."
        )
    _check_places(points.double(), vectors.double())
    _check_shares(shares.double(), vectors.double())
    return "An exact map, and how much of the space is on it."


def _check_places(points: Tensor, x: Tensor) -> None:
    u, s, vt = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    at = u * s
    vt0 = torch.linalg.svd(x, full_matrices=False)[2]
    raw = x @ vt0.mT
    within, evened = x - x.mean(1, keepdim=True), (x - x.mean(0)) / x.std(0)

    def seen(rows: Tensor) -> Tensor:
        return (rows @ torch.linalg.svd(rows, full_matrices=False)[2].mT)[:, :2].abs()

    # A component and its opposite are as good as each other: signs are left out of it.
    compare(points.abs(), at[:, :2].abs(), [
        (raw[:, :2].abs(), "The mean was not taken off: the first direction then points at the "
         "cloud from the origin, whatever it looks like inside."),
        ((raw - x.mean(0) @ vt0.mT)[:, :2].abs(), "The directions come from data whose mean was "
         "still in: centre first, then decompose."),
        ((x @ vt.mT)[:, :2].abs(), "The directions are right, but the places are of vectors whose "
         "mean was not taken off."),
        (seen(within), "From each vector the mean of its own entries was taken off. The mean "
         "*vector* was meant: average over the rows."),
        (seen(evened), "Each dimension was divided by its own spread. That is another question: "
         "where they vary most is what PCA looks for."),
        (u[:, :2].abs(), "These are the first columns of U: places with the spread taken out. "
         "Multiply by S, or take dot products with the rows of Vᵀ."),
        (((x - x.mean(0)) @ vt)[:, :2].abs(), "You used columns of Vᵀ. Its *rows* are the "
         "directions."),
        (at[:, -2:].abs(), "These are the last components, along which least varies."),
        (at[:, :2].flip(1).abs(), "The second component stands before the first."),
    ])  # fmt: skip


def _check_shares(shares: Tensor, x: Tensor) -> None:
    s = torch.linalg.svdvals(x - x.mean(0))
    s0 = torch.linalg.svdvals(x)
    all_shares = s**2 / (s**2).sum()
    compare(shares, all_shares[:2], [
        (s[:2] / s.sum(), "The places are right. The shares are of the singular values: variance "
         "goes with their squares."),
        (all_shares[:2] / all_shares[:2].sum(), "The places are right. The shares add up to 1 over "
         "the k that are shown: they should be of all variance."),
        (s[:2] ** 2, "The places are right. These are not shares yet: divide by the sum of all."),
        (s[:2] ** 2 / len(x), "The places are right. These are variances: divide by their sum."),
        (s[:2] ** 2 / (len(x) - 1), "The places are right. These are variances: divide by their "
         "sum."),
        (s[:2], "The places are right. These are singular values, not shares."),
        (s0[:2] ** 2 / (s0**2).sum(), "The places are right. The shares were taken before the mean "
         "came off."),
    ])  # fmt: skip
