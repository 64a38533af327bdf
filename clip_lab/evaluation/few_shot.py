"""Few-shot (paper 3.1.5): how far do a handful of labelled pictures a class take a linear probe?

And the question turned round (figure 7): how many labelled pictures a class is the zero-shot
classifier worth, which saw none and was told the names?
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int

from clip_lab.errors import LabError
from clip_lab.evaluation.accuracy import Accuracy, rank_of_target
from clip_lab.evaluation.linear_probe import (
    Array,
    Labelled,
    accuracy_of,
    check_classes,
    fit,
    labelled,
)


@dataclass(frozen=True)
class FewShot:
    """Top-1 of probes trained on so many pictures a class, for several draws of the pictures."""

    shots: tuple[int, ...]
    top1: tuple[tuple[float, ...], ...]  # for each number of shots one figure a draw
    strength: float  # λ
    pictures: int  # tested on
    classes: int
    zero_shot: Accuracy | None  # on the same pictures, where weights were given

    @property
    def means(self) -> tuple[float, ...]:
        """Top-1 for each number of shots, the mean over the draws."""
        return tuple(sum(figures) / len(figures) for figures in self.top1)

    def intervals(self) -> tuple[tuple[float, float], ...]:
        """95 % intervals of the means by Student's t, cut off at 0 and 1.

        What varies is which pictures were drawn for training, not those of the test: the interval
        tells whether one number of shots beats another on this test.
        """
        from scipy.stats import t

        quantile = float(t.ppf(0.975, len(self.top1[0]) - 1))
        halves = (
            quantile * float(np.std(figures, ddof=1)) / math.sqrt(len(figures))
            for figures in self.top1
        )
        return tuple(
            (max(0.0, mean - half), min(1.0, mean + half))
            for mean, half in zip(self.means, halves, strict=True)
        )

    @property
    def zero_shot_worth(self) -> float | None:
        """The zero-shot classifier's worth in shots; None where it wasn't measured."""
        if self.zero_shot is None:
            return None
        return shots_to_match(self.zero_shot.top1, self.shots, self.means)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values; a zero-shot worth beyond the most shots tried is null."""
        worth = self.zero_shot_worth
        finite = worth is not None and math.isfinite(worth)
        return {
            "task": "few-shot",
            "pictures": self.pictures,
            "classes": self.classes,
            "strength": self.strength,
            "shots": [
                {"shots": k, "top1": mean, "top1_interval_95": list(interval), "draws": list(top1)}
                for k, mean, interval, top1 in zip(
                    self.shots, self.means, self.intervals(), self.top1, strict=True
                )
            ],
            "zero_shot": self.zero_shot.to_dict() if self.zero_shot else None,
            "zero_shot_worth_shots": worth if finite else None,
        }

    def rows(self) -> list[str]:
        """Lines of a table."""
        lines = [
            f"{k:4} a class  {mean:7.2%}   95 % interval {low:.2%} to {high:.2%}, "
            f"{len(self.top1[0])} draws"
            for k, mean, (low, high) in zip(self.shots, self.means, self.intervals(), strict=True)
        ]
        if self.zero_shot and self.zero_shot_worth is not None:
            low, high = self.zero_shot.interval()
            worth = self._worth_in_words(self.zero_shot_worth)
            lines.append(
                f"zero-shot     {self.zero_shot.top1:7.2%}   95 % interval {low:.2%} to "
                f"{high:.2%}, worth {worth} a class"
            )
        return lines

    def _worth_in_words(self, worth: float) -> str:
        if worth == 0:
            return f"fewer than {self.shots[0]}"
        return f"more than {self.shots[-1]}" if math.isinf(worth) else f"{worth:.1f}"


