"""Which rows may be found at all, by what is known of them besides their vectors."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
from jaxtyping import Bool

from clip_lab.errors import LabError

Row = dict[str, Any]


@dataclass(frozen=True)
class Filter:
    """Conditions on a row; all that are set must hold. A row without the field fails.

    `name`: occurs in the row's name, in capitals or not. `folder`: the row lies in it, or below.
    `group`: the row's own, exactly. `after`, `before`: days such as "2024-12-31", both included.
    `min_side`, `max_side`: of the picture's longer side, in pixels. Raises LabError for a day that
    doesn't exist.
    """

    name: str = ""
    folder: str = ""
    group: str = ""
    after: str = ""
    before: str = ""
    min_side: int = 0
    max_side: int = 0

    def __post_init__(self) -> None:
        for day in filter(None, (self.after, self.before)):
            try:
                date.fromisoformat(day)
            except ValueError as error:
                raise LabError(
                    f"“{day}” is no day. Write it as year-month-day, such as 2024-12-31."
                ) from error

    def among(self, rows: Sequence[Row]) -> Bool[np.ndarray, " rows"]:
        """True for each row that may be found."""
        mask = np.ones(len(rows), dtype=bool)
        for holds in self._conditions():
            mask &= np.fromiter((holds(row) for row in rows), dtype=bool, count=len(rows))
        return mask

    def _conditions(self) -> list[Callable[[Row], bool]]:
        needle, inside = self.name.casefold(), self.folder.strip("/")
        conditions: dict[str, Callable[[Row], bool]] = {
            "name": lambda row: needle in row.get("name", "").casefold(),
            "folder": lambda row: f"{row.get('folder', '')}/".startswith(f"{inside}/"),
            "group": lambda row: row.get("group", "") == self.group,
            "after": lambda row: row.get("date", "")[:10] >= self.after,
            "before": lambda row: "" < row.get("date", "")[:10] <= self.before,
            "min_side": lambda row: _side(row) >= self.min_side,
            "max_side": lambda row: 0 < _side(row) <= self.max_side,
        }
        return [holds for field, holds in conditions.items() if getattr(self, field)]


def _side(row: Row) -> int:
    return max(row.get("width", 0), row.get("height", 0))
