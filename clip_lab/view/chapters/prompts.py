"""Figures of chapter 10: templates one by one, published gains and costs, many, chosen ones."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from clip_lab.view.figures import BLUE, GREY, INK, ORANGE, VERMILION, in_style
from clip_lab.view.notebook_figures import contact_sheet, new_figure, show

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["choosing", "contact_sheet", "cost", "gains", "many", "one_by_one", "show"]


@in_style
def one_by_one(
    shares: Mapping[str, float],
    count: int,
    interval: Callable[[float, int], tuple[float, float]],
) -> "Figure":
    """Accuracy with each template, 95 % intervals; the first, a diamond, goes on as a line.

    `interval` gives the ends of a share of `count`, as `evaluation.accuracy.wilson` does.
    """
    figure = new_figure(7.6, 0.42 * len(shares) + 0.9)
    axis = figure.subplots()
    words = []
    for place, (template, share) in enumerate(shares.items()):
        low, high = (100 * end for end in interval(share, count))
        axis.plot([low, high], [place, place], color=BLUE, linewidth=2, solid_capstyle="butt")
        axis.plot(100 * share, place, "o" if place else "D", color=BLUE, ms=8)
        axis.annotate(f"{100 * share:.1f}", (high, place), (6, -3), textcoords="offset points",
                      fontsize=9)  # fmt: skip
        words.append(f"“{template}” {share:.1%} ({low:.1f} to {high:.1f})")
    axis.axvline(100 * next(iter(shares.values())), color=INK, linestyle=":", linewidth=1.2)
    axis.set_yticks(range(len(shares)), list(shares))
    axis.set(xlabel=f"right at the first guess (% of {count:,})", ylim=(len(shares) - 0.5, -0.6))
    axis.grid(axis="x")
    figure.set_label(f"A dot a template, with 95 % intervals. {'; '.join(words)}.")
    return figure


@in_style
def gains(
    worlds: Sequence[str], template: ArrayLike, ensemble: ArrayLike, paper: tuple[float, float]
) -> "Figure":
    """Points over the bare name: one template, and the ensemble; small dots are seeds.

    The arrays are (seeds, worlds), as shares; `paper` has the published points for ImageNet.
    """
    figure = new_figure(7.6, 3.2)
    axis = figure.subplots()
    words = []
    both = {"one template": template, "ensemble": ensemble}
    for series, (name, values) in enumerate(both.items()):
        points = 100 * np.asarray(values, dtype=float)
        colour, shift = (ORANGE, BLUE)[series], (-0.13, 0.13)[series]
        places = np.arange(len(worlds)) + 1 + shift
        axis.bar(places, points.mean(0), 0.24, color=colour, alpha=0.85, label=f"{name}, here")
        axis.plot(np.repeat(places[None], len(points), 0), points, ".", color=INK, ms=4)
        axis.bar(shift, paper[series], 0.24, facecolor="none", edgecolor=colour, linewidth=2,
                 hatch="//", label=f"{name}, paper")  # fmt: skip
        axis.annotate(f"+{paper[series]:.1f}", (shift, paper[series]), (0, 3), ha="center",
                      textcoords="offset points", fontsize=9)  # fmt: skip
        told = ", ".join(f"{world} {mean:+.1f}" for world, mean in zip(worlds, points.mean(0),
                                                                       strict=True))  # fmt: skip
        words.append(f"{name}: paper, ImageNet {paper[series]:+.1f}; here {told}")
    axis.axhline(0, color=INK, linewidth=1)
    labels = ["ImageNet\n(paper)", *(world.replace(", ", ",\n") for world in worlds)]
    axis.set_xticks(range(len(labels)), labels)
    axis.set(ylabel="right, less bare name (points)", ylim=(-2, 6))
    axis.grid(axis="y")
    axis.legend(fontsize=9, ncols=2, loc="upper right")
    figure.set_label(f"Bars in points over the bare name. {'. '.join(words)}.")
    return figure


@in_style
def cost(milliseconds: Mapping[str, ArrayLike], seconds: Mapping[str, ArrayLike]) -> "Figure":
    """Time for each picture, and for building the classifier once; dots are rounds."""
    figure = new_figure(7.6, 2.7)
    axes = figure.subplots(1, 2, width_ratios=[len(milliseconds), len(seconds)])
    words = []
    panels = ((milliseconds, "each picture", "ms"), (seconds, "building, once", "s"))
    for axis, (values, title, unit) in zip(axes, panels, strict=True):
        for place, (name, runs) in enumerate(values.items()):
            times = np.asarray(runs, dtype=float)
            axis.bar(place, times.mean(), 0.6, color=(GREY, BLUE, ORANGE)[place], alpha=0.85)
            axis.plot(np.full(times.size, place), times, ".", color=INK, ms=4)
            axis.annotate(f"{times.mean():.2f}", (place, times.max()), (0, 4), ha="center",
                          textcoords="offset points", fontsize=9)  # fmt: skip
            words.append(f"{title}, {name}: {times.mean():.2f} {unit}")
        axis.set_xticks(range(len(values)), [name.replace(", ", ",\n") for name in values])
        axis.set(ylabel=f"{unit} of processor time", ylim=(0, None))
        axis.margins(y=0.16)
        axis.set_title(title, loc="left")
    figure.set_label(f"Bars in two panels. {'; '.join(words)}.")
    return figure


@in_style
def many(sizes: Sequence[int], accuracies: ArrayLike, first: float, first_name: str) -> "Figure":
    """Accuracy of ensembles of so many templates drawn at random: mean, and middle 90 %.

    `accuracies` is (draws, sizes); `first` is drawn through as a line, for comparison.
    """
    figure = new_figure(7.6, 3.0)
    axis = figure.subplots()
    draws = 100 * np.asarray(accuracies, dtype=float)
    low, high = np.quantile(draws, [0.05, 0.95], axis=0)
    axis.fill_between(sizes, low, high, color=BLUE, alpha=0.2, label="middle 90 % of draws")
    axis.semilogx(sizes, draws.mean(0), "-o", color=BLUE, ms=4, linewidth=2, label="mean")
    axis.axhline(100 * first, color=VERMILION, linestyle="--", linewidth=1.6, label=first_name)
    axis.set_xticks(list(sizes), [str(size) for size in sizes])
    axis.minorticks_off()
    axis.set(xlabel="templates in the ensemble, drawn at random (logarithmic)", ylabel="right (%)")
    axis.grid(axis="y")
    axis.legend(fontsize=9, loc="lower right")
    told = "; ".join(
        f"{size}: {mean:.1f} % ({a:.1f} to {b:.1f})"
        for size, mean, a, b in zip(sizes, draws.mean(0), low, high, strict=True)
    )
    figure.set_label(f"A rising curve that flattens, with a band. Templates: {told}. Dashed line, "
                     f"{first_name}: {first:.1%}.")  # fmt: skip
    return figure


@in_style
def choosing(
    on_those: Sequence[float], on_others: Sequence[float], counts: tuple[int, int]
) -> "Figure":
    """Accuracy as templates are chosen one by one, on the pictures used for it and on others."""
    figure = new_figure(7.6, 2.9)
    axis = figure.subplots()
    steps = range(1, len(on_those) + 1)
    axis.plot(steps, 100 * np.asarray(on_those), "--s", color=ORANGE, ms=5, linewidth=2,
              label=f"the {counts[0]} pictures they were chosen on")  # fmt: skip
    axis.plot(steps, 100 * np.asarray(on_others), "-o", color=BLUE, ms=5, linewidth=2,
              label=f"the {counts[1]} others")  # fmt: skip
    axis.set(xlabel="templates chosen", ylabel="right (%)", xticks=list(steps))
    axis.grid(axis="y")
    axis.legend(fontsize=9, loc="center right")
    figure.set_label(
        f"Two curves. On the {counts[0]} pictures that templates were chosen on, accuracy goes "
        f"from {on_those[0]:.1%} to {on_those[-1]:.1%}; on {counts[1]} others from "
        f"{on_others[0]:.1%} to {on_others[-1]:.1%}."
    )
    return figure
