"""Robustness (paper 3.3, after Taori et al. 2020, arXiv 2007.00644): what does a shift cost?

The shift is a second test set with the same classes, which looks different: sketches in place of
photographs, another artist's emoji. Three figures, all in shares of one:

* *absolute*: the accuracy under the shift, as it is.
* *effective*: ρ = acc_shift − β(acc_in). A better model does better on any test, so a higher
  accuracy under the shift proves nothing yet. β says what to expect from the accuracy in
  distribution, going by models that were trained in the ordinary way; ρ is what goes beyond.
* *relative*: τ = acc_shift − acc_shift of the same model without the intervention. A method may
  raise ρ and lower τ, by giving up accuracy everywhere: only both together are a gain.

β is a straight line between logits, log(p / (1 − p)): on these axes models lie on one.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from clip_lab.errors import LabError
from clip_lab.evaluation.accuracy import Accuracy


@dataclass(frozen=True)
class Baseline:
    """β: the accuracy under the shift that a model's accuracy in distribution leads to expect."""

    slope: float
    intercept: float  # in logits, as are the next three
    centre: float  # mean of the reference models in distribution
    spread: float  # sum of their squared distances from it
    scatter: float | None  # standard deviation about the line; None where two models make the line
    models: int

    @classmethod
    def fit(cls, in_distribution: Sequence[float], shifted: Sequence[float]) -> "Baseline":
        """Least squares through reference models' accuracies on both test sets.

        Raises LabError for fewer than two models, models that all have one accuracy in
        distribution, and accuracies of 0 or 1, whose logits are infinite.
        """
        _check_references(in_distribution, shifted)
        x, y = (np.array([_logit(p) for p in side]) for side in (in_distribution, shifted))
        centre, spread = x.mean(), ((x - x.mean()) ** 2).sum()
        slope = ((x - centre) * (y - y.mean())).sum() / spread
        intercept = y.mean() - slope * centre
        scatter = None
        if len(x) > 2:
            scatter = math.sqrt(((y - intercept - slope * x) ** 2).sum() / (len(x) - 2))
        return cls(float(slope), float(intercept), float(centre), float(spread), scatter, len(x))

    def expected(self, in_distribution: float) -> float:
        """β(accuracy)."""
        return _sigmoid(self.intercept + self.slope * _logit(in_distribution))

    def interval(self, in_distribution: float) -> tuple[float, float]:
        """95 % interval of β(accuracy), from the reference models' scatter about the line.

        Student's t in logits. Two models lie on their line exactly, so that nothing is known of the
        scatter: the line then counts as certain. Reference models should be many.
        """
        if self.scatter is None:
            return self.expected(in_distribution), self.expected(in_distribution)
        from scipy.stats import t

        x = _logit(in_distribution)
        error = self.scatter * math.sqrt(1 / self.models + (x - self.centre) ** 2 / self.spread)
        half = float(t.ppf(0.975, self.models - 2)) * error
        middle = self.intercept + self.slope * x
        return _sigmoid(middle - half), _sigmoid(middle + half)


@dataclass(frozen=True)
class Difference:
    """A difference of accuracies, −1 to 1, with its 95 % interval."""

    value: float
    low: float
    high: float

    def row(self) -> str:
        """As a table has it, in percentage points."""
        value, low, high = (100 * x for x in (self.value, self.low, self.high))
        return f"{value:+7.2f}   95 % interval {low:+.2f} to {high:+.2f} points"


@dataclass(frozen=True)
class Robustness:
    """The three figures, and what they were worked out from."""

    in_distribution: Accuracy
    shifted: Accuracy  # absolute robustness is its top-1
    expected: float  # β(in distribution)
    effective: Difference
    relative: Difference | None  # where a model without the intervention was given

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "task": "robustness",
            "in_distribution": self.in_distribution.to_dict(),
            "shifted": self.shifted.to_dict(),
            "expected": self.expected,
            "effective": asdict(self.effective),
            "relative": asdict(self.relative) if self.relative else None,
        }

    def rows(self) -> list[str]:
        """Lines of a table."""
        low, high = self.shifted.interval()
        lines = [
            f"in distribution  {self.in_distribution.top1:7.2%}",
            f"under the shift  {self.shifted.top1:7.2%}   95 % interval {low:.2%} to {high:.2%}, "
            f"expected {self.expected:.2%}",
            f"effective        {self.effective.row()}",
        ]
        return lines + ([f"relative         {self.relative.row()}"] if self.relative else [])


