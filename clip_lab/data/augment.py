"""Augmentation in batches: what a drawing may look like in a style that was never trained on.

A model that saw three artists' emoji learns their colours and shading unless training takes those
away now and then. Each function here prepares for one shift and says which. They work on whole
batches of *premultiplied* pictures, (B, 4, H, W) with red, green and blue already multiplied by
alpha: averaging neighbouring pixels is then right at the edges too, and putting a picture on a
background is one line. Every random number comes from the torch.Generator that is passed in.

Pictures are never flipped: an arrow that points left would keep the caption "right arrow".
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, UInt8
from torch import Generator, Tensor

Premultiplied = Float[Tensor, "batch 4 height width"]
LUMINANCE = (0.299, 0.587, 0.114)  # ITU-R BT.601


@dataclass(frozen=True)
class Augmentation:
    """How often each change is made to a picture that isn't left clean; ranges of the moves."""

    clean: float = 0.25  # left as it is, on white
    flatten: float = 0.35
    outline: float = 0.5
    recolour: float = 0.5
    grey: float = 0.12
    blur: float = 0.2
    background: float = 0.4  # otherwise white
    scale: tuple[float, float] = (0.6, 1.1)
    rotation: float = 15.0  # degrees either way
    shear: float = 0.1
    shift: float = 0.06  # of the width, beyond the room that a smaller picture leaves


def augment(
    pictures: UInt8[Tensor, "batch 4 height width"],
    size: int,
    generator: Generator,
    keep_colour: Bool[Tensor, " batch"],
    settings: Augmentation | None = None,
) -> Float[Tensor, "batch 3 size size"]:
    """A batch of cells from the sheets, drawn anew at `size` pixels, in [0, 1].

    `keep_colour` marks pictures that are named by their colours ("red heart", flags): their hues
    stay, or the captions would lie.
    """
    settings = settings or Augmentation()
    clean = torch.rand(len(pictures), generator=generator) < settings.clean

    def some(batch: Tensor, share: float, change: Change, but: Tensor = clean) -> Tensor:
        chosen = (torch.rand(len(batch), generator=generator) < share) & ~but
        if chosen.any():
            batch[chosen] = change(batch[chosen], generator)
        return batch

    batch = premultiply(pictures)  # (B, 4, 64, 64)
    batch = some(batch, settings.flatten, flatten, but=clean | keep_colour)
    batch = some(batch, settings.outline, draw_outlines)
    batch = resize(batch, size)  # (B, 4, size, size)
    batch = some(batch, 1.0, lambda part, generator: move(part, generator, settings))
    batch = some(batch, settings.recolour, recolour, but=clean | keep_colour)
    batch = some(batch, settings.grey, grey, but=clean | keep_colour)
    batch = some(batch, settings.blur, blur)
    white = torch.ones(len(batch), 3, size, size)
    ground = some(white, settings.background, background)
    return over(batch, ground)


Change = Callable[[Tensor, Generator], Tensor]


# ---- pictures with alpha ----------------------------------------------------------------------


def premultiply(pictures: UInt8[Tensor, "batch 4 height width"]) -> Premultiplied:
    """Bytes to numbers in [0, 1], colours multiplied by alpha."""
    batch = pictures.float().div_(255)
    batch[:, :3] *= batch[:, 3:]
    return batch


def over(
    batch: Premultiplied, ground: Float[Tensor, "batch 3 height width"]
) -> Float[Tensor, "batch 3 height width"]:
    """Puts pictures on backgrounds (Porter and Duff's "over", 1984)."""
    return (batch[:, :3] + (1 - batch[:, 3:]) * ground).clamp_(0, 1)


def on_white(
    pictures: UInt8[Tensor, "batch 4 height width"],
) -> Float[Tensor, "batch 3 height width"]:
    """What people look at, and what tests are made of: the pictures on plain white, in [0, 1]."""
    batch = premultiply(pictures)
    return over(batch, torch.ones_like(batch[:, :3]))


def resize(batch: Premultiplied, size: int) -> Float[Tensor, "batch 4 size size"]:
    """To (B, 4, size, size), averaging pixels when it shrinks."""
    if batch.shape[-2:] == (size, size):
        return batch
    sizes = (size, size)
    return F.interpolate(batch, sizes, mode="bilinear", antialias=True, align_corners=False)


