"""Chapter 6, the exercises at its end: recall both ways, the gradient, and captions that repeat."""

import torch
from torch import Tensor

from clip_lab.course.chapters.similarity import Mistakes, unit, vectors
from clip_lab.course.checks import Answer, Wrong, compare, exercise, need_gradient
from clip_lab.losses import info_nce


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
    result = answer(cosines)
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise Wrong("Return two shares: pictures that find their caption, then captions that do.")
    value = torch.tensor([float(share) for share in result], dtype=torch.float64)
    wanted = torch.tensor([0.75, 0.5], dtype=torch.float64)
    mistakes = [
        (wanted.flip(0), "The two are exchanged: pictures that find their caption (rows) come "
         "first."),
        (4 * wanted, "These are counts; divide by the number of pairs."),
        (100 * wanted, "These are per cent; shares between 0 and 1 were asked for."),
        (wanted[[0, 0]], "Both are the same direction: rows. Captions look down their column."),
        (wanted[[1, 1]], "Both are the same direction: columns. Pictures look along their row."),
        (1 - wanted, "These are the shares that fail."),
    ]  # fmt: skip
    compare(value, wanted, mistakes)
    return "Pictures to captions and captions to pictures, each by its own axis."


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
    mistakes = [
        (wanted / scale, "This is the gradient by the logits. By the cosines, the chain rule "
         "brings the scale as a factor."),
        (wanted * size, "Each direction is a mean over the batch: its 1/N is missing."),
        (wanted * 2, "The two directions are averaged: a half is missing."),
        (wanted * 2 * size, "1/N of the batch and 1/2 of the directions are missing."),
        (-wanted, "The sign is turned round: a larger share of a wrong caption makes the loss "
         "larger."),
        (scale * (rows - eye) / size, "These are the rows only: captions choose pictures too."),
        (scale * (columns - eye) / size, "These are the columns only: pictures choose captions "
         "too."),
        (scale * (rows + columns) / (2 * size), "The targets are missing: at a match, the share "
         "that it should have (1) comes off."),
    ]  # fmt: skip
    compare(result, wanted, mistakes)
    return "Share minus target, both ways: every confusion pushes as hard as it is large."


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
    any_of_them = [(logits.softmax(d) * same).sum(d).log().mean() for d in (0, 1)]
    return [
        (info_nce(i, t, s), "This is the ordinary loss: captions of the same name still count as "
         "wrong answers for each other."),
        (_soft_loss(logits, same.double()), "A row with three matches has targets 1, 1, 1. Targets "
         "are shares: they sum to 1."),
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
