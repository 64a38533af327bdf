"""Figures of chapter 9: top-k, recall by class, the list's length, what is not on the list."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from clip_lab.view.figures import BLUE, GREY, INK, ORANGE, VERMILION, in_style
from clip_lab.view.notebook_figures import MARK, contact_sheet, new_figure, show

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["by_class", "by_length", "contact_sheet", "not_listed", "show", "top_k"]


@in_style
def top_k(
    ks: Sequence[int],
    shares: Sequence[float],
    intervals: Sequence[tuple[float, float]],
    *,
    classes: int,
    predicted: float | None = None,
) -> "Figure":
    """How often the own class is among the k best, with 95 % intervals and chance.

    `predicted`: the learner's guess of top-1 in per cent, drawn as a mark at k = 1.
    """
    figure = new_figure(7.6, 3.0)
    axis = figure.subplots()
    values, ends = 100 * np.asarray(shares), 100 * np.asarray(intervals)
    axis.fill_between(ks, ends[:, 0], ends[:, 1], color=BLUE, alpha=0.18, label="95 % interval")
    axis.plot(ks, values, "-o", color=BLUE, ms=4, linewidth=2, label="own name among the k best")
    axis.plot(ks, 100 * np.asarray(ks) / classes, ":", color=INK, label=f"chance, k/{classes:,}")
    if predicted is not None:
        axis.plot(ks[0], predicted, "D", color=MARK, ms=9, label="predicted, k = 1", zorder=4)
    for k in (ks[0], 5):
        share = values[list(ks).index(k)]
        axis.annotate(f"{share:.1f} %", (k, share), (8, -12), textcoords="offset points")
    axis.set(xlabel="k", ylabel="right (%)", ylim=(0, 100), xticks=list(ks))
    axis.grid(axis="y")
    axis.legend(fontsize=9, loc="lower right")
    told = "; ".join(
        f"top-{k}: {share:.1%} ({low:.1%} to {high:.1%})"
        for k, share, (low, high) in zip(ks, shares, intervals, strict=True)
        if k in (1, 5, ks[-1])
    )
    figure.set_label(f"A rising curve with a band. {told}; chance at first place 1/{classes:,}.")
    return figure


@in_style
def by_class(
    recalls: Mapping[str, tuple[float, int]],
    *,
    overall: float,
    mean: float,
    after: Mapping[str, float] | None = None,
    changed: str = "",
) -> "Figure":
    """Each class's share of found pictures, most pictures first; both ways to sum them up.

    `recalls`: class to (share, pictures). `after`: the shares once more, after a change of the
    list, named in `changed`; a square shows where they differ.
    """
    figure = new_figure(7.6, 0.3 * len(recalls) + 1.2)
    axis = figure.subplots()
    rows = sorted(recalls.items(), key=lambda item: -item[1][1])
    words = []
    for place, (name, (share, n)) in enumerate(rows):
        new = share if after is None else after[name]
        axis.plot([0, 100], [place, place], color=GREY, alpha=0.3, linewidth=0.8, zorder=0)
        if abs(new - share) > 0.02:
            axis.plot([100 * share, 100 * new], [place, place], color=INK, linewidth=1.2, zorder=1)
            axis.plot(100 * new, place, "s", color=VERMILION, ms=7)
        axis.plot(100 * share, place, "o", color=BLUE, ms=4 + 0.4 * n**0.5)
        axis.text(103, place, f"{100 * new:.0f} %", va="center", fontsize=9)
        told = "" if abs(new - share) <= 0.02 else f", {changed} {new:.0%}"
        words.append(f"{name} ({n}): {share:.0%}{told}")
    if after is not None:
        axis.plot([], [], "s", color=VERMILION, ms=7, label=changed)
    _two_means(axis, overall, mean)
    axis.set_yticks(range(len(rows)), [f"{name} ({n})" for name, (_, n) in rows])
    axis.set(xlabel="found (%); in brackets and as the dot's size: pictures", xlim=(0, 111),
             ylim=(len(rows) - 0.4, -0.6))  # fmt: skip
    axis.set_xticks(range(0, 101, 20))
    axis.spines["bottom"].set_bounds(0, 100)
    figure.set_label(
        f"A dot a class. {'; '.join(words)}. Of all pictures {overall:.1%}, mean of the classes "
        f"{mean:.1%}{', ' + changed if changed else ''}."
    )
    return figure


def _two_means(axis: "Axes", overall: float, mean: float) -> None:
    axis.axvline(100 * overall, color=INK, linewidth=1.4, label=f"of all pictures, {overall:.1%}")
    axis.axvline(100 * mean, color=ORANGE, linewidth=2, linestyle="--",
                 label=f"mean of the classes, {mean:.1%}")  # fmt: skip
    axis.legend(fontsize=9, loc="lower left", bbox_to_anchor=(0, 1), ncols=3, columnspacing=1.2)


@in_style
def by_length(
    lengths: Sequence[int], accuracy: Sequence[float], confidence: Sequence[float], scale: float
) -> "Figure":
    """Accuracy and mean confidence against the number of labels on the list (log axis)."""
    figure = new_figure(7.6, 3.0)
    axis = figure.subplots()
    right, sure = 100 * np.asarray(accuracy), 100 * np.asarray(confidence)
    axis.fill_between(lengths, right, sure, color=GREY, alpha=0.25, linewidth=0)
    axis.semilogx(lengths, sure, "--s", color=VERMILION, ms=4, linewidth=2,
                  label="says it is sure (mean highest share)")  # fmt: skip
    axis.semilogx(lengths, right, "-o", color=BLUE, ms=4, linewidth=2, label="is right")
    axis.semilogx(lengths, 100 / np.asarray(lengths), ":", color=INK, label="chance")
    axis.set_xticks(list(lengths), [f"{length:,}" for length in lengths])
    axis.minorticks_off()
    axis.set(xlabel="labels on the list (logarithmic)", ylabel="right, sure (%)", ylim=(0, 105))
    axis.grid(axis="y")
    axis.legend(fontsize=9, loc="upper right")
    figure.set_label(
        f"Two falling curves that cross, at scale {scale:.1f}. "
        + "; ".join(
            f"{length} labels: right {a:.0%}, sure {c:.0%}"
            for length, a, c in zip(lengths, accuracy, confidence, strict=True)
        )
        + "."
    )
    return figure


@in_style
def not_listed(
    scores: Mapping[str, tuple[ArrayLike, ArrayLike]], units: Mapping[str, str]
) -> "Figure":
    """For each score, its values where the right label is on the list and where it is not."""
    figure = new_figure(7.6, 2.9)
    axes = figure.subplots(1, len(scores), squeeze=False)[0]
    words = []
    for axis, (name, (listed, missing)) in zip(axes, scores.items(), strict=True):
        there, gone = np.asarray(listed), np.asarray(missing)
        low, high = min(there.min(), gone.min()), max(there.max(), gone.max())
        bins = np.linspace(low, high, 31).tolist()
        axis.hist(gone, bins, color=VERMILION, alpha=0.55, label="right label not on the list")
        axis.hist(there, bins, color=BLUE, histtype="step", linewidth=2.2,
                  label="right label on the list")  # fmt: skip
        axis.set(xlabel=units[name], ylabel="pictures")
        axis.set_title(name, loc="left")
        words.append(f"{name}: median {np.median(there):.2f} listed, {np.median(gone):.2f} not")
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, fontsize=9, loc="outside lower center", ncols=2)
    figure.set_label(f"Two histograms a panel. {'; '.join(words)}.")
    return figure
