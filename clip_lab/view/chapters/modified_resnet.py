"""Figures of chapter 4: stripes that alias, maps of a moved picture, names found as bars."""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from clip_lab.view.figures import BLUE, GREY, INK, ORANGE, SERIES, empty_figure, in_style
from clip_lab.view.notebook_figures import MARK

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLES = ("-", "--", ":", "-.")


@in_style
def grey_maps(rows: Mapping[str, Mapping[str, ArrayLike]]) -> "Figure":
    """Small maps of numbers between 0 (black) and 1 (white), a row of them for each name.

    Over each stand its title and its mean.
    """
    columns = max(len(maps) for maps in rows.values())
    figure = empty_figure((7.6, 2.35 * len(rows)))
    axes = figure.subplots(len(rows), columns, squeeze=False)
    words = []
    for line, (name, maps) in zip(axes, rows.items(), strict=True):
        for axis, (title, given) in zip(line, maps.items(), strict=True):
            values = np.asarray(given, dtype=float)
            axis.imshow(values, cmap="gray", vmin=0, vmax=1)
            axis.set_xticks(np.arange(values.shape[1] + 1) - 0.5, [])
            axis.set_yticks(np.arange(values.shape[0] + 1) - 0.5, [])
            axis.grid(color=GREY, linewidth=0.5)
            axis.tick_params(length=0)
            axis.set_title(f"{title}\nmean {values.mean():.2f}", fontsize=10)
            words.append(f"{name}, {title}: mean {values.mean():.2f}")
        line[0].set_ylabel(name, fontsize=10)
    figure.set_label("Small maps of grey values. " + "; ".join(words) + ".")
    return figure


@in_style
def misses_by_shift(
    shifts: Sequence[int],
    misses: Mapping[str, Sequence[float]],
    cosines: Sequence[float],
    others: float,
) -> "Figure":
    """Left: how far a map lies from where a shift of the picture should have moved it, in per cent.

    Right: the cosine of a whole tower's vector with that of the picture before it moved, and
    `others`, the mean cosine with the vectors of other pictures.
    """
    figure = empty_figure((7.6, 3.2))
    left, right = figure.subplots(1, 2)
    for (name, values), colour, style in zip(misses.items(), SERIES[1::-1], STYLES, strict=False):
        left.plot(shifts, 100 * np.asarray(values), style, marker="o", ms=4, color=colour,
                  label=name)  # fmt: skip
    left.set(xlabel="picture moved by (pixels)", ylabel="map off by (% of its spread)")
    left.set_ylim(0, 125 * max(map(max, misses.values())))
    left.set_title("One layer", loc="left")
    left.legend(fontsize=9, ncols=2, loc="upper left")
    right.plot(shifts, cosines, "-", marker="o", ms=4, color=BLUE, label="itself, unmoved")
    right.axhline(others, color=GREY, linestyle=":", linewidth=1.6, label="other emoji, mean")
    right.set(xlabel="picture moved by (pixels)", ylabel="cosine with")
    right.set_ylim(0, 1.05)
    right.set_title("The whole trained tower", loc="left")
    right.legend(fontsize=9, loc="center right")
    for axis in (left, right):
        axis.grid(axis="y")
    said = ", ".join(f"{100 * values[1]:.0f} % {name}" for name, values in misses.items())
    figure.set_label(
        f"Two charts over shifts of 0 to {shifts[-1]} pixels. One layer's map is off by {said} "
        "after 1 pixel, and much the same after any odd shift; after even ones it is where it "
        f"should be. The tower's vector keeps a cosine of {cosines[1]:.3f} with itself after 1 "
        f"pixel, {min(cosines):.3f} at least; with other emoji's it has {others:.2f} on average."
    )
    return figure


@in_style
def share_bars(
    found: Mapping[str, tuple[int, int]],
    interval: Callable[[float, int], tuple[float, float]],
    *,
    chance: float,
    odd: Collection[str] = (),
    predicted: float | None = None,
) -> "Figure":
    """Names right, as (right, n), in bars with 95 % intervals; those named in `odd` are hatched.

    `interval` gives the ends of a share of n, as `evaluation.accuracy.wilson` does.
    `predicted`: the learner's guess in per cent, drawn as a line, as chance is.
    """
    figure = empty_figure((7.6, 0.42 * len(found) + 1.2))
    axis = figure.subplots()
    told = []
    for place, (name, (right, n)) in enumerate(found.items()):
        share = 100 * right / n
        low, high = (100 * end for end in interval(right / n, n))
        colour, hatch = (ORANGE, "//") if name in odd else (BLUE, "")
        axis.barh(place, share, color=colour, height=0.62, hatch=hatch, edgecolor="white")
        axis.errorbar(share, place, xerr=[[share - low], [high - share]], color=INK, capsize=3)
        axis.annotate(f"{share:.0f} %", (high, place), (6, 0), textcoords="offset points",
                      va="center", color=INK, fontsize=9)  # fmt: skip
        told.append(f"{name}: {share:.0f} % ({low:.0f} to {high:.0f})")
    axis.set_yticks(range(len(found)), list(found))
    axis.set_ylim(len(found) - 0.5, -0.5)
    axis.axvline(100 * chance, color=GREY, linestyle=":", label=f"chance: {100 * chance:.2f} %")
    if predicted is not None:
        axis.axvline(predicted, color=MARK, linestyle="--", linewidth=2, label="predicted")
    counts = " or ".join(str(n) for n in sorted({n for _, n in found.values()}))
    axis.set(xlabel=f"names right (%), of {counts}; 95 % intervals", xlim=(0, 112))
    axis.set_xticks(range(0, 101, 20))
    figure.legend(fontsize=9, loc="outside upper right", ncols=2)
    figure.set_label(
        f"Bars: names right, of {counts}, with 95 % intervals. {'; '.join(told)}. Chance is "
        f"{100 * chance:.2f} %."
    )
    return figure
