"""Figures of chapter 7: shares by temperature, what pushes and pulls, the published temperature."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from clip_lab.view.figures import BLUE, GREY, ORANGE, VERMILION, in_style
from clip_lab.view.notebook_figures import (
    contact_sheet,
    cosine_panels,
    new_figure,
    share_by_tau,
    show,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "contact_sheet",
    "cosine_panels",
    "learned_temperature",
    "pushes",
    "share_by_tau",
    "show",
]


@in_style
def pushes(gradients: Mapping[float, ArrayLike], captions: Sequence[str]) -> "Figure":
    """The loss's gradient by each cosine, a panel a temperature, each on a scale of its own.

    The sign is turned round: what is pulled up is positive, with a + in the cell.
    """
    figure = new_figure(7.6, 3.9)
    axes = figure.subplots(1, len(gradients), sharey=True)
    words = []
    for axis, (tau, gradient) in zip(np.atleast_1d(axes), gradients.items(), strict=True):
        pull = -np.asarray(gradient)
        most = np.abs(pull).max()
        axis.imshow(pull / most, cmap="RdBu", vmin=-1, vmax=1)
        for (i, j), value in np.ndenumerate(pull / most):
            if abs(value) > 0.04:
                ink = "white" if abs(value) > 0.6 else "black"
                axis.text(j, i, "+" if value > 0 else "−", ha="center", va="center", color=ink)
        axis.set_title(f"τ = {tau:g}")
        axis.set_xlabel("caption")
        axis.set_xticks(range(len(captions)), list(captions), rotation=90)
        axis.set_yticks(range(len(captions)), list(captions))
        off = np.where(np.eye(len(pull)) > 0, 0, pull)
        i, j = map(int, np.unravel_index(off.argmin(), off.shape))
        words.append(
            f"τ = {tau:g}: hardest pushed are picture {captions[i]} and caption {captions[j]}, "
            f"{off.min() / off.sum():.0%} of all push"
        )
    np.atleast_1d(axes)[0].set_ylabel("picture")
    figure.supxlabel("+ blue: the loss pulls this cosine up; − red: it pushes it down. "
                     "Each panel has a scale of its own.", fontsize=9)  # fmt: skip
    figure.set_label(
        "Three matrices, pictures in rows, captions in columns. Plus: the loss pulls the cosine "
        f"up, on the diagonal; minus: it pushes it down. {'; '.join(words)}."
    )
    return figure


@in_style
def learned_temperature(
    steps: Sequence[float],
    along: ArrayLike,
    fixed: Sequence[float],
    fixed_accuracy: ArrayLike,
    learned: ArrayLike,
    learned_accuracy: ArrayLike,
    *,
    chance: float,
) -> "Figure":
    """Left the learned τ through training, a line a seed; right, accuracy against τ."""
    figure = new_figure(7.6, 3.2)
    left, right = figure.subplots(1, 2)
    runs, accuracy = np.asarray(along), 100 * np.asarray(fixed_accuracy)
    left.plot(steps, runs.T, color=BLUE, linewidth=0.8, alpha=0.5)
    left.plot(steps, runs.mean(0), color=BLUE, linewidth=2.2)
    _level(left, 0.07, "start: 0.07")
    left.set(xlabel="training step", ylabel="learned τ", ylim=(0, None))
    left.set_title("Where does it go?", loc="left")
    right.semilogx(fixed, accuracy.T, "-", color=GREY, linewidth=0.7, alpha=0.6)
    right.semilogx(fixed, accuracy.mean(0), "-o", color=ORANGE, label="τ fixed")
    mean = float(np.asarray(learned).mean()), 100 * float(np.asarray(learned_accuracy).mean())
    right.plot(*mean, "D", color=VERMILION, ms=8, label="τ learned")
    _level(right, 100 * chance, "chance")
    right.set_xticks(list(fixed), [f"{tau:g}" for tau in fixed])
    right.minorticks_off()
    right.set(xlabel="temperature τ (logarithmic)", ylabel="right (%)", ylim=(0, 100))
    right.set_title("Which is best?", loc="left")
    right.legend(fontsize=9, loc="lower left", bbox_to_anchor=(0, 0.08))
    told = (f"{tau:g}: {share:.0f} %" for tau, share in zip(fixed, accuracy.mean(0), strict=True))
    figure.set_label(
        "Two charts, thin lines for single seeds. Left, the learned temperature starts at 0.07, is "
        f"highest at {runs.mean(0).max():.3f} and ends at {runs.mean(0)[-1]:.3f}. Right, accuracy "
        f"at fixed temperatures, {', '.join(told)}; learned, τ = {mean[0]:.3f}: {mean[1]:.0f} %; "
        f"chance {chance:.1%}."
    )
    return figure


def _level(axis: "Axes", level: float, text: str) -> None:
    axis.axhline(level, color=GREY, linestyle=":", linewidth=1.2)
    axis.annotate(text, (1, level), (-2, 4), xycoords=("axes fraction", "data"),
                  textcoords="offset points", ha="right", fontsize=9)  # fmt: skip
