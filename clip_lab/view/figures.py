"""Figures for the README, the model cards and the book: plain arrays in, a matplotlib figure out.

Each figure reads alone: named axes with units, numbers beside the marks, colours of Okabe and Ito's
palette (told apart with any kind of colour blindness), and a description in words, its label, which
`save` writes into the file for screen readers (`describe` returns it).
"""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

import numpy as np
from jaxtyping import Float, Int

from clip_lab.errors import LabError

if TYPE_CHECKING:  # matplotlib is heavy: it is loaded by the first figure, not by this import
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito, "Color universal design" (2008).
BLUE, SKY, GREEN, VERMILION = "#0072B2", "#56B4E9", "#009E73", "#D55E00"
ORANGE, PURPLE, GREY, INK = "#E69F00", "#CC79A7", "#8A8F98", "#22262E"
SERIES = (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)

STYLE: dict[str, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": GREY,
    "axes.titleweight": "bold",
    "axes.titlesize": 11,
    "axes.labelcolor": INK,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": "#E3E6EA",
    "legend.frameon": False,
}


# matplotlib's own font, then whichever of these carries Chinese, Japanese and Korean labels.
FONTS = ("DejaVu Sans", "Noto Sans CJK SC", "PingFang SC", "Microsoft YaHei")

Arguments = ParamSpec("Arguments")


def in_style(draw: Callable[Arguments, "Figure"]) -> Callable[Arguments, "Figure"]:
    """Draw in the lab's style without changing the reader's own matplotlib settings."""

    @wraps(draw)
    def drawn(*args: Arguments.args, **kwargs: Arguments.kwargs) -> "Figure":
        import matplotlib
        from matplotlib.font_manager import fontManager

        installed = fontManager.get_font_names()
        style = STYLE | {"font.family": [font for font in FONTS if font in installed]}
        with matplotlib.rc_context(style):  # pyright: ignore[reportArgumentType]
            return draw(*args, **kwargs)

    return drawn


def softmax(logits: Float[np.ndarray, "labels"]) -> Float[np.ndarray, "labels"]:
    """Shares that sum to one. The largest logit is taken off first, so that exp cannot overflow."""
    powers = np.exp(logits - logits.max())
    return powers / powers.sum()


def describe(figure: "Figure") -> str:
    """What the figure shows, in words: its alternative text."""
    return str(figure.get_label())


