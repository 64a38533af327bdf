"""The two: a whole training step as each project's own loop takes it, from the same weights.

Forward, loss, backward, the gradient cut to length 1, AdamW, the clamp on the scale; the same
weights decay. Both are given pictures that are normalised already, and padded tokens.
"""

import json
import logging
import math
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import torch
from torch import Tensor

from benchmarks.training.inputs import Model
from clip_lab.model import CLIP, CLIPConfig, TextConfig, ViTConfig
from clip_lab.pretrained.layouts import open_clip as layout
from clip_lab.pretrained.layouts import tables
from clip_lab.training import gradients
from clip_lab.training.batches import TokenBatch
from clip_lab.training.config import TrainConfig
from clip_lab.training.loop import check_finite, prepare, step_optimizer
from clip_lab.training.precision import autocast, grad_scaler
from clip_lab.training.schedule import adamw
from clip_lab.training.towers import Features, Towers
from tests.peers import import_open_clip

OURS, THEIRS = "clip_lab", "open_clip"
LEARNING_RATE, WEIGHT_DECAY, CLIP_NORM = 1e-5, 0.2, 1.0

TINY_TEXT = TextConfig(width=16, layers=1, head_width=16)
TINY = Model("tiny", CLIPConfig(16, ViTConfig(32, 16, 16, 1, 16), TINY_TEXT, "gelu"), 8)


class Contender(Protocol):
    """What is measured."""

    length: Tensor | float  # of the gradient, before it was cut

    def step(self, batch: TokenBatch) -> Tensor:
        """Learns from a batch; its loss."""
        ...


def fresh(config: CLIPConfig) -> CLIP:
    torch.manual_seed(0)
    return CLIP(config)


class Ours:
    """clip_lab.training.loop's step, without files, log and clock."""

    def __init__(
        self, model: Model, precision: str, device: str = "cpu", pieces: int = 1, compiled=False
    ):
        config = TrainConfig(steps=1, precision=precision, pieces=pieces, compile=compiled)
        self.model, self.pieces = prepare(fresh(model.config).to(device), config), pieces
        self.optimizer = adamw(self.model, LEARNING_RATE, WEIGHT_DECAY)
        self.device = torch.device(device)
        self.length: Tensor | float = 0.0
        self.autocast = autocast(self.device, precision)
        self.scaler = grad_scaler(self.device, precision)
        self.towers = Towers(self.model)

    def gradients(self, batch: TokenBatch) -> Tensor:
        """As in the loop: `_Run.gradients` there."""
        images = batch.images.contiguous(memory_format=torch.channels_last)

        def loss(features: Features) -> Tensor:
            with torch.autocast(self.device.type, enabled=False):
                return gradients.contrast(features, batch.groups)

        def send(value: Tensor) -> None:
            self.scaler.scale(value).backward()

        self.optimizer.zero_grad()
        inputs = (self.towers, images, batch.tokens, loss, send)
        with self.autocast:
            if self.pieces == 1:
                return gradients.gradients_at_once(*inputs)
            return gradients.gradients_in_pieces(*inputs, self.pieces)

    def step(self, batch: TokenBatch) -> Tensor:
        loss = self.gradients(batch)
        check_finite(loss.item(), 0, batch)
        self.length = step_optimizer(
            self.model, self.optimizer, self.scaler, LEARNING_RATE, CLIP_NORM
        )
        return loss


class Theirs:
    """open_clip's model and loss, in the order of its open_clip_train.train.train_one_epoch."""

    def __init__(self, model: Model, precision: str, device: str = "cpu"):
        open_clip = import_open_clip()
        logging.getLogger().setLevel(logging.ERROR)  # it warns of random weights
        self.model = _create(open_clip, model).to(device).train()
        weights = fresh(model.config).state_dict()
        translated = tables.to_theirs(tables.open_clip(model.config), weights)
        self.model.load_state_dict(translated, strict=True)
        self.loss = open_clip.loss.ClipLoss()
        self.autocast = autocast(torch.device(device), precision)
        self.optimizer = _their_adamw(self.model)
        self.length: Tensor | float = 0.0

    def step(self, batch: TokenBatch) -> Tensor:
        self.optimizer.zero_grad()
        with self.autocast:
            loss = self.loss(**self.model(batch.images, batch.tokens))
        loss.backward()
        self.length = torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP_NORM)
        self.optimizer.step()
        with torch.no_grad():
            self.model.logit_scale.clamp_(0, math.log(100))
        return loss.detach()


def _create(open_clip: Any, model: Model) -> Any:
    """create_model, of a size that it knows by name or of one that it is told."""
    if model.name not in open_clip.list_models():
        with TemporaryDirectory() as folder:
            path = Path(folder, f"{model.name}.json")
            path.write_text(json.dumps(layout.write_config(model.config)))
            open_clip.add_model_config(path)
    return open_clip.create_model(model.name, output_dict=True)


def _their_adamw(model: Any) -> torch.optim.AdamW:
    """Their two groups, by the rule in open_clip_train.main."""
    rest, without_decay = [], []
    for name, parameter in model.named_parameters():
        kept = any(part in name for part in ("bn", "ln", "bias", "logit_scale"))
        (without_decay if parameter.ndim < 2 or kept else rest).append(parameter)
    groups = [
        {"params": without_decay, "weight_decay": 0.0},
        {"params": rest, "weight_decay": WEIGHT_DECAY},
    ]
    return torch.optim.AdamW(groups, lr=LEARNING_RATE, betas=(0.9, 0.98), eps=1e-6)


def kinds() -> dict[str, Any]:
    """Ours, and open_clip's where it is installed."""
    try:
        import_open_clip()
    except ImportError:
        return {OURS: Ours}
    return {OURS: Ours, THEIRS: Theirs}
