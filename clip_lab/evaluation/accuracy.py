"""Zero-shot accuracy: how often the right caption is among the nearest."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float, Int
from torch import Tensor

from clip_lab.dual_encoder import DualEncoder
from clip_lab.zero_shot import ZeroShotClassifier


def wilson(share: float, number: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of a share of so many independent trials (Wilson 1927)."""
    n, p = number, share
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, centre - half), min(1.0, centre + half)


@dataclass(frozen=True)
class Accuracy:
    """Shares of pictures, 0 to 1, whose own label came first, or among the first five."""

    top1: float
    top5: float
    pictures: int
    classes: int

    @classmethod
    def of_ranks(cls, ranks: Int[Tensor, " pictures"], classes: int) -> "Accuracy":
        """From how many labels stood before each picture's own."""
        top1, top5 = ((ranks < k).float().mean().item() for k in (1, 5))
        return cls(top1, top5, len(ranks), classes)

    @property
    def chance(self) -> float:
        """What guessing gives for top-1."""
        return 1 / self.classes

    def interval(self) -> tuple[float, float]:
        """Top-1's 95 % interval, for pictures drawn at random."""
        return wilson(self.top1, self.pictures)

    def to_dict(self) -> dict[str, Any]:
        """As a model card has it."""
        return {
            "top1": round(self.top1, 4),
            "top1_interval_95": [round(bound, 4) for bound in self.interval()],
            "top5": round(self.top5, 4),
            "chance": round(self.chance, 5),
            "pictures": self.pictures,
            "classes": self.classes,
        }


def zero_shot_accuracy(
    encoder: DualEncoder,
    pictures: Float[Tensor, "pictures 3 height width"],
    labels: Sequence[str],
    targets: Int[Tensor, "pictures"],
    templates: Sequence[str] = ("{}",),
) -> Accuracy:
    """Classify every picture among all labels; `targets` are indices into `labels`."""
    ranks = zero_shot_ranks(encoder, pictures, labels, targets, templates)
    return Accuracy.of_ranks(ranks, len(labels))


def zero_shot_ranks(
    encoder: DualEncoder,
    pictures: Float[Tensor, "pictures 3 height width"],
    labels: Sequence[str],
    targets: Int[Tensor, " pictures"],
    templates: Sequence[str] = ("{}",),
) -> Int[Tensor, " pictures"]:
    """For each picture, how many labels stand before its own: 0 is a hit."""
    weights = ZeroShotClassifier(encoder, labels, templates).weights
    image_vectors = encoder.encode_images(pictures, batch_size=256)
    return rank_of_target(image_vectors @ weights.T, targets)


def rank_of_target(
    scores: Float[Tensor, "queries candidates"], targets: Int[Tensor, "queries"]
) -> Int[Tensor, "queries"]:
    """How many candidates score higher than the right one, or as high: 0 is best.

    Ties count against the model, so that one which gives the same vector to everything gets
    nothing right.
    """
    own = scores.gather(1, targets[:, None])
    return (scores >= own).sum(dim=1) - 1
