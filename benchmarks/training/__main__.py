"""Training beside open_clip's: the loss alone, a whole step on a CPU, a whole step on a GPU.

    python -m benchmarks.training                          # everything that this machine can do
    python -m benchmarks.training --parts gpu              # a part of it; the others' results stay
    python -m benchmarks.training --rounds 2 --out t.json  # a trial

Writes benchmarks/results/training.json: medians and quartiles of interleaved runs, how many times
as long as ours each took, peak memory in a process of its own, and errors against float64.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.inference.measure import machine, threads, versions
from benchmarks.training.gpu import gpu_part
from benchmarks.training.loss import loss_part
from benchmarks.training.step import step_part
from clip_lab.files import write_text

RESULT = Path(__file__).parent.parent / "results/training.json"
PARTS: dict[str, Callable[[int], Any]] = {"loss": loss_part, "step": step_part, "gpu": gpu_part}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.training")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--rounds", type=int, default=7, help="2 or more (default: 7)")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULT, help="where other parts' results stay")
    options = parser.parse_args()
    if options.rounds < 2:
        parser.error("quartiles need 2 rounds at least")
    for name in options.parts:
        if name == "gpu" and not torch.cuda.is_available():
            print("gpu: there is no GPU here; its last result, if any, stays.")
            continue
        print(f"{name} …", flush=True)
        around = {"threads": options.threads, "rounds": options.rounds, "machine": machine()}
        with threads(options.threads):
            record = PARTS[name](options.rounds)
        command = f"python -m benchmarks.training --parts {name} --rounds {options.rounds}"
        print(json.dumps(record, indent=1), flush=True)
        merge(options.out, name, around | {"command": command, "versions": versions()}, record)


def merge(path: Path, name: str, around: dict[str, Any], record: Any) -> None:
    """One part's result beside the others', which may come from another machine."""
    result = json.loads(path.read_text()) if path.exists() else {}
    result[name] = {"result": record} | around
    write_text(path, json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
