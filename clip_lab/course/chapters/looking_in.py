"""Chapter 16: heat maps, languages, guidance. What its build exercises look for.

Right values are written out in float64; beside each stands what the likely mistakes would give on
the same input.
"""

import torch
from torch import Tensor

from clip_lab.course.checks import Answer, Wrong, compare, exercise
from clip_lab.course.trial import doubled, drawn, numbers
from clip_lab.course.words import ANSWERS

ANSWERS["the heat map as proof"] = """
    The map is an estimate made by one method, and drawn from its own lowest to its own highest
    value: something is always red. I would first look at the numbers: by how much does the cosine
    fall when the tumour is covered, and by how much for words that certainly don't fit? Then the
    sanity check, the same map from a model with random weights; it should look different. And one
    picture is an anecdote: on scans with outlines drawn by doctors, how often does the highest
    point lie inside, how often on something else, and how often by chance?
"""


# -- the raw map ----------------------------------------------------------------------------------


@exercise(
    "place_cosines",
    hints=(
        "A place has a vector in the space of the texts. How is a picture's vector compared with a "
        "text's? Do just that, once for each place.",
        "Both kinds of rows to length 1, then one matrix product: texts down, places across. The "
        "places come row by row from the top left, and the picture is square.",
        "The side is the root of the number of places. Tensor.unflatten, or a view, turns the last "
        "axis into (rows, columns) in that order.",
    ),
)
def _place_cosines(answer: Answer) -> str:
    places, texts = drawn(9, 4, seed=1) * 3, drawn(2, 4, seed=2)
    result = answer.tensor(places, texts, shape=(2, 3, 3), means="texts, rows, columns")
    p, t = places.double(), texts.double()
    unit_p, unit_t = p / p.norm(dim=1, keepdim=True), t / t.norm(dim=1, keepdim=True)
    right = (unit_t @ unit_p.T).reshape(2, 3, 3)
    mistakes = [
        (right.mT, "Rows and columns are exchanged: place 1 lies to the right of place 0, not "
         "below it."),
        ((t @ p.T).reshape(2, 3, 3), "These are dot products. Both kinds of vectors have to get "
         "length 1 first."),
        ((unit_t @ p.T).reshape(2, 3, 3), "The texts have length 1, the places do not: a long "
         "vector would shine whatever it says."),
        ((t @ unit_p.T).reshape(2, 3, 3), "The places have length 1, the texts do not."),
        ((unit_p @ unit_t.T).reshape(2, 3, 3), "The product has places down and texts across, so "
         "the numbers were dealt out to the wrong maps. Texts come first."),
        ((t @ p.T / (t.norm() * p.norm())).reshape(2, 3, 3), "All vectors were divided by one "
         "length, that of the whole table. Each row has its own."),
        ((t / t.norm(dim=0) @ (p / p.norm(dim=0)).T).reshape(2, 3, 3), "Columns got length 1. A "
         "vector is a row: the last axis."),
        ((unit_t @ unit_p.T).softmax(1).reshape(2, 3, 3), "A softmax over the places came on top. "
         "The bare cosines were asked for."),
    ]  # fmt: skip
    compare(result, right, mistakes)
    return "One cosine a place: the raw map."


# -- the pointing game ----------------------------------------------------------------------------


@exercise(
    "points_at",
    hints=(
        "For one map: where is its highest point? And what does the mask say there?",
        "Rows and columns flattened into one axis make argmax give one number a map. The masks, "
        "flattened alike, can be asked at that number.",
        "After flatten(1) both are (n, pixels). argmax along the last axis gives (n,); gather, or "
        "an index with torch.arange(n) beside it, picks one yes or no a map.",
    ),
)
def _points_at(answer: Answer) -> str:
    maps, masks = drawn(12, 6, 6, seed=3), drawn(12, 6, 6, seed=21) > 0.6
    masks[0] = maps[0] == maps[0].max()
    maps[1] -= 5
    masks[1] |= maps[1] == maps[1].max()
    result = numbers(answer(maps, masks), (12,), "a yes or no for each map")
    flat, told = maps.flatten(1), masks.flatten(1)
    right = told.gather(1, flat.argmax(1)[:, None])[:, 0]
    half = (flat.amin(1) + flat.amax(1)) / 2
    mistakes = [
        (told.gather(1, flat.argmin(1)[:, None])[:, 0], "You asked at the *lowest* point."),
        (told[:, int(flat.argmax()) % 36], "One highest point for the whole batch: argmax needs "
         "an axis, each map has a point of its own."),
        (((maps == maps.max()) & masks).flatten(1).any(1), "One highest value for the whole batch. "
         "Each map has its own."),
        (told.flatten()[flat.argmax(1)], "All maps were asked of the first mask: each number "
         "counts from its own map's start, so the batch axis has to stay."),
        ((flat * told).argmax(1) == flat.argmax(1), "Maps were multiplied by masks: where a map is "
         "negative, the zeros outside are its highest. Ask the mask; leave the map as it is."),
        (masks.mT.flatten(1).gather(1, flat.argmax(1)[:, None])[:, 0], "Rows and columns of the "
         "masks are exchanged."),
        (((flat > half[:, None]) & told).any(1), "Any bright pixel inside counts here. Only the "
         "single highest one plays the game."),
        (~right, "Yes and no are exchanged."),
        (right.double().mean().expand(12), "This is the share over all maps. Say yes or no for "
         "each; the caller takes the mean."),
        (flat.argmax(1), "These are the places. What does each mask say there?"),
    ]  # fmt: skip
    compare(result, right.double(), doubled(mistakes))
    return "One point a map, and whether it lies on the thing."


