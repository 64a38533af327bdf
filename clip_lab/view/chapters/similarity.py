"""Figures of chapter 6: published cosines, a matrix in blocks, recall by row and by column."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from clip_lab.view.figures import BLUE, GREY, INK, VERMILION, in_style
from clip_lab.view.notebook_figures import contact_sheet, cosine_panels, new_figure, show

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["blocks", "both_recalls", "contact_sheet", "cosine_panels", "published_means", "show"]


@in_style
def published_means(
    models: Sequence[str], matched: Sequence[float], others: Sequence[float]
) -> "Figure":
    """For each model, the mean cosine of its matching pairs and of the others, on one line."""
    figure = new_figure(7.6, 0.36 * len(models) + 1.2)
    axis = figure.subplots()
    places = range(len(models))
    axis.hlines(places, others, matched, color=GREY, linewidth=2)
    axis.plot(others, places, "s", color=GREY, ms=7, label="other pairs")
    axis.plot(matched, places, "o", color=BLUE, ms=8, label="matching pairs")
    axis.axvline(0.9, color=VERMILION, linestyle="--", linewidth=1.4, label="claimed: 0.9")
    axis.set_yticks(list(places), list(models))
    axis.set(xlim=(-0.1, 1), ylim=(len(models) - 0.5, -0.5), xlabel="mean cosine")
    axis.grid(axis="x")
    axis.legend(fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3)
    words = (
        f"{name}: matches {match:.2f}, others {other:.2f}"
        for name, match, other in zip(models, matched, others, strict=True)
    )
    figure.set_label(f"Two dots a model, the mean cosines. {'; '.join(words)}.")
    return figure


@in_style
def blocks(cosines: ArrayLike, captions: Sequence[str]) -> "Figure":
    """A matrix in which each caption stands several times in a row, with a line between blocks."""
    matrix = np.asarray(cosines)
    each = len(matrix) // len(captions)
    figure = new_figure(7.2, 5.6)
    axis = figure.subplots()
    image = axis.imshow(matrix, cmap="cividis", vmin=-1, vmax=1)
    middles = [each * k + (each - 1) / 2 for k in range(len(captions))]
    axis.set_xticks(middles, list(captions), rotation=40, ha="right")
    axis.set_yticks(middles, list(captions))
    for edge in range(each, len(matrix), each):
        axis.axhline(edge - 0.5, color="white", linewidth=0.8)
        axis.axvline(edge - 0.5, color="white", linewidth=0.8)
    axis.set(xlabel=f"captions, each {each} times", ylabel=f"pictures, {each} of each thing")
    figure.colorbar(image, ax=axis, label="cosine", shrink=0.85)
    same = np.kron(np.eye(len(captions)), np.ones((each, each))) > 0
    figure.set_label(
        f"A heat map of {len(matrix)} pictures and captions. Blocks of {each} by {each} "
        f"on the diagonal are bright, mean cosine {matrix[same].mean():.2f}; the rest has a mean "
        f"of {matrix[~same].mean():.2f}."
    )
    return figure


@in_style
def both_recalls(recalls: Mapping[str, tuple[float, float]], *, chance: float) -> "Figure":
    """Recall@1 by row and by column, a pair of bars for each way to make the matrix."""
    figure = new_figure(7.6, 0.75 * len(recalls) + 1.0)
    axis = figure.subplots()
    words = []
    for place, (name, pair) in enumerate(recalls.items()):
        for side, (share, colour, hatch) in enumerate(
            zip(pair, (BLUE, VERMILION), ("", "///"), strict=True)
        ):
            label = ("rows: pictures find captions", "columns: captions find pictures")[side]
            where = place + 0.19 * (2 * side - 1)
            axis.barh(where, 100 * share, 0.36, color=colour, hatch=hatch, edgecolor="white",
                      label=label if place == 0 else None)  # fmt: skip
            axis.annotate(f"{share:.1%}", (100 * share, where), (5, 0), fontsize=9, va="center",
                          textcoords="offset points")  # fmt: skip
        words.append(f"{name}: rows {pair[0]:.1%}, columns {pair[1]:.1%}")
    axis.axvline(100 * chance, color=INK, linestyle=":", linewidth=1.2,
                 label=f"chance, {chance:.1%}")  # fmt: skip
    axis.set_yticks(range(len(recalls)), list(recalls))
    axis.set(xlabel="recall@1 (%)", xlim=(0, 112), ylim=(len(recalls) - 0.5, -0.5))
    axis.set_xticks(range(0, 101, 20))
    axis.legend(fontsize=9, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3)
    figure.set_label(f"Pairs of bars. {'; '.join(words)}; chance {chance:.1%} (dotted).")
    return figure
