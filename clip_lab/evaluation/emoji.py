"""The emoji model's three tests: another artist's hand, things never seen, another language."""

from typing import Any

from clip_lab.data.emoji import emoji_test
from clip_lab.data.emoji_table import TRAINED_STYLES
from clip_lab.dual_encoder import DualEncoder
from clip_lab.evaluation.accuracy import Accuracy, zero_shot_accuracy

UNSEEN_STYLE = "openmoji"


def style_never_seen(encoder: DualEncoder, language: str = "en") -> Accuracy:
    """OpenMoji's drawings of everything that was trained on in the other styles, by bare name."""
    test = emoji_test(UNSEEN_STYLE, "seen", language)
    return zero_shot_accuracy(encoder, test.pictures, test.labels, test.targets)


def concepts_never_seen(encoder: DualEncoder, style: str, language: str = "en") -> Accuracy:
    """The held-out concepts in one style, among each other, by bare name."""
    test = emoji_test(style, "heldout", language)
    return zero_shot_accuracy(encoder, test.pictures, test.labels, test.targets)


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


def figures(encoder: DualEncoder, languages: tuple[str, ...]) -> dict[str, Any]:
    """Everything that the model card reports."""
    result: dict[str, Any] = {}
    for language in languages:
        concepts = [concepts_never_seen(encoder, style, language) for style in TRAINED_STYLES]
        result[language] = {
            "style_never_seen": style_never_seen(encoder, language).to_dict(),
            "trained_style": trained_style(encoder, TRAINED_STYLES[0], language).to_dict(),
            "concepts_never_seen": _pooled(concepts).to_dict(),
        }
        for style, accuracy in zip(TRAINED_STYLES, concepts, strict=True):
            result[language][f"concepts_never_seen_{style}"] = accuracy.to_dict()
    return result


def _pooled(parts: list[Accuracy]) -> Accuracy:
    """All styles' pictures together; the classes are those of the fullest."""
    number = sum(part.pictures for part in parts)
    top1 = sum(part.top1 * part.pictures for part in parts) / number
    top5 = sum(part.top5 * part.pictures for part in parts) / number
    return Accuracy(top1, top5, number, max(part.classes for part in parts))
