"""The emoji model's three tests: another artist's hand, things never seen, another language."""

import re
from functools import cache
from typing import Any

import torch
from torch.nn import functional as F

from clip_lab.data.captions import COMMAS
from clip_lab.data.emoji import EmojiTest, emoji_test
from clip_lab.data.emoji_table import TRAINED_STYLES, emoji_table, languages, texts
from clip_lab.dual_encoder import DualEncoder
from clip_lab.evaluation.accuracy import (
    Accuracy,
    rank_of_target,
    zero_shot_accuracy,
    zero_shot_ranks,
)
from clip_lab.file_tokenizer import FileTokenizer
from clip_lab.tokenizer import Tokenizer
from clip_lab.training.recipes import emoji_corpus

UNSEEN_STYLE = "openmoji"


def style_never_seen(encoder: DualEncoder, language: str = "en") -> Accuracy:
    """OpenMoji's drawings of everything that was trained on in the other styles, by bare name."""
    test = emoji_test(UNSEEN_STYLE, "seen", language)
    return zero_shot_accuracy(encoder, test.pictures, test.labels, test.targets)


def concepts_never_seen(
    encoder: DualEncoder, style: str, language: str = "en", described: bool = False
) -> Accuracy:
    """The held-out concepts in one style, among each other, by bare name.

    `described`: by name and keywords ("zebra, animal, stripe"). A word that no training caption
    held says nothing to the text tower; the keywords beside it do (as in Menon and Vondrick 2022).
    """
    test = emoji_test(style, "heldout", language)
    labels = _described(encoder.tokenizer, test, language) if described else test.labels
    return zero_shot_accuracy(encoder, test.pictures, labels, test.targets)


def in_all_languages(
    encoder: DualEncoder, style: str, split: str, described: bool = False
) -> Accuracy:
    """A label is the mean direction of its name's vectors in every language: an ensemble.

    Where English has a word that training never said ("zebra"), another language may build the name
    of words that it did say (Chinese: "spotted horse"). `described`: names with their keywords.
    """
    test = emoji_test(style, split)
    summed = torch.zeros(len(test.labels), encoder.embed_dim)
    for language in languages():
        names = _described(encoder.tokenizer, test, language, 5 if described else 1)
        summed += encoder.encode_texts(names, truncate=True)
    scores = encoder.encode_images(test.pictures) @ F.normalize(summed, dim=-1).T
    return Accuracy.of_ranks(rank_of_target(scores, test.targets), len(test.labels))


def by_familiarity(encoder: DualEncoder, style: str) -> dict[str, Accuracy]:
    """Concepts never seen, English, apart by how many words of the name training ever said.

    A word never said has no meaning to the text tower: such a name can be right by chance alone.
    """
    heard = words_heard()
    test = emoji_test(style, "heldout")
    shares = [
        sum(w in heard for w in words_of(label)) / len(words_of(label)) for label in test.labels
    ]
    kinds = ["no word" if s == 0 else "every word" if s == 1 else "some words" for s in shares]
    of_picture = [kinds[target] for target in test.targets.tolist()]
    ranks = zero_shot_ranks(encoder, test.pictures, test.labels, test.targets)
    return {
        kind: Accuracy.of_ranks(
            ranks[[i for i, k in enumerate(of_picture) if k == kind]], len(kinds)
        )
        for kind in ("every word", "some words", "no word")
    }


@cache
def words_heard() -> frozenset[str]:
    """Every word that training may say, in any language."""
    return frozenset(word for text in emoji_corpus(languages()) for word in words_of(text))


def words_of(text: str) -> list[str]:
    """The words of a name in an alphabet, in lower case."""
    return re.findall(r"\w+", text.lower())


