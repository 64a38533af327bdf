"""Chapter 11: linear probe, few-shot, CoOp. What its build exercises look for.

Right values are written out in float64; beside each stands what the likely mistakes would give on
the same input.
"""

import torch
from torch import Tensor

from clip_lab.course.checks import Answer, Wrong, compare, exercise, need_gradient
from clip_lab.course.words import ANSWERS

ANSWERS["three points better"] = """
    On which pictures were the settings chosen? The best of many tries on the test is partly luck,
    and the smaller the test, the more: three points can be all of it. If they were chosen on
    validation pictures, I would ask how many there were, because labels used for choosing are
    labels too, and whether the probe's λ got the same treatment. Last, one picture a class can be
    a lucky one: how many draws were there, and what do the names alone give?
"""


def numbers(*shape: int, seed: int) -> Tensor:
    """The same normal numbers each time."""
    random = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=random)


# -- the probe's loss -----------------------------------------------------------------------------


@exercise(
    "probe_loss",
    hints=(
        "Two terms. The first is the cross-entropy of the logits W x + b; the second knows only W.",
        "Logits of all pictures are one product: vectors with the weights turned on their side, "
        "and the bias added to each row. F.cross_entropy averages unless it is told otherwise.",
        "reduction=\"sum\" for the first term; for the second, half of λ times the sum of all "
        "squared entries of W.",
    ),
)  # fmt: skip
def _probe(answer: Answer) -> str:
    weights, bias = numbers(3, 4, seed=1).requires_grad_(), numbers(3, seed=2).requires_grad_()
    vectors, targets = numbers(6, 4, seed=3), torch.tensor([2, 0, 1, 1, 0, 2])
    result = answer.tensor(weights, bias, vectors, targets, 0.7, shape=(), means="one number")
    w, b, x = weights.detach().double(), bias.detach().double(), vectors.double()
    wanted, *mistakes = _losses(w, b, x, targets)
    compare(result, wanted[0], mistakes)
    lost = {"weights": "the probe would not learn", "bias": "the biases would stay 0"}
    need_gradient(result, {"weights": weights, "bias": bias}, lost)
    return "The bowl that L-BFGS walks down, with one bottom."


def _losses(w: Tensor, b: Tensor, x: Tensor, targets: Tensor) -> list[tuple[Tensor, str]]:
    """The right one first, then what mistakes would give; λ is 0.7."""
    logits = torch.einsum("nd,kd->nk", x, w) + b
    chosen = torch.nn.functional.one_hot(targets, 3).bool()
    each = -logits.log_softmax(1)[chosen]
    bare = -torch.einsum("nd,kd->nk", x, w).log_softmax(1)[chosen].sum()
    twice = -logits.softmax(1).log_softmax(1)[chosen].sum()
    total, squares = each.sum(), (w * w).sum()
    return [
        (total + 0.35 * squares, ""),
        (each.mean() + 0.35 * squares, "The surprise is averaged over the pictures. The formula "
         "sums it: with more pictures the penalty then counts for less, as it should."),
        (each.mean() + 0.7 * squares, "The surprise is averaged, where the formula sums; and the "
         "penalty lacks its half."),
        (total + 0.7 * squares, "The penalty lacks its half."),
        (total, "There is no penalty in it: λ takes no part."),
        (total + 0.35 * squares.sqrt(), "The penalty is the length of W. Its square was meant."),
        (total + 0.7 * squares.sqrt(), "The penalty is the length of W. Half its square was "
         "meant."),
        (total + 0.35 * w.sum() ** 2, "The weights are summed before they are squared. Square "
         "each."),
        (total + 0.35 / 6 * squares, "The penalty is divided by the number of pictures. The "
         "formula adds it once, whole."),
        (twice + 0.35 * squares, "The softmax is taken twice: F.cross_entropy takes bare logits "
         "and does it itself."),
        (0.35 * squares - each.neg().exp().sum(), "These are the shares themselves. The surprise "
         "is −log of a share."),
        (total + 0.35 * (w * w).mean(), "The penalty is a mean over the weights. Sum the squares."),
        (total + 0.35 * w.abs().sum(), "The penalty sums absolute values (L1). Squares were "
         "meant."),
        (total + 0.35 * (squares + (b * b).sum()), "The bias is penalised too. It may be as large "
         "as it likes: scikit-learn leaves it alone as well."),
        (bare + 0.35 * squares, "The bias takes no part in the logits."),
        (total - 0.35 * squares, "The penalty is subtracted: large weights would be rewarded."),
        (total + squares / 1.4, "You divided by λ. That is scikit-learn's C; here a large λ means "
         "a strong penalty."),
    ]  # fmt: skip


# -- CoOp's prompt --------------------------------------------------------------------------------


