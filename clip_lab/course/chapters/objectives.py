"""Chapter 14: contrast against prediction, and SigLIP. What its build exercises look for.

Right values come from `clip_lab.losses`, `clip_lab.heads` and `clip_lab.evaluation.geometry`;
beside each stands what the likely mistakes would give on the same input.
"""

from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from clip_lab.course.checks import Answer, Wrong, compare, exercise, need_gradient
from clip_lab.course.trial import Mistakes, units
from clip_lab.course.words import ANSWERS
from clip_lab.evaluation.geometry import effective_rank
from clip_lab.heads.words import words_loss
from clip_lab.losses import sigmoid_loss

ANSWERS["only 22 %"] = """
    Nothing is broken so far. The sigmoid answers each cell by itself, so the three numbers needn't
    sum to 100 %, and the right caption leads by a factor of more than a thousand. The bias has
    learnt how rare a match is among all cells of a large batch, not among these three captions, so
    a "yes" starts with odds of one in thousands against it. Which caption is best is told by the
    order, which the bias can't change. Where to say yes is a threshold, to be set on labelled
    pictures of one's own. A softmax gives larger numbers only because it shares out 100 % whatever
    is shown.
"""


# -- the words of a caption ------------------------------------------------------------------------


@exercise(
    "words_loss",
    hints=(
        "A softmax over the vocabulary says how likely each word is. With one right word the loss "
        "is −log of its share. With several, what would be fair to all of them?",
        "Make a target: each row of the bag, scaled so that it sums to 1. The loss of a picture is "
        "the cross-entropy with it: minus the sum of target times log-probability.",
        "The logarithm of a softmax is one method of a tensor, along the words. Sum over the words "
        "of a picture, then take the mean over the pictures.",
    ),
)
def _words_loss(answer: Answer) -> str:
    bag = torch.tensor([[0, 1, 1, 0, 1], [1, 0, 0, 0, 0], [0, 0, 1, 1, 0]]).float()
    random = torch.Generator().manual_seed(3)
    logits = (2 * torch.randn(3, 5, generator=random)).requires_grad_()
    result = answer.tensor(logits, bag, shape=(), means="one number for the whole batch")
    given = logits.detach().double()
    right = words_loss(given.log_softmax(dim=-1), bag.double())
    compare(result, right, _words_mistakes(given, bag.double()))
    need_gradient(result, {"the logits": logits}, {"the logits": "no tower would learn"})
    large = answer(300 * logits.detach(), bag)
    if isinstance(large, Tensor) and not large.isfinite().all():
        raise Wrong(
            "With large logits the result is nan or inf: a share became 0, and its logarithm −∞. "
            "torch has the logarithm of a softmax in one step."
        )
    return "Each picture's right words share its target, and the batch is averaged."


def _words_mistakes(logits: Tensor, bag: Tensor) -> Mistakes:
    logs, shares = logits.log_softmax(1), bag / bag.sum(1, keepdim=True)
    own, down = -(shares * logs).sum(1), logits.log_softmax(0)
    return [
        (-(bag * logs).sum(1).mean(), "Every right word has the target 1, so a caption of six "
         "words counts six times. Let the words of a caption share: its targets sum to 1."),
        (own.sum(), "The pictures' losses are summed. Take their mean, so that the loss does not "
         "grow with the batch."),
        (-own.mean(), "The sign is turned round: this falls as the model gets worse."),
        (F.binary_cross_entropy_with_logits(logits, bag), "Each word is judged alone, yes or no. "
         "Here the words of the vocabulary compete in one softmax."),
        (-(shares * down).sum(1).mean(), "Your softmax runs down the batch. The words compete "
         "within a picture: along its row."),
        (-(shares * logs).mean(), "The mean is over pictures and words. Sum over the words: most "
         "of the vocabulary isn't in the caption, and must not thin the loss out."),
        (-(bag * logs).sum() / bag.sum(), "The mean is over all words of the batch, so that long "
         "captions count for more. First each picture's own, then the mean."),
        (-(shares * logs.softmax(1).log_softmax(1)).sum(1).mean(), "There are two softmaxes "
         "in it."),
        (-(shares * logits).sum(1).mean(), "The softmax is missing: a logit may grow for ever, and "
         "no other word pays for it."),
        (-(shares * logits.softmax(1)).sum(1).mean(), "A logarithm is missing: these are shares."),
        (F.cross_entropy(logits, bag.argmax(1)), "Only the first word of each bag counts as "
         "right."),
        (-(bag * logits.softmax(1)).sum(1).log().mean(), "The right words' shares are added before "
         "the logarithm: one word at 100 % would do, and the others need never be found."),
    ]  # fmt: skip


