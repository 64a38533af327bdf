"""Captions are true: a reader that shares nothing with the grammar checks them against scenes."""

import itertools
import re
from random import Random

import pytest

from clip_lab.data.scene import COLOURS, SHAPES, Thing, make_scene
from clip_lab.data.shape_captions import SYNONYMS, caption, captions, plain_caption
from clip_lab.data.shapes import KINDS, ShapesPairs

COLOUR = {name: name for name in COLOURS} | {"gray": "grey", "violet": "purple"}
SIZE = {
    "small": "small", "little": "small", "tiny": "small",
    "medium": "medium", "medium-sized": "medium", "mid-sized": "medium",
    "large": "large", "big": "large", "huge": "large",
}  # fmt: skip
TEXTURE = {
    "solid": "solid", "plain": "solid", "striped": "striped", "stripy": "striped",
    "dotted": "dotted", "spotted": "dotted",
}  # fmt: skip
NOUN = {name: name for name in SHAPES} | {
    "disc": "circle", "plus sign": "cross", "crescent moon": "crescent", "teardrop": "drop",
    "rhombus": "diamond", "shape": "", "object": "",
}  # fmt: skip
NOUN |= {f"{word}s": shape for word, shape in NOUN.items()} | {
    "crosses": "cross", "rhombuses": "diamond",
}  # fmt: skip
NUMBER = {word: n for n, word in enumerate(["one", "two", "three", "four", "five", "six"], 1)}
NUMBER |= {str(n): n for n in range(1, 7)}
HOLDS = {
    "left": lambda a, b: a.x < b.x,
    "right": lambda a, b: a.x > b.x,
    "above": lambda a, b: a.y < b.y,
    "over": lambda a, b: a.y < b.y,
    "below": lambda a, b: a.y > b.y,
    "under": lambda a, b: a.y > b.y,
    "beneath": lambda a, b: a.y > b.y,
}
FILLERS = set(
    re.findall(
        r"\w+",
        """a an picture image drawing of there is are this these here and with on it to the word
        written that says labelled left right above over below under beneath""",
    )
)


def one_of(words) -> str:
    return "|".join(sorted(map(re.escape, words), key=len, reverse=True))


PHRASE = re.compile(
    rf"\b(?:(?P<number>{one_of(NUMBER)}) )?(?P<adjectives>(?:(?:different|"
    rf"{one_of([*COLOUR, *SIZE, *TEXTURE])}) )*)(?P<noun>{one_of(NOUN)})\b"
)
RELATION = re.compile(rf"\b({one_of(HOLDS)})\b")


def fits(phrase: re.Match, thing: Thing) -> bool:
    """Whether everything the noun phrase says is so of the thing."""
    said = phrase["adjectives"].split()
    return (
        all(COLOUR[word] == thing.colour for word in said if word in COLOUR)
        and all(SIZE[word] == thing.size for word in said if word in SIZE)
        and all(TEXTURE[word] == thing.texture for word in said if word in TEXTURE)
        and NOUN[phrase["noun"]] in ("", thing.shape)
    )


def is_true(text: str, things: list[Thing], word: str, background: str) -> bool:
    """Read the caption and look whether the scene is so."""
    if written := re.search(r'"?([A-Z]{2,})"?', text):
        if written[1] != word:
            return False
        text = text.replace(written[0], "").strip()
    if ground := re.search(r" on an? ([a-z ]+) background$", text):
        if ground[1] != background:
            return False
        text = text.removesuffix(ground[0])
    phrases = list(PHRASE.finditer(text))
    left_over = set(re.findall(r"[\w\"-]+", PHRASE.sub("", text)))
    assert phrases and left_over <= FILLERS, (text, left_over - FILLERS)
    for phrase in phrases:
        if phrase["number"]:
            found = sum(fits(phrase, thing) for thing in things)
            if found != NUMBER[phrase["number"]]:
                return False
    relation = RELATION.search(PHRASE.sub(lambda m: "_" * len(m[0]), text))
    ways = [
        chosen
        for chosen in itertools.permutations(things, len(phrases))
        if all(fits(phrase, thing) for phrase, thing in zip(phrases, chosen, strict=True))
    ]
    if relation is None:
        return bool(ways)
    first_is_subject = phrases[0].start() < relation.start()
    holds = HOLDS[relation[1]]
    return any(holds(*(way if first_is_subject else way[::-1])) for way in ways)


def check(scenes, texts) -> list[bool]:
    rows = zip(texts, scenes.things(), scenes.words(), scenes.backgrounds(), strict=True)
    return [is_true(*row) for row in rows]


@pytest.mark.parametrize("kind", KINDS)
def test_every_caption_is_true(kind):
    for seed in range(4):
        scenes = ShapesPairs(batch_size=100, seed=seed, kinds={kind: 1.0}).scenes(0)
        texts = captions(scenes, Random(seed))
        right = check(scenes, texts)
        assert all(right), texts[right.index(False)]


@pytest.mark.parametrize("kind", ["single", "pair", "count", "word"])
def test_the_reader_knows_a_wrong_caption(kind):
    """Each caption on the next picture: few are true by chance."""
    pairs = ShapesPairs(batch_size=300, kinds={kind: 1.0})
    scenes = pairs.scenes(0)
    texts = captions(scenes, Random(0))
    assert sum(check(scenes, texts[1:] + texts[:1])) < 10


def test_swapped_places_make_a_relation_false():
    left, right = Thing("star", "red", x=0.2, y=0.5), Thing("ring", "blue", x=0.8, y=0.4)
    swapped = [Thing("star", "red", x=0.8, y=0.5), Thing("ring", "blue", x=0.2, y=0.4)]
    random = Random(1)
    texts = {caption([left, right], random) for _ in range(200)}
    told = [text for text in texts if RELATION.search(text)]
    assert len(told) > 50
    assert {RELATION.search(text)[1] for text in told} == {"left", "right"}
    assert all(is_true(text, [left, right], "", "") for text in told)
    partly = [text for text in told if is_true(text, swapped, "", "")]
    # Still true only where neither is named clearly: "a shape left of a shape".
    assert all("shape" in text or "object" in text or "a star" in text for text in partly)


def test_every_word_of_the_grammar_is_used_and_plain_words_most():
    pairs = ShapesPairs(batch_size=3000, kinds={"single": 1.0})
    texts = " ".join(captions(pairs.scenes(0), Random(0)))
    for name, words in SYNONYMS.items():
        used = [len(re.findall(rf"\b{word}\b", texts)) for word in words]
        assert min(used) > 0, (name, words)
        assert used[0] >= sum(used[1:]), (name, words)


def test_captions_are_many_and_repeatable():
    scenes = ShapesPairs(batch_size=200, kinds={"single": 1.0}).scenes(3)
    assert captions(scenes, Random(4)) == captions(scenes, Random(4))
    thing = [Thing("circle", "red", "small", "striped")]
    random = Random(0)
    assert len({caption(thing, random, background="white") for _ in range(500)}) > 100


def test_plain_caption_takes_the_right_article():
    assert plain_caption("circle", "red", "small") == "a small red circle"
    scene = make_scene(Thing("arrow", "orange"))
    texts = [captions(scene, Random(seed))[0] for seed in range(200)]
    assert not [t for t in texts if re.search(r"\ba [aeio]|\ban [^aeio]", t)]
