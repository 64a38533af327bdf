"""Chapter 1: why language. What its build exercises look for.

Right values are written out in float64; beside each stands what the likely mistakes would give on
the same input.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from clip_lab.course.checks import Answer, Wrong, compare, exercise
from clip_lab.course.trial import Mistakes, ends, numbers, units
from clip_lab.course.words import ANSWERS
from clip_lab.evaluation.accuracy import wilson

MORE_WITH_DRAWS = 1.5  # an interval so many times wider with 4,000 draws than with 50: its extremes

ANSWERS["two hundred products"] = """
    A class here is a vector, and a vector can be made of words, so next Monday's 200 products need
    200 names and no training: that is the gain. It holds only as far as the model has learnt such
    pictures and such words before. A brand name that stood in no caption means nothing to it, and
    then one labelled picture of the product is worth more than its name. So I would label a few
    hundred of the shop's own pictures, measure, and give the share with n and its interval.
"""


def scaled(rows: Tensor) -> Tensor:
    """Rows made length 1, in float64."""
    rows = rows.double()
    return rows / torch.einsum("nd,nd->n", rows, rows).sqrt()[:, None]


# -- the class as a vector ----------------------------------------------------------------------


@exercise(
    "class_means",
    hints=(
        "What do all pictures of one class have in common? Average their vectors.",
        "For class 0, the rows to average are those whose target is 0. A comparison of the targets "
        "with a number picks rows; then the next class, in the order of the numbers.",
        "One mean for each number from 0 up to the count of classes, stacked into a matrix. A mean "
        "of unit vectors is shorter than 1: scale each row at the end.",
    ),
)
def _class_means(answer: Answer) -> str:
    vectors, targets = units(7, 4, seed=1), torch.tensor([2, 0, 1, 2, 2, 0, 1])
    result = answer.tensor(vectors, targets, 3, shape=(3, 4), means="one row a class")
    rows = vectors.double()
    means = torch.stack([rows[targets == k].mean(0) for k in range(3)])
    compare(result, scaled(means), _means_mistakes(rows, targets, means))
    return "One vector of length 1 for each class, in the order of the numbers."


def _means_mistakes(rows: Tensor, targets: Tensor, means: Tensor) -> Mistakes:
    seen = list(dict.fromkeys(targets.tolist()))  # classes as they first occur
    counts = torch.bincount(targets)[:, None]
    first = torch.stack([rows[targets == k][0] for k in range(3)])
    last = torch.stack([rows[targets == k][-1] for k in range(3)])
    overall = scaled(rows.mean(0, keepdim=True)).expand(3, -1)
    return [
        (means, "These are the means, and shorter than 1: a class whose pictures differ much would "
         "look far from everything. Scale each row to length 1."),
        (means * counts, "These are sums: a class with more pictures has a longer vector. Scale "
         "each row to length 1."),
        (scaled(means.T).T, "Your columns have length 1. A class is a row."),
        (means / means.norm(), "All rows were divided by one number, the length of the whole "
         "matrix. Each class needs its own."),
        (first, "Each class is its first picture only. Average all that it has."),
        (last, "Each class is its last picture only: later ones overwrote the earlier."),
        (overall, "Every class got the same vector, the mean of all pictures: the targets take no "
         "part."),
        (scaled(means[seen]), "The classes stand in the order in which they first occur. Row k "
         "should be class k: whoever reads the answer counts from 0."),
    ]  # fmt: skip


@exercise(
    "nearest_class",
    hints=(
        "Between vectors of length 1, the dot product is the cosine: 1 for the same direction. "
        "Each picture needs its cosine with each class.",
        "All dot products of the rows of A with the rows of B are one matrix product, with the "
        "second factor on its side. The answer is not the largest value, but where it stands.",
        "A matrix with a row a picture and a column a class; in each row, the position of the "
        "largest entry, by argmax along the last axis.",
    ),
)
def _nearest(answer: Answer) -> str:
    vectors, classes = units(6, 3, seed=8), units(4, 3, seed=9)
    cosines = vectors.double() @ classes.double().T
    result = answer(vectors, classes)
    if isinstance(result, tuple):
        raise Wrong("A pair came back, values and positions (`max` gives both): return positions.")
    result = numbers(result, (6,), "one class number for each picture")
    mistakes = [
        (cosines.amax(1), "These are the largest cosines. Which class they belong to was asked: "
         "its position, not its value."),
        (cosines.argmin(1), "This is the farthest class: the smallest cosine, or the largest "
         "distance. A cosine is 1 for the same direction."),
        (cosines.abs().argmax(1), "A cosine of −0.9 points away; its sign counts."),
        (cosines.softmax(1).amax(1), "These are shares. The class's number was asked."),
    ]  # fmt: skip
    compare(result, cosines.argmax(1).double(), [(m.double(), text) for m, text in mistakes])
    one = answer(vectors[:1], classes)
    numbers(one, (1,), "a batch of one stays a batch")
    return "Each picture gets the number of the class whose vector points most its way."


# -- the class as a word ----------------------------------------------------------------------


class Pretend:
    """An encoder that knows some pictures (by number) and some names, and nothing else."""

    def __init__(self, pictures: dict[float, Tensor], names: dict[str, Tensor]) -> None:
        self.pictures, self.names = pictures, names

    def encode_images(self, images: Any, *_: Any, **__: Any) -> Tensor:
        try:
            return torch.stack([self.pictures[float(image.mean())] for image in images])
        except (AttributeError, KeyError, TypeError):
            raise Wrong("encode_images takes the pictures, as they came; it got others.") from None

    def encode_texts(self, texts: Any, *_: Any, **__: Any) -> Tensor:
        if isinstance(texts, str):
            raise Wrong("encode_texts takes a list of strings; it got one string.")
        strange = [text for text in texts if text not in self.names]
        if strange:
            raise Wrong(
                f"encode_texts got {strange[0]!r}, which is none of the names as they were given."
            )
        return torch.stack([self.names[text] for text in texts])


def _world() -> tuple[Pretend, Tensor, list[str]]:
    """Five pictures, four names out of alphabetical order; the second name fits no picture best."""
    names = ["violin", "apple", "zebra", "moon"]
    texts = units(4, 6, seed=3)
    shown = [2, 0, 3, 2, 0]
    noise = 0.35 * units(5, 6, seed=4)
    pictures = torch.nn.functional.normalize(texts[shown] + noise, dim=1)
    images = torch.arange(5.0)[:, None, None, None].expand(5, 3, 2, 2).clone()
    known = dict(zip(map(float, range(5)), pictures, strict=True))
    return Pretend(known, dict(zip(names, texts, strict=True))), images, names


@exercise(
    "name_pictures",
    hints=(
        "You have just written the rule that picks the nearest class. What is a class's vector "
        "now?",
        "encoder.encode_images gives the pictures' vectors, encoder.encode_texts those of a list "
        "of strings, all of length 1. nearest_class does not care where class vectors come from.",
        "Three lines: the vectors of both sides, nearest_class on them, and for each number that "
        "comes out the name at this place of the list you were given.",
    ),
)
def _name_pictures(answer: Answer) -> str:
    encoder, images, names = _world()
    said = answer(encoder, images, names)
    right = ["zebra", "violin", "moon", "zebra", "violin"]
    if isinstance(said, Tensor) or not isinstance(said, Sequence) or isinstance(said, str):
        kind = "numbers" if isinstance(said, Tensor) else f"a {type(said).__name__}"
        raise Wrong(f"A list of names was asked for, one a picture; this is {kind}.")
    if list(said) == right:
        return "Whoever can write a name has made a class."
    _name_mistakes(list(said), right, names)
    raise Wrong(f"For five pictures you say {list(said)}; {right} is right.")


def _name_mistakes(said: list[Any], right: list[str], names: list[str]) -> None:
    if any(not isinstance(name, str) for name in said):
        raise Wrong("These are positions in the list. Say the names that stand there.")
    if len(said) != len(right):
        raise Wrong(
            f"There are 5 pictures and {len(said)} answers: each picture picks among the names, "
            "not each name among the pictures."
        )
    for order in (sorted(names), names[::-1], sorted(names, reverse=True)):
        if said == [order[names.index(name)] for name in right]:
            raise Wrong(
                "The vectors were made from the list in one order, the names read off in another. "
                "(You will meet this mistake again in this chapter.)"
            )
    if said == [names[(names.index(name) + 1) % 4] for name in right]:
        raise Wrong("Every answer is one place off in the list: count from 0.")
    if len(set(said)) == 1:
        raise Wrong(f"Every picture is called {said[0]!r}: do the pictures take part?")


# -- how sure ----------------------------------------------------------------------


@exercise(
    "bootstrap_interval",
    hints=(
        "Had you drawn other pictures, you would have got another share. Pretend that your n "
        "pictures are all there are, and draw n of them again and again, with replacement.",
        "torch.randint gives the positions for all draws at once, as a (draws, n) matrix; the "
        "answers at these positions, averaged along each row, are the shares you might have got.",
        "The middle 95 % of these shares reach from their 2.5 % quantile to their 97.5 % quantile "
        "(torch.quantile). Return both ends as a pair, the lower first.",
    ),
)
def _bootstrap(answer: Answer) -> str:
    right = torch.arange(200) % 10 < 7  # 140 of 200
    torch.manual_seed(0)
    low, high = share_ends(answer, right, 4000)
    lowest, highest = wilson(0.7, 200)
    if abs((low + high) / 2 - 0.3) < 0.02:
        raise Wrong("The interval lies around the share of wrong answers, not of right ones.")
    diagnose_width(high - low, highest - lowest, width_of_few(answer, right))
    if abs((low + high) / 2 - 0.7) > 0.02:
        raise Wrong(
            f"140 of 200 are right, a share of 0.7; your interval, {low:.3f} to {high:.3f}, is not "
            "around it."
        )
    return f"140 of 200: {low:.1%} to {high:.1%}."


def share_ends(answer: Answer, *inputs: Any) -> tuple[float, float]:
    """The two ends that an answer gives, as shares; Wrong for anything else."""
    low, high = ends(answer, 2, *inputs)
    if max(abs(low), abs(high)) > 1:
        raise Wrong("Shares between 0 and 1 were asked for: these are counts, or per cent.")
    return low, high


def width_of_few(answer: Answer, *inputs: Any) -> float:
    """How wide an answer's interval is with 50 draws: the mean of six tries."""
    tries = [share_ends(answer, *inputs, 50) for _ in range(6)]
    return sum(high - low for low, high in tries) / len(tries)


