"""A heat map over a picture, by prompt and by method, with the number under each cell."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import traitlets
from jaxtyping import Float

from clip_lab.errors import LabError
from clip_lab.view.widgets.base import LabWidget, picture_address

HERE = Path(__file__).parent
LONGEST = 60  # characters of a prompt that a reader writes
MOST = 24  # prompts on offer
MOST_NUMBERS = 100_000  # that a page can hold without growing slow

Grids = Float[np.ndarray, "pictures prompts rows columns"]


class HeatWidget(LabWidget):
    """Pictures, prompts, methods: where in the picture is what the prompt says?

    `maps` gives each method's maps, (pictures, prompts, rows, columns); the grids of two methods
    may differ. `pictures` are (height, width, 3) arrays, uint8 or between 0 and 1; `names` say what
    each shows; `about` may say, by method, what its numbers are. `ask`, where a kernel is at hand,
    takes a reader's own prompt and gives, by method, the maps (pictures, rows, columns) for it.
    LabError for what doesn't fit together.
    """

    _esm = HERE / "heat.js"
    _css = HERE / "heat.css"

    maps = traitlets.List().tag(sync=True)  # method, picture, prompt, row, column
    methods = traitlets.List(traitlets.Unicode()).tag(sync=True)
    about = traitlets.List(traitlets.Unicode()).tag(sync=True)
    pictures = traitlets.List(traitlets.Unicode()).tag(sync=True)
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    prompts = traitlets.List(traitlets.Unicode()).tag(sync=True)
    picture = traitlets.Int(0).tag(sync=True)
    prompt = traitlets.Int(0).tag(sync=True)
    method = traitlets.Int(0).tag(sync=True)
    place = traitlets.Int(0).tag(sync=True)  # a cell, row by row
    strength = traitlets.Int(60).tag(sync=True)  # per cent
    scale = traitlets.Enum(["own", "shared"], "own").tag(sync=True)
    asked = traitlets.Unicode("").tag(sync=True)  # what the reader wrote; emptied once answered
    answer = traitlets.Unicode("").tag(sync=True)  # why a prompt was not taken, if it was not
    writable = traitlets.Bool(False).tag(sync=True)  # whether there is an `ask`

    def __init__(
        self,
        maps: Mapping[str, Grids],
        pictures: Sequence[np.ndarray],
        names: Sequence[str],
        prompts: Sequence[str],
        *,
        about: Mapping[str, str] | None = None,
        ask: Callable[[str], Mapping[str, Float[np.ndarray, "pictures rows columns"]]]
        | None = None,
    ) -> None:
        grids = {method: np.asarray(grid, dtype=float) for method, grid in maps.items()}
        _check(grids, pictures, names, prompts)
        super().__init__(
            maps=[grid.round(6).tolist() for grid in grids.values()],
            methods=list(grids),
            about=[(about or {}).get(method, "") for method in grids],
            pictures=[picture_address(picture, 256) for picture in pictures],
            names=list(names),
            prompts=list(prompts),
            writable=ask is not None,
        )
        self._ask = ask
        self.observe(self._answer, "asked")

    def _answer(self, change: Any) -> None:
        """Take the prompt that the reader wrote, or say why not."""
        prompt = " ".join(change["new"].split())
        if not prompt or self._ask is None:
            return
        try:
            self.answer = self._taken(prompt)
        except LabError as error:
            self.answer = str(error)
        self.asked = ""

    def _taken(self, prompt: str) -> str:
        if prompt not in self.prompts:
            if len(prompt) > LONGEST or len(self.prompts) >= MOST:
                return f"A prompt of at most {LONGEST} characters, and at most {MOST} of them."
            assert self._ask is not None
            found = self._ask(prompt)
            longer = [
                _with(old, np.asarray(found.get(method, ()), dtype=float), method)
                for method, old in zip(self.methods, self.maps, strict=True)
            ]
            with self.hold_trait_notifications():
                self.maps, self.prompts = longer, [*self.prompts, prompt]
        self.prompt = self.prompts.index(prompt)
        return ""


def _with(old: list, new: np.ndarray, method: str) -> list:
    """One method's maps with one more prompt; LabError where the new ones don't fit."""
    shape = np.shape(old)
    if new.shape != (shape[0], *shape[2:]) or not np.isfinite(new).all():
        raise LabError(
            f"ask(prompt)[{method!r}] must give maps of shape {(shape[0], *shape[2:])}, without "
            f"nan; these are {new.shape}."
        )
    return [[*rows, added] for rows, added in zip(old, new.round(6).tolist(), strict=True)]


def _check(
    grids: Mapping[str, np.ndarray],
    pictures: Sequence[np.ndarray],
    names: Sequence[str],
    prompts: Sequence[str],
) -> None:
    wanted = (len(names), len(prompts))
    if not grids or len(pictures) != len(names) or not all(wanted):
        raise LabError(
            f"Give at least one method, one prompt, and a name for each picture; these are "
            f"{len(grids)} methods, {len(prompts)} prompts, {len(pictures)} pictures and "
            f"{len(names)} names."
        )
    for method, grid in grids.items():
        if grid.ndim != 4 or grid.shape[:2] != wanted or 0 in grid.shape:
            raise LabError(
                f"The maps of “{method}” have shape {grid.shape}; {wanted[0]} pictures and "
                f"{wanted[1]} prompts need {wanted} and then rows and columns."
            )
        if not np.isfinite(grid).all():
            raise LabError(f"The maps of “{method}” hold nan or inf.")
    if sum(grid.size for grid in grids.values()) > MOST_NUMBERS:
        raise LabError("These are too many numbers for a page. Give fewer pictures or prompts.")
    if len(set(prompts)) < len(prompts) or len(set(names)) < len(names):
        raise LabError("A prompt or a picture's name stands there twice.")
