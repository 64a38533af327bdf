"""The training loop (paper 2.5): two towers, one loss, AdamW, and a clamp on the scale."""

import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from tqdm.auto import tqdm

from clip_lab.data.batch import Pairs
from clip_lab.dual_encoder import DualEncoder
from clip_lab.errors import LabError
from clip_lab.files import sweep
from clip_lab.model import CLIP
from clip_lab.model.clip import MAX_LOGIT_SCALE
from clip_lab.pretrained import save
from clip_lab.training import gradients
from clip_lab.training.batches import TokenBatch, dead_workers_told, load_batches
from clip_lab.training.checkpoint import Progress, load_state, save_state
from clip_lab.training.config import TrainConfig
from clip_lab.training.distributed import rank, sum_over_processes, together, world
from clip_lab.training.interrupt import Interrupt
from clip_lab.training.log import Log, show
from clip_lab.training.precision import autocast, choose_precision, grad_scaler
from clip_lab.training.schedule import adamw, learning_rate, set_learning_rate
from clip_lab.training.settings import check_settings
from clip_lab.training.towers import (
    Features,
    Towers,
    compile_towers,
    lock,
    patch_dropout,
    recompute_blocks,
    set_training,
)

REPORTED = 10  # damaged samples that are told by name
Measure = Callable[[DualEncoder], dict[str, Any]]


def train(
    encoder: DualEncoder,
    data: Pairs,
    config: TrainConfig,
    folder: Path,
    resume: bool = False,
    measure: Measure | None = None,
) -> Progress:
    """Train `encoder` in place; `folder` always holds the last saved state and a usable model.

    Started by torchrun, inside `distributed.process_group`, all processes share each batch.

    Ctrl-C ends the run in good order: state and model are saved, and `resume` goes on from there,
    to the same weights as if nothing had happened. `measure` may measure the model every
    `config.measure_every` steps and at the end; what it returns joins the log. Raises LabError for
    a loss that is not finite, data that can't be had, a folder that can't be written.
    """
    run = _Run(encoder, data, config, folder, resume, measure)
    start = run.progress.step
    batches = load_batches(data.part(rank(), world()), encoder.tokenizer, start, config.workers)
    dropout = patch_dropout(encoder.model, config.patch_dropout)
    with Interrupt() as interrupt, dropout, dead_workers_told():
        while config.fraction(run.progress) < 1 and not run.stopped:
            run.step(batches, interrupt)
            if run.seconds_since_save() > config.save_every:
                run.save()
        if run.stopped:
            run.bar.write("Stopped. Saving what was learnt so far…", file=sys.stderr)
        run.save()
        run.measure()
    run.close()
    encoder.model.eval()
    return run.progress


