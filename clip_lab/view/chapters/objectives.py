"""Figures of chapter 14: three objectives over pairs, the loss by its bias, rank and accuracy."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from clip_lab.view.chapters.why_language import shares
from clip_lab.view.figures import GREY, INK, SERIES, in_style
from clip_lab.view.notebook_figures import MARK, contact_sheet, new_figure, show

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["by_pairs", "contact_sheet", "loss_by_bias", "rank_and_accuracy", "shares", "show"]

LINES = ("-", "--", "-.", ":")
MARKERS = ("o", "s", "^", "D")


@in_style
def by_pairs(pairs: Sequence[float], curves: Mapping[str, ArrayLike], *, chance: float) -> "Figure":
    """Held-out accuracy, (seeds, looks) shares of one, against pairs seen; means, and the range
    of the seeds as a band."""
    figure = new_figure(7.6, 3.2)
    axis = figure.subplots()
    words = []
    for k, (name, values) in enumerate(curves.items()):
        seeds = 100 * np.asarray(values)
        mean = seeds.mean(0)
        axis.fill_between(pairs, seeds.min(0), seeds.max(0), color=SERIES[k], alpha=0.12, lw=0)
        axis.plot(pairs, mean, LINES[k % 4], marker=MARKERS[k % 4], color=SERIES[k], ms=4.5,
                  linewidth=2, label=name)  # fmt: skip
        words.append(f"{name}: {np.interp(20_000, pairs, mean):.0f} % after 20,000, "
                     f"{mean[-1]:.0f} % at the end")  # fmt: skip
    axis.axhline(100 * chance, color=GREY, linestyle=":", linewidth=1.4, label="chance")
    axis.set_xscale("log")
    ticks = [pairs[0] * 2**i for i in range(5)]
    axis.set_xticks(ticks, [f"{tick:,.0f}" for tick in ticks])
    axis.minorticks_off()
    axis.set(xlabel="pairs seen (logarithmic)", ylabel="right, held out (%)", ylim=(0, 100))
    axis.grid(axis="y")
    axis.legend(fontsize=9, loc="upper left")
    figure.set_label(
        f"Rising curves of held-out accuracy against pairs seen, means of {len(seeds)} seeds. "
        f"{'; '.join(words)}; chance {chance:.1%}."
    )
    return figure


@in_style
def loss_by_bias(
    biases: Sequence[float], losses: Mapping[int, Sequence[float]], *, predicted: float | None
) -> "Figure":
    """The sigmoid loss of a model that knows nothing, by bias; one curve a batch size."""
    figure = new_figure(7.6, 3.0)
    axis = figure.subplots()
    words = []
    for k, (size, values) in enumerate(losses.items()):
        low = int(np.argmin(values))
        axis.plot(biases, values, LINES[k % 4], color=SERIES[k], linewidth=2.2,
                  label=f"batch of {size:,}")  # fmt: skip
        axis.plot(biases[low], values[low], "o", color=SERIES[k], ms=8)
        words.append(f"batch of {size:,}: least at {biases[low]:.1f}, {values[low]:.1f} nats, "
                     f"and {np.interp(0, biases, values):,.0f} at 0")  # fmt: skip
    axis.axvline(-10, color=INK, linestyle=":", linewidth=1.4, label="SigLIP's start, −10")
    if predicted is not None:
        axis.axvline(predicted, color=MARK, linestyle="--", linewidth=2, label="predicted")
    axis.set_yscale("log")
    axis.set(xlabel="bias", ylabel="loss (nats, logarithmic)")
    axis.grid(axis="y")
    axis.legend(fontsize=9, loc="upper left")
    figure.set_label(
        f"The loss of a model that knows nothing, against its bias: valleys. {'; '.join(words)}."
    )
    return figure


@in_style
def rank_and_accuracy(
    runs: Mapping[str, Sequence[tuple[int, float, float]]], *, chance: float, directions: int
) -> "Figure":
    """Left: effective rank of held-out pictures' vectors; right: how many find their caption.

    Each point of a run is (step, rank, share right).
    """
    figure = new_figure(7.6, 3.3)
    left, right = figure.subplots(1, 2)
    words = []
    for k, (name, points) in enumerate(runs.items()):
        steps, ranks, found = map(np.asarray, zip(*points, strict=True))
        form = {"color": SERIES[k], "linewidth": 2, "ms": 4.5, "label": name}
        for axis, values in ((left, ranks), (right, 100 * found)):
            axis.plot(steps, values, LINES[k % 4], marker=MARKERS[k % 4], **form)
        words.append(f"{name}: rank {ranks[0]:.1f} to {ranks[-1]:.1f}, {found[-1]:.1%} right")
    right.axhline(100 * chance, color=GREY, linestyle=":", linewidth=1.6, label="chance")
    left.set(xlabel="step", ylabel=f"effective rank (of {directions})", ylim=(0, None))
    right.set(xlabel="step", ylabel="right, held out (%)", ylim=(0, None))
    for axis in (left, right):
        axis.grid(axis="y")
    figure.legend(*right.get_legend_handles_labels(), fontsize=9, ncols=3, loc="outside lower left")
    figure.set_label(
        f"Two panels, effective rank and held-out accuracy against steps. {'; '.join(words)}; "
        f"chance {chance:.1%}."
    )
    return figure
