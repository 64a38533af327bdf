"""How fast the shapes world draws: pictures per second, with their captions.

    python benchmarks/shapes_speed.py

Writes benchmarks/results/shapes_speed.json. The cases are run by turns, several rounds of them, so
that whatever else the machine does falls on all alike; a case's figure is its median round. Beside
the wall clock's figure stands that of the processor's own time, which other load hardly touches:
what one core makes in a second that it has to itself.

Each process draws with one torch thread: for tensors this small a second thread waits more than it
works, above all on a busy machine. Two cores are used by two processes, as a loader's workers.
"""

import json
import os
import platform
import statistics
import time
from functools import partial
from multiprocessing import get_context
from multiprocessing.pool import Pool
from pathlib import Path

import torch

from clip_lab.data.shapes import ShapesPairs

BATCH, ROUNDS, BATCHES_A_ROUND = 256, 15, 4
RESULT = Path(__file__).parent / "results" / "shapes_speed.json"


def machine() -> dict[str, object]:
    """What the figures depend on besides the code."""
    cpu_info = Path("/proc/cpuinfo")
    lines = cpu_info.read_text().splitlines() if cpu_info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "load_average_before": [round(load, 2) for load in os.getloadavg()],
    }


def draw_batches(size: int, steps: range) -> float:
    """Make the batches of these steps; returns the processor time it took, in seconds."""
    torch.set_num_threads(1)
    pairs = ShapesPairs(batch_size=BATCH, size=size)
    start = time.process_time()
    for step in steps:
        pairs.batch(step)
    return time.process_time() - start


def one_round(pool: Pool, size: int, processes: int) -> tuple[float, float]:
    """Pictures per second by the wall clock, and per second of processor time."""
    shares = [range(first, BATCHES_A_ROUND, processes) for first in range(processes)]
    work = partial(draw_batches, size)
    start = time.perf_counter()
    used = pool.map(work, shares, chunksize=1) if processes > 1 else [work(shares[0])]
    seconds = time.perf_counter() - start
    return BATCH * BATCHES_A_ROUND / seconds, BATCH * BATCHES_A_ROUND / sum(used)


def measure() -> dict[str, dict[str, int]]:
    """All cases, by turns."""
    cases = {
        f"{size} px, {processes} process{'es' if processes > 1 else ''}": (size, processes)
        for size in (64, 32)
        for processes in (1, 2)
    }
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in cases}
    with get_context("spawn").Pool(2) as pool:
        for turn in range(ROUNDS + 1):
            for name, (size, processes) in cases.items():
                rate = one_round(pool, size, processes)
                if turn:  # the first round only warms up
                    rates[name].append(rate)
    return {name: _summary(*zip(*found, strict=True)) for name, found in rates.items()}


def _summary(wall: tuple[float, ...], processor: tuple[float, ...]) -> dict[str, int]:
    return {
        "median": round(statistics.median(wall)),
        "slowest": round(min(wall)),
        "fastest": round(max(wall)),
        "median_per_processor_second": round(statistics.median(processor)),
    }


def main() -> None:
    result = {
        "command": "python benchmarks/shapes_speed.py",
        "machine": machine(),
        "batch": BATCH,
        "rounds": ROUNDS,
        "unit": "pictures per second",
        "cases": measure(),
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(RESULT.read_text())


if __name__ == "__main__":
    main()
