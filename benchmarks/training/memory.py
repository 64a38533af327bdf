"""Peak memory of one thing, measured in a process where nothing else has happened."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import torch

STATUS, CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def in_fresh_process(measure: Callable[..., int], *arguments: Any) -> int:
    """measure(number of threads, ...) in a new interpreter, with as many threads as there are."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context) as pool:
        return pool.submit(measure, torch.get_num_threads(), *arguments).result()


def peak_extra(run: Callable[[], Any], device: str = "cpu") -> int:
    """How many bytes more than before are held at the worst moment of run().

    On Linux the system's own high-water mark, set back before: getrusage's ru_maxrss is no use in
    a new process, since that inherits its parent's.
    """
    if device.startswith("cuda"):
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        run()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before
    CLEAR.write_text("5")  # the peak is what is resident now
    before = _status("VmRSS")
    run()
    return _status("VmHWM") - before


def available(device: str = "cpu") -> int:
    """Bytes that may still be had."""
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
        return torch.cuda.mem_get_info()[0]
    return _field(Path("/proc/meminfo"), "MemAvailable")


def _status(name: str) -> int:
    return _field(STATUS, name)


def _field(path: Path, name: str) -> int:
    lines = path.read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{name}:"))
