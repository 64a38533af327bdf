"""What the chapters' checks try answers on, and how they read what comes back."""

import math
from typing import Any

import torch
from torch import Tensor

from clip_lab.course.checks import Answer, Wrong

Mistakes = list[tuple[Tensor, str]]  # what a likely mistake would give, and what to say to it


def drawn(*shape: int, seed: int) -> Tensor:
    """Normal numbers, the same at every check."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def unit(rows: Tensor) -> Tensor:
    """Vectors of length 1 along the last axis, in float64."""
    rows = rows.double()
    return rows / rows.square().sum(-1, keepdim=True).sqrt()


def units(*shape: int, seed: int) -> Tensor:
    """Vectors of length 1 in random directions, in float32 as an encoder gives them."""
    return unit(drawn(*shape, seed=seed)).float()


def mean(values: Any) -> Tensor:
    """The mean of numbers, or the share of yeses, in float64."""
    return torch.as_tensor(values).double().mean()


def doubled(mistakes: Mistakes) -> Mistakes:
    """The mistakes in float64: some are yes and no, and `compare` subtracts."""
    return [(value.double(), text) for value, text in mistakes]


def numbers(result: Any, shape: tuple[int, ...], means: str) -> Tensor:
    """A tensor, array or list of numbers as float64, of this shape; else Wrong."""
    try:
        values = torch.as_tensor(result).double()
    except (TypeError, ValueError, RuntimeError):
        raise Wrong(f"Numbers were expected, not a {type(result).__name__}.") from None
    if tuple(values.shape) != shape:
        raise Wrong(f"The shape is {tuple(values.shape)}; {shape} was expected ({means}).")
    return values


def one_number(answer: Answer, *inputs: Any) -> Tensor:
    """A number that an answer gives, as a float64 tensor without axes; Wrong for anything else."""
    result = answer(*inputs)
    try:
        value = torch.as_tensor(result).double()
    except (TypeError, ValueError, RuntimeError):
        raise Wrong(f"One number was expected, not a {type(result).__name__}.") from None
    if value.numel() != 1:
        raise Wrong(f"One number was expected; these are {value.numel()}, one for each of what?")
    if not value.isfinite().all():
        raise Wrong("The result is nan or infinite: was something divided by a count of zero?")
    return value.reshape(())


def ends(answer: Answer, count: int, *inputs: Any) -> tuple[float, ...]:
    """So many numbers, the last two of them an interval's ends; Wrong for anything else."""
    result = answer(*inputs)
    values = result.tolist() if isinstance(result, Tensor) else result
    if not isinstance(values, tuple | list) or len(values) != count:
        raise Wrong(f"Return {count} numbers; the last two are the interval's ends.")
    found = tuple(float(value) for value in values)
    if any(math.isnan(number) for number in found):
        raise Wrong("One of the numbers is nan. Are the answers numbers (float) when averaged?")
    if found[-2] > found[-1]:
        raise Wrong("The lower end comes first.")
    return found
