"""What is in a picture of the shapes world, as tensors: every attribute known and open to change.

The names below are the whole world: twelve shapes, the eleven basic colour terms that English has
one word for (Berlin & Kay 1969), three sizes, three textures, a score of backgrounds. `Scenes`
holds a batch of pictures' contents as indices into them, before anything is drawn. Lengths are
fractions of the picture's side; x runs to the right and y *downwards* from the top left corner,
as in a picture file.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from clip_lab.errors import LabError

RGB = tuple[float, float, float]


def _rgb(code: str) -> RGB:
    red, green, blue = (int(code[i : i + 2], 16) / 255 for i in (0, 2, 4))
    return red, green, blue


SHAPES = (
    "circle", "square", "triangle", "star", "heart", "cross",
    "ring", "diamond", "hexagon", "crescent", "arrow", "drop",
)  # fmt: skip
COLOURS: dict[str, RGB] = {
    "red": _rgb("dc2430"),
    "orange": _rgb("fb8500"),
    "yellow": _rgb("ffd60a"),
    "green": _rgb("22a045"),
    "blue": _rgb("2360e0"),
    "purple": _rgb("8a2fc4"),
    "pink": _rgb("ff8ac4"),
    "brown": _rgb("80491c"),
    "black": _rgb("141414"),
    "white": _rgb("fcfcfc"),
    "grey": _rgb("8a8a8a"),
}
SIZES: dict[str, float] = {"small": 0.135, "medium": 0.2, "large": 0.29}  # radius
TEXTURES = ("solid", "striped", "dotted")
# The colours at the top and at the bottom edge; where they differ, the one fades into the other.
BACKGROUNDS: dict[str, tuple[RGB, RGB]] = {
    "white": (_rgb("ffffff"), _rgb("ffffff")),
    "black": (_rgb("0a0a0a"), _rgb("0a0a0a")),
    "grey": (_rgb("9a9a9a"), _rgb("9a9a9a")),
    "light grey": (_rgb("dcdcdc"), _rgb("dcdcdc")),
    "light yellow": (_rgb("fff6cf"), _rgb("fff6cf")),
    "light green": (_rgb("cfeecb"), _rgb("cfeecb")),
    "light blue": (_rgb("c9e4fb"), _rgb("c9e4fb")),
    "light pink": (_rgb("fde0ea"), _rgb("fde0ea")),
    "dark blue": (_rgb("14213d"), _rgb("14213d")),
    "dark green": (_rgb("12372a"), _rgb("12372a")),
    "dark red": (_rgb("4a0f1c"), _rgb("4a0f1c")),
    "dark grey": (_rgb("333333"), _rgb("333333")),
    "sky gradient": (_rgb("a9d6fb"), _rgb("fdf4e3")),
    "peach gradient": (_rgb("fff1d6"), _rgb("fbc9b4")),
    "mint gradient": (_rgb("f2fbf4"), _rgb("a8dccb")),
    "night gradient": (_rgb("0b1026"), _rgb("3b3a6b")),
    "dusk gradient": (_rgb("33234f"), _rgb("7a3b52")),
    "sea gradient": (_rgb("0d4a5e"), _rgb("08202e")),
}
MAX_OBJECTS = 6
MAX_LETTERS = 8
ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"  # letter 1 is A; 0 is an empty place


@dataclass(frozen=True)
class Thing:
    """One object by its names: how a person says what `Scenes` holds as indices."""

    shape: str
    colour: str = "red"
    size: str = "medium"
    texture: str = "solid"
    x: float = 0.5
    y: float = 0.5
    tilt: float = 0.0


@dataclass(frozen=True)
class Scenes:
    """The contents of a batch of pictures. Change any of it with `dataclasses.replace`.

    Where `present` is false, the object's other attributes mean nothing. Later objects lie in
    front of earlier ones, a written word in front of them all.
    """

    shape: Int[Tensor, "batch objects"]  # index into SHAPES, and so on
    colour: Int[Tensor, "batch objects"]
    size: Int[Tensor, "batch objects"]
    texture: Int[Tensor, "batch objects"]
    centre: Float[Tensor, "batch objects 2"]  # x, y
    tilt: Float[Tensor, "batch objects"]  # radians, counter-clockwise as seen
    present: Bool[Tensor, "batch objects"]
    background: Int[Tensor, " batch"]
    letters: Int[Tensor, "batch places"]  # the written word, one letter a place; all 0 for none
    word_centre: Float[Tensor, "batch 2"]

    def __len__(self) -> int:
        return len(self.shape)

    def map(self, change: Callable[[Tensor], Tensor]) -> "Scenes":
        """The scenes with `change` applied to every tensor."""
        return Scenes(**{field.name: change(getattr(self, field.name)) for field in fields(self)})

    def __getitem__(self, rows: slice | Tensor) -> "Scenes":
        """Some of the scenes, still as a batch: `scenes[:8]`, `scenes[order]`."""
        return self.map(lambda tensor: tensor[rows])

    def to(self, device: torch.device | str) -> "Scenes":
        return self.map(lambda tensor: tensor.to(device))

    def things(self) -> list[list[Thing]]:
        """Every scene's objects by name, back to front."""
        columns = (self.shape, self.colour, self.size, self.texture, self.centre, self.tilt)
        scenes = zip(*(column.tolist() for column in columns), self.present.tolist(), strict=True)
        return [
            [_thing(*numbers) for *numbers, here in zip(*scene, strict=True) if here]
            for scene in scenes
        ]

    def words(self) -> list[str]:
        """The word written in each scene, "" where there is none."""
        return ["".join(ALPHABET[i - 1] for i in row if i) for row in self.letters.tolist()]

    def backgrounds(self) -> list[str]:
        """The name of each scene's background."""
        names = list(BACKGROUNDS)
        return [names[i] for i in self.background.tolist()]


