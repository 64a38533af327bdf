"""The scene builder: set up a scene, and see which caption a model believes, the true or the false.

What can be built is a fixed set of scenes, each with captions in pairs and their cosines, so that
a page without a kernel has all the answers. Beside a kernel, captions of one's own are scored too.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import traitlets

from clip_lab.errors import LabError
from clip_lab.view.widgets.base import LabWidget

HERE = Path(__file__).parent
LONGEST = 80  # characters of a caption that a reader writes
CONTROLS = ("shape", "colour", "count", "other_shape", "other_colour", "where", "word")


@dataclass(frozen=True)
class Statement:
    """A question about a scene: a true and a false caption, and the cosine of each."""

    question: str
    true: str
    false: str
    cosines: tuple[float, float]


@dataclass(frozen=True)
class BuiltScene:
    """What the controls say, what is to be drawn, and what is said of it.

    `things` are (shape, colour, x, y, radius), back to front; `label` is the written word's
    (x, y, half width, half height), or nothing. Lengths are fractions of the side; y runs down.
    """

    shape: str
    colour: str
    count: int
    things: tuple[tuple[str, str, float, float, float], ...]
    said: tuple[Statement, ...]
    other_shape: str = ""
    other_colour: str = ""
    where: str = ""
    word: str = ""
    label: tuple[float, ...] = field(default=())


class SceneWidget(LabWidget):
    """A scene of the shapes world, chosen by controls, and what a model makes of its captions.

    `scenes` are all that can be built; no two with the same controls. `colours` gives each
    colour's name its "#rrggbb", `outlines` each shape's corners as (x, y), y upwards, in units of
    its radius: one number instead for a circle, its radius. `ask`, where a kernel is at hand, gives
    the cosines of a scene's picture, by its place in `scenes`, with two captions. `scene` is the
    one shown, and can be read and set. LabError for what doesn't fit together.
    """

    _esm = HERE / "scene.js"
    _css = HERE / "scene.css"

    scenes = traitlets.List().tag(sync=True)
    colours = traitlets.Dict().tag(sync=True)
    outlines = traitlets.Dict().tag(sync=True)
    scene = traitlets.Int(0, min=0).tag(sync=True)
    asked = traitlets.List(traitlets.Unicode()).tag(sync=True)  # the reader's own two captions
    own = traitlets.List(traitlets.Float()).tag(sync=True)  # their cosines; none before an answer
    answer = traitlets.Unicode("").tag(sync=True)  # why there are none, if so
    writable = traitlets.Bool(False).tag(sync=True)  # whether there is an `ask`

    def __init__(
        self,
        scenes: Sequence[BuiltScene],
        colours: Mapping[str, str],
        outlines: Mapping[str, Any],
        *,
        scene: int = 0,
        ask: Callable[[int, list[str]], Sequence[float]] | None = None,
    ) -> None:
        _check(scenes, colours, outlines, scene)
        super().__init__(
            scenes=[_plain(built) for built in scenes],
            colours=dict(colours),
            outlines=dict(outlines),
            scene=scene,
            writable=ask is not None,
        )
        self._ask = ask
        self.observe(self._answer, ["asked", "scene"])

    def _answer(self, _: Any) -> None:
        """Score the reader's captions against the scene shown, or say why not."""
        captions = [" ".join(text.split()) for text in self.asked]
        if self._ask is None or not captions:
            return
        try:
            found, answer = _scored(self._ask, self.scene, captions), ""
        except LabError as error:
            found, answer = [], str(error)
        with self.hold_trait_notifications():
            self.own, self.answer = found, answer


def _scored(ask: Callable, scene: int, captions: list[str]) -> list[float]:
    if len(captions) != 2 or not all(captions) or captions[0] == captions[1]:
        raise LabError("Write two captions that differ.")
    if max(map(len, captions)) > LONGEST:
        raise LabError(f"A caption has at most {LONGEST} characters here.")
    cosines = [float(value) for value in ask(scene, captions)]
    if len(cosines) != 2 or not np.abs(cosines).max() <= 1.0001:
        raise LabError("ask(scene, captions) must give two cosines.")
    return cosines


def _plain(built: BuiltScene) -> dict[str, Any]:
    """As JSON; cosines to five places, for those of swapped captions are close."""
    told = asdict(built)
    told["said"] = [
        [one.question, one.true, one.false, *(round(float(c), 5) for c in one.cosines)]
        for one in built.said
    ]
    return told


def _check(scenes: Sequence[BuiltScene], colours: Mapping, outlines: Mapping, scene: int) -> None:
    keys = [tuple(getattr(built, name) for name in CONTROLS) for built in scenes]
    if not scenes or len(set(keys)) < len(keys):
        raise LabError("Give scenes, each with controls of its own: two can't be told apart.")
    if not 0 <= scene < len(scenes):
        raise LabError(f"There is no scene {scene}: they go from 0 to {len(scenes) - 1}.")
    for built in scenes:
        for shape, colour, *_ in built.things:
            if shape not in outlines or colour not in colours:
                raise LabError(f"A {colour} {shape} can't be drawn: no such colour or outline.")
        cosines = np.array([one.cosines for one in built.said], dtype=float)
        if cosines.ndim != 2 or cosines.shape[1] != 2 or not np.abs(cosines).max() <= 1.0001:
            raise LabError("Each scene needs statements, each with two cosines between -1 and 1.")
