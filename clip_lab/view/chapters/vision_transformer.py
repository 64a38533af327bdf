"""Chapter 3's figures: a picture as a sequence, its cost, learned places, broken towers."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from clip_lab.view.figures import (
    BLUE,
    GREY,
    INK,
    SKY,
    VERMILION,
    empty_figure,
    in_style,
)
from clip_lab.view.notebook_figures import contact_sheet, show
from clip_lab.view.widgets.patches import vit_cost

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage

__all__ = ["accuracy_bars", "contact_sheet", "cost_by_patch", "places", "sequence", "show"]


@in_style
def sequence(picture: np.ndarray, patch: int) -> "Figure":
    """The picture with its patches numbered, and beside it the patches one after the other."""
    from matplotlib.patches import Rectangle

    grid = len(picture) // patch
    figure = empty_figure((7.6, 3.2))
    whole, row = figure.subplots(1, 2, width_ratios=[1, 1.35])
    whole.imshow(picture)
    for place in range(grid + 1):
        for draw in (whole.axhline, whole.axvline):
            draw(place * patch - 0.5, color="white", linewidth=1.6)
            draw(place * patch - 0.5, color="black", linewidth=0.6)
    whole.axis("off")
    whole.set_title(f"{grid} × {grid} patches", loc="left")
    step = patch + max(patch // 3, 2)  # room for a number under each
    sheet = np.ones((grid * step, grid * step, 4))
    sheet[..., 3] = 0
    for k in range(grid**2):
        down, across = divmod(k, grid)
        part = picture[down * patch :, across * patch :][:patch, :patch]
        top, left = down * step, across * step
        sheet[top : top + patch, left : left + patch, :3] = part
        sheet[top : top + patch, left : left + patch, 3] = 1
        edge = {"fill": False, "edgecolor": GREY, "linewidth": 0.8}
        row.add_patch(Rectangle((left - 0.5, top - 0.5), patch, patch, **edge))
        row.text(left + patch / 2, top + patch + 0.3, str(k + 1), ha="center", va="top", fontsize=8)
    row.imshow(sheet)
    row.axis("off")
    row.set_title("… are the words, read like a page", loc="left")
    figure.set_label(
        f"A picture cut into {grid} by {grid} patches of {patch} pixels, and the patches one by "
        f"one, numbered 1 to {grid**2} row by row from the top left."
    )
    return figure


@in_style
def cost_by_patch(
    sizes: Sequence[int], image_size: int = 224, width: int = 768, layers: int = 12
) -> "Figure":
    """Multiply-adds of a tower by its number of tokens, both axes logarithmic; a mark a patch size.

    The default is CLIP's ViT-B.
    """
    parts = [vit_cost(image_size, size, width, layers) for size in sizes]
    tokens = np.array([(image_size // size) ** 2 + 1 for size in sizes])
    pairs = np.array([part["attention products"] for part in parts]) / 1e9
    total = np.array([sum(part.values()) for part in parts]) / 1e9
    figure = empty_figure((7.6, 3.4))
    axis = figure.subplots()
    axis.loglog(tokens, total, "o-", color=BLUE, linewidth=2.2, label="the whole tower")
    axis.loglog(tokens, total - pairs, "s--", color=SKY, ms=4, label="matrices: grow with tokens")
    axis.loglog(tokens, pairs, "^:", color=VERMILION, label="attention products: with tokens²")
    for size, count, cost in zip(sizes, tokens, total, strict=True):
        axis.annotate(f"patch {size}\n{cost:,.1f} G", (count, cost), (-4, 7), ha="right",
                      textcoords="offset points", fontsize=8.5)  # fmt: skip
    axis.set(xlabel="tokens (logarithmic)", ylabel="multiply-adds a picture (G, log.)")
    axis.set_ylim(pairs.min() * 0.6, total.max() * 4)
    axis.set_xlim(tokens.min() * 0.6, tokens.max() * 1.3)
    axis.set_xticks(tokens, [f"{count:,}" for count in tokens])
    axis.minorticks_off()
    axis.legend(loc="upper left", fontsize=9)
    words = "; ".join(
        f"patch {size}: {count} tokens, {cost:.1f} G, of which attention products {pair:.2f} G"
        for size, count, cost, pair in zip(sizes, tokens, total, pairs, strict=True)
    )
    figure.set_label(
        f"Two straight lines and their sum. Multiply-adds of a tower of width {width} and {layers} "
        f"blocks on {image_size} pixels. {words}."
    )
    return figure


@in_style
def places(
    before: Float[np.ndarray, "tokens width"],
    after: Float[np.ndarray, "tokens width"],
    token: int,
) -> "Figure":
    """Position vectors before and after training: one against all on the grid, and by distance."""
    grid = round((len(after) - 1) ** 0.5)
    figure = empty_figure((7.6, 2.7))
    axes = figure.subplots(1, 3, width_ratios=[1, 1, 1.5])
    words, image = [], None
    for axis, name, positions in ((axes[0], "untrained", before), (axes[1], "trained", after)):
        cosines = _cosines(positions)
        image = _heat(axis, cosines[token - 1].reshape(grid, grid), token, f"token {token}, {name}")
        steps, means = by_distance(cosines)
        colour, dash = (GREY, "--") if name == "untrained" else (BLUE, "-")
        axes[2].plot(steps, means, f"o{dash}", color=colour, label=name)
        words.append(f"{name} {means[0]:.2f} at one step, {means[-1]:.2f} at {steps[-1]}")
    if image is not None:
        beside = {
            "orientation": "horizontal",
            "label": "cosine",
            "aspect": 40,
            "ticks": [-1, -0.5, 0, 0.5, 1],
        }
        figure.colorbar(image, ax=list(axes[:2]), **beside)
    axes[2].axhline(0, color=GREY, linewidth=0.8)
    axes[2].set(xlabel="distance (patches)", ylabel="mean cosine", ylim=(None, 1))
    axes[2].legend(fontsize=9)
    axes[2].set_title("all pairs of patches", loc="left")
    figure.set_label(
        f"Two heat maps of the cosine of token {token}'s position vector with all others, and two "
        f"curves of the mean cosine by distance on the grid: {'; '.join(words)}."
    )
    return figure


def by_distance(cosines: Float[np.ndarray, "n n"]) -> tuple[list[int], list[float]]:
    """The mean cosine of two places a given number of patches apart (rounded), and the numbers."""
    grid = round(len(cosines) ** 0.5)
    rows, columns = np.divmod(np.arange(grid**2), grid)
    apart = np.hypot(rows[:, None] - rows, columns[:, None] - columns).round()
    steps = list(range(1, grid))
    return steps, [float(cosines[apart == step].mean()) for step in steps]


def _cosines(positions: np.ndarray) -> np.ndarray:
    """Of the patches' position vectors, without the class token's."""
    rows = np.asarray(positions, dtype=float)[1:]
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return rows @ rows.T


def _heat(axis: "Axes", values: np.ndarray, token: int, title: str) -> "AxesImage":
    image = axis.imshow(values, cmap="cividis", vmin=-1, vmax=1)
    down, across = divmod(token - 1, len(values))
    axis.plot(across, down, "o", color="white", markeredgecolor=INK, ms=6)
    axis.set_title(title, loc="left", fontsize=10)
    axis.set_xticks([])
    axis.set_yticks([])
    return image


@in_style
def accuracy_bars(
    measured: Mapping[str, tuple[float, float, float]],
    guessed: Sequence[float],
    *,
    n: int,
    interval: Callable[[float, int], tuple[float, float]],
) -> "Figure":
    """For each tower: shares of colours and of places found among n pictures, with 95 % intervals,
    and its vectors' cosine with the first tower's.

    `guessed`: the shares of who always says the commonest colour or place. `interval` gives the
    ends of a share of n, as `evaluation.accuracy.wilson` does.
    """
    names = list(measured)
    rows = np.arange(len(names))[::-1]
    figure = empty_figure((7.6, 0.42 * len(names) + 1.1))
    axes = figure.subplots(1, 3, sharey=True)
    *shares, cosines = zip(*measured.values(), strict=True)
    _bars(axes[2], rows, cosines, "cosine with the first", GREY, "...")
    looks = (("colour found (%)", BLUE, ""), ("place found (%)", VERMILION, "///"))
    for axis, found, look, guess in zip(axes, shares, looks, guessed, strict=False):
        _bars(axis, rows, 100 * np.array(found), *look)
        ends = 100 * np.array([interval(share, n) for share in found])
        reach = np.abs(ends.T - 100 * np.array(found))
        axis.errorbar(100 * np.array(found), rows, xerr=reach, fmt="none", ecolor=INK, capsize=3)
        axis.axvline(100 * guess, color=INK, linestyle="--", linewidth=1)
    axes[0].set_yticks(rows, names)
    axes[0].set_xlabel("dashed: always the commonest", fontsize=9)
    axes[1].set_xlabel(f"n = {n:,}, 95 % intervals", fontsize=9)
    words = "; ".join(
        f"{name}: colour {colour:.0%}, place {place:.0%}, cosine {cosine:.3f}"
        for name, (colour, place, cosine) in measured.items()
    )
    figure.set_label(
        f"Bars for {len(names)} towers, n = {n:,}. {words}. Always saying the commonest finds "
        f"{guessed[0]:.0%} of the colours and {guessed[1]:.0%} of the places."
    )
    return figure


def _bars(
    axis: "Axes", rows: np.ndarray, values: ArrayLike, title: str, colour: str, hatch: str
) -> None:
    """Bars with their numbers: per cent where they reach past 1, else as they are."""
    lengths = np.asarray(values, dtype=float)
    full, form = (100, "{:.0f}") if lengths.max() > 1.001 else (1, "{:.3f}")
    axis.barh(rows, lengths, color=colour, hatch=hatch, edgecolor="white", height=0.7)
    for row, length in zip(rows, lengths, strict=True):
        place = (max(length, 0) + 0.07 * full, row)
        axis.text(*place, form.format(length), va="center", fontsize=8.5)
    axis.set_title(title, loc="left", fontsize=10)
    axis.set_xlim(min(0, lengths.min() * 1.2), full * 1.3)
    axis.set_xticks([0, full / 2, full])
    axis.spines["left"].set_visible(False)
    axis.tick_params(axis="y", length=0)
