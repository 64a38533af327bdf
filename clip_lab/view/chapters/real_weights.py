"""Figures of chapter 17: where the weights lie, how a difference grows, what a mistake costs."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from clip_lab.view.figures import BLUE, GREY, INK, ORANGE, VERMILION, in_style
from clip_lab.view.notebook_figures import contact_sheet, new_figure, show

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["contact_sheet", "costs", "growth", "parts", "show"]

LOOKS = [(BLUE, "-", "o"), (ORANGE, "--", "s"), (VERMILION, ":", "^")]


@in_style
def parts(sizes: Mapping[str, tuple[int, int]]) -> "Figure":
    """The bytes of each part of a checkpoint. `sizes`: part to (parameters, bytes)."""
    figure = new_figure(7.6, 0.42 * len(sizes) + 0.9)
    axis = figure.subplots()
    rows = sorted(sizes.items(), key=lambda item: -item[1][1])
    for place, (_, (count, size)) in enumerate(rows):
        axis.barh(place, size / 1e6, color=BLUE if size < 3 * count else ORANGE, height=0.7)
        text = f"{count / 1e6:.1f} million, {size / 1e6:.0f} MB"
        axis.text(size / 1e6 + 2, place, text, va="center", fontsize=9)
    axis.barh(0, 0, color=BLUE, label="mostly float16")
    axis.barh(0, 0, color=ORANGE, label="float32")
    axis.set_yticks(range(len(rows)), [name for name, _ in rows])
    axis.set(xlabel="megabytes in the file", ylim=(len(rows) - 0.4, -0.6),
             xlim=(0, 1.35 * rows[0][1][1] / 1e6))  # fmt: skip
    axis.legend(fontsize=9, loc="lower right")
    told = "; ".join(
        f"{name}: {count / 1e6:.1f} million numbers, {size / 1e6:.0f} MB"
        for name, (count, size) in rows
    )
    total = sum(size for _, size in sizes.values())
    figure.set_label(f"A bar for each part. {told}; together {total / 1e6:.0f} MB.")
    return figure


@in_style
def growth(differences: Mapping[str, Sequence[float]]) -> "Figure":
    """The largest difference after each block, relative to the largest number (log axis)."""
    figure = new_figure(7.6, 3.2)
    axis = figure.subplots()
    words = []
    looks = zip(differences.items(), LOOKS, strict=False)
    for (name, values), (colour, line, mark) in looks:
        seen = np.maximum(np.asarray(values, dtype=float), 1e-9)
        blocks = np.arange(1, len(seen) + 1)
        axis.semilogy(blocks, seen, line, marker=mark, color=colour, ms=5, linewidth=2, label=name)
        words.append(f"{name}: {seen[0]:.1e} after block 1, {seen[-1]:.1e} after the last")
    axis.axhline(1e-5, color=INK, linewidth=1, linestyle=(0, (1, 3)))
    axis.text(1, 1.3e-5, "1e-5", fontsize=9)
    axis.set(xlabel="block of the image tower", ylabel="relative difference (logarithmic)")
    axis.set_xticks(range(1, len(seen) + 1))
    axis.grid(axis="y")
    figure.legend(fontsize=9, loc="outside lower center", ncols=len(words))
    figure.set_label(f"A curve for each way to differ. {'; '.join(words)}.")
    return figure


@in_style
def costs(
    found: Mapping[str, tuple[float, float]],
    intervals: Mapping[str, tuple[float, float]],
    chance: float,
) -> "Figure":
    """For each mistake (the first row is none) the share named rightly, and the mean cosine.

    `found`: mistake to (share, cosine to the vectors as they should be).
    """
    figure = new_figure(7.6, 0.42 * len(found) + 1.0)
    left, right = figure.subplots(1, 2, sharey=True)
    words = []
    for place, (name, (share, cosine)) in enumerate(found.items()):
        colour = BLUE if place == 0 else VERMILION
        left.plot([100 * end for end in intervals[name]], [place, place], color=GREY, linewidth=3,
                  alpha=0.5, solid_capstyle="butt")  # fmt: skip
        for axis, value, text in ((left, 100 * share, f"{share:.1%}"),
                                  (right, cosine, f"{cosine:.4f}")):  # fmt: skip
            axis.plot(value, place, "o" if place == 0 else "s", color=colour, ms=7)
            axis.annotate(text, (value, place), (0, 6), textcoords="offset points", fontsize=8,
                          ha="center")  # fmt: skip
        words.append(f"{name}: {share:.1%} right, cosine {cosine:.4f}")
    left.axvline(100 * chance, color=INK, linestyle=":", linewidth=1)
    left.annotate(f"chance {chance:.2%}", (100 * chance, -0.62), (3, 0), fontsize=8, va="center",
                  textcoords="offset points")  # fmt: skip
    left.set_yticks(range(len(found)), list(found))
    left.set(xlabel="named rightly (%), 95 % interval", xlim=(-4, 65),
             ylim=(len(found) - 0.5, -0.7))  # fmt: skip
    right.set(xlabel="mean cosine to the right vectors", xlim=(0, 1.12))
    for axis in (left, right):
        axis.grid(axis="x")
    figure.set_label(f"A row for each mistake. {'; '.join(words)}; chance {chance:.2%}.")
    return figure
