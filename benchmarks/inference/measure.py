"""Times of several contenders by turns, and what the figures depend on besides the code."""

import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

PACKAGES = (
    "torch",
    "torchvision",
    "open_clip_torch",
    "openai-clip",
    "transformers",
    "tokenizers",
    "timm",
    "pillow",
)
SAME, SAME_COSINE = 1e-5, 0.9995  # how equal vectors must be: in float32, and below it


def machine() -> dict[str, Any]:
    cpu_info = Path("/proc/cpuinfo")
    lines = cpu_info.read_text().splitlines() if cpu_info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "load_average_before": [round(load, 2) for load in os.getloadavg()],
    }


def versions() -> dict[str, str | None]:
    return {"python": platform.python_version()} | {name: _version(name) for name in PACKAGES}


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


@contextmanager
def threads(number: int):
    """torch's threads for a while; a loader's workers are processes of their own."""
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def by_turns(
    cases: dict[str, Callable[[], Any]], rounds: int, warm_ups: int = 1
) -> dict[str, list[float]]:
    """Seconds of each case in each round.

    One after the other within a round, each round beginning with another, so that whatever else the
    machine does falls on all alike.
    """
    names = list(cases)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for turn in range(-warm_ups, rounds):
        first = turn % len(names)
        for name in names[first:] + names[:first]:
            began = time.perf_counter()
            cases[name]()
            if turn >= 0:
                seconds[name].append(time.perf_counter() - began)
    return seconds


def summary(values: Sequence[float], digits: int = 4) -> dict[str, float]:
    """Median and spread, to `digits` significant digits."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    found = {"median": middle, "quartile_1": low, "quartile_3": high, "fastest": min(values)}
    return {name: float(f"{value:.{digits}g}") for name, value in found.items()}


def compared(seconds: dict[str, list[float]], ours: str) -> dict[str, Any]:
    """Each case's seconds; and how many times as long as ours each took, round by round."""
    return {
        name: {
            "seconds": summary(values),
            "times_as_long_as_ours": summary(
                [theirs / our for theirs, our in zip(values, seconds[ours], strict=True)], 3
            ),
        }
        for name, values in seconds.items()
    }


def check(vectors: Tensor, reference: Tensor, half: bool = False) -> dict[str, Any]:
    """How far unit vectors are from open_clip's in float32."""
    error = (vectors - reference).norm(dim=1).max().item()  # relative: the reference has length 1
    cosine = (vectors * reference).sum(dim=1).min().item()
    return {
        "largest_relative_error": float(f"{error:.2g}"),
        "smallest_cosine": round(cosine, 6),
        "same": cosine >= SAME_COSINE if half else error < SAME,
    }
