"""`clip-lab models`: every model that has a name, what is known of it, and whether it is here."""

import argparse
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

from clip_lab.errors import LabError

BUFFERS = ("running_mean", "running_var", "num_batches_tracked")  # of BatchNorm: no parameters
FOOTER = """\
Load one by its name: clip_lab.load(NAME), or --model NAME. A folder, a file of weights, and any
other id on the Hugging Face hub load as well."""


def add_models(commands: Any) -> None:
    """Add the command to argparse's subparsers."""
    summary = "list the models that have a name"
    command = commands.add_parser("models", help=summary, description=f"{summary.capitalize()}.")
    command.add_argument("filter", nargs="?", default="", help="a part of the name, as in: siglip")
    command.add_argument("--json", action="store_true", help="print everything known, as JSON")
    command.set_defaults(run=run_models)


def run_models(options: argparse.Namespace) -> None:
    """Print the table, the built-in models first. Needs no network."""
    from clip_lab.pretrained.registry import suggestions

    models = [m for m in _models() if options.filter.casefold() in m["name"].casefold()]
    if not models:
        raise LabError(
            f"No model's name contains “{options.filter}”. {suggestions(options.filter)}"
            "“clip-lab models” alone lists them all."
        )
    print(json.dumps(models, indent=2, ensure_ascii=False) if options.json else _table(models))


def _models() -> list[dict[str, Any]]:
    """One flat record a model, as --json gives them."""
    from clip_lab.pretrained import WEIGHTS, names
    from clip_lab.pretrained.hub import in_cache
    from clip_lab.pretrained.registry import rows, sources

    published = [
        asdict(row)
        | {
            "source": sources().get(row.source or ""),
            "built_in": False,
            "cached": in_cache(row.repo),
        }
        for row in rows()
    ]
    return [_built_in(WEIGHTS / name) for name in names()] + published


def _built_in(folder: Path) -> dict[str, Any]:
    """The same record for a model of the lab's own, from its files."""
    from safetensors import safe_open

    from clip_lab.pretrained.narrow import SCALE

    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    card = json.loads((folder / "card.json").read_text(encoding="utf-8"))
    with safe_open(folder / "model.safetensors", "pt") as tensors:
        names = [name for name in tensors.offset_keys() if not name.endswith((*BUFFERS, SCALE))]
        parameters = sum(math.prod(tensors.get_slice(name).get_shape()) for name in names)
    return {
        "name": folder.name,
        "repo": None,
        "parameters": round(parameters / 1e6, 2),
        "embed_dim": config["model"]["embed_dim"],
        "resolution": config["preprocess"]["size"],
        "imagenet": None,
        "source": None,
        "licence": card["licence"].partition(",")[0],
        "trained_on": card["trained_on"],
        "built_in": True,
        "cached": True,
    }


def _table(models: list[dict[str, Any]]) -> str:
    marks = {source: chr(ord("a") + i) for i, source in enumerate(_sources_of(models))}
    lines = [f"{'name':26} {'M weights':>9}  {'pixels':>6}  {'ImageNet':>10}  {'licence':12} here"]
    for model in models:
        accuracy = "–" if model["imagenet"] is None else f"{model['imagenet']:.1f} %"
        place = "built in" if model["built_in"] else "in the cache" if model["cached"] else ""
        mark = marks.get(model["source"], " ")
        lines.append(
            f"{model['name']:26} {model['parameters']:9.1f}  {model['resolution']:6}  "
            f"{accuracy:>8} {mark}  {model['licence'] or 'not known':12} {place}".rstrip()
        )
    if marks:
        lines += ["", "ImageNet: zero-shot top-1 accuracy as published, not measured here. From:"]
        lines += [f"  {mark}  {source}" for source, mark in marks.items()]
    return "\n".join([*lines, "", FOOTER])


def _sources_of(models: list[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(model["source"] for model in models if model["source"]))
