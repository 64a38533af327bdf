"""Chapter 8: training your own. How fast to learn, and which weights may decay."""

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from clip_lab.course.checks import Answer, Wrong, compare, exercise
from clip_lab.training.schedule import learning_rate

# -- how fast ----------------------------------------------------------------------

PEAK, WARMUP, STEPS = 0.4, 5, 20
Rate = Callable[[int], float]


@exercise(
    "warmup_cosine",
    hints=(
        "Three numbers multiplied. Work out two steps by hand: step 0 of a warm-up of 5, and the "
        "step half-way through the run, where the cosine's share is one half.",
        "The ramp grows by 1/w a step and must not grow past 1: the smaller of two numbers. The "
        "cosine runs from an angle of 0 at step 0 to an angle of π at the end, and goes from 1 to "
        "−1: how do you make 1 to 0 of it?",
        "Ramp: step + 1 over the warm-up, at most 1. Fall: one plus the cosine of π times the "
        "share of the run that is over, halved. The peak times both.",
    ),
)
def _warmup_cosine(answer: Answer) -> str:
    found = [answer(PEAK, WARMUP, step, STEPS) for step in range(STEPS)]
    values = torch.tensor([_number(value) for value in found], dtype=torch.float64)
    right = _of(_right)
    step = int((values - right).abs().argmax())
    told = (f"With a peak of {PEAK}, a warm-up of {WARMUP} and {STEPS} steps, step {step} has "
            f"{values[step]:.4f} where {right[step]:.4f} is right.")  # fmt: skip
    ways = [*_ramps_gone_wrong(), *_falls_gone_wrong()]
    bare = "The peak takes no part: these are shares of it."
    mistakes = [(_of(way), text) for way, text in ways]
    compare(values, right, [*mistakes, (right / PEAK, bare), (values, told)])
    one = _number(answer(PEAK, 1, 0, STEPS))
    if not math.isclose(one, PEAK, rel_tol=1e-6):
        raise Wrong(f"With a warm-up of 1 step, step 0 has the whole peak; yours is {one:.3g}.")
    return "Up in a straight line, down along half a cosine."


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise Wrong(f"A learning rate is one number; this is a {type(value).__name__}.") from None


def _right(step: int) -> float:
    return learning_rate(PEAK, WARMUP, step, step / STEPS)


def _of(rate: Rate) -> Tensor:
    return torch.tensor([rate(step) for step in range(STEPS)], dtype=torch.float64)


def _ramp(step: int) -> float:
    return min(1.0, (step + 1) / WARMUP)


def _fall(share: float) -> float:
    return (1 + math.cos(math.pi * share)) / 2


