"""Chapter 6: the similarity matrix. What its build exercises look for.

Right values are sums written out in float64; beside each stands what the likely mistakes would give
on the same input.
"""

from typing import Any

import torch
from torch import Tensor

from clip_lab.course.checks import Answer, Wrong, compare, exercise, need_gradient
from clip_lab.course.trial import Mistakes, unit
from clip_lab.course.words import ANSWERS

ANSWERS["only 0.4"] = """
    CLIP never needs a high cosine. It needs a picture's own caption to stand above the other
    captions of its row, and its own picture above the others of its column: recall asks for the
    order alone. OpenAI's models give 0.2 to 0.35 to a match and work; a model that gives 0.99 to
    every pair knows nothing. So 0.4 against 0.1 can be a fine model and 0.99 against 0.98 a
    collapsed one. Look at the lead over the best wrong one, and at how often there is one.
"""


def vectors(count: int, length: int, seed: int) -> Tensor:
    """Rows of different lengths, none of them 1."""
    random = torch.Generator().manual_seed(seed)
    rows = torch.randn(count, length, generator=random)
    return rows * torch.linspace(0.4, 3.0, count)[:, None]


@exercise(
    "normalize",
    hints=(
        "What is the length of one vector? Pythagoras, with as many terms as it has entries.",
        "torch.linalg.vector_norm gives lengths along any axis: which one runs inside a vector?",
        "Lengths of shape (n,) don't divide an (n, d) matrix. Ask the norm to keep the axis it "
        "sums over (keepdim); then (n, 1) spreads over the columns by itself.",
    ),
)
def _normalize(answer: Answer) -> str:
    given = vectors(5, 3, seed=1).requires_grad_()
    result = answer.tensor(given, shape=(5, 3), means="as many rows and columns as before")
    rows = given.detach().double()
    compare(result, unit(rows), _normalize_mistakes(rows))
    answer.tensor(vectors(1, 3, seed=2), shape=(1, 3), means="a batch of one stays a batch")
    need_gradient(result, {"the vectors": given}, {"the vectors": "no tower would learn"})
    return "Every row has length 1 and points where it did."


def _normalize_mistakes(rows: Tensor) -> Mistakes:
    squares, centred = rows.square(), rows - rows.mean(1, keepdim=True)
    return [
        (unit(rows.T).T, "Your columns have length 1, your rows do not. A vector is a row: sum "
         "along its entries, not down the batch."),
        (rows / squares.sum().sqrt(), "All rows were divided by one number, the length of the "
         "whole matrix. Each row needs its own."),
        (rows / squares.mean(1, keepdim=True).sqrt(), "Each row was divided by the root of the "
         "*mean* of its squares (RMSNorm does so). The length is the root of their sum."),
        (rows / rows.abs().sum(1, keepdim=True), "The absolute values of each row sum to 1. That "
         "is the L1 length; the cosine needs the Euclidean one, with squares and a root."),
        (rows / squares.sum(1, keepdim=True), "Each row was divided by the square of its length: "
         "a root is missing."),
        (rows / rows.amax(1, keepdim=True), "Each row was divided by its largest entry, not by its "
         "length."),
        (rows.softmax(1), "Each row became shares that sum to 1. A softmax changes the direction; "
         "only the length should change."),
        (unit(centred), "The rows have length 1 but point elsewhere: their mean was taken off. "
         "Only the length should change."),
        (centred / centred.square().mean(1, keepdim=True).sqrt(), "Each row got mean 0 and spread "
         "1, as LayerNorm does. The cosine needs length 1, in the direction it had."),
        (rows, "The vectors came back as they went in."),
    ]  # fmt: skip


@exercise(
    "similarity",
    hints=(
        "The cosine of two vectors of length 1 is their dot product. You have just written the "
        "function that gives them length 1.",
        "All dot products of the rows of A with the rows of B are one matrix product.",
        "Rows of A against rows of B: the second factor must be turned on its side, so that its "
        "vectors are columns.",
    ),
)
def _similarity(answer: Answer) -> str:
    images, texts = vectors(4, 3, seed=3), vectors(5, 3, seed=4)
    square = answer(images, texts[:4])
    if isinstance(square, Tensor) and tuple(square.shape) == (4,):
        raise Wrong(
            "For 4 pictures and 4 captions you return 4 numbers: each picture met its own caption "
            "only. The matrix compares every picture with every caption, 4 x 4."
        )
    for batch, means in (
        (texts[:4], "a row a picture, a column a caption"),
        (texts, "4 pictures by 5 captions: the two counts need not be equal"),
    ):
        result = answer.tensor(images, batch, shape=(4, len(batch)), means=means)
        right = torch.einsum("id,jd->ij", unit(images), unit(batch))
        compare(result, right, _similarity_mistakes(images.double(), batch.double()))
    return "Entry (i, j) is the cosine of picture i and caption j, whatever the counts."