def save(figure: "Figure", path: str | Path, dpi: int = 150) -> Path:
    """Write the figure (PNG or SVG, by the name's ending) with its description inside."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    words = {"Description": describe(figure)}
    figure.savefig(path, dpi=dpi, metadata=words, facecolor="white", bbox_inches="tight")
    return path


@in_style
def classification(
    labels: Sequence[str],
    cosines: Float[np.ndarray, "labels"],
    scale: float,
    *,
    picture: np.ndarray | None = None,
    top: int = 8,
) -> "Figure":
    """Cosine, logit and probability of one picture's best labels, side by side (paper, figure 3).

    `scale` is 1/temperature; the softmax runs over all labels, not only over the `top` drawn.
    `picture` is an (height, width, 3) array drawn at the left. LabError where lengths differ.
    """
    cosines = np.asarray(cosines, dtype=float)
    if len(labels) != len(cosines) or not len(labels):
        raise LabError(f"{len(labels)} labels and {len(cosines)} cosines: give one for each label.")
    best = np.argsort(-cosines, kind="stable")[:top][::-1]  # drawn from the bottom up
    names = [_shortened(str(labels[i])) for i in best]
    probabilities = softmax(scale * cosines)
    figure, axes, beside = _picture_and_bars(picture, 3, 0.42 * len(best) + 1.6)
    # One axis for the first two: a logit's bar has its cosine's length where the scale is 100.
    low, reach = min(0.0, float(cosines.min()) * 1.25), max(100.0, scale)
    columns = (
        ("cosine", "likeness, at most 1", cosines, (low, 1.0), "{:+.3f}", BLUE),
        (f"× {scale:.4g} = logit", "scale × cosine", scale * cosines, None, "{:.2f}", PURPLE),
        ("softmax", "share of 100 %", 100 * probabilities, (0.0, 100.0), "{:.1f} %", VERMILION),
    )
    for axis, (title, unit, values, limits, form, colour) in zip(axes, columns, strict=True):
        limits = limits or (low * reach, reach)
        _bars(axis, names if axis is axes[0] else None, values[best], limits, form, colour)
        axis.set(title=title, xlabel=unit)
    if beside is not None and picture is not None:
        beside.imshow(picture)
        beside.axis("off")
        beside.set_anchor("N")
    figure.set_label(_winner_in_words(labels, cosines, scale, probabilities, len(best)))
    return figure


def _winner_in_words(
    labels: Sequence[str],
    cosines: np.ndarray,
    scale: float,
    probabilities: np.ndarray,
    shown: int,
) -> str:
    winner = int(cosines.argmax())
    return (
        f"Bars for the {shown} best of {len(labels)} labels. Best: {labels[winner]}, cosine "
        f"{cosines[winner]:.3f}, logit {scale * cosines[winner]:.2f} at scale {scale:.4g}, "
        f"probability {100 * probabilities[winner]:.1f} %."
    )


@in_style
def training_curve(
    steps: Int[np.ndarray, "steps"],
    loss: Float[np.ndarray, "steps"],
    scale: Float[np.ndarray, "steps"],
    accuracy: Mapping[str, tuple[np.ndarray, np.ndarray]],
    *,
    chance_loss: float | None = None,
) -> "Figure":
    """Loss, logit scale and accuracy by training step, one above the other.

    `accuracy` maps a series' name to its (steps, shares between 0 and 1), since tests run more
    rarely than steps. `chance_loss` is the loss of a model that knows nothing: ln(batch size).
    """
    if not len(steps) == len(loss) == len(scale):
        raise LabError("Steps, loss and scale differ in length: give one of each a step.")
    figure = empty_figure((7.5, 7.2))
    rows: list[Axes] = list(figure.subplots(3, 1, sharex=True))
    rows[0].plot(steps, loss, color=BLUE, linewidth=1.2)
    rows[0].set_ylabel("loss (nats)")
    if chance_loss is not None:
        rows[0].axhline(chance_loss, color=GREY, linestyle="--", linewidth=1)
        rows[0].annotate("knowing nothing: ln(batch)", (1, chance_loss), (-2, -12),
                         xycoords=("axes fraction", "data"), textcoords="offset points",
                         ha="right", color="#5B616B", fontsize=9)  # fmt: skip
    rows[1].plot(steps, scale, color=PURPLE, linewidth=1.4)
    rows[1].set_ylabel("logit scale, 1/τ")
    for colour, mark, (name, (at, share)) in zip(SERIES, "osD^vP", accuracy.items(), strict=False):
        rows[2].plot(at, 100 * np.asarray(share), color=colour, marker=mark, ms=4, label=name)
    rows[2].set(ylabel="accuracy (%)", xlabel="training step", ylim=(0, None))
    rows[2].legend(loc="upper left", fontsize=9)
    for axis in rows:
        axis.grid(axis="y")
    last = ", ".join(f"{name} {100 * float(s[-1]):.1f} %" for name, (_, s) in accuracy.items())
    figure.set_label(
        f"Three curves over {int(steps[-1]):,} training steps: loss from {loss[0]:.2f} to "
        f"{loss[-1]:.2f}, logit scale from {scale[0]:.1f} to {scale[-1]:.1f}, accuracy at the end: "
        f"{last}."
    )
    return figure


@in_style
def contact_sheet(
    pictures: Sequence[np.ndarray], captions: Sequence[str], *, columns: int = 8, title: str = ""
) -> "Figure":
    """Pictures in a grid, each over its caption. `pictures`: (height, width, 3) arrays."""
    if len(pictures) != len(captions) or not len(pictures):
        raise LabError(f"{len(pictures)} pictures, {len(captions)} captions: give one for each.")
    columns = min(columns, len(pictures))
    rows = -(-len(pictures) // columns)
    figure = empty_figure((1.35 * columns, 1.65 * rows + (0.4 if title else 0)))
    grid = figure.subplots(rows, columns, squeeze=False)
    for axis in grid.flat:
        axis.axis("off")
    for axis, picture, caption in zip(grid.flat, pictures, captions, strict=False):
        axis.imshow(picture)
        axis.text(0.5, -0.05, _wrapped(caption), fontsize=8, ha="center", va="top",
                  transform=axis.transAxes)  # fmt: skip
    if title:
        figure.suptitle(title, fontweight="bold", fontsize=11)
    figure.set_label(f"{title or 'Pictures'}: {'; '.join(captions)}.")
    return figure


def empty_figure(size: tuple[float, float]) -> "Figure":
    """An empty figure. Made without pyplot, which would keep every figure alive."""
    from matplotlib.figure import Figure

    return Figure(figsize=size, layout="constrained")


def _picture_and_bars(
    picture: np.ndarray | None, columns: int, height: float
) -> tuple["Figure", "list[Axes]", "Axes | None"]:
    """A row of axes for bars, and one for the picture at their left where there is one."""
    if picture is None:
        figure = empty_figure((9.6, height))
        return figure, list(figure.subplots(1, columns)), None
    figure = empty_figure((11.6, height))
    beside, *axes = figure.subplots(1, columns + 1, width_ratios=[0.8] + [1.0] * columns)
    return figure, axes, beside


def _bars(
    axis: "Axes",
    names: Sequence[str] | None,
    values: np.ndarray,
    limits: tuple[float, float],
    form: str,
    colour: str,
) -> None:
    """Horizontal bars with their number at the end; `names` for the leftmost axes of a row only."""
    rows = list(range(len(values)))
    axis.barh(rows, values, color=colour, height=0.66)
    spread = limits[1] - limits[0]
    for row, value in zip(rows, values, strict=True):
        axis.text(max(value, 0.0) + 0.02 * spread, row, form.format(value), va="center", fontsize=9)
    axis.axvline(0, color=GREY, linewidth=1)
    axis.set_xlim(*limits)
    axis.set_xticks([tick for tick in axis.get_xticks() if limits[0] <= tick <= limits[1]])
    axis.set_xlim(limits[0], limits[1] + 0.28 * spread)  # room for the numbers
    axis.set_yticks(rows, names or [""] * len(rows))
    axis.tick_params(axis="y", length=0)
    axis.spines["left"].set_visible(False)


def _shortened(text: str, length: int = 28) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"


def _wrapped(text: str, width: int = 18, lines: int = 2) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(text, width, max_lines=lines, placeholder=" …"))
