"""Cover a part of the picture and see what the text loses: asks nothing of the model's inside.

The oldest of the methods (Zeiler & Fergus 2014, arXiv 1311.2901, section 4.2), and the only one
here that every image tower allows: a ResNet of 64 pixels ends in 2 x 2 places, too few to look at.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from clip_lab.dual_encoder import DualEncoder
from clip_lab.errors import LabError
from clip_lab.interpret.heat_maps import METHODS, Maps, Method
from clip_lab.preprocess import ImageSources

CELLS = 8  # a side
COVER = 2  # cells that a cover is wide: one cell hides too little to matter


def occlusion(encoder: DualEncoder, pictures: ImageSources, texts: Sequence[str]) -> Maps:
    """How much the cosine falls when a place is covered, averaged over the covers that hide it.

    Covers have the picture's mean colour and overlap. 81 passes a picture. Raises LabError where
    there is no picture, no text, or one can't be read.
    """
    if not len(pictures) or not texts:
        raise LabError("There is nothing to look for. Give at least one picture and one text.")
    words = encoder.encode_texts(texts)
    return torch.stack([_of_one(encoder, encoder.preprocess(one), words) for one in pictures])


def _of_one(
    encoder: DualEncoder, pixels: Float[Tensor, "3 size size"], words: Float[Tensor, "texts dim"]
) -> Float[Tensor, "texts cells cells"]:
    masks = covers(pixels.shape[-1])
    mean = pixels.mean(dim=(1, 2), keepdim=True)
    hidden = torch.where(masks[:, None], mean, pixels)
    vectors = encoder.encode_pixels(torch.cat([pixels[None], hidden]))
    cosines = vectors @ words.T
    lost = cosines[:1] - cosines[1:]  # (covers, texts)
    sums, counts = torch.zeros(len(words), CELLS, CELLS), torch.zeros(CELLS, CELLS)
    for (top, left), values in zip(_corners(), lost, strict=True):
        here = (slice(max(top, 0), top + COVER), slice(max(left, 0), left + COVER))
        sums[(slice(None), *here)] += values[:, None, None]
        counts[here] += 1
    return sums / counts


def covers(size: int) -> Bool[Tensor, "covers size size"]:
    """Every place of the cover; at the edge, half of it lies outside."""
    edges = [round(size * cell / CELLS) for cell in range(CELLS + 1)]
    masks = torch.zeros(len(_corners()), size, size, dtype=torch.bool)
    for mask, (top, left) in zip(masks, _corners(), strict=True):
        bottom, right = min(top + COVER, CELLS), min(left + COVER, CELLS)
        mask[edges[max(top, 0)] : edges[bottom], edges[max(left, 0)] : edges[right]] = True
    return masks


def _corners() -> list[tuple[int, int]]:
    """The covers' top left cells; each cell of the picture lies under as many covers."""
    steps = range(1 - COVER, CELLS)
    return [(top, left) for top in steps for left in steps]


ALL_METHODS: dict[str, Method] = {"occlusion": occlusion, **METHODS}
