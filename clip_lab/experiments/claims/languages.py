"""Claim 22: a language that captions don't speak isn't understood; it needs data of its own."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from clip_lab.data.emoji_table import languages
from clip_lab.dual_encoder import DualEncoder
from clip_lab.experiments.drawing import MARKS, canvas, chance, finish, in_style, legend
from clip_lab.experiments.emoji_world import (
    ALL_LANGUAGES,
    ENGLISH,
    WAYS,
    SharedEmoji,
    drawings,
    share_right,
)
from clip_lab.experiments.experiment import Experiment
from clip_lab.experiments.result import FAILS, HOLDS, IN_PART, Measured, Verdict, interval
from clip_lab.view.figures import INK, SERIES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STYLE = "noto"  # a style that was trained on: this is about words, not about pictures
MODELS = ("english", "all")


@dataclass(frozen=True)
class Config:
    english: SharedEmoji = ENGLISH
    all: SharedEmoji = ALL_LANGUAGES


def measure(config: Config, seed: int) -> dict[str, Any]:
    """Both models see the same pictures in the same order; only the captions differ."""
    return {
        name: by_language(getattr(config, name).encoder(seed), config.all.languages)
        for name in MODELS
    }


def by_language(encoder: DualEncoder, spoken: tuple[str, ...]) -> list[float]:
    """How often a picture finds its own name among 50 in each language."""
    images = encoder.encode_images(drawings(STYLE).pictures, batch_size=256)
    shares = []
    for language in spoken:
        test = drawings(STYLE, language)
        weights = encoder.encode_texts(test.labels, truncate=True)
        shares.append(share_right(images, weights, test.targets))
    return shares


def judge(measured: Measured) -> Verdict:
    """Holds where data in the other languages more than doubles what English alone gives in them.

    In part where it helps, but less: then a language can be had without captions in it.
    """
    spoken = measured.config["all"]["languages"]
    english, every = measured["english"], measured["all"]
    others = [i for i, language in enumerate(spoken) if language.split("-")[0] != "en"]
    first, chinese = spoken.index("en"), spoken.index("zh")
    gain = interval((every - english)[:, others].mean(axis=1))
    doubled = interval((every - 2 * english)[:, others].mean(axis=1))
    word = FAILS
    if gain.above_zero:
        word = HOLDS if doubled.above_zero else IN_PART

    def share(values: np.ndarray, columns: list[int]) -> str:
        return interval(values[:, columns].mean(axis=1)).percent()

    price = interval((every - english)[:, first])
    because = (
        f"With English captions alone a picture finds its name among {WAYS} in the {len(others)} "
        f"other languages in {share(english, others)} (Chinese {share(english, [chinese])}), with "
        f"captions in all of them in {share(every, others)} (Chinese {share(every, [chinese])}); "
        f"chance is {100 / WAYS:.0f} %. English itself changes by {price.points()}."
    )
    effects = {
        "all less English-only, other languages": gain,
        "the same, Chinese": interval((every - english)[:, chinese]),
        "the same, English": price,
    }
    return Verdict(word, because, effects)


@in_style
def draw_figure(measured: Measured) -> "Figure":
    figure, (axis,) = canvas(width=9, height=4.4)
    spoken = measured.config["all"]["languages"]
    order = np.argsort(-measured["english"].mean(axis=0), kind="stable")
    names = {"english": "English captions alone", "all": f"captions in {len(spoken)} languages"}
    places = np.arange(len(spoken))
    for series, (model, name) in enumerate(names.items()):
        spans = [interval(column) for column in 100 * measured[model][:, order].T]
        means = [span.mean for span in spans]
        axis.plot(places, means, MARKS[series], color=SERIES[series], markersize=6, label=name)
        if spans[0].seeds > 1:
            reach = [span.high - span.mean for span in spans]
            axis.errorbar(places, means, reach, fmt="none", ecolor=INK, capsize=2, linewidth=0.9)
    axis.set_xticks(places, [spoken[i] for i in order], rotation=60)
    chance(axis, 100 / WAYS)
    axis.set_xlim(-1, len(spoken) + 0.7)  # room for the word "chance"
    axis.set(
        xlabel="language of the names (en English, zh Chinese, …), by the English model's share",
        ylabel=f"own name found among {WAYS} (%)",
        ylim=(0, 100),
        title="Does a model understand languages that its captions never spoke?",
    )
    legend(axis, below=0.3)
    words = f"Points for each language, two models. {judge(measured).because}"
    return finish(figure, measured, words, "1,760 pictures a point, drawn by Noto")


EXPERIMENT = Experiment(
    number=22,
    name="languages",
    claim="Other languages need data of their own, as in Chinese CLIP",
    source="notes 000 and 002; Yang et al. 2022 (arXiv 2211.01335)",
    published="no figure in the notes",
    plain=(
        "Two small models see the same emoji in the same order. One hears English captions alone, "
        f"the other captions in {len(languages())} languages, one a picture as well, so fewer "
        "English ones. Then each picture looks for its own name among those of 50 emoji, in every "
        "language."
    ),
    quick=Config(ENGLISH.quick(), ALL_LANGUAGES.quick()),
    full=Config(),
    measure=measure,
    judge=judge,
    draw=draw_figure,
)
