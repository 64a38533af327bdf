"""Guidance: draw what a model wants to see, by following its similarity uphill.

A drawing of the shapes world has seven numbers that can be moved without a jump (where it is, how
large, how tilted, which colour). They follow the gradient of the cosine with a text, through the
picture. Its shape and its background are choices: the shape is found by trying all, the background
is one of the world's, taken at random. What such a drawing says of the model is plain to see, where
pixels moved freely would end as noise that only the model itself reads.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor
from torch.nn import functional as F

from clip_lab.data.scene import BACKGROUNDS, COLOURS, MAX_LETTERS, SHAPES, SIZES, TEXTURES
from clip_lab.data.shape_drawing import BACKGROUND_TABLE, COLOUR_TABLE, SIZE_TABLE, Sketch, paint
from clip_lab.data.shape_sampling import LARGEST_TILT
from clip_lab.dual_encoder import DualEncoder

# x, y, radius, tilt, red, green, blue: the least and the most.
LEAST = torch.tensor([0.3, 0.3, 0.1, -LARGEST_TILT, 0.0, 0.0, 0.0])
MOST = torch.tensor([0.7, 0.7, 0.33, LARGEST_TILT, 1.0, 1.0, 1.0])
Numbers = Float[Tensor, "drawings 7"]
Choices = Int[Tensor, "drawings 2"]  # shape and background, as indices into the world's


@dataclass(frozen=True)
class Drawings:
    """One drawing a text: the best of all shapes and starts."""

    numbers: Numbers
    choices: Choices
    cosines: Float[Tensor, " drawings"]  # with its text

    def sketch(self) -> Sketch:
        return sketch_of(self.numbers, self.choices)

    def attributes(self) -> list[tuple[str, str, str]]:
        """Shape, nearest colour and nearest size of each, by name."""
        colour = torch.cdist(self.numbers[:, 4:7], COLOUR_TABLE).argmin(dim=1)
        size = (self.numbers[:, 2:3] - SIZE_TABLE).abs().argmin(dim=1)
        colours, sizes = tuple(COLOURS), tuple(SIZES)
        return [
            (SHAPES[s], colours[c], sizes[z])
            for (s, _), c, z in zip(
                self.choices.tolist(), colour.tolist(), size.tolist(), strict=True
            )
        ]


def ascend(
    encoder: DualEncoder,
    texts: list[str],
    generator: Generator,
    starts: int = 1,
    steps: int = 80,
    rate: float = 0.15,
) -> Drawings:
    """For each text, Adam from `starts` random drawings of each shape; the best of them all.

    With no steps, the best of the random drawings themselves: what choosing alone achieves.
    """
    each = len(SHAPES) * starts
    wanted = encoder.encode_texts(texts).repeat_interleave(each, dim=0)
    shape = torch.arange(len(SHAPES)).repeat(len(texts) * starts)
    background = torch.randint(len(BACKGROUNDS), shape.shape, generator=generator)
    choices = torch.stack([shape, background], dim=1)
    free = torch.randn(len(shape), len(LEAST), generator=generator).requires_grad_()
    optimizer = torch.optim.Adam([free], lr=rate)
    for _ in range(steps):
        likeness = cosines(encoder, _bounded(free), choices, wanted)
        (slope,) = torch.autograd.grad(-likeness.sum(), free)  # drawings don't mix
        free.grad = slope
        optimizer.step()
    numbers = _bounded(free).detach()
    with torch.no_grad():
        likeness = cosines(encoder, numbers, choices, wanted).unflatten(0, (len(texts), each))
    best = likeness.argmax(dim=1) + torch.arange(len(texts)) * each
    return Drawings(numbers[best], choices[best], likeness.amax(dim=1))


def cosines(
    encoder: DualEncoder,
    numbers: Numbers,
    choices: Choices,
    wanted: Float[Tensor, "drawings embed_dim"],
) -> Float[Tensor, " drawings"]:
    """Of each drawing's picture with the vector beside it, differentiable in the numbers."""
    pictures = paint(sketch_of(numbers, choices), encoder.preprocess.size)
    vectors = encoder.model.encode_image(encoder.preprocess.normalize(pictures))
    return (F.normalize(vectors, dim=-1) * wanted).sum(dim=-1)


def sketch_of(numbers: Numbers, choices: Choices) -> Sketch:
    """One solid object on its background."""
    alone = choices[:, :1]
    nothing = torch.zeros(len(choices), MAX_LETTERS, dtype=torch.long)
    return Sketch(
        shape=alone,
        texture=torch.full_like(alone, TEXTURES.index("solid")),
        present=torch.ones_like(alone, dtype=torch.bool),
        centre=numbers[:, None, :2],
        radius=numbers[:, 2:3],
        tilt=numbers[:, 3:4],
        rgb=numbers[:, None, 4:7],
        backdrop=BACKGROUND_TABLE[choices[:, 1]].to(numbers.dtype),
        letters=nothing,
        word_centre=numbers[:, :2],
    )


def _bounded(free: Numbers) -> Numbers:
    """Any real numbers to what a drawing allows."""
    return LEAST + (MOST - LEAST) * free.sigmoid()
