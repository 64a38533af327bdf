"""What the experiments' figures are made of: curves and bars with every seed and its interval.

Series differ by colour, by mark and by the kind of line or hatch, so that they can be told apart in
grey and with any kind of colour blindness. Shares are drawn in percent.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from clip_lab.experiments.result import Measured, interval
from clip_lab.view.figures import GREY, INK, SERIES, empty_figure, in_style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["bars", "canvas", "chance", "curve", "finish", "heat", "in_style", "legend"]

MARKS = "osD^vP"
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
HATCHES = ("", "///", "...", "xxx", "\\\\\\", "ooo")


def canvas(
    columns: int = 1, width: float = 7.5, height: float = 4.2
) -> "tuple[Figure, list[Axes]]":
    """An empty figure and its axes, side by side."""
    figure = empty_figure((width, height))
    axes = figure.subplots(1, columns, squeeze=False)[0]
    for axis in axes:
        axis.grid(axis="y")
        axis.set_axisbelow(True)
    return figure, list(axes)


def curve(
    axis: "Axes", x: Sequence[float], values: np.ndarray, name: str, series: int, times: float = 100
) -> None:
    """The mean of `values` (seeds, len(x)) with a band of its 95 % interval, and a legend's name.

    `times`: 100 draws shares in percent; 1 draws numbers as they are.
    """
    spans = [interval(column * times) for column in np.asarray(values, dtype=float).T]
    ends = _ends(values, times)
    colour = SERIES[series % len(SERIES)]
    axis.plot(
        x,
        [span.mean for span in spans],
        color=colour,
        marker=MARKS[series % len(MARKS)],
        linestyle=LINES[series % len(LINES)],
        markersize=5,
        linewidth=1.6,
        label=name,
    )
    if spans[0].seeds > 1:
        low, high = (np.clip([getattr(s, end) for s in spans], *ends) for end in ("low", "high"))
        axis.fill_between(x, low, high, color=colour, alpha=0.15, linewidth=0)
        if len(spans) == 1:  # a lone point has no band, but a whisker
            axis.vlines(x, low, high, color=colour, linewidth=1.2)


def _ends(values: np.ndarray, times: float) -> tuple[float, float]:
    """Where an interval stops: a share's ends at 0 and 100 %, a difference's nowhere."""
    shares = times == 100 and np.min(values) >= 0 and np.max(values) <= 1
    return (0, 100) if shares else (-np.inf, np.inf)


def bars(
    axis: "Axes",
    names: Sequence[str],
    groups: Mapping[str, np.ndarray],
    times: float = 100,
    form: str = "{:.0f}",
) -> None:
    """Bars side by side: for each name, one of each group; `groups` maps to (seeds, names).

    Whiskers are 95 % intervals of the mean, the small dots single seeds, the numbers means.
    """
    width = 0.8 / len(groups)
    for series, (group, values) in enumerate(groups.items()):
        places = np.arange(len(names)) + (series - (len(groups) - 1) / 2) * width
        numbers = np.asarray(values, dtype=float) * times
        spans = [interval(column) for column in numbers.T]
        means = np.array([span.mean for span in spans])
        axis.bar(
            places,
            means,
            width * 0.92,
            color=SERIES[series % len(SERIES)],
            hatch=HATCHES[series % len(HATCHES)],
            edgecolor="white",
            label=group if len(groups) > 1 else None,
        )
        tops = means
        if spans[0].seeds > 1:
            ends = ([getattr(span, end) for span in spans] for end in ("low", "high"))
            low, high = (np.clip(end, *_ends(values, times)) for end in ends)
            _whiskers(axis, places, numbers, (low, high), width)
            tops = np.maximum(high, numbers.max(axis=0))
        _on_top(axis, places, tops, [form.format(mean) for mean in means])
    axis.set_xticks(range(len(names)), names)
    axis.tick_params(axis="x", length=0)
    if len(groups) > 1:
        legend(axis, len(groups))


def _whiskers(
    axis: "Axes",
    places: np.ndarray,
    numbers: np.ndarray,
    ends: tuple[np.ndarray, np.ndarray],
    width: float,
) -> None:
    """The interval of each mean over (seeds, names), and a dot for each seed."""
    means = numbers.mean(axis=0)
    reach = (means - ends[0], ends[1] - means)
    axis.errorbar(places, means, reach, fmt="none", ecolor=INK, capsize=3, linewidth=1)
    shift = np.linspace(-0.2, 0.2, len(numbers))[:, None] * width
    axis.plot(places + shift, numbers, ".", color=INK, markersize=3)


def _on_top(axis: "Axes", places: np.ndarray, tops: np.ndarray, texts: Sequence[str]) -> None:
    """A bar's number above whatever reaches highest of it."""
    for place, top, text in zip(places, tops, texts, strict=True):
        axis.annotate(
            text, (place, max(top, 0)), (0, 2), textcoords="offset points",
            ha="center", fontsize=8,
        )  # fmt: skip


def legend(axis: "Axes", columns: int = 2, below: float = 0.14) -> None:
    """The series' names below the axes, where they cover nothing; `below`: share of their height.

    Under the axis' own name it takes some 0.2.
    """
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -below), ncols=columns, fontsize=9)


def chance(axis: "Axes", level: float, text: str = "chance") -> None:
    """A dashed line at what guessing gives, named at its right end."""
    axis.axhline(level, color=GREY, linestyle="--", linewidth=1, zorder=0)
    axis.annotate(
        text, (1, level), (-2, 3), xycoords=("axes fraction", "data"),
        textcoords="offset points", ha="right", fontsize=8, color="#5B616B",
    )  # fmt: skip


def heat(
    axis: "Axes", map: Sequence[Sequence[float]], outline: np.ndarray, title: str = ""
) -> None:
    """A heat map from dark (low) to light (high), and in white the outline of the true mask."""
    size = outline.shape[0]
    axis.imshow(map, cmap="viridis", extent=(0, size, size, 0), interpolation="nearest")
    axis.contour(outline, [0.5], colors="white", linewidths=1.2)
    axis.axis("off")
    axis.set_title(title, fontsize=9, fontweight="normal")


def finish(figure: "Figure", measured: Measured, words: str, tested: str) -> "Figure":
    """Say below what n is (`tested`: on what each seed was measured), and the figure in words."""
    count = len(measured.seeds)
    seeds = "one seed" if count == 1 else f"{count} seeds; bands and whiskers: 95 % intervals"
    figure.supxlabel(f"{seeds}; {tested}", fontsize=8, color="#5B616B")
    figure.set_label(words)
    return figure
