"""The photos model's tests: things that it learnt, things never shown, another photographer's."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from clip_lab.data.photos import ENSEMBLE, Photos, photo_classes, read_photos
from clip_lab.dual_encoder import DualEncoder
from clip_lab.evaluation.accuracy import Accuracy, zero_shot_accuracy
from clip_lab.evaluation.public import evaluate

BARE = ("{}",)


def things(
    encoder: DualEncoder,
    photos: Photos,
    held_out: bool,
    templates: Sequence[str] = ENSEMBLE,
    described: bool = False,
) -> Accuracy:
    """Tiny ImageNet's validation pictures of the trained classes (180), or of the others (20).

    The trained are told apart among 180 names, the never-trained among 20. `described`: the prompt
    says the kind as well ("a photo of a desk, a kind of table."), since a word that no training
    caption held says nothing to the text tower.
    """
    chosen = [i for i, entry in enumerate(photo_classes()) if entry.held_out == held_out]
    photos = photos.of(lambda entry: entry.held_out == held_out)
    number = {place: i for i, place in enumerate(chosen)}
    targets = torch.tensor([number[place] for place in photos.classes.tolist()])
    entries = [photo_classes()[place] for place in chosen]
    names = [
        f"{entry.name}, a kind of {entry.at('kind')[0]}" if described else entry.name
        for entry in entries
    ]
    return zero_shot_accuracy(encoder, photos.pictures.float() / 255, names, targets, templates)


def quick_look(encoder: DualEncoder, photos: Photos) -> dict[str, float]:
    """Top-1 of what was trained and of what never was."""
    return {
        "trained": round(things(encoder, photos, False).top1, 4),
        "never_trained": round(things(encoder, photos, True).top1, 4),
    }


def figures(encoder: DualEncoder, folder: Path, cifar10: Path) -> dict[str, Any]:
    """Everything that the model card reports: by bare name and by the ensemble of prompts."""
    photos = read_photos(folder, "val")
    result: dict[str, Any] = {"templates": list(ENSEMBLE)}
    for way, templates in (("bare_name", BARE), ("ensemble", ENSEMBLE)):
        result[way] = {
            "trained": things(encoder, photos, False, templates).to_dict(),
            "never_trained": things(encoder, photos, True, templates).to_dict(),
            "never_trained_described": things(encoder, photos, True, templates, True).to_dict(),
            "cifar10": evaluate(encoder, str(cifar10), templates).result.to_dict(),
        }
    return result
