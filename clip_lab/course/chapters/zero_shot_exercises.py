"""Chapter 9, the exercises at its end: to refuse, to be honest, to notice what is not listed."""

import torch
from torch import Tensor

from clip_lab.course.checks import Answer, compare, exercise
from clip_lab.course.trial import doubled, mean, numbers, one_number


@exercise(
    "or_none",
    hints=(
        "First answer as always: which class is nearest? Then, should this answer be given at all?",
        "max along the last axis gives both, the best cosine and where it stands. Where the best "
        "is below the bar, another number replaces the place.",
        "A tensor of places, and one of yes and no (is the best cosine at least the bar?): "
        "torch.where takes the place for a yes, and −1 for a no.",
    ),
)
def _or_none(answer: Answer) -> str:
    cosines = torch.tensor(
        [[0.2, 0.7, 0.1], [0.3, 0.1, 0.2], [-0.2, -0.8, -0.1], [0.4, 0.55, 0.56], [0.9, 0.8, 0.1]]
    )
    result = numbers(answer(cosines, 0.5), (5,), "one answer for each picture")
    best, sure = cosines.argmax(1), cosines.amax(1) >= 0.5
    mistakes = [
        (best, "Nobody is refused: the bar takes no part."),
        (best.where(~sure, torch.tensor(-1)), "The wrong ones are refused: those above the bar."),
        (best.where(sure, torch.tensor(3)), "“None” is told by −1, not by one more class."),
        (best.where(sure, torch.tensor(0)), "Where the bar is not reached you answer class 0. −1 "
         "was asked for."),
        (sure, "This tells who is answered. Which class, for those?"),
        (cosines.amax(1), "These are the best cosines. The class's number was asked for."),
        (cosines.amax(1).where(sure, torch.tensor(-1.0)), "Who is refused is right. For the others "
         "these are the best cosines; the class's number was asked for."),
        (best.where(best >= 0.5, torch.tensor(-1)), "The bar was held against the class's number. "
         "Hold it against the best cosine."),
        (best.where(cosines.softmax(1).amax(1) >= 0.5, torch.tensor(-1)), "The bar was held "
         "against shares. A share only compares labels: hold it against the cosine."),
        (best.where(cosines.mean(1) >= 0.5, torch.tensor(-1)), "The bar was held against the mean "
         "of the row. The best one has to reach it."),
    ]  # fmt: skip
    compare(result, best.where(sure, torch.tensor(-1)).double(), doubled(mistakes))
    return "The nearest class, or −1 where even that is not near."


@exercise(
    "best_temperature",
    hints=(
        "A temperature is good if the right classes get high shares, all pictures taken together. "
        "Which loss of chapter 6 or 7 says so in one number?",
        "For each τ of the list: logits, and the mean of −log of the right class's share. "
        "F.cross_entropy does the whole of that.",
        "One loss for each τ. You want the τ whose loss is smallest, not the loss itself: Python's "
        "min takes a key.",
    ),
)
def _best_temperature(answer: Answer) -> str:
    random = torch.Generator().manual_seed(2)
    cosines = torch.rand(40, 5, generator=random)
    targets = torch.randint(5, (40,), generator=random)
    cosines[torch.arange(40), targets] += 0.25
    taus = [0.02, 0.05, 0.1, 0.2, 0.4, 0.9]
    losses = torch.stack([_loss(cosines.double() / tau, targets) for tau in taus])
    upside = torch.stack([_loss(cosines.double() * tau, targets) for tau in taus])
    shares = [(cosines.double() / tau).softmax(1) for tau in taus]
    twice = torch.stack([_loss(share, targets) for share in shares])
    own = torch.stack([share.gather(1, targets[:, None]).mean() for share in shares])
    best = taus[int(losses.argmin())]
    mistakes = [
        (losses.argmin(), "This is its place in the list. Return the τ that stands there."),
        (losses.min(), "This is the smallest loss. Return the τ that it belongs to."),
        (torch.tensor(taus[0]), "The smallest τ is the surest, and the worst where it is wrong. "
         "(Accuracy can't choose: it is the same at every τ.)"),
        (torch.tensor(taus[int(losses.argmax())]), "This τ has the largest loss."),
        (torch.tensor(taus[int(upside.argmin())]), "You multiplied by τ instead of dividing."),
        (torch.tensor(taus[int(twice.argmin())]), "A softmax of a softmax: F.cross_entropy takes "
         "logits, and does the softmax itself."),
        (torch.tensor(taus[int(own.argmax())]), "This τ gives the right classes the highest mean "
         "*share*. Take the logarithm of each share first, or bold mistakes cost next to nothing."),
    ]  # fmt: skip
    compare(one_number(answer, cosines, targets, taus), torch.tensor(best).double(),
            doubled(mistakes))  # fmt: skip
    return f"τ = {best}: honest about hits and about mistakes, on these pictures."


def _loss(logits: Tensor, targets: Tensor) -> Tensor:
    return -logits.log_softmax(1).gather(1, targets[:, None]).mean()


@exercise(
    "tells_apart",
    hints=(
        "Draw one picture of each kind, blindly. How often has the known one the higher score?",
        "All pairs at once: the known scores as a column, (n, 1), against the unknown as a row, "
        "(1, m). A comparison gives an (n, m) table of yes and no.",
        "The mean of the table is the share of pairs. A tie is worth half a yes: a score that is "
        "the same for all pictures should get 0.5.",
    ),
)
def _tells_apart(answer: Answer) -> str:
    known = torch.tensor([0.9, 0.4, 0.7, 0.7, 0.2, 0.85])
    unknown = torch.tensor([0.7, 0.3, 0.1, 0.7])
    above = (known[:, None] > unknown).double()
    level = (known[:, None] == unknown).double()
    right = (above + level / 2).mean()
    mistakes = [
        (1 - right, "The other way round: how often is the *known* one higher?"),
        (above.mean(), "Ties count as lost. A tie is worth half, or a score that is always the "
         "same would look worse than chance."),
        ((above + level).mean(), "Ties count as won. A tie is worth half."),
        ((above + level / 2).sum(), "This is a count of pairs. Divide by how many there are."),
        (4 * right, "Divided by the number of known ones only. There are n times m pairs."),
        (6 * right, "Divided by the number of unknown ones only. There are n times m pairs."),
        (known.mean() - unknown.mean(), "This is the difference of the means. It changes with the "
         "score's unit; the share of pairs doesn't."),
        (mean(known > unknown.mean()), "The known were held against the *mean* of the unknown. "
         "Hold each against each."),
        (mean(known[:4] > unknown), "Each known picture met one unknown picture only. Hold each "
         "against each: the two counts need not be equal."),
        (mean(known > unknown.max()), "The known were held against the highest of the unknown "
         "only. Hold each against each."),
    ]  # fmt: skip
    compare(one_number(answer, known, unknown), right, doubled(mistakes))
    return "0.5 is blind, 1 is perfect, whatever unit the score has (the area under the ROC curve)."
