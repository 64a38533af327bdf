"""Write the README's table of built-in models from their cards; --check only compares.

python scripts/readme_models.py [--check]
"""

import sys
from pathlib import Path
from typing import Any

import level

import clip_lab

README = Path(__file__).parents[1] / "README.md"


def row(what: str, figure: dict[str, Any]) -> str:
    """One line: the measure, its classes, top-1 with its interval, top-5, chance."""
    low, high = figure["top1_interval_95"]
    classes = figure.get("classes") or round(1 / figure["chance"])
    return (
        f"| {what} | {classes:,} | **{figure['top1']:.1%}** "
        f"({low:.1%} to {high:.1%}) | {figure['top5']:.1%} | {figure['chance']:.2%} |"
    )


def head(what: str, classes: str = "classes") -> list[str]:
    """The first two lines of a table."""
    return [
        f"| {what} | {classes} | top-1 (95 % interval) | top-5 | chance |",
        "|---|---|---|---|---|",
    ]


def of_emoji(figures: dict[str, Any]) -> list[str]:
    english, chinese, every = (figures[name] for name in ("en", "zh", "all_languages"))
    return [
        *head("`emoji`, zero-shot"),
        row("an artist never seen (OpenMoji), English", english["style_never_seen"]),
        row("the same, Chinese", chinese["style_never_seen"]),
        row("things never seen, by bare name, English", english["concepts_never_seen"]),
        row("the same, Chinese", chinese["concepts_never_seen"]),
        row(
            "things never seen, by name and keywords, English",
            english["concepts_never_seen_described"],
        ),
        row("things never seen, by name, all 28 languages at once", every["concepts_never_seen"]),
        row(
            "things never seen, by name and keywords, all 28 languages at once",
            every["concepts_never_seen_described"],
        ),
        row("an artist never seen, all 28 languages at once", every["style_never_seen"]),
        row("drawings it was trained on (Noto), English", english["trained_style"]),
        "",
    ]


def of_shapes(figures: dict[str, Any]) -> list[str]:
    return [
        *head("`shapes`, retrieval", "captions"),
        row("combinations never drawn, among each other", figures["held_out_combinations"]),
        row("combinations never drawn, among all", figures["held_out_among_all_combinations"]),
        "",
    ]


def of_photos(figures: dict[str, Any]) -> list[str]:
    lines = head("`photos`, zero-shot")
    for way, said in (("ensemble", "ensemble of prompts"), ("bare_name", "bare name")):
        of_way = figures[way]
        lines += [
            row(f"new pictures of trained things, {said}", of_way["trained"]),
            row(f"CIFAR-10 by its names, {said}", of_way["cifar10"]),
            row(f"things never trained on, {said}", of_way["never_trained"]),
            row(
                f"things never trained on, {said} with the kind said",
                of_way["never_trained_described"],
            ),
        ]
    return [*lines, ""]


def languages(figures: dict[str, Any]) -> str:
    """Each language's share of English, best first."""
    shares = figures["style_never_seen_by_language"]
    order = sorted(shares, key=lambda language: -shares[language]["top1"])
    listed = ", ".join(f"{name} {shares[name]['top1']:.1%}" for name in order)
    enough = sum(share["of_english"] >= 0.8 for share in shares.values())
    return (
        f"`emoji` by language (an artist never seen, top-1), {enough} of {len(shares)} at 80 % of "
        f"English or better: {listed}.\n"
    )


def table() -> str:
    """Every figure as it stands in the cards."""
    cards = {name: clip_lab.load(name, "cpu").card for name in ("emoji", "photos", "shapes")}
    emoji, photos, shapes = (card["figures"] for card in cards.values())
    trained = "; ".join(
        f"`{card['command']}` ({card['minutes']:.0f} minutes, {card['machine']})"
        for card in cards.values()
    )
    lines = [
        *of_emoji(emoji),
        languages(emoji),
        *of_photos(photos),
        *of_shapes(shapes),
        f"Trained by {trained}; one seed each, the interval is over pictures. Measured by "
        "`scripts/publish_model.py`; cards and curves: `clip_lab/pretrained/weights/*/card.json`.",
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    options = level.parser(__doc__).parse_args()
    return level.keep({README: level.with_part(README, "models", table())}, options.check)


if __name__ == "__main__":
    sys.exit(main())
