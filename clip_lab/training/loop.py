"""The training loop (paper 2.5): two towers, one loss, AdamW, and a clamp on the scale."""

import contextlib
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F
from tqdm.auto import tqdm

from clip_lab.batching import last_tokens
from clip_lab.dual_encoder import DualEncoder
from clip_lab.errors import LabError
from clip_lab.files import sweep
from clip_lab.losses import info_nce
from clip_lab.model import CLIP
from clip_lab.model.clip import MAX_LOGIT_SCALE
from clip_lab.pretrained import save
from clip_lab.training.batches import Pairs, load_batches
from clip_lab.training.checkpoint import Progress, load_state, save_state
from clip_lab.training.interrupt import Interrupt
from clip_lab.training.log import LOG_FILE, Log, show
from clip_lab.training.schedule import adamw, learning_rate


@dataclass(frozen=True)
class TrainConfig:
    """How to train: give `steps` or `minutes`, whichever ends first ends the run."""

    steps: int | None = None
    minutes: float | None = None
    learning_rate: float = 1e-3
    weight_decay: float = 0.2
    warmup: int = 200  # steps
    precision: str = "auto"  # "float32", "bfloat16", or what the hardware does well
    workers: int = 1  # processes that prepare batches ahead
    save_every: float = 60.0  # seconds between checkpoints
    log_every: int = 10  # steps

    def __post_init__(self) -> None:
        if max(self.steps or 0, self.minutes or 0) <= 0:
            raise LabError("Say how long to train: give steps or minutes, more than 0.")

    def fraction(self, progress: Progress) -> float:
        """How much of the run is over, 0 to 1."""
        by_steps = progress.step / self.steps if self.steps else 0.0
        by_time = progress.seconds / (60 * self.minutes) if self.minutes else 0.0
        return min(1.0, max(by_steps, by_time))


def train(
    encoder: DualEncoder,
    data: Pairs,
    config: TrainConfig,
    folder: Path,
    resume: bool = False,
    on_save: Callable[[DualEncoder], dict[str, Any]] | None = None,
) -> Progress:
    """Train `encoder` in place; `folder` always holds the last saved state and a usable model.

    Ctrl-C ends the run in good order: state and model are saved, and `resume` goes on from there,
    to the same weights as if nothing had happened. `on_save` may measure the model; what it returns
    joins the log.
    """
    run = _Run(encoder, config, folder, resume, on_save)
    batches = load_batches(data, encoder.tokenizer, run.progress.step, config.workers)
    with Interrupt() as interrupt:
        while config.fraction(run.progress) < 1 and not interrupt.asked:
            run.step(*next(batches))
            if run.seconds_since_save() > config.save_every:
                run.save()
        if interrupt.asked:
            run.bar.write("Stopped. Saving what was learnt so far…", file=sys.stderr)
        run.save()
    run.bar.close()
    encoder.model.eval()
    return run.progress


class _Run:
    """What changes while a model is trained, and how it is saved."""

    def __init__(
        self,
        encoder: DualEncoder,
        config: TrainConfig,
        folder: Path,
        resume: bool,
        on_save: Callable[[DualEncoder], dict[str, Any]] | None,
    ):
        self.encoder, self.config, self.folder, self.on_save = encoder, config, folder, on_save
        self.model = encoder.model.train()
        # Channels last in memory: convolutions run faster so, on CPU and GPU alike.
        self.model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        self.optimizer = adamw(self.model, config.learning_rate, config.weight_decay)
        self.progress = load_state(folder, self.model, self.optimizer) if resume else Progress()
        sweep(folder)
        self.log = Log(folder / LOG_FILE, self.progress.step)
        self.autocast = _autocast(encoder.device, config.precision)
        start = self.progress.step
        self.bar = tqdm(total=config.steps, initial=start, unit="step", dynamic_ncols=True)
        self.clock = self.last_save = time.monotonic()

    def step(
        self, images: Float[Tensor, "batch 3 size size"], tokens: Int[Tensor, "batch context"]
    ) -> None:
        """Learn from one batch."""
        config, progress, device = self.config, self.progress, self.encoder.device
        lr = learning_rate(
            config.learning_rate, config.warmup, progress.step, config.fraction(progress)
        )
        images = self.encoder.preprocess.normalize(images.to(device))
        with self.autocast:
            loss = training_loss(self.model, images, tokens.to(device))
        step_optimizer(self.model, self.optimizer, loss, lr)
        progress.step += 1
        now = time.monotonic()
        progress.seconds += now - self.clock
        self.clock = now
        self.bar.update()
        if progress.step % config.log_every == 0:
            measured = {"loss": loss.item(), "scale": self.encoder.scale, "learning_rate": lr}
            self.log.add(progress, measured)
            show(self.bar, measured, len(images), progress, config.fraction(progress))

    def seconds_since_save(self) -> float:
        return time.monotonic() - self.last_save

    def save(self) -> None:
        """State, model and a measurement; the clock of the training stands still meanwhile."""
        save_state(self.folder, self.model, self.optimizer, self.progress)
        save(self.encoder, self.folder)
        if self.on_save is not None:
            self.model.eval()  # else batch normalisation would learn from the pictures of the test
            self.log.add(self.progress, self.on_save(self.encoder))
            self.model.train()
        self.clock = self.last_save = time.monotonic()


def training_loss(
    model: CLIP, images: Float[Tensor, "batch 3 size size"], tokens: Int[Tensor, "batch context"]
) -> Float[Tensor, ""]:
    """InfoNCE of a batch; cosines and softmax in float32 whatever the towers computed in."""
    image_vectors = F.normalize(model.encode_image(images).float(), dim=-1)
    text_vectors = F.normalize(encode_by_length(model, tokens).float(), dim=-1)
    with torch.autocast(images.device.type, enabled=False):
        return info_nce(image_vectors, text_vectors, model.logit_scale)


def encode_by_length(
    model: CLIP, tokens: Int[Tensor, "batch context"], pieces: int = 4
) -> Float[Tensor, "batch embed_dim"]:
    """`model.encode_text`, the short texts apart from the long ones.

    A batch costs as much as its longest text in every row; of pieces of like length each is cut at
    its own end. The vectors are the same, in the same order.
    """
    order = last_tokens(tokens).argsort(stable=True)
    vectors = torch.cat([model.encode_text(piece) for piece in tokens[order].chunk(pieces)])
    return vectors[order.argsort()]


def step_optimizer(
    model: CLIP, optimizer: torch.optim.Optimizer, loss: Float[Tensor, ""], lr: float
) -> None:
    """One step downhill, then the clamp: a scale over 100 makes training unstable (paper 2.5)."""
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    with torch.no_grad():
        model.logit_scale.clamp_(0, MAX_LOGIT_SCALE)


def _autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[Any]:
    """bfloat16 where asked for, or where the hardware multiplies in it."""
    if precision == "auto":
        fast = torch.cuda.is_bf16_supported() if device.type == "cuda" else cpu_has_bfloat16()
        precision = "bfloat16" if fast else "float32"
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")


def cpu_has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 itself: emulated, it is slower than float32."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
