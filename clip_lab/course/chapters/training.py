"""Chapter 8: training your own. A training step, and a checkpoint that goes on exactly.

Both are tried out on a toy CLIP of two linear maps; beside the right outcome stands what the likely
mistakes would lead to.
"""

import copy
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clip_lab.course.checks import Answer, Wrong, agrees, exercise
from clip_lab.course.words import ANSWERS
from clip_lab.losses import info_nce
from clip_lab.model.clip import MAX_LOGIT_SCALE

ANSWERS["five hundred pairs"] = """
    A small model has far more weights than 500 pairs have facts, so it can learn them by heart, and
    0.01 shows no more than that. What counts is a test that it never trained on: 50 pairs, say,
    kept back before training, that share no picture and no caption with the others. How many find
    their partner there, beside chance, and with an interval, for 50 are few? If that share stopped
    rising long ago, the rest of the training was memory.
"""


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
        """A row for each picture, not yet of length 1."""
        return images.flatten(1).double() @ self.seen.T

    def encode_text(self, tokens: Tensor) -> Tensor:
        """A row for each caption, not yet of length 1."""
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
        """AdamW's own step, counted."""
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
    unit: int | None = -1, both: bool = True, forget: bool = True, scale: str = "as it is",
    clamp: tuple[float, float] | None = (0.0, MAX_LOGIT_SCALE),
) -> Step:  # fmt: skip
    """A training step with one thing or another done wrong; `unit`: the axis of length 1."""
    scales: dict[str, Callable[[Tensor], Tensor]] = {
        "as it is": lambda logarithm: logarithm,
        "clamped": lambda logarithm: logarithm.clamp(0, MAX_LOGIT_SCALE),
        "exp": torch.exp,
        "detached": Tensor.detach,
    }

    def step(model: Toy, descent: torch.optim.Optimizer, images: Tensor, tokens: Tensor) -> float:
        pair = model.encode_image(images), model.encode_text(tokens)
        one, other = pair if unit is None else (F.normalize(v, dim=unit) for v in pair)
        logarithm = scales[scale](model.logit_scale)
        rows = F.cross_entropy(logarithm.exp() * one @ other.T, torch.arange(len(one)))
        loss = info_nce(one, other, logarithm) if both else rows
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
    if agrees(state, right_state) and not agrees(losses, right_losses):
        raise Wrong("The weights are right, the number returned isn't: it should be this batch's "
                    "loss, as it was before the step.")  # fmt: skip
    if not agrees(losses[:1], right_losses[:1]):
        raise Wrong(f"The first batch's loss should be {right_losses[0]:.4f}; it is "
                    f"{losses[0]:.4f}. Look at what info_nce is given.")  # fmt: skip
    if not agrees(state, right_state):
        raise Wrong("The optimiser steps more than once for a batch." if count[0] > 2 else
                    "The loss is right, but after two steps the weights aren't. Is something done "
                    "between the gradients and the step, or is something done twice?")  # fmt: skip
    _clamped(own)
    return "Encode, compare, forget, go back, step, clamp: CLIP's training in a few lines."


def _step_mistakes() -> list[tuple[Step, str]]:
    return [
        (variant(forget=False), "The first step is right, the second isn't: old gradients are "
         "still there and add up. Tell the optimiser to forget them before going back."),
        (variant(unit=None), "The vectors are as long as the towers made them. Scale each row to "
         "length 1 first, or long vectors win."),
        (variant(unit=0), "The columns have length 1, over the batch. A vector is a row: normalise "
         "along the last axis."),
        (variant(both=False), "This is one direction only: pictures choose among captions. CLIP's "
         "loss has both."),
        (variant(scale="exp"), "The scale went through exp before info_nce, which does that "
         "itself: hand it model.logit_scale, the logarithm."),
        (variant(scale="detached"), "logit_scale gets no gradient: the temperature would never be "
         "learned. Hand info_nce the parameter itself."),
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
        within = variant(scale="clamped", clamp=None)
        if agrees(two_steps(own, HIGH)[0], two_steps(within, HIGH)[0]):
            raise Wrong("The scale is clamped on its way into the loss, the parameter isn't. "
                        "Beyond the bound it gets no gradient, so it can't come back. Clamp the "
                        "parameter after the step.")  # fmt: skip
        raise Wrong(f"logit_scale was {HIGH:g} before a small step and is {high:.4g} after it. It "
                    "is a logarithm: its bound is ln 100 = 4.6052, not 100. (A clamp without _ "
                    "leaves it as it is and returns a copy.)")  # fmt: skip
    if not math.isclose(high, MAX_LOGIT_SCALE, abs_tol=1e-3):
        raise Wrong(f"From {HIGH:g}, logit_scale should come down to ln 100 = 4.6052; it is "
                    f"{high:.4g}.")  # fmt: skip
    low = after(-1.0)
    if -0.01 < low < -1e-6:
        raise Wrong("The clamp comes before the step, and the step leads out of the bounds again. "
                    "Clamp last.")  # fmt: skip
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
    before, first = model.state(), _as_it_is_now(kept)
    _go(model, descent, batches[3:])
    unbroken = model.state()
    model = Toy(2.0)
    _load(model, "model", first["model"])
    if not agrees(model.state(), before):
        raise Wrong("The weights in it aren't those of the model.")
    descent = torch.optim.AdamW(model.parameters(), lr=0.05)
    _load(descent, "optimizer", copy.deepcopy(first["optimizer"]))  # it may take the very tensors
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
            raise Wrong(f"Under {part!r} is the living thing itself, not its state. Keep a copy of "
                        "its state_dict().")  # fmt: skip
    if kept["step"] != 3:
        raise Wrong(f"The step was 3; under 'step' is {kept['step']!r}.")


def _as_it_is_now(value: Any) -> Any:
    """A copy that no training changes, of tensors with a history too."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {name: _as_it_is_now(part) for name, part in value.items()}
    if isinstance(value, tuple | list):
        return [_as_it_is_now(part) for part in value]
    return copy.deepcopy(value)


def _load(thing: Toy | torch.optim.Optimizer, part: str, state: Any) -> None:
    try:
        thing.load_state_dict(state)
    except (KeyError, ValueError, TypeError, AttributeError, RuntimeError):
        name = "model" if part == "model" else "optimiser"
        raise Wrong(f"The {name} can't read what is under {part!r}: keep its whole "
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