# ---- another hand: outlines, flat colours ------------------------------------------------------


def draw_outlines(batch: Premultiplied, generator: Generator) -> Premultiplied:
    """Dark lines, 1 to 3 pixels thick, along silhouettes and strong edges of colour inside.

    Prepares for styles that draw contours first (OpenMoji, comics, icons). An edge is where the
    largest and the smallest value within k pixels differ: a line of k - 1 pixels. Fills become
    paler, mostly a little, at times white as in a colouring book.
    """
    count = len(batch)
    which = torch.rand(count, generator=generator)
    thickness = 1 + (which > 0.35).int() + (which > 0.8).int()  # 3 pixels swallow small details
    threshold = uniform(generator, (count, 1, 1, 1), 0.15, 0.5)
    edges = torch.empty_like(batch[:, :1])
    for pixels in (1, 2, 3):
        of_this = (thickness == pixels).nonzero()[:, 0]
        if len(of_this):
            edges[of_this] = _edges(batch[of_this], pixels)
    line = ((edges - threshold) / 0.15).clamp_(0, 1)  # (B, 1, H, W), soft over a range of 0.15
    ink = uniform(generator, (count, 1, 1, 1), 0.0, 0.2)
    paler = uniform(generator, (count, 1, 1, 1), 0.0, 1.0) ** 3
    fills = batch[:, :3] + paler * luminance(batch[:, :3]).sqrt() * (batch[:, 3:] - batch[:, :3])
    colours = fills * (1 - line) + ink * line
    return torch.cat([colours, torch.maximum(batch[:, 3:], line)], dim=1)


def _edges(batch: Premultiplied, pixels: int) -> Float[Tensor, "batch 1 height width"]:
    """The largest spread of any of the four channels within a square of `pixels` + 1."""
    before, after = pixels // 2, pixels - pixels // 2
    largest = smallest = F.pad(batch, (before, after, before, after), mode="replicate")
    for _ in range(pixels):  # each pass takes in one more pixel, first across, then down
        largest = torch.maximum(largest[..., 1:], largest[..., :-1])
        largest = torch.maximum(largest[..., 1:, :], largest[..., :-1, :])
        smallest = torch.minimum(smallest[..., 1:], smallest[..., :-1])
        smallest = torch.minimum(smallest[..., 1:, :], smallest[..., :-1, :])
    return (largest - smallest).amax(dim=1, keepdim=True)


def flatten(batch: Premultiplied, generator: Generator) -> Premultiplied:
    """Few levels a channel, 3 to 6: prepares for limited palettes and flat fills."""
    count = len(batch)
    steps = torch.randint(2, 6, (count, 1, 1, 1), generator=generator).float()
    offset = uniform(generator, (count, 3, 1, 1), -0.3, 0.3)
    alpha = batch[:, 3:]
    colours = F.avg_pool2d(batch, 3, stride=1, padding=1)  # evens out shading and noise
    colours = colours[:, :3] / colours[:, 3:].clamp_min(1e-3)
    levels = ((colours * steps + offset).round() / steps).clamp_(0, 1)
    return torch.cat([levels * alpha, alpha], dim=1)


# ---- other colours -----------------------------------------------------------------------------


def recolour(batch: Premultiplied, generator: Generator) -> Premultiplied:
    """Mixes the channels, changes saturation, contrast and brightness: another palette.

    The mixing matrix's rows sum to one, so that grey, black and white stay what they are.
    """
    count = len(batch)
    mixing = torch.eye(3) + 0.25 * torch.randn(count, 3, 3, generator=generator)
    mixing = mixing / mixing.sum(-1, keepdim=True).clamp_min(0.3)
    to_grey = torch.tensor(LUMINANCE).expand(3, 3)
    saturation = uniform(generator, (count, 1, 1), 0.4, 1.6)
    mixing = mixing @ (saturation * torch.eye(3) + (1 - saturation) * to_grey)  # (B, 3, 3)
    contrast = uniform(generator, (count, 1, 1, 1), 0.7, 1.3)
    middle = uniform(generator, (count, 1, 1, 1), 0.3, 0.7)
    colours, alpha = batch[:, :3], batch[:, 3:]
    mixed = (mixing @ colours.flatten(2)).view_as(colours)
    mixed = contrast * mixed + (1 - contrast) * middle * alpha
    return torch.cat([mixed.clamp_min(0).minimum(alpha), alpha], dim=1)


