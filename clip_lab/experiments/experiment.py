"""The one shape that all experiments have."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clip_lab.dual_encoder import DualEncoder
from clip_lab.errors import LabError
from clip_lab.experiments.result import Measured, Verdict

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Subject:
    """A model from outside that an experiment looks at instead of the lab's own.

    `data` is a folder of labelled pictures in a layout that `clip-lab eval` reads.
    """

    encoder: DualEncoder
    data: Path | None = None

    def folder(self) -> Path:
        """Raises LabError where none was given."""
        if self.data is None:
            raise LabError("This experiment needs pictures with classes: give --data FOLDER.")
        return self.data


@dataclass(frozen=True)
class Experiment:
    """A claim about CLIP, and all that is needed to see it hold or fail.

    `measure(config, seed)` is one seed's work: it returns plain numbers and lists of them, the same
    names and shapes for every seed. `judge` is the rule, fixed before the run. `draw` makes the one
    figure. `measure_model`, where there is one, measures the same of a published model.
    """

    number: int  # in shared/CLAIMS.md's table
    name: str
    claim: str
    source: str
    published: str  # the figure that the source gives
    plain: str  # what is done here, for a reader who has not seen the code
    quick: Any  # a frozen dataclass of settings: one seed in at most ten minutes on two cores
    full: Any  # the same class: what the committed results are made with
    measure: Callable[[Any, int], dict[str, Any]]
    judge: Callable[[Measured], Verdict]
    draw: "Callable[[Measured], Figure]"
    seeds: int = 3  # of the full mode
    measure_model: Callable[[Any, int, Subject], dict[str, Any]] | None = None
    # Why the effect is not separated from zero, if it is one that should be and isn't.
    reservation: str = ""
