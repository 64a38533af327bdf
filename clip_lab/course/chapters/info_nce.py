"""Chapter 7: InfoNCE and temperature. What its build exercises look for.

Right values come from `clip_lab.losses` or from sums written out in float64; beside each stands
what the likely mistakes would give on the same input.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from clip_lab.course.chapters.similarity import vectors
from clip_lab.course.checks import Answer, Wrong, compare, exercise, need_gradient
from clip_lab.course.trial import Mistakes, unit
from clip_lab.course.words import ANSWERS
from clip_lab.losses import info_nce

ANSWERS["turned up"] = """
    Two numbers go by that name. In the paper τ divides the cosines: a low τ is sharp. What the code
    learns is ln(1/τ), and its exponential, the scale, multiplies them: a high scale is sharp. So
    “up means surer” is true of the scale and false of τ. Either way no caption changes its place in
    a row, so a trained model is right as often as before. In training τ also says which wrong
    captions push, and only that can change what the model finds.
"""

OVERFLOW = (
    "At τ = 0.01, which CLIP reaches, the result is nan or inf: exp(95) is more than float32 can "
    "hold. Taking each row's largest logit off first changes no share, or use torch's own function."
)


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
        (logits.softmax(1).softmax(1), "There are two softmaxes in it: the second flattens what "
         "the first has made."),
        (logits / logits.sum(1, keepdim=True), "Each row was divided by its sum, but without exp: "
         "a negative logit then gives a negative share."),
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
        "logit_scale": "the temperature would stay where it is (was a plain number taken out?)",
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
        (-(rows.neg().exp().mean() + columns.neg().exp().mean()) / 2, "These are mean shares; the "
         "logarithm is missing. The loss is the mean surprise, −log of the share."),
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


@exercise(
    "loss_gradient",
    hints=(
        "For one row of a softmax cross-entropy, the gradient by the logits is share minus target.",
        "The rows give one such matrix, the columns another; the target is the identity for both. "
        "Each mean over N examples brings a 1/N, the mean of the directions a half.",
        "That was by the logits. A logit is the scale times a cosine, so one more factor is due.",
    ),
)
def _gradient(answer: Answer) -> str:
    cosines = torch.einsum("id,jd->ij", unit(vectors(4, 3, 7)), unit(vectors(4, 3, 8))).float()
    log_scale = torch.tensor(1.1)
    result = answer.tensor(cosines, log_scale, shape=(4, 4), means="one slope for each cosine")
    c, s, eye = cosines.double().requires_grad_(), log_scale.double(), torch.eye(4).double()
    # With the identity as text vectors, the pictures' vectors are the cosines themselves.
    (wanted,) = torch.autograd.grad(info_nce(c, eye, s), c)
    logits, size, scale = s.exp() * c.detach(), len(c), float(s.exp())
    rows, columns = logits.softmax(1), logits.softmax(0)
    bare = c.detach().softmax(1), c.detach().softmax(0)
    mistakes = [
        (wanted / scale, "This is the gradient by the logits. By the cosines, the chain rule "
         "brings the scale as a factor."),
        (wanted * size, "Each direction is a mean over the batch: its 1/N is missing."),
        (wanted * 2, "The two directions are averaged: a half is missing."),
        (wanted * 2 * size, "1/N of the batch and 1/2 of the directions are missing."),
        (-wanted, "The sign is turned round: a larger share of a wrong caption makes the loss "
         "larger."),
        (scale * (rows - eye + (columns - eye).T) / (2 * size), "The columns' part lies on its "
         "side: after a softmax of the matrix turned round, turn the result back."),
        (scale * (rows + columns - eye) / (2 * size), "The target comes off once. Rows have one "
         "and columns have one."),
        (scale * (bare[0] + bare[1] - 2 * eye) / (2 * size), "The shares are those of the bare "
         "cosines. They are made at this temperature: softmax the logits."),
        (s * ((s * c).softmax(1) + (s * c).softmax(0) - 2 * eye).detach() / (2 * size),
         "logit_scale is a logarithm: exponentiate it."),
        (scale * (rows - eye) / size, "These are the rows only: captions choose pictures too."),
        (scale * (columns - eye) / size, "These are the columns only: pictures choose captions "
         "too."),
        (scale * (rows + columns) / (2 * size), "The targets are missing: at a match, the share "
         "that it should have (1) comes off."),
    ]  # fmt: skip
    compare(result, wanted, mistakes)
    return "Share minus target, both ways: every confusion pushes as hard as it is large."