# -- occlusion ------------------------------------------------------------------------------------


class Score:
    """What a text's cosine is to a picture, in small: a fixed sum of a picture's pixels, bent."""

    def __init__(self, seed: int) -> None:
        self.weights = drawn(3, 6, 6, seed=seed).double()

    def __call__(self, pictures: Tensor) -> Tensor:
        if pictures.ndim != 4:
            raise Wrong(
                f"`score` takes a batch, (pictures, 3, size, size); it got {tuple(pictures.shape)}."
                " A single picture becomes a batch of one by picture[None]."
            )
        sums = (pictures.double() * self.weights).sum((1, 2, 3))
        return torch.tanh(sums / 8).to(pictures.dtype)


@exercise(
    "occlusion_map",
    hints=(
        "Cover a part: if the text's score falls, that part had to do with the text. What is the "
        "fall, for each cover?",
        "torch.where(masks[:, None], colour, picture) gives all covered pictures at once, colour "
        "being the picture's mean, one number a channel. Then score(picture) − score(covered).",
        "Each pixel gets the mean fall over the covers that hide it: the falls, as (k, 1, 1), "
        "times the masks, summed over the covers, divided by how many covers hide the pixel.",
    ),
)
def _occlusion_map(answer: Answer) -> str:
    picture = torch.rand(3, 6, 6, generator=torch.Generator().manual_seed(5))
    masks = torch.zeros(7, 6, 6, dtype=torch.bool)
    for k, (top, left) in enumerate([(0, 0), (0, 3), (3, 0), (3, 3), (2, 2), (1, 0), (4, 1)]):
        masks[k, top : top + 3, left : left + 3] = True
    score = Score(6)
    result = answer.tensor(picture, masks, score, shape=(6, 6), means="a number for each pixel")

    def falls(colour: Tensor | float, hidden: Tensor = masks) -> Tensor:
        whole = score(picture[None]).double()
        return whole - score(torch.where(hidden[:, None], colour, picture)).double()

    counts, mean = masks.double().sum(0), picture.mean((1, 2), keepdim=True)

    def spread(values: Tensor) -> Tensor:
        return torch.einsum("k,khw->hw", values, masks.double())

    lost = falls(mean)
    whole = score(picture[None]).double()
    mistakes = [
        (-spread(lost) / counts, "The sign is turned round: where the score *falls*, the map is "
         "high."),
        (spread(lost), "A pixel that lies under three covers counts three times. Take the mean "
         "over the covers that hide it."),
        (spread(lost) / len(masks), "Divided by the number of all covers. Each pixel's sum is of "
         "those covers only that hide it."),
        (spread(falls(0.0)) / counts, "The covers are black. Black is a colour too, and may look "
         "like something: take the picture's mean, channel by channel."),
        (spread(falls(picture.mean())) / counts, "The covers are grey: one mean for all channels. "
         "Take a mean for each."),
        (spread(falls(mean) - whole) / counts, "This is what is left when a part is covered. What "
         "is lost? Take it from the whole picture's score."),
        (spread(falls(mean, ~masks)) / counts, "Here the cover is all that can be *seen*; the rest "
         "was hidden. Where the mask says yes, the colour belongs."),
        (spread(lost.abs()) / counts, "Rises count like falls here. Where a cover *helps* the "
         "text, the map is negative."),
    ]  # fmt: skip
    compare(result, spread(lost) / counts, mistakes)
    return "It asks nothing of the model's inside: any model can be explained like this."


# -- uphill ---------------------------------------------------------------------------------------


def _hill(numbers: Tensor) -> Tensor:
    """A score for each drawing, from its own numbers alone."""
    return torch.sin(numbers).sum(1) - 0.3 * (numbers[:, 0] * numbers[:, 1]).square()


@exercise(
    "step_uphill",
    hints=(
        "In training the weights go downhill on a loss. Here the weights stay, and the drawing's "
        "numbers go uphill on the score.",
        "A detached copy of the numbers that requires a gradient; score it; torch.autograd.grad of "
        "the *sum* of the scores gives each drawing its own slope, as drawings don't mix.",
        "New numbers: the old ones plus rate times slope. Detach them, or the graph grows with "
        "every step.",
    ),
)
def _step_uphill(answer: Answer) -> str:
    at, rate = drawn(4, 3, seed=7), 0.2
    free = at.clone().requires_grad_()
    (slope,) = torch.autograd.grad(_hill(free).sum(), free)
    result = answer.tensor(at, _hill, rate, shape=(4, 3), means="the drawings, moved")
    a, s = at.double(), slope.double()
    mistakes = [
        (a, "Nothing moved."),
        (a - rate * s, "That is a step *down*. The score is to grow."),
        (a + rate * s / 4, "The slope is that of the mean, so it is four times too small for four "
         "drawings. Each climbs its own hill: take the sum."),
        (a + s, "The rate takes no part."),
        (a + rate * s.sign(), "Only the slope's sign was used. (Attacks do that; here the step is "
         "to be as long as the slope says.)"),
        (a + rate * s / s.norm(dim=1, keepdim=True), "The slope was scaled to length 1."),
        (rate * s, "This is the step. Add it to where the drawings were."),
        (s, "This is the slope. Take a step along it."),
    ]  # fmt: skip
    compare(result.detach(), a + rate * s, mistakes)
    if result.requires_grad:
        raise Wrong(
            "The value is right, but the numbers still carry their graph: a hundred steps would "
            "keep a hundred graphs. Detach what you return."
        )
    return "The model stays as it is; the drawing learns."
