"""A small grammar that says what is in a scene, in many phrasings, all of them true.

A caption never says everything: captions that people write leave things out, and a model that is
to answer to "a red circle" has to have met captions without a size. What is said follows from the
scene: one object, several that are alike (how many?), two (which is where?), a medley, a label
with a word on it. "Left of" and the like compare the objects' centres.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from clip_lab.data.scene import Scenes, Thing

# The first word is the plain one and the most frequent; the others are there to be understood.
SYNONYMS: dict[str, tuple[str, ...]] = {
    "circle": ("circle", "disc"),
    "cross": ("cross", "plus sign"),
    "crescent": ("crescent", "crescent moon"),
    "drop": ("drop", "teardrop"),
    "diamond": ("diamond", "rhombus"),
    "grey": ("grey", "gray"),
    "purple": ("purple", "violet"),
    "small": ("small", "little", "tiny"),
    "medium": ("medium", "medium-sized", "mid-sized"),
    "large": ("large", "big", "huge"),
    "solid": ("solid", "plain"),
    "striped": ("striped", "stripy"),
    "dotted": ("dotted", "spotted"),
}
PLURALS = {"cross": "crosses", "rhombus": "rhombuses"}
NUMBERS = ("zero", "one", "two", "three", "four", "five", "six")
PLAIN_SHARE = 0.8

ONE_FRAMES = ("{}", "{}", "a picture of {}", "an image of {}", "a drawing of {}", "there is {}",
              "this is {}", "here is {}")  # fmt: skip
MANY_FRAMES = ("{}", "{}", "a picture of {}", "an image of {}", "a drawing of {}", "there are {}",
               "these are {}", "here are {}")  # fmt: skip
RELATIONS = {
    "left": ("left of", "to the left of", "on the left of"),
    "right": ("right of", "to the right of", "on the right of"),
    "above": ("above", "over"),
    "below": ("below", "under", "beneath"),
}
RELATION_FRAMES = ("{a} {where} {b}", "{a} is {where} {b}", "there is {a} {where} {b}",
                   "a picture of {a} {where} {b}", "{where} {b} there is {a}")  # fmt: skip
WORD_FRAMES = ("{a} with the word {w} written on it", "{a} with the word {w} on it",
               "{a} that says {w}", "{a} labelled {w}", "the word {w} written on {a}",
               "the word {w} on {a}")  # fmt: skip


@dataclass(frozen=True)
class Mention:
    """How often a caption mentions what it might leave out."""

    size: float
    texture: float  # of striped and dotted objects; a quarter as often of solid ones
    background: float = 0.0


ALONE = Mention(size=0.8, texture=0.6, background=0.2)
AMONG_OTHERS = Mention(size=0.3, texture=0.3)


def plain_caption(shape: str, colour: str, size: str) -> str:
    """The standard name of a combination, "a small red circle"."""
    return with_article(f"{size} {colour} {shape}")


def captions(scenes: Scenes, random: Random) -> list[str]:
    """A caption for each scene; texts are distinct as far as some rephrasing makes them so.

    Two pictures of a batch with one caption between them would be asked to repel each other.
    """
    seen: set[str] = set()
    texts = []
    rows = zip(scenes.things(), scenes.words(), scenes.backgrounds(), strict=True)
    for things, word, background in rows:
        for _ in range(8):
            text = caption(things, random, word, background)
            if text not in seen:
                break
        seen.add(text)
        texts.append(text)
    return texts


def caption(things: Sequence[Thing], random: Random, word: str = "", background: str = "") -> str:
    """Say what one scene shows. A word is taken to be written on the first thing."""
    if word and random.random() < 0.75:
        return _written(things[0], word, random)
    if len(things) == 1:
        return _single(things[0], background, random)
    if len({(t.shape, t.colour, t.size, t.texture) for t in things}) == 1:
        return _counted(things, background, random)
    if len(things) > 2 and random.random() < 0.5:
        return _medley(things, random)
    one, other = random.sample(list(things), 2)
    if len(things) > 2 or random.random() < 0.75:
        return _related(one, other, random)
    frame = random.choice(("{} and {}", "there is {} and {}", "{} with {}"))
    return frame.format(*(with_article(_name(t, random, AMONG_OTHERS)) for t in (one, other)))


def with_article(name: str) -> str:
    """ "a red circle", "an orange one"."""
    return f"an {name}" if name[0] in "aeiou" else f"a {name}"


def _word(name: str, random: Random) -> str:
    """The name itself, mostly, or another word for it."""
    others = SYNONYMS.get(name, (name,))[1:]
    return random.choice(others) if others and random.random() > PLAIN_SHARE else name


def _name(thing: Thing, random: Random, mention: Mention, plural: bool = False) -> str:
    """A noun phrase without article: "small striped red circle", "red circle", "red shapes"."""
    chance = random.random()
    colour = [] if chance < 0.05 else [_word(thing.colour, random)]
    noun = random.choice(("shape", "object")) if chance > 0.95 else _word(thing.shape, random)
    texture = []
    if random.random() < mention.texture / (4 if thing.texture == "solid" else 1):
        texture = [_word(thing.texture, random)]
    size = [_word(thing.size, random)] if random.random() < mention.size else []
    pattern = colour + texture if random.random() < 0.3 else texture + colour
    if plural:
        noun = PLURALS.get(noun, noun + "s")
    return " ".join([*size, *pattern, noun])


def _framed(phrase: str, frames: Sequence[str], background: str, random: Random) -> str:
    if background and random.random() < ALONE.background:
        phrase += f" on {with_article(background)} background"
    return random.choice(frames).format(phrase)


def _single(thing: Thing, background: str, random: Random) -> str:
    name = _name(thing, random, ALONE)
    chance = random.random()
    if chance < 0.15:
        return name  # as people type a search
    phrase = f"one {name}" if chance < 0.22 else with_article(name)
    return _framed(phrase, ONE_FRAMES, background, random)


def _counted(things: Sequence[Thing], background: str, random: Random) -> str:
    number = str(len(things)) if random.random() < 0.3 else NUMBERS[len(things)]
    phrase = f"{number} {_name(things[0], random, AMONG_OTHERS, plural=True)}"
    return _framed(phrase, MANY_FRAMES, background, random)


def _related(one: Thing, other: Thing, random: Random) -> str:
    """Where one is, seen from the other, on the axis along which they are further apart."""
    right, down = one.x - other.x, one.y - other.y
    if abs(right) > abs(down):
        relation = "right" if right > 0 else "left"
    else:
        relation = "below" if down > 0 else "above"
    a, b = (with_article(_name(thing, random, AMONG_OTHERS)) for thing in (one, other))
    where = random.choice(RELATIONS[relation])
    return random.choice(RELATION_FRAMES).format(a=a, b=b, where=where)


def _medley(things: Sequence[Thing], random: Random) -> str:
    """How many there are, or all of them by name where they are few."""
    number = NUMBERS[len(things)]
    if len(things) > 4 or random.random() < 0.4:
        noun = random.choice(("shapes", "objects", "different shapes", "different objects"))
        return _framed(f"{number} {noun}", MANY_FRAMES, "", random)
    names = [with_article(_name(thing, random, AMONG_OTHERS)) for thing in things]
    random.shuffle(names)
    return f"{', '.join(names[:-1])} and {names[-1]}"


def _written(thing: Thing, word: str, random: Random) -> str:
    word = f'"{word}"' if random.random() < 0.3 else word
    phrase = with_article(_name(thing, random, AMONG_OTHERS))
    return random.choice(WORD_FRAMES).format(a=phrase, w=word)
