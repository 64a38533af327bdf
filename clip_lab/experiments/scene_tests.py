"""Tests with known truth: a picture, one caption that fits it, and others that are nearly right.

What a caption gets wrong is one thing at a time (which colour belongs to which shape, who stands
left of whom, how many there are), so a model's choice says whether it has understood that thing.
Everything is drawn at the size that the model takes: published models can be asked too.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from clip_lab.data.scene import COLOURS, Scenes, Thing, concatenate, spell
from clip_lab.data.shape_captions import NUMBERS, PLURALS, RELATIONS, with_article
from clip_lab.data.shape_drawing import SIZE_TABLE, draw
from clip_lab.data.shape_sampling import label_centre, sample_scenes, training_weights
from clip_lab.dual_encoder import DualEncoder

COUNTS = range(2, 7)


@dataclass(frozen=True)
class Choice:
    """Pictures, and for each as many captions: the first is true."""

    pictures: Float[Tensor, "pictures 3 size size"]
    captions: list[list[str]]

    @property
    def chance(self) -> float:
        return 1 / len(self.captions[0])


def right(encoder: DualEncoder, test: Choice) -> Bool[Tensor, " pictures"]:
    """Whether the true caption lies nearer to its picture than every other; a tie is a miss."""
    likeness = cosines(encoder, test)
    return likeness[:, 0] > likeness[:, 1:].amax(dim=1)


def share_right(encoder: DualEncoder, test: Choice) -> float:
    return right(encoder, test).double().mean().item()


def cosines(encoder: DualEncoder, test: Choice) -> Float[Tensor, "pictures captions"]:
    """Of every picture with each of its captions."""
    images = encoder.encode_images(test.pictures, batch_size=256)
    each = len(test.captions[0])
    texts = encoder.encode_texts([text for row in test.captions for text in row], truncate=True)
    return torch.einsum("nd,nkd->nk", images, texts.unflatten(0, (-1, each)))


def drawn(scenes: Scenes, size: int) -> Float[Tensor, "pictures 3 size size"]:
    """The pictures, some at a time: a thousand at 224 pixels would take gigabytes on the way."""
    parts = [draw(scenes[start : start + 100], size) for start in range(0, len(scenes), 100)]
    return torch.cat(parts)


# -- two objects ----------------------------------------------------------------------------------


def pairs(count: int, seed: int = 0) -> Scenes:
    """Scenes of two objects that differ in shape and colour; none that training never shows."""
    generator = Generator().manual_seed(10_000 + seed)
    return sample_scenes(count, generator, objects=(2, 2), weights=training_weights())


def named(thing: Thing, colour: str | None = None) -> str:
    """ "a red circle", or with another colour than it has."""
    return with_article(f"{colour or thing.colour} {thing.shape}")


def swapped_colours(scenes: Scenes, size: int) -> Choice:
    """ "a red circle and a blue star" against "a blue circle and a red star": the same words."""
    captions = [
        [f"{named(a)} and {named(b)}", f"{named(a, b.colour)} and {named(b, a.colour)}"]
        for a, b in scenes.things()
    ]
    return Choice(drawn(scenes, size), captions)


def other_colour(scenes: Scenes, size: int, related: bool = False) -> Choice:
    """Against "a green circle and a blue star", where no object is green: no binding is needed.

    `related`: in a sentence that says where they stand, as `swapped_sides` asks.
    """
    names = list(COLOURS)
    captions = []
    for number, (a, b) in enumerate(scenes.things()):
        between = RELATIONS[relation(a, b)][0] if related else "and"
        others = [name for name in names if name not in (a.colour, b.colour)]
        wrong = others[number % len(others)]
        captions.append([f"{named(a, colour)} {between} {named(b)}" for colour in (None, wrong)])
    return Choice(drawn(scenes, size), captions)


OPPOSITE = {"left": "right", "right": "left", "above": "below", "below": "above"}


def swapped_sides(scenes: Scenes, size: int) -> Choice:
    """ "a red circle left of a blue star" against "right of", and above against below."""
    captions = []
    for a, b in scenes.things():
        where = relation(a, b)
        captions.append(
            [f"{named(a)} {RELATIONS[w][0]} {named(b)}" for w in (where, OPPOSITE[where])]
        )
    return Choice(drawn(scenes, size), captions)


def relation(a: Thing, b: Thing) -> str:
    """Where a is, seen from b, along the axis on which they are further apart."""
    right, down = a.x - b.x, a.y - b.y
    if abs(right) > abs(down):
        return "right" if right > 0 else "left"
    return "below" if down > 0 else "above"


# -- several that are alike -----------------------------------------------------------------------


def alike(count: int, seed: int = 0) -> Scenes:
    """Scenes of two to six objects that are all the same, each number as often."""
    generator = Generator().manual_seed(20_000 + seed)
    each = -(-count // len(COUNTS))
    parts = [
        sample_scenes(
            each, generator, objects=(number, number), alike=True, weights=training_weights()
        )
        for number in COUNTS
    ]
    return concatenate(parts)


def other_numbers(scenes: Scenes, size: int, digits: bool = False) -> Choice:
    """ "three red circles" among two to six of them; "3 red circles" with `digits`."""
    captions = []
    for things in scenes.things():
        numbers = [len(things), *(n for n in COUNTS if n != len(things))]
        phrase = f"{things[0].colour} {_plural(things[0].shape)}"
        captions.append([f"{n if digits else NUMBERS[n]} {phrase}" for n in numbers])
    return Choice(drawn(scenes, size), captions)


def other_plurals(scenes: Scenes, size: int) -> Choice:
    """ "three red circles" among four other colours of them: as many, and no counting."""
    names = list(COLOURS)
    captions = []
    for row, things in enumerate(scenes.things()):
        others = [name for name in names if name != things[0].colour]
        wrong = [others[(row + i) % len(others)] for i in range(len(COUNTS) - 1)]
        captions.append(
            [
                f"{NUMBERS[len(things)]} {colour} {_plural(things[0].shape)}"
                for colour in (things[0].colour, *wrong)
            ]
        )
    return Choice(drawn(scenes, size), captions)


def _plural(shape: str) -> str:
    return PLURALS.get(shape, shape + "s")


# -- written words --------------------------------------------------------------------------------


def labelled(count: int, seed: int = 0) -> Scenes:
    """Large single objects with the name of another colour written on them, as Stroop's words."""
    generator = Generator().manual_seed(30_000 + seed)
    scenes = sample_scenes(count, generator, written=True, weights=training_weights())
    shift = torch.randint(1, len(COLOURS), (count,), generator=generator)
    wrong = (scenes.colour[:, 0] + shift) % len(COLOURS)
    return relabelled(scenes, [list(COLOURS)[i] for i in wrong.tolist()])


