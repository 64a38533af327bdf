"""Write the README's table of built-in models from their cards; --check only compares.

python scripts/readme_models.py [--check]
"""

import argparse
import re
import sys
from pathlib import Path
from typing import Any

import clip_lab

README = Path(__file__).parents[1] / "README.md"
PART = re.compile(r"(<!-- models -->\n).*?(<!-- /models -->)", re.DOTALL)


def row(what: str, figure: dict[str, Any]) -> str:
    """One line: the measure, its classes, top-1 with its interval, top-5, chance."""
    low, high = figure["top1_interval_95"]
    return (
        f"| {what} | {figure['classes']:,} | **{figure['top1']:.1%}** ({low:.1%} to {high:.1%}) "
        f"| {figure['top5']:.1%} | {figure['chance']:.2%} |"
    )


def table() -> str:
    """Every figure as it stands in the cards."""
    emoji, shapes = (clip_lab.load(name, "cpu").card for name in ("emoji", "shapes"))
    english, chinese = emoji["figures"]["en"], emoji["figures"]["zh"]
    lines = [
        "| `emoji`, zero-shot | classes | top-1 (95 % interval) | top-5 | chance |",
        "|---|---|---|---|---|",
        row("an artist never seen (OpenMoji), English", english["style_never_seen"]),
        row("the same, Chinese", chinese["style_never_seen"]),
        row("things never seen, by bare name, English", english["concepts_never_seen"]),
        row("the same, Chinese", chinese["concepts_never_seen"]),
        row(
            "things never seen, by name and keywords, English",
            english["concepts_never_seen_described"],
        ),
        row("drawings it was trained on (Noto), English", english["trained_style"]),
        "",
        "| `shapes`, retrieval | captions | top-1 (95 % interval) | top-5 | chance |",
        "|---|---|---|---|---|",
        row(
            "combinations never drawn, among each other", shapes["figures"]["held_out_combinations"]
        ),
        row(
            "combinations never drawn, among all",
            shapes["figures"]["held_out_among_all_combinations"],
        ),
        "",
        f"Trained by `{emoji['command']}` ({emoji['minutes']:.0f} minutes, {emoji['machine']}) and "
        f"`{shapes['command']}` ({shapes['minutes']:.0f} minutes, {shapes['machine']}); one seed "
        "each, the interval is over pictures. Measured by `scripts/publish_model.py`; cards and "
        "curves: `clip_lab/pretrained/weights/*/card.json`.",
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true", help="fail if the table is not level")
    options = parser.parse_args()
    text = README.read_text(encoding="utf-8")
    new = PART.sub(lambda match: match[1] + table() + match[2], text)
    if options.check:
        return int(new != text)
    README.write_text(new, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
