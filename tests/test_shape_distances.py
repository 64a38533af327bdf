"""Signed distances: area by formula, distance by search, slope one, symmetry."""

import math

import pytest
import torch

from clip_lab.data import shape_distances
from clip_lab.data.scene import SHAPES
from clip_lab.data.shape_distances import signed_distance


def grid(points: int, reach: float = 1.2) -> tuple[torch.Tensor, torch.Tensor]:
    """The middles of points x points cells over [-reach, reach]², in double precision."""
    middles = ((torch.arange(points, dtype=torch.float64) + 0.5) / points * 2 - 1) * reach
    return torch.meshgrid(middles, middles, indexing="xy")


def crescent_area() -> float:
    """A disc less the lens that it shares with the biting disc."""
    big, bite, apart = (
        shape_distances.CRESCENT_RADIUS,
        shape_distances.CRESCENT_BITE,
        shape_distances.CRESCENT_OFFSET,
    )
    to_chord = (apart**2 + big**2 - bite**2) / (2 * apart)
    segments = [
        r**2 * math.acos(d / r) - d * math.sqrt(r**2 - d**2)
        for r, d in ((big, to_chord), (bite, apart - to_chord))
    ]
    return math.pi * big**2 - sum(segments)


def drop_area() -> float:
    """A kite between the tip and the points of contact, and the disc's remaining sector."""
    r, h = 0.6, 1.4
    return r * math.sqrt(h**2 - r**2) + r**2 * (math.pi - math.acos(r / h))


AREAS = {
    "circle": math.pi * 0.9**2,
    "square": 2.0,
    "triangle": 3 * math.sqrt(3) / 4,
    "star": 5 * 0.45 * math.sin(math.pi / 5),
    "heart": (0.5 + math.pi / 8) * 1.58**2,
    "cross": 2 * 1.86 * 0.7 - 0.7**2,
    "ring": math.pi * (0.94**2 - 0.42**2),
    "diamond": 2 * 0.7,
    "hexagon": 3 * math.sqrt(3) / 2,
    "crescent": crescent_area(),
    "arrow": 0.86 * 0.95 + 0.68 * 0.99,
    "drop": drop_area(),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_area_is_the_formula_s(shape):
    x, y = grid(600)
    inside = (signed_distance(shape, x, y) < 0).double().mean() * 2.4**2
    assert inside.item() == pytest.approx(AREAS[shape], rel=4e-3)


@pytest.mark.parametrize("shape", SHAPES)
def test_distance_is_that_to_the_nearest_point_of_the_outline(shape):
    """The outline's points are found by walking down the field; distances to them, by search."""
    x, y = (axis.flatten().requires_grad_() for axis in grid(400))
    distance = signed_distance(shape, x, y)
    slope_x, slope_y = torch.autograd.grad(distance.sum(), (x, y))
    near = (distance.abs() < 0.03).detach()
    walked = torch.stack([x - distance * slope_x, y - distance * slope_y], -1).detach()[near]
    outline = walked[signed_distance(shape, *walked.unbind(-1)).abs() < 1e-5]
    points = (
        torch.rand(2, 500, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 2.4
        - 1.2
    )
    found = torch.cdist(points.T, outline).amin(1)
    torch.testing.assert_close(signed_distance(shape, *points).abs(), found, atol=8e-3, rtol=0)


@pytest.mark.parametrize("shape", SHAPES)
def test_slope_is_one_almost_everywhere(shape):
    x, y = grid(101)
    h = 1e-5
    slope_x = (signed_distance(shape, x + h, y) - signed_distance(shape, x - h, y)) / (2 * h)
    slope_y = (signed_distance(shape, x, y + h) - signed_distance(shape, x, y - h)) / (2 * h)
    steep = torch.hypot(slope_x, slope_y)
    # On the lines that are as far from two parts of the outline the distance has a crease.
    assert ((steep - 1).abs() < 1e-3).double().mean() > 0.97


@pytest.mark.parametrize("shape", SHAPES)
def test_shape_is_its_own_mirror_image_and_fits_the_unit_circle(shape):
    x, y = grid(100)
    distance = signed_distance(shape, x, y)
    mirrored = distance.flip(0 if shape == "crescent" else 1)
    torch.testing.assert_close(distance, mirrored)
    assert (distance[torch.hypot(x, y) > 1.001] > 0).all()
