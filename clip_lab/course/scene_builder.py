"""The scene builder of chapter 13: every scene of a small world, and what a model says of each.

Three shapes in three colours: one to six of a kind, one with another colour's name written on it,
or two different ones in four positions. Few enough that a page without a kernel carries all
answers.
"""

from collections.abc import Iterator, Sequence

import torch

from clip_lab.data.scene import COLOURS as RGB
from clip_lab.data.scene import MAX_OBJECTS, SIZES, concatenate
from clip_lab.data.shape_captions import NUMBERS, PLURALS, with_article
from clip_lab.data.shape_distances import CIRCLE_RADIUS, POLYGONS
from clip_lab.data.shape_drawing import draw
from clip_lab.data.shape_lettering import label_size
from clip_lab.data.staging import PLACES, Stage
from clip_lab.dual_encoder import DualEncoder
from clip_lab.view.widgets.scene import BuiltScene, SceneWidget, Statement

SHAPES = ("circle", "square", "star")
COLOURS = ("red", "yellow", "blue")
OPPOSITE = {"left of": "right of", "right of": "left of", "above": "below", "below": "above"}
START = Stage("square", "red", 1, "circle", "blue")
Claim = tuple[str, str, str]  # a question, a true caption, a false one


def stages() -> Iterator[Stage]:
    """All that can be built."""
    for shape in SHAPES:
        for colour in COLOURS:
            for count in range(1, MAX_OBJECTS + 1):
                yield Stage(shape, colour, count)
            for word in COLOURS:
                if word != colour:
                    yield Stage(shape, colour, word=word.upper())
            for other in SHAPES:
                for hue in COLOURS:
                    if other != shape and hue != colour:
                        for where in PLACES:
                            yield Stage(shape, colour, 1, other, hue, where)


def claims(stage: Stage) -> list[Claim]:
    """What to ask of a scene; a false caption differs from the true one in one thing."""
    if stage.other_shape:
        return _of_two(stage)
    here = _several(stage.count, stage.colour, stage.shape)
    hue = stage.word.lower() or _next(COLOURS, stage.colour)
    found = [
        ("Which colour?", here, _several(stage.count, hue, stage.shape)),
        ("Which shape?", here, _several(stage.count, stage.colour, _next(SHAPES, stage.shape))),
    ]
    if stage.word:
        third = next(name for name in COLOURS if name not in (stage.colour, hue))
        true, false = (f"{here} with the word {word.upper()} on it" for word in (hue, third))
        named = ("What it is, or what it says?", *found[0][1:])
        return [named, found[1], ("Which word?", true, false)]
    if stage.count > 1:
        wrong = stage.count + 1 if stage.count < MAX_OBJECTS else stage.count - 1
        found.append(("How many?", here, _several(wrong, stage.colour, stage.shape)))
    return found


def _of_two(stage: Stage) -> list[Claim]:
    def told(colour: str, other_colour: str, between: str = "and") -> str:
        first, second = f"{colour} {stage.shape}", f"{other_colour} {stage.other_shape}"
        return f"{with_article(first)} {between} {with_article(second)}"

    absent = next(name for name in COLOURS if name not in (stage.colour, stage.other_colour))
    own = stage.colour, stage.other_colour
    return [
        ("Is that colour there?", told(*own), told(absent, own[1])),
        ("Which colour belongs to which?", told(*own), told(*own[::-1])),
        ("Which stands where?", told(*own, stage.where), told(*own, OPPOSITE[stage.where])),
    ]


def _several(count: int, colour: str, shape: str) -> str:
    if count == 1:
        return with_article(f"{colour} {shape}")
    return f"{NUMBERS[count]} {colour} {PLURALS.get(shape, shape + 's')}"


def _next(names: Sequence[str], name: str) -> str:
    return names[(names.index(name) + 1) % len(names)]


def scene_builder(encoder: DualEncoder) -> SceneWidget:
    """The widget, with every answer that the model gives to its scenes."""
    every = list(stages())
    pictures = draw(concatenate([stage.scene() for stage in every]), encoder.preprocess.size)
    vectors = encoder.encode_images(pictures)
    asked = [claims(stage) for stage in every]
    texts = sorted({text for said in asked for _, *both in said for text in both})
    of_text = dict(zip(texts, encoder.encode_texts(texts), strict=True))

    def cosine(place: int, text: str) -> float:
        return float(vectors[place] @ of_text[text])

    def ask(place: int, captions: list[str]) -> list[float]:
        return (encoder.encode_texts(captions) @ vectors[place]).tolist()

    built = [
        _built(stage, [Statement(question, true, false, (cosine(i, true), cosine(i, false)))
                       for question, true, false in said])
        for i, (stage, said) in enumerate(zip(every, asked, strict=True))
    ]  # fmt: skip
    return SceneWidget(built, _codes(), _outlines(), scene=every.index(START), ask=ask)


def _built(stage: Stage, said: Sequence[Statement]) -> BuiltScene:
    scene = stage.scene()
    things = tuple(
        (thing.shape, thing.colour, round(thing.x, 4), round(thing.y, 4), SIZES[thing.size])
        for thing in scene.things()[0]
    )
    label = ()
    if stage.word:
        _, half_width, half_height = label_size(scene.letters)
        x, y = scene.word_centre[0].tolist()
        label = tuple(round(v, 4) for v in (x, y, half_width.item(), half_height.item()))
    two = stage.other_shape != ""
    return BuiltScene(
        stage.shape, stage.colour, stage.count, things, tuple(said), stage.other_shape,
        stage.other_colour if two else "", stage.where if two else "", stage.word, label,
    )  # fmt: skip


def _codes() -> dict[str, str]:
    """Each colour as #rrggbb."""
    return {name: "#" + bytes(round(255 * part) for part in RGB[name]).hex() for name in COLOURS}


def _outlines() -> dict[str, float | list[list[float]]]:
    """The circle's radius, and the corners of the others, mirrored in the vertical axis."""
    found: dict[str, float | list[list[float]]] = {"circle": CIRCLE_RADIUS}
    for shape in SHAPES:
        if shape in POLYGONS:
            half = torch.tensor(POLYGONS[shape])
            corners = torch.cat([half, half.flip(0) * torch.tensor([-1.0, 1.0])])
            found[shape] = [[round(x, 4), round(y, 4)] for x, y in corners.tolist()]
    return found
