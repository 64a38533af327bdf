"""The loss alone: ours with the matrix, open_clip's, ours in tiles; and all three in float64."""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from benchmarks.inference.measure import by_turns, compared
from benchmarks.training.inputs import EMBED_DIM, Vectors, vectors
from benchmarks.training.memory import available, in_fresh_process, peak_extra
from clip_lab.losses import info_nce, tiled_info_nce
from tests.peers import import_open_clip

Record = dict[str, Any]
Loss = Callable[[Tensor, Tensor, Tensor], Tensor]

SIZES = (1024, 4096, 16_384, 65_536)
NAIVE, OPEN_CLIP, TILED = "naive", "open_clip", "tiled"
MATRIX = (NAIVE, OPEN_CLIP)  # those that hold all N × N logits
LARGE, FEW = 16_384, 2  # above so many pairs, so few rounds
PATIENCE = 240  # seconds for the float64 of one size


def open_clip_loss() -> Loss:
    """ClipLoss as their training calls it; it takes the scale itself. Raises ImportError."""
    loss = import_open_clip().loss.ClipLoss()
    return lambda images, texts, log_scale: loss(images, texts, log_scale.exp())


MAKERS: dict[str, Callable[[], Loss]] = {
    NAIVE: lambda: info_nce,
    OPEN_CLIP: open_clip_loss,
    TILED: lambda: tiled_info_nce,
}


def losses() -> dict[str, Loss]:
    """Those that are installed."""
    found = {}
    for name, make in MAKERS.items():
        try:
            found[name] = make()
        except ImportError:
            continue
    return found


def gradients(loss: Loss, of: Vectors) -> tuple[Tensor, ...]:
    """The loss's value, then its gradient for each input."""
    value = loss(*of)
    return value.detach(), *torch.autograd.grad(value, of)


def loss_part(rounds: int, sizes: tuple[int, ...] = SIZES, device: str = "cpu") -> Record:
    """By size: seconds, peak extra memory and errors; what was left out, and why."""
    result: Record = {"embed_dim": EMBED_DIM, "pass": "forward and backward, float32", "pairs": {}}
    past: list[_Size] = []
    for number in sizes:
        size = _Size(number, device, past)
        result["pairs"][str(number)] = size.record(rounds)
        past.append(size)
    return result


class _Size:
    """One number of pairs; what came before tells what this will cost."""

    def __init__(self, number: int, device: str, past: list["_Size"]):
        self.number, self.device, self.past = number, device, past
        self.peaks: dict[str, int] = {}
        self.exact_seconds = 0.0
        self.left_out: dict[str, str] = {}

    def record(self, rounds: int) -> Record:
        running = {name: loss for name, loss in losses().items() if self._fits(name)}
        self.left_out |= {name: "not installed" for name in MAKERS.keys() - losses().keys()}
        for name in running:
            self.peaks[name] = self._peak(name)
        of = vectors(self.number, self.device)
        errors = self._errors(running, of)
        cases = {name: lambda loss=loss: self._run(loss, of) for name, loss in running.items()}
        large = self.number > LARGE
        seconds = by_turns(cases, min(rounds, FEW) if large else rounds, 0 if large else 1)
        found = compared(seconds, TILED)
        for name, peak in self.peaks.items():
            found[name]["peak_extra_bytes"] = peak
            found[name] |= errors.get(name, {})
        return {"contenders": found, "left_out": self.left_out}

    def _run(self, loss: Loss, of: Vectors) -> None:
        gradients(loss, of)
        if self.device.startswith("cuda"):
            torch.cuda.synchronize()

    def _fits(self, name: str) -> bool:
        """Whether the matrix has room, by what a smaller one took."""
        smaller = [size for size in self.past if name in size.peaks]
        if name not in MATRIX or not smaller:
            return name not in MATRIX or not self._left_out_before(name)
        wanted = smaller[-1].peaks[name] * (self.number / smaller[-1].number) ** 2
        there = available(self.device)
        if wanted < 0.9 * there:
            return True
        self.left_out[name] = (
            f"would need about {wanted / 1e9:.0f} GB, and {there / 1e9:.0f} GB were free"
        )
        return False

    def _left_out_before(self, name: str) -> bool:
        return any(name in size.left_out for size in self.past)

    def _peak(self, name: str) -> int:
        if self.device.startswith("cuda"):
            return peak_of_loss(torch.get_num_threads(), name, self.number, self.device)
        return in_fresh_process(peak_of_loss, name, self.number, self.device)

    def _errors(self, running: dict[str, Loss], of: Vectors) -> dict[str, Record]:
        """Each one's distance from float64, if that can be waited for."""
        expected = 0.0
        if self.past:
            last = self.past[-1]
            expected = last.exact_seconds * (self.number / last.number) ** 2
        if expected > PATIENCE:
            self.exact_seconds = expected
            self.left_out["float64"] = f"would take about {expected / 60:.0f} minutes"
            return {}
        began = time.perf_counter()
        truth = exact(*of)
        self.exact_seconds = time.perf_counter() - began
        return {name: errors(gradients(loss, of), truth) for name, loss in running.items()}


