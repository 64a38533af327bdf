"""How well a model does: zero-shot accuracy with its interval, the built-in models' own tests."""

from collections.abc import Callable
from types import ModuleType

from clip_lab.dual_encoder import DualEncoder
from clip_lab.evaluation import emoji, shapes
from clip_lab.evaluation.accuracy import Accuracy, rank_of_target, zero_shot_accuracy

TESTS: dict[str, ModuleType] = {"emoji": emoji, "shapes": shapes}

__all__ = ["TESTS", "Accuracy", "quick_look", "rank_of_target", "zero_shot_accuracy"]


def quick_look(data: str) -> Callable[[DualEncoder], dict[str, float]]:
    """What to log of a model while it learns from `data` ("emoji", "shapes")."""
    return TESTS[data].quick_look
