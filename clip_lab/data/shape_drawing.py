"""From scenes to pictures: signed distances, one pixel of antialiasing, painted back to front.

`draw` takes `Scenes`; `paint` below it takes a `Sketch`, the same contents as continuous numbers.
Pictures are differentiable in a sketch's centres, radii, tilts and colours, so an experiment can
move a shape uphill on a similarity.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from clip_lab.data.scene import BACKGROUNDS, COLOURS, SHAPES, SIZES, TEXTURES, Scenes
from clip_lab.data.shape_distances import Field, length, signed_distance
from clip_lab.data.shape_lettering import write_words

# In units of the shape's radius: textures keep off a solid rim, so that the outline stays clear.
RIM = 0.12
STRIPE_PERIOD, STRIPE_GAP = 0.66, 0.28
DOT_PERIOD, DOT_RADIUS = 0.58, 0.18

COLOUR_TABLE = torch.tensor(list(COLOURS.values()))
SIZE_TABLE = torch.tensor(list(SIZES.values()))
BACKGROUND_TABLE = torch.tensor(list(BACKGROUNDS.values()))


@dataclass(frozen=True)
class Sketch:
    """A batch of pictures' contents in continuous numbers, ready to paint."""

    shape: Int[Tensor, "batch objects"]  # index into SHAPES
    texture: Int[Tensor, "batch objects"]  # index into TEXTURES
    present: Bool[Tensor, "batch objects"]
    centre: Float[Tensor, "batch objects 2"]  # x, y, as fractions of the picture's side
    radius: Float[Tensor, "batch objects"]  # likewise
    tilt: Float[Tensor, "batch objects"]
    rgb: Float[Tensor, "batch objects 3"]
    backdrop: Float[Tensor, "batch 2 3"]  # the colours at the top and at the bottom
    letters: Int[Tensor, "batch places"]
    word_centre: Float[Tensor, "batch 2"]


def sketch(scenes: Scenes) -> Sketch:
    """Look up what the scenes' indices stand for: sizes as radii, colours as RGB in [0, 1]."""
    device = scenes.shape.device
    return Sketch(
        shape=scenes.shape,
        texture=scenes.texture,
        present=scenes.present,
        centre=scenes.centre,
        radius=SIZE_TABLE.to(device)[scenes.size],
        tilt=scenes.tilt,
        rgb=COLOUR_TABLE.to(device)[scenes.colour],
        backdrop=BACKGROUND_TABLE.to(device)[scenes.background],
        letters=scenes.letters,
        word_centre=scenes.word_centre,
    )


def draw(
    scenes: Scenes, size: int = 64, device: torch.device | str | None = None
) -> Float[Tensor, "batch 3 size size"]:
    """Draw the scenes, values in [0, 1], on `device` or where the scenes are."""
    return paint(sketch(scenes if device is None else scenes.to(device)), size)


def masks(scenes: Scenes, size: int = 64) -> Bool[Tensor, "batch objects size size"]:
    """Which pixels belong to each object: inside its outline and not behind a later object.

    The gaps of a texture belong to its object, and so does what a written word covers.
    """
    layers = _layers(outlines(sketch(scenes), size, textured=False))
    return layers[:, :-1] > 0.5


def paint(drawing: Sketch, size: int) -> Float[Tensor, "batch 3 size size"]:
    """Paint a sketch, back to front (Porter & Duff's "over", written as one weighted sum)."""
    weights = _layers(outlines(drawing, size, textured=True))  # (B, K + 1, S, S)
    steps = (torch.arange(size, device=weights.device) + 0.5) / size
    top, bottom = drawing.backdrop[:, 0, :, None], drawing.backdrop[:, 1, :, None]
    backdrop = (top + (bottom - top) * steps)[..., None]  # (B, 3, S, 1)
    objects = torch.einsum("bkhw,bkc->bchw", weights[:, :-1], drawing.rgb)
    pictures = objects + weights[:, -1:] * backdrop
    return write_words(pictures, drawing.letters, drawing.word_centre)


def _layers(
    coverage: Float[Tensor, "batch objects size size"],
) -> Float[Tensor, "batch layers size size"]:
    """What part of each pixel shows each object and, last, the background; sums to one."""
    uncovered = torch.ones_like(coverage[:, 0])
    weights = []
    for layer in coverage.unbind(1)[::-1]:  # from the front
        weights.append(layer * uncovered)
        uncovered = uncovered * (1 - layer)
    return torch.stack([*weights[::-1], uncovered], dim=1)


def outlines(
    drawing: Sketch, size: int, textured: bool
) -> Float[Tensor, "batch objects size size"]:
    """What part of each pixel each object covers, one shape after another over the whole batch."""
    coverage = drawing.centre.new_zeros(*drawing.shape.shape, size, size)
    for index, shape in enumerate(SHAPES):
        where = (drawing.present & (drawing.shape == index)).nonzero(as_tuple=True)
        if len(where[0]) == 0:
            continue
        x, y = _own_coordinates(
            drawing.centre[where], drawing.radius[where], drawing.tilt[where], size
        )
        distance = signed_distance(shape, x, y)
        pixels = drawing.radius[where][:, None, None] * size  # how many pixels one unit is
        texture = drawing.texture[where] if textured else None
        coverage[where] = _coverage(distance, x, y, pixels, texture)
    return coverage


def _own_coordinates(
    centre: Float[Tensor, "object 2"],
    radius: Float[Tensor, " object"],
    tilt: Float[Tensor, " object"],
    size: int,
) -> tuple[Float[Tensor, "object size size"], Float[Tensor, "object size size"]]:
    """Every pixel's middle as each object sees it: itself at the origin, upright, of radius 1."""
    pixels = (torch.arange(size, device=centre.device) + 0.5) / size
    right = ((pixels - centre[:, :1]) / radius[:, None])[:, None, :]  # (M, 1, S)
    up = ((centre[:, 1:] - pixels) / radius[:, None])[:, :, None]  # (M, S, 1)
    cosine, sine = tilt.cos()[:, None, None], tilt.sin()[:, None, None]
    return right * cosine + up * sine, up * cosine - right * sine


def _coverage(
    distance: Float[Tensor, "object size size"],
    x: Float[Tensor, "object size size"],
    y: Float[Tensor, "object size size"],
    pixels: Float[Tensor, "object 1 1"],
    texture: Int[Tensor, " object"] | None,
) -> Float[Tensor, "object size size"]:
    """From distances to the covered part of each pixel, less the gaps of the texture."""
    covered = (0.5 - distance * pixels).clamp(0, 1)
    if texture is None:
        return covered
    for name, gaps in (("striped", stripe_gaps), ("dotted", dot_gaps)):
        rows = (texture == TEXTURES.index(name)).nonzero().flatten()
        if len(rows):
            gap = torch.maximum(gaps(x[rows], y[rows]), distance[rows] + RIM)
            solid = (0.5 + gap * pixels[rows]).clamp(0, 1)
            covered = covered.index_copy(0, rows, covered[rows] * solid)
    return covered


def stripe_gaps(x: Field, y: Field) -> Field:
    """Signed distance to diagonal gaps, through which the background shows."""
    across = (x + y) * math.sqrt(0.5) / STRIPE_PERIOD
    return (across - across.round()).abs() * STRIPE_PERIOD - STRIPE_GAP / 2


def dot_gaps(x: Field, y: Field) -> Field:
    """Signed distance to round holes on a square grid."""
    column, row = x / DOT_PERIOD, y / DOT_PERIOD
    column, row = column - column.round(), row - row.round()
    return length(column, row) * DOT_PERIOD - DOT_RADIUS
