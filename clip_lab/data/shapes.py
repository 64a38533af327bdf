"""The shapes world as training data: endless, seeded, every attribute known.

Photographs can't say whether a model that confuses "a red square and a blue circle" with its
opposite has a weak text tower or has hardly ever seen such a pair. Here everything is under
control: what was shown, how often, and what never. Scenes (`scene.py`) are sampled
(`shape_sampling.py`), drawn (`shape_drawing.py`) and put into words (`shape_captions.py`).
"""

from random import Random
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from clip_lab.data.batch import Batch, Pairs
from clip_lab.data.scene import COLOURS, SHAPES, SIZES, Scenes, concatenate
from clip_lab.data.shape_captions import captions, plain_caption
from clip_lab.data.shape_drawing import draw
from clip_lab.data.shape_sampling import (
    Combinations,
    combination_names,
    held_out_table,
    sample_scenes,
    training_weights,
)
from clip_lab.errors import LabError

# What `sample_scenes` is asked for.
KINDS: dict[str, dict[str, Any]] = {
    "single": {"objects": (1, 1)},
    "pair": {"objects": (2, 2)},
    "count": {"objects": (2, 6), "alike": True},
    "word": {"objects": (1, 1), "written": True},
    "medley": {"objects": (3, 6)},
}
# Mostly single objects: they teach the words that all the others are made of.
SHARES = {"single": 0.6, "pair": 0.2, "count": 0.12, "word": 0.08}


class ShapesPairs(Pairs):
    """Endless batches (pictures in [0, 1], captions), in which no held-out combination appears.

    `kinds` gives the share of each kind of scene (single, pair, count, word, medley); `weights` how
    often each combination of shape, colour and size is chosen (evenly by default), to plant a bias
    in what is seen.
    """

    def __init__(
        self,
        batch_size: int = 256,
        size: int = 64,
        seed: int = 0,
        start_step: int = 0,
        kinds: dict[str, float] | None = None,
        weights: Combinations | None = None,
    ):
        kinds = SHARES if kinds is None else kinds
        unknown = set(kinds) - set(KINDS)
        if unknown or min(kinds.values(), default=0) < 0 or sum(kinds.values()) <= 0:
            raise LabError(
                f"`kinds` must give {', '.join(KINDS)} shares of 0 or more, not all 0; got {kinds}."
            )
        self.batch_size, self.size, self.seed, self.start_step = batch_size, size, seed, start_step
        self.kinds = kinds
        self.weights = training_weights() * (1.0 if weights is None else weights)

    def batch(self, step: int) -> Batch:
        """The pictures of batch number `step`, and a true caption for each."""
        scenes = self.scenes(step)
        return Batch(draw(scenes, self.size), captions(scenes, dice(self.seed, step)[1]))

    def scenes(self, step: int) -> Scenes:
        """What batch number `step` shows: every attribute, and the way to its masks."""
        generator, _ = dice(self.seed, step)
        shares = torch.tensor([self.kinds.get(kind, 0.0) for kind in KINDS])
        chosen = torch.multinomial(shares, self.batch_size, replacement=True, generator=generator)
        counts = chosen.bincount(minlength=len(KINDS)).tolist()
        parts = [
            sample_scenes(count, generator, weights=self.weights, **KINDS[kind])
            for kind, count in zip(KINDS, counts, strict=True)
            if count
        ]
        return concatenate(parts)[torch.randperm(self.batch_size, generator=generator)]


class RetrievalTest(NamedTuple):
    """Pictures, candidate captions, and which caption belongs to each picture."""

    pictures: Float[Tensor, "picture 3 size size"]
    captions: list[str]
    targets: Int[Tensor, " picture"]


def shapes_test(
    copies: int = 4, size: int = 64, seed: int = 0, everything: bool = False
) -> RetrievalTest:
    """Pictures of what was never trained on: each held-out combination, `copies` times.

    The captions to choose from are the held-out combinations' plain ones ("a small red circle");
    with `everything`, those of all trained-on combinations follow them, which is harder: a model
    that only recalls what it has seen would choose among those.
    """
    generator, _ = dice(seed, -1)
    held_out = held_out_table()
    parts = []
    for place in held_out.nonzero():
        only_this = torch.zeros(len(SHAPES), len(COLOURS), len(SIZES))
        only_this[tuple(place)] = 1
        parts.append(sample_scenes(copies, generator, weights=only_this))
    names = combination_names(held_out)
    if everything:
        names = names + combination_names(~held_out)
    return RetrievalTest(
        pictures=draw(concatenate(parts), size),
        captions=[plain_caption(*name) for name in names],
        targets=torch.arange(len(parts)).repeat_interleave(copies),
    )


def dice(seed: int, step: int) -> tuple[Generator, Random]:
    """Random numbers for scenes and for words that depend on both numbers, and on nothing else."""
    # SeedSequence takes no negative numbers: -1, the test's step, is moved to 0.
    words = np.random.SeedSequence([seed, step + 1]).generate_state(2, np.uint64).tolist()
    return Generator().manual_seed(words[0] >> 1), Random(words[1])
