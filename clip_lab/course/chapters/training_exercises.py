"""Chapter 8, the exercises at its end: a split, gradients cut to a length, AdamW by hand."""

import math
from typing import Any

import torch
from torch import Tensor, nn

from clip_lab.course.checks import Answer, Wrong, agrees, compare, exercise
from clip_lab.course.trial import Mistakes

# -- a split that doesn't leak ---------------------------------------------------------------------


@exercise(
    "split_by_caption",
    hints=(
        "Draw captions, not pairs. Which list would have each caption once, in an order that is "
        "the same in every run?",
        "A sorted set of the captions is such a list (a set alone is not: Python orders strings "
        "anew each time). Shuffle it by the seed, and take the first `share` of it for the test.",
        "Then go through all places: those whose caption was drawn are the test's, the rest is to "
        "train on. torch.randperm takes a generator, random.Random(seed) can sample.",
    ),
)
def _split(answer: Answer) -> str:
    captions = [f"thing {k % 40}" for k in range(120)]  # each caption three times
    train, test = _two_lists(answer(captions, 0.25, 3))
    everything = sorted([*train, *test])
    if set(train) & set(test):
        raise Wrong(f"Pair {min(set(train) & set(test))} is on both sides.")
    if everything != list(range(120)):
        raise Wrong(f"Of 120 pairs, {len(set(everything))} are on one side or the other: "
                    "every pair has to be on one, once.")  # fmt: skip
    sides = [{captions[k] for k in side} for side in (train, test)]
    shared = sorted(sides[0] & sides[1])
    if shared:
        raise Wrong(f"“{shared[0]}” is on both sides, and with {len(shared) - 1} more captions: "
                    "pairs were drawn, not captions. The test leaks.")  # fmt: skip
    _of_its_size(len(sides[0]), len(sides[1]))
    _drawn(answer, captions, test)
    return f"{len(sides[1])} of 40 captions are the test's, with all their pairs."


def _two_lists(result: Any) -> tuple[list[int], list[int]]:
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise Wrong("Return two lists of places: to train on, and of the test.")
    try:
        train, test = ([int(place) for place in side] for side in result)
    except (TypeError, ValueError):
        raise Wrong("The lists hold places in the list of captions: whole numbers.") from None
    return train, test


def _of_its_size(train: int, test: int) -> None:
    if (train, test) == (10, 30):
        raise Wrong("The two lists are exchanged: those to train on come first.")
    if not 8 <= test <= 12:
        raise Wrong(f"A quarter of 40 captions is 10; your test has {test}.")


def _drawn(answer: Answer, captions: list[str], test: list[int]) -> None:
    again = _two_lists(answer(captions, 0.25, 3))[1]
    if sorted(again) != sorted(test):
        raise Wrong("The same seed gives another split: a run that is resumed would train on its "
                    "test.")  # fmt: skip
    others = [sorted(_two_lists(answer(captions, 0.25, seed))[1]) for seed in range(4)]
    if all(other == sorted(test) for other in others):
        raise Wrong("Every seed gives this split: is it drawn at random? The first or last "
                    "captions of a list are often of one kind.")  # fmt: skip


# -- never too far ----------------------------------------------------------------------


class _Sloped(nn.Module):
    """Two weights with a gradient of length 7 (9 + 4 + 36), and one that has none."""

    def __init__(self, times: float = 1.0) -> None:
        super().__init__()
        self.one = nn.Parameter(torch.zeros(2))
        self.other = nn.Parameter(torch.zeros(1, 2))
        self.idle = nn.Parameter(torch.zeros(3))
        self.one.grad = times * torch.tensor([3.0, 2.0])
        self.other.grad = times * torch.tensor([[0.0, -6.0]])

    def slopes(self) -> Tensor:
        """Both gradients end to end."""
        pair = [p.grad for p in (self.one, self.other) if p.grad is not None]
        return torch.cat([slope.flatten() for slope in pair]).double()


