"""Claim 4: the temperature is learned; and which way it works."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from clip_lab.experiments.drawing import canvas, chance, curve, finish, in_style
from clip_lab.experiments.experiment import Experiment
from clip_lab.experiments.learning import Plan
from clip_lab.experiments.result import DISAGREE, FAILS, Interval, Measured, Verdict, interval
from clip_lab.experiments.temperatures import LEARNED, READ, Sweep, of_all

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Config:
    sweep: Sweep = field(default_factory=Sweep)


def measure(config: Config, seed: int) -> dict[str, Any]:
    """A training at each fixed temperature and one that learns it."""
    runs = of_all(config.sweep, seed)
    learned = runs.pop(LEARNED)
    return {
        "fixed": list(config.sweep.temperatures),
        "fixed_accuracy": [run["accuracy"] for run in runs.values()],
        "fixed_entropy": [run["entropy"] for run in runs.values()],
        "learned_accuracy": learned["accuracy"],
        "learned_entropy": learned["entropy"],
        "learned_entropy_read": learned["entropy_read"],
        "learned_temperature": learned["temperature"],
        "steps": list(config.sweep.looks()),
        "temperature_along": learned["temperature_along"],
    }


def slope(measured: Measured, temperatures: Sequence[float], entropies: str) -> Interval:
    """By how many nats the entropy rises when τ is multiplied by 10: each seed's fitted line."""
    logs = np.log10(temperatures)
    return interval([np.polyfit(logs, row, 1)[0] for row in measured[entropies]])


def best_fixed(measured: Measured) -> int:
    """The place of the fixed temperature with the highest mean accuracy."""
    return int(measured["fixed_accuracy"].mean(axis=0).argmax())


def judge(measured: Measured) -> Verdict:
    """Settled where the entropy of one model's softmax rises or falls with the τ it is read at.

    Rising: a low τ is sharp, so note 002 is right, and note 001 right only of the log scale, which
    it calls the temperature. Falling: the other way round. Neither: the claim does not hold here.
    Reported with it: whether that is still so where each τ had a training of its own, which may
    spread the cosines to make up for it; and whether the learned τ is as good as the best fixed
    one, which was chosen after the fact: that favours the fixed.
    """
    read = slope(measured, READ, "learned_entropy_read")
    trained = slope(measured, measured["fixed"][0], "fixed_entropy")
    best = best_fixed(measured)
    tau = measured["fixed"][0][best]
    gain = interval(measured["learned_accuracy"] - measured["fixed_accuracy"][:, best])
    worst = interval(measured["fixed_accuracy"].min(axis=1))
    reading = "The notes can't be told apart by it."
    if read.apart:
        right = "002 is right that a low τ" if read.above_zero else "001 is right that a high τ"
        reading = f"Note {right} is sharp."
    because = (
        f"Read at ten times the τ, the entropy of one model's softmax changes by {read.number()} "
        f"nats. {reading} Trained at ten times the τ, by {trained.number()}. Learned from 0.07, τ "
        f"ends at {measured.mean('learned_temperature').number(3)} and finds "
        f"{measured.mean('learned_accuracy').percent()} of held-out combinations, "
        f"{gain.points()} beside the best fixed τ ({tau:g}); the worst fixed one finds "
        f"{worst.percent()}, chance 2.3 %."
    )
    effects = {
        "entropy per tenfold τ, one model": read,
        "trained at each τ": trained,
        "learned less best fixed": gain,
    }
    return Verdict(DISAGREE if read.apart else FAILS, because, effects)


@in_style
def draw_figure(measured: Measured) -> "Figure":
    figure, (left, middle, right) = canvas(3, width=11.5, height=4.4)
    taus = measured["fixed"][0]
    settled = measured["learned_temperature"].mean()
    for axis, name, times in ((left, "entropy", 1), (middle, "accuracy", 100)):
        curve(axis, taus, measured[f"fixed_{name}"], "trained at a fixed τ", 0, times)
        curve(
            axis,
            [settled],
            measured[f"learned_{name}"][:, None],
            "trained with a learned τ",
            1,
            times,
        )
        axis.set_xscale("log")
        axis.set_xticks(taus, [f"{tau:g}" for tau in taus])
        axis.minorticks_off()
        axis.set_xlabel("temperature τ")
    curve(left, READ, measured["learned_entropy_read"], "the latter, read at other τ", 2, 1)
    pairs = measured.config["sweep"]["pairs"]
    chance(left, float(np.log(pairs)), f"knows nothing: ln {pairs}")
    left.set(ylabel="entropy of a picture's softmax (nats)", title="Is a low τ sharp?")
    chance(middle, 100 / 44)
    middle.set(ylabel="held-out combinations found (%)", title="Which τ is best?", ylim=(0, None))
    left.set_ylim(0, None)
    curve(right, measured["steps"][0], measured["temperature_along"], "learned τ", 1, 1)
    chance(right, 0.07, "start: 0.07")
    right.set(xlabel="training step", ylabel="temperature τ", title="Where does it settle?")
    right.set_ylim(0, None)
    left.legend(loc="lower right", fontsize=8)
    words = f"Three charts. {judge(measured).because}"
    test = 44 * measured.config["sweep"]["copies"]
    return finish(
        figure, measured, words, f"entropy over {pairs} pairs, accuracy on {test:,} pictures"
    )


EXPERIMENT = Experiment(
    number=4,
    name="temperature",
    claim="The temperature is learned, from 0.07 on, with the scale clipped at 100; "
    "the notes disagree on which way is sharp",
    source="paper 2.5; note 001 (“higher is sharper”, of the log scale), note 002 (“small τ is "
    "sharp”)",
    published="starts at 0.07, scale at most 100; no comparison with fixed values",
    plain=(
        "The same small model is trained with six temperatures that stay fixed, from 0.01 (the "
        "paper's limit, a scale of 100) to 1, and with one that is learned. Of each: the entropy "
        "of the softmax over 256 captions, and how many held-out combinations of shape, colour and "
        "size it finds among 44. The model that learned τ is then read at other τ, without "
        "training: which way is sharp is a matter of arithmetic, what training makes of it is not."
    ),
    quick=Config(Sweep((0.01, 0.07, 0.5), Plan(steps=130, warmup=20), copies=8)),
    full=Config(),
    measure=measure,
    judge=judge,
    draw=draw_figure,
)
