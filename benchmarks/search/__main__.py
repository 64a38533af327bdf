"""Search beside its peers: 10,000 and 100,000 vectors; and a folder of 10,000 JPEGs, indexed.

    python -m benchmarks.search                       # both: about 15 minutes on two cores
    python -m benchmarks.search --parts vectors       # a part of it; the other's result stays
    python -m benchmarks.search --rounds 3 --pictures 300 --out trial.json

Writes benchmarks/results/search.json: medians and quartiles of interleaved runs, recall against
the exact answer in float64, and what a folder takes to index and to keep up to date.
"""

import argparse
import json
from pathlib import Path

from benchmarks.inference.measure import machine, threads, versions
from benchmarks.search.folder import folder_part
from benchmarks.search.vectors import vectors_part
from benchmarks.training.__main__ import merge

RESULT = Path(__file__).parent.parent / "results/search.json"


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search")
    parser.add_argument("--parts", nargs="+", choices=("vectors", "folder"))
    parser.add_argument("--rounds", type=int, default=31, help="searches, 2 or more (default: 31)")
    parser.add_argument("--sizes", nargs="+", type=int, default=[10_000, 100_000], help="vectors")
    parser.add_argument("--pictures", type=int, default=10_000, help="in the folder")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULT, help="where the other's result stays")
    options = parser.parse_args()
    if options.rounds < 2 or options.pictures < 50:
        parser.error("2 rounds and 50 pictures at least")
    parts = {
        "vectors": lambda: vectors_part(options.rounds, options.sizes),
        "folder": lambda: folder_part(options.pictures),
    }
    for name in options.parts or parts:
        print(f"{name} …", flush=True)
        around = {"threads": options.threads, "machine": machine()}
        with threads(options.threads):
            record = parts[name]()
        command = f"python -m benchmarks.search --parts {name} --threads {options.threads}"
        command += {
            "vectors": f" --rounds {options.rounds} --sizes {' '.join(map(str, options.sizes))}",
            "folder": f" --pictures {options.pictures}",
        }[name]
        print(json.dumps(record, indent=1), flush=True)
        merge(options.out, name, around | {"command": command, "versions": versions()}, record)


if __name__ == "__main__":
    main()
