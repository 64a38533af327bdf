"""Scenes at random: what is in each, where it fits, and which combinations are never trained on.

Everything is drawn from a `torch.Generator` on the CPU, so that a seed gives the same scenes
whatever device they are drawn on.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Generator, Tensor

from clip_lab.data.scene import (
    COLOURS,
    MAX_LETTERS,
    MAX_OBJECTS,
    SHAPES,
    SIZES,
    Scenes,
    index_of,
    spell,
)
from clip_lab.data.shape_drawing import BACKGROUND_TABLE, COLOUR_TABLE, SIZE_TABLE
from clip_lab.data.shape_lettering import label_size
from clip_lab.errors import LabError

Combinations = Float[Tensor, "shape colour size"]
WORDS = (*COLOURS, *SHAPES)  # what is written on objects: mostly not what they are
TEXTURE_SHARES = torch.tensor([0.6, 0.2, 0.2])  # solid, striped, dotted
LARGEST_TILT = 0.25  # radians, about 14 degrees
ROOM = 0.125  # the most that a scene's squared radii add up to: a large and a medium, or six small
GAP = 0.02  # the least distance between two objects and from the picture's edge
TRIES = 24  # places tried for each object before its scene is begun anew
LEAST_CONTRAST = 0.5


def held_out_table() -> Bool[Tensor, "shape colour size"]:
    """Which combinations are never trained on: one in nine, by a fixed rule.

    Along each of the three axes the rule falls on a different place in every row, so each shape in
    each colour is still seen in two sizes at least, and each shape in each size in nine colours at
    least: only the combination is new.
    """
    return ninths() == 0


def ninths() -> Int[Tensor, "shape colour size"]:
    """All combinations dealt out to nine sets of one make, 0 to 8, some 44 in each.

    Set 0 is held out; the others are as hard to tell apart among themselves as that one is.
    """
    shape = torch.arange(len(SHAPES))[:, None, None]
    colour = torch.arange(len(COLOURS))[None, :, None]
    size = torch.arange(len(SIZES))[None, None, :]
    return (shape + 2 * colour + 5 * size) % 9


def combination_names(table: Bool[Tensor, "shape colour size"]) -> list[tuple[str, str, str]]:
    """The (shape, colour, size) names for which the table is true."""
    colours, sizes = list(COLOURS), list(SIZES)
    return [(SHAPES[s], colours[c], sizes[z]) for s, c, z in table.nonzero().tolist()]


def held_out_combinations() -> list[tuple[str, str, str]]:
    """Every (shape, colour, size) that no training picture holds."""
    return combination_names(held_out_table())


def is_held_out(shape: str, colour: str, size: str) -> bool:
    """Whether training never shows this shape in this colour and this size."""
    place = (
        index_of("shape", SHAPES, shape),
        index_of("colour", tuple(COLOURS), colour),
        index_of("size", tuple(SIZES), size),
    )
    return bool(held_out_table()[place])


def training_weights() -> Combinations:
    """The same weight for every combination that may be trained on, none for the others."""
    return (~held_out_table()).float()


def sample_scenes(
    count: int,
    generator: Generator,
    objects: tuple[int, int] = (1, 1),
    alike: bool = False,
    written: bool = False,
    weights: Combinations | None = None,
) -> Scenes:
    """Draw scenes: `objects` is the least and the most objects a scene may have (1 to 6).

    The objects of a scene are all the same (`alike`, for counting) or differ from each other in
    shape and in colour both, so that "the circle" and "the red one" each name one of them.
    `written` puts a colour's or a shape's name on a label on the object, of which there is then
    one, and large. `weights` says how often each shape, colour and size come together: all equally
    by default, held-out ones included; zeros forbid, uneven weights plant a bias.
    """
    least, most = objects
    if not 1 <= least <= most <= MAX_OBJECTS:
        raise LabError(f"A scene has 1 to {MAX_OBJECTS} objects, not from {least} to {most}.")
    weights = torch.ones(len(SHAPES), len(COLOURS), len(SIZES)) if weights is None else weights
    if written:
        weights = weights * torch.tensor([0.0, 0.0, 1.0])  # a label would hide the others
    number = torch.randint(least, most + 1, (count,), generator=generator)
    present = torch.arange(most) < number[:, None]
    shape, colour, size = _choose(present, alike, weights, generator).unbind(-1)
    centre = _place(SIZE_TABLE[size], present, generator)
    letters = _choose_words(count, written, generator)
    return Scenes(
        shape=shape,
        colour=colour,
        size=size,
        texture=_choose_textures(present, alike, generator),
        centre=centre,
        tilt=(torch.rand(count, most, generator=generator) * 2 - 1) * LARGEST_TILT,
        present=present,
        background=_choose_background(colour, present, generator),
        letters=letters,
        word_centre=label_centre(letters, centre[:, 0], SIZE_TABLE[size[:, 0]]),
    )


def _pick(shares: Float[Tensor, "row choice"], generator: Generator) -> Int[Tensor, " row"]:
    """One choice for each row, as likely as its share of the row."""
    return torch.multinomial(shares, 1, generator=generator)[:, 0]


def _choose(
    present: Bool[Tensor, "batch objects"],
    alike: bool,
    weights: Combinations,
    generator: Generator,
) -> Int[Tensor, "batch objects 3"]:
    """Shape, colour and size of each object, so that the sizes of a scene leave room for all."""
    count, objects = present.shape
    rows = torch.arange(count)
    area = SIZE_TABLE**2
    room = torch.full((count,), ROOM + 1e-6)
    free = weights.expand(count, *weights.shape).clone()  # (B, shape, colour, size)
    chosen = []
    for slot in range(objects):
        others = present[:, slot + 1 :].sum(1)
        # Either all the others are as large as this one, or each still needs a small one's room.
        needed = area * (1 + others[:, None]) if alike else area + others[:, None] * area.min()
        fits = (needed <= room[:, None]) | ~present[:, slot, None]  # (B, size)
        shares = (free * fits[:, None, None, :]).flatten(1)
        shares = torch.where(present[:, slot, None], shares, torch.ones(()))
        if (shares.sum(1) == 0).any():
            raise LabError("The weights leave no object that would fit; allow more combinations.")
        picked = torch.unravel_index(_pick(shares, generator), weights.shape)
        chosen.append(torch.stack(picked, dim=-1))
        if alike:
            return chosen[0][:, None].expand(-1, objects, -1).contiguous()
        shape, colour, size = picked
        free[rows, shape] = 0
        free[rows, :, colour] = 0
        room = room - area[size]
    return torch.stack(chosen, dim=1)


def _place(
    radius: Float[Tensor, "batch objects"], present: Bool[Tensor, "batch objects"],
    generator: Generator,
) -> Float[Tensor, "batch objects 2"]:  # fmt: skip
    """Centres at random such that no two objects touch: scenes that got stuck are begun anew.

    ROOM is such that every scene that keeps to it can be placed, after some tries.
    """
    centre = torch.full((*radius.shape, 2), 0.5)
    stuck = torch.arange(len(radius))
    while len(stuck):
        centre[stuck], done = _throw(radius[stuck], present[stuck], generator)
        stuck = stuck[~done]
    return centre


def _throw(
    radius: Float[Tensor, "batch objects"], present: Bool[Tensor, "batch objects"],
    generator: Generator,
) -> tuple[Float[Tensor, "batch objects 2"], Bool[Tensor, " batch"]]:  # fmt: skip
    """One attempt: each object takes the first of some random places that is free."""
    count, objects = radius.shape
    rows = torch.arange(count)
    centre = torch.zeros(count, objects, 2)
    done = torch.ones(count, dtype=torch.bool)
    for slot in range(objects):
        margin = radius[:, slot, None, None] + GAP
        places = torch.rand(count, TRIES, 2, generator=generator) * (1 - 2 * margin) + margin
        apart = (places[:, :, None] - centre[:, None, :slot]).norm(dim=-1)  # (B, tries, earlier)
        needed = radius[:, None, :slot] + margin
        free = ((apart >= needed) | ~present[:, None, :slot]).all(-1)
        first = free.float().argmax(1)
        centre[:, slot] = places[rows, first]
        done &= free[rows, first] | ~present[:, slot]
    return centre, done


def contrast() -> Float[Tensor, "colour background"]:
    """How far each colour is from each background at the nearer end of it.

    The distance is Euclidean in RGB, weighted by how bright the eye finds each (Rec. 601): black
    and white are √3 apart.
    """
    apart = COLOUR_TABLE[:, None, None] - BACKGROUND_TABLE[None]  # (colour, background, end, RGB)
    luma = 3 * torch.tensor([0.299, 0.587, 0.114])
    return (apart.square() * luma).sum(-1).sqrt().amin(-1)


def _choose_background(
    colour: Int[Tensor, "batch objects"], present: Bool[Tensor, "batch objects"],
    generator: Generator,
) -> Int[Tensor, " batch"]:  # fmt: skip
    """A background that every object stands out from; where there is none, the best there is."""
    clear = contrast()[colour]  # (B, objects, background)
    clear = torch.where(present[..., None], clear, torch.inf).amin(1)
    best = clear.amax(1, keepdim=True)
    return _pick(((clear >= LEAST_CONTRAST) | (clear == best)).float(), generator)


def _choose_textures(
    present: Bool[Tensor, "batch objects"], alike: bool, generator: Generator
) -> Int[Tensor, "batch objects"]:
    texture = _pick(TEXTURE_SHARES.expand(present.numel(), -1), generator).reshape(present.shape)
    return texture[:, :1].expand_as(texture).contiguous() if alike else texture


def _choose_words(count: int, written: bool, generator: Generator) -> Int[Tensor, "batch places"]:
    if not written:
        return torch.zeros(count, MAX_LETTERS, dtype=torch.long)
    words = torch.stack([spell(word) for word in WORDS])
    return words[torch.randint(len(WORDS), (count,), generator=generator)]


def label_centre(
    letters: Int[Tensor, "batch places"],
    centre: Float[Tensor, "batch 2"],
    radius: Float[Tensor, " batch"],
) -> Float[Tensor, "batch 2"]:
    """On the object's lower third, so that the rest of it shows, and within the picture."""
    _, half_width, half_height = label_size(letters)
    half = torch.stack([half_width, half_height], dim=1) + GAP
    below = centre + radius[:, None] * torch.tensor([0.0, 0.65])
    return torch.maximum(torch.minimum(below, 1 - half), half)
