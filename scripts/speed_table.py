"""Write the table of speeds into README and book from benchmarks/results/inference.json.

python scripts/speed_table.py [--check]
"""

import json
import sys
from pathlib import Path
from typing import Any

import level

ROOT = Path(__file__).parents[1]
PLACES = (ROOT / "README.md", ROOT / "book/real_clip.md")
RESULT = ROOT / "benchmarks/results/inference.json"
NAMES = ("clip_lab", "openai/CLIP", "open_clip", "transformers")


def row(what: str, cases: dict[str, Any], unit: float = 1000) -> str:
    """Medians, in milliseconds unless `unit` says otherwise, and how many times ours takes less."""
    cells = []
    for name in NAMES:
        case = cases.get(name)
        if case is None:
            cells.append("–")
            continue
        times = case["times_as_long_as_ours"]["median"]
        ratio = "" if name == "clip_lab" else f" ({times:.3g} ×)"
        value = case["seconds"]["median"] * unit
        cells.append((f"{value:,.0f}" if value >= 100 else f"{value:.3g}") + ratio)
    return f"| {what} | {' | '.join(cells)} |"


def table() -> str:
    """Every figure as it stands in the result file."""
    result = json.loads(RESULT.read_text())
    found = {
        name: part["result"]
        for name, part in result.items()
        if isinstance(part, dict) and "result" in part
    }
    first = result["images_1"]
    lines = [
        "| ViT-B/32, milliseconds | clip_lab | openai/CLIP | open_clip | transformers |",
        "|---|---|---|---|---|",
        row("64 prompts of 5 to 15 tokens", found["texts_5_to_15_tokens"]["from_strings"]),
        row("64 prompts of 5 to 60 tokens", found["texts_5_to_60_tokens"]["from_strings"]),
        row("ImageNet's classifier, 80,000 prompts, in minutes",
            found["imagenet_classifier"]["extrapolated"], 1 / 60),
        row("one picture", found["images_1"]),
        row("16 pictures", found["images_16"]),
        row("16 pictures, bfloat16", found["images_16_bfloat16"]),
        row("a folder of 128 JPEG files", found["folder"]),
        "",
        f"Medians of interleaved runs, {first['threads']} threads of an "
        f"{first['machine']['cpu']} ({first['machine']['cores']} cores), float32 but where it says "
        "so, the same random weights in all four; in brackets, how many times as long as ours. The "
        "classifier is extrapolated from a part. "
        f"`{result['command']}`, `benchmarks/results/inference.json`.",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def main() -> int:
    options = level.parser(__doc__).parse_args()
    return level.keep(
        {page: level.with_part(page, "speed", table()) for page in PLACES}, options.check
    )


if __name__ == "__main__":
    sys.exit(main())
