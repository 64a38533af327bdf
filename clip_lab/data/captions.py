"""Captions for emoji: what people call a thing, said in many ways.

Web captions seldom are a bare label; CLIP's paper (section 3.1.4) meets that with prompt templates
at test time. Training captions here vary in the same spirit: mostly the name, often with keywords
after it, at times keywords alone, a plain template, or the kind of thing it is.

Nothing that names a held-out concept is ever used, neither as a name nor as a keyword: a text equal
to one of their names is dropped before any caption is made of it.
"""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from clip_lab.data.emoji_table import emoji_table, texts
from clip_lab.errors import LabError

TEMPLATES = {
    "en": (
        "an emoji of {}",
        "a drawing of {}",
        "a picture of {}",
        "an icon of {}",
        "{} emoji",
        "a small picture that shows {}",
    ),
    "zh": ("{}的表情符号", "一个{}的图画", "{}的图片", "一张{}的图", "表情：{}", "画的是{}"),
}
COMMAS = {"zh": "，", "zh-hant": "，", "ja": "、"}  # elsewhere a comma and a space

# English words for what Unicode's subgroups hold
KINDS = {
    "cat-face": "cat face", "monkey-face": "monkey", "heart": "heart symbol", "hands": "gesture",
    "hand-fingers-open": "hand gesture", "hand-fingers-partial": "hand sign",
    "hand-single-finger": "pointing finger", "hand-fingers-closed": "hand gesture",
    "body-parts": "part of the body", "person-gesture": "gesture", "person-role": "job",
    "person-fantasy": "fantasy figure", "person-activity": "activity", "person-sport": "sport",
    "family": "people together", "animal-mammal": "animal", "animal-bird": "bird",
    "animal-amphibian": "amphibian", "animal-reptile": "reptile", "animal-marine": "sea animal",
    "animal-bug": "insect", "plant-flower": "flower", "plant-other": "plant",
    "food-fruit": "fruit", "food-vegetable": "vegetable", "food-prepared": "food",
    "food-asian": "Asian food", "food-sweet": "sweet food", "drink": "drink",
    "dishware": "dishes", "place-map": "map", "place-geographic": "landscape",
    "place-building": "building", "place-religious": "place of prayer", "place-other": "place",
    "transport-ground": "transport", "transport-water": "ship or boat", "transport-air": "flying",
    "time": "time", "sky-weather": "sky and weather", "event": "celebration",
    "award-medal": "prize", "sport": "sport", "game": "game", "arts-crafts": "art",
    "clothing": "clothing", "sound": "sound", "music": "music",
    "musical-instrument": "musical instrument", "phone": "phone", "computer": "computing",
    "light-video": "light and video", "book-paper": "paper and books", "money": "money",
    "mail": "mail", "writing": "writing", "office": "office things", "lock": "locking",
    "tool": "tool", "science": "science", "medical": "medicine", "household": "household thing",
    "transport-sign": "public sign", "warning": "warning sign", "arrow": "arrow",
    "religion": "religious symbol", "zodiac": "zodiac sign", "av-symbol": "player button",
    "math": "mathematical sign", "punctuation": "punctuation mark", "geometric": "plain shape",
    "keycap": "key of a phone", "country-flag": "country",
}  # fmt: skip


@dataclass(frozen=True)
class CaptionMix:
    """Relative weights of the ways to say it.

    Names are soon known by heart, each for itself; keywords and parts of names are shared between
    emoji, and teach what words mean, which is all that a name never heard can go by. More than this
    of them slowed the learning of everything else.
    """

    name: float = 0.40
    name_and_keywords: float = 0.25
    keywords: float = 0.12
    template: float = 0.14
    kind: float = 0.05
    part: float = 0.04


@dataclass(frozen=True)
class Words:
    """What may be said of one base emoji in one language: held-out names are gone already."""

    name: str | None
    toned: dict[int, str]  # row of a skin tone -> its name, "farmer: dark skin tone"
    keywords: list[str]
    kind: str | None  # in English only
    parts: list[str]  # of a name of several words: each run of them, "smiling eyes"

    def ways(self, mix: CaptionMix) -> dict[str, float]:
        """The ways that these words allow, and their weights; none where nothing may be said."""
        ways = {
            "name": mix.name * bool(self.name),
            "template": mix.template * bool(self.name),
            "name_and_keywords": mix.name_and_keywords * bool(self.name and self.keywords),
            "kind": mix.kind * bool(self.name and self.kind),
            "part": mix.part * bool(self.parts),
            # one keyword alone says little, but is better than silence
            "keywords": mix.keywords * (len(self.keywords) > (1 if self.name else 0)),
        }
        return {way: weight for way, weight in ways.items() if weight > 0}


