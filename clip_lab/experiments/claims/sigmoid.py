"""Claim 20: SigLIP's sigmoid loss needs no large batch."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from clip_lab.experiments.batch_sweep import Sweep, accuracies
from clip_lab.experiments.claims.batch_size import HELD_OUT, draw_sweep
from clip_lab.experiments.drawing import canvas, finish, in_style, legend
from clip_lab.experiments.experiment import Experiment
from clip_lab.experiments.result import FAILS, HOLDS, IN_PART, Measured, Verdict, interval

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Config:
    sweep: Sweep = field(default_factory=Sweep)


def measure(config: Config, seed: int) -> dict[str, Any]:
    """Both losses, by batch and by block."""
    sweep = config.sweep
    sizes = {"batches": list(sweep.batches), "blocks": list(sweep.blocks)}
    return sizes | accuracies(sweep, seed)


def lost(measured: Measured, loss: str, sweep: str) -> np.ndarray:
    """Each seed's accuracy at the smallest of a sweep less that at the largest."""
    found = measured[f"{loss}_{sweep}"]
    return found[:, 0] - found[:, -1]


def judge(measured: Measured) -> Verdict:
    """Holds where sigmoid loses nothing when a picture meets few captions instead of many, steps
    kept. In part where it loses, but less than InfoNCE. Otherwise the claim does not hold here.
    """
    own, other = (lost(measured, loss, "blocks") for loss in ("sigmoid", "info_nce"))
    change, saved = interval(own), interval(own - other)
    ahead = interval(measured["sigmoid_blocks"][:, 0] - measured["info_nce_blocks"][:, 0])
    whole = [interval(lost(measured, loss, "batches")) for loss in ("sigmoid", "info_nce")]
    word = HOLDS
    if change.below_zero:
        word = IN_PART if saved.above_zero else FAILS
    few, many = measured["blocks"][0][[0, -1]]
    small, large = measured["batches"][0][[0, -1]]
    because = (
        f"From {many} captions a picture to {few}, with the same steps, sigmoid changes by "
        f"{change.points()} and InfoNCE by {interval(other).points()}; with {few}, sigmoid stands "
        f"{ahead.points()} beside InfoNCE. From batches of {large:,} to {small}, with as many "
        f"pairs seen, they change by {whole[0].points()} and {whole[1].points()}. Chance is 2.3 %."
    )
    effects = {
        "sigmoid, few less many negatives": change,
        "the same less InfoNCE's": saved,
        "sigmoid less InfoNCE with few": ahead,
        "sigmoid, smallest less largest batch": whole[0],
    }
    return Verdict(word, because, effects)


@in_style
def draw_figure(measured: Measured) -> "Figure":
    figure, axes = canvas(2, width=9.5, height=4.6)
    sweep = measured.config["sweep"]
    for axis, name in zip(axes, ("blocks", "batches"), strict=True):
        both = {
            "InfoNCE (CLIP)": measured[f"info_nce_{name}"],
            "sigmoid (SigLIP)": measured[f"sigmoid_{name}"],
        }
        draw_sweep(axis, measured[name][0], both)
        legend(axis, below=0.18)
    axes[0].set(
        xlabel=f"captions that each picture meets (batch {sweep['block_batch']})",
        title="Does sigmoid need fewer negatives?",
    )
    axes[1].set(
        xlabel=f"batch size ({sweep['pairs']:,} pairs seen)",
        title="And smaller batches?",
        ylabel="",
    )
    words = f"Two charts. {judge(measured).because}"
    return finish(figure, measured, words, f"{HELD_OUT * sweep['copies']:,} pictures a point")


EXPERIMENT = Experiment(
    number=20,
    name="sigmoid",
    claim="SigLIP's sigmoid loss needs no large batch",
    source="note 001; Zhai et al. 2023 (arXiv 2303.15343)",
    published="sigmoid is clearly ahead at small batches and level at large ones; both stop "
    "gaining near 32,768 (arXiv 2303.15343, figure 2)",
    plain=(
        "The same small models, trained with CLIP's loss and with SigLIP's on the same pairs in "
        "the same order. First with the same batch and steps, where each picture meets only the "
        "captions of its own block of 2 to 128; then with batches of 16 to 1,024 at as many pairs "
        "seen. Scale and bias start at 10 and -10, as in the paper, for any number of captions."
    ),
    quick=Config(Sweep(16_000, (16, 128), 128, (2, 128), copies=8)),
    full=Config(),
    measure=measure,
    judge=judge,
    draw=draw_figure,
    seeds=5,
)