class _Run:
    """What changes while a model is trained, and how it is saved."""

    def __init__(
        self,
        encoder: DualEncoder,
        data: Pairs,
        config: TrainConfig,
        folder: Path,
        resume: bool,
        measure: Measure | None,
    ):
        self.encoder, self.config, self.folder, self.look = encoder, config, folder, measure
        self.model = prepare(encoder.model, config)
        self.optimizer = adamw(
            self.model,
            config.learning_rate,
            config.weight_decay,
            config.image_rate,
            config.text_rate,
        )
        precision = choose_precision(encoder.device, config.precision)
        self.autocast = autocast(encoder.device, precision)
        self.scaler = grad_scaler(encoder.device, precision)
        check_settings(folder, config, data, resume)
        self.progress = Progress()
        if resume:
            self.progress = load_state(folder, self.model, self.optimizer, self.scaler)
        self.towers = together(Towers(self.model), encoder.device)
        start = self.progress.step
        self.log = None
        if rank() == 0:
            sweep(folder)
            self.log = Log(folder, start, config.tensorboard)
        self.bar = tqdm(
            total=config.steps, initial=start, unit="step", dynamic_ncols=True, disable=rank() > 0
        )
        self.stopped, self.waited, self.skipped, self.reported = False, 0.0, 0, 0
        self.measured, self.logged = -1, replace(self.progress)
        self.clock = self.last_save = time.monotonic()
        if start == 0:
            self._keep()

    def step(self, batches: Any, interrupt: Interrupt) -> None:
        """Learn from one batch; the loss is known to be finite before any weight moves."""
        config, progress = self.config, self.progress
        batch = next(batches)
        self.waited += time.monotonic() - self.clock
        lr = learning_rate(
            config.learning_rate, config.warmup, progress.step, config.fraction(progress)
        )
        # What the towers draw depends on the step alone, so that a resumed run draws the same.
        torch.manual_seed(config.seed * 1_000_003 + progress.step * world() + rank())
        loss = self.gradients(batch)
        loss = self._agree(loss, interrupt, len(batch.skipped))
        check_finite(loss, progress.step, batch)
        length = step_optimizer(self.model, self.optimizer, self.scaler, lr, config.clip_norm)
        progress.step += 1
        self._report(batch.skipped)
        self.bar.update()
        if progress.step % config.log_every == 0:
            self._log(loss, lr, length, len(batch.images) * world())
        if config.keeps(progress.step):
            self._keep()
        if config.measures(progress.step):
            self.measure()

    def gradients(self, batch: TokenBatch) -> Float[Tensor, ""]:
        """This process's loss; its gradients lie with the parameters."""
        device, config = self.encoder.device, self.config
        images = batch.images.to(device, non_blocking=True)
        images = images if images.is_floating_point() else images.float() / 255
        images = self.encoder.preprocess.normalize(images)
        images = images.contiguous(memory_format=torch.channels_last)
        tokens, groups = batch.tokens.to(device), batch.groups.to(device)

        def loss(features: Features) -> Tensor:
            with torch.autocast(device.type, enabled=False):
                return gradients.contrast(features, groups, config.loss)

        def send(value: Tensor) -> None:
            self.scaler.scale(value).backward()

        self.optimizer.zero_grad()
        with self.autocast:
            if config.pieces == 1:
                return gradients.gradients_at_once(self.towers, images, tokens, loss, send)
            pieces = min(config.pieces, len(images))
            return gradients.gradients_in_pieces(self.towers, images, tokens, loss, send, pieces)

    def _agree(self, loss: Tensor, interrupt: Interrupt, skipped: int) -> float:
        """The whole batch's loss; and all processes stop together, and share one clock."""
        now = time.monotonic()
        passed = now - self.clock if rank() == 0 else 0.0
        shared = [loss.item() / world(), float(interrupt.asked), passed, float(skipped)]
        shared = torch.tensor(shared, dtype=torch.float64, device=self.encoder.device)
        total, asked, passed, skipped = sum_over_processes(shared).tolist()
        self.skipped += int(skipped)
        self.progress.seconds += passed if world() > 1 else now - self.clock
        self.clock, self.stopped = now, asked > 0
        return total

    def _log(self, loss: float, lr: float, length: float, pictures: int) -> None:
        if self.log is None:
            return
        steps, progress = self.config.log_every, self.progress
        measured = {
            "loss": loss,
            "scale": self.encoder.scale,
            "learning_rate": lr,
            "gradient_norm": length,
        }
        each = (progress.seconds - self.logged.seconds) / steps
        cost = {
            "step_seconds": round(each, 4),  # of which:
            "loading_seconds": round(self.waited / steps, 4),
            "samples_per_second": round(pictures / each, 1),
            "skipped": self.skipped,
        }
        self.log.add(progress, measured | cost)
        show(self.bar, measured, pictures, progress, self.config.fraction(progress))
        self.waited, self.logged = 0.0, replace(progress)

    def _report(self, skipped: Sequence[str]) -> None:
        """Damaged samples, by name for the first few of a run; the log counts them all."""
        for reason in skipped[: max(0, REPORTED - self.reported)]:
            self.reported += 1
            more = " (More are counted in the log only.)" if self.reported == REPORTED else ""
            self.bar.write(f"Left out: {reason}{more}", file=sys.stderr)

    def seconds_since_save(self) -> float:
        return time.monotonic() - self.last_save

    def save(self) -> None:
        """State and model; the clock of the training stands still meanwhile."""
        if rank() == 0:
            save_state(self.folder, self.model, self.optimizer, self.scaler, self.progress)
            save(self.encoder, self.folder)
        self.clock = self.last_save = time.monotonic()

    def _keep(self) -> None:
        """A copy of the model as it is at this step, in 16 bits, that stays."""
        if rank() == 0 and self.config.keeps(self.progress.step):
            name = f"step-{self.progress.step:08d}"
            save(self.encoder, self.folder / "kept" / name, bits=16)
        self.clock = time.monotonic()

    def measure(self) -> None:
        """How well it does so far; training goes on as if nobody had looked."""
        new = self.progress.step > self.measured
        if self.log is not None and self.look is not None and new:
            self.measured = self.progress.step
            self.model.eval()  # else batch normalisation would learn from the pictures of the test
            self.log.add(self.progress, self.look(self.encoder))
            set_training(self.model)
        self.clock = time.monotonic()

    def close(self) -> None:
        self.bar.close()
        if self.log is not None:
            self.log.close()


def prepare(model: CLIP, config: TrainConfig) -> CLIP:
    """Ready to learn: locked where asked, in training mode, laid out and compiled for speed."""
    if config.loss == "sigmoid" and model.logit_bias is None:
        raise LabError("The sigmoid loss needs a model with a bias. Set logit_bias in its config.")
    if model.logit_bias is not None:
        model.logit_bias.requires_grad_(config.loss == "sigmoid")
    for tower, rate in ((model.visual, config.image_rate), (model.text, config.text_rate)):
        if rate == 0:
            lock(tower)
    if config.recompute:
        recompute_blocks(model)
    if config.compile:
        compile_towers(model)
    set_training(model)
    # Channels last in memory: convolutions run faster so, on CPU and GPU alike.
    return model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def step_optimizer(
    model: CLIP,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    lr: float,
    clip_norm: float,
) -> float:
    """One step downhill, then the clamp: a scale over 100 makes training unstable (paper 2.5).

    Returns the length of the gradient before it was cut to `clip_norm`.
    """
    set_learning_rate(optimizer, lr)
    scaler.unscale_(optimizer)
    length = torch.nn.utils.clip_grad_norm_(model.parameters(), clip_norm)
    scaler.step(optimizer)
    scaler.update()
    with torch.no_grad():
        model.logit_scale.clamp_(0, MAX_LOGIT_SCALE)
    return length.item()


def check_finite(loss: float, step: int, batch: TokenBatch) -> None:
    """Raises LabError for a loss that is no number, before it reaches the weights."""
    if loss == loss and abs(loss) != float("inf"):
        return
    shown = ", ".join(batch.ids[:8]) + (", …" if len(batch.ids) > 8 else "")
    raise LabError(
        f"The loss is {loss} at step {step}. The weights were not changed by it, and the last "
        f"checkpoint is whole. The batch held: {shown}. Try a lower --learning-rate, a longer "
        "--warmup, --precision float32, or look whether those samples are sound; then go on with "
        "--resume."
    )