def few_shot(
    train_vectors: Float[Array, "train embed_dim"],
    train_targets: Int[Array, " train"],
    test_vectors: Float[Array, "test embed_dim"],
    test_targets: Int[Array, " test"],
    shots: Sequence[int] = (1, 2, 4, 8, 16),
    seeds: Sequence[int] = (0, 1, 2),
    strength: float = 1.0,
    zero_shot_weights: Float[Array, "classes embed_dim"] | None = None,
) -> FewShot:
    """Probes on 1, 2, 4, ... pictures of each class, drawn anew with each seed.

    One draw's smaller sets lie within its larger ones. `strength`, λ, is the same for all of them:
    choosing it takes labelled pictures that would have to be counted among the shots. 1 is
    scikit-learn's own default and suits vectors of length 1. `zero_shot_weights`, one row a class
    number as `ZeroShotClassifier` holds them, are measured beside the probes.

    Raises LabError for what `linear_probe` refuses, for fewer pictures of a class than shots,
    fewer than two seeds, and weights that don't belong to these classes.
    """
    train = labelled(train_vectors, train_targets, "training")
    test = labelled(test_vectors, test_targets, "test")
    check_classes(train, test)
    shots = tuple(sorted(set(shots)))
    _check_plan(train, shots, seeds, strength)
    known = np.unique(train.targets)
    zero_shot = _zero_shot(zero_shot_weights, test, known)
    top1: list[list[float]] = [[] for _ in shots]
    for seed in seeds:
        orders = _orders(train.targets, seed)
        for figures, k in zip(top1, shots, strict=True):
            drawn = train.take(np.concatenate([own[:k] for own in orders]))
            figures.append(accuracy_of(fit(drawn, strength), test).top1)
    draws = tuple(map(tuple, top1))
    return FewShot(shots, draws, strength, len(test.targets), len(known), zero_shot)


def shots_to_match(
    accuracy: float, shots: Sequence[int | float], accuracies: Sequence[float]
) -> float:
    """How many labelled pictures a class give a probe this accuracy (paper figure 7).

    The probe's accuracies are joined by straight lines over log(shots), and the first crossing
    counts. As in the paper a fully supervised probe may be added as the last point, at its mean
    number of pictures a class. 0: the fewest shots already do better; infinity: the most do worse.
    """
    if not shots or len(shots) != len(accuracies) or min(shots) <= 0:
        raise LabError("Give one accuracy for each number of shots, and shots above 0.")
    if not all(math.isfinite(value) for value in (accuracy, *shots, *accuracies)):
        raise LabError("An accuracy or a number of shots isn't finite. Leave that point out.")
    points = sorted(zip(shots, accuracies, strict=True))
    if accuracy <= points[0][1]:
        return float(points[0][0]) if accuracy == points[0][1] else 0.0
    for (fewer, low), (more, high) in pairwise(points):
        if high >= accuracy:
            way = (accuracy - low) / (high - low)
            return math.exp(math.log(fewer) + way * (math.log(more) - math.log(fewer)))
    return math.inf


def _orders(targets: Int[np.ndarray, " train"], seed: int) -> list[np.ndarray]:
    """Each class's pictures in a random order: its first k are its k shots."""
    draw = np.random.default_rng(seed)
    return [draw.permutation(np.flatnonzero(targets == number)) for number in np.unique(targets)]


def _check_plan(
    train: Labelled, shots: tuple[int, ...], seeds: Sequence[int], strength: float
) -> None:
    if not shots or shots[0] < 1:
        raise LabError("The numbers of shots must be 1 or more. Give for instance (1, 2, 4).")
    if len(set(seeds)) < max(2, len(seeds)):
        raise LabError("An interval needs several draws. Give at least two seeds, all different.")
    if not 0 < strength < math.inf:
        raise LabError(f"The strength {strength} isn't above 0 and finite. 1 is a good start.")
    numbers, counts = np.unique(train.targets, return_counts=True)
    if counts.min() < shots[-1]:
        rare = numbers[counts.argmin()]
        raise LabError(
            f"Class {rare} has {counts.min()} training pictures, fewer than {shots[-1]} shots. "
            f"Give shots of at most {counts.min()}, or leave the class out."
        )


def _zero_shot(weights: Array | None, test: Labelled, known: np.ndarray) -> Accuracy | None:
    """The classifier made of names, among the same classes as the probes."""
    if weights is None:
        return None
    classes = len(known)
    rows = torch.as_tensor(weights).detach().cpu().float()
    if rows.shape != (classes, test.vectors.shape[1]) or (known != range(classes)).any():
        raise LabError(
            f"The zero-shot weights are {tuple(rows.shape)}. Give one row of "
            f"{test.vectors.shape[1]} values for each of the {classes} classes, numbered from 0."
        )
    if not rows.isfinite().all():
        raise LabError("A zero-shot weight isn't finite. Check the model that made it.")
    scores = torch.from_numpy(test.vectors) @ rows.T
    return Accuracy.of_ranks(rank_of_target(scores, torch.from_numpy(test.targets)), classes)
