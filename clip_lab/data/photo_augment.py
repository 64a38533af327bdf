"""Photographs changed at random, in batches, and the words for what was done.

Every change prepares for pictures that people will bring: another crop, another light, a small or
soft or colourless copy. What a person would notice is named, so that captions can say it; every
random number comes from the generator that is passed in.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Generator, Tensor

from clip_lab.data.augment import luminance, uniform

SMALLEST = 0.3  # of the picture's area that a crop keeps at least
CLOSE_UP = 0.5  # a crop of less than this is called one
WHOLE = 0.2  # how often a picture is not cropped
CHANCES = {"black and white": 0.08, "blurry": 0.08, "low resolution": 0.15}
LIGHT = {"dark": (0.07, 0.35, 0.6), "bright": (0.07, 1.4, 1.8)}  # chance, least and most


def augment_photos(
    pictures: UInt8[Tensor, "batch 3 height width"], size: int, generator: Generator
) -> tuple[Float[Tensor, "batch 3 size size"], list[list[str]]]:
    """Pictures of `size` pixels in [0, 1], and for each the names of its noticeable changes."""
    count = len(pictures)
    named: list[list[str]] = [[] for _ in range(count)]

    def some(name: str, chance: float, change: Callable[[Tensor], Tensor]) -> None:
        chosen = (torch.rand(count, generator=generator) < chance).nonzero()[:, 0]
        if len(chosen):
            batch[chosen] = change(batch[chosen])
        for i in chosen.tolist():
            named[i].append(name)

    batch, area = crop(pictures.float().div_(255), size, generator)
    for i in (area < CLOSE_UP).nonzero()[:, 0].tolist():
        named[i].append("close-up")
    batch = jitter(batch, generator)
    for name, (chance, least, most) in LIGHT.items():
        some(name, chance, lambda part, a=least, b=most: part * _each(generator, part, a, b))
    some("black and white", CHANCES["black and white"], grey)
    some("blurry", CHANCES["blurry"], lambda part: shrink(part, 3))
    some("low resolution", CHANCES["low resolution"], lambda part: shrink(part, 2))
    return batch.clamp_(0, 1), named


def crop(
    batch: Float[Tensor, "batch 3 height width"], size: int, generator: Generator
) -> tuple[Float[Tensor, "batch 3 size size"], Float[Tensor, " batch"]]:
    """A random part, stretched a little and mirrored half of the time; and its share of the area.

    He et al.'s random resized crop (Szegedy et al. 2015), by one affine map a picture.
    """
    count = len(batch)
    area = SMALLEST + (1 - SMALLEST) * torch.rand(count, generator=generator)
    area[torch.rand(count, generator=generator) < WHOLE] = 1.0
    stretch = torch.exp(0.2 * (2 * torch.rand(count, generator=generator) - 1))
    width = (area.sqrt() * stretch).clamp_max(1)
    height = (area.sqrt() / stretch).clamp_max(1)
    shift = 2 * torch.rand(count, 2, generator=generator) - 1
    mirror = 1.0 - 2.0 * (torch.rand(count, generator=generator) < 0.5)
    theta = torch.zeros(count, 2, 3)
    theta[:, 0, 0], theta[:, 0, 2] = width * mirror, shift[:, 0] * (1 - width)
    theta[:, 1, 1], theta[:, 1, 2] = height, shift[:, 1] * (1 - height)
    grid = F.affine_grid(theta, [count, 3, size, size], align_corners=False)
    cut = F.grid_sample(batch, grid, padding_mode="reflection", align_corners=False)
    return cut, width * height


def jitter(
    batch: Float[Tensor, "batch 3 size size"], generator: Generator
) -> Float[Tensor, "batch 3 size size"]:
    """Another light and another camera: a little more or less brightness, contrast, saturation."""
    batch = batch * _each(generator, batch, 0.8, 1.2)
    mean = batch.mean(dim=(1, 2, 3), keepdim=True)
    batch = mean + (batch - mean) * _each(generator, batch, 0.8, 1.2)
    plain = grey(batch)
    return plain + (batch - plain) * _each(generator, batch, 0.6, 1.4)


def grey(batch: Float[Tensor, "batch 3 size size"]) -> Float[Tensor, "batch 3 size size"]:
    """Its luminance alone."""
    return luminance(batch).expand_as(batch)


def shrink(
    batch: Float[Tensor, "batch 3 size size"], times: int
) -> Float[Tensor, "batch 3 size size"]:
    """Through a copy so many times smaller and back: detail is gone, as from a thumbnail."""
    small = F.avg_pool2d(batch, times, ceil_mode=True)
    return F.interpolate(small, batch.shape[-2:], mode="bilinear", align_corners=False)


def _each(generator: Generator, batch: Tensor, low: float, high: float) -> Tensor:
    """One number a picture."""
    return uniform(generator, (len(batch), 1, 1, 1), low, high)
