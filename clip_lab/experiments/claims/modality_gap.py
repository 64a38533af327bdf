"""Claim 24: image and text vectors sit apart, the modality gap."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from clip_lab.dual_encoder import DualEncoder
from clip_lab.evaluation.geometry import gap_of_mixture, modality_gap, shift_gap
from clip_lab.experiments.drawing import canvas, curve, finish, in_style, legend
from clip_lab.experiments.experiment import Experiment, Subject
from clip_lab.experiments.learning import Plan
from clip_lab.experiments.pair_tests import of_subject
from clip_lab.experiments.result import (
    FAILS,
    HOLDS,
    IN_PART,
    Interval,
    Measured,
    Verdict,
    interval,
)
from clip_lab.experiments.temperatures import LEARNED, SHARES, Sweep, of_all
from clip_lab.model import CLIP
from clip_lab.view.figures import GREY

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CLOSED = SHARES.index(0.5)  # both kinds moved by half of the gap
UNTOUCHED = SHARES.index(0.0)


@dataclass(frozen=True)
class Config:
    sweep: Sweep = field(default_factory=Sweep)
    pairs: int = 500  # of a published model


def measure(config: Config, seed: int) -> dict[str, Any]:
    """The gap of each model of the temperature sweep, along training and when shifted."""
    runs = of_all(config.sweep, seed)
    learned = runs.pop(LEARNED)
    return {
        "gap_start": learned["gap_along"][0],
        "gap": learned["gap"],
        "gap_of_mixture": learned["gap_of_mixture"],
        "temperature": learned["temperature"],
        "found_when_shifted": learned["found_when_shifted"],
        "fixed": list(config.sweep.temperatures),
        "gap_fixed": [run["gap"] for run in runs.values()],
        "steps": list(config.sweep.looks()),
        "gap_along": learned["gap_along"],
        "gap_along_fixed": [run["gap_along"] for run in runs.values()],
    }


def measure_model(config: Config, seed: int, subject: Subject) -> dict[str, Any]:
    """Of a published model as it is, and of the same architecture with fresh random weights."""
    encoder = subject.encoder
    torch.manual_seed(seed)
    fresh = CLIP(encoder.model.config).to(encoder.device)
    start = Subject(DualEncoder(fresh, encoder.tokenizer, encoder.preprocess), subject.data)
    before = of_subject(start, config.pairs, seed)
    after = of_subject(subject, config.pairs, seed)
    gaps = [modality_gap(pairs.images, pairs.texts).norm().item() for pairs in (before, after)]
    return {
        "gap_start": gaps[0],
        "gap": gaps[1],
        "gap_of_mixture": gap_of_mixture(after.images, after.texts, seed),
        "temperature": 1 / encoder.scale,
        "found_when_shifted": [shift_gap(after, share).found() for share in SHARES],
        "fixed": [],
        "gap_fixed": [],
        "steps": [0, 1],
        "gap_along": gaps,
        "gap_along_fixed": [],
    }


def by_temperature(measured: Measured) -> Interval | None:
    """By how much the gap changes when τ is multiplied by 10: each seed's fitted line."""
    if not measured["fixed"].size:
        return None
    logs = np.log10(measured["fixed"][0])
    return interval([np.polyfit(logs, row, 1)[0] for row in measured["gap_fixed"]])


def judge(measured: Measured) -> Verdict:
    """Holds where the gap is wider than that of two random halves of all vectors, both before
    training and after it. In part where only one of the two is so.
    """
    after = measured.difference("gap", "gap_of_mixture")
    before = measured.difference("gap_start", "gap_of_mixture")
    apart = (after.above_zero, before.above_zero)
    word = HOLDS if all(apart) else IN_PART if any(apart) else FAILS
    found = measured["found_when_shifted"]
    closing = interval(found[:, CLOSED] - found[:, UNTOUCHED])
    because = (
        f"The centroids of pictures and texts are {measured.mean('gap_start').number()} apart "
        f"before training and {measured.mean('gap').number()} after it; of two random halves of "
        f"all vectors, {measured.mean('gap_of_mixture').number()}. Moving both together until "
        f"they meet changes the right captions found by {closing.points()}."
    )
    effects = {"gap less that of a mixture": after, "at the start": before, "closing it": closing}
    slope = by_temperature(measured)
    if slope is not None:
        because += f" Per tenfold τ the gap changes by {slope.number()}."
        effects["gap per tenfold temperature"] = slope
    return Verdict(word, because, effects)


