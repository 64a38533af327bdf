"""Which object of a picture does a phrase mean? Three ways to pick one of several candidates.

The candidates are the scene's own objects, where a detector would propose boxes.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from clip_lab.data.scene import Scenes
from clip_lab.data.shape_drawing import SIZE_TABLE, draw, masks
from clip_lab.dual_encoder import DualEncoder
from clip_lab.interpret.heat_maps import surgery

MARGIN = 1.4  # half a crop's side, in the object's radii


def by_crop(
    encoder: DualEncoder, scenes: Scenes, texts: list[str]
) -> Float[Tensor, "pictures objects"]:
    """The cosine of each object, cut out and enlarged, with the picture's text."""
    pieces = crops(scenes, encoder.preprocess.size)
    vectors = encoder.encode_images(pieces.flatten(0, 1), batch_size=256)
    vectors = vectors.unflatten(0, pieces.shape[:2])
    return torch.einsum("nkd,nd->nk", vectors, encoder.encode_texts(texts))


def crops(scenes: Scenes, size: int) -> Float[Tensor, "pictures objects 3 size size"]:
    """A square around each object, as large as the model sees; the picture is drawn finer first."""
    drawn, objects = draw(scenes, 4 * size), scenes.shape.shape[1]
    half = MARGIN * SIZE_TABLE[scenes.size].flatten()  # of the side
    middle = 2 * scenes.centre.flatten(0, 1) - 1  # as affine_grid counts: from -1 to 1
    frame = torch.zeros(len(half), 2, 3)
    frame[:, 0, 0] = frame[:, 1, 1] = 2 * half
    frame[:, :, 2] = middle
    grid = F.affine_grid(frame, [len(half), 3, size, size], align_corners=False)
    whole = drawn.repeat_interleave(objects, dim=0)
    cut = F.grid_sample(whole, grid, padding_mode="border", align_corners=False)
    return cut.clamp(0, 1).unflatten(0, (len(scenes), objects))


def by_map(
    encoder: DualEncoder, scenes: Scenes, texts: list[str]
) -> Float[Tensor, "pictures objects"]:
    """The mean of the text's heat map (CLIP Surgery) over each object's true mask."""
    size, distinct = encoder.preprocess.size, sorted(set(texts))
    maps = surgery(encoder, draw(scenes, size), distinct)
    own = maps[torch.arange(len(texts)), torch.tensor([distinct.index(text) for text in texts])]
    enlarged = F.interpolate(own[:, None], (size, size), mode="bilinear")
    outlines = masks(scenes, size)
    return (enlarged * outlines).sum(dim=(2, 3)) / outlines.sum(dim=(2, 3)).clamp(min=1)


def by_rule(
    scenes: Scenes, anchor: Int[Tensor, " pictures"], places: list[str]
) -> Int[Tensor, " pictures"]:
    """Of the two twins the one that lies further to the said side of the anchor."""
    rows = torch.arange(len(scenes))
    away = scenes.centre[:, :2] - scenes.centre[rows, anchor][:, None]  # (B, 2 twins, x and y)
    axis = torch.tensor([place in ("above", "below") for place in places]).long()
    sign = torch.tensor([-1.0 if place in ("left", "above") else 1.0 for place in places])
    return (away[rows, :, axis] * sign[:, None]).argmax(dim=1)
