"""How well a heat map finds what it should: against the true mask, pixel by pixel."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

HeatMaps = Float[Tensor, "pictures rows columns"]
Masks = Bool[Tensor, "pictures size size"]


def enlarged(maps: HeatMaps, size: int) -> Float[Tensor, "pictures size size"]:
    """Maps of patches as maps of pixels, smooth between the patches' middles."""
    return F.interpolate(maps[:, None], (size, size), mode="bilinear")[:, 0]


def points_inside(maps: HeatMaps, masks: Masks, tolerance: int) -> Bool[Tensor, " pictures"]:
    """The pointing game (Zhang et al. 2016, arXiv 1608.00507, 4.1): is the highest point a hit?

    A hit lies in the mask or at most `tolerance` pixels beside it, up or down or across.
    """
    size = masks.shape[-1]
    highest = enlarged(maps, size).flatten(1).argmax(dim=1)
    return near(masks, tolerance).flatten(1).gather(1, highest[:, None])[:, 0]


def near(masks: Masks, tolerance: int) -> Masks:
    """The masks grown by `tolerance` pixels. Their share of the picture is what guessing hits."""
    return F.max_pool2d(masks.float(), 2 * tolerance + 1, 1, tolerance) > 0


def overlap(maps: HeatMaps, masks: Masks) -> Float[Tensor, " pictures"]:
    """Intersection over union of the mask and of where the map is above half its range."""
    values = enlarged(maps, masks.shape[-1])
    low, high = values.amin(dim=(1, 2), keepdim=True), values.amax(dim=(1, 2), keepdim=True)
    # A map that is the same everywhere picks nothing.
    found = (values > (low + high) / 2) & (high > low)
    both, either = (found & masks).sum(dim=(1, 2)), (found | masks).sum(dim=(1, 2))
    return both / torch.clamp(either, min=1)