def _described(
    tokenizer: Tokenizer | FileTokenizer, test: EmojiTest, language: str, most: int = 5
) -> list[str]:
    """Each class by its name and first keywords in a language: so many, or as many as fit."""
    words, comma = texts(language), COMMAS.get(language, ", ")
    row_of = dict(zip(test.targets.tolist(), test.rows, strict=True))
    descriptions = []
    for i in range(len(test.labels)):
        known = words[emoji_table().rows[row_of[i]].hexcode]
        tries = (comma.join(known[:number]) for number in range(most, 0, -1))
        room = tokenizer.context_length - 2
        fitting = (text for text in tries if len(tokenizer.encode(text)) <= room)
        descriptions.append(next(fitting, known[0]))
    return descriptions


def trained_style(encoder: DualEncoder, style: str, language: str = "en") -> Accuracy:
    """The very drawings that were trained on: how much was learnt by heart."""
    test = emoji_test(style, "seen", language)
    return zero_shot_accuracy(encoder, test.pictures, test.labels, test.targets)


def quick_look(encoder: DualEncoder) -> dict[str, float]:
    """Two figures for the log of a run, in a few seconds."""
    style = style_never_seen(encoder)
    concepts = concepts_never_seen(encoder, TRAINED_STYLES[0])
    return {
        "style_never_seen_top1": style.top1,
        "style_never_seen_top5": style.top5,
        "concepts_never_seen_top1": concepts.top1,
    }


def figures(encoder: DualEncoder) -> dict[str, Any]:
    """Everything that the model card reports: English and Chinese at length, and all languages."""
    result: dict[str, Any] = {}
    for language in ("en", "zh"):
        concepts = [concepts_never_seen(encoder, style, language) for style in TRAINED_STYLES]
        described = [concepts_never_seen(encoder, s, language, True) for s in TRAINED_STYLES]
        result[language] = {
            "style_never_seen": style_never_seen(encoder, language).to_dict(),
            "trained_style": trained_style(encoder, TRAINED_STYLES[0], language).to_dict(),
            "concepts_never_seen": _pooled(concepts).to_dict(),
            "concepts_never_seen_described": _pooled(described).to_dict(),
        }
        for style, accuracy in zip(TRAINED_STYLES, concepts, strict=True):
            result[language][f"concepts_never_seen_{style}"] = accuracy.to_dict()
    result["all_languages"] = {
        "style_never_seen": in_all_languages(encoder, UNSEEN_STYLE, "seen").to_dict()
    }
    for name, described in (
        ("concepts_never_seen", False),
        ("concepts_never_seen_described", True),
    ):
        parts = [in_all_languages(encoder, s, "heldout", described) for s in TRAINED_STYLES]
        result["all_languages"][name] = _pooled(parts).to_dict()
    parts = [by_familiarity(encoder, style) for style in TRAINED_STYLES]
    result["en"]["concepts_never_seen_by_words_heard"] = {
        kind: _pooled([part[kind] for part in parts]).to_dict() for kind in parts[0]
    }
    return result | {"style_never_seen_by_language": by_language(encoder)}


def by_language(encoder: DualEncoder) -> dict[str, dict[str, float]]:
    """Top-1 and top-5 on OpenMoji by bare name, in each language, and as a share of English."""
    pictures = emoji_test(UNSEEN_STYLE, "seen").pictures
    vectors = encoder.encode_images(pictures)
    accuracies: dict[str, Accuracy] = {}
    for language in languages():
        test = emoji_test(UNSEEN_STYLE, "seen", language)
        ranks = rank_of_target(
            vectors @ encoder.encode_texts(test.labels, truncate=True).T, test.targets
        )
        accuracies[language] = Accuracy.of_ranks(ranks, len(test.labels))
    english = accuracies["en"].top1 or float("inf")
    return {
        language: {
            "top1": round(accuracy.top1, 4),
            "top5": round(accuracy.top5, 4),
            "of_english": round(accuracy.top1 / english, 3),
        }
        for language, accuracy in accuracies.items()
    }


def _pooled(parts: list[Accuracy]) -> Accuracy:
    """All styles' pictures together; the classes are those of the fullest."""
    number = sum(part.pictures for part in parts)
    top1 = sum(part.top1 * part.pictures for part in parts) / number
    top5 = sum(part.top5 * part.pictures for part in parts) / number
    return Accuracy(top1, top5, number, max(part.classes for part in parts))
