"""Chapter 8: training your own. What its build exercises look for.

A step, a schedule and a checkpoint are tried out on a toy CLIP of two linear maps; beside the right
outcome stands what the likely mistakes would lead to.
"""

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clip_lab.course.checks import Answer, Wrong, agrees, compare, exercise
from clip_lab.course.words import ANSWERS
from clip_lab.losses import info_nce
from clip_lab.model.clip import MAX_LOGIT_SCALE
from clip_lab.training.schedule import learning_rate

ANSWERS["five hundred pairs"] = """
    A small model has far more weights than 500 pairs have facts, so it can learn them by heart, and
    0.01 shows no more than that. What counts is a test that it never trained on: 50 pairs, say,
    kept back before training, that share no picture and no caption with the others. How many find
    their partner there, beside chance, and with an interval, for 50 are few? If that share stopped
    rising long ago, the rest of the training was memory.
"""


# -- how fast ----------------------------------------------------------------------

PEAK, WARMUP, STEPS = 0.4, 5, 20


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
    compare(values, _of(learning_rate_at), _rate_mistakes())
    one = _number(answer(PEAK, 1, 0, STEPS))
    if not math.isclose(one, PEAK, rel_tol=1e-6):
        raise Wrong(f"With a warm-up of 1 step, step 0 has the whole peak; yours is {one:.3g}.")
    return "Up in a straight line, down along half a cosine."


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise Wrong(f"A learning rate is one number; this is a {type(value).__name__}.") from None


def learning_rate_at(step: int) -> float:
    """The right one."""
    return learning_rate(PEAK, WARMUP, step, step / STEPS)


def _of(rate: Callable[[int], float]) -> Tensor:
    return torch.tensor([rate(step) for step in range(STEPS)], dtype=torch.float64)


def _rate_mistakes() -> list[tuple[Tensor, str]]:
    def fall(share: float) -> float:
        return (1 + math.cos(math.pi * share)) / 2

    def ramp(step: int) -> float:
        return min(1.0, (step + 1) / WARMUP)

    def after(step: int) -> float:  # as open_clip has it
        if step < WARMUP:
            return ramp(step)
        return fall((step - WARMUP) / (STEPS - WARMUP))

    ways: list[tuple[Callable[[int], float], str]] = [
        (lambda t: min(1.0, t / WARMUP) * fall(t / STEPS), "Step 0 has a rate of 0: it learns "
         "nothing from its batch. The ramp is 1/w there, so count the step that is being made."),
        (lambda t: ramp(t) * math.cos(math.pi * t / STEPS), "The second half is negative: it "
         "would climb the loss. A cosine goes from 1 to −1; lift it by 1 and halve it."),
        (lambda t: ramp(t) * math.cos(math.pi * t / STEPS / 2), "This is a quarter of a cosine, "
         "from an angle of 0 to π/2: it ends in a steep fall. Half a cosine goes to π, lifted by 1 "
         "and halved."),
        (lambda t: ramp(t) * 2 * fall(t / STEPS), "Everything is twice too high: 1 + cosine goes "
         "from 2 to 0. Halve it."),
        (lambda t: ramp(t) * fall(2 * t / STEPS), "The rate comes up again: this is a whole wave. "
         "By the end of the run the angle has reached π, not 2π."),
        (lambda t: ramp(t) * (1 + math.cos(180 * t / STEPS)) / 2, "The angle seems to be in "
         "degrees; math.cos takes radians."),
        (lambda t: fall(t / STEPS), "There is no warm-up in it: step 0 has the whole peak."),
        (ramp, "There is no cosine in it: the rate never comes down."),
        (lambda t: (t + 1) / WARMUP * fall(t / STEPS), "The ramp goes on after the warm-up, past "
         "the peak. From step w − 1 on it is 1."),
        (after, "Your cosine begins after the warm-up (open_clip does so). Here both run from step "
         "0, and are multiplied."),
        (lambda t: ramp(t) * fall((t + 1) / STEPS), "The cosine is a step ahead: it is 1 at step "
         "0."),
        (lambda t: ramp(t) * fall(t / (STEPS - 1)), "The last step has a rate of 0, and its batch "
         "is lost. The cosine reaches 0 one step after the last."),
        (lambda t: ramp(t) * (1 - t / STEPS), "This falls in a straight line. A half cosine is "
         "flat at both ends."),
    ]  # fmt: skip
    told = [(PEAK * _of(way), text) for way, text in ways]
    bare = "The peak takes no part: these are shares of it."
    return [*told, (_of(learning_rate_at) / PEAK, bare)]


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


# -- a step ----------------------------------------------------------------------


