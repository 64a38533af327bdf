"""Claim 3: an ensemble of prompts costs nothing at inference, once it is averaged."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

import torch

from clip_lab import pretrained
from clip_lab.data.emoji import emoji_test
from clip_lab.data.prompts import prompt_sets
from clip_lab.dual_encoder import DualEncoder
from clip_lab.experiments.drawing import bars, canvas, finish, in_style
from clip_lab.experiments.experiment import Experiment
from clip_lab.experiments.result import FAILS, HOLDS, IN_PART, Measured, Verdict
from clip_lab.zero_shot import ZeroShotClassifier, fill

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MARGIN = math.log(1.05)  # what counts as no difference: 5 %


@dataclass(frozen=True)
class Config:
    pictures: int = 32  # classified at a time
    classes: int = 100
    rounds: int = 60


def measure(config: Config, seed: int) -> dict[str, float]:
    """The built-in emoji model, a seed being a set of rounds with other classes and pictures.

    Times are of the processor, not of the clock: what else the machine does adds little to them.
    """
    encoder = pretrained.load("emoji", "cpu")
    test = emoji_test("openmoji", "seen")
    order = torch.randperm(len(test.labels), generator=torch.Generator().manual_seed(seed))
    labels = [test.labels[i] for i in order[: config.classes].tolist()]
    pictures = test.pictures[order[: config.pictures]]
    templates = prompt_sets()["imagenet"].templates
    one, built_one = timed(lambda: ZeroShotClassifier(encoder, labels, templates[:1]))
    many, built_many = timed(lambda: ZeroShotClassifier(encoder, labels, templates))
    apart = Unaveraged(encoder, labels, templates)
    ways = {"one": one, "averaged": many, "apart": apart}
    seconds = interleaved({n: lambda way=way: way(pictures) for n, way in ways.items()}, config)
    ratio = [math.log(b / a) for a, b in zip(seconds["one"], seconds["averaged"], strict=True)]
    return {
        **{name: median(of) / config.pictures for name, of in seconds.items()},
        "log_ratio": median(ratio),
        "build_one": built_one,
        "build_averaged": built_many,
        "templates": len(templates),
    }


class Unaveraged:
    """What averaging saves: every prompt keeps its vector, and probabilities are averaged."""

    def __init__(self, encoder: DualEncoder, labels: list[str], templates: tuple[str, ...]):
        self.encoder, self.shape = encoder, (len(labels), len(templates))
        prompts = [fill(template, label) for label in labels for template in templates]
        self.vectors = encoder.encode_texts(prompts)

    def __call__(self, pictures: torch.Tensor) -> torch.Tensor:
        cosines = self.encoder.encode_images(pictures) @ self.vectors.T
        return (self.encoder.scale * cosines.unflatten(1, self.shape)).softmax(dim=1).mean(dim=2)


def timed(work: Callable[[], Any]) -> tuple[Any, float]:
    """What the work returns, and the processor's seconds that it took."""
    start = time.process_time()
    returned = work()
    return returned, time.process_time() - start


def interleaved(ways: dict[str, Callable[[], Any]], config: Config) -> dict[str, list[float]]:
    """Each way's seconds, round by round; every second round runs backwards.

    So a machine that grows slower or faster meanwhile does the same to all of them. The first
    round warms up and isn't counted.
    """
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(config.rounds + 1):
        for name in list(ways)[:: 1 if number % 2 else -1]:
            took = timed(ways[name])[1]
            if number:
                seconds[name].append(took)
    return seconds


def judge(measured: Measured) -> Verdict:
    """Holds where the two are shown to be equal: the interval lies within 5 % and contains 0.

    The effect is the logarithm of 80 templates' time over one template's. Not where the ensemble
    is shown to cost more than 5 %. In part for all between: a cost of less than 5 %, or times
    that vary too much to say.
    """
    effect = measured.mean("log_ratio")
    word = IN_PART
    if -MARGIN < effect.low <= 0 <= effect.high < MARGIN:
        word = HOLDS
    elif effect.low > MARGIN:
        word = FAILS
    milliseconds = {n: 1000 * measured[n].mean() for n in ("one", "averaged", "apart")}
    because = (
        f"A picture takes {milliseconds['one']:.2f} ms with one template and "
        f"{milliseconds['averaged']:.2f} ms with 80 averaged, {_percent(measured)}; with 80 kept "
        f"apart {milliseconds['apart']:.2f} ms. Building the classifier once takes "
        f"{measured['build_one'].mean():.2f} s and {measured['build_averaged'].mean():.1f} s."
    )
    return Verdict(word, because, {"log ratio of times": effect})


def _percent(measured: Measured) -> str:
    span = measured.mean("log_ratio")
    low, mean, high = (100 * (math.exp(min(v, 9)) - 1) for v in (span.low, span.mean, span.high))
    reach = "one seed" if span.seeds == 1 else f"{low:+.1f} to {high:+.1f}"
    return f"{mean:+.1f} % ({reach})"


@in_style
def draw_figure(measured: Measured) -> "Figure":
    figure, (left, right) = canvas(2, width=9)
    names = ("1 template", "80,\naveraged", "80, kept\napart")
    bars(left, names, {"": measured.columns("one", "averaged", "apart")}, 1000, "{:.2f}")
    bars(right, names[:2], {"": measured.columns("build_one", "build_averaged")}, 1, "{:.2f}")
    left.set(ylabel="ms of processor time per picture", title="Each picture", ylim=(0, None))
    right.set(ylabel="s of processor time", title="Building the classifier, once")
    words = f"Bars. {judge(measured).because}"
    tested = f"medians of {measured.config['rounds']} rounds, {measured.config['classes']} classes"
    return finish(figure, measured, words, tested)


EXPERIMENT = Experiment(
    number=3,
    name="ensemble_cost",
    claim="An ensemble of 80 prompts costs nothing at inference, once it is averaged",
    source="CLIP paper, section 3.1.4; note 001",
    published="0",
    plain=(
        "The built-in emoji model classifies the same pictures with one of the CLIP paper's 80 "
        "templates, with all 80 averaged into one vector a class, and with all 80 kept apart and "
        "their probabilities averaged: by turns, in many rounds. A seed is a set of rounds."
    ),
    quick=Config(rounds=20),
    full=Config(),
    measure=measure,
    judge=judge,
    draw=draw_figure,
    seeds=5,
)