def permitted_words(base: int, language: str, forbidden: frozenset[str]) -> Words:
    """The words of a base emoji without any that is in `forbidden` (case-folded names)."""
    table, said = emoji_table(), texts(language)
    names = {row: said[table.rows[row].hexcode][0] for row in table.variants[base]}
    names = {row: name for row, name in names.items() if name.casefold() not in forbidden}
    keywords = said[table.rows[base].hexcode][1:]
    kind = KINDS.get(table.rows[base].subgroup) if language == "en" else None
    name = names.pop(base, None)
    return Words(
        name=name,
        toned=names,
        keywords=[word for word in keywords if word.casefold() not in forbidden],
        kind=None if kind in forbidden else kind,
        parts=[part for part in runs_of_words(name or "") if part.casefold() not in forbidden],
    )


def runs_of_words(name: str) -> list[str]:
    """Every run of neighbouring words that is shorter than the whole name."""
    words = re.findall(r"[^\s:,]+", name)
    spans = combinations(range(len(words) + 1), 2)
    return [" ".join(words[i:j]) for i, j in spans if j - i < len(words)]


class Captions:
    """Makes captions for emoji in several languages.

    `weights` says how often each language speaks. Nothing in `forbidden` is used. An emoji of
    `bases` of which nothing may be said in any of the languages is missing from `self.bases`.
    """

    def __init__(
        self,
        bases: Sequence[int],
        languages: Sequence[str],
        weights: Sequence[float],
        forbidden: frozenset[str] = frozenset(),
        mix: CaptionMix | None = None,
    ) -> None:
        if not languages or len(weights) != len(languages) or min(weights) <= 0:
            raise LabError("Give at least one language, and to each a weight greater than 0.")
        self.mix = mix or CaptionMix()
        self.weights = dict(zip(languages, weights, strict=True))
        self.words: dict[int, dict[str, Words]] = {}  # base -> language -> words
        for base in bases:
            said = {language: permitted_words(base, language, forbidden) for language in languages}
            said = {language: words for language, words in said.items() if words.ways(self.mix)}
            if said:
                self.words[base] = said
        self.bases = list(self.words)

    def languages_for(self, base: int, count: int, rng: random.Random) -> list[str]:
        """So many languages that have words for it, each at most once while there are enough.

        Drawn in proportion to the weights, without putting back (Efraimidis and Spirakis 2006).
        """
        said = list(self.words[base])
        drawn = sorted(said, key=lambda one: -(rng.random() ** (1 / self.weights[one])))
        return (drawn * count)[:count] if len(drawn) < count else drawn[:count]

    def say(self, row: int, base: int, language: str, rng: random.Random) -> str:
        """A caption for `row`: the base emoji itself or one of its skin tones."""
        words = self.words[base][language]
        if row in words.toned and rng.random() < 0.5:  # half of the time the tone is mentioned
            words = replace(words, name=words.toned[row])
        return phrase(words, language, self.mix, rng)

    def corpus(self, per_emoji: int = 12, seed: int = 0) -> list[str]:
        """Captions as training hears them, to train a tokenizer on: all of permitted texts."""
        rng = random.Random(seed)
        rows = emoji_table().variants
        return [
            self.say(rng.choice(rows[base]), base, self.languages_for(base, 1, rng)[0], rng)
            for base in self.bases * per_emoji
        ]


def phrase(words: Words, language: str, mix: CaptionMix, rng: random.Random) -> str:
    """Says it in one of the ways that the words allow."""
    ways = words.ways(mix)
    way = rng.choices(list(ways), list(ways.values()))[0]
    name, keywords, comma = words.name or "", words.keywords, COMMAS.get(language, ", ")
    match way:
        case "template":
            return rng.choice(TEMPLATES.get(language, ("{}",))).replace("{}", name)
        case "name_and_keywords":
            chosen = rng.sample(keywords, rng.randint(1, min(3, len(keywords))))
            return comma.join([name, *chosen])
        case "kind":
            return rng.choice((f"{words.kind}: {name}", f"{name}, {words.kind}"))
        case "part":
            return rng.choice(words.parts)
        case "keywords":
            return comma.join(rng.sample(keywords, min(rng.randint(2, 4), len(keywords))))
    return name
