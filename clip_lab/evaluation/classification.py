"""Classification as benchmarks report it: top-1, top-5, and the mean of the classes' recalls."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from clip_lab.evaluation.accuracy import Accuracy


@dataclass(frozen=True)
class Classification:
    """How often the right class came first, over all pictures and class by class."""

    accuracy: Accuracy
    recalls: tuple[float | None, ...]  # a class's share found; None for a class without pictures

    @classmethod
    def of_ranks(
        cls, ranks: Int[Tensor, " pictures"], targets: Int[Tensor, " pictures"], classes: int
    ) -> "Classification":
        """From how many classes stood before each picture's own."""
        top1, top5 = ((ranks < k).double().mean().item() for k in (1, 5))
        there = torch.bincount(targets, minlength=classes).tolist()
        found = torch.bincount(targets[ranks == 0], minlength=classes).tolist()
        recalls = tuple(f / n if n else None for f, n in zip(found, there, strict=True))
        return cls(Accuracy(top1, top5, len(ranks), classes), recalls)

    @property
    def mean_per_class(self) -> float:
        """The mean recall of the classes that have pictures: big ones count no more than small."""
        recalls = [recall for recall in self.recalls if recall is not None]
        return sum(recalls) / len(recalls)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "task": "classification",
            "pictures": self.accuracy.pictures,
            "top1": self.accuracy.top1,
            "top1_interval_95": list(self.accuracy.interval()),
            "top5": self.accuracy.top5,
            "mean_per_class_recall": self.mean_per_class,
            "chance": self.accuracy.chance,
            "recalls": list(self.recalls),  # in order of the classes
        }

    def rows(self) -> list[str]:
        """Lines of a table."""
        low, high = self.accuracy.interval()
        return [
            f"top-1           {self.accuracy.top1:7.2%}   95 % interval {low:.2%} to {high:.2%}, "
            f"guessing {self.accuracy.chance:.2%}",
            f"top-5           {self.accuracy.top5:7.2%}",
            f"mean per class  {self.mean_per_class:7.2%}",
        ]


def classify(
    batches: Iterable[tuple[Float[Tensor, "batch embed_dim"], Int[Tensor, " batch"]]],
    weights: Float[Tensor, "classes embed_dim"],
) -> Classification:
    """Every picture among all classes, one batch of (vectors, class numbers) at a time."""
    ranks, targets = [], []
    for vectors, numbers in batches:
        ranks.append(class_ranks(vectors @ weights.T, numbers))
        targets.append(numbers)
    return Classification.of_ranks(torch.cat(ranks), torch.cat(targets), len(weights))


def class_ranks(
    scores: Float[Tensor, "pictures classes"], targets: Int[Tensor, " pictures"]
) -> Int[Tensor, " pictures"]:
    """For each picture, how many classes stand before its own: 0 is a hit.

    Of classes that score alike the first in the list stands first, as argmax has it. (Elsewhere in
    the lab ties count against the model. Here two pairs of ImageNet's classes bear one name, and
    with it one vector: none of the four could ever be right.)
    """
    own = scores.gather(1, targets[:, None])
    earlier = torch.arange(scores.shape[1]) < targets[:, None]
    return ((scores > own) | ((scores == own) & earlier)).sum(dim=1)
