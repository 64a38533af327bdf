"""Chapter 6: similarity matrix, InfoNCE, temperature. What its build exercises look for.

Right values come from `clip_lab.losses` or from sums written out in float64; beside each stands
what the likely mistakes would give on the same input.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from clip_lab.course.checks import Answer, Wrong, compare, exercise, need_gradient
from clip_lab.course.words import ANSWERS
from clip_lab.losses import info_nce

Mistakes = list[tuple[Tensor, str]]

ANSWERS["only 0.4"] = """
    The loss never asks for a high cosine. It asks that a picture's own caption beat the other
    captions of the batch (and the other way round), and only differences of cosines, divided by
    the temperature, enter it. At a scale of 50 a lead of 0.1 is worth 5 in the logits: odds of
    150 to 1. So 0.4 against 0.1 can be a fine model, and 0.99 against 0.98 a collapsed one. Look
    at the gap, and at how often the right caption comes first.
"""

OVERFLOW = (
    "At τ = 0.01, which CLIP reaches, the result is nan or inf: exp(95) is more than float32 can "
    "hold. Taking each row's largest logit off first changes no share, or use torch's own function."
)


def vectors(count: int, length: int, seed: int) -> Tensor:
    """Rows of different lengths, none of them 1."""
    random = torch.Generator().manual_seed(seed)
    rows = torch.randn(count, length, generator=random)
    return rows * torch.linspace(0.4, 3.0, count)[:, None]


def unit(rows: Tensor) -> Tensor:
    """Rows of length 1, in float64."""
    rows = rows.double()
    return rows / torch.einsum("nd,nd->n", rows, rows).sqrt()[:, None]


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
        (torch.cdist(unit(i), unit(t)), "These are distances, 0 for the same direction. The cosine "
         "is 1 there."),
        (torch.cdist(i, t), "These are distances, 0 for the same vector. The cosine is 1 there."),
        (unit(i) @ unit(i).T, "Both factors are the pictures: the captions take no part."),
        (unit(t) @ unit(t).T, "Both factors are the captions: the pictures take no part."),
    ]  # fmt: skip


@exercise(
    "probabilities",
    hints=(
        "A temperature divides. Try it on one number: is 0.3 / 0.07 larger or smaller than 0.3?",
        "First the logits, cosine by τ; then one softmax. It needs an axis.",
        "“Which caption fits this picture?” is asked of one row, so the softmax runs along the "
        "row: the last axis. A tensor has a method of that name, which can't overflow.",
    ),
)
def _probabilities(answer: Answer) -> str:
    cosines = torch.tensor([[0.31, 0.12, -0.05, 0.2], [0.02, 0.35, 0.1, 0.1], [0.1, 0, 0.3, 0.95]])
    extreme, tau = answer(cosines, 0.01), 0.2
    if isinstance(extreme, Tensor) and not extreme.isfinite().all():
        raise Wrong(OVERFLOW)
    result = answer.tensor(cosines, tau, shape=(3, 4), means="one share for each cosine")
    c = cosines.double()
    powers = (c / tau).exp()
    compare(result, powers / powers.sum(1)[:, None], _probability_mistakes(c, tau))
    return "Each row sums to 1, and a smaller τ sharpens it."


def _probability_mistakes(c: Tensor, tau: float) -> Mistakes:
    logits = c / tau
    return [
        ((c * tau).softmax(1), "You multiplied by the temperature instead of dividing: a small τ "
         "then flattens, where it should sharpen."),
        (c.softmax(1), "The temperature takes no part: this is the softmax of the bare cosines."),
        (logits.softmax(0), "Your columns sum to 1: that asks “which picture fits this caption?”. "
         "Here each row, one picture, shares 100 % among its captions."),
        (logits.flatten().softmax(0).view(c.shape), "The whole matrix sums to 1. Each row should: "
         "every picture has 100 % of its own to give."),
        (c.softmax(1) / tau, "The division by τ came after the softmax, where it only makes the "
         "rows sum to 1/τ. Divide the cosines."),
        (c.softmax(1) * tau, "τ came in after the softmax. Divide the cosines by it."),
        (logits.log_softmax(1), "These are logarithms of the shares. The shares were asked for."),
        (logits.exp(), "exp is there, but each row still has to be divided by its sum."),
        (logits.sigmoid(), "A sigmoid looks at each pair alone; a softmax makes the captions of a "
         "row compete."),
        (logits, "These are the logits. They still have to become shares that sum to 1."),
    ]  # fmt: skip


@exercise(
    "info_nce",
    hints=(
        "Two classifications over one matrix of logits: pictures choose among captions (rows), "
        "captions among pictures (columns). Where in the matrix are the right answers?",
        "F.cross_entropy takes logits and, for each row, the number of the right column; it does "
        "the softmax and the mean. For the columns, hand it the matrix turned on its side.",
        "Row i's right answer is column i, so the targets count 0, 1, 2, ... through the batch. "
        "The parameter is the logarithm of the scale. At the end, the mean of both directions.",
    ),
)
def _info_nce(answer: Answer) -> str:
    images = unit(vectors(5, 4, seed=5)).float().requires_grad_()
    texts = unit(vectors(5, 4, seed=6)).float().requires_grad_()
    scale = torch.tensor(1.3, requires_grad=True)
    sharp = answer(images.detach(), images.detach(), torch.tensor(math.log(100)))
    if isinstance(sharp, Tensor) and not sharp.isfinite().all():
        raise Wrong(OVERFLOW)
    result = answer.tensor(images, texts, scale, shape=(), means="one number for the whole batch")
    i, t, s = (value.detach().double() for value in (images, texts, scale))
    compare(result, info_nce(i, t, s), loss_mistakes(i @ t.T, float(s)))
    lost = {
        "image_vectors": "the image tower would not learn",
        "text_vectors": "the text tower would not learn",
        "logit_scale": "the temperature would stay where it is. Was a plain number taken out?",
    }
    need_gradient(result, dict(zip(lost, (images, texts, scale), strict=True)), lost)
    return "Both directions, averaged; gradients reach both towers and the temperature."


def loss_mistakes(cosines: Tensor, scale: float) -> Iterator[tuple[Tensor, str]]:
    """Every mistake in the scale with every mistake in what is averaged, then some others."""
    scales = (
        (math.exp(scale), ""),
        (scale, "logit_scale is a logarithm: exponentiate it. "),
        (math.exp(-scale), "You multiplied by the temperature instead of dividing: the scale, "
         "exp(logit_scale), is 1/τ already. "),
        (1.0, "The scale takes no part: these logits are bare cosines. "),
        (1 / scale, "You divided by logit_scale; multiply by its exponential. "),
    )  # fmt: skip
    for factor, about_scale in scales:
        logits = factor * cosines
        rows, columns = -logits.log_softmax(1).diagonal(), -logits.log_softmax(0).diagonal()
        for value, text in _reductions(rows, columns):
            yield value, (about_scale + text).strip()
    yield from _other_losses(math.exp(scale) * cosines)


def _reductions(rows: Tensor, columns: Tensor) -> Mistakes:
    both = (rows.mean() + columns.mean()) / 2
    one = "This is the mean over one direction only: "
    return [
        (both, ""),
        (rows.mean(), one + "rows, where pictures choose captions. Add the columns."),
        (columns.mean(), one + "columns, where captions choose pictures. Add the rows."),
        (2 * both, "The two directions are added; their mean was asked for (figure 3 divides by "
         "2)."),
        (len(rows) * both, "The losses of the batch are summed. Take their mean, so that the loss "
         "does not grow with the batch."),
        (2 * len(rows) * both, "Losses are summed, over the batch and over both directions. Take "
         "means."),
        (-both, "The sign is turned round: this falls as the model gets worse."),
    ]  # fmt: skip


def _other_losses(logits: Tensor) -> Mistakes:
    own = torch.arange(len(logits))
    first = -(logits.log_softmax(1)[:, 0] + logits.log_softmax(0)[0]).mean() / 2
    twice = F.cross_entropy(logits.softmax(1), own) + F.cross_entropy(logits.T.softmax(1), own)
    yes = torch.eye(len(logits), dtype=logits.dtype)
    return [
        (-logits.diagonal().mean(), "There are no negatives in it: this only pulls matches "
         "together, and making all vectors equal would please it most."),
        (first, "Every row is told that caption 0 is its answer. Row i's answer is column i."),
        (twice / 2, "There are two softmaxes in it: cross_entropy wants logits and does its own."),
        (F.binary_cross_entropy_with_logits(logits, yes), "Each pair is judged alone, yes or no: "
         "that is nearer to SigLIP's loss. Here the captions of a picture compete."),
    ]  # fmt: skip
