"""Checks of what a learner wrote: they name the wrong idea, not only the wrong number.

An exercise is a name, a function that looks at the learner's answer, and three hints that go from a
nudge to nearly everything. The function raises `Wrong` with a diagnosis, or returns a sentence that
says what was right. Chapters register theirs in `clip_lab/course/chapters/`:

    @exercise("normalize", hints=("...", "...", "..."))
    def _normalize(answer: Answer) -> str: ...

How to find the wrong idea: work out what the likely mistakes *would* give on the same input, and
see which of them the learner's value agrees with (`compare`). No message holds a solution as code.
"""

import inspect
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

import torch
from torch import Tensor

from clip_lab.errors import LabError


class Wrong(LabError):
    """A diagnosis, addressed to the learner. IPython shows it without a traceback."""

    exercise = ""  # filled in by `check`, which knows the name

    def _render_traceback_(self) -> list[str]:
        lines = [f"\x1b[1;31m✗ {self.exercise or 'Not yet'}\x1b[0m", str(self)]
        if self.exercise:
            lines.append(f'\x1b[2mStuck? hint("{self.exercise}", 1), then 2, then 3\x1b[0m')
        return lines


class Note:
    """A line that a notebook shows with a coloured edge, and a terminal as plain text."""

    def __init__(self, title: str, text: str, colour: str = "#2e9e5b") -> None:
        self.title, self.text, self.colour = title, text, colour

    def __repr__(self) -> str:
        return f"{self.title}  {self.text}"

    def _repr_html_(self) -> str:
        text = escape(self.text).replace("\n", "<br>")
        return (
            f'<div style="border-left:4px solid {self.colour};padding:.35em .9em;margin:.3em 0">'
            f"<b>{escape(self.title)}</b>&ensp;{text}</div>"
        )


@dataclass(frozen=True)
class Exercise:
    """`diagnose` raises Wrong or returns what was right; `hints` are three steps."""

    name: str
    diagnose: Callable[["Answer"], str]
    hints: tuple[str, str, str]


EXERCISES: dict[str, Exercise] = {}


def exercise(name: str, hints: tuple[str, str, str]) -> Callable[[Callable], Callable]:
    """Register the decorated function as the check of the exercise `name`."""

    def register(diagnose: Callable[["Answer"], str]) -> Callable:
        EXERCISES[name] = Exercise(name, diagnose, hints)
        return diagnose

    return register


def check(name: str, function: Callable) -> Note:
    """Try `function` on the inputs of the exercise `name`: a Note if it is right, else Wrong."""
    known = _find(name)
    try:
        if not callable(function):
            raise Wrong("That is a result, not a function: pass the function's name, no brackets.")
        return Note(f"✓ {name}", known.diagnose(Answer(function)))
    except Wrong as wrong:
        wrong.exercise = name
        raise wrong from None


def hint(name: str, step: int = 1) -> Note:
    """Step 1 nudges, step 2 points, step 3 nearly tells."""
    steps = _find(name).hints
    if step not in (1, 2, 3):
        raise LabError(f"Hints come in three steps: 1, 2, 3; not {step}.")
    more = f'\nMore: hint("{name}", {step + 1})' if step < 3 else ""
    return Note(f"Hint {step} of 3", steps[step - 1] + more, "#c98500")


def _find(name: str) -> Exercise:
    if name not in EXERCISES:
        raise LabError(f"No exercise is called {name!r}. There are: {', '.join(EXERCISES)}.")
    return EXERCISES[name]