def peak_of_loss(threads: int, name: str, number: int, device: str) -> int:
    """Peak extra memory of one forward and backward pass, the inputs not counted."""
    torch.set_num_threads(threads)
    loss, of = MAKERS[name](), vectors(number, device)
    gradients(loss, vectors(64, device))  # loads what is loaded at the first use
    return peak_extra(lambda: gradients(loss, of), device)


def errors(found: tuple[Tensor, ...], truth: tuple[Tensor, ...]) -> Record:
    """The value's relative error; the worst of the gradients, as it is and by the largest one."""
    distances = [(a.double() - b).abs().max().item() for a, b in zip(found, truth, strict=True)]
    sizes = [tensor.abs().max().item() for tensor in truth]
    relative = [distance / size for distance, size in zip(distances, sizes, strict=True)]
    return {
        "value_relative_error": float(f"{relative[0]:.2g}"),
        "gradient_error": float(f"{max(distances[1:]):.2g}"),
        "gradient_error_by_largest_gradient": float(f"{max(relative[1:]):.2g}"),
    }


@torch.no_grad()
def exact(images: Tensor, texts: Tensor, log_scale: Tensor, rows: int = 1024) -> tuple[Tensor, ...]:
    """Value and gradients in float64, a block of rows at a time.

    Written out by hand, ∂L/∂ℓ = (softmax of rows + softmax of columns) / 2N − identity / N, so that
    it shares nothing with what it is to judge.
    """
    images, texts, scale = images.double(), texts.double(), log_scale.double().exp()
    number = len(images)
    of_rows = images.new_empty(number)
    of_columns = images.new_full((number,), -torch.inf)
    for start in range(0, number, rows):
        logits = scale * images[start : start + rows] @ texts.T
        of_rows[start : start + rows] = logits.logsumexp(1)
        of_columns = torch.logaddexp(of_columns, logits.logsumexp(0))
    right = scale * (images * texts).sum(1)
    value = (of_rows + of_columns).mean() / 2 - right.mean()
    for_images, for_texts = torch.zeros_like(images), torch.zeros_like(texts)
    for_scale = torch.zeros_like(scale)
    for start in range(0, number, rows):
        own = slice(start, start + rows)
        logits = scale * images[own] @ texts.T
        slope = (logits - of_rows[own, None]).exp_() + (logits - of_columns).exp_()
        slope /= 2 * number
        slope.diagonal(start).sub_(1 / number)
        for_images[own] = scale * slope @ texts
        for_texts += scale * slope.T @ images[own]
        for_scale += (slope * logits).sum()
    return value, for_images, for_texts, for_scale
