"""The training that all experiments share: as short as it can be, and the same for both sides.

A comparison is fair when all that differs is what the claim is about. So every experiment trains
by `learn`, with AdamW, warm-up, a cosine and clipping as in `clip_lab.training`; only the loss,
the data or one setting changes.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm.auto import tqdm

from clip_lab.data.batch import Batch, Pairs
from clip_lab.dual_encoder import DualEncoder
from clip_lab.losses import info_nce_of_groups
from clip_lab.model.clip import MAX_LOGIT_SCALE
from clip_lab.training.schedule import adamw, learning_rate, set_learning_rate
from clip_lab.training.towers import Features, Towers, encode_by_length, set_training

Look = Callable[[int], None]


@dataclass(frozen=True)
class Plan:
    """How long, how fast."""

    steps: int = 800
    batch: int = 128
    learning_rate: float = 4e-3
    warmup: int = 100
    weight_decay: float = 0.1


def learn(
    module: nn.Module,
    loss: Callable[[int], Float[Tensor, ""]],
    plan: Plan,
    look: Look | None = None,
    at: tuple[int, ...] = (),
) -> None:
    """Minimise `loss(step)` over the module's parameters that aren't locked.

    `look` may measure before the first step and after those of `at`, with the module in evaluation
    mode; where it is step 0, nothing has been learnt.
    """

    def measure(step: int) -> None:
        if look is not None and step in at:
            with at_rest(module):
                look(step)

    measure(0)
    steps = learning_steps(module, loss, plan)
    for step, _ in tqdm(steps, total=plan.steps, leave=False, disable=None):
        measure(step)


def learning_steps(
    module: nn.Module, loss: Callable[[int], Float[Tensor, ""]], plan: Plan
) -> Iterator[tuple[int, float]]:
    """The same, a step at a time: gives the number of steps made, and the last batch's loss."""
    optimizer = adamw(module, plan.learning_rate, plan.weight_decay)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    for step in range(plan.steps):
        rate = learning_rate(plan.learning_rate, plan.warmup, step, step / plan.steps)
        set_learning_rate(optimizer, rate)
        optimizer.zero_grad()
        here = loss(step)
        here.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        for name, parameter in module.named_parameters():
            if name.endswith("logit_scale"):
                parameter.data.clamp_(0, MAX_LOGIT_SCALE)
        yield step + 1, here.item()


@contextmanager
def at_rest(module: nn.Module) -> Iterator[None]:
    """In evaluation mode for as long as the block lasts; then every part as it was."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, mode in modes.items():
            part.training = mode


# What a contrastive objective makes of two sets of unit vectors.
Objective = Callable[[Features, Batch], Float[Tensor, ""]]


def contrast(features: Features, batch: Batch) -> Float[Tensor, ""]:
    """CLIP's loss; captions that occur twice in the batch are right for both pictures."""
    return info_nce_of_groups(features.images, features.texts, features.scale, batch.right())


def train_clip(
    encoder: DualEncoder,
    data: Pairs,
    plan: Plan,
    objective: Objective = contrast,
    look: Look | None = None,
    at: tuple[int, ...] = (),
) -> DualEncoder:
    """Train an encoder on pairs, in place, and give it back ready to use.

    What is locked (`clip_lab.training.towers.lock`) stays as it is.
    """
    loss = training_loss(encoder, data, objective)
    learn(encoder.model, loss, plan, look, at)
    encoder.model.eval()
    return encoder


def training_loss(
    encoder: DualEncoder, data: Pairs, objective: Objective = contrast
) -> Callable[[int], Float[Tensor, ""]]:
    """The loss of each step's batch; makes the encoder's model ready to learn."""
    set_training(encoder.model)
    towers = Towers(encoder.model.to(memory_format=torch.channels_last))  # pyright: ignore

    def loss(step: int) -> Tensor:
        batch = data.batch(step)
        tokens = encoder.tokenizer(batch.captions, truncate=True)  # as in clip_lab.training
        return objective(towers(pixels(encoder, batch), tokens), batch)

    return loss


def pixels(encoder: DualEncoder, batch: Batch) -> Float[Tensor, "batch 3 size size"]:
    """A batch's pictures as the image tower takes them."""
    images = batch.images
    images = images if images.is_floating_point() else images.float() / 255
    return encoder.preprocess.normalize(images).contiguous(memory_format=torch.channels_last)


def text_vectors(encoder: DualEncoder, captions: list[str]) -> Float[Tensor, "texts embed_dim"]:
    """Unit vectors that a gradient can flow through."""
    tokens = encoder.tokenizer(captions)
    return F.normalize(encode_by_length(encoder.model, tokens), dim=-1)


def image_vectors(encoder: DualEncoder, batch: Batch) -> Float[Tensor, "batch embed_dim"]:
    """Unit vectors that a gradient can flow through."""
    return F.normalize(encoder.model.encode_image(pixels(encoder, batch)), dim=-1)