def diagnose_width(width: float, wanted: float, of_few: float) -> None:
    """Wrong for an interval that is too narrow or too wide; `of_few`: the same from 50 draws."""
    ratio = width / wanted
    if 0.91 < ratio < 1.09:
        return
    if ratio < 0.02:
        raise Wrong(
            "Both ends are the same: every draw holds the same pictures. Draw with replacement, so "
            "that some come twice and others not at all."
        )
    if 0.45 < ratio < 0.56:
        raise Wrong("About half as wide as it should be: that is one standard error each way, or "
                    "the middle 68 %. Take the middle 95 %.")  # fmt: skip
    if 0.78 < ratio <= 0.91:
        raise Wrong("This is the middle 90 %: the ends cut off 5 % each. They should cut off 2.5 % "
                    "each.")  # fmt: skip
    if ratio > 1.5 and width > MORE_WITH_DRAWS * of_few:
        raise Wrong("These are the smallest and the largest of all draws: the more you draw, the "
                    "wider. Take the middle 95 %.")  # fmt: skip
    if ratio >= 1.09:
        raise Wrong("Too wide: each draw holds fewer pictures than there are, so its share swings "
                    "more. A draw has as many pictures as the test.")  # fmt: skip
    raise Wrong(f"The interval is {ratio:.2f} times as wide as it should be.")
