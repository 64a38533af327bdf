"""Chapter 11, the exercises at its end: CoCoOp's context, a name's worth, the search for λ."""

import math

import torch
from torch import Tensor

from clip_lab.course.chapters.few_shot import numbers
from clip_lab.course.checks import Answer, Wrong, compare, exercise, need_gradient
from clip_lab.evaluation.few_shot import shots_to_match


@exercise(
    "conditional_context",
    hints=(
        "Picture i's context is the shared one with shift i added to every vector.",
        "(m, c) and (b, c) are to become (b, m, c): each lacks one axis. Where?",
        "Give the context a first axis of length 1 and the shifts a middle one. The sum then "
        "spreads along both.",
    ),
)
def _conditional(answer: Answer) -> str:
    context, shifts = numbers(2, 3, seed=11).requires_grad_(), numbers(4, 3, seed=12)
    shifts.requires_grad_()
    result = answer.tensor(context, shifts, shape=(4, 2, 3), means="for each of 4 pictures, 2 "
                           "vectors")  # fmt: skip
    c, s = context.detach().double(), shifts.detach().double()
    wide, tall = c.repeat(4, 1, 1), s.unsqueeze(1).repeat(1, 2, 1)
    first = wide.clone()
    first[:, 0] += s
    compare(result, wide + tall, [
        (wide, "The pictures take no part: every context is the same."),
        (tall, "The shared context takes no part: only the shifts are there."),
        (first, "Only the first vector of the context was shifted. All of them are."),
        (wide - tall, "The shift is subtracted."),
        (wide * tall, "The shift is multiplied. It is added."),
    ])  # fmt: skip
    lost = {"context": "the shared part would not learn",
            "shifts": "the small network would not learn"}  # fmt: skip
    need_gradient(result, {"context": context, "shifts": shifts}, lost)
    return "A prompt for each picture."


@exercise(
    "shots_worth",
    hints=(
        "Walk along the points. Between which two does the line first reach the accuracy?",
        "How far between them, as a share from 0 to 1? Then go the same share of the way between "
        "the two numbers of shots, measured by their logarithms.",
        "A share w of the way in logarithms from a to b is a · (b / a)^w. If no point is high "
        "enough, the answer is infinity.",
    ),
)
def _worth(answer: Answer) -> str:
    shots, accuracies = [1, 2, 4, 8], [0.2, 0.35, 0.5, 0.6]
    wanted = shots_to_match(0.45, shots, accuracies)
    value = _number(answer(0.45, shots, accuracies))
    mistakes = [
        (2 + 2 * (2 / 3), "Straight in the shots. The line is drawn over their logarithms."),
        (math.log2(wanted), "This is the logarithm of the shots. Turn it back."),
        (math.log(wanted), "This is the logarithm of the shots. Turn it back."),
        (4.0, "This is the first number of shots that reaches it. Read off the line between."),
        (2.0, "This is the last number of shots that doesn't reach it. Read off the line."),
        (4 * 2 ** (2 / 3), "You walked one step too far: the line reaches it between 2 and 4."),
        (2 * 2 ** (1 / 3), "The share was measured from the upper end."),
    ]  # fmt: skip
    _compare(value, wanted, mistakes)
    if _number(answer(0.7, shots, accuracies)) != math.inf:
        raise Wrong("0.7 is more than eight shots reach: infinity was to be returned.")
    bumpy = [0.2, 0.5, 0.4, 0.6]
    first = shots_to_match(0.45, shots, bumpy)
    if abs(_number(answer(0.45, shots, bumpy)) - first) > 1e-3:
        raise Wrong("Where a curve falls and rises again, the *first* crossing counts.")
    return "Zero-shot, measured in labelled pictures."


def _number(result: object) -> float:
    if not isinstance(result, int | float | Tensor):
        raise Wrong("Return one number: how many shots.")
    return float(result)


def _compare(value: float, wanted: float, mistakes: list[tuple[float, str]]) -> None:
    pairs = [(torch.tensor(number, dtype=torch.float64), words) for number, words in mistakes]
    compare(torch.tensor(value, dtype=torch.float64), torch.tensor(wanted).double(), pairs)


PEAK, BEST = -1.35, -1.375  # the nearest to it in eighths of a decade


@exercise(
    "search_strength",
    hints=(
        "Keep what was tried and how well it did: a dictionary from exponent to accuracy.",
        "Seven exponents to begin with, 2 apart. Then halve the step, try the best one's two "
        "neighbours at that distance, and again, until the step is an eighth.",
        "Steps 1, 1/2, 1/4, 1/8: four rounds with two trials at most. The best is looked up anew "
        "in each round. Nothing below −6 or above 6. Return the exponent, not λ.",
    ),
)
def _search(answer: Answer) -> str:
    asked: list[float] = []

    def accuracy(strength: float) -> float:
        asked.append(math.log10(strength) if strength > 0 else math.nan)
        return 0.9 - 0.02 * (asked[-1] - PEAK) ** 2

    value = _number(answer(accuracy))
    if not asked:
        raise Wrong("`accuracy` was never called. It takes a strength λ, and gives a share.")
    if any(not -6.01 <= exponent <= 6.01 for exponent in asked):
        raise Wrong("A strength beyond 10^±6 was tried. (`accuracy` takes λ, not its exponent.)")
    if len(asked) > 15:
        raise Wrong(f"{len(asked)} strengths were tried; the search needs 15 at most.")
    if abs(value + 1.5) < 1e-6 and any(abs(exponent + 2.125) < 0.01 for exponent in asked):
        raise Wrong("Every round looked around −2, the first best. Take the best so far anew.")
    _compare(value, BEST, [
        (10**BEST, "This is λ. Its exponent was asked for."),
        (-2.0, "This is the best of the first seven. Look between them."),
        (-1.0, "The search ended after its first round: steps go down to an eighth."),
        (-1.5, "The search stopped at a half of a decade. Steps go down to an eighth."),
        (-1.25, "The search stopped at a quarter of a decade. Steps go down to an eighth."),
        (6.0, "This is the strongest penalty, not the best."),
        (0.9, "This is the best accuracy. At which exponent was it?"),
    ])  # fmt: skip
    _edges(answer)
    return "At most 15 fits for 97 strengths. With several peaks it may climb a lesser one."


def _edges(answer: Answer) -> None:
    asked: list[float] = []

    def rising(strength: float) -> float:
        asked.append(math.log10(strength))
        return asked[-1] / 10

    if abs(_number(answer(rising)) - 6) > 1e-6 or max(asked) > 6.01:
        raise Wrong("Where the strongest penalty is the best, the answer is 6, and nothing beyond.")
