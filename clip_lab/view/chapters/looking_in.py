"""Figures of chapter 16: maps over pictures, who is pointed at, languages, climbs, deletion."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from clip_lab.view.figures import BLUE, GREY, INK, SERIES, VERMILION, in_style
from clip_lab.view.notebook_figures import MARK, contact_sheet, new_figure, show

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["absent", "contact_sheet", "curves", "overlays", "pointing", "show", "spoken"]

LINES = ("-", "--", ":", "-.")
MARKS = "osD^"


@in_style
def overlays(
    pictures: Sequence[ArrayLike],
    prompts: Sequence[str],
    maps: Mapping[str, Sequence[ArrayLike]],
    outlines: Sequence[ArrayLike] | None = None,
) -> "Figure":
    """A row a picture: itself under its prompt, then each method's map of it, dark low, light high.

    Every map is drawn from its own lowest to its own highest value. `outlines`: true masks.
    """
    figure = new_figure(1.45 * (1 + len(maps)), 1.6 * len(pictures) + 0.2)
    grid = figure.subplots(len(pictures), 1 + len(maps), squeeze=False)
    for row, (axes, picture, prompt) in enumerate(zip(grid, pictures, prompts, strict=True)):
        size = np.asarray(picture).shape[0]
        axes[0].imshow(picture, extent=(0, size, size, 0))
        axes[0].set_title(f"“{prompt}”", fontsize=8.5, fontweight="normal")
        for axis, (method, each) in zip(axes[1:], maps.items(), strict=True):
            axis.imshow(each[row], cmap="viridis", extent=(0, size, size, 0),
                        interpolation="nearest")  # fmt: skip
            if outlines is not None:
                mask = np.asarray(outlines[row], dtype=float)
                places = (np.arange(len(mask)) + 0.5) * size / len(mask)
                axis.contour(places, places, mask, [0.5], colors="white", linewidths=1.4)
            axis.set_title(method if row == 0 else "", fontsize=8.5, fontweight="normal")
        for axis in axes:
            axis.axis("off")
    outlined = "" if outlines is None else " White: the thing's true outline."
    figure.supxlabel(f"Light is high, each map by itself.{outlined}", fontsize=8.5)
    figure.set_label(
        f"Rows: {', '.join(f'“{prompt}”' for prompt in prompts)}. Columns: the picture, "
        f"{', '.join(maps)}. Light is high, each map by itself.{outlined}"
    )
    return figure


@in_style
def pointing(
    hits: Mapping[str, tuple[float, float]], chance: float, predicted: float | None = None
) -> "Figure":
    """For each method, how often the highest point lies on the named thing, and on the other."""
    figure = new_figure(7.6, 0.42 * len(hits) + 1.2)
    axis = figure.subplots()
    words = []
    for place, (name, (named, other)) in enumerate(hits.items()):
        axis.plot([100 * named, 100 * other], [place, place], color=GREY, linewidth=1, zorder=0)
        first = place == 0
        axis.plot(100 * other, place, "s", color=VERMILION, markerfacecolor="white", ms=8,
                  markeredgewidth=2, label="on the other thing" if first else None)  # fmt: skip
        axis.plot(100 * named, place, "o", color=BLUE, ms=9,
                  label="on the named thing" if first else None)  # fmt: skip
        axis.text(104, place, f"{100 * named:.0f} %", va="center", fontsize=9)
        words.append(f"{name}: named {named:.1%}, other {other:.1%}")
    axis.axvline(100 * chance, color=INK, linestyle=":", label=f"chance, {chance:.1%}")
    if predicted is not None:
        axis.plot(predicted, 0, "D", color=MARK, ms=9, label="predicted, first row", zorder=4)
    axis.set_yticks(range(len(hits)), list(hits))
    axis.set(xlabel="highest point lies there (% of pictures)", xlim=(0, 114),
             ylim=(len(hits) - 0.5, -0.5))  # fmt: skip
    axis.set_xticks(range(0, 101, 20))
    axis.legend(fontsize=8.5, loc="lower left", bbox_to_anchor=(0, 1), ncols=4)
    figure.set_label(f"A dot and a square a row. {'; '.join(words)}; chance {chance:.1%}.")
    return figure


@in_style
def absent(peaks: Mapping[str, ArrayLike], unit: str) -> "Figure":
    """Histograms of each group's highest values, one over the other."""
    figure = new_figure(7.6, 2.6)
    axis = figure.subplots()
    every = np.concatenate([np.asarray(values) for values in peaks.values()])
    bins = np.linspace(every.min(), every.max(), 26).tolist()
    words = []
    for series, (name, values) in enumerate(peaks.items()):
        shown, colour = np.asarray(values), SERIES[series]
        if series == 0:
            axis.hist(shown, bins, color=colour, label=name, histtype="step", linewidth=2.2)
        else:
            axis.hist(shown, bins, color=colour, label=name, alpha=0.55)
        words.append(f"{name}: median {np.median(np.asarray(values)):.2f}")
    axis.set(xlabel=unit, ylabel="pictures")
    axis.legend(fontsize=9)
    figure.set_label(f"Two histograms of {unit}. {'; '.join(words)}.")
    return figure


@in_style
def spoken(
    groups: Mapping[str, Mapping[str, float]], chance: float, predicted: float | None = None
) -> "Figure":
    """A dot a language, in groups; how often a picture finds its own word."""
    figure = new_figure(7.6, 3.0)
    axis = figure.subplots()
    start, names, words = 0, [], []
    for series, (group, shares) in enumerate(groups.items()):
        places = np.arange(start, start + len(shares))
        axis.plot(places, [100 * share for share in shares.values()], MARKS[series], ms=8,
                  color=SERIES[series], label=group)  # fmt: skip
        names += list(shares)
        start += len(shares)
        words += [f"{name} {share:.0%}" for name, share in shares.items()]
    if predicted is not None:
        axis.plot(start - 1, predicted, "D", color=MARK, ms=9, label="predicted, last", zorder=4)
    axis.axhline(100 * chance, color=INK, linestyle=":", label=f"chance, {chance:.1%}")
    axis.set_xticks(range(start), names, rotation=90)
    axis.set(ylabel="own word found (%)", ylim=(0, 104), xlabel="language")
    axis.grid(axis="y")
    axis.legend(fontsize=8.5, loc="lower left", bbox_to_anchor=(0, 1), ncols=4)
    figure.set_label(f"A dot a language. {'; '.join(words)}; chance {chance:.1%}.")
    return figure


@in_style
def curves(
    lines: Mapping[str, Sequence[float]],
    across: str,
    up: str,
    level: tuple[str, float] | None,
    every: int = 1,
) -> "Figure":
    """Lines with a value each `every` steps, and a dotted level to compare them with."""
    figure = new_figure(7.6, 3.0)
    axis = figure.subplots()
    words = []
    for series, (name, values) in enumerate(lines.items()):
        steps = every * np.arange(len(values))
        axis.plot(steps, values, LINES[series], color=SERIES[series], linewidth=2.2, label=name)
        words.append(f"{name}: from {values[0]:.2f} to {values[-1]:.2f}")
    if level is not None:
        axis.axhline(level[1], color=INK, linestyle=":", label=f"{level[0]}, {level[1]:.2f}")
        words.append(f"{level[0]}: {level[1]:.2f}")
    axis.set(xlabel=across, ylabel=up)
    axis.grid(axis="y")
    axis.legend(fontsize=8.5, loc="lower left", bbox_to_anchor=(0, 1), ncols=4)
    figure.set_label(f"Lines of {up} over {across}. {'; '.join(words)}.")
    return figure
