"""A training in pictures: what the same few pairs look like to a model, step after step."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8

from clip_lab.data.shapes import ShapesPairs
from clip_lab.dual_encoder import DualEncoder
from clip_lab.evaluation.shapes import held_out_retrieval
from clip_lab.experiments.learning import Plan, at_rest, learning_steps, training_loss
from clip_lab.experiments.world import SIZE, new_model
from clip_lab.maps import gap_axes
from clip_lab.pretrained import load, steps

SHOWN, MAPPED = 8, 120  # pairs in the matrix, and on the map
LIVE = Plan(steps=500, batch=128, learning_rate=4e-3, warmup=75)
EVERY = 25  # steps


@dataclass(frozen=True)
class Pairs:
    """The pairs that every moment shows. The first `SHOWN` make the matrix."""

    pictures: UInt8[np.ndarray, "pairs 3 size size"]
    captions: list[str]


@dataclass(frozen=True)
class Moment:
    """A model at one step."""

    step: int
    scale: float
    accuracy: float  # on held-out combinations; chance is one in 44
    matrix: Float[np.ndarray, "shown shown"]  # cosines
    pictures: Float[np.ndarray, "mapped 2"]  # on the exact gap axes of this moment
    texts: Float[np.ndarray, "mapped 2"]


def shown_pairs() -> Pairs:
    """Drawn once, from no batch of any training here."""
    batch = ShapesPairs(MAPPED, SIZE, seed=4242, kinds={"single": 1.0}).batch(0)
    return Pairs((batch.images * 255).round().to(torch.uint8).numpy(), batch.captions)


def moment(encoder: DualEncoder, step: int, pairs: Pairs) -> Moment:
    """What a model makes of the pairs now."""
    images = encoder.encode_images(torch.from_numpy(pairs.pictures), 128)
    texts = encoder.encode_texts(pairs.captions)
    view = gap_axes(images.numpy(), texts.numpy(), 2)
    return Moment(
        step=step,
        scale=encoder.scale,
        accuracy=held_out_retrieval(encoder, copies=2).top1,
        matrix=(images[:SHOWN] @ texts[:SHOWN].T).numpy(),
        pictures=view.project(images.numpy()),
        texts=view.project(texts.numpy()),
    )


def replay(pairs: Pairs, name: str = "shapes") -> Iterator[Moment]:
    """The run that made a built-in model, at each step whose weights come with the lab."""
    for step in steps(name):
        yield moment(load(f"{name}@{step}", "cpu"), step, pairs)
    last = load(name, "cpu")
    yield moment(last, last.card["steps"], pairs)


def train_live(
    pairs: Pairs, seed: int, plan: Plan = LIVE
) -> tuple[DualEncoder, Iterator[tuple[int, float | None, Moment | None]]]:
    """A small untrained model, and its training: after each step the step and its loss, and now and
    then how the model stands. Whoever stops asking for steps stops the training.
    """
    encoder = new_model(seed=seed)

    def training() -> Iterator[tuple[int, float | None, Moment | None]]:
        yield 0, None, moment(encoder, 0, pairs)
        loss = training_loss(encoder, ShapesPairs(plan.batch, SIZE, seed))
        for step, value in learning_steps(encoder.model, loss, plan):
            found = None
            if step % EVERY == 0 or step == plan.steps:
                with at_rest(encoder.model):
                    found = moment(encoder, step, pairs)
            yield step, value, found
        encoder.model.eval()

    return encoder, training()
