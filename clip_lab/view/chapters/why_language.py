"""Figures of chapter 1: drawings, shares and their intervals, label order, published claims."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from clip_lab.view.figures import BLUE, GREY, INK, SERIES, VERMILION, in_style
from clip_lab.view.notebook_figures import MARK, contact_sheet, new_figure, show

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["by_artist", "contact_sheet", "label_order", "learning", "shares", "shift", "show"]


@in_style
def by_artist(drawings: Mapping[str, Sequence[np.ndarray]], names: Sequence[str]) -> "Figure":
    """A row an artist, a column a thing; pictures are (height, width, 3) arrays."""
    figure = new_figure(7.6, 1.15 * len(drawings) + 0.3)
    grid = figure.subplots(len(drawings), len(names), squeeze=False)
    for axes, (artist, pictures) in zip(grid, drawings.items(), strict=True):
        for axis, picture in zip(axes, pictures, strict=True):
            axis.imshow(picture)
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
        axes[0].set_ylabel(artist, rotation=0, ha="right", va="center")
    for axis, name in zip(grid[0], names, strict=True):
        axis.set_title(name, fontsize=9, fontweight="normal")
    figure.set_label(
        f"A grid of emoji. Columns: {', '.join(names)}. Rows, one an artist: {', '.join(drawings)}."
    )
    return figure


@in_style
def shares(
    rows: Mapping[str, tuple[int, int]],
    interval: Callable[[float, int], tuple[float, float]],
    *,
    chance: float,
    predicted: float | None = None,
    title: str = "",
) -> "Figure":
    """Bars of right answers, as (right, n), with 95 % intervals and the line of chance.

    `interval` gives the ends of a share of n, as `evaluation.accuracy.wilson` does.
    `predicted`: the learner's guess in per cent, drawn as a line.
    """
    figure = new_figure(7.6, 0.52 * len(rows) + 1.1)
    axis = figure.subplots()
    words = []
    for place, (name, (right, n)) in enumerate(rows.items()):
        low, high = interval(right / n, n)
        share = 100 * right / n
        axis.barh(place, share, 0.62, color=SERIES[place % len(SERIES)], alpha=0.85)
        reach = [[share - 100 * low], [100 * high - share]]
        axis.errorbar(share, place, xerr=reach, color=INK, capsize=4, linewidth=1.4)
        told = f"{share:.1f} %  ({100 * low:.1f} to {100 * high:.1f}, n = {n})"
        axis.annotate(told, (100 * high, place), (6, 0), textcoords="offset points", va="center",
                      fontsize=9)  # fmt: skip
        words.append(f"{name}: {share:.1f} % of {n}, {100 * low:.1f} to {100 * high:.1f}")
    axis.axvline(100 * chance, color=INK, linestyle=":", linewidth=1.2, label="chance")
    if predicted is not None:
        axis.axvline(predicted, color=MARK, linestyle="--", linewidth=2, label="predicted")
    axis.set_yticks(range(len(rows)), list(rows))
    axis.set(xlabel="right at the first guess (%)", xlim=(0, 148), ylim=(len(rows) - 0.5, -0.5))
    axis.set_xticks(range(0, 101, 20))
    axis.spines["bottom"].set_bounds(0, 100)
    axis.set_title(title, loc="left")
    axis.legend(loc="upper left", bbox_to_anchor=(0.8, -0.06), fontsize=9, ncols=1)
    figure.set_label(
        f"Bars with 95 % intervals. {title}. {'; '.join(words)}; chance {100 * chance:.1f} %."
    )
    return figure


@in_style
def label_order(
    counts: Sequence[int], in_order: Sequence[float], as_text: Sequence[float]
) -> "Figure":
    """Accuracy against the number of classes: numbers sorted as numbers, and as text."""
    figure = new_figure(7.6, 3.0)
    axis = figure.subplots()
    axis.semilogx(counts, 100 * np.asarray(in_order), "-o", color=BLUE, ms=4,
                  label="folders 0, 1, 2, …")  # fmt: skip
    axis.semilogx(counts, 100 * np.asarray(as_text), "--s", color=VERMILION, ms=4,
                  label="folders sorted as text: 0, 1, 10, …")  # fmt: skip
    axis.semilogx(counts, 100 / np.asarray(counts), ":", color=GREY, label="chance")
    axis.set_xticks(list(counts), [str(count) for count in counts])
    axis.minorticks_off()
    axis.set(xlabel="classes (logarithmic)", ylabel="right (%)", ylim=(0, 105))
    axis.grid(axis="y")
    axis.legend(fontsize=9, loc="center right")
    figure.set_label(
        "Two curves, equal up to 10 classes. "
        + "; ".join(
            f"{count} classes: {right:.0%} in order, {mixed:.0%} sorted as text"
            for count, right, mixed in zip(counts, in_order, as_text, strict=True)
        )
        + "."
    )
    return figure


@in_style
def learning(pairs: Sequence[float], curves: Mapping[str, ArrayLike], classes: int) -> "Figure":
    """Accuracy against pairs seen; each curve is (seeds, looks): the mean, and each seed thinly."""
    figure = new_figure(7.6, 3.2)
    axis = figure.subplots()
    words = []
    for series, (name, values) in enumerate(curves.items()):
        runs = 100 * np.atleast_2d(np.asarray(values, dtype=float))
        colour, line = SERIES[series], ("-", "--", "-.")[series % 3]
        axis.semilogx(pairs, runs.mean(0), line, color=colour, linewidth=2.2, label=name)
        axis.semilogx(pairs, runs.T, line, color=colour, linewidth=0.7, alpha=0.45)
        words.append(f"{name} ends at {runs.mean(0)[-1]:.1f} %")
    _chance_line(axis, 100 / classes, f"chance, 1/{classes}")
    ticks = [pairs[0] * 2**k for k in range(5) if pairs[0] * 2**k <= pairs[-1]]
    axis.set_xticks(ticks, [f"{tick:,.0f}" for tick in ticks])
    axis.minorticks_off()
    axis.set(xlabel="pairs seen (logarithmic)", ylabel="right (%)", ylim=(0, 100))
    axis.grid(axis="y")
    axis.legend(fontsize=9, loc="upper left")
    figure.set_label(
        f"Rising curves, thick: means, thin: single seeds. {'; '.join(words)}; chance "
        f"{100 / classes:.1f} %."
    )
    return figure


def _chance_line(axis: "Axes", level: float, text: str) -> None:
    axis.axhline(level, color=GREY, linestyle=":", linewidth=1.2)
    axis.annotate(text, (1, level), (-2, 4), xycoords=("axes fraction", "data"),
                  textcoords="offset points", ha="right", fontsize=9)  # fmt: skip


@in_style
def shift(models: Mapping[str, ArrayLike], names: tuple[str, str], chance: float) -> "Figure":
    """For each model two means joined by a line: `names[0]` (filled) and `names[1]` (hollow).

    Values are two rows of seeds, shares of one.
    """
    figure = new_figure(7.6, 0.55 * len(models) + 1.3)
    axis = figure.subplots()
    words = []
    for place, (name, values) in enumerate(models.items()):
        known, new = 100 * np.asarray(values, dtype=float).mean(1)
        axis.plot([known, new], [place, place], color=GREY, linewidth=3, zorder=1)
        for value, face, which in ((known, BLUE, 0), (new, "white", 1)):
            axis.plot(value, place, "os"[which], color=BLUE, markerfacecolor=face, ms=10,
                      markeredgewidth=2, linestyle="none",
                      label=names[which] if place == 0 else None)  # fmt: skip
            axis.annotate(f"{value:.0f}", (value, place), (0, 10), textcoords="offset points",
                          ha="center", fontsize=9)  # fmt: skip
        words.append(f"{name}: {known:.0f} % on {names[0]}, {new:.0f} % on {names[1]}")
    axis.axvline(100 * chance, color=INK, linestyle=":", linewidth=1.2, label="chance")
    axis.set_yticks(range(len(models)), list(models))
    axis.set(xlabel="right (%)", xlim=(0, 100), ylim=(len(models) - 0.5, -0.7))
    axis.legend(fontsize=9, loc="center left", bbox_to_anchor=(0.05, 0.5))
    figure.set_label(f"Two marks a model. {'; '.join(words)}; chance {100 * chance:.0f} %.")
    return figure