# -- yes or no -------------------------------------------------------------------------------------

LOST = {
    "image_vectors": "the image tower would not learn",
    "text_vectors": "the text tower would not learn",
    "logit_scale": "the temperature would stay where it is",
    "logit_bias": "the bias would stay where it is",
}


@exercise(
    "sigmoid_loss",
    hints=(
        "First the whole matrix of logits: scale, cosines, and the bias added to every cell. Which "
        "cells have the answer yes?",
        "Make a matrix of signs: 1 on the diagonal, −1 elsewhere (torch.eye gives 1 and 0). Sign "
        "times logit is large where the answer is right and sure.",
        "F.logsigmoid of sign times logit is the logarithm of the right answer's probability, and "
        "can't overflow. Sum minus that over all cells, and divide by the number of pictures.",
    ),
)
def _sigmoid_loss(answer: Answer) -> str:
    images = units(5, 4, seed=5).requires_grad_()
    texts = units(5, 4, seed=6).requires_grad_()
    scale = torch.tensor(1.3, requires_grad=True)
    bias = torch.tensor(-2.0, requires_grad=True)
    given = (images, texts, scale, bias)
    result = answer.tensor(*given, shape=(), means="one number for the whole batch")
    i, t, s, b = (value.detach().double() for value in given)
    own = torch.arange(5)
    compare(result, sigmoid_loss(i, t, s, b, own, own), sigmoid_mistakes(i @ t.T, s, b))
    need_gradient(result, dict(zip(LOST, given, strict=True)), LOST)
    sharp = [value.detach() for value in (images, images, torch.tensor(6.0), torch.tensor(150.0))]
    if not torch.as_tensor(answer(*sharp)).isfinite().all():
        raise Wrong(
            "With large logits the result is nan or inf: a sigmoid became 0, and its logarithm −∞. "
            "torch has the logarithm of a sigmoid in one step."
        )
    return "N² answers, a sum over them, divided by N; gradients reach towers, scale and bias."


def sigmoid_mistakes(cosines: Tensor, s: Tensor, b: Tensor) -> Iterator[tuple[Tensor, str]]:
    """Every mistake in the logits with every mistake in what is summed."""
    logits = (
        (s.exp() * cosines + b, ""),
        (s.exp() * cosines, "The bias takes no part. "),
        (s * cosines + b, "logit_scale is a logarithm: exponentiate it. "),
        (cosines + b, "The scale takes no part: these are bare cosines. "),
        (cosines / s.exp() + b, "You divided by the scale; it is 1/τ already. "),
        (s.exp() * (cosines + b), "The bias is multiplied by the scale. It is added after. "),
        (s.exp() * cosines - b, "The bias is subtracted; the paper adds it (and it is negative). "),
    )
    for values, about in logits:
        for value, text in _sums(values):
            yield value, (about + text).strip()


