"""Open-vocabulary segmentation: every pixel gets the label whose heat map is highest there.

The labels are words, so they can be changed without training (LSeg, Li et al. 2022, arXiv
2201.03546, which trains patches for it; here they are taken as CLIP left them).
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

LabelMaps = Float[Tensor, "pictures labels rows columns"]
Labelled = Int[Tensor, "pictures size size"]  # a label's number, or NOTHING
NOTHING = -1
CUTS = 40  # thresholds that are tried


def segment(maps: LabelMaps, size: int, threshold: float) -> Labelled:
    """The best label of each pixel; NOTHING where even that one stays below the threshold."""
    highest, label = _pixels(maps, size).max(dim=1)
    return torch.where(highest > threshold, label, NOTHING)


def best_threshold(maps: LabelMaps, truth: Labelled) -> float:
    """Where mean IoU is highest on these pictures. Use others to say how good it is."""
    highest = _pixels(maps, truth.shape[-1]).amax(dim=1)
    low, high = highest.min().item(), highest.max().item()
    cuts = [low + (high - low) * i / CUTS for i in range(CUTS)]
    labels = maps.shape[1]
    scores = [mean_iou(segment(maps, truth.shape[-1], cut), truth, labels) for cut in cuts]
    return cuts[max(range(CUTS), key=scores.__getitem__)]


def mean_iou(found: Labelled, truth: Labelled, labels: int) -> float:
    """Intersection over union of each label over all pictures together, averaged over labels.

    NOTHING is no label, but what it takes away from one or leaves to it counts there. A label that
    is neither found nor true anywhere is left out.
    """
    shares = []
    for label in range(labels):
        one, other = found == label, truth == label
        either = (one | other).sum().item()
        if either:
            shares.append((one & other).sum().item() / either)
    return sum(shares) / len(shares) if shares else 0.0


def _pixels(maps: LabelMaps, size: int) -> Float[Tensor, "pictures labels size size"]:
    return F.interpolate(maps, (size, size), mode="bilinear")