@exercise(
    "clip_gradients",
    hints=(
        "Lay all gradients end to end: one long vector. What is its length? By which one number "
        "must it be multiplied to be no longer than allowed?",
        "The square of the whole length is the sum of the squares of all entries of all gradients. "
        "Some parameters have no gradient (None): leave them out.",
        "The factor is longest / length where the length is more than allowed, and 1 where it "
        "isn't. Multiply each .grad in place by it, and return the length from before.",
    ),
)
def _clip_gradients(answer: Answer) -> str:
    model = _Sloped()
    length = answer(model, 2.0)
    slopes = model.slopes()
    whole = torch.tensor([3.0, 2.0, 0.0, -6.0], dtype=torch.float64)
    each = torch.cat([whole[:2] * 2 / math.sqrt(13), whole[2:] * 2 / 6])
    compare(slopes, whole * 2 / 7, [
        (whole, "The gradients are what they were. Change them in place: a name that is bound to "
         "a new tensor leaves .grad as it is."),
        (whole.clamp(-2, 2), "Each entry was cut by itself, and the direction is another now. All "
         "have to shrink by one factor."),
        (each, "Each tensor was cut by itself: those that were of different length are of one now. "
         "The length is that of all gradients together."),
        (whole / 7, "The length is 1 now; it was to be at most `longest`, here 2."),
        (whole * 2 / (6 + math.sqrt(13)), "The lengths of the tensors were added. The whole is as "
         "long as the root of the sum of all squares, 7."),
        (whole * 2 / 6, "The largest entry was taken for the length, which is the root of the sum "
         "of all squares."),
        (whole * 2 / 49, "Divided by the square of the length: a root is missing."),
    ])  # fmt: skip
    if not math.isclose(_as_number(length), 7.0, rel_tol=1e-4):
        raise Wrong(f"The length before was 7; you return {_as_number(length):.4g}.")
    short = _Sloped(0.1)
    answer(short, 2.0)
    if not agrees(short.slopes(), 0.1 * whole):
        raise Wrong("A gradient of length 0.7 was changed, though 2 is allowed: short ones stay.")
    still = _Sloped(0.0)
    answer(still, 2.0)
    if not still.slopes().isfinite().all():
        raise Wrong("Where all gradients are 0, 0/0 has made nan of them.")
    return "Shorter, never longer, and in the same direction."


def _as_number(length: Any) -> float:
    try:
        return float(length)
    except (TypeError, ValueError, RuntimeError):
        raise Wrong(f"Return the length, one number, not a {type(length).__name__}.") from None


# -- AdamW by hand ----------------------------------------------------------------------

LR, DECAY, BETAS, EPS = 0.1, 0.5, (0.8, 0.9), 0.01


def _inputs() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    random = torch.Generator().manual_seed(21)
    weight, gradient, mean = torch.randn(3, 5, generator=random, dtype=torch.float64)
    return weight, gradient, mean, torch.rand(5, generator=random, dtype=torch.float64)


def _moved(
    weight: Tensor, gradient: Tensor, mean: Tensor, square: Tensor, step: int, *,
    correct: str = "both", decay: str = "apart", root: bool = True, inside: bool = False,
    late: int = 0, sign: float = 1.0, keep: str = "β", betas: tuple[float, float] = BETAS,
) -> Tensor:  # fmt: skip
    """The new weight, with one thing or another done wrong."""
    (one, two), slope = betas, gradient + DECAY * weight * (decay == "in gradient")
    kept = {"β": (one, two), "1 − β": (1 - one, 1 - two), "all": (1.0, 1.0)}[keep]
    mean = kept[0] * mean + (1 - kept[0]) * slope
    square = kept[1] * square + (1 - kept[1]) * slope**2
    if correct in ("both", "mean"):
        mean = mean / (1 - one ** (step + late))
    if correct in ("both", "square"):
        square = square / (1 - two ** (step + late))
    below = (square + EPS).sqrt() if inside else (square.sqrt() if root else square) + EPS
    rate = {"apart": LR * DECAY, "whole": DECAY}.get(decay, 0.0)
    away = sign * LR * mean / below
    return (weight - away) * (1 - LR * DECAY) if decay == "after" else weight * (1 - rate) - away


