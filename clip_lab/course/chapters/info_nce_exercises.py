"""Chapter 7, its exercises: lead and temperature, the slope of the scale, repeated captions."""

import math

import torch
from torch import Tensor

from clip_lab.course.chapters.similarity import vectors
from clip_lab.course.checks import Answer, Wrong, compare, exercise, need_gradient
from clip_lab.course.trial import Mistakes, unit
from clip_lab.losses import info_nce


@exercise(
    "lead_needed",
    hints=(
        "All wrong captions share one cosine, so only the difference counts: call it d. What are "
        "the n powers in the softmax, if the wrong ones are set to exp(0)?",
        "The share is exp(d/τ) over exp(d/τ) + (n − 1). Solve for d.",
        "The odds, share over 1 − share, are exp(d/τ) over n − 1. So d/τ is the logarithm of the "
        "odds times (n − 1).",
    ),
)
def _lead_needed(answer: Answer) -> str:
    for share, n, tau in ((0.5, 2, 0.3), (0.8, 256, 0.07), (0.5, 32_768, 0.01)):
        result = answer(share, n, tau)
        try:
            value = torch.tensor(float(result), dtype=torch.float64)
        except (TypeError, ValueError):
            raise Wrong("One number was expected: a difference of cosines.") from None
        wanted = tau * math.log(share * (n - 1) / (1 - share))
        found = _lead_mistakes(share, n, tau)
        mistakes = [(torch.tensor(v, dtype=torch.float64), text) for v, text in found]
        compare(value, torch.tensor(wanted, dtype=torch.float64), mistakes)
    return "Each tenfold more captions asks for 2.3 τ more lead."


def _lead_mistakes(share: float, n: int, tau: float) -> list[tuple[float, str]]:
    odds = share / (1 - share)
    lead = math.log(odds * (n - 1))
    return [
        (lead, "This is the lead in the logits. A logit is the cosine divided by τ: go back to "
         "cosines."),
        (lead / tau, "The lead of the logits was divided by τ once more; cosines are smaller than "
         "logits."),
        (tau * math.log(odds * n), "The own caption was counted among the wrong ones: they are "
         "n − 1."),
        (tau * math.log(odds / (n - 1)), "n − 1 stands on the wrong side: more captions ask for "
         "more lead."),
        (tau * math.log(share * (n - 1)), "The share was compared with 1. What the own caption "
         "has not, 1 − share, is what the others have."),
        (tau * math.log(odds), "The number of captions takes no part."),
        (-tau * lead, "The sign is turned round."),
        (tau * math.log((n - 1) / odds), "share and 1 − share are exchanged: a larger share asks "
         "for a larger lead."),
        (lead * tau / math.log(2), "This is the logarithm to base 2. Softmax is made of powers of "
         "e: the natural one, math.log."),
        (lead * tau / math.log(10), "This is the logarithm to base 10. Softmax is made of powers "
         "of e: the natural one, math.log."),
        (tau * odds * (n - 1), "The logarithm is missing: shares are powers."),
    ]  # fmt: skip


@exercise(
    "scale_gradient",
    hints=(
        "The scale enters every logit. By the chain rule, sum over all cells: the slope by the "
        "logit times how the logit moves.",
        "A logit is exp(logit_scale) times the cosine; its slope by logit_scale is the logit "
        "itself. Your loss_gradient is by the cosine, so what is left to multiply by?",
        "By a cosine: slope of the logit is the scale. By logit_scale: the scale times the cosine. "
        "So each cell of loss_gradient, times its cosine, all added up.",
    ),
)
def _scale_gradient(answer: Answer) -> str:
    for seed in (13, 15):
        cosines = torch.einsum(
            "id,jd->ij", unit(vectors(5, 3, seed)), unit(vectors(5, 3, seed + 1))
        )
        log_scale = torch.tensor(1.4)
        result = answer.tensor(cosines.float(), log_scale, shape=(), means="one slope")
        s, eye = log_scale.double().requires_grad_(), torch.eye(5).double()
        (wanted,) = torch.autograd.grad(info_nce(cosines, eye, s), s)
        compare(result, wanted, _scale_mistakes(cosines, s.detach(), wanted))
    return "Negative while matches stand above what the softmax expects: then the scale grows."


