"""Ours beside openai/CLIP, open_clip and transformers: the same random ViT-B/32 in all four.

    pip install -c constraints.txt --no-deps openai-clip --no-build-isolation
    python -m benchmarks.inference                     # everything: about 15 minutes on two cores
    python -m benchmarks.inference --parts folder      # a part of it; the others' results stay

Writes benchmarks/results/inference.json: medians and quartiles of interleaved runs, how many times
as long as ours each took, and how far all vectors are from open_clip's.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.inference import parts
from benchmarks.inference.contenders import CONFIG, Ours, contenders
from benchmarks.inference.gpu import gpu
from benchmarks.inference.loading import loading
from benchmarks.inference.measure import machine, threads, versions

RESULT = Path(__file__).parent.parent / "results/inference.json"
SIZE = CONFIG.vision.image_size


def measures(quick: bool) -> dict[str, Callable[[], Any]]:
    """Every part by name; each makes its own record."""
    found, missing = contenders()
    ours = next(c for c in found if isinstance(c, Ours))
    few, some, many = (2, 2, 3) if quick else (5, 9, 21)
    result: dict[str, Callable[[], Any]] = {
        "missing": lambda: missing,
        "texts_5_to_15_tokens": lambda: parts.texts(found, ours, 15, few),
        "texts_5_to_60_tokens": lambda: parts.texts(found, ours, 60, few),
        "imagenet_classifier": lambda: parts.classifier(found, 2 if quick else 3),
        "images_1": lambda: parts.images(found, SIZE, 1, many),
        "images_16": lambda: parts.images(found, SIZE, 16, some),
        "images_32": lambda: parts.images(found, SIZE, 32, few),
        "images_16_bfloat16": lambda: parts.images_bfloat16(found, SIZE, 16, few),
        "folder": lambda: parts.folder(found, 32 if quick else 128, few),
        "loading": lambda: loading(ours, few),
    }
    if torch.cuda.is_available():
        result["gpu"] = gpu
    return result


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.inference")
    parser.add_argument("--parts", nargs="+", help="only these; the others' last results are kept")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--quick", action="store_true", help="few rounds: a trial, not written")
    options = parser.parse_args()
    result = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    for name, measure in measures(options.quick).items():
        if options.parts and name not in options.parts:
            continue
        print(f"{name} …", flush=True)
        before = machine()
        with threads(options.threads):
            record = measure()
        result[name] = {"result": record, "threads": options.threads, "machine": before}
        result |= {"command": "python -m benchmarks.inference", "versions": versions()}
        print(json.dumps(record, indent=1), flush=True)
        if not options.quick:
            RESULT.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
