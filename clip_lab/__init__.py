"""CLIP Lab: build CLIP part by part, train it on real pictures, and see what it learnt."""

from clip_lab.dual_encoder import DualEncoder
from clip_lab.errors import LabError
from clip_lab.pretrained import load, save
from clip_lab.zero_shot import ZeroShotClassifier

__version__ = "0.1.0"
__all__ = ["DualEncoder", "LabError", "ZeroShotClassifier", "load", "save"]