@exercise(
    "with_context",
    hints=(
        "Start, context, rest: one behind the other, along the axis that runs over positions.",
        "torch.cat joins tensors that agree in every axis but one. The context has no axis for "
        "classes yet: give it one, as long as the others'.",
        "expand repeats without copying: from (m, c) to (k, m, c), with -1 for what stays. Then "
        "cat along axis 1.",
    ),
)
def _context(answer: Answer) -> str:
    start, rest = numbers(3, 1, 5, seed=4), numbers(3, 2, 5, seed=5)
    context = numbers(4, 5, seed=6).requires_grad_()
    result = answer.tensor(
        start, context, rest, shape=(3, 7, 5), means="1 + 4 + 2 positions for each of 3 classes"
    )
    s, c, r = start.double(), context.detach().double().repeat(3, 1, 1), rest.double()
    mistakes = [
        (torch.cat([c, s, r], 1), "The context stands before the start token. The tower expects "
         "the start token first."),
        (torch.cat([s, r, c], 1), "The context stands behind the name and its end token. What "
         "comes after the end is never read."),
        (torch.cat([r, c, s], 1), "The order is turned round: start, context, rest."),
        (torch.cat([s, c.flip(1), r], 1), "The context's vectors are in reverse order."),
        (torch.cat([s, c, r.flip(1)], 1), "The name's tokens are in reverse order."),
    ]  # fmt: skip
    compare(result, torch.cat([s, c, r], 1), mistakes)
    need_gradient(result, {"context": context}, {"context": "nothing would be learnt"})
    return "The same free vectors in front of every class's name."


# -- Tip-Adapter ----------------------------------------------------------------------------------


@exercise(
    "tip_adapter",
    hints=(
        "How loud is a memory's vote? A number for each picture and each memory, made from their "
        "cosine alone.",
        "exp(−β (1 − cosine)) is 1 for the same direction and falls off; it keeps the shape "
        "(n, m). The votes for class k are summed over the memories of class k.",
        "Summing over memories by class is a product of (n, m) with the 0/1 matrix (m, k). Then α "
        "times that is added to what zero-shot said.",
    ),
)
def _tip(answer: Answer) -> str:
    zero_shot, labels = numbers(3, 2, seed=7), torch.eye(2)[[0, 1, 1, 0, 1]]
    cosines = numbers(3, 5, seed=8).tanh()
    result = answer.tensor(zero_shot, cosines, labels, 1.5, 3.0, shape=(3, 2), means="logits")
    z, c, y = zero_shot.double(), cosines.double(), labels.double()

    def votes(affinity: Tensor) -> Tensor:
        return torch.einsum("nm,mk->nk", affinity, y)

    loud = (3 * c - 3).exp()
    mistakes = [
        (votes(loud), "Zero-shot takes no part, nor does α."),
        (1.5 * votes(loud), "Zero-shot takes no part: the votes were to be added to it."),
        (z + votes(loud), "α takes no part."),
        (1.5 * z + votes(loud), "α weighs the votes, not zero-shot."),
        (1.5 * (z + votes(loud)), "α weighs the votes alone, not the sum."),
        (1.5 * votes(loud) - 0.5 * z, "(1 − α) weighs zero-shot: that was the blend above. Here "
         "zero-shot keeps its full weight."),
        (z + 1.5 * votes((3 - 3 * c).exp()), "The sign in the exponent is turned round: the unlike "
         "ones are the loudest."),
        (z + 1.5 * votes((3 * c).exp()), "exp(β cosine): the 1 is missing, so an identical memory "
         "is as loud as e^β."),
        (z + 1.5 * votes((c - 1).exp()), "β takes no part."),
        (z + 1.5 * votes((-1.5 * (1 - c)).exp()) * 2, "α and β are exchanged."),
        (z + 3.0 * votes((-1.5 * (1 - c)).exp()), "α and β are exchanged."),
        (z + 1.5 * votes(c), "There is no exponential: every memory votes, also against."),
        (z + 1.5 * votes(loud.softmax(1)), "A softmax makes each picture's votes sum to 1. Here "
         "one that is near nothing should stay quiet."),
        (z + 1.5 * votes(loud) / 5, "The votes are averaged. They are summed."),
        (z - 1.5 * votes(loud), "The votes are taken off."),
    ]  # fmt: skip
    compare(result, z + 1.5 * votes(loud), mistakes)
    if isinstance(answer(zero_shot, cosines, labels, 0.0, 3.0), Tensor):
        still = answer.tensor(zero_shot, cosines, labels, 0.0, 3.0, shape=(3, 2))
        if not torch.allclose(still, z, atol=1e-5):
            raise Wrong("With α = 0 the names alone should speak.")
    return "A memory that votes, and names that have the first word."
