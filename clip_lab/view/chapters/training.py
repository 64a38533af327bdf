"""Figures of chapter 8: learning rates, accuracy over a run, two runs side by side, gradients."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from clip_lab.view.figures import BLUE, GREY, INK, SERIES, VERMILION, in_style
from clip_lab.view.notebook_figures import MARK, contact_sheet, new_figure, show

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

__all__ = ["contact_sheet", "gradient_sizes", "learnt", "rates", "runs", "show"]

LINES = ("-", "--", "-.", ":")
Points = Sequence[tuple[int, float]]


@in_style
def learnt(accuracy: Points, *, chance: float, half: int, predicted: float | None) -> "Figure":
    """Held-out accuracy, a share, against steps; where it passed a half; the learner's guess."""
    figure = new_figure(7.6, 2.9)
    axis = figure.subplots()
    steps, shares = zip(*accuracy, strict=True)
    axis.plot(steps, 100 * np.asarray(shares), "-o", color=BLUE, ms=3.5)
    axis.axhline(100 * chance, color=GREY, linestyle=":", linewidth=1.4, label="chance")
    axis.axvline(half, color=INK, linewidth=1.2, label=f"first past a half: step {half}")
    if predicted is not None:
        axis.axvline(predicted, color=MARK, linestyle="--", linewidth=2, label="predicted")
    axis.set(xlabel="step", ylabel="right, held out (%)", ylim=(0, 104), xlim=(0, None))
    axis.grid(axis="y")
    axis.legend(fontsize=9, loc="lower right")
    figure.set_label(
        f"A rising curve. Held-out pictures right: {shares[0]:.0%} at step {steps[0]}, first past "
        f"a half at step {half}, {shares[-1]:.1%} at step {steps[-1]}; chance {chance:.1%}."
    )
    return figure


@in_style
def rates(schedules: Mapping[str, Sequence[float]]) -> "Figure":
    """Learning rates, one curve each, against the step."""
    figure = new_figure(7.6, 2.7)
    axis = figure.subplots()
    words = []
    for k, (name, values) in enumerate(schedules.items()):
        axis.plot(values, LINES[k % 4], color=SERIES[k], linewidth=2.2, label=name)
        top = int(np.argmax(values))
        words.append(f"{name}: highest, {values[top]:.2g}, at step {top}, last {values[-1]:.1g}")
    axis.set(xlabel="step", ylabel="learning rate", ylim=(0, None), xlim=(0, None))
    axis.grid(axis="y")
    axis.legend(fontsize=9, loc="upper right")
    figure.set_label(f"Learning rates against steps. {'; '.join(words)}.")
    return figure


@in_style
def runs(
    losses: Mapping[str, Points],
    accuracy: Mapping[str, Points],
    *,
    nothing: float,
    chance: float,
) -> "Figure":
    """Left: the loss of each run's own batches; right: held-out accuracy, a share.

    `nothing` is the loss of a model that knows nothing, ln of the batch.
    """
    figure = new_figure(7.6, 3.2)
    left, right = figure.subplots(1, 2)
    words = []
    for k, name in enumerate(losses):
        for axis, points, factor in ((left, losses[name], 1), (right, accuracy[name], 100)):
            steps, values = zip(*points, strict=True)
            shown = factor * np.asarray(values)
            axis.plot(steps, shown, LINES[k % 4], color=SERIES[k], linewidth=2.2, label=name)
        last, share = losses[name][-1][1], accuracy[name][-1][1]
        words.append(f"{name}: loss {last:.2f}, {share:.1%} of held-out pictures right")
    handles = [_level(left, nothing, "knows nothing"), _level(right, 100 * chance, "chance")]
    left.set(xlabel="step", ylabel="loss of its batches (nats)", ylim=(0, None))
    right.set(xlabel="step", ylabel="right, held out (%)", ylim=(0, None))
    left.legend(fontsize=9, loc="best")
    right.legend(handles=handles[1:], fontsize=9, loc="upper left")
    figure.set_label(
        f"Two panels, loss and held-out accuracy against steps. At the end, {'; '.join(words)}. "
        f"Knowing nothing: loss {nothing:.2f}, {chance:.1%} right."
    )
    return figure


def _level(axis: "Axes", value: float, text: str) -> "Line2D":
    axis.grid(axis="y")
    return axis.axhline(value, color=GREY, linestyle=":", linewidth=1.6, label=text)


@in_style
def gradient_sizes(gradients: Float[np.ndarray, " n"], smallest: float, squares: float) -> "Figure":
    """How large the gradients of all weights are (log axis), zeros apart.

    Marks: float16's smallest number, and the gradient below which Adam's mean of squares is 0.
    """
    sizes = np.abs(np.asarray(gradients, dtype=float))
    zero = float((sizes == 0).mean())
    lost = float(((sizes > 0) & (sizes < squares)).mean())
    figure = new_figure(7.6, 2.9)
    axis = figure.subplots()
    bins = np.logspace(-12, 0, 49).tolist()
    weights = np.full(int((sizes > 0).sum()), 100 / len(sizes))
    axis.hist(sizes[sizes > 0], bins, weights=weights, color=BLUE, alpha=0.75)
    axis.set_xscale("log")
    for value, colour, line, text in (
        (smallest, INK, ":", "float16's smallest number"),
        (squares, VERMILION, "--", "below: squared and averaged, it is 0"),
    ):
        axis.axvline(value, color=colour, linestyle=line, linewidth=1.8, label=text)
    axis.set(xlabel="size of a weight's gradient (logarithmic)", ylabel="weights (%)")
    axis.set_title(f"exactly 0 for {zero:.0%} of the weights, not drawn", loc="left")
    axis.legend(fontsize=9, loc="upper left")
    figure.set_label(
        f"A histogram of gradients. {zero:.0%} are exactly 0, {lost:.0%} are not 0 but so small "
        f"that in float16 Adam's mean of their squares is 0 (below {squares:.2g})."
    )
    return figure