def grey(batch: Premultiplied, generator: Generator) -> Premultiplied:
    """No colour at all: prepares for black-and-white drawings."""
    colours = luminance(batch[:, :3]).expand(-1, 3, -1, -1)
    return torch.cat([colours, batch[:, 3:]], dim=1)


def luminance(
    colours: Float[Tensor, "batch 3 height width"],
) -> Float[Tensor, "batch 1 height width"]:
    """How bright each pixel is to the eye."""
    return (colours * torch.tensor(LUMINANCE).view(1, 3, 1, 1)).sum(1, keepdim=True)


# ---- elsewhere, less sharp, on something --------------------------------------------------------


def move(batch: Premultiplied, generator: Generator, settings: Augmentation) -> Premultiplied:
    """Scales, turns, shears and shifts: prepares for margins and for another artist's layout."""
    count = len(batch)
    scale = uniform(generator, (count,), *settings.scale)
    angle = uniform(generator, (count,), -1.0, 1.0) * math.radians(settings.rotation)
    shear = uniform(generator, (count,), -settings.shear, settings.shear)
    room = (1 - scale).clamp_min(0) + 2 * settings.shift  # the picture is 2 wide in grid units
    shift = uniform(generator, (count, 2), -1.0, 1.0) * room[:, None]
    cos, sin = angle.cos() / scale, angle.sin() / scale
    # grid_sample asks where each pixel of the result comes from, hence 1 / scale
    matrix = torch.stack([cos, -sin + shear * cos, sin, cos + shear * sin], dim=-1).view(-1, 2, 2)
    origin = -matrix @ shift[:, :, None]
    theta = torch.cat([matrix, origin], dim=2)  # (B, 2, 3)
    grid = F.affine_grid(theta, list(batch.shape), align_corners=False)
    return F.grid_sample(batch, grid, align_corners=False)


def blur(batch: Premultiplied, generator: Generator) -> Premultiplied:
    """Softens by a half-size copy: prepares for small, enlarged and out-of-focus pictures."""
    half = F.avg_pool2d(batch, 2, ceil_mode=True)
    soft = F.interpolate(half, batch.shape[-2:], mode="bilinear", align_corners=False)
    amount = uniform(generator, (len(batch), 1, 1, 1), 0.3, 1.0)
    return batch + amount * (soft - batch)


def background(white: Float[Tensor, "batch 3 size size"], generator: Generator) -> Tensor:
    """Plain colours, gradients between two, soft noise: prepares for pictures not on white."""
    count, _, height, width = white.shape
    kind: Int[Tensor, " batch"] = torch.randint(0, 3, (count,), generator=generator)
    # coarse grids of colours, enlarged: 1 colour, one at each of 4 corners, or 6 x 6 of noise
    depth = uniform(generator, (count, 1, 1, 1), 0.0, 1.0) ** 1.5  # pale more often than deep
    base = 1 - depth * torch.rand(count, 3, 1, 1, generator=generator)
    corners = 1 - depth * torch.rand(count, 3, 2, 2, generator=generator)
    noise = base + 0.3 * depth * torch.randn(count, 3, 6, 6, generator=generator)
    ground = base.expand(-1, -1, height, width).clone()
    for number, grid in ((1, corners), (2, noise)):
        of_this = (kind == number).nonzero()[:, 0]
        if len(of_this):
            ground[of_this] = F.interpolate(
                grid[of_this], (height, width), mode="bilinear", align_corners=True
            )
    return ground.clamp_(0, 1)


def uniform(generator: Generator, shape: tuple[int, ...], low: float, high: float) -> Tensor:
    """Numbers drawn evenly between two bounds."""
    return low + (high - low) * torch.rand(shape, generator=generator)
