"""Chapter 2: what a name costs by language and by number of merges, and what broken tokens cost."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from clip_lab.view.figures import (
    BLUE,
    GREY,
    INK,
    ORANGE,
    SERIES,
    VERMILION,
    in_style,
)
from clip_lab.view.notebook_figures import MARK, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARKERS = "os^Dv*"
LANGUAGES = {
    "bn": "Bengali", "da": "Danish", "de": "German", "en": "English", "en-gb": "English (UK)",
    "es": "Spanish", "es-mx": "Spanish (Mexico)", "et": "Estonian", "fi": "Finnish",
    "fr": "French", "hi": "Hindi", "hu": "Hungarian", "it": "Italian", "ja": "Japanese",
    "ko": "Korean", "lt": "Lithuanian", "ms": "Malay", "nb": "Norwegian", "nl": "Dutch",
    "pl": "Polish", "pt": "Portuguese", "ru": "Russian", "sv": "Swedish", "th": "Thai",
    "uk": "Ukrainian", "vi": "Vietnamese", "zh": "Chinese", "zh-hant": "Chinese (traditional)",
}  # fmt: skip


@in_style
def tokens_by_language(
    clip: Mapping[str, float], lab: Mapping[str, float], *, predicted: float | None = None
) -> "Figure":
    """Mean tokens a name in each language, by CLIP's merges and by the lab's own, cheapest first.

    `predicted`: what the learner guessed the dearest language to cost, in tokens.
    """
    codes = sorted(clip, key=lambda code: -clip[code])  # drawn from the bottom up
    places = np.arange(len(codes))
    figure = new_figure(7.6, 0.23 * len(codes) + 1.1)
    axis = figure.subplots()
    left, right = np.array([clip[c] for c in codes]), np.array([lab[c] for c in codes])
    axis.hlines(places, np.minimum(left, right), np.maximum(left, right), color=GREY, linewidth=1)
    axis.plot(left, places, "o", color=BLUE, ms=7, label="CLIP's 48,894 merges")
    axis.plot(right, places, "D", color=ORANGE, ms=6, mfc="none", mew=1.8,
              label="the lab's 7,678, learned in all 28")  # fmt: skip
    axis.axvline(clip["en"], color=GREY, linestyle=":", linewidth=1.2)
    if predicted is not None:
        axis.axvline(predicted, color=MARK, linestyle="--", linewidth=2, label="predicted")
    axis.set_yticks(places, [LANGUAGES.get(code, code) for code in codes], fontsize=9)
    axis.set(xlabel="tokens, mean of the same emoji's names", xlim=(0, None))
    axis.set_ylim(-0.7, len(codes) - 0.3)
    axis.grid(axis="x")
    axis.legend(fontsize=9, loc="lower right" if predicted is None else "upper right")
    cheap, dear = codes[-1], codes[0]
    figure.set_label(
        f"Dots, a row a language. With CLIP's merges a name costs {clip[cheap]:.1f} tokens in "
        f"{LANGUAGES.get(cheap, cheap)} and {clip[dear]:.1f} in {LANGUAGES.get(dear, dear)}; with "
        f"the lab's, between {right.min():.1f} and {right.max():.1f}."
    )
    return figure


@in_style
def tokens_by_merges(numbers: Sequence[int], tokens: Mapping[str, Sequence[float]]) -> "Figure":
    """Mean tokens a name against how many merges are used (the first of CLIP's), by language."""
    figure = new_figure(7.6, 3.4)
    axis = figure.subplots()
    for values, colour, marker in zip(tokens.values(), SERIES, MARKERS, strict=False):
        axis.plot(numbers, values, color=colour, marker=marker, ms=5, linewidth=2)
    room = 0.055 * max(max(values) for values in tokens.values())  # a line of text needs it
    height = -room
    for code in sorted(tokens, key=lambda code: tokens[code][-1]):
        height = max(tokens[code][-1], height + room)
        axis.annotate(LANGUAGES.get(code, code), (numbers[-1], height), (8, 0),
                      textcoords="offset points", va="center", color=INK, fontsize=9)  # fmt: skip
    axis.set_xscale("symlog", linthresh=100, linscale=0.5)
    axis.set_xticks(numbers, [f"{number:,}" for number in numbers])
    axis.minorticks_off()
    axis.set(xlabel="merges used, the first of CLIP's list", ylabel="tokens a name", ylim=(0, None))
    axis.grid(axis="y")
    words = [f"{LANGUAGES.get(c, c)} from {v[0]:.1f} to {v[-1]:.1f}" for c, v in tokens.items()]
    figure.set_label(
        f"Falling curves. Tokens a name from {numbers[0]} merges (a token a byte) to "
        f"{numbers[-1]:,}: {', '.join(words)}."
    )
    return figure


@in_style
def captions_found(
    shares: Mapping[str, float], n: int, interval: Callable[[float, int], tuple[float, float]]
) -> "Figure":
    """How often one of n pictures finds its own caption first, a bar a way of making the tokens.

    `interval` gives the ends of a share of n, as `evaluation.accuracy.wilson` does.
    """
    names, chance = list(shares)[::-1], 1 / n
    values = 100 * np.array([shares[name] for name in names])
    figure = new_figure(7.6, 0.45 * len(names) + 0.9)
    axis = figure.subplots()
    colours = [BLUE if name == next(iter(shares)) else VERMILION for name in names]
    axis.barh(names, values, color=colours, height=0.62)
    for place, value in enumerate(values):
        low, high = (100 * end for end in interval(value / 100, n))
        axis.errorbar(value, place, xerr=[[value - low], [high - value]], color=INK, capsize=3)
        axis.text(high + 1, place, f"{value:.1f} %", va="center", color=INK, fontsize=9)
    axis.axvline(100 * chance, color=GREY, linestyle="--", linewidth=1.2)
    axis.text(100 * chance + 0.5, len(names) - 0.48, f"chance {chance:.1%}", color=INK, fontsize=8)
    axis.set(xlabel=f"own caption comes first (% of {n}), 95 % intervals", xlim=(0, 108))
    axis.set_xticks(range(0, 101, 20))
    axis.set_ylim(-0.5, len(names) - 0.1)
    parts = [f"{name} {share:.1%}" for name, share in shares.items()]
    figure.set_label(
        f"Bars with 95 % intervals. Own caption first, of {n} pictures: {'; '.join(parts)}. "
        f"Chance is {chance:.1%}."
    )
    return figure