def _scale_mistakes(c: Tensor, s: Tensor, wanted: Tensor) -> Mistakes:
    logits, eye, n, scale = s.exp() * c, torch.eye(5).double(), 5, s.exp()
    surplus = [logits.softmax(1) - eye, logits.softmax(0) - eye]
    cells = scale * (surplus[0] + surplus[1]) / (2 * n)
    return [
        (wanted / scale, "This is the slope by the scale. By logit_scale, its logarithm, the chain "
         "rule brings the scale as a factor."),
        (wanted * scale, "The scale stands in it twice: loss_gradient holds it already."),
        (cells.sum(), "The slopes of the cells were added up, but a cell matters as much as its "
         "cosine: a cosine of 0 doesn't move with the scale."),
        ((c @ cells).sum(), "The two were multiplied as matrices. Each cell goes with the cosine "
         "in its own place."),
        ((c * cells).mean(), "The cells were averaged. The scale moves all of them: add."),
        (c.diagonal() @ cells.diagonal(), "These are the matches only. The scale moves the wrong "
         "pairs too."),
        (-wanted, "The sign is turned round."),
        (scale * (c * surplus[0]).sum() / n, "These are the rows only."),
        (scale * (c * surplus[1]).sum() / n, "These are the columns only."),
        (wanted * n, "The 1/N of the batch is missing."),
        (wanted * 2, "The two directions are averaged: a half is missing."),
    ]  # fmt: skip


@exercise(
    "info_nce_shared",
    hints=(
        "Which entries of the matrix are matches now? Those whose names agree, not the diagonal "
        "only.",
        "A comparison of the names as a column with the names as a row gives a matrix of yes and "
        "no. F.cross_entropy also takes shares as targets, if each row sums to 1.",
        "Turn yes and no into 1 and 0 and divide each row by its sum: these are the targets of the "
        "rows, and, since agreeing works both ways, of the columns. The rest is as before.",
    ),
)
def _shared(answer: Answer) -> str:
    images = unit(vectors(6, 4, seed=9)).float().requires_grad_()
    texts = unit(vectors(6, 4, seed=10)).float().requires_grad_()
    scale, names = torch.tensor(1.2, requires_grad=True), torch.tensor([3, 7, 3, 1, 7, 3])
    result = answer.tensor(images, texts, scale, names, shape=(), means="one number for the batch")
    i, t, s = (value.detach().double() for value in (images, texts, scale))
    logits, same = s.exp() * i @ t.T, torch.eq(*torch.meshgrid(names, names, indexing="ij"))
    compare(result, _soft_loss(logits, same / same.sum(1)), _shared_mistakes(i, t, s, same))
    lost = {"image_vectors": "the image tower would not learn",
            "text_vectors": "the text tower would not learn",
            "logit_scale": "the temperature would stay where it is"}  # fmt: skip
    need_gradient(result, dict(zip(lost, (images, texts, scale), strict=True)), lost)
    return "Every caption of the same name gets an equal share, both ways."


def _soft_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Mean over both directions of -Σ target · log share. `targets` must be symmetric."""
    rows = -(targets * logits.log_softmax(1)).sum(1).mean()
    columns = -(targets * logits.log_softmax(0)).sum(0).mean()
    return rows / 2 + columns / 2


def _shared_mistakes(i: Tensor, t: Tensor, s: Tensor, same: Tensor) -> Mistakes:
    logits, targets = s.exp() * i @ t.T, same / same.sum(1)
    twins = same & ~torch.eye(len(same), dtype=torch.bool)
    without = logits.masked_fill(twins, -1e9)  # not -inf, which 0 would turn into nan
    rows, columns = -logits.log_softmax(1), -logits.log_softmax(0)
    where = same.double().argmax(1)
    own = torch.arange(len(same))
    first = (rows[own, where] + columns[where, own]) / 2
    any_of_them = [(logits.softmax(d) * same).sum(d).log().mean() for d in (0, 1)]
    return [
        (info_nce(i, t, s), "This is the ordinary loss: captions of the same name still count as "
         "wrong answers for each other."),
        (_soft_loss(logits, same.double()), "A row with three matches has targets 1, 1, 1. Targets "
         "are shares: they sum to 1."),
        (_soft_loss(logits, same / same.sum()), "The targets of the whole matrix sum to 1. Those "
         "of each row should."),
        (_soft_loss(logits, same / len(same)), "The matches were divided by the size of the batch. "
         "Divide by how many a row has: its targets sum to 1."),
        (first.mean(), "Only the first of each name is the answer. Each of them should get an "
         "equal share."),
        (_soft_loss(without, torch.eye(len(same)).double()), "Twins left the denominators: they "
         "are not pushed away, but not pulled in either. Give them equal shares of the target."),
        (-sum(any_of_them, torch.tensor(0.0)) / 2, "This asks that *some* caption of the name "
         "wins (MIL-NCE does). Here each of them should get an equal share."),
        (-(targets * logits.log_softmax(1)).sum(1).mean(), "This is the mean over one direction "
         "only: rows. Add the columns."),
        (-(targets * logits.log_softmax(0)).sum(0).mean(), "This is the mean over one direction "
         "only: columns. Add the rows."),
        (_soft_loss((i @ t.T) * s, targets), "logit_scale is a logarithm: exponentiate it."),
        (_soft_loss(i @ t.T, targets), "The scale takes no part: these logits are bare cosines."),
    ]  # fmt: skip
