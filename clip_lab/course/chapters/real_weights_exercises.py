"""Chapter 17: two implementations held against each other, and the exercises at its end: other
people's names, who is to blame, new weights.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from clip_lab.course.checks import Answer, Wrong, agrees, compare, exercise
from clip_lab.course.trial import drawn
from clip_lab.preprocess import Preprocess

# -- two implementations --------------------------------------------------------------------------


@exercise(
    "held_against",
    hints=(
        "Two questions, asked of the worst case: by how much does any single number differ? And "
        "does any vector point elsewhere?",
        "The largest absolute difference over all entries; and of the cosines, one for each row "
        "with its partner, the smallest. In float32, whatever comes in.",
        "Subtract, abs, max. F.cosine_similarity with dim=-1 gives one cosine a row; min. Both as "
        "Python numbers (.item()), the difference first.",
    ),
)
def _held(answer: Answer) -> str:
    random = torch.Generator().manual_seed(8)
    theirs = torch.randn(6, 9, generator=random)
    ours = theirs + 0.05 * torch.randn(6, 9, generator=random)
    ours[2] = theirs[2] * 1.5  # same direction, another length
    ours[4, 3] -= 1.2
    for kind in (torch.float32, torch.float16):
        a, b = ours.to(kind), theirs.to(kind)
        given = answer(a, b)
        pair = _pair(given)
        x, y = a.double(), b.double()
        gap, cosines = x - y, F.cosine_similarity(x, y, dim=1)
        _first_number(pair, gap, y)
        _second_number(pair, x, y, cosines)
        if kind is torch.float16 and pair[1] == pair[1].half():
            raise Wrong(
                "Near 1, float16 knows steps of 0.0005 only, and your cosine is one of them: a "
                "smaller difference would go unseen. Make both float32 first."
            )
    return "The largest difference of all numbers, and the worst cosine of all rows."


def _pair(given: Any) -> Tensor:
    try:
        pair = torch.stack([torch.as_tensor(float(v)) for v in given]).double()
    except (TypeError, ValueError, RuntimeError):
        raise Wrong("Two numbers were asked for: the largest difference and a cosine.") from None
    if pair.shape != (2,):
        raise Wrong(f"Two numbers were asked for; these are {len(pair)}.")
    return pair


def _first_number(pair: Tensor, gap: Tensor, theirs: Tensor) -> None:
    if abs(pair[1] - gap.abs().amax()) < 1e-4:
        raise Wrong("The two numbers are exchanged: the difference comes first.")
    near = 3e-4  # of float16, should it have been computed in that
    mistakes = [
        (gap.abs().mean(), "This is the mean difference. One number far off hides in it; take the "
         "largest."),
        (gap.amax(), "Differences downwards count as well: take absolute values first."),
        (gap.amin(), "Differences downwards count as well: take absolute values first."),
        (gap.norm(), "This is the length of all differences together. Take the largest single "
         "one."),
        (gap.square().mean(), "This is the mean square. Take the largest absolute difference."),
        (gap.norm(dim=1).amax(), "This is the largest distance of two rows. Take the largest "
         "difference of two numbers."),
        (gap.abs().amax() / theirs.abs().amax(), "This is relative to the largest number. The "
         "difference itself was asked for."),
    ]  # fmt: skip
    for value, text in mistakes:
        if abs(pair[0] - value) < near:
            raise Wrong(text)
    if abs(pair[0] - gap.abs().amax()) > 1e-3:
        compare(pair[:1], gap.abs().amax()[None], [])


def _second_number(pair: Tensor, x: Tensor, y: Tensor, cosines: Tensor) -> None:
    mistakes = [
        (cosines.mean(), "This is the mean cosine. One vector that points elsewhere hides in it; "
         "take the smallest."),
        (cosines.amax(), "This is the best row. Take the worst."),
        (F.cosine_similarity(x, y, dim=0).amin(), "These are cosines of columns. A vector is a "
         "row: dim=-1."),
        (F.cosine_similarity(x.flatten(), y.flatten(), dim=0), "All rows were taken for one long "
         "vector. Each row has a cosine of its own."),
        ((x * y).sum(1).amin(), "These are dot products. Divide by both lengths."),
        (1 - cosines.amin(), "This is one minus the cosine."),
        ((F.normalize(x) @ F.normalize(y).T).amin(), "Each row was compared with every other. Row "
         "i belongs to row i."),
    ]  # fmt: skip
    for value, text in mistakes:
        if abs(pair[1] - value) < 3e-4:
            raise Wrong(text)
    if abs(pair[1] - cosines.amin()) > 2e-4:
        compare(pair[1:], cosines.amin()[None], [])


# -- the exercises ---------------------------------------------------------------------------------


@exercise(
    "split_in_proj",
    hints=(
        "One tall matrix holds three of the same height. Which of its two axes is three times as "
        "long as the width?",
        "F.linear's weight has a row for each number that comes out, so the thirds lie below each "
        "other: cut along axis 0. The bias is cut the same way.",
        "chunk(3) of weight and of bias; put them into a dictionary under q_proj, k_proj and "
        "v_proj, each with .weight and .bias.",
    ),
)
def _split(answer: Answer) -> str:
    weight, bias = drawn(12, 4, seed=1), drawn(12, seed=2)
    found = answer(weight, bias)
    names = [f"{part}_proj.{kind}" for part in "qkv" for kind in ("weight", "bias")]
    if not isinstance(found, Mapping) or set(found) != set(names):
        given = ", ".join(map(str, found)) if isinstance(found, Mapping) else type(found).__name__
        raise Wrong(f"A dictionary with {', '.join(names)} was asked for; this has: {given}.")
    wanted = {"weight": weight.reshape(3, 4, 4), "bias": bias.reshape(3, 4)}
    for name in names:
        part, kind = "qkv".index(name[0]), name.split(".")[1]
        value, all_three = found[name], wanted[kind]
        if not isinstance(value, Tensor) or value.shape != all_three[part].shape:
            shape = tuple(getattr(value, "shape", ()))
            raise Wrong(f"{name} has shape {shape}; {tuple(all_three[part].shape)} is right.")
        if agrees(value.double(), all_three[part].double()):
            continue
        if kind == "weight" and agrees(value.double(), all_three[part].double().T):
            raise Wrong(f"{name} is transposed. Hugging Face's are Linear layers too: leave it.")
        strided = (weight if kind == "weight" else bias)[part::3]
        if agrees(value.double(), strided.double()):
            raise Wrong(f"{name} takes every third row. The thirds lie one below the other.")
        if any(agrees(value.double(), other.double()) for other in all_three):
            raise Wrong(f"{name} holds another third: the order is queries, keys, values.")
        raise Wrong(f"{name} holds numbers from several thirds, or changed ones.")
    return "The same weights under Hugging Face's names: six tensors for two."


@exercise(
    "first_difference",
    hints=(
        "If stage three differs, everything after it does as well. Which stage do you want to know "
        "of?",
        "Go through the stages in order. A stage differs if its largest absolute difference is "
        "more than the tolerance times the largest absolute number of theirs.",
        "A loop over theirs.items(); inside it, two maxima and one comparison that returns the "
        "name. After the loop: “none”.",
    ),
)
def _first(answer: Answer) -> str:
    theirs = {name: drawn(2, 600, seed=k) * size for k, (name, size) in enumerate(
        (("pixels", 1.0), ("patches", 400.0), ("block 1", 20.0), ("block 2", 1.0), ("vector", 1.0))
    )}  # fmt: skip
    ours = {name: t.clone() for name, t in theirs.items()}
    ours["patches"] += 0.01  # rounding, of numbers in the hundreds
    ours["block 1"][0, 2] -= 1.0
    ours["block 2"] += 0.5
    ours["vector"] += 3.0
    said = answer(ours, theirs, 1e-3)
    if said != "block 1":
        raise Wrong({
            "patches": "“patches” was blamed for a difference of 0.01 in numbers of hundreds: that "
                       "is rounding. Measure relative to theirs, and to the *largest* of theirs: "
                       "beside a number that happens to be near 0 any rounding looks large.",
            "vector": "“vector” differs most, or last. It inherits: the *first* stage is to blame.",
            "block 2": "“block 2” is the first that differs upwards everywhere, or on average. One "
                       "entry of “block 1” is lower by a whole unit: the largest absolute "
                       "difference sees it.",
            "pixels": "“pixels” are equal. Is the comparison the right way round?",
            "none": "You found none, and “block 1” is off by one unit in one number.",
        }.get(str(said), f"This is {said!r}; a stage's name was asked for."))  # fmt: skip
    same = answer({k: t + 1e-7 for k, t in theirs.items()}, theirs, 1e-3)
    if same != "none":
        raise Wrong(f"Where all agree, the answer is “none”; yours is {same!r}.")
    flipped = {k: -t for k, t in theirs.items()}
    low = {k: -t.abs() for k, t in theirs.items()}
    if answer(flipped, theirs, 1e-3) != "pixels" or answer(low, low, 1e-3) != "none":
        raise Wrong("With negative numbers it goes wrong: take absolute values of both.")
    return "The first stage that differs by more than rounding. What comes after it inherits."


@exercise(
    "fold_means",
    hints=(
        "Write down one patch's token: the sum of weight times (pixel − mean) / deviation. Which "
        "parts of it don't depend on the pixel?",
        "Weight / deviation, for each colour, is the new weight. What is left is a number for each "
        "of the width: minus the sum, over colours and places, of the new weight times the mean.",
        "MEAN and STD need shape (3, 1, 1) to meet a weight of (width, 3, patch, patch). The bias "
        "is a sum over all axes but the first, with a minus before it.",
    ),
)
def _fold(answer: Answer) -> str:
    weight, pixels = drawn(5, 3, 4, 4, seed=3), torch.rand(2, 3, 8, 8)
    mean, std = torch.tensor(Preprocess.mean), torch.tensor(Preprocess.std)
    given = answer(weight, mean, std)
    if not isinstance(given, tuple | list) or len(given) != 2:
        raise Wrong("Two tensors were asked for: the new weight, and a bias.")
    new, bias = given
    m, s, old = mean.double()[:, None, None], std.double()[:, None, None], weight.double()
    if not isinstance(new, Tensor) or tuple(new.shape) != (5, 3, 4, 4):
        raise Wrong("The new weight has the old one's shape, (width, 3, patch, patch).")
    compare(new.double(), old / s, [
        (old * s, "The weight was multiplied by the deviation: a picture divided by it needs the "
         "weight divided by it."),
        (old, "The weight stayed as it was: the deviations have to go into it."),
        ((old - m) / s, "The weight isn't normalised like a picture. Only the division can move "
         "into it; the means become a bias."),
    ])  # fmt: skip
    if not isinstance(bias, Tensor) or tuple(bias.shape) != (5,):
        raise Wrong("The bias has one number for each of the width.")
    right = -(old / s * m).sum(dim=(1, 2, 3))
    compare(bias.double(), right, [
        (-right, "The bias has the wrong sign: the means are subtracted."),
        (-(old * m).sum(dim=(1, 2, 3)), "The bias was made from the old weight: the mean is "
         "divided by the deviation as well."),
        (right / 16, "The bias takes the mean over a patch's places. It is a sum: each place "
         "brings its own mean along."),
        (right / 48, "The bias is a mean. It has to be a sum over colours and places."),
    ])  # fmt: skip
    folded = F.conv2d(pixels, new.float(), bias.float(), stride=4)
    plain = F.conv2d(Preprocess(8).normalize(pixels), weight, stride=4)
    if not torch.allclose(folded, plain, atol=1e-4):
        raise Wrong("Weight and bias look right, but the tokens differ. Which dtype are they?")
    return "Means and deviations now live in the weights: nobody can forget them."
