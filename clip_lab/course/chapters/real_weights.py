"""Chapter 17: your code with the real weights. What its build exercises look for.

Right values come from `clip_lab.model` and `clip_lab.preprocess`; beside each stands what the
likely mistakes would give on the same input.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F

from clip_lab.course.checks import Answer, Wrong, compare, exercise
from clip_lab.course.trial import Mistakes
from clip_lab.course.words import ANSWERS
from clip_lab.model import CLIP, CLIPConfig, TextConfig, ViTConfig
from clip_lab.model.transformer import ResidualAttentionBlock
from clip_lab.preprocess import Preprocess

ANSWERS["a port that is nearly right"] = """
    The texts agree to rounding, so what both towers share is right: how the file is read, the
    norms, the block with its bend and its order of queries, keys and values. What is left belongs
    to pictures alone. I would compare in the order in which data flows. First the pixels that go
    in, against the original's: size, filter, crop, order of the channels, mean and deviation. Only
    if those are equal, the tokens after the patches, then the state after each block. A cosine of
    0.97 is far beyond rounding, and that it “works” proves nothing: most such mistakes do.
"""


# -- what the shapes tell -------------------------------------------------------------------------


@exercise(
    "config_from_shapes",
    hints=(
        "Every number sits in the shape of some tensor, or in how often a name occurs. Print the "
        "names with their shapes and look for 32, for 77, for 49408.",
        "conv1's weight is (width, 3, patch, patch). The positions of the image tower are one for "
        "the class token and one for each patch of a square grid. Each block has one ln_1.weight; "
        "those of the image tower begin with “visual.”.",
        "Count the names that end in .ln_1.weight, with and without visual. at the start. The side "
        "of the grid is the root of (positions − 1); times the patch it is the picture's side. "
        "visual.proj maps from the width to the shared space; token_embedding has a row a token.",
    ),
)
def _config(answer: Answer) -> str:
    with torch.device("meta"):
        vision, text = ViTConfig(48, 8, 128, 3), TextConfig(600, 21, 64, 2, end_token=599)
        tensors = CLIP(CLIPConfig(40, vision, text)).state_dict()
    found = answer(tensors)
    if not isinstance(found, Mapping):
        raise Wrong(f"A dictionary of nine numbers was asked for, not a {type(found).__name__}.")
    right = {"image_size": 48, "patch": 8, "width": 128, "layers": 3, "embed_dim": 40,
             "text_width": 64, "text_layers": 2, "context": 21, "vocabulary": 600}  # fmt: skip
    for name, wanted in right.items():
        if name not in found:
            raise Wrong(f"{name} is missing. There should be: {', '.join(right)}.")
        if found[name] != wanted:
            told = SHAPE_FAULTS.get((name, _whole(found[name])))
            raise Wrong(f"{name} is {found[name]} where {wanted} is right. {told or 'Look again.'}")
    return "Nine numbers out of names and shapes: the whole architecture but what no shape tells."


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, int | float) and value == int(value) else value


ENDS = "Both towers have blocks with the same names; only “visual.” tells them apart."
LAST = "The last block's number is one less than how many there are: they count from 0."
SHAPE_FAULTS: dict[tuple[str, Any], str] = {
    ("image_size", 6): "That is the grid, in patches. Times the patch it is in pixels.",
    ("image_size", 36): "That is how many patches there are. The picture's side is asked for.",
    ("image_size", 37): "That is how many positions there are, the class token's included.",
    ("image_size", 288): "Patches were multiplied by the patch's side; take the grid's side first.",
    ("width", 64): "That is the text tower's width.",
    ("width", 3): "That is the number of colours: conv1's weight is (width, 3, patch, patch).",
    ("width", 40): "That is the width of the shared space. The image tower's is the other one.",
    ("width", 384): "That is in_proj's height: queries, keys and values together.",
    ("patch", 3): "That is the number of colours: conv1's weight is (width, 3, patch, patch).",
    ("layers", 5): ENDS,
    ("layers", 2): LAST,
    ("layers", 36): "Each block has twelve tensors: count one name a block.",
    ("embed_dim", 128): "proj maps from the tower's width (rows) to the shared space (columns).",
    ("embed_dim", 64): "text_projection maps from the width (rows) to the shared space (columns).",
    ("text_width", 600): "token_embedding has a row a token; the width is its other side.",
    ("text_width", 128): "That is the image tower's width.",
    ("text_layers", 5): ENDS,
    ("text_layers", 1): LAST,
    ("text_layers", 3): "That is the image tower's depth.",
    ("context", 37): "Those are the image tower's positions. The text tower's have no “visual.”.",
    ("context", 64): "That is the width: positions have a row a place.",
    ("vocabulary", 64): "token_embedding has a row a token; this is its other side.",
    ("vocabulary", 599): "That is the last token's number; there is one more, number 0.",
}


# -- a block from bare tensors --------------------------------------------------------------------


@exercise(
    "block_from_tensors",
    hints=(
        "It is the block of chapter 3, with the parts spelt out: norm, attention, sum; norm, small "
        "network, sum. Which tensors belong to which part, their names tell.",
        "F.linear(x, weight, bias) takes weights as they lie in the file. The fused one makes "
        "three times the width: cut its answer into three along the last axis: q, k, v.",
        "norm with ln_1, in_proj, chunk into three, attend with heads and mask, out_proj, add to "
        "x. Then norm with ln_2, c_fc, the bend x · σ(1.702 x), c_proj, and add again.",
    ),
)
def _block(answer: Answer) -> str:
    block = _random_block()
    tensors = {name: tensor.detach() for name, tensor in block.state_dict().items()}
    x = 2 * torch.randn(2, 5, 128, generator=torch.Generator().manual_seed(3))
    mask = torch.ones(5, 5, dtype=torch.bool).tril()
    for seen in (None, mask):
        means = "a block changes no shape"
        result = answer.tensor(x, tensors, 2, seen, shape=(2, 5, 128), means=means)
        with torch.no_grad():
            _compare_block(result, x, tensors, seen, block(x, seen).double())
    return "The block, from nothing but named tensors, with the bend that OpenAI's weights need."


def _random_block() -> ResidualAttentionBlock:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        block = ResidualAttentionBlock(ViTConfig(4, 2, 128, 1), "quick_gelu", 1e-5)
        for weights in block.parameters():
            if weights.ndim == 1:
                nn.init.normal_(weights, mean=1.0, std=0.5)
    return block


def _compare_block(
    result: Tensor, x: Tensor, tensors: dict[str, Tensor], seen: Tensor | None, right: Tensor
) -> None:
    def like(**changed: Any) -> Tensor:
        return _run(x.double(), {k: v.double() for k, v in tensors.items()}, seen, **changed)

    compare(result, right, [
        (like(bend=F.gelu), "This is GELU. OpenAI's weights were trained with x · σ(1.702 x), and "
         "no error would ever tell you."),
        (like(bend=lambda y: F.gelu(y, approximate="tanh")), "This is GELU's tanh approximation. "
         "OpenAI's weights were trained with x · σ(1.702 x)."),
        (like(bend=F.silu), "The factor 1.702 is missing in the bend: x · σ(1.702 x)."),
        (like(bend=lambda y: 1.702 * y * (1.702 * y).sigmoid()), "Your bend has the factor 1.702 "
         "outside the σ as well: x · σ(1.702 x)."),
        (like(bend=F.relu), "This is ReLU. The bend of these weights is x · σ(1.702 x)."),
        (like(bend=lambda y: y), "The bend between c_fc and c_proj is missing."),
        (like(order=(1, 0, 2)), "Queries and keys are exchanged: the thirds are q, k, v."),
        (like(order=(0, 2, 1)), "Keys and values are exchanged: the thirds are q, k, v."),
        (like(order=(2, 1, 0)), "Queries and values are exchanged: the thirds are q, k, v."),
        (like(heads=64), "These are 64 heads: `heads` says how many there are, not how wide "
         "one is."),
        (like(heads=1), "This is one head of the full width: `heads` takes no part."),
        (like(masked=False), "The mask takes no part: a token sees those that come after it."),
        (like(skip=("attn.out_proj",)), "out_proj is missing: attention's answer goes through one "
         "more matrix before it is added."),
        (like(no_bias=True), "The biases are missing. With freshly drawn weights they are 0 and "
         "nobody would notice; trained ones are not."),
        (like(skip=("ln_1",)), "ln_1 is missing: attention reads a normalised copy."),
        (like(skip=("ln_2",)), "ln_2 is missing: the network reads a normalised copy."),
        (like(norms=("ln_1", "ln_1")), "ln_1 is used twice: each half has a norm of its own."),
        (like(parallel=True), "The network reads x as it was before attention's answer was added. "
         "The second half begins with the first one's sum."),
        (like(first=False), "The first sum is missing: attention's answer is added to x."),
        (like(second=False), "The second sum is missing: the network's answer is added to x."),
    ])  # fmt: skip


def _run(
    x: Tensor, t: dict[str, Tensor], seen: Tensor | None, bend: Callable[[Tensor], Tensor] | None
    = None, order: tuple[int, int, int] = (0, 1, 2), heads: int = 2, masked: bool = True,
    skip: tuple[str, ...] = (), no_bias: bool = False, norms: tuple[str, str] = ("ln_1", "ln_2"),
    first: bool = True, second: bool = True, parallel: bool = False,
) -> Tensor:  # fmt: skip
    """A block written out, with a place for each mistake."""

    def part(name: str, h: Tensor, ending: str = ".") -> Tensor:
        weight, bias = t[f"{name}{ending}weight"], t[f"{name}{ending}bias"]
        if name in skip:
            return h
        if name.startswith("ln"):
            return F.layer_norm(h, (128,), weight, bias)
        return F.linear(h, weight, None if no_bias else bias)

    thirds = part("attn.in_proj", part(norms[0], x), "_").split(128, dim=2)
    q, k, v = (thirds[place].reshape(2, 5, heads, -1).permute(0, 2, 1, 3) for place in order)
    mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=seen if masked else None)
    asked = part("attn.out_proj", mixed.permute(0, 2, 1, 3).reshape(2, 5, 128))
    before, x = x, x + asked if first else asked
    hidden = part("mlp.c_fc", part(norms[1], before if parallel else x))
    bent = bend(hidden) if bend else hidden * (1.702 * hidden).sigmoid()
    said = part("mlp.c_proj", bent)
    return x + said if second else said


# -- pixels, to the letter ------------------------------------------------------------------------

IMAGENET = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


@exercise(
    "clip_pixels",
    hints=(
        "Do the steps in the order of the list, and look at the picture after each: how wide, how "
        "high, which values?",
        "Pillow gives and takes (width, height). The short side becomes `size`, the long one "
        "shrinks in proportion and is rounded down. The crop's left and top are half of what is "
        "too much, rounded by Python's round.",
        "resize with Image.Resampling.BICUBIC, crop, np.array, from_numpy, permute the colours to "
        "the front, divide by 255; then minus MEAN, by STD, each with two more axes.",
    ),
)
def _pixels(answer: Answer) -> str:
    picture = _noise(57, 33)  # to 27 x 16: rounding down and half a pixel both matter
    result = answer.tensor(picture, 16, shape=(3, 16, 16), means="colours, height, width")
    compare(result, Preprocess(16)(picture).double(), _pixel_mistakes(picture))
    tall = _noise(20, 44)
    result = answer.tensor(tall, 16, shape=(3, 16, 16), means="colours, height, width")
    compare(result, Preprocess(16)(tall).double(), [
        (Preprocess(16, resize="squash")(tall).double(), "A tall picture is squashed."),
    ])  # fmt: skip
    return "Bit for bit what CLIP's own code does: filter, crop, rounding, means and deviations."


def _noise(width: int, height: int) -> Image.Image:
    random = np.random.default_rng(width)
    return Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))


def _pixel_mistakes(picture: Image.Image) -> Mistakes:
    return _mistakes_of_size(picture) + _mistakes_of_values(picture)


def _mistakes_of_size(picture: Image.Image) -> Mistakes:
    """What goes wrong from the picture to its square of 16 pixels; `picture` is 57 x 33."""
    ours = Preprocess(16)

    def after(image: Image.Image) -> Tensor:
        return ours(image).double()

    def from_left(scaled: tuple[int, int], left: int, how: int = 3) -> Tensor:
        return after(picture.resize(scaled, how).crop((left, 0, left + 16, 16)))

    unit = torch.from_numpy(np.array(picture)).permute(2, 0, 1)[None].float() / 255
    rough = F.interpolate(unit, (16, 27), mode="bicubic")[:, :, :, 6:22]
    return [
        (from_left((27, 16), 6, 2), "This is the bilinear filter. CLIP's is bicubic."),
        (from_left((27, 16), 6, 0), "This is the nearest pixel. CLIP's filter is bicubic."),
        (from_left((27, 16), 6, 1), "This is the Lanczos filter. CLIP's is bicubic."),
        (ours.normalize(rough)[0].double(), "This interpolates a tensor without antialiasing: it "
         "skips pixels. Pillow's resize weighs all of them."),
        (Preprocess(16, resize="squash")(picture).double(), "The picture is squashed to a square. "
         "The short side becomes `size`; what is too much of the long one is cut off."),
        (from_left((27, 16), 5), "The crop starts half a pixel too far to the left: margins of "
         "5.5 go to 6 (Python's round), not down."),
        (from_left((28, 16), 6), "The long side is 28 pixels; it is rounded *down*, to 27."),
        (after(picture.resize((16, 27), 3).crop((0, 6, 16, 22))), "Width and height are exchanged: "
         "Pillow's sizes are (width, height)."),
        (from_left((27, 16), 0), "The crop is taken from the corner, not from the centre."),
        (after(picture.crop((12, 0, 45, 33))), "You cut first and resized then. Nearly the same, "
         "but not the letter: resize first."),
        (after(picture.crop((20, 8, 36, 24))), "You cut a piece out of the full picture; first it "
         "is made smaller."),
    ]  # fmt: skip


def _mistakes_of_values(picture: Image.Image) -> Mistakes:
    """What goes wrong with the numbers of the square, once it is right."""
    ours = Preprocess(16)
    m, s = (torch.tensor(v).double()[:, None, None] for v in (ours.mean, ours.std))
    right = ours(picture).double()
    raw = right * s + m
    net = [torch.tensor(v).double()[:, None, None] for v in IMAGENET]
    spread, centre = raw.std((1, 2), keepdim=True), raw.mean((1, 2), keepdim=True)
    twice = "The values were divided by 255 twice: the model would see a black picture."
    return [
        ((raw.flip(0) - m) / s, "The colours come as blue, green, red. Pillow and CLIP have red "
         "first."),
        ((255 * raw - m) / s, "The values still run to 255: divide by 255 before the means."),
        ((raw / 255 - m) / s, twice),
        (raw, "Means and deviations are missing."),
        (raw - m, "The deviations are missing: divide by STD."),
        (raw / s, "The means are missing: subtract MEAN first."),
        (raw / s - m, "First minus the means, then by the deviations."),
        ((raw - s) / m, "Means and deviations are exchanged."),
        ((raw - net[0]) / net[1], "These are ImageNet's means and deviations, not CLIP's."),
        ((raw - centre) / spread, "These are the picture's own means and deviations. CLIP's are "
         "the same six numbers for every picture."),
        (2 * raw - 1, "Means and deviations of 0.5 are SigLIP's. CLIP has its own."),
        (right.permute(0, 2, 1), "Height and width are exchanged: NumPy has rows first, colours "
         "last. Only the colours move."),
    ]  # fmt: skip