@exercise(
    "adamw_step",
    hints=(
        "Four lines of the algorithm: both averages move a little towards what is new; both are "
        "corrected; the weight shrinks by itself; the weight moves against the gradient.",
        "An average with factor β keeps β of what it was and takes 1 − β of what is new. Having "
        "started at 0, after t steps it holds only 1 − βᵗ of a full average: divide by that.",
        "The weight becomes (1 − lr · decay) of itself, less lr times the corrected average over "
        "(the root of the corrected average of squares, plus ε). Return the averages uncorrected: "
        "the next step goes on from them.",
    ),
)
def _adamw(answer: Answer) -> str:
    given = _inputs()
    for step in (1, 3):
        result = answer(*given, step, LR, DECAY, BETAS, EPS)
        if not isinstance(result, tuple | list) or len(result) != 3:
            raise Wrong("Return three tensors: the weight and both averages.")
        if not all(isinstance(part, Tensor) and part.shape == (5,) for part in result):
            raise Wrong("Each of the three is a tensor of the weight's shape.")
        weight, mean, square = (part.double() for part in result)
        compare(weight, _moved(*given, step), _adamw_mistakes(given, step))
        _averages(given, mean, square, step)
    return "Adam's step, and decay beside it: this is what torch.optim.AdamW does."


def _adamw_mistakes(given: tuple[Tensor, ...], step: int) -> Mistakes:
    w, g, m, s = given

    def wrong(**ways: Any) -> Tensor:
        return _moved(w, g, m, s, step, **ways)

    return [
        (wrong(decay="in gradient"), "Decay went into the gradient, and so through the averages: "
         "that is Adam with L2, in which weights with large gradients hardly decay. AdamW shrinks "
         "the weight apart from it."),
        (wrong(decay="whole"), "The weight shrinks by decay itself; it is lr · decay of it."),
        (wrong(decay="none"), "Decay takes no part."),
        (wrong(decay="after"), "The weight shrinks after it has moved, and so the step shrinks "
         "too. Decay takes its share of the *old* weight."),
        (wrong(correct="none"), "The averages aren't corrected for having started at 0: divide "
         "each by 1 − βᵗ."),
        (wrong(correct="mean"), "The average of squares isn't corrected for having started at 0."),
        (wrong(correct="square"), "The average of gradients isn't corrected for having started at "
         "0."),
        (wrong(keep="all"), "The step is taken with the old averages. Move them first: they take "
         "in this gradient."),
        (wrong(betas=BETAS[::-1]), "The two β are exchanged: the first belongs to the average of "
         "gradients."),
        (wrong(keep="1 − β"), "β and 1 − β are exchanged: an average keeps β "
         "of what it was."),
        (wrong(late=1), "The step counts from 1 already: βᵗ, not β to the t + 1."),
        (wrong(root=False), "Divided by the average of squares: its root was asked for."),
        (wrong(inside=True), "ε is under the root here; it is added after it."),
        (wrong(sign=-1.0), "The weight goes up the slope: subtract the step."),
        (w * (1 - LR * DECAY) - LR * g, "This is plain gradient descent: the averages take no "
         "part."),
    ]  # fmt: skip


def _averages(given: tuple[Tensor, ...], mean: Tensor, square: Tensor, step: int) -> None:
    _, g, m, s = given
    (one, two) = BETAS
    wanted = one * m + (1 - one) * g, two * s + (1 - two) * g**2
    for value, right, old, beta, name in (
        (mean, wanted[0], m, one, "average of gradients"),
        (square, wanted[1], s, two, "average of squares"),
    ):
        compare(value, right, [
            (right / (1 - beta**step), f"The weight is right, but the {name} is handed on in its "
             "corrected form: the next step would correct it again."),
            (old, f"The weight is right, but the {name} comes back as it was."),
            (wanted[0] if right is wanted[1] else wanted[1], "The averages are exchanged: that of "
             "the gradients comes before that of their squares."),
        ])  # fmt: skip
