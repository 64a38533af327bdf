"""Two models that differ in their batches alone, and the same tests for both."""

from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import Any

import torch

from clip_lab.data.batch import Batch
from clip_lab.data.scene import Scenes, concatenate
from clip_lab.data.shape_captions import caption
from clip_lab.data.shape_drawing import draw
from clip_lab.data.shapes import ShapesPairs
from clip_lab.dual_encoder import DualEncoder
from clip_lab.experiments.learning import Plan, train_clip
from clip_lab.experiments.world import SIZE, Shared


def after_each(
    trainings: Mapping[str, type[ShapesPairs]],
    kinds: dict[str, float],
    start: Shared,
    plan: Plan,
    seed: int,
    test: Callable[[DualEncoder], dict[str, Any]],
) -> dict[str, Any]:
    """What `test` finds after each training, all from the same weights, as "TRAINING_TEST".

    `start` is a model that knows what the training isn't about: so what it fails at afterwards is
    the claim's matter, not colours and shapes that it hadn't learnt yet.
    """
    measured = {}
    for name, data in trainings.items():
        pairs = data(plan.batch, SIZE, seed, kinds=kinds)
        encoder = train_clip(start.encoder(seed), pairs, plan)
        measured |= for_each([name], test(encoder))
    return measured


def with_twins(scenes: Scenes, twins: Scenes, size: int, dice: str) -> Batch:
    """A batch in which every scene is followed by its twin.

    `dice` starts the choice of words. Every two rows have the same dice to themselves, so twins are
    described in the same words, but where what differs between them has more synonyms in the one.
    """
    order = torch.arange(2 * len(scenes)).reshape(2, -1).T.flatten()
    both = concatenate([scenes, twins])[order]
    texts = [
        caption(things, Random(f"{dice} {row // 2}"), background=background)
        for row, (things, background) in enumerate(
            zip(both.things(), both.backgrounds(), strict=True)
        )
    ]
    return Batch(draw(both, size), texts)


def for_each(trainings: Iterable[str], tests: dict[str, Any]) -> dict[str, Any]:
    """One model's tests under the names of all trainings: a published one stands for each."""
    return {f"{name}_{test}": found for name in trainings for test, found in tests.items()}
