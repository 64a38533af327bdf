"""Twelve shapes as signed distances: negative inside, zero on the outline, positive outside.

A signed distance says more than a picture: it gives the outline at every resolution, its
antialiasing (half a pixel inside to half a pixel outside), its true mask, and a gradient with
respect to where the shape is and how large. Every function here takes x (to the right) and y
(upwards) in the shape's own units, in which the shape fits in the unit circle, and returns the
exact Euclidean distance to the outline in the same units.

The constructions are after Inigo Quilez, "2D distance functions"
(iquilezles.org/articles/distfunctions2d).
"""

import math
from collections.abc import Callable
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor

Field = Float[Tensor, "*grid"]
Outline = tuple[tuple[float, float], ...]

CIRCLE_RADIUS = 0.9
RING_RADIUS, RING_HALF_WIDTH = 0.68, 0.26
DROP_RADIUS = 0.6
HEART_SCALE, HEART_MIDDLE = 1.58, 0.63
CRESCENT_RADIUS, CRESCENT_BITE, CRESCENT_OFFSET = 0.95, 0.72, 0.5


def length(x: Field, y: Field) -> Field:
    """√(x² + y²), with a finite gradient at the origin, where the true one has none."""
    return (x * x + y * y + 1e-12).sqrt()


def mirrored_polygon(x: Field, y: Field, right_half: Outline) -> Field:
    """Distance to a polygon that is its own mirror image in the y axis.

    `right_half` lists the corners from the top of the axis round the right side to its bottom.
    Only |x| is looked at, so each edge is computed once for both sides.
    """
    x = x.abs()
    nearest = torch.full_like(x, math.inf)
    inside = torch.zeros_like(x, dtype=torch.bool)
    for (ax, ay), (bx, by) in pairwise(right_half):
        edge_x, edge_y = bx - ax, by - ay
        from_x, from_y = x - ax, y - ay
        along = (from_x * edge_x + from_y * edge_y) / (edge_x**2 + edge_y**2)
        along = along.clamp(0, 1)  # how far along the edge its nearest point lies
        nearest = torch.minimum(
            nearest, (from_x - along * edge_x).square() + (from_y - along * edge_y).square()
        )
        if edge_y:  # a ray to the right crosses the outline an odd number of times from inside
            inside ^= ((y >= ay) != (y >= by)) & (from_x < from_y * (edge_x / edge_y))
    distance = (nearest + 1e-12).sqrt()
    return torch.where(inside, -distance, distance)


def circle(x: Field, y: Field) -> Field:
    """How far from the middle, less the radius."""
    return length(x, y) - CIRCLE_RADIUS


def ring(x: Field, y: Field) -> Field:
    """A circle's line, thickened to both sides."""
    return (length(x, y) - RING_RADIUS).abs() - RING_HALF_WIDTH


def heart(x: Field, y: Field) -> Field:
    """Two half circles on the upper sides of a square that stands on its corner."""
    x, y = x.abs() / HEART_SCALE, y / HEART_SCALE + HEART_MIDDLE
    lobe = length(x - 0.25, y - 0.75) - math.sqrt(2) / 4
    on_side = (x + y).clamp(min=0) / 2  # the nearest point of the side is (on_side, on_side)
    notch_or_side = torch.minimum(length(x, y - 1), length(x - on_side, y - on_side))
    body = torch.where(x > y, notch_or_side, -notch_or_side)
    return torch.where(x + y > 1, lobe, body) * HEART_SCALE


def crescent(x: Field, y: Field) -> Field:
    """A disc with a bite: what a second circle, moved to the right, leaves of it."""
    y = y.abs()
    radius, bite, offset = CRESCENT_RADIUS, CRESCENT_BITE, CRESCENT_OFFSET
    horn_x = (radius**2 - bite**2 + offset**2) / (2 * offset)  # where the two circles meet
    horn_y = math.sqrt(radius**2 - horn_x**2)
    past_horn = offset * (x * horn_y - y * horn_x) > offset**2 * (horn_y - y).clamp(min=0)
    horn = length(x - horn_x, y - horn_y)
    arcs = torch.maximum(length(x, y) - radius, bite - length(x - offset, y))
    return torch.where(past_horn, horn, arcs)


def drop(x: Field, y: Field) -> Field:
    """A disc and its two tangents from the point above it."""
    radius, height = DROP_RADIUS, 2 - DROP_RADIUS  # from y = -1 up to y = 1
    x, y = x.abs(), y + 1 - radius  # the disc's centre is now the origin
    sine = radius / height
    cosine = math.sqrt(1 - sine**2)
    along = y * cosine - x * sine  # along the tangent, from where it leaves the disc
    side = x * cosine + y * sine - radius
    flank = torch.where(along > cosine * height, length(x, y - height), side)
    return torch.where(along < 0, length(x, y) - radius, flank)


def _spikes(points: int, inner_radius: float) -> Outline:
    """The right half of a star: corners at radius 1 and `inner_radius` by turns."""
    turns = [math.pi * i / points for i in range(points + 1)]
    radii = [inner_radius if i % 2 else 1.0 for i in range(points + 1)]
    return tuple((r * math.sin(a), r * math.cos(a)) for r, a in zip(radii, turns, strict=True))


HALF = math.sqrt(0.5)
POLYGONS: dict[str, Outline] = {
    "square": ((0.0, HALF), (HALF, HALF), (HALF, -HALF), (0.0, -HALF)),
    "triangle": ((0.0, 1.0), (math.sqrt(0.75), -0.5), (0.0, -0.5)),
    "star": _spikes(5, 0.45),
    "cross": (
        (0.0, 0.93), (0.35, 0.93), (0.35, 0.35), (0.93, 0.35),
        (0.93, -0.35), (0.35, -0.35), (0.35, -0.93), (0.0, -0.93),
    ),
    "diamond": ((0.0, 1.0), (0.7, 0.0), (0.0, -1.0)),
    "hexagon": ((0.0, 1.0), (math.sqrt(0.75), 0.5), (math.sqrt(0.75), -0.5), (0.0, -1.0)),
    "arrow": ((0.0, 1.0), (0.86, 0.05), (0.34, 0.05), (0.34, -0.94), (0.0, -0.94)),
}  # fmt: skip
CURVES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "circle": circle,
    "ring": ring,
    "heart": heart,
    "crescent": crescent,
    "drop": drop,
}


def signed_distance(shape: str, x: Field, y: Field) -> Field:
    """The distance from each point (x, y) to the outline of the shape of that name."""
    if shape in CURVES:
        return CURVES[shape](x, y)
    return mirrored_polygon(x, y, POLYGONS[shape])
