"""Figures of the course's chapters, and `show`, which puts a figure into a notebook with its words.

Figures are drawn by matplotlib in the lab's style (`clip_lab.view.figures`) and shown as SVG inside
the page. That way text takes the page's own colour, in a light theme as in a dark one, and the
figure's description is read out by screen readers.
"""

import io
import re
from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from clip_lab.view.figures import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    VERMILION,
    contact_sheet,
    describe,
    in_style,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = ["contact_sheet", "cosine_panels", "share_by_tau", "show"]

MARK = "#7a6ad8"  # the learner's prediction: the colour that its note has


class Shown:
    """A figure as a notebook shows it: SVG in the page, with its description for screen readers."""

    def __init__(self, figure: "Figure", notes: tuple[Any, ...] = ()) -> None:
        self.alt, self.svg, self.notes = describe(figure), _svg(figure), notes

    def __repr__(self) -> str:
        return "\n".join([self.alt, *map(repr, self.notes)])

    def _repr_html_(self) -> str:
        words = f'role="img" aria-label="{escape(self.alt)}" style="max-width:100%;height:auto"'
        svg = self.svg.replace("<svg", f"<svg {words}", 1)
        notes = "".join(note._repr_html_() for note in self.notes)
        return f'<div class="lab-figure">{svg}</div>{notes}'


def show(figure: "Figure", *notes: Any) -> Shown:
    """The figure, ready to be the last line of a cell; below it, notes (what has `_repr_html_`)."""
    return Shown(figure, notes)


def _svg(figure: "Figure") -> str:
    """The figure as SVG whose ink is the page's, and whose names can't meet another figure's."""
    import matplotlib

    file = io.StringIO()
    # A fixed salt and no date: the same figure gives the same bytes.
    with matplotlib.rc_context({"svg.hashsalt": figure.get_label(), "svg.fonttype": "path"}):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    svg = file.getvalue()
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    return svg.replace(INK.lower(), "currentColor").replace("#e3e6ea", "#8a8f9855")


def new_figure(width: float, height: float) -> "Figure":
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


@in_style
def cosine_panels(matrices: Mapping[str, ArrayLike], *, predicted: float | None = None) -> "Figure":
    """For each (n, n) matrix of cosines: matching, other, and how often the right caption wins.

    `predicted`: the learner's guess of the mean of the matching ones, drawn as a line.
    """
    figure = new_figure(7.6, 2.1 * len(matrices))
    axes = figure.subplots(len(matrices), 1, sharex=True, squeeze=False)[:, 0]
    words = []
    for axis, (name, matrix) in zip(axes, matrices.items(), strict=True):
        cosines = np.asarray(matrix)
        matched, others = cosines.diagonal(), cosines[~np.eye(len(cosines), dtype=bool)]
        recall = (cosines.argmax(1) == np.arange(len(cosines))).mean()
        _two_histograms(axis, matched, others)
        first = f"right caption first for {recall:.0%} of {len(cosines):,}"
        axis.set_title(f"{name}: {first}", loc="left")
        words.append(f"{name}: matches {matched.mean():.3f}, others {others.mean():.3f}, {first}")
        if predicted is not None:
            axis.axvline(predicted, color=MARK, linewidth=2, linestyle="--", label="predicted")
    axes[0].legend(loc="upper left", fontsize=9)
    axes[-1].set(xlabel="cosine of picture and caption", xlim=(-0.8, 1.02))
    figure.set_label("Histograms of cosines. Means: " + "; ".join(words) + ".")
    return figure


def _two_histograms(axis: "Axes", matched: np.ndarray, others: np.ndarray) -> None:
    """Densities, not counts: there are N matches and N² - N others."""
    bins = np.linspace(-1, 1, 61).tolist()
    axis.hist(others, bins, density=True, color=GREY, alpha=0.75, label="other pairs")
    axis.hist(matched, bins, density=True, color=BLUE, alpha=0.75, label="matching pairs")
    axis.set_yticks([])
    axis.spines["left"].set_visible(False)


@in_style
def share_by_tau(
    taus: Sequence[float], largest: Sequence[float], learned: float, captions: int
) -> "Figure":
    """The largest share of a row, averaged over pictures, at each temperature (log axis)."""
    figure = new_figure(7.6, 3.0)
    axis = figure.subplots()
    axis.semilogx(taus, 100 * np.asarray(largest), color=BLUE, linewidth=2.2)
    axis.axhline(100 / captions, color=GREY, linestyle="--", linewidth=1)
    axis.text(0.01, 100 / captions + 2, f"all alike: 1/{captions}", color=INK, fontsize=9)
    for tau, name, colour in ((0.07, "CLIP's start", ORANGE), (learned, "learned here", VERMILION)):
        axis.plot(tau, 100 * np.interp(np.log(tau), np.log(taus), largest), "o", color=colour, ms=8,
                  label=f"{name}, τ = {tau:.3f}")  # fmt: skip
    axis.set(xlabel="temperature τ (logarithmic)", ylabel="largest share (%)", ylim=(0, 105))
    axis.set_xticks([0.01, 0.03, 0.1, 0.3, 1], ["0.01", "0.03", "0.1", "0.3", "1"])
    axis.grid(axis="y")
    axis.legend(fontsize=9)
    figure.set_label(
        f"A falling curve. The largest share of a row is {largest[0]:.0%} at τ = {taus[0]:.2g} and "
        f"{largest[-1]:.0%} at τ = {taus[-1]:.2g}; all alike would be {1 / captions:.0%}."
    )
    return figure
