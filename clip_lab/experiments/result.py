"""What an experiment measured, what it says of its claim, and where, when and how it was run."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from clip_lab.errors import LabError
from clip_lab.files import write_text

HOLDS, IN_PART, FAILS, DISAGREE = (
    "holds",
    "holds in part",
    "does not hold here",
    "notes disagree",
)
UNJUDGED = "not judged"  # one seed has no interval
VERDICTS = (HOLDS, IN_PART, FAILS, DISAGREE, UNJUDGED)


@dataclass(frozen=True)
class Interval:
    """A mean over seeds and its 95 % interval (Student's t: few seeds, unknown spread)."""

    mean: float
    low: float
    high: float
    seeds: int

    @property
    def above_zero(self) -> bool:
        return self.low > 0

    @property
    def below_zero(self) -> bool:
        return self.high < 0

    @property
    def apart(self) -> bool:
        """Whether it is separated from zero, whichever way."""
        return self.above_zero or self.below_zero

    def points(self) -> str:
        """A difference of shares, in percentage points: "+3.1 points (2.0 to 4.2)"."""
        return f"{100 * self.mean:+.1f} points ({self._reach('+.1f', 100)})"

    def percent(self) -> str:
        """A share: "83.1 % (80.2 to 86.0)". The interval ends where shares do."""
        within = replace(self, low=max(self.low, 0.0), high=min(self.high, 1.0))
        return f"{100 * self.mean:.1f} % ({within._reach('.1f', 100)})"

    def number(self, digits: int = 2) -> str:
        """A plain number: "2.35 (2.10 to 2.60)"."""
        return f"{self.mean:.{digits}f} ({self._reach(f'.{digits}f')})"

    def _reach(self, form: str, times: float = 1) -> str:
        if self.seeds == 1:
            return "one seed"
        return f"{times * self.low:{form}} to {times * self.high:{form}}"


def interval(values: Sequence[float] | np.ndarray) -> Interval:
    """Of one value a seed. With one seed it reaches from minus to plus infinity."""
    numbers = np.asarray(values, dtype=float)
    if numbers.ndim != 1 or not len(numbers):
        raise LabError("An interval needs one number for each seed.")
    mean, count = float(numbers.mean()), len(numbers)
    if count == 1:
        return Interval(mean, -math.inf, math.inf, 1)
    from scipy.stats import t

    half = float(t.ppf(0.975, count - 1) * numbers.std(ddof=1) / math.sqrt(count))
    return Interval(mean, mean - half, mean + half, count)


@dataclass(frozen=True)
class Measured:
    """What every seed's run measured. `measured["name"]` stacks it: the first axis is seeds."""

    config: dict[str, Any]
    seeds: tuple[int, ...]
    runs: tuple[dict[str, Any], ...]

    def __getitem__(self, name: str) -> np.ndarray:
        return np.array([run[name] for run in self.runs])

    def columns(self, *names: str) -> np.ndarray:
        """Several numbers side by side: (seeds, names)."""
        return np.stack([self[name] for name in names], axis=1)

    def mean(self, name: str) -> Interval:
        """Of a number that every run measured."""
        return interval(self[name])

    def difference(self, one: str, other: str) -> Interval:
        """Of one less the other, seed by seed: what both share falls out."""
        return interval(self[one] - self[other])


@dataclass(frozen=True)
class Verdict:
    """What the module's rule makes of the measurements."""

    word: str
    because: str  # one or two sentences with the figures and their intervals
    effects: dict[str, Interval]  # the first is the one that the claim is about

    def __post_init__(self) -> None:
        assert self.word in VERDICTS, self.word

    @property
    def effect(self) -> Interval:
        return next(iter(self.effects.values()))


@dataclass(frozen=True)
class Result:
    """A run of an experiment, whole: enough to draw its figure, judge it and repeat it."""

    name: str
    mode: str  # "quick" or "full"
    measured: Measured
    verdict: Verdict
    minutes: float  # of one processor core, of all seeds together, without what is shared
    command: str
    machine: str
    versions: dict[str, str] = field(default_factory=dict)
    shared: dict[str, float] = field(default_factory=dict)  # minutes of what other claims use too
    model: str | None = None  # a published model's name; None: the lab's own

    def save(self, path: Path) -> None:
        """As JSON. Raises LabError where the file can't be written."""
        text = json.dumps(_plain(asdict(self)), indent=1, ensure_ascii=False, allow_nan=False)
        write_text(path, text + "\n")

    @classmethod
    def load(cls, path: Path) -> "Result":
        """Raises LabError for a file that isn't a result."""
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            measured = values.pop("measured")
            verdict = values.pop("verdict")
            effects = {name: _interval(of) for name, of in verdict.pop("effects").items()}
            return cls(
                measured=Measured(
                    measured["config"], tuple(measured["seeds"]), tuple(measured["runs"])
                ),
                verdict=Verdict(effects=effects, **verdict),
                **values,
            )
        except (OSError, ValueError, KeyError, TypeError, AssertionError) as error:
            raise LabError(f"“{path}” is no result of an experiment: {error}.") from error


def _plain(value: Any) -> Any:
    """As JSON has it, which has no infinity: null."""
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def _interval(values: dict[str, Any]) -> Interval:
    low, high = values["low"], values["high"]
    low, high = -math.inf if low is None else low, math.inf if high is None else high
    return Interval(values["mean"], low, high, values["seeds"])
