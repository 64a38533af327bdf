"""Training: a loop that fits on a page, and what makes it safe to stop and go on."""

from clip_lab.training.loop import TrainConfig, train

__all__ = ["TrainConfig", "train"]