_COLOUR_NAMES, _SIZE_NAMES = tuple(COLOURS), tuple(SIZES)


def _thing(
    shape: int, colour: int, size: int, texture: int, centre: list[float], tilt: float
) -> Thing:
    x, y = centre
    return Thing(
        SHAPES[shape], _COLOUR_NAMES[colour], _SIZE_NAMES[size], TEXTURES[texture], x, y, tilt
    )


def concatenate(parts: Sequence[Scenes]) -> Scenes:
    """One batch of several; those with fewer objects get absent ones added."""
    most = max(part.shape.shape[1] for part in parts)

    def widened(tensor: Tensor, objects: int) -> Tensor:
        padding = tensor.new_zeros(len(tensor), most - objects, *tensor.shape[2:])
        return torch.cat([tensor, padding], dim=1)

    per_object = ("shape", "colour", "size", "texture", "centre", "tilt", "present")
    columns = {}
    for field in fields(Scenes):
        tensors = [getattr(part, field.name) for part in parts]
        if field.name in per_object:
            tensors = [widened(tensor, tensor.shape[1]) for tensor in tensors]
        columns[field.name] = torch.cat(tensors)
    return Scenes(**columns)


def spell(word: str) -> Int[Tensor, "places"]:
    """A word as the letters that `Scenes` holds: A to Z, at most 8 of them, upper case."""
    word = word.upper()
    if len(word) > MAX_LETTERS or set(word) - set(ALPHABET):
        raise LabError(
            f"The word {word[:20]!r} can't be written: use at most {MAX_LETTERS} letters, A to Z."
        )
    return torch.tensor([ALPHABET.index(c) + 1 for c in word] + [0] * (MAX_LETTERS - len(word)))


def index_of(kind: str, names: Sequence[str], name: str) -> int:
    """Where the name stands among `names`, which are all that there are of that kind."""
    if name not in names:
        raise LabError(f"There is no {kind} called {name!r}; choose one of {', '.join(names)}.")
    return list(names).index(name)


def make_scene(
    *things: Thing,
    background: str = "white",
    word: str = "",
    word_at: tuple[float, float] = (0.5, 0.5),
) -> Scenes:
    """A batch of one scene, told by names: `make_scene(Thing("star", "blue", x=0.3))`."""

    def column(kind: str, names: Sequence[str]) -> Tensor:
        indices = [index_of(kind, names, getattr(thing, kind)) for thing in things]
        return torch.tensor([indices], dtype=torch.long)

    return Scenes(
        shape=column("shape", SHAPES),
        colour=column("colour", _COLOUR_NAMES),
        size=column("size", _SIZE_NAMES),
        texture=column("texture", TEXTURES),
        centre=torch.tensor([[(t.x, t.y) for t in things]]).reshape(1, len(things), 2),
        tilt=torch.tensor([[t.tilt for t in things]]),
        present=torch.ones(1, len(things), dtype=torch.bool),
        background=torch.tensor([index_of("background", tuple(BACKGROUNDS), background)]),
        letters=spell(word)[None],
        word_centre=torch.tensor([word_at]),
    )