class Answer:
    """A learner's function, called so that whatever goes wrong in it becomes a diagnosis."""

    def __init__(self, function: Callable) -> None:
        self.function = function
        self.name = getattr(function, "__name__", "your function")

    def __call__(self, *inputs: Any) -> Any:
        """What the function returns for `inputs`; Wrong where it stops, or changes its inputs."""
        self._takes(inputs)
        before = [_copy(value) for value in inputs]
        try:
            result = self.function(*inputs)
        except NotImplementedError:
            raise Wrong(f"{self.name} is still to be written.") from None
        except Wrong:
            raise
        except Exception as error:
            raise Wrong(self._stopped(error)) from None
        for old, new in zip(before, inputs, strict=True):
            if isinstance(new, Tensor) and not torch.equal(old, new):
                raise Wrong(
                    f"{self.name} changes the tensor it is given (an operation in place, such as "
                    "`/=` or a name ending in `_`). Make a new one: the caller still needs the old."
                )
        if result is None:
            raise Wrong(f"{self.name} returned None: is its last line a `return`?")
        if result is ...:
            raise Wrong(f"{self.name} is still to be written.")
        return result

    def tensor(self, *inputs: Any, shape: tuple[int, ...], means: str = "") -> Tensor:
        """The result as a float64 tensor of this shape, or Wrong. `means` explains the shape."""
        result = self(*inputs)
        if not isinstance(result, Tensor):
            raise Wrong(
                f"{self.name} returned a {type(result).__name__}, not a tensor: gradients can't "
                "flow back through it. Stay with torch operations to the end."
            )
        if tuple(result.shape) != shape:
            why = f" ({means})" if means else ""
            raise Wrong(f"The shape is {tuple(result.shape)}; {shape} was expected{why}.")
        if not result.isfinite().all():
            raise Wrong(f"The result of {self.name} holds nan or inf.")
        return result.double()

    def _takes(self, inputs: tuple) -> None:
        try:
            inspect.signature(self.function).bind(*inputs)
        except TypeError as error:
            raise Wrong(
                f"{self.name} is called with {len(inputs)} argument(s), in the order of the "
                f"exercise, and doesn't take them: {error}."
            ) from None
        except ValueError:  # some built-in functions have no signature to look at
            return

    def _stopped(self, error: Exception) -> str:
        """The learner's own line at which the function stopped, and what may be behind it."""
        file = getattr(getattr(self.function, "__code__", None), "co_filename", None)
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename == file]
        line = f"\n    {frames[-1].line}" if frames and frames[-1].line else ""
        text = str(error).splitlines()[0] if str(error) else ""
        return f"{self.name} stopped with {type(error).__name__}: {text}{line}{_meaning(text)}"


def _meaning(text: str) -> str:
    """What the commonest torch messages say in words."""
    if "shapes cannot be multiplied" in text or "mat1 and mat2" in text:
        return (
            "\nA matrix product needs the columns of the left to match the rows of the right: "
            "is one of the two to be turned on its side?"
        )
    if "must match the size" in text:
        return (
            "\nTwo shapes don't line up. After a reduction such as a norm or a sum, was the "
            "reduced axis kept (as length 1), or did it vanish?"
        )
    return ""


def _copy(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, Tensor) else value


def agrees(value: Tensor, wanted: Tensor) -> bool:
    """Equal but for float32 rounding."""
    return value.shape == wanted.shape and torch.allclose(value, wanted, rtol=1e-4, atol=1e-5)


def compare(value: Tensor, wanted: Tensor, mistakes: Iterable[tuple[Tensor, str]]) -> None:
    """Nothing if `value` is right; else Wrong, with the diagnosis of the mistake that gives it.

    `mistakes` holds pairs: what a mistake gives on this input, and what to say of it; the first
    that agrees is told. All are float64. With none that fits, two numbers are told.
    """
    if agrees(value, wanted):
        return
    for mistaken, diagnosis in mistakes:
        if agrees(value, mistaken):
            raise Wrong(diagnosis)
    raise Wrong(_numbers(value, wanted))


def _numbers(value: Tensor, wanted: Tensor) -> str:
    """The entry that is furthest off. (A value that no known mistake gives.)"""
    worst = int((value - wanted).abs().argmax())
    place = [int(i) for i in torch.unravel_index(torch.tensor(worst), value.shape)]
    at = f" at {place}" if place else ""
    return (
        f"On a small example{at}, {value.flatten()[worst]:.4f} "
        f"where {wanted.flatten()[worst]:.4f} is right."
    )


def need_gradient(result: Tensor, inputs: Mapping[str, Tensor], lost: Mapping[str, str]) -> None:
    """Wrong if a gradient from `result` does not reach an input; `lost` says what that would cost.

    Compares nothing: that the values are right is for `compare` to find out first.
    """
    if not result.requires_grad:
        raise Wrong("The value is right, but cut off from its inputs: no gradient, nothing learns.")
    gradients = torch.autograd.grad(result.sum(), list(inputs.values()), allow_unused=True)
    for name, gradient in zip(inputs, gradients, strict=True):
        if gradient is None:
            raise Wrong(f"The value is right, but no gradient reaches {name}: {lost[name]}.")
