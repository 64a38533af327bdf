"""Chapter 5's figures: whose state moves, what mistakes cost, and what word order is worth."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from clip_lab.view.figures import BLUE, GREY, INK, SERIES, VERMILION, empty_figure, in_style
from clip_lab.view.notebook_figures import MARK, contact_sheet, show

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["contact_sheet", "readings", "show", "who_moves", "word_order"]

DARK, PALE = "#101820", "#fdfdfd"  # numbers on a cell: not the page's ink, as cells keep theirs


@in_style
def who_moves(moved: Float[np.ndarray, "n n"], names: Sequence[str]) -> "Figure":
    """Row: the token that was replaced. Column: how far its state moved, relative to its length.

    Zeros (below a millionth) stay empty, with a dot: they are what the figure is about.
    """
    moved, n = np.asarray(moved, dtype=float), len(names)
    moved = np.where(moved < 1e-6, 0, moved)
    figure = empty_figure((7.6, 0.42 * n + 1.5))
    axis = figure.subplots()
    shown = np.ma.masked_equal(moved, 0)
    image = axis.imshow(shown, cmap="Blues", vmin=0, vmax=moved.max(), aspect="auto")
    for (i, j), value in np.ndenumerate(moved):
        light = np.dot(image.to_rgba(value)[:3], (0.21, 0.72, 0.07)) > 0.45
        text, colour = (f"{value:.2f}", DARK if light else PALE) if value else ("·", INK)
        axis.text(j, i, text, ha="center", va="center", fontsize=8.5, color=colour)
    axis.set_xticks(range(n), list(names), rotation=40, ha="right", rotation_mode="anchor")
    axis.set_yticks(range(n), list(names))
    axis.set(xlabel="state of this token (distance moved ÷ length; dot: below a millionth)",
             ylabel="replaced token")  # fmt: skip
    axis.tick_params(length=0)
    for spine in axis.spines.values():
        spine.set_visible(False)
    before = np.tril(moved, -1)
    figure.set_label(
        f"A table of {n} by {n}. Row: the token that was replaced; column: how far each token's "
        f"state moved. Left of the diagonal, the largest is {before.max():.2g}; on and right of "
        f"it, from {moved[np.triu_indices(n)].min():.2f} to {moved.max():.2f}."
    )
    return figure


@in_style
def readings(shares: Mapping[str, float], chance: float, pictures: int) -> "Figure":
    """How often the right caption comes first, for each way to read the same weights."""
    figure = empty_figure((7.6, 0.45 * len(shares) + 1.1))
    axis = figure.subplots()
    rows, values = range(len(shares)), 100 * np.array(list(shares.values()))
    axis.barh(rows, values, color=[BLUE] + [VERMILION] * (len(values) - 1), height=0.62)
    for row, value in zip(rows, values, strict=True):
        axis.text(value + 1.2, row, f"{value:.1f} %", va="center", fontsize=9)
    axis.axvline(100 * chance, color=GREY, linestyle="--", linewidth=1.2)
    axis.set_yticks(rows, list(shares))
    axis.invert_yaxis()
    axis.tick_params(axis="y", length=0)
    axis.set(xlim=(0, 108), xlabel=f"right caption first (%) of {pictures:,} pictures; dashed: "
             f"chance, {100 * chance:.1f} %")  # fmt: skip
    words = ", ".join(f"{name} {100 * share:.1f} %" for name, share in shares.items())
    figure.set_label(f"Bars, right caption first: {words}; chance is {100 * chance:.1f} %.")
    return figure


@in_style
def word_order(
    cosines: Mapping[str, Sequence[float]], *, predicted: tuple[str, float] | None = None
) -> "Figure":
    """For each way to change a caption: cosines with the caption before, one dot each.

    `predicted`: the name of one of the ways, and what the learner guessed for its mean.
    """
    figure = empty_figure((7.6, 0.62 * len(cosines) + 1.0))
    axis = figure.subplots()
    words = []
    for row, (name, values) in enumerate(cosines.items()):
        values = np.asarray(values, dtype=float)
        spread = 0.26 * np.sin(np.arange(len(values)) * 2.4)  # apart, and the same each time
        axis.plot(values, row + spread, ".", color=SERIES[row % len(SERIES)], ms=4, alpha=0.45)
        axis.plot([values.mean()] * 2, [row - 0.36, row + 0.36], color=INK, linewidth=2)
        axis.text(values.mean(), row - 0.4, f"{values.mean():.3f}", ha="center", va="bottom",
                  fontsize=9)  # fmt: skip
        words.append(f"{name}: {values.mean():.3f} ({values.min():.2f} to {values.max():.2f})")
        if predicted is not None and predicted[0] == name:
            axis.plot([predicted[1]] * 2, [row - 0.42, row + 0.42], color=MARK, linewidth=2.2,
                      linestyle="--", label="predicted")  # fmt: skip
            axis.legend(loc="upper left", fontsize=9)
    axis.set_yticks(range(len(cosines)), list(cosines))
    axis.set_ylim(len(cosines) - 0.4, -0.75)
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="x")
    axis.set(xlabel="cosine with the caption as it was (1: nothing changed; bar: mean)")
    figure.set_label("Cosines with the unchanged caption, mean and range. " + "; ".join(words))
    return figure
