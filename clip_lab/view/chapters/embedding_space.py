"""Figures of chapter 12: what was found, hubs, a gap that closes, maps and their truth."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from clip_lab.view.figures import BLUE, GREY, INK, SERIES, VERMILION, in_style
from clip_lab.view.notebook_figures import MARK, contact_sheet, new_figure, show

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "closing", "contact_sheet", "found", "hubs", "indexes", "maps", "show", "truth_by_distance",
]  # fmt: skip

LINES = ("-", "--", ":", "-.")


@in_style
def found(results: Mapping[str, Sequence[tuple[np.ndarray, str, float]]]) -> "Figure":
    """A row for each query: its best pictures, each (picture, name, cosine), best first."""
    columns = max(map(len, results.values()))
    figure = new_figure(7.6, 1.4 * len(results))
    grid = figure.subplots(len(results), columns, squeeze=False)
    words = []
    for axes, (query, hits) in zip(grid, results.items(), strict=True):
        for axis, (picture, name, cosine) in zip(axes, hits, strict=True):
            axis.imshow(picture, interpolation="none")  # as it is: the page makes it larger
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_visible(False)
            short = name if len(name) < 18 else name[:16] + " …"
            axis.set_xlabel(f"{short}\ncosine {cosine:.2f}", fontsize=8)
        axes[0].set_ylabel(f"“{query}”", rotation=0, ha="right", va="center", fontsize=10)
        words.append(f"“{query}” finds " + ", ".join(name for _, name, _ in hits))
    figure.set_label("Pictures in rows, the nearest first. " + "; ".join(words) + ".")
    return figure


@in_style
def hubs(
    counts: Mapping[str, ArrayLike], names: Sequence[str], *, lists: int, predicted: float
) -> "Figure":
    """How often each thing is listed, most often first; the first few are named.

    `lists` is the length of a list: the mean of every curve. `predicted`: the learner's guess.
    """
    figure = new_figure(7.6, 3.4)
    axis = figure.subplots()
    words = []
    for series, (name, given) in enumerate(counts.items()):
        values = np.asarray(given)
        order = np.argsort(-values, kind="stable")
        axis.semilogx(np.arange(1, len(values) + 1), values[order], LINES[series], lw=2.2,
                      color=SERIES[series], label=name)  # fmt: skip
        first = [int(place) for place in order[:3]]
        told = [f"{names[i]} {values[i]}" for i in first]
        words.append(f"{name}: most often {', '.join(told)}; least {values.min()}")
        axis.annotate(", ".join([names[i] for i in first]), (1, values[first[0]]),
                      (8, 15 if series else 4), textcoords="offset points",
                      fontsize=9)  # fmt: skip
    axis.axhline(lists, color=GREY, linestyle=":", label=f"mean: {lists}")
    axis.axhline(predicted, color=MARK, linestyle="--", linewidth=1.6, label="predicted")
    axis.set(xlabel="place, by how often listed (logarithmic)", ylabel="on how many lists")
    axis.set_xticks([1, 10, 100], ["1", "10", "100"])
    most = max(np.asarray(values).max() for values in counts.values())
    axis.set_ylim(0, 1.15 * max(predicted, most))
    axis.legend(fontsize=9)
    figure.set_label("Falling curves. " + "; ".join(words) + f". The mean is {lists}.")
    return figure


@in_style
def closing(shares: Sequence[float], panels: Mapping[str, Mapping[str, ArrayLike]]) -> "Figure":
    """Beside each other: what changes as both kinds are moved along the gap. Values in per cent."""
    figure = new_figure(7.6, 3.2)
    axes = figure.subplots(1, len(panels))
    words = []
    for axis, (title, curves) in zip(axes, panels.items(), strict=True):
        for series, (name, given) in enumerate(curves.items()):
            values = 100 * np.asarray(given)
            axis.plot(shares, values, LINES[series], marker="os^"[series], ms=4,
                      color=SERIES[series], label=name)  # fmt: skip
            half = np.interp(0.5, shares, values)
            words.append(f"{name}: {values[0]:.0f} %, at a half {half:.0f} %")
        axis.axvline(0.5, ymin=0.25, color=GREY, linestyle=":")  # above the legend
        axis.set(ylim=(0, 105), xlabel="moved by this share of the gap")
        axis.set_title(title, loc="left")
        axis.grid(axis="y")
        axis.legend(fontsize=8.5, loc="lower left")
    axes[0].set_ylabel("per cent")
    figure.set_label("Curves against the share of the gap that was closed. " + "; ".join(words))
    return figure


@in_style
def maps(views: Mapping[str, ArrayLike], *, pairs: int) -> "Figure":
    """Maps side by side: pictures are dots, texts diamonds; `pairs` pictures come first."""
    figure = new_figure(7.6, 4.1)
    axes = figure.subplots(1, len(views))
    for axis, (title, given) in zip(axes, views.items(), strict=True):
        points = np.asarray(given, dtype=float)
        kinds = ((points[:pairs], "o", BLUE, "picture"), (points[pairs:], "D", VERMILION, "text"))
        for some, marker, colour, name in kinds:
            axis.scatter(*some.T, s=9, marker=marker, color=colour, alpha=0.55, linewidths=0,
                         label=name)  # fmt: skip
        axis.set_title(title, loc="left", fontsize=10)
        axis.set(xticks=[], yticks=[], aspect="equal")
        axis.spines[:].set_visible(True)
    figure.legend(
        *axes[0].get_legend_handles_labels(), loc="outside lower left", ncols=2, fontsize=9
    )
    figure.set_label(f"Maps of {pairs} pictures and as many texts. " + "; ".join(views) + ".")
    return figure


@in_style
def truth_by_distance(views: Mapping[str, tuple[ArrayLike, ArrayLike]]) -> "Figure":
    """For each map: true distance (median, middle 80 %) of pairs, by tenths of map distance."""
    figure = new_figure(7.6, 3.2)
    axes = np.atleast_1d(figure.subplots(1, len(views), sharey=True))
    words = []
    for axis, (title, (on_map, true)) in zip(axes, views.items(), strict=True):
        tenths = np.array_split(np.asarray(true)[np.argsort(np.asarray(on_map))], 10)
        low, middle, high = np.array([np.quantile(some, [0.1, 0.5, 0.9]) for some in tenths]).T
        places = np.arange(1, 11)
        axis.fill_between(places, low, high, color=BLUE, alpha=0.22, label="middle 80 %")
        axis.plot(places, middle, "-o", ms=4, color=BLUE, label="median")
        axis.set_title(title, loc="left", fontsize=10)
        axis.set(xlabel="distance on the map, tenths of all pairs", xticks=[1, 5, 10])
        axis.set_xticks([1, 5, 10], ["nearest", "5", "furthest"])
        axis.grid(axis="y")
        told = title.replace("\n", " ")
        words.append(f"{told}: medians {middle[0]:.2f}, {middle[4]:.2f}, {middle[9]:.2f}")
    axes[0].set(ylabel="distance in the space (0 to 2)")
    axes[0].legend(fontsize=9, loc="lower right")
    figure.set_label(
        "Rising curves. Median distance in the space of pairs in the nearest, the fifth and the "
        "furthest tenth by the map. " + "; ".join(words) + "."
    )
    return figure


@in_style
def indexes(rows: Mapping[str, tuple[float, int]], *, queries: int) -> "Figure":
    """For each index two bars: recall at 1, and on how many lists its favourite picture is."""
    figure = new_figure(7.6, 0.5 * len(rows) + 1.0)
    left, right = figure.subplots(1, 2, sharey=True)
    recalls, favourites = zip(*rows.values(), strict=True)
    _bars(left, [100 * recall for recall in recalls], "{:.0f} %", BLUE, 100)
    _bars(right, favourites, "{:.0f}", VERMILION, queries)
    left.set_yticks(range(len(rows)), list(rows))
    left.set(xlabel="own picture first (%)", ylim=(len(rows) - 0.5, -0.5))
    right.set(xlabel=f"lists with the favourite (of {queries})")
    right.tick_params(left=False)
    told = (f"{name}: {r:.1%}, favourite on {f} lists" for name, (r, f) in rows.items())
    figure.set_label(f"Bars. Own picture first, {queries} queries. " + "; ".join(told) + ".")
    return figure


def _bars(axis: "Axes", values: Sequence[float], form: str, colour: str, most: float) -> None:
    for place, value in enumerate(values):
        axis.barh(place, value, 0.62, color=colour, alpha=0.85)
        axis.annotate(form.format(value), (value, place), (5, 0), textcoords="offset points",
                      va="center", fontsize=9, color=INK)  # fmt: skip
    axis.set_xlim(0, 1.18 * most)
    axis.spines["bottom"].set_bounds(0, most)
    axis.set_xticks([0, most / 2, most])
