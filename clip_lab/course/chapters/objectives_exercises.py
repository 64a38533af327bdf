"""Chapter 14, the exercises at its end: the prior, a loss in pieces, hard negatives that are."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from clip_lab.course.chapters.objectives import LOST
from clip_lab.course.checks import Answer, Wrong, compare, exercise, need_gradient
from clip_lab.course.trial import Mistakes, units
from clip_lab.losses import sigmoid_loss

# -- the prior -------------------------------------------------------------------------------------


@exercise(
    "prior_bias",
    hints=(
        "Of the N captions that a picture meets, how many fit? That share is what an ignorant "
        "model should answer everywhere.",
        "Its logit is the bias, so σ(b) = 1/N. Which logit has the sigmoid 1/N? The logit of p is "
        "ln(p / (1 − p)).",
        "1/N against (N − 1)/N are odds of 1 to N − 1. The bias is the logarithm of these odds: "
        "negative, and 0 for a batch of two.",
    ),
)
def _prior_bias(answer: Answer) -> str:
    sizes = torch.tensor([2.0, 16.0, 32_768.0]).double()
    found = [float(answer(int(n))) for n in sizes]
    right = -(sizes - 1).log()
    compare(torch.tensor(found).double(), right, _prior_mistakes(sizes))
    return "σ of it is 1/N: of N captions one fits."


def _prior_mistakes(n: Tensor) -> Mistakes:
    return [
        ((n - 1).log(), "The sign is turned round: with this bias all but one in N cells begin "
         "with a yes."),
        (-n.log(), "That is the logarithm of the probability 1/N. A bias is a logit: the logarithm "
         "of the odds, one yes against how many no?"),
        (1 / n, "That is the probability itself. A bias is a logit."),
        (1 / (n - 1), "These are the odds. A bias is their logarithm."),
        (-(n * n - 1).log(), "That is one yes in the whole matrix of N². Each row has one."),
        (torch.full_like(n, -10), "That is the paper's start, whatever the batch. Which bias is "
         "the best for this one?"),
        (-(n - 1).log2(), "Your logarithm has base 2; the sigmoid is made of e."),
        (-(n - 1).log10(), "Your logarithm has base 10; the sigmoid is made of e."),
    ]  # fmt: skip


# -- a loss in pieces ------------------------------------------------------------------------------


@exercise(
    "chunk_loss",
    hints=(
        "It is the sigmoid loss with fewer columns. Column j is now caption first + j: which "
        "picture does it fit?",
        "Begin with signs of −1 for all cells. Then set the few places where row and column "
        "belong together to 1: row first + j, column j.",
        "All chunks together have to give the whole loss, so each divides by the number of "
        "pictures, not of its own captions.",
    ),
)
def _chunk_loss(answer: Answer) -> str:
    images, texts = units(6, 4, seed=15), units(6, 4, seed=16)
    scale, bias = torch.tensor(1.1), torch.tensor(-1.5)
    for first, last in ((2, 4), (0, 3), (3, 6)):
        some = texts[first:last].clone().requires_grad_()
        given = (images.clone().requires_grad_(), some, scale.clone().requires_grad_(),
                 bias.clone().requires_grad_())  # fmt: skip
        i, t, s, b = given
        result = answer.tensor(i, t, first, s, b, shape=(), means="one number for the chunk")
        i, t, s, b = (value.detach().double() for value in given)
        own = torch.arange(6)
        right = sigmoid_loss(i, t, s, b, own, own[first:last])
        compare(result, right, _chunk_mistakes(i, t, s, b, first))
    need_gradient(result, dict(zip(LOST, given, strict=True)), LOST)
    return "The chunks' losses add up to the whole, and so do their gradients."


def _chunk_mistakes(i: Tensor, t: Tensor, s: Tensor, b: Tensor, first: int) -> Mistakes:
    logits, columns = s.exp() * i @ t.T + b, torch.arange(len(t))
    signs = -torch.ones_like(logits)
    at_top, own, beside = signs.clone(), signs.clone(), signs.clone()
    at_top[columns, columns] = 1
    own[first + columns, columns] = 1
    beside[first] = 1
    cells = -F.logsigmoid(own * logits)
    n = len(i)
    return [
        (-F.logsigmoid(at_top * logits).sum() / n, "The signs take column j for picture j. It is "
         "caption first + j, and fits that picture."),
        (cells.sum() / len(t), "Divided by the number of captions in the chunk. Then the chunks "
         "don't add up to the whole: divide by the number of pictures."),
        (cells.mean(), "The mean over the chunk's cells depends on how you cut. Divide the sum by "
         "the number of pictures."),
        (cells.sum(), "The sum is not divided by the number of pictures."),
        (-F.logsigmoid(signs * logits).sum() / n, "Every cell is asked for a no. Each caption of "
         "the chunk has a picture that fits it."),
        (-F.logsigmoid(beside * logits).sum() / n, "A whole row became a yes. Pair the rows and "
         "columns one by one: index with two lists of the same length."),
        (cells[first + columns].sum() / n, "Only the chunk's own pictures take part. Its captions "
         "have to meet all pictures."),
        (-cells.sum() / n, "The sign is turned round."),
    ]  # fmt: skip


# -- hard negatives --------------------------------------------------------------------------------


@exercise(
    "hardest_negatives",
    hints=(
        "The highest cosines of a row, but not those of captions that are right. Which captions "
        "are right for picture i? There may be several.",
        "Comparing groups[:, None] with groups gives the matrix of all right cells. Take them out "
        "of the running before you look for the largest.",
        "Give right cells −∞ (masked_fill makes a new tensor), then topk along the row: its "
        "indices, hardest first. 0 would not do, since cosines may all be negative.",
    ),
)
def _hardest(answer: Answer) -> str:
    groups = torch.tensor([0, 1, 0, 2, 3, 1])
    random = torch.Generator().manual_seed(21)
    cosines = -torch.rand(6, 6, generator=random) * 0.5 - 0.05
    same = groups[:, None] == groups
    cosines = cosines + 0.04 * same
    result = answer(cosines, groups, 2)
    if isinstance(result, Tensor) and result.is_floating_point():
        raise Wrong("These are cosines. The places of the captions were asked for: their columns.")
    result = answer.tensor(cosines, groups, 2, shape=(6, 2), means="k captions a picture")
    right = cosines.masked_fill(same, -math.inf).topk(2, dim=1).indices.double()
    compare(result, right, _hardest_mistakes(cosines, same))
    return "The likeliest wrong captions, and none of them is right."


def _hardest_mistakes(cosines: Tensor, same: Tensor) -> Mistakes:
    def top(values: Tensor, dim: int = 1, largest: bool = True) -> Tensor:
        """The columns of the two extremes, as float64."""
        return values.topk(2, dim=dim, largest=largest).indices.double()

    own = torch.eye(len(cosines), dtype=torch.bool)
    best, zeroed = cosines.masked_fill(same, -math.inf), cosines.masked_fill(same, 0.0)
    return [
        (top(cosines.masked_fill(own, -math.inf)), "Only the diagonal is spared. Picture 0 and "
         "picture 2 are of one group: caption 2 is right for picture 0, too. That is a false "
         "negative."),
        (top(cosines), "The right captions are still in the running."),
        (cosines.topk(3, dim=1).indices[:, 1:].double(), "The highest cosine of each row is left "
         "out, as if it were always the own caption's. It needn't be, and there may be several "
         "right ones."),
        (top(zeroed), "The right cells became 0, and here all other cosines are negative: 0 is the "
         "largest. Take something that no cosine can beat."),
        (top(cosines.masked_fill(same, math.inf), largest=False), "These are the easiest wrong "
         "captions: the smallest cosines."),
        (top(best, dim=0).T, "You looked down the columns: the hardest pictures of each caption."),
        (best.topk(2, dim=1).indices.double().flip(1), "The order is turned round: the hardest "
         "comes first."),
    ]  # fmt: skip
