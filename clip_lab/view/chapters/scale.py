"""Figures of chapter 15: accuracy against batch and negatives, memory, what a gather costs."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from clip_lab.view.chapters.why_language import shares
from clip_lab.view.figures import BLUE, GREY, INK, SERIES, in_style
from clip_lab.view.notebook_figures import new_figure, show

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["memory", "shares", "show", "sweeps"]

LINES = ("-", "--", "-.", ":")


@in_style
def sweeps(
    batches: ArrayLike, by_batch: ArrayLike, blocks: ArrayLike, by_block: ArrayLike, *,
    chance: float,
) -> "Figure":  # fmt: skip
    """Held-out accuracy, (seeds, sizes) shares of one: against the batch, and against negatives."""
    figure = new_figure(7.6, 3.3)
    left, right = figure.subplots(1, 2, sharey=True)
    words = [
        _sweep(left, batches, by_batch, "batch (as many pairs seen)"),
        _sweep(right, blocks, by_block, "captions that a picture meets (as many steps)"),
    ]
    for axis in (left, right):
        axis.axhline(100 * chance, color=GREY, linestyle=":", linewidth=1.4, label="chance")
        axis.grid(axis="y")
    left.set(ylabel="right, held out (%)", ylim=(0, 100))
    left.legend(fontsize=9, loc="upper right")
    figure.set_label(
        f"Two panels; means of seeds, each seed thin. Against the {words[0]}. Against the "
        f"{words[1]}. Chance {chance:.1%}."
    )
    return figure


def _sweep(axis: "Axes", sizes: ArrayLike, values: ArrayLike, name: str) -> str:
    at, shares = np.asarray(sizes, dtype=float), 100 * np.atleast_2d(np.asarray(values))
    axis.plot(at, shares.T, color=BLUE, linewidth=0.7, alpha=0.5)
    axis.plot(at, shares.mean(0), "-o", color=BLUE, linewidth=2.2, ms=5)
    axis.set_xscale("log", base=2)
    axis.set_xticks(at.tolist(), [f"{size:,.0f}" for size in at])
    axis.minorticks_off()
    axis.set_xlabel(name)
    pairs = zip(at, shares.mean(0), strict=True)
    return f"{name}: " + ", ".join(f"{size:,.0f}: {share:.1f} %" for size, share in pairs)


@in_style
def memory(
    rows: Sequence[int],
    lines: Mapping[str, Sequence[float]],
    limits: Mapping[str, float],
    *,
    title: str = "",
) -> "Figure":
    """Gigabytes against the batch, both logarithmic; `limits` are horizontal lines."""
    figure = new_figure(7.6, 3.6)
    axis = figure.subplots()
    words = []
    for k, (name, values) in enumerate(lines.items()):
        axis.loglog(rows, values, LINES[k % 4], color=SERIES[k], linewidth=2.4, label=name)
        words.append(f"{name}: {values[0]:.3g} at {rows[0]:,}, {values[-1]:,.3g} at {rows[-1]:,}")
    for name, level in limits.items():
        axis.axhline(level, color=INK, linewidth=1)
        axis.annotate(name, (rows[0], level), (2, 4), textcoords="offset points", fontsize=9)
        words.append(f"{name} as a line at {level:g}")
    ticks = [n for n in (16, 64, 256, 1024, 4096, 32768) if rows[0] <= n <= rows[-1]]
    axis.set_xticks(ticks, [f"{n:,}" for n in ticks])
    axis.set_yticks([1e-3, 1, 1e3], ["0.001", "1", "1,000"])
    axis.minorticks_off()
    axis.set(xlabel="pairs in a batch (logarithmic)", ylabel="GB (logarithmic)")
    axis.set_ylim(1e-5, None)
    axis.grid(axis="y")
    axis.set_title(title, loc="left")
    axis.legend(fontsize=9, loc="lower right")
    figure.set_label(f"Memory in gigabytes against the batch. {title}. {'; '.join(words)}.")
    return figure
