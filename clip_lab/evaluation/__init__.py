"""How well a model does: zero-shot accuracy with its interval, the built-in models' own tests."""

from clip_lab.evaluation import emoji, shapes
from clip_lab.evaluation.accuracy import Accuracy, rank_of_target, zero_shot_accuracy
from clip_lab.evaluation.calibration import calibration, fit_temperature
from clip_lab.evaluation.few_shot import few_shot, shots_to_match
from clip_lab.evaluation.linear_probe import linear_probe
from clip_lab.evaluation.retrieval import retrieve
from clip_lab.evaluation.robustness import Baseline, robustness

__all__ = [
    "Accuracy",
    "Baseline",
    "calibration",
    "emoji",
    "few_shot",
    "fit_temperature",
    "linear_probe",
    "rank_of_target",
    "retrieve",
    "robustness",
    "shapes",
    "shots_to_match",
    "zero_shot_accuracy",
]