def robustness(
    in_distribution: Accuracy,
    shifted: Accuracy,
    baseline: Baseline,
    without: Accuracy | None = None,
) -> Robustness:
    """One model on both test sets, against the baseline, and against itself as it was before.

    `without`: the accuracy under the shift of the model without the intervention. It is top-1 that
    is compared. An accuracy of 0 or 1 in distribution is read as half a picture from there.

    The intervals put Wilson's for each accuracy (and that of the line) together as if they were
    independent (Newcombe 1998, method 10; Zou and Donner 2008). Two models tried on the same
    pictures, or the same things drawn in two styles, tend to fail together: then the intervals are
    wider than they need be.
    """
    own = _Part(shifted.top1, *shifted.interval())
    expected, of_line, of_sample = _expectation(in_distribution, baseline)
    effective = _difference(own, [_Part(expected, *of_line), _Part(expected, *of_sample)])
    relative = None
    if without is not None:
        relative = _difference(own, [_Part(without.top1, *without.interval())])
    return Robustness(in_distribution, shifted, expected, effective, relative)


# -- intervals ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Part:
    """A figure with one of the intervals it has."""

    value: float
    low: float
    high: float


def _difference(own: _Part, others: list[_Part]) -> Difference:
    """own − other, where `others` are the other figure with each source of its uncertainty.

    Distances to the limits add up as squares, each side for itself: an accuracy near 1 can hardly
    rise, and much sooner fall.
    """
    value = own.value - others[0].value
    down = math.hypot(own.value - own.low, *(other.high - other.value for other in others))
    up = math.hypot(own.high - own.value, *(other.value - other.low for other in others))
    return Difference(value, max(-1.0, value - down), min(1.0, value + up))


def _expectation(
    accuracy: Accuracy, baseline: Baseline
) -> tuple[float, tuple[float, float], tuple[float, float]]:
    """β(accuracy), its interval from the line's scatter, and that from the test's finite size."""
    half = 0.5 / accuracy.pictures
    low, middle, high = (
        min(max(p, half), 1 - half)
        for p in (accuracy.interval()[0], accuracy.top1, accuracy.interval()[1])
    )
    ends = sorted((baseline.expected(low), baseline.expected(high)))  # the line may fall
    return baseline.expected(middle), baseline.interval(middle), (ends[0], ends[1])


# -- logits ---------------------------------------------------------------------------------------


def _logit(p: float) -> float:
    if not 0 < p < 1:
        raise LabError(f"The accuracy {p} has no finite logit. Give shares above 0 and below 1.")
    return math.log(p) - math.log1p(-p)


def _sigmoid(x: float) -> float:
    return math.exp(-np.logaddexp(0, -x))  # 1 / (1 + e^−x) that doesn't overflow


def _check_references(in_distribution: Sequence[float], shifted: Sequence[float]) -> None:
    if len(in_distribution) != len(shifted):
        raise LabError(
            f"There are {len(in_distribution)} accuracies in distribution and {len(shifted)} under "
            "the shift. Give both of each reference model."
        )
    if len(in_distribution) < 2:
        raise LabError("A line needs two points. Give at least two reference models.")
    for p in (*in_distribution, *shifted):
        if not 0 < p < 1:
            raise LabError(
                f"A reference model's accuracy is {p}, and has no finite logit. "
                "Give shares above 0 and below 1, and leave out models that are at the end."
            )
    if len(set(in_distribution)) < 2:
        raise LabError(
            "All reference models have the same accuracy in distribution. "
            "Add models that are better or worse."
        )
