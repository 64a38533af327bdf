"""Figures of chapter 11: what is to be told apart, accuracy by λ and by shots, base and new."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from clip_lab.view.figures import GREY, INK, SERIES, in_style
from clip_lab.view.notebook_figures import MARK, new_figure, show

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["base_and_new", "by_shots", "by_strength", "examples", "flattered", "show"]

LINES = ("-", "--", "-.", ":")
HATCHES = ("", "//", "..")


@in_style
def examples(drawings: Mapping[str, Sequence[np.ndarray]]) -> "Figure":
    """A row a class, two classes side by side; pictures are (height, width, 3) arrays."""
    names = list(drawings)
    each = len(drawings[names[0]])
    figure = new_figure(7.6, 0.52 * len(names) / 2 + 0.3)
    grid = figure.subplots(-(-len(names) // 2), 2 * each + 1, squeeze=False)
    for axis in grid.flat:
        axis.set(xticks=[], yticks=[])
        axis.spines[:].set_visible(False)
    for place, name in enumerate(names):
        row, half = divmod(place, 2)
        own = grid[row, half * (each + 1) :][:each]
        for axis, picture in zip(own, drawings[name], strict=True):
            axis.imshow(picture)
        own[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=10)
    figure.set_label(f"Emoji of {len(names)} classes, {each} of each: {', '.join(names)}.")
    return figure


@in_style
def by_strength(
    strengths: Sequence[float], curves: Mapping[str, Sequence[float]], *, chosen: float
) -> "Figure":
    """Accuracy against the strength of the penalty, and the strength that was chosen."""
    figure = new_figure(7.6, 3.0)
    axis = figure.subplots()
    words = []
    for series, (name, values) in enumerate(curves.items()):
        axis.semilogx(strengths, 100 * np.asarray(values), LINES[series], marker="os^"[series],
                      ms=4, color=SERIES[series], label=name)  # fmt: skip
        words.append(f"{name} {values[0]:.0%} at the weakest, {values[-1]:.0%} at the strongest")
    axis.axvline(chosen, color=INK, linestyle="--", linewidth=1, label=f"chosen: {chosen:g}")
    axis.axhline(12.5, color=GREY, linestyle=":", label="chance")
    axis.set(xlabel="strength λ of the penalty (logarithmic)", ylabel="right (%)", ylim=(0, 105))
    axis.grid(axis="y")
    axis.legend(fontsize=9, loc="upper right")
    figure.set_label(f"Curves. {'; '.join(words)}; chosen λ = {chosen:g}; chance 12.5 %.")
    return figure


@in_style
def by_shots(
    shots: Sequence[int],
    curves: Mapping[str, Sequence[float] | Mapping[int, float]],
    flat: Mapping[str, float],
    *,
    predicted: float | None = None,
) -> "Figure":
    """Accuracy against labelled pictures a class; `flat` are classifiers that need none.

    A curve is a value for each of the shots, or a mapping from some of them. `predicted`: the
    learner's guess of where a curve crosses, in shots.
    """
    figure = new_figure(7.6, 3.2)
    axis = figure.subplots()
    words = []
    for series, (name, values) in enumerate(curves.items()):
        points = values if isinstance(values, Mapping) else dict(zip(shots, values, strict=True))
        axis.plot(np.log2(list(points)), 100 * np.array(list(points.values())), LINES[series],
                  marker="os^"[series], color=SERIES[series], linewidth=2, label=name)  # fmt: skip
        told = ", ".join(f"{value:.0%} with {k}" for k, value in points.items())
        words.append(f"{name}: {told}")
    for name, value in flat.items():
        axis.axhline(100 * value, color=SERIES[3], linestyle=(0, (6, 2)), linewidth=2, label=name)
        words.append(f"{name}: {value:.0%}")
    if predicted is not None:
        axis.axvline(np.log2(max(predicted, 0.6)), color=MARK, linestyle="--", label="predicted")
    axis.axhline(12.5, color=GREY, linestyle=":", label="chance")
    axis.set_xticks(np.log2(shots), [str(k) for k in shots])
    axis.set(xlabel="labelled pictures a class (logarithmic)", ylabel="right (%)", ylim=(0, 65))
    axis.grid(axis="y")
    axis.legend(fontsize=9, ncols=2, loc="lower right")
    figure.set_label(f"Accuracy by labelled pictures a class. {'; '.join(words)}; chance 12.5 %.")
    return figure


@in_style
def base_and_new(
    panels: Mapping[str, Mapping[str, tuple[float, float]]], chance: Sequence[float | None]
) -> "Figure":
    """For each source and method two bars: on the classes learnt on, and on others.

    `chance` is each source's; None where its data sets have different ones.
    """
    figure = new_figure(7.6, 3.3)
    axes = figure.subplots(1, len(panels), sharey=True, width_ratios=[*map(len, panels.values())])
    words = []
    for axis, (title, methods), luck in zip(
        np.atleast_1d(axes), panels.items(), chance, strict=True
    ):
        if luck:
            axis.axhline(100 * luck, color=INK, linestyle=":", label="chance")
            words.append(f"{title}, chance: {luck:.1%}")
        for place, (name, pair) in enumerate(methods.items()):
            for side, value in enumerate(pair):
                _bar(axis, place + 0.4 * side - 0.2, 100 * value, side)
            words.append(f"{title}, {name}: {pair[0]:.1%} on base, {pair[1]:.1%} on new")
        axis.set_xticks(range(len(methods)), list(methods))
        axis.set_title(title, fontsize=9.5, loc="left")
        axis.set_ylim(0, 100)
        axis.grid(axis="y")
        axis.set_axisbelow(True)
    figure.axes[0].set_ylabel("right (%)")
    keys = {}
    for axis in figure.axes:
        handles, labels = axis.get_legend_handles_labels()
        keys |= dict(zip(labels, handles, strict=True))
    figure.legend(keys.values(), keys, loc="outside lower center", ncols=3, fontsize=9)
    figure.set_label(f"Pairs of bars. {'; '.join(words)}.")
    return figure


def _bar(axis: "Axes", at: float, value: float, side: int) -> None:
    label = ("base classes (learnt on)", "new classes")[side] if at < 0.5 else None
    axis.bar(at, value, 0.38, color=SERIES[side], hatch=HATCHES[side], alpha=0.85, label=label,
             edgecolor="white", linewidth=0)  # fmt: skip
    axis.annotate(f"{value:.0f}", (at, value), (0, 2), textcoords="offset points", ha="center",
                  fontsize=9)  # fmt: skip


@in_style
def flattered(
    sizes: Sequence[int], told: Sequence[float], true: Sequence[float], *, honest: float
) -> "Figure":
    """What is told where settings were chosen on the test, and what they are worth on others."""
    figure = new_figure(7.6, 3.1)
    axis = figure.subplots()
    places = np.arange(len(sizes))
    axis.plot(places, 100 * np.asarray(told), "-o", color=SERIES[1], label="told: on those very "
              "pictures")  # fmt: skip
    axis.plot(places, 100 * np.asarray(true), "--s", color=SERIES[0], label="true: on other test "
              "pictures")  # fmt: skip
    axis.axhline(100 * honest, color=INK, linestyle=":", label="setting chosen on validation")
    for place, high, low in zip(places, told, true, strict=True):
        axis.annotate(f"+{100 * (high - low):.1f}", (place, 50 * (high + low)), (6, 0),
                      textcoords="offset points", va="center", fontsize=9)  # fmt: skip
    axis.set_xticks(places, [str(size) for size in sizes])
    axis.set(xlabel="test pictures on which the settings were chosen", ylabel="right (%)")
    axis.set_ylim(100 * min([*true, honest]) - 6, 100 * max(told) + 4)
    axis.grid(axis="y")
    axis.legend(fontsize=9)
    pairs = zip(sizes, told, true, strict=True)
    words = "; ".join(f"{size} pictures: told {a:.1%}, true {b:.1%}" for size, a, b in pairs)
    figure.set_label(f"Two curves that approach each other. {words}; by validation {honest:.1%}.")
    return figure
