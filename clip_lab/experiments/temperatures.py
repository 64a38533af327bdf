"""One sweep that three claims read: the same training at fixed temperatures, and at a learned one.

Claim 4 asks what the temperature does, 6 how high the cosines get, 24 how far apart the pictures'
vectors and the texts' lie. Each model is trained and looked at once.
"""

import math
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from clip_lab.data.shapes import ShapesPairs
from clip_lab.dual_encoder import DualEncoder
from clip_lab.evaluation.geometry import (
    Paired,
    gap_of_mixture,
    modality_gap,
    row_entropy,
    shift_gap,
)
from clip_lab.evaluation.shapes import held_out_retrieval
from clip_lab.experiments import cache as kept
from clip_lab.experiments.learning import Plan, train_clip
from clip_lab.experiments.pair_tests import paired, shapes_pairs
from clip_lab.experiments.world import SIZE, new_model

LEARNED = "learned"
BINS = 40  # of the histograms, from -1 to 1
READ = (0.01, 0.03, 0.07, 0.2, 0.5, 1.0)  # τ at which a finished model's cosines are read
SHARES = (-0.5, -0.25, 0.0, 0.25, 0.5, 0.75, 1.0)  # of the gap that vectors are moved along it


@dataclass(frozen=True)
class Sweep:
    """Smaller than the shared models: seven trainings a seed."""

    temperatures: tuple[float, ...] = (0.01, 0.03, 0.07, 0.2, 0.5, 1.0)
    plan: Plan = Plan(steps=600, warmup=75)
    pairs: int = 256  # of the test, each with another caption
    copies: int = 32  # pictures of each held-out combination

    def looks(self) -> tuple[int, ...]:
        """The steps after which the gap and τ are noted: the start, then closer to the end."""
        steps = self.plan.steps
        return tuple(sorted({0, steps // 16, steps // 8, steps // 4, steps // 2, steps}))


def of_all(sweep: Sweep, seed: int) -> dict[str, dict[str, Any]]:
    """What `of_one` says of each temperature, by its name, and of the learned one."""
    named = {f"{temperature:g}": temperature for temperature in sweep.temperatures}
    return {name: of_one(sweep, value, seed) for name, value in {**named, LEARNED: None}.items()}


def of_one(sweep: Sweep, temperature: float | None, seed: int) -> dict[str, Any]:
    """One training (None: τ is learned, from 0.07 on) and all that is measured of it; kept."""
    own = kept.version(__name__)
    parts = (sweep.plan, sweep.pairs, sweep.copies, temperature, seed, own)
    return kept.numbers(
        "temperatures", kept.digest(*parts), lambda: _trained(sweep, temperature, seed)
    )


def fix_temperature(encoder: DualEncoder, temperature: float) -> None:
    """Training will leave it as it is. What is stored is the logarithm of the scale, ln(1/τ)."""
    encoder.model.logit_scale.data.fill_(-math.log(temperature))
    encoder.model.logit_scale.requires_grad_(False)


def _trained(sweep: Sweep, temperature: float | None, seed: int) -> dict[str, Any]:
    encoder = new_model(seed=seed)
    if temperature is not None:
        fix_temperature(encoder, temperature)
    pictures, captions = shapes_pairs(SIZE, sweep.pairs, seed)
    gaps: list[float] = []
    scales: list[float] = []

    def look(_step: int) -> None:
        test = paired(encoder, list(pictures), captions)
        gaps.append(modality_gap(test.images, test.texts).norm().item())
        scales.append(1 / encoder.scale)

    data = ShapesPairs(sweep.plan.batch, SIZE, seed)
    train_clip(encoder, data, sweep.plan, look=look, at=sweep.looks())
    test = paired(encoder, list(pictures), captions)
    cosines = test.images @ test.texts.T
    return {
        "accuracy": held_out_retrieval(encoder, seed=seed, copies=sweep.copies).top1,
        "temperature": scales[-1],
        "temperature_along": scales,
        "entropy": row_entropy(cosines, scales[-1]),
        "entropy_read": [row_entropy(cosines, temperature) for temperature in READ],
        **both_kinds(test),
        "gap": gaps[-1],
        "gap_along": gaps,
        "gap_of_mixture": gap_of_mixture(test.images, test.texts, seed),
        "found_when_shifted": [shift_gap(test, share).found() for share in SHARES],
    }


def both_kinds(pairs: Paired) -> dict[str, Any]:
    """Of the right cosines and of the wrong ones: how they spread, and their mean."""
    found: dict[str, Any] = {}
    for kind, cosines in (("matched", pairs.matched()), ("unmatched", pairs.unmatched())):
        found |= {kind: histogram(cosines), f"{kind}_mean": cosines.mean().item()}
    return found


def histogram(cosines: Float[Tensor, " cosines"]) -> list[float]:
    """The share of cosines in each of BINS steps from -1 to 1."""
    counts = cosines.clamp(-1, 1).histc(BINS, -1, 1)
    return (counts / counts.sum()).tolist()
