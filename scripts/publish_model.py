"""Measure a trained run and put it into the package as a built-in model, with its card.

    clip-lab train --data emoji --steps 5000 --out runs/emoji
    python scripts/publish_model.py runs/emoji emoji --command "clip-lab train --data emoji …"

The weights are stored in 8 bits; the card's figures are measured on what is stored.
"""

import argparse
import json
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from clip_lab.dual_encoder import DualEncoder
from clip_lab.evaluation import emoji, photos, shapes
from clip_lab.files import write_whole
from clip_lab.pretrained import WEIGHTS, load, save
from clip_lab.pretrained.narrow import narrow
from clip_lab.training.log import LOG_FILE, read_log
from clip_lab.training.recipes import recipe

LICENCES = {
    "emoji": "MIT, as the lab; the pictures it was trained on: see NOTICE",
    "shapes": "MIT, as the lab",
    "shapes-vit": "MIT, as the lab",
    "photos": (
        "for research and teaching, as the photographs that it was trained on; none of them comes "
        "with the lab: see NOTICE"
    ),
}


def curve(run: Path) -> list[dict]:
    """The run's measurements, and some forty of its losses."""
    lines = read_log(run / LOG_FILE)
    losses = [line for line in lines if "loss" in line]
    kept = ("step", "seconds", "loss", "scale", "learning_rate")
    thinned = losses[:: max(1, len(losses) // 40)]
    losses = [{name: round(line[name], 5) for name in kept if name in line} for line in thinned]
    measured = [line for line in lines if "loss" not in line]
    return sorted(losses + measured, key=lambda line: line["step"])


def publish_steps(run: Path, name: str) -> None:
    """The models that the run kept on its way, for lessons that replay it: `load("NAME@STEP")`."""
    for folder in sorted((run / "kept").glob("step-*")):
        tensors = narrow(load(folder, "cpu").model.state_dict(), bits=8)
        step = int(folder.name.removeprefix("step-"))
        path = WEIGHTS / name / "steps" / f"{step}.safetensors"
        write_whole(path, lambda temporary, tensors=tensors: save_file(tensors, temporary))


def figures(options: argparse.Namespace) -> Callable[[DualEncoder], dict[str, Any]]:
    """What the card of each model reports."""
    data = recipe(options.name).data
    if data != "photos":
        return {"emoji": emoji, "shapes": shapes}[data].figures
    return lambda encoder: photos.figures(encoder, options.pictures, options.cifar10)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("run", type=Path, help="the folder that clip-lab train wrote")
    parser.add_argument("name", choices=sorted(LICENCES))
    parser.add_argument(
        "--command", required=True, help="the command that trained it, for the card"
    )
    parser.add_argument(
        "--machine", default=f"{platform.machine()}, {torch.get_num_threads()} threads"
    )
    parser.add_argument("--pictures", type=Path, help="Tiny ImageNet's tars, for photos")
    parser.add_argument("--cifar10", type=Path, help="wds_cifar10, for photos")
    options = parser.parse_args()
    encoder = load(options.run, "cpu")
    steps = curve(options.run)
    save(encoder, WEIGHTS / options.name, bits=8)
    publish_steps(options.run, options.name)
    stored = load(WEIGHTS / options.name, "cpu")
    stored.card = {"name": options.name, **encoder.card}
    stored.card |= {
        "trained_on": recipe(options.name).trained_on,
        "does_not_know": recipe(options.name).unknown,
        "command": options.command,
        "licence": LICENCES[options.name],
        "steps": steps[-1]["step"],
        "minutes": round(steps[-1]["seconds"] / 60, 1),
        "machine": options.machine,
        "torch": torch.__version__,
        "measured_by": f"python scripts/publish_model.py RUN {options.name}",
        "figures": figures(options)(stored),
        "curve": steps,
    }
    save(stored, WEIGHTS / options.name, bits=8)
    print(json.dumps(stored.card["figures"], indent=2))


if __name__ == "__main__":
    main()
