"""The arithmetic of the figures: percentiles, slopes, and what many visits came to."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

Record = dict[str, Any]


class Asked(NamedTuple):
    """One thing that a visitor asked for: what, how long it took, and what went wrong."""

    kind: str
    seconds: float
    error: str = ""


def milliseconds(seconds: Sequence[float]) -> Record:
    """Median, 95th and 99th percentile and the slowest; between two values by their distance."""
    values = 1000 * np.asarray(seconds, dtype=float)
    p50, p95, p99 = np.percentile(values, [50, 95, 99])
    found = {"median_ms": p50, "p95_ms": p95, "p99_ms": p99, "slowest_ms": values.max()}
    return {"count": len(values)} | {name: round(float(v), 1) for name, v in found.items()}


def slope(points: Sequence[tuple[float, float]]) -> float:
    """How much the second number grows by one of the first: the line of least squares."""
    x, y = np.asarray(points, dtype=float).T
    x, y = x - x.mean(), y - y.mean()
    return float((x * y).sum() / (x * x).sum())


def told(visits: Sequence[Asked]) -> Record:
    """All visits together and each kind: times of those that succeeded, and every error's count."""
    by_kind: dict[str, list[Asked]] = defaultdict(list)
    for visit in visits:
        by_kind[visit.kind].append(visit)
    return {
        "all": _told(visits),
        "by_kind": {kind: _told(by_kind[kind]) for kind in sorted(by_kind)},
    }


def _told(visits: Sequence[Asked]) -> Record:
    good = [visit.seconds for visit in visits if not visit.error]
    errors = Counter(visit.error for visit in visits if visit.error)
    return (milliseconds(good) if good else {"count": 0}) | {"errors": dict(errors)}
