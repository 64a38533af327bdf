"""Measure a trained run and put it into the package as a built-in model, with its card.

    clip-lab train --data emoji --steps 4000 --out runs/emoji
    python scripts/publish_model.py runs/emoji emoji --command "clip-lab train --data emoji …"

The weights are stored in half precision; the card's figures are measured on what is stored.
"""

import argparse
import json
import platform
from pathlib import Path

import torch

from clip_lab.evaluation import TESTS
from clip_lab.pretrained import WEIGHTS, load, save

LICENCES = {
    "emoji": "MIT, as the lab; the pictures it was trained on: see NOTICE",
    "shapes": "MIT, as the lab",
}


def curve(log: Path) -> list[dict]:
    """The run's measurements, and of its loss every tenth line."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    losses = [line for line in lines if "loss" in line]
    return sorted(
        losses[9::10] + [line for line in lines if "loss" not in line],
        key=lambda line: line["step"],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path, help="the folder that clip-lab train wrote")
    parser.add_argument("name", choices=sorted(TESTS))
    parser.add_argument(
        "--command", required=True, help="the command that trained it, for the card"
    )
    parser.add_argument(
        "--machine", default=f"{platform.machine()}, {torch.get_num_threads()} threads"
    )
    options = parser.parse_args()
    encoder = load(options.run, "cpu")
    last = curve(options.run / "log.jsonl")[-1]
    save(encoder, WEIGHTS / options.name, half=True)
    stored = load(WEIGHTS / options.name, "cpu")
    stored.card |= {
        "name": options.name,
        "command": options.command,
        "licence": LICENCES[options.name],
        "steps": last["step"],
        "minutes": round(last["seconds"] / 60, 1),
        "machine": options.machine,
        "torch": torch.__version__,
        "measured_by": f"python scripts/publish_model.py RUN {options.name}",
        "figures": TESTS[options.name].figures(stored),
        "curve": curve(options.run / "log.jsonl"),
    }
    save(stored, WEIGHTS / options.name, half=True)
    print(json.dumps(stored.card["figures"], indent=2))


if __name__ == "__main__":
    main()
