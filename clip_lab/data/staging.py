"""A scene of the shapes world set up by hand, for pictures that ask one question."""

from dataclasses import dataclass

from clip_lab.data.scene import MAX_OBJECTS, Scenes, Thing, make_scene
from clip_lab.errors import LabError

# Where the first object stands, seen from the second: their centres, across and down.
PLACES = {
    "left of": ((0.28, 0.5), (0.72, 0.5)),
    "right of": ((0.72, 0.5), (0.28, 0.5)),
    "above": ((0.5, 0.28), (0.5, 0.72)),
    "below": ((0.5, 0.72), (0.5, 0.28)),
}
# Objects that are alike stand on a grid, in as many rows and columns as they need.
GRIDS = {1: (1, 1), 2: (1, 2), 3: (1, 3), 4: (2, 2), 5: (2, 3), 6: (2, 3)}


@dataclass(frozen=True)
class Stage:
    """What stands in the picture: so many of the first object, or one and another beside it."""

    shape: str = "circle"
    colour: str = "red"
    count: int = 1
    other_shape: str = ""  # "" for none
    other_colour: str = "blue"
    where: str = "left of"
    word: str = ""

    def scene(self) -> Scenes:
        """Raises LabError for a shape, colour, number, place or word that there isn't."""
        if not 1 <= self.count <= MAX_OBJECTS:
            raise LabError(f"There can be 1 to {MAX_OBJECTS} objects, not {self.count}.")
        if self.where not in PLACES:
            raise LabError(f"There is no place “{self.where}”. Choose {', '.join(PLACES)}.")
        if not self.other_shape:
            return make_scene(*self._alike(), word=self.word)
        (x, y), (other_x, other_y) = PLACES[self.where]
        first = Thing(self.shape, self.colour, x=x, y=y)
        return make_scene(
            first, Thing(self.other_shape, self.other_colour, x=other_x, y=other_y), word=self.word
        )

    def _alike(self) -> list[Thing]:
        rows, columns = GRIDS[self.count]
        size = "large" if self.count == 1 else "medium" if columns < 3 else "small"
        return [
            Thing(
                self.shape,
                self.colour,
                size,
                x=(place % columns + 0.5) / columns,
                y=(place // columns + 0.5) / rows,
            )
            for place in range(self.count)
        ]


@dataclass(frozen=True)
class Question:
    """A stage, what is true of it, what isn't, and the experiment that asks it a thousand times."""

    stage: Stage
    true: str
    false: str
    experiment: str


QUESTIONS = {
    "Does it count?": Question(
        Stage("star", "blue", 3), "three blue stars", "five blue stars", "counting"
    ),
    "What belongs to what?": Question(
        Stage("square", "red", 1, "circle", "blue"),
        "a red square and a blue circle",
        "a blue square and a red circle",
        "binding",
    ),
    "Left or right?": Question(
        Stage("heart", "green", 1, "star", "purple", "left of"),
        "a green heart left of a purple star",
        "a green heart right of a purple star",
        "relations",
    ),
    "What it is, or what it says?": Question(
        Stage("circle", "yellow", word="BLUE"), "a yellow circle", "a blue circle", "written_words"
    ),
    "Is it there at all?": Question(
        Stage("heart", "green", 1, "star", "purple", "left of"),
        "a green heart left of a purple star",
        "a green heart left of a yellow star",
        "relations",
    ),
}
