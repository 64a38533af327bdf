"""Calibration (Guo et al. 2017, arXiv 1706.04599): is a model right as often as it is sure?

A probability of 0.8 is honest if four of five pictures that get it are classified right. What CLIP
calls a probability depends on the temperature τ that its cosines are divided by: a smaller τ makes
the same ranking surer of itself. Training chose τ for batches of captions, not for a list of
labels; `fit_temperature` chooses it again.
"""

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from clip_lab.errors import LabError

Array = Tensor | np.ndarray

RESAMPLES = 1000
TINIEST = torch.finfo(torch.float32).tiny  # a probability that underflowed counts as this: 87 nats
COLDEST, HOTTEST = 1e-6, 1e6  # where a temperature is looked for


@dataclass(frozen=True)
class Bin:
    """The pictures whose confidence is above `low` and at most `high`."""

    low: float
    high: float
    pictures: int
    confidence: float | None  # mean; None in an empty bin
    accuracy: float | None


@dataclass(frozen=True)
class Calibration:
    """How far confidence and accuracy lie apart."""

    ece: float  # expected calibration error, 0 to 1
    ece_interval: tuple[float, float]  # 95 %
    ece_by_chance: float  # what a perfectly calibrated model would show on as many pictures, mean
    nll: float  # mean negative log-likelihood of the right class, in nats
    brier: float  # mean squared distance from the right answer, 0 to 2
    confidence: float  # mean
    accuracy: float
    bins: tuple[Bin, ...]
    pictures: int

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        values = asdict(self) | {"ece_interval": list(self.ece_interval)}
        return {"task": "calibration"} | values | {"bins": [asdict(b) for b in self.bins]}

    def rows(self) -> list[str]:
        """Lines of a table: the figures, and the bins that hold pictures."""
        low, high = self.ece_interval
        lines = [
            f"ECE         {self.ece:7.2%}   95 % interval {low:.2%} to {high:.2%}, "
            f"by chance {self.ece_by_chance:.2%}",
            f"confidence  {self.confidence:7.2%}   accuracy {self.accuracy:.2%}",
            f"NLL         {self.nll:7.4f}   Brier score {self.brier:.4f}",
            "confidence       mean  accuracy  pictures",
        ]
        return lines + [
            f"{b.low:.3f} to {b.high:.3f} {b.confidence:7.2%} {b.accuracy:9.2%} {b.pictures:9,}"
            for b in self.bins
            if b.confidence is not None and b.accuracy is not None
        ]


def calibration(
    probabilities: Float[Array, "pictures classes"],
    targets: Int[Array, " pictures"],
    bins: int = 15,
    seed: int = 0,
) -> Calibration:
    """Compare each picture's highest probability with how often the class that has it is right.

    ECE = Σ_b (n_b / n) |accuracy_b − confidence_b| over bins of equal width (Guo et al., equation
    3). It is never below 0, and so even honest probabilities show some on few pictures: that is
    `ece_by_chance`. `seed` is for the resampling behind it and behind the interval.

    Raises LabError for empty or unequal arrays, rows that aren't probabilities, and targets that
    are no column's number.
    """
    shares, numbers = _checked(probabilities, targets)
    if bins < 1:
        raise LabError(f"{bins} bins hold nothing. Give at least 1; 15 is usual.")
    if shares.min() < 0 or (shares.sum(dim=1) - 1).abs().max() > 1e-3:
        raise LabError(
            "A row isn't made of probabilities: they are 0 or more and sum to 1. "
            "Take the softmax of the logits first."
        )
    confidence, chosen = shares.max(dim=1)
    hits = (chosen == numbers).double()
    bin_of = ((confidence * bins).ceil().long() - 1).clamp(0, bins - 1)
    own = shares.gather(1, numbers[:, None]).squeeze(1)
    ece = _ece(bin_of, hits - confidence, bins)
    interval, by_chance = _uncertainty(bin_of, hits, confidence, bins, seed)
    return Calibration(
        ece,
        interval,
        by_chance,
        nll=-own.clamp(min=TINIEST).log().mean().item(),
        brier=((shares**2).sum(dim=1) - 2 * own + 1).mean().item(),
        confidence=confidence.mean().item(),
        accuracy=hits.mean().item(),
        bins=_table(bin_of, hits, confidence, bins),
        pictures=len(shares),
    )


