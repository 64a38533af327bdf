"""Chapter 12, the exercises at its end: arithmetic with words, neighbours kept, CSLS."""

import torch
from torch import Tensor

from clip_lab.course.chapters.embedding_space import rows_of_length_one
from clip_lab.course.checks import Answer, Wrong, compare, exercise


def unit(rows: Tensor) -> Tensor:
    """Each row at length 1."""
    return rows / torch.einsum("nd,nd->n", rows, rows).sqrt()[:, None]


@exercise(
    "analogy",
    hints=(
        "It is as simple as it sounds: one subtraction, one addition, row by row.",
        "The result is not of length 1 any more, and the search that follows wants cosines.",
        "F.normalize scales along an axis: the one inside a vector, which is the last.",
    ),
)
def _analogy(answer: Answer) -> str:
    given = [rows_of_length_one(4, 3, seed=seed) for seed in (11, 12, 13)]
    value = answer.tensor(*given, shape=(4, 3), means="a row for each question")
    vectors, minus, plus = (rows.double() for rows in given)
    moved = vectors + plus - minus
    compare(value, unit(moved), [
        (moved, "The direction is right, the length is not 1: cosines are asked for next."),
        (unit(vectors + minus - plus), "The two words are exchanged: `minus` is to be taken off."),
        (moved / moved.square().sum().sqrt(), "All rows were divided by one number. Each needs its "
         "own length."),
        (unit(moved.T).T, "Your columns have length 1, your rows do not."),
        (unit(vectors + plus), "The old word was never taken off."),
        (unit(vectors - minus), "The new word was never put in."),
        (unit(plus - minus), "The vector that it starts from takes no part."),
        (unit(unit(vectors - minus) + plus), "The difference was made length 1 before the new word "
         "came in. Scale once, at the end."),
        (unit(vectors + unit(plus - minus)), "The step was made length 1 before it was added: its "
         "own length counts."),
    ])  # fmt: skip
    return "A step in the space, and back onto the sphere."


POINTS = [[0.0, 0.1], [1.0, 0.3], [1.9, -0.2], [3.2, 0.4], [4.1, 2.0], [0.2, 2.9], [2.7, 3.3],
          [5.2, 0.9]]  # fmt: skip


def nearest_sets(likeness: Tensor, k: int) -> Tensor:
    """(n, n): whether the column is among the row's k largest."""
    kth = likeness.sort(dim=1, descending=True).values[:, k - 1 : k]
    return likeness >= kth


def share(one: Tensor, other: Tensor, k: int = 3) -> Tensor:
    """Of each row's k largest in the one: the share that is among those of the other."""
    both = nearest_sets(one, k) & nearest_sets(other, k)
    return both.double().sum() / (len(one) * k)


