"""Pairs to look at a model with: vectors of pictures and of their own captions.

Of the shapes world as in training, but pictures never shown; of emoji; of a folder of labelled
pictures, for published models.
"""

from random import Random

import torch
from torch import Tensor

from clip_lab.data.batch import caption_groups
from clip_lab.data.emoji import emoji_test
from clip_lab.data.shapes import ShapesPairs
from clip_lab.dual_encoder import DualEncoder
from clip_lab.errors import LabError
from clip_lab.evaluation.emoji import UNSEEN_STYLE
from clip_lab.evaluation.geometry import Paired
from clip_lab.evaluation.public import DEFAULT_TEMPLATES, open_public_set
from clip_lab.experiments.experiment import Subject
from clip_lab.zero_shot import fill


def shapes_pairs(size: int, count: int, seed: int) -> tuple[Tensor, list[str]]:
    """Ordinary scenes drawn for no training, and their captions, no caption twice."""
    batch = ShapesPairs(4 * count, size, 1_000_000 + seed).batch(0)
    rows = list({caption: i for i, caption in enumerate(batch.captions)}.values())[:count]
    if len(rows) < count:
        raise LabError(f"There are only {len(rows)} different captions: ask for fewer pairs.")
    return batch.images[rows], [batch.captions[i] for i in rows]


def of_shapes(encoder: DualEncoder, count: int, seed: int) -> Paired:
    """Pictures drawn at the model's size."""
    pictures, captions = shapes_pairs(encoder.preprocess.size, count, seed)
    return paired(encoder, list(pictures), captions)


def of_emoji(encoder: DualEncoder, count: int, seed: int) -> Paired:
    """Another artist's drawings of emoji that were trained on, with their English names."""
    test = emoji_test(UNSEEN_STYLE, "seen")
    rows = Random(seed).sample(range(len(test.pictures)), min(count, len(test.pictures)))
    captions = [test.labels[test.targets[row]] for row in rows]
    return paired(encoder, [test.pictures[row] for row in rows], captions)


def of_subject(subject: Subject, count: int, seed: int) -> Paired:
    """Of its folder with classes or captions, `count` chosen at random; without one, of shapes."""
    if subject.data is None:
        return of_shapes(subject.encoder, count, seed)
    public = open_public_set(subject.data)
    samples = list(public.samples())
    chosen = Random(seed).sample(samples, min(count, len(samples)))
    template = (public.templates or DEFAULT_TEMPLATES)[0]
    captions = [
        fill(template, public.classes[of]) if isinstance(of, int) else of[0]
        for of in (sample.target for sample in chosen)
    ]
    return paired(subject.encoder, [sample.image for sample in chosen], captions)


def paired(encoder: DualEncoder, pictures: list, captions: list[str]) -> Paired:
    """Pictures with the very same caption are right for each other."""
    groups = caption_groups(captions)
    return Paired(
        encoder.encode_images(pictures, batch_size=256),
        encoder.encode_texts(captions, truncate=True),
        torch.eq(groups[:, None], groups),
    )
