"""One sweep that two claims read: CLIP's loss and SigLIP's, with few and with many negatives.

A larger batch is two things at once: more wrong captions for each picture to be told from, and,
with as many pairs seen, fewer steps. So there are two sweeps:

* `batches`: the batch itself grows, the number of pairs seen stays. The learning rate grows with
  the square root of the batch (for Adam: Malladi et al. 2022, arXiv 2205.10287).
* `blocks`: every step has the same batch, but a picture meets the captions of its own block alone.
  Steps, learning rate and pictures are the same: what differs is the number of negatives.

The image tower is a ResNet: its batch norm feels the size of the batch as well, and small batches
have the worse of it. In the sweep of blocks that plays no part.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from clip_lab.data.batch import Batch
from clip_lab.evaluation.shapes import held_out_retrieval
from clip_lab.experiments import cache as kept
from clip_lab.experiments.learning import Plan, train_clip
from clip_lab.experiments.pool import Drawn, Pool, draw_pairs
from clip_lab.experiments.world import SIZE, new_model
from clip_lab.losses import info_nce_of_groups, sigmoid_loss
from clip_lab.training.towers import Features

LOSSES = ("info_nce", "sigmoid")
WARMUP = 0.1  # of the steps
SIGLIP_SCALE = 10.0  # where SigLIP starts (arXiv 2303.15343, algorithm 1), with a bias of -10


@dataclass(frozen=True)
class Sweep:
    pairs: int = 40_000  # seen by every model, each once
    batches: tuple[int, ...] = (16, 128, 1024)
    block_batch: int = 128  # pairs a step where the blocks vary
    blocks: tuple[int, ...] = (2, 16, 128)
    learning_rate: float = 4e-3  # with a batch of 128
    copies: int = 32  # pictures of each held-out combination

    def plan(self, batch: int) -> Plan:
        steps = self.pairs // batch
        rate = self.learning_rate * math.sqrt(batch / 128)
        return Plan(steps, batch, rate, warmup=round(WARMUP * steps))


def accuracies(sweep: Sweep, seed: int) -> dict[str, list[float]]:
    """Of each loss, on held-out combinations: by batch, and by block; kept."""
    parts = (sweep, seed, kept.version(__name__))

    def compute() -> dict[str, list[float]]:
        drawn = draw_pairs(sweep.pairs, SIZE, seed)
        measured: dict[str, list[float]] = {}
        for loss in LOSSES:
            whole = {b: of_one(sweep, drawn, seed, loss, b, b) for b in sweep.batches}
            step = sweep.block_batch
            blocks = {
                b: whole[b]
                if b == step and b in whole
                else of_one(sweep, drawn, seed, loss, step, b)
                for b in sweep.blocks
            }
            measured |= {f"{loss}_batches": [*whole.values()], f"{loss}_blocks": [*blocks.values()]}
        return measured

    return kept.numbers("batch_sweep", kept.digest(*parts), compute)


def of_one(sweep: Sweep, drawn: Drawn, seed: int, loss: str, batch: int, block: int) -> float:
    """Train one model, and the share of held-out combinations that it finds."""
    encoder = new_model(seed=seed, bias=loss == "sigmoid")
    if loss == "sigmoid":
        encoder.model.logit_scale.data.fill_(math.log(SIGLIP_SCALE))

    def objective(features: Features, pairs: Batch) -> Tensor:
        return within_blocks(features, pairs, block)

    train_clip(encoder, Pool(drawn, batch, seed), sweep.plan(batch), objective)
    return held_out_retrieval(encoder, seed=seed, copies=sweep.copies).top1


def within_blocks(features: Features, batch: Batch, block: int) -> Tensor:
    """The mean loss of blocks of `block` pairs, which don't see each other.

    SigLIP's loss where the features have its bias, else InfoNCE. Captions that occur twice in a
    block are right for both pictures.
    """
    pieces = zip(
        features.images.split(block),
        features.texts.split(block),
        batch.right().split(block),
        strict=True,
    )
    if features.bias is None:
        losses = [info_nce_of_groups(i, t, features.scale, g) for i, t, g in pieces]
    else:
        losses = [sigmoid_loss(i, t, features.scale, features.bias, g, g) for i, t, g in pieces]
    return torch.stack(losses).mean()
