"""The figures that the dashboard must hold, measured: in a real browser, over HTTP, by memory.

    python -m benchmarks.dashboard                     # every part: about half an hour, two cores
    python -m benchmarks.dashboard classify memory     # some of them; the others' results stay
    python -m benchmarks.dashboard load --quick        # a trial in small, not written

Writes benchmarks/results/dashboard.json. Needs the extras apps, maps, search and dev, and Chromium.
"""

import argparse
import json
from collections.abc import Callable
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

from benchmarks.dashboard.figures import Record
from benchmarks.dashboard.folder import folder_part
from benchmarks.dashboard.load import load_part, memory_part
from benchmarks.dashboard.page import classify_part, start_part, temperature_part
from benchmarks.dashboard.rooms import map_part, search_part
from benchmarks.inference.measure import machine
from benchmarks.training.__main__ import merge

RESULT = Path(__file__).parent.parent / "results/dashboard.json"
PACKAGES = ("torch", "gradio", "numpy", "plotly", "playwright", "httpx", "usearch", "pillow")
PARTS: dict[str, Callable[[bool], Record]] = {
    "start": start_part,
    "classify": classify_part,
    "temperature": temperature_part,
    "search": search_part,
    "map": map_part,
    "load": load_part,
    "memory": memory_part,
    "folder": folder_part,
}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dashboard")
    parser.add_argument("parts", nargs="*", metavar="PART", help=", ".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="in small: a trial, not written")
    parser.add_argument("--out", type=Path, help="where other parts' results stay")
    options = parser.parse_args()
    if unknown := set(options.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}")
    out = options.out or (None if options.quick else RESULT)
    for name in options.parts or PARTS:
        print(f"{name} …", flush=True)
        around = about(name, options.quick)
        record = PARTS[name](options.quick)
        print(json.dumps({k: v for k, v in record.items() if k != "curve"}, indent=1), flush=True)
        if out:
            merge(out, name, around, record)


def about(name: str, quick: bool) -> Record:
    """What the figures depend on; noted before the part, as it makes the machine busy itself."""
    versions = {package: metadata.version(package) for package in PACKAGES}
    return {
        "command": f"python -m benchmarks.dashboard {name}" + " --quick" * quick,
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "machine": machine(),
        "versions": versions,
    }


if __name__ == "__main__":
    main()