class Toy(nn.Module):
    """A CLIP of two linear maps, in float64. Its scale starts where it is told."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        random = torch.Generator().manual_seed(11)
        draw = [torch.randn(4, n, generator=random, dtype=torch.float64) for n in (12, 5)]
        self.seen, self.read = (nn.Parameter(matrix) for matrix in draw)
        self.logit_scale = nn.Parameter(torch.tensor(scale, dtype=torch.float64))

    def encode_image(self, images: Tensor) -> Tensor:
        return images.flatten(1).double() @ self.seen.T

    def encode_text(self, tokens: Tensor) -> Tensor:
        return tokens.double() @ self.read.T

    def state(self) -> Tensor:
        """All its numbers in a row."""
        return torch.cat([p.detach().flatten() for p in self.parameters()]).clone()


def toy_batches() -> list[tuple[Tensor, Tensor]]:
    """Two batches of six pairs."""
    random = torch.Generator().manual_seed(12)
    return [
        (torch.rand(6, 3, 2, 2, generator=random), torch.randint(0, 9, (6, 5), generator=random))
        for _ in range(2)
    ]


Step = Callable[[Toy, torch.optim.Optimizer, Tensor, Tensor], Any]


class Counting(torch.optim.AdamW):
    """AdamW that remembers how often it was told to step."""

    steps = 0

    def step(self, closure: Any = None) -> Any:
        self.steps += 1
        return super().step(closure)


def two_steps(step: Step, scale: float, count: list[int] | None = None) -> tuple[Tensor, Tensor]:
    """The losses of two steps of AdamW, and all weights after them.

    In `count` it leaves how often the optimiser was told to step.
    """
    model = Toy(scale)
    descent = Counting(model.parameters(), lr=0.05, weight_decay=0.0)
    losses = [_number_of_loss(step(model, descent, *batch)) for batch in toy_batches()]
    if count is not None:
        count.append(descent.steps)
    return torch.tensor(losses, dtype=torch.float64), model.state()


def _number_of_loss(loss: Any) -> float:
    try:
        return float(loss)
    except (TypeError, ValueError, RuntimeError):
        raise Wrong(f"Return the loss, one number; this is a {type(loss).__name__}.") from None


def variant(
    unit: bool = True, both: bool = True, forget: bool = True,
    clamp: tuple[float, float] | None = (0.0, MAX_LOGIT_SCALE), inside: bool = False,
) -> Step:  # fmt: skip
    """A training step with one thing or another left out."""

    def step(model: Toy, descent: torch.optim.Optimizer, images: Tensor, tokens: Tensor) -> float:
        pair = model.encode_image(images), model.encode_text(tokens)
        one, other = (F.normalize(v, dim=-1) for v in pair) if unit else pair
        scale = model.logit_scale.clamp(0, MAX_LOGIT_SCALE) if inside else model.logit_scale
        rows = F.cross_entropy(scale.exp() * one @ other.T, torch.arange(len(one)))
        loss = info_nce(one, other, scale) if both else rows
        if forget:
            descent.zero_grad()
        loss.backward()
        descent.step()
        if clamp:
            model.logit_scale.data.clamp_(*clamp)
        return loss.item()

    return step


HIGH = 5.0  # above ln 100


@exercise(
    "training_step",
    hints=(
        "The text above names the parts in their order. Which of them must come before the "
        "gradients are computed, and which between gradients and step?",
        "F.normalize gives length 1 along an axis; info_nce takes both sets of vectors and "
        "model.logit_scale as it is. Gradients add up until the optimiser is told to forget them.",
        "Both towers, normalised; the loss; zero_grad, backward, step; then clamp the parameter "
        "logit_scale in place, without autograd looking (its .data), between 0 and the logarithm "
        "of 100. Return the loss as a number.",
    ),
)
def _training_step(answer: Answer) -> str:
    def own(model: Toy, descent: torch.optim.Optimizer, images: Tensor, tokens: Tensor) -> Any:
        return answer(model, descent, images, tokens)

    count: list[int] = []
    losses, state = two_steps(own, 2.0, count)
    right_losses, right_state = two_steps(variant(), 2.0)
    if agrees(losses[:1], right_losses[:1]) and agrees(state, Toy(2.0).state()):
        raise Wrong("The loss is right, but no step follows: the weights never move."
                    if count == [0] else "The step finds no gradients: were they computed, and "
                    "weren't they wiped out again before it?")  # fmt: skip
    for step, text in _step_mistakes():
        wrong_losses, wrong_state = two_steps(step, 2.0)
        if agrees(losses, wrong_losses) and agrees(state, wrong_state):
            raise Wrong(text)
    compare(losses[:1], right_losses[:1], [])
    if not agrees(state, right_state):
        raise Wrong("The loss is right, but after two steps the weights aren't. Is something done "
                    "between the gradients and the step, or is something done twice?")  # fmt: skip
    _clamped(own)
    return "Encode, compare, forget, go back, step, clamp: CLIP's training in a few lines."


def _step_mistakes() -> list[tuple[Step, str]]:
    return [
        (variant(forget=False), "The first step is right, the second isn't: old gradients are "
         "still there and add up. Tell the optimiser to forget them before going back."),
        (variant(unit=False), "The vectors are as long as the towers made them. Scale each row to "
         "length 1 first, or long vectors win."),
        (variant(both=False), "This is one direction only: pictures choose among captions. CLIP's "
         "loss has both."),
    ]  # fmt: skip


def _clamped(own: Step) -> None:
    """Where the scale is too high or too low before the step, and must be within bounds after."""

    def after(scale: float) -> float:
        model = Toy(scale)
        descent = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.0)
        own(model, descent, *toy_batches()[0])
        return model.logit_scale.item()

    high = after(HIGH)
    if high > MAX_LOGIT_SCALE + 1e-6:
        inside = agrees(
            two_steps(own, HIGH)[0], two_steps(variant(inside=True, clamp=None), HIGH)[0]
        )
        if inside:
            raise Wrong("The scale is clamped on its way into the loss, the parameter isn't. "
                        "Beyond the bound it gets no gradient, so it can't come back. Clamp the "
                        "parameter after the step.")  # fmt: skip
        raise Wrong(f"logit_scale was {HIGH:g} before a small step and is {high:.4g} after it. It "
                    "is a logarithm: its bound is ln 100 = 4.6052, not 100.")  # fmt: skip
    if not math.isclose(high, MAX_LOGIT_SCALE, abs_tol=1e-3):
        raise Wrong(f"From {HIGH:g}, logit_scale should come down to ln 100 = 4.6052; it is "
                    f"{high:.4g}.")  # fmt: skip
    low = after(-1.0)
    if low < -1e-6:
        raise Wrong(f"From −1, logit_scale should come up to 0 (τ is at most 1); it is {low:.4g}.")


# -- stop and go on ----------------------------------------------------------------------


@exercise(
    "checkpoint",
    hints=(
        "Which three things change during a run? Two of them have a method that tells their whole "
        "state.",
        "state_dict() doesn't copy: it hands out the very tensors that training will go on "
        "changing. Python's copy module can copy a whole dictionary, and what is in it.",
        "A dictionary with the model's state_dict, the optimiser's state_dict and the step, "
        "copied deeply before it is returned.",
    ),
)
def _checkpoint(answer: Answer) -> str:
    batches = toy_batches() * 3
    model = Toy(2.0)
    descent = torch.optim.AdamW(model.parameters(), lr=0.05)
    _go(model, descent, batches[:3])
    kept = answer(model, descent, 3)
    _has_its_parts(kept)
    before, first = model.state(), copy.deepcopy(kept)
    _go(model, descent, batches[3:])
    unbroken = model.state()
    model = Toy(2.0)
    model.load_state_dict(first["model"])
    if not agrees(model.state(), before):
        raise Wrong("The weights in it aren't those of the model.")
    descent = torch.optim.AdamW(model.parameters(), lr=0.05)
    _load(descent, copy.deepcopy(first["optimizer"]))  # it may take the very tensors
    _go(model, descent, batches[3:])
    if not agrees(model.state(), unbroken):
        raise Wrong("A run that goes on from it takes another way: are the optimiser's averages "
                    "in it?")  # fmt: skip
    _stays(kept, first)
    return "Weights, averages and step, and nothing that training still changes."


def _has_its_parts(kept: Any) -> None:
    if not isinstance(kept, dict):
        raise Wrong(f"Return a dictionary; this is a {type(kept).__name__}.")
    for part in ("model", "optimizer", "step"):
        if part not in kept:
            why = {"model": "there is nothing to go on with",
                   "optimizer": "AdamW's averages would begin at 0 again",
                   "step": "the schedule would warm up again"}[part]  # fmt: skip
            raise Wrong(f"There is no {part!r} in it: {why}.")
        if isinstance(kept[part], nn.Module | torch.optim.Optimizer):
            raise Wrong(f"Under {part!r} is the living thing itself: it will change. Keep a copy "
                        "of its state_dict().")  # fmt: skip
    if kept["step"] != 3:
        raise Wrong(f"The step was 3; under 'step' is {kept['step']!r}.")


def _load(descent: torch.optim.Optimizer, state: Any) -> None:
    try:
        descent.load_state_dict(state)
    except (KeyError, ValueError, TypeError, AttributeError):
        raise Wrong("The optimiser can't read what is under 'optimizer': keep its whole "
                    "state_dict().") from None  # fmt: skip


def _stays(kept: dict, first: dict) -> None:
    """Whether the learner's dictionary is, after more training, what it was."""
    for name, tensor in first["model"].items():
        if not torch.equal(tensor, kept["model"][name]):
            raise Wrong("While the training went on, the weights in the checkpoint changed too: "
                        "state_dict() hands out the model's own tensors. (Whoever keeps the “best” "
                        "model like this keeps the last.) Copy them.")  # fmt: skip
    for number, state in first["optimizer"]["state"].items():
        for name, value in state.items():
            if not torch.equal(
                torch.as_tensor(value), torch.as_tensor(kept["optimizer"]["state"][number][name])
            ):
                raise Wrong("The weights are copied, but AdamW's averages in the checkpoint change "
                            "as the training goes on. Copy the whole, deeply.")  # fmt: skip


def _go(model: Toy, descent: torch.optim.Optimizer, batches: list[tuple[Tensor, Tensor]]) -> None:
    for batch in batches:
        variant()(model, descent, *batch)