def _sums(logits: Tensor) -> Mistakes:
    n, yes = len(logits), torch.eye(len(logits), dtype=logits.dtype)
    cells = -F.logsigmoid((2 * yes - 1) * logits)
    halves = -F.logsigmoid(yes * logits)
    return [
        (cells.sum() / n, ""),
        (cells.mean(), "The mean is over all N² cells. The paper divides the sum by N: one "
         "picture's N answers count as one loss."),
        (cells.mean() / n, "It is divided by N³: a mean over the cells, and once more by N."),
        (cells.sum(), "The sum is not divided by the number of pictures."),
        (cells.sum() / (2 * n), "It is halved. A softmax goes over the matrix twice, by rows and "
         "by columns; here each cell is asked once."),
        (-cells.sum() / n, "The sign is turned round: this falls as the model gets worse."),
        (halves.sum() / n, "The signs are 1 and 0, not 1 and −1. A wrong pair then gives log σ(0), "
         "whatever its cosine: nothing pushes it away."),
        (cells.diagonal().mean(), "Only the diagonal is in it: there is no “no” to learn from, and "
         "making all vectors equal would please it."),
        (cells.diagonal().sum(), "Only the diagonal is in it: there is no “no” to learn from."),
        (-F.logsigmoid(-(2 * yes - 1) * logits).sum() / n, "Yes and no are exchanged: the matches "
         "are pushed apart."),
        (F.softplus(logits).sum() / n, "Every cell is asked for a no, the diagonal too."),
        ((1 - ((2 * yes - 1) * logits).sigmoid()).sum() / n, "A logarithm is missing: the loss is "
         "minus the logarithm of the right answer's probability."),
        (F.cross_entropy(logits, torch.arange(n)), "This is a softmax over each row: the captions "
         "compete. Here each cell is judged by itself."),
    ]  # fmt: skip


# -- in how many directions ------------------------------------------------------------------------


@exercise(
    "effective_rank",
    hints=(
        "Singular values say how strongly the rows point in each direction. Made to sum to 1 they "
        "are shares, and how many of them count is a question for the entropy.",
        "torch.linalg.svdvals gives the singular values. The entropy is minus the sum of p log p; "
        "with k equal shares it is log k. How do you get from log k to k?",
        "Take exp of the entropy, with the natural logarithm. Where a share is 0, p log p counts "
        "as 0: torch.special.entr knows that.",
    ),
)
def _effective_rank(answer: Answer) -> str:
    random = torch.Generator().manual_seed(8)
    rows = torch.randn(6, 4, generator=random) * torch.tensor([3.0, 1.5, 0.6, 0.2]) + 0.4
    result = torch.as_tensor(answer(rows)).double()
    if result.shape != ():
        raise Wrong(f"One number was expected; this has the shape {tuple(result.shape)}.")
    values = torch.linalg.svdvals(rows.double())
    compare(result, torch.tensor(effective_rank(rows)).double(), _rank_mistakes(rows, values))
    flat = torch.zeros(4, 4)
    flat[0, 0] = flat[1, 1] = 2.0  # two directions, and two singular values that are exactly 0
    if not torch.as_tensor(answer(flat)).isfinite():
        raise Wrong(
            "Where a singular value is exactly 0 the result is nan: 0 · log 0 is nan for torch. It "
            "counts as 0."
        )
    return "exp of the entropy: k directions of equal strength count as k."


def _rank_mistakes(rows: Tensor, values: Tensor) -> Mistakes:
    shares, squares = values / values.sum(), values.square() / values.square().sum()
    entropy = torch.special.entr(shares).sum()
    centred = torch.linalg.svdvals(rows.double() - rows.double().mean(0))
    return [
        (entropy, "That is the entropy. Two equal directions give log 2; exp makes 2 of it."),
        ((entropy / torch.tensor(2.0).double().log()).exp(), "Your logarithm has base 2, your "
         "power base e."),
        (2**entropy, "Your logarithm is natural, your power has base 2."),
        (torch.special.entr(values / values.norm()).sum().exp(), "These squares sum to 1, not the "
         "values themselves: divide by the sum, not by the norm."),
        (torch.special.entr(squares).sum().exp(), "The squares of the singular values were made "
         "shares (that is the variance). The definition takes the values themselves."),
        (torch.special.entr(values).sum().exp(), "The singular values have to become shares that "
         "sum to 1 before the entropy."),
        (torch.special.entr(centred / centred.sum()).sum().exp(), "The mean was taken off. "
         "Not here: a cloud far from the origin, all vectors alike, is what we want to see."),
        (torch.special.entr(values.softmax(0)).sum().exp(), "A softmax makes other shares: divide "
         "each value by their sum."),
        (torch.tensor(4.0).double(), "That is the plain rank: it counts a direction in full, "
         "however weak it is."),
        ((-entropy).exp(), "The sign is turned round: this is 1 over the rank."),
        (values.sum().square() / values.square().sum(), "That is the participation ratio, another "
         "way to count. Here: exp of the entropy."),
    ]  # fmt: skip