@exercise(
    "neighbours_kept",
    hints=(
        "Two lists a point: its k nearest on the map, its k nearest in the space. How many rows do "
        "they share?",
        "torch.cdist gives all distances of the map, a product all cosines of the space. Before "
        "you take the k best of a row, rule out its own point: on which line of the matrix is it?",
        "masked_fill with an identity matrix of yes and no puts infinity on a diagonal. Then topk, "
        "once with largest=False; compare (n, k, 1) with (n, 1, k) to see which rows are in both.",
    ),
)
def _kept(answer: Answer) -> str:
    points, vectors = torch.tensor(POINTS), rows_of_length_one(8, 3, seed=21)
    result = answer(points, vectors, 3)
    if isinstance(result, Tensor) and result.ndim > 0:
        raise Wrong("One share for the whole map was asked for: take the mean over all points.")
    value = torch.tensor(float(result), dtype=torch.float64)
    p, v = points.double(), vectors.double()
    near, cosine = -torch.cdist(p, p), torch.einsum("nd,md->nm", v, v)
    itself = torch.eye(8, dtype=torch.bool)
    low = torch.tensor(-9.0, dtype=torch.float64)
    outside = near.where(~itself, low), cosine.where(~itself, low)
    wanted = share(*outside)
    on_map = torch.einsum("np,mp->nm", p, p).where(~itself, low)
    first, second = (kind.argsort(dim=1, descending=True)[:, :3] for kind in outside)
    in_place = (first == second).double().mean()
    compare(value, wanted, [
        (share(near, cosine), "Every point finds itself as its own nearest, on the map and in the "
         "space: that flatters the map. Leave it out."),
        (share(near, cosine, 4) * 4 / 3, "Every point still counts itself as a neighbour that was "
         "kept: leave it out."),
        (share((-near).where(~itself, low), outside[1]), "These are the *furthest* on the map: a "
         "distance is small where things are near."),
        (share(outside[0], (-cosine).where(~itself, low)), "These are the least alike of the "
         "space: a cosine is large where things are near."),
        (share(on_map, outside[1]), "On the map, nearness is distance, not a dot product: far from "
         "the origin everything would seem alike."),
        (in_place, "The two lists were compared place by place. A neighbour is kept wherever it "
         "stands in the other list."),
        (wanted * 3, "This is how many are kept, not which share of the k."),
        (wanted * 24, "This is a count over all points: divide by n k."),
        (1 - wanted, "This is the share that the map got wrong."),
        (share(near.where(~itself, low), cosine), "On the map a point is left out, in the space it "
         "still finds itself."),
        (share(near, outside[1]), "In the space a point is left out, on the map it still finds "
         "itself."),
    ])  # fmt: skip
    return "A figure that says how far to believe any map."


@exercise(
    "csls",
    hints=(
        "What is usual for row i? The mean of its k largest cosines. For a column, the same down "
        "the column.",
        "A row's usual value belongs under every entry of the row, a column's under every entry of "
        "the column: keep the axis that was averaged away, and they spread by themselves.",
        "topk along one axis, values, mean along the same axis with keepdim; the same along the "
        "other. The cosine counts twice since two things are taken off.",
    ),
)
def _csls(answer: Answer) -> str:
    a, b = rows_of_length_one(5, 3, seed=31), rows_of_length_one(6, 3, seed=32)
    scores = torch.einsum("nd,md->nm", a, b)
    value = answer.tensor(scores, 2, shape=(5, 6), means="a score for each pair, as before")
    s = scores.double()
    by_row, by_column = (s.sort(dim=d, descending=True).values for d in (1, 0))
    r, c = by_row[:, :2].sum(1).unsqueeze(1) / 2, by_column[:2].sum(0).unsqueeze(0) / 2
    compare(value, s + s - r - c, [
        (s - r - c, "The cosine counts once. Two usual values come off, so it counts twice."),
        (s + s - r, "Only the rows' usual values came off: a hub is a column that is near "
         "everything, so the columns' must come off too."),
        (s + s - c, "Only the columns' usual values came off. Both sides have theirs."),
        (s - r, "Only the rows took part, and the cosine counts once."),
        (s - c, "Only the columns took part, and the cosine counts once."),
        (s + s - 2 * r - 2 * c, "These are sums of the k largest. Their means were asked for."),
        (s + s - s.mean(1).unsqueeze(1) - s.mean(0).unsqueeze(0), "You took the mean of *all* of a "
         "row or column. Only its k largest say how crowded it is there."),
        (s + s - r.mean() - c.mean(), "One number came off everywhere, which changes no order. "
         "Each row and each column has its own."),
        (s + s + r + c, "The usual values were added: hubs would gain by it."),
        (s + s - by_row[:, 1:2] - by_column[1:2], "You took off the k-th largest. The mean of the "
         "k largest was asked for."),
        (s + s - by_row[:, :1] - by_column[:1], "You took off the largest alone: k takes no "
         "part."),
    ])  # fmt: skip
    return "What is near to everything counts for less."