def _ramps_gone_wrong() -> list[tuple[Rate, str]]:
    def with_ramp(ramp: Rate) -> Rate:
        return lambda t: PEAK * ramp(t) * _fall(t / STEPS)

    def after(step: int) -> float:  # as open_clip has it
        later = _fall((step - WARMUP) / (STEPS - WARMUP))
        return PEAK * (_ramp(step) if step < WARMUP else later)

    return [
        (with_ramp(lambda t: min(1.0, t / WARMUP)), "Step 0 has a rate of 0: it learns nothing "
         "from its batch. The ramp is 1/w there, so count the step that is being made."),
        (with_ramp(lambda t: 1.0), "There is no warm-up in it: step 0 has the whole peak."),
        (with_ramp(lambda t: (t + 1) / WARMUP), "The ramp goes on after the warm-up, past the "
         "peak. From step w − 1 on it is 1."),
        (with_ramp(lambda t: max(1.0, (t + 1) / WARMUP)), "The ramp is never below 1: it should "
         "never be *above* 1. Take the smaller of two numbers, not the larger."),
        (with_ramp(lambda t: min(1.0, (t + 1) / (WARMUP + 1))), "The ramp is a step too slow: "
         "it is 1/w at step 0, and 1 at step w − 1 already."),
        (with_ramp(lambda t: min(1, (t + 1) // WARMUP)), "The ramp is 0 until the warm-up is over: "
         "// rounds down. Divide by /."),
        (after, "Your cosine begins after the warm-up (open_clip does so). Here both run from step "
         "0, and are multiplied."),
        (lambda t: PEAK * (_ramp(t) if t < WARMUP else _fall(t / STEPS)), "During the warm-up the "
         "cosine takes no part. Here both run from step 0, and are multiplied."),
        (lambda t: PEAK * min(_ramp(t), _fall(t / STEPS)), "This is the smaller of ramp and "
         "cosine. Their product was asked for."),
    ]  # fmt: skip


def _falls_gone_wrong() -> list[tuple[Rate, str]]:
    def with_fall(fall: Rate) -> Rate:
        return lambda t: PEAK * _ramp(t) * fall(t)

    return [
        (with_fall(lambda t: 1.0), "There is no cosine in it: the rate never comes down."),
        (with_fall(lambda t: math.cos(math.pi * t / STEPS)), "The second half is negative: it "
         "would climb the loss. A cosine goes from 1 to −1; lift it by 1 and halve it."),
        (with_fall(lambda t: math.cos(math.pi * t / STEPS / 2)), "This is a quarter of a cosine, "
         "from an angle of 0 to π/2: it ends in a steep fall. Half a cosine goes to π, lifted by 1 "
         "and halved."),
        (with_fall(lambda t: 2 * _fall(t / STEPS)), "Everything is twice too high: 1 + cosine goes "
         "from 2 to 0. Halve it."),
        (with_fall(lambda t: _fall(2 * t / STEPS)), "The rate comes up again: this is a whole "
         "wave. By the end of the run the angle has reached π, not 2π."),
        (with_fall(lambda t: 1 - _fall(t / STEPS)), "The rate rises to the end: one *minus* the "
         "cosine goes from 0 to 2. Take one plus the cosine."),
        (with_fall(lambda t: (1 + math.cos(180 * t / STEPS)) / 2), "The angle seems to be in "
         "degrees; math.cos takes radians."),
        (with_fall(lambda t: _fall((t + 1) / STEPS)), "The cosine is a step ahead: it is 1 at step "
         "0."),
        (with_fall(lambda t: _fall(t / (STEPS - 1))), "The last step has a rate of 0, and its "
         "batch is lost. The cosine reaches 0 one step after the last."),
        (with_fall(lambda t: 1 - t / STEPS), "This falls in a straight line. A half cosine is flat "
         "at both ends."),
    ]  # fmt: skip


# -- what may decay ----------------------------------------------------------------------


class Mixed(nn.Module):
    """One of each kind of parameter, by names that don't tell what they are."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(7, 4)
        self.positions = nn.Parameter(torch.randn(3, 4))
        self.patches = nn.Conv2d(3, 4, 2, bias=False)
        self.first = nn.Linear(4, 4)
        self.ln_1 = nn.LayerNorm(4)
        self.second = nn.BatchNorm2d(4)
        self.logit_scale = nn.Parameter(torch.tensor(2.66))


WHAT = {
    "words.weight": "the token embedding, a matrix",
    "positions": "the positions, a matrix",
    "patches.weight": "a convolution's kernel, of four dimensions",
    "first.weight": "a linear layer's matrix",
    "first.bias": "a bias",
    "ln_1.weight": "a LayerNorm's gain, which starts at 1",
    "ln_1.bias": "a LayerNorm's bias",
    "second.weight": "a BatchNorm's gain, which starts at 1",
    "second.bias": "a BatchNorm's bias",
    "logit_scale": "the temperature: decay would pull 1/τ towards 1",
}


@exercise(
    "decay_groups",
    hints=(
        "Don't go by names: one project calls its norms ln_1, another bn2. What does a gain have "
        "in common with a bias and with the temperature, that no matrix has?",
        "A tensor knows how many dimensions it has. A gain has one, the temperature none at all.",
        "Go through model.parameters() once, and put each into one of two lists by its number of "
        "dimensions: two or more may decay. Return both lists, the decaying first.",
    ),
)
def _decay_groups(answer: Answer) -> str:
    model = Mixed()
    groups = answer(model)
    if not isinstance(groups, tuple | list) or len(groups) != 2:
        raise Wrong("Return two lists: parameters that may decay, and those that may not.")
    if not all(isinstance(group, tuple | list) for group in groups):
        kind = next(type(group).__name__ for group in groups if not isinstance(group, tuple | list))
        raise Wrong(f"Both should be lists of parameters; one is a {kind}: make a list of it.")
    places = [[_name(model, p) for p in group] for group in groups]
    wanted = [
        [n for n, p in model.named_parameters() if (p.ndim > 1) == big] for big in (True, False)
    ]
    if [set(names) for names in places] == [set(names) for names in wanted[::-1]]:
        raise Wrong("The two lists are exchanged: those that may decay come first.")
    twice = [name for name in WHAT if sum(names.count(name) for names in places) > 1]
    if twice:
        raise Wrong(f"{twice[0]} comes twice: the optimiser would refuse it.")
    missing = [name for name in WHAT if not any(name in names for names in places)]
    if missing:
        raise Wrong(f"{missing[0]} ({WHAT[missing[0]]}) is in neither list: it would never learn.")
    _told_if_misplaced([n for n in places[0] if n in wanted[1]], "decays, and should not")
    _told_if_misplaced([n for n in places[1] if n in wanted[0]], "is spared, and should decay")
    return "Matrices decay; gains, biases and the temperature don't."


def _told_if_misplaced(names: list[str], what: str) -> None:
    if names:
        more = f" So with {', '.join(names[1:])}." if names[1:] else ""
        raise Wrong(f"{names[0]} ({WHAT[names[0]]}) {what}.{more} Go by the number of dimensions.")


def _name(model: nn.Module, parameter: Any) -> str:
    for name, own in model.named_parameters():
        if own is parameter:
            return name
    kind = "a pair of name and parameter" if isinstance(parameter, tuple) else "something else"
    raise Wrong(f"The lists should hold the model's parameters themselves; one entry is {kind}.")