def fit_temperature(
    logits: Float[Array, "pictures classes"], targets: Int[Array, " pictures"]
) -> float:
    """The T at which softmax(logits / T) gives the right classes the least mean NLL.

    T above 1: the model was too sure. Given CLIP's cosines as logits, T is τ itself. The ranking,
    and so the accuracy, stays. Fit it on other pictures than those that calibration is measured on.
    The least NLL needn't be the least ECE: one number can't bend a curve that is crooked.

    In s = 1/T the NLL is convex: its slope, mean_i Σ_j p_ij ℓ_ij − ℓ_i,own, never falls, and
    halving the range that it changes sign in finds the minimum. Raises LabError where it changes
    sign nowhere: on pictures that are all classified right the best T is 0, and where the right
    classes score no higher than the average class it is infinity.
    """
    scores, numbers = _checked(logits, targets)
    own = scores.gather(1, numbers[:, None])

    def slope(s: float) -> float:
        above = scores - own  # by how much each class is ahead of the right one
        return ((s * above).softmax(dim=1) * above).sum(dim=1).mean().item()

    low, high = math.log(1 / HOTTEST), math.log(1 / COLDEST)
    if slope(math.exp(low)) >= 0:
        raise LabError(
            "The right classes score no higher than the others, so no temperature makes these "
            "logits honest. Check that the targets belong to them."
        )
    if slope(math.exp(high)) <= 0:
        raise LabError(
            "Every picture is classified right, and the lower the temperature the better. "
            "Fit it on pictures that include mistakes."
        )
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(math.exp(middle)) < 0 else (low, middle)
    return math.exp(-(low + high) / 2)


def _checked(
    scores: Float[Array, "_ classes"], targets: Int[Array, " _"]
) -> tuple[Float[Tensor, "_ classes"], Int[Tensor, " _"]]:
    """Both as tensors, the scores in float64."""
    rows = torch.as_tensor(scores).detach().cpu().double()
    numbers = torch.as_tensor(targets).detach().cpu().long()
    if len(rows) == 0:
        raise LabError("There are no pictures. Give at least one row.")
    if len(rows) != len(numbers):
        raise LabError(
            f"There are {len(rows):,} rows and {len(numbers):,} targets. Give one for each row."
        )
    if rows.shape[1] < 2:
        raise LabError("There is a single class, and nothing to be sure of. Give at least two.")
    if not rows.isfinite().all():
        raise LabError("A value isn't finite (NaN or infinity). Check the model that made it.")
    if numbers.min() < 0 or numbers.max() >= rows.shape[1]:
        raise LabError(
            f"Targets go from {numbers.min()} to {numbers.max()}, columns from 0 to "
            f"{rows.shape[1] - 1}. Give each picture the number of its own column."
        )
    return rows, numbers


def _ece(bin_of: Int[Tensor, " n"], gaps: Float[Tensor, " n"], bins: int) -> float:
    """`gaps`: for each picture right (1) or wrong (0), minus its confidence."""
    return (torch.bincount(bin_of, gaps, bins).abs().sum() / len(gaps)).item()


def _uncertainty(
    bin_of: Int[Tensor, " n"],
    hits: Float[Tensor, " n"],
    confidence: Float[Tensor, " n"],
    bins: int,
    seed: int,
) -> tuple[tuple[float, float], float]:
    """The ECE's 95 % interval, and its mean for a perfectly calibrated model.

    Chance adds to an ECE, and drawing the pictures again (the bootstrap) adds once more: its lower
    quantile lies too high, often above the truth. So the upper quantile's distance is taken on both
    sides; and the interval starts at 0 wherever one in twenty perfectly calibrated models would
    show as much (as in Bröcker and Smith 2007).
    """
    draw = torch.Generator().manual_seed(seed)
    n, gaps = len(hits), hits - confidence
    again, honest = [], []
    for _ in range(RESAMPLES):
        which = torch.randint(n, (n,), generator=draw)
        again.append(_ece(bin_of[which], gaps[which], bins))
        right = (torch.rand(n, generator=draw) < confidence).double()
        honest.append(_ece(bin_of, right - confidence, bins))
    ece = _ece(bin_of, gaps, bins)
    half = max(0.0, float(np.quantile(again, 0.975)) - ece)
    low = 0.0 if ece <= np.quantile(honest, 0.95) else max(0.0, ece - half)
    return (low, min(1.0, ece + half)), float(np.mean(honest))


def _table(
    bin_of: Int[Tensor, " n"], hits: Float[Tensor, " n"], confidence: Float[Tensor, " n"], bins: int
) -> tuple[Bin, ...]:
    counts = torch.bincount(bin_of, minlength=bins).tolist()
    sure, right = (torch.bincount(bin_of, part, bins).tolist() for part in (confidence, hits))
    return tuple(
        Bin(b / bins, (b + 1) / bins, n, sure[b] / n if n else None, right[b] / n if n else None)
        for b, n in enumerate(counts)
    )