def _similarity_mistakes(i: Tensor, t: Tensor) -> Mistakes:
    return [
        (i @ t.T, "These are dot products of vectors as long as they came. Lengths still count; a "
         "cosine knows directions only."),
        (unit(i) @ t.T, "The pictures have length 1, the captions do not: normalise both."),
        (i @ unit(t).T, "The captions have length 1, the pictures do not: normalise both."),
        (unit(t) @ unit(i).T, "Rows are captions here. Entry (i, j) should be picture i with "
         "caption j: the other way round."),
        (unit(i @ t.T), "The rows of the product were scaled to length 1, not the vectors. "
         "Normalise before the product."),
        (i @ t.T / (i.norm() * t.norm()), "All products were divided by one number, the lengths of "
         "the two whole matrices. Each vector has a length of its own."),
        ((unit(i) @ unit(t).T).softmax(1), "These are shares that sum to 1 in each row. Return the "
         "cosines themselves."),
        (torch.cdist(unit(i), unit(t)), "These are distances, 0 for the same direction. The cosine "
         "is 1 there."),
        (torch.cdist(i, t), "These are distances, 0 for the same vector. The cosine is 1 there."),
        (unit(i) @ unit(i).T, "Both factors are the pictures: the captions take no part."),
        (unit(t) @ unit(t).T, "Both factors are the captions: the pictures take no part."),
    ]  # fmt: skip


@exercise(
    "recall_at_1",
    hints=(
        "For one picture: is its own caption the best of its row? That is yes or no; over the "
        "batch, a share.",
        "The position of the largest entry of each row should be 0, 1, 2, ... in that order. For "
        "captions, do the same with the columns.",
        "Compare an argmax along one axis with a count up to n, and take the mean of the yeses as "
        "float; then again along the other axis. Return the pair, pictures first.",
    ),
)
def _recall(answer: Answer) -> str:
    cosines = torch.tensor(
        [[0.9, 0.1, 0.2, 0.1], [0.3, 0.2, 0.8, 0.4], [0.1, 0.3, 0.7, 0.3], [0.0, 0.1, 0.2, 0.6]]
    )  # pictures find their caption 3 times of 4, captions their picture 2 times of 4
    value = two_shares(answer(cosines))
    wanted = torch.tensor([0.75, 0.5], dtype=torch.float64)
    mistakes = [
        (wanted.flip(0), "The two are exchanged: pictures that find their caption (rows) come "
         "first."),
        (4 * wanted, "These are counts; divide by the number of pairs."),
        (100 * wanted, "These are per cent; shares between 0 and 1 were asked for."),
        (wanted[[0, 0]], "Both are the same direction: rows. Captions look down their column."),
        (wanted[[1, 1]], "Both are the same direction: columns. Pictures look along their row."),
        (1 - wanted, "These are the shares that fail."),
        (wanted.mean().expand(2), "The two directions were averaged. Keep them apart: they can "
         "differ."),
        (cosines.diagonal().double().mean().expand(2), "This is the mean of the diagonal. Recall "
         "asks how often the diagonal is the best, not how high it is."),
    ]  # fmt: skip
    compare(value, wanted, mistakes)
    return "Pictures to captions and captions to pictures, each by its own axis."


def two_shares(result: Any) -> Tensor:
    """A pair of shares, rows first, as float64; or Wrong."""
    result = list(result.flatten()) if isinstance(result, Tensor) else result
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise Wrong("Return two shares: pictures that find their caption, then captions that do.")
    try:
        return torch.tensor([float(share) for share in result], dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        raise Wrong("Two numbers were expected. Is there still a yes or no for each row, whose "
                    "share of yeses is to be taken?") from None  # fmt: skip
