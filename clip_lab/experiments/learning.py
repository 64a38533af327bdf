"""The training that all experiments share: as short as it can be, and the same for both sides.

A comparison is fair when all that differs is what the claim is about. So every experiment trains
by `learn`, with AdamW, warm-up, a cosine and clipping as in `clip_lab.training`; only the loss,
the data or one setting changes.
"""

from collections.abc import Callable
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
    optimizer = adamw(module, plan.learning_rate, plan.weight_decay)
    parameters = [p for group in optimizer.param_groups for p in group["params"]]

    def measure(step: int) -> None:
        if look is not None and step in at:
            modes = {m: m.training for m in module.modules()}
            module.eval()
            look(step)
            for part, mode in modes.items():
                part.training = mode

    measure(0)
    for step in tqdm(range(plan.steps), leave=False, disable=None):
        rate = learning_rate(plan.learning_rate, plan.warmup, step, step / plan.steps)
        set_learning_rate(optimizer, rate)
        optimizer.zero_grad()
        loss(step).backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        for name, parameter in module.named_parameters():
            if name.endswith("logit_scale"):
                parameter.data.clamp_(0, MAX_LOGIT_SCALE)
        measure(step + 1)


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
    set_training(encoder.model)
    towers = Towers(encoder.model.to(memory_format=torch.channels_last))  # pyright: ignore

    def loss(step: int) -> Tensor:
        batch = data.batch(step)
        tokens = encoder.tokenizer(batch.captions, truncate=True)  # as in clip_lab.training
        return objective(towers(pixels(encoder, batch), tokens), batch)

    learn(towers.model, loss, plan, look, at)
    encoder.model.eval()
    return encoder


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