@in_style
def draw_figure(measured: Measured) -> "Figure":
    figure, (left, middle, right) = canvas(3, width=12, height=4.5)
    _draw_training(left, measured)
    _draw_temperatures(middle, measured)
    for axis in (left, middle):
        level = measured["gap_of_mixture"].mean()
        axis.axhline(level, color=GREY, linestyle="--", linewidth=1, label="random halves")
        axis.set_ylim(0, None)
        legend(axis, below=0.18)
    _draw_shifts(right, measured)
    pairs = measured.config["sweep"]["pairs"]
    words = f"Three charts. {judge(measured).because}"
    return finish(figure, measured, words, f"{pairs} pairs, chance {100 / pairs:.1f} %")


def _draw_training(axis: "Axes", measured: Measured) -> None:
    steps, taus = measured["steps"][0], measured["fixed"][0]
    if len(taus):  # a published model was trained elsewhere
        for place, series in ((0, 0), (len(taus) - 1, 2)):
            along = measured["gap_along_fixed"][:, place]
            curve(axis, steps, along, f"τ = {taus[place]:g}", series, 1)
    curve(axis, steps, measured["gap_along"], "τ learned", 1, 1)
    axis.set(
        xlabel="training step",
        ylabel="distance of the centroids (0 to 2)",
        title="Does training close the gap?",
    )


def _draw_temperatures(axis: "Axes", measured: Measured) -> None:
    taus = measured["fixed"][0]
    if len(taus):
        curve(axis, taus, measured["gap_fixed"], "fixed τ", 0, 1)
        axis.set_xscale("log")
        axis.set_xticks(taus, [f"{tau:g}" for tau in taus])
        axis.minorticks_off()
    curve(axis, [measured["temperature"].mean()], measured["gap"][:, None], "τ learned", 1, 1)
    axis.set(xlabel="temperature τ after training", title="What does τ do to it?")


def _draw_shifts(axis: "Axes", measured: Measured) -> None:
    curve(axis, SHARES, measured["found_when_shifted"], "τ learned", 1)
    axis.axvline(0.5, color=GREY, linestyle=":", linewidth=1)
    axis.annotate(
        "they meet", (0.5, 0.98), (3, 0), xycoords=("data", "axes fraction"),
        textcoords="offset points", fontsize=8, va="top",
    )  # fmt: skip
    axis.set(
        xlabel="both moved by this share of the gap",
        ylabel="right caption found (%)",
        ylim=(0, None),
        title="And closing it by hand?",
    )


EXPERIMENT = Experiment(
    number=24,
    name="modality_gap",
    claim="Image and text vectors sit apart: the modality gap",
    source="Liang et al. 2022 (arXiv 2203.02053), sections 2 to 4",
    published="0.82 between the centroids in CLIP, narrower when tuned at a higher τ (4.2); "
    "trained from scratch at τ = 0.01, from 1.19 to 1.30 (4.4)",
    plain=(
        "The distance between the mean picture vector and the mean text vector, all of length 1: "
        "before training, along it, and after it at six fixed temperatures and a learned one. Two "
        "random halves of all vectors show how much of it is chance. Last, both kinds are moved "
        "along the gap, without any training, and each picture looks for its caption again."
    ),
    quick=Config(Sweep((0.01, 0.07, 0.5), Plan(steps=130, warmup=20), copies=8), pairs=200),
    full=Config(),
    measure=measure,
    measure_model=measure_model,
    judge=judge,
    draw=draw_figure,
)
