"""How to train, in one place."""

from dataclasses import dataclass

from clip_lab.errors import LabError
from clip_lab.training.checkpoint import Progress

LOSSES = ("info_nce", "sigmoid")
PRECISIONS = ("auto", "float32", "bfloat16", "float16")


@dataclass(frozen=True)
class TrainConfig:
    """Give `steps` or `minutes`, whichever ends first ends the run; the rest has defaults."""

    steps: int | None = None
    minutes: float | None = None
    # what is learnt, and how fast
    loss: str = "info_nce"  # or "sigmoid", SigLIP's
    learning_rate: float = 1e-3
    weight_decay: float = 0.2
    warmup: int = 200  # steps
    image_rate: float = 1.0  # times the learning rate; 0 locks the tower (LiT)
    text_rate: float = 1.0
    clip_norm: float = 1.0  # the gradient's largest length
    patch_dropout: float = 0.0  # share of a ViT's patches left out in training (FLIP)
    # what it costs
    pieces: int = 1  # a batch goes through the towers in so many; the gradient stays the same
    precision: str = "auto"
    recompute: bool = False  # gradient checkpointing: less memory, a third more time
    compile: bool = False  # torch.compile
    workers: int = 1  # processes that prepare batches ahead
    # what is kept
    save_every: float = 60.0  # seconds between checkpoints
    keep_every: int | None = None  # steps between models that stay
    keep_at: tuple[int, ...] = ()  # steps whose models stay
    log_every: int = 10  # steps
    measure_every: int | None = None  # steps between measurements; always one at the end
    tensorboard: bool = False
    seed: int = 0  # of what the towers draw at random (patch dropout)

    def __post_init__(self) -> None:
        if max(self.steps or 0, self.minutes or 0) <= 0:
            raise LabError("Say how long to train: give steps or minutes, more than 0.")
        if self.loss not in LOSSES or self.precision not in PRECISIONS:
            raise LabError(
                f"There is no loss “{self.loss}” or precision “{self.precision}”. Losses: "
                f"{', '.join(LOSSES)}; precisions: {', '.join(PRECISIONS)}."
            )
        if not 0 <= self.patch_dropout < 1 or self.pieces < 1:
            raise LabError("Patch dropout is a share from 0 to below 1, pieces are 1 or more.")
        if not self.image_rate and not self.text_rate:
            raise LabError("With both towers locked there is nothing to learn. Unlock one.")

    def fraction(self, progress: Progress) -> float:
        """How much of the run is over, 0 to 1."""
        by_steps = progress.step / self.steps if self.steps else 0.0
        by_time = progress.seconds / (60 * self.minutes) if self.minutes else 0.0
        return min(1.0, max(by_steps, by_time))

    def keeps(self, step: int) -> bool:
        """Whether the model of this step stays."""
        return step in self.keep_at or bool(self.keep_every and step % self.keep_every == 0)

    def measures(self, step: int) -> bool:
        """Whether to measure the model after this step, with the run still going on."""
        return bool(self.measure_every and step % self.measure_every == 0)
