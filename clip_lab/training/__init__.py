"""Training: a loop that fits on a page, and what makes it safe to stop and go on."""

from clip_lab.training.config import TrainConfig
from clip_lab.training.loop import train

__all__ = ["TrainConfig", "train"]
