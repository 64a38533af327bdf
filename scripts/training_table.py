"""Write the tables of training's speed into book/training_speed.md; --check only compares.

python scripts/training_table.py [--check]

Every figure as it stands in benchmarks/results/training.json.
"""

import json
import sys
from pathlib import Path
from typing import Any

import level

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "book/training_speed.md"
RESULT = ROOT / "benchmarks/results/training.json"
MISSING = "not measured yet"
LOSSES = ("naive", "open_clip", "tiled")
NO = "–"


def table(path: Path = RESULT) -> str:
    """All parts; of those that are missing, that they are."""
    result = json.loads(path.read_text()) if path.exists() else {}
    parts = {
        "The loss alone": ("loss", loss_lines),
        "A step on a CPU": ("step", step_lines),
        "A step on a GPU": ("gpu", gpu_lines),
    }
    lines = []
    for title, (name, write) in parts.items():
        lines += [f"### {title}", ""]
        part = result.get(name)
        lines += [*write(part["result"]), "", origin(part)] if part else [f"*{MISSING}*"]
        lines.append("")
    return "\n".join(lines)


def loss_lines(record: dict[str, Any]) -> list[str]:
    """A row for each size: time, memory and error of the three."""
    columns = [f"{what}, {name}" for what in ("seconds", "peak", "error") for name in LOSSES]
    lines = [f"| pairs | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    reasons = []
    for number, size in record["pairs"].items():
        cases = [size["contenders"].get(name) for name in LOSSES]
        cells = [f"{case['seconds']['median']:.3g}" if case else NO for case in cases]
        cells += [memory(case["peak_extra_bytes"]) if case else NO for case in cases]
        cells += [f"{case['gradient_error']:.1g}" if error(case) else NO for case in cases]
        lines.append(f"| {int(number):,} | {' | '.join(cells)} |")
        reasons += [f"{int(number):,}, {k}: {why}." for k, why in size["left_out"].items()]
    return [*lines, "", *(["Left out: " + " ".join(reasons)] if reasons else [])]


def error(case: dict[str, Any] | None) -> bool:
    return case is not None and "gradient_error" in case


def step_lines(record: dict[str, Any]) -> list[str]:
    """A row for each model, batch and precision."""
    lines = [
        "| step | clip_lab | open_clip | open_clip takes | peak, clip_lab | peak, open_clip |",
        "|---|---|---|---|---|---|",
    ]
    for name, run in record.items():
        ours, theirs = (run["contenders"].get(name) for name in ("clip_lab", "open_clip"))
        cells = [speed(ours), speed(theirs) if theirs else NO]
        times = f"{theirs['times_as_long_as_ours']['median']:.3g} × as long" if theirs else NO
        cells += [times, memory(ours["peak_extra_bytes"])]
        cells.append(memory(theirs["peak_extra_bytes"]) if theirs else NO)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return lines


def speed(case: dict[str, Any]) -> str:
    return f"{case['seconds']['median']:.3g} s, {case['pairs_a_second']:,.3g} pairs a second"


def gpu_lines(record: dict[str, Any]) -> list[str]:
    """A row for each batch and way; then the loss."""
    lines = [
        f"ViT-B/32, bfloat16, {record['device']}, {record['gigaflops_a_pair']} GFLOP a pair:",
        "",
        "| batch | how | seconds a step | pairs a second | share of the peak | memory |",
        "|---|---|---|---|---|---|",
    ]
    for number, ways in record["step"].items():
        for way, case in ways.items():
            cells = [case["failed"], NO, NO, NO] if "failed" in case else gpu_cells(case)
            lines.append(f"| {int(number):,} | {way} | {' | '.join(cells)} |")
    return [*lines, "", "The loss there:", "", *loss_lines(record["loss"])]


def gpu_cells(case: dict[str, Any]) -> list[str]:
    share = case.get("share_of_bfloat16_peak")
    return [
        f"{case['seconds']['median']:.3g}",
        f"{case['pairs_a_second']:,.0f}",
        NO if share is None else f"{share:.1%}",
        memory(case["peak_extra_bytes"]),
    ]


def memory(number: int) -> str:
    return f"{number / 1e9:.2f} GB" if number >= 1e9 else f"{number / 1e6:.0f} MB"


def origin(part: dict[str, Any]) -> str:
    """Where the figures come from."""
    machine = part["machine"]
    chip = machine["gpu"] or f"{part['threads']} threads of an {machine['cpu']}"
    return (
        f"Medians of {part['rounds']} interleaved rounds, {chip}, torch "
        f"{part['versions']['torch']}. `{part['command']}`, `benchmarks/results/training.json`."
    )


def main() -> int:
    options = level.parser(__doc__).parse_args()
    return level.keep({PAGE: level.with_part(PAGE, "training", table())}, options.check)


if __name__ == "__main__":
    sys.exit(main())
