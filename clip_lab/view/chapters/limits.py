"""Figures of chapter 13: shares beside what guessing gives, counts, differences of rates."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from clip_lab.view.figures import BLUE, GREY, INK, in_style
from clip_lab.view.notebook_figures import MARK, new_figure, show

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["counts", "overview", "rates", "scenes", "shares", "show"]
Ends = tuple[float, float, float]  # a value and the ends of its interval


@in_style
def scenes(pictures: Sequence[np.ndarray], captions: Sequence[str]) -> "Figure":
    """A row of pictures, each over its caption in two lines; they are (height, width, 3) arrays."""
    figure = new_figure(7.6, 2.5)
    for axis, picture, caption in zip(
        figure.subplots(1, len(pictures)), pictures, captions, strict=True
    ):
        axis.imshow(picture)
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(True)  # some pictures are white
        axis.set_xlabel(caption.replace(" and ", "\nand "), fontsize=9.5)
    figure.set_label(f"Pictures, each with its caption: {'; '.join(captions)}.")
    return figure


@in_style
def shares(
    rows: Mapping[str, Ends],
    *,
    guessing: tuple[float, float] | None = None,
    chance: float | None = None,
    predicted: float | None = None,
    title: str = "",
    axis_name: str = "true caption nearer (%)",
) -> "Figure":
    """Bars of shares with their intervals; all are shares of one.

    `guessing`: the ends of what guessing gives, shaded; `chance`: a dotted line. `predicted`: the
    learner's guess in per cent.
    """
    figure = new_figure(7.6, 0.5 * len(rows) + 1.25)
    axis = figure.subplots()
    words = [_bar(axis, place, name, ends, 103) for place, (name, ends) in enumerate(rows.items())]
    if guessing is not None:
        low, high = (100 * end for end in guessing)
        axis.axvspan(low, high, color=GREY, alpha=0.3, lw=0, zorder=0, label="guessing")
        words.append(f"shaded: guessing, {low:.0f} to {high:.0f} %")
    if chance is not None:
        axis.axvline(100 * chance, color=INK, linestyle=":", linewidth=1.3, label="chance")
        words.append(f"chance {100 * chance:.0f} %")
    if predicted is not None:
        axis.axvline(predicted, color=MARK, linestyle="--", linewidth=2, label="predicted")
    axis.set_yticks(range(len(rows)), list(rows))
    axis.set(xlabel=axis_name, xlim=(0, 140), ylim=(len(rows) - 0.45, -0.55))
    axis.set_xticks(range(0, 101, 20))
    axis.spines["bottom"].set_bounds(0, 100)
    axis.set_title(title, loc="left")
    if axis.get_legend_handles_labels()[0]:
        axis.legend(loc="upper right", fontsize=9, bbox_to_anchor=(1.0, -0.03))
    figure.set_label(f"Bars with 95 % intervals. {title}. {'; '.join(words)}.")
    return figure


def _bar(axis: "Axes", place: int, name: str, ends: Ends, told_at: float) -> str:
    share, low, high = (100 * end for end in ends)
    axis.barh(place, share, 0.6, color=BLUE, alpha=0.8)
    reach = [[max(share - low, 0)], [max(high - share, 0)]]
    axis.errorbar(share, place, xerr=reach, color=INK, capsize=4, linewidth=1.4)
    told = f"{share:.1f} %  ({low:.1f} to {high:.1f})"
    axis.annotate(told, (told_at, place), va="center", fontsize=9)
    return f"{name}: {share:.1f} %, {low:.1f} to {high:.1f}"


@in_style
def counts(matrix: ArrayLike, numbers: Sequence[int]) -> "Figure":
    """Row: how many there are; column: how many it says. Entries are shares of the row."""
    table = 100 * np.asarray(matrix, dtype=float)
    figure = new_figure(4.6, 3.7)
    axis = figure.subplots()
    axis.imshow(table, cmap="Blues", vmin=0, vmax=130)
    for (row, column), value in np.ndenumerate(table):
        weight = "bold" if row == column else "normal"
        axis.annotate(f"{value:.0f}", (column, row), ha="center", va="center", fontsize=10,
                      fontweight=weight, color="#1c2430")  # fmt: skip
    axis.set_xticks(range(len(numbers)), [str(n) for n in numbers])
    axis.set_yticks(range(len(numbers)), [str(n) for n in numbers])
    axis.set(xlabel="the caption it takes says", ylabel="there are")
    chance = 100 / len(numbers)
    axis.set_title(f"% of each row's pictures; guessing: {chance:.0f}", loc="left", fontsize=10)
    axis.spines[:].set_visible(False)
    right = ", ".join(f"{n}: {table[i, i]:.0f} %" for i, n in enumerate(numbers))
    figure.set_label(
        f"A table of how many there are against what is said. Right: {right}; by guessing "
        f"{chance:.0f} %."
    )
    return figure


@in_style
def rates(
    rows: Mapping[str, Ends], gaps: Mapping[str, Ends], *, title: str = "", gap_name: str = ""
) -> "Figure":
    """Above, rates as bars; below, differences of rates as points, in points, and the line at 0."""
    figure = new_figure(7.6, 0.5 * (len(rows) + len(gaps)) + 2.2)
    above, axis = figure.subplots(2, 1, height_ratios=[len(rows), len(gaps)])
    most = 1.5 * max(100 * max(ends) for ends in rows.values())
    words = [_bar(above, place, *row, 0.75 * most) for place, row in enumerate(rows.items())]
    _rows(above, list(rows))
    above.set(xlabel="of pictures (%)", xlim=(0, 1.25 * most))
    above.set_title(title, loc="left")
    for place, (name, ends) in enumerate(gaps.items()):
        value, low, high = (100 * end for end in ends)
        axis.errorbar(value, place, xerr=[[value - low], [high - value]], fmt="o", color=BLUE,
                      ecolor=INK, capsize=4, ms=8, linewidth=1.4)  # fmt: skip
        told = f"{value:+.1f} ({low:+.1f} to {high:+.1f})"
        axis.annotate(told, (high, place), (8, 0), textcoords="offset points", va="center",
                      fontsize=9)  # fmt: skip
        words.append(f"{name}: {told}")
    axis.axvline(0, color=INK, linestyle=":", linewidth=1.3)
    _rows(axis, list(gaps))
    axis.set(xlabel=gap_name, xlim=(-0.4 * most, 1.35 * most))
    figure.set_label(f"Bars, and below points, with 95 % intervals. {title}. {'; '.join(words)}.")
    return figure


def _rows(axis: "Axes", names: Sequence[str]) -> None:
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.45, -0.55)


@in_style
def overview(rows: Mapping[str, tuple[float, float, float]]) -> "Figure":
    """For each limit, shares of one: right where it plays no part, where it does, and by chance."""
    figure = new_figure(7.6, 0.42 * len(rows) + 1.5)
    axis = figure.subplots()
    words = []
    for place, (name, row) in enumerate(rows.items()):
        easy, hard, chance = (100 * share for share in row)
        axis.plot([easy, hard], [place, place], color=GREY, linewidth=3, zorder=1)
        marks = ((easy, "o", BLUE, "without the limit"), (hard, "s", "white", "with it"))
        for share, shape, face, label in marks:
            axis.plot(
                share, place, shape, color=BLUE, markerfacecolor=face, ms=9, markeredgewidth=2,
                linestyle="none", label=label if place == 0 else None,
            )  # fmt: skip
        axis.plot(chance, place, "|", color=INK, ms=15, markeredgewidth=2, linestyle="none",
                  label="chance" if place == 0 else None)  # fmt: skip
        words.append(f"{name}: {easy:.0f} % without, {hard:.0f} % with it, chance {chance:.0f} %")
    _rows(axis, list(rows))
    axis.set(xlabel="right (%)", xlim=(-2, 103))
    axis.grid(axis="x")
    axis.legend(fontsize=9, ncols=3, loc="lower left", bbox_to_anchor=(0, 1.0))
    figure.set_label(f"Three marks a limit. {'; '.join(words)}.")
    return figure