def relabelled(scenes: Scenes, words: Sequence[str]) -> Scenes:
    """The same objects with these words written on them, each label where it fits."""
    letters = torch.stack([spell(word) for word in words])
    radius = SIZE_TABLE[scenes.size[:, 0]]
    return replace(
        scenes, letters=letters, word_centre=label_centre(letters, scenes.centre[:, 0], radius)
    )


def without_words(scenes: Scenes) -> Scenes:
    """The same scenes, nothing written."""
    return replace(scenes, letters=torch.zeros_like(scenes.letters))


def which_colour(scenes: Scenes, size: int) -> Choice:
    """ "a red circle" among circles of the other colours, the written one second."""
    captions = []
    for (thing,), written in zip(scenes.things(), _written(scenes), strict=True):
        order = dict.fromkeys((thing.colour, written, *COLOURS))
        captions.append([named(thing, colour) for colour in order])
    return Choice(drawn(scenes, size), captions)


def which_word(scenes: Scenes, size: int) -> Choice:
    """ "a red circle with the word blue on it" among the other colours' names.

    The object's own is among the wrong ones, so looking at it instead of reading is no help.
    """
    captions = []
    for (thing,), written in zip(scenes.things(), _written(scenes), strict=True):
        order = dict.fromkeys((written, *COLOURS))
        captions.append([f"{named(thing)} with the word {word.upper()} on it" for word in order])
    return Choice(drawn(scenes, size), captions)


def _written(scenes: Scenes) -> list[str]:
    return [word.lower() for word in scenes.words()]
