"""Chapter 9: zero-shot classification. What its build exercises look for.

Right values are written out in float64; beside each stands what the likely mistakes would give on
the same input.
"""

import zlib
from collections.abc import Sequence
from itertools import permutations
from typing import Any

import torch
from torch import Tensor

from clip_lab.course.checks import Answer, Wrong, compare, exercise
from clip_lab.course.trial import Mistakes, mean, one_number
from clip_lab.course.words import ANSWERS

ANSWERS["a cat in a shop for bags"] = """
    No, nothing is broken: the softmax was asked which of the five labels on the list fits best,
    and it had to hand out 100 % among them. No label said cat, so the cat went to whichever label
    lay a little nearer, and the scale turned that small lead into 98 %. The share says how far one
    label is ahead of the others, not how well it fits. Look at the cosine: is it as high as for
    pictures of real bags? Refuse to answer below a threshold that was set on pictures of both
    kinds, and if cats do turn up, write “a cat” on the list.
"""


# -- a classifier made of words -------------------------------------------------------------------


class Reader:
    """A text encoder that gives each text a vector of its own, and remembers what it was asked."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def encode_texts(self, texts: Any, *_: Any, **__: Any) -> Tensor:
        """A row of length 1 for each text, which is noted down in `read`."""
        if isinstance(texts, str):
            raise Wrong("encode_texts takes a list of strings; it got one string.")
        self.read += list(texts)
        return torch.stack([self.vector(text) for text in texts])

    @staticmethod
    def vector(text: str) -> Tensor:
        """The text's own vector, the same each time."""
        random = torch.Generator().manual_seed(zlib.crc32(text.encode()))
        row = torch.randn(5, generator=random)
        return row / row.norm()


@exercise(
    "zero_shot_weights",
    hints=(
        "What does the encoder get to read for the class “violin”, if the template is “a drawing "
        "of a {}”? Write that sentence down first, then think of code.",
        "One prompt for each name, in the order of the names: the template with the name where {} "
        "stands. Strings have a method that replaces one piece of text by another.",
        "A list of all prompts goes to encode_texts in one call. What comes back has a row for "
        "each prompt, of length 1 already: it is the answer.",
    ),
)
def _weights(answer: Answer) -> str:
    names, template = ["violin", "moon", "red apple"], "a drawing of a {}."
    reader = Reader()
    result = answer.tensor(reader, names, template, shape=(3, 5), means="one row a class")
    prompts = ["a drawing of a violin.", "a drawing of a moon.", "a drawing of a red apple."]
    _diagnose_prompts(reader.read, names, prompts)
    right = torch.stack([Reader.vector(text) for text in prompts]).double()
    mistakes = [
        *((right[list(places)], "The rows stand in another order than the names. Row k belongs to "
           "name k.") for places in permutations(range(3))),
        (right.mean(0).expand(3, -1), "All rows are the same: the mean of all prompts. Each class "
         "keeps its own."),
        (right / right.norm(), "All rows were divided by one number. They had length 1 already."),
        (right / right.norm(dim=0), "Your columns have length 1. A class is a row, and the encoder "
         "gave it length 1 already."),
    ]  # fmt: skip
    compare(result, right, mistakes)
    return "A classifier for three classes, trained on nothing: one prompt, one vector, one row."


def _diagnose_prompts(read: Sequence[str], names: list[str], prompts: list[str]) -> None:
    if set(read) == set(prompts):
        return
    if any("{}" in text for text in read):
        raise Wrong("The encoder got a prompt in which {} still stands: the name was not put in.")
    if set(read) <= set(names):
        raise Wrong("The encoder got the bare names: the template takes no part.")
    if any(name not in text for name, text in zip(names, read, strict=False)):
        raise Wrong(f"The encoder got {read[0]!r} for the first class, {names[0]!r}.")
    raise Wrong(f"The encoder got {read[0]!r}; with this template it should be {prompts[0]!r}.")


# -- how good is it? ------------------------------------------------------------------------------


@exercise(
    "top_k_share",
    hints=(
        "For one picture: is its own class among the k with the highest logits? That is yes or no; "
        "over all pictures, a share.",
        "Tensor.topk along the last axis gives values and positions. Or count, for each picture, "
        "how many classes stand above its own.",
        "Compare the (n, k) positions with the targets as a column, (n, 1); ask along each row "
        "whether any agrees; the mean of the yeses, as float, is the share.",
    ),
)
def _top_k(answer: Answer) -> str:
    random = torch.Generator().manual_seed(4)
    logits = torch.randn(24, 7, generator=random) * 9 - 20
    targets = torch.randint(7, (24,), generator=random)
    own = logits.gather(1, targets[:, None])
    rank, bottom = (logits > own).sum(1), (logits < own).sum(1)
    for k in (3, 1):
        right, first = mean(rank < k), mean(rank < 1)
        mistakes = [
            (first, "This is the share of first places, whatever k is."),
            (mean(bottom < k), "These are the k lowest logits. The highest fit best."),
            (100 * right, "This is in per cent; a share between 0 and 1 was asked for."),
            (24 * right, "This is a count. Divide it by the number of pictures."),
            (right / k, "Divided by k as well: a picture counts once, not once for each of its k "
             "places."),
            (1 - right, "This is the share that fails."),
            (mean(rank < 0), "Nothing counts as found. Compare the target with *places* (topk "
             "gives values and indices), and ask whether any of the k agrees, not all."),
            (mean(rank > -1), "Everything counts as found: one yes for all pictures together? Ask "
             "along each row, then take the mean."),
            (mean(rank <= k), "One place too many: k = 1 should mean first place only."),
            (mean(rank == k - 1), "This counts own classes at place k exactly. Places before it "
             "count too."),
        ]  # fmt: skip
        compare(one_number(answer, logits, targets, k), right, mistakes)
    return "Top-1 and top-5 are one function: is the own class among the k best?"


@exercise(
    "mean_per_class",
    hints=(
        "Four of five pictures show a face. What accuracy has a classifier that always says face? "
        "And what should count, if the other classes matter as much?",
        "For each class that has pictures: of *its* pictures, the share that got its name. Then "
        "the plain mean of these shares.",
        "targets.unique() lists the classes that occur. A comparison of the targets with one of "
        "them picks its pictures; the predictions at these places are right or wrong.",
    ),
)
def _mean_per_class(answer: Answer) -> str:
    targets = torch.tensor([0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 4, 4])  # no picture of 2, 3
    predicted = torch.tensor([0, 0, 0, 0, 0, 0, 4, 2, 0, 1, 0, 4, 4])
    hits = predicted == targets
    recalls = torch.stack([hits[targets == c].double().mean() for c in (0, 1, 4)])
    precisions = torch.stack([hits[predicted == c].double().mean() for c in (0, 1, 2, 4)])
    mistakes = [
        (mean(hits), "This is the share of all pictures: the class with eight of them speaks "
         "loudest. Take the shares class by class, then their mean."),
        (recalls.sum() / 5, "Classes without pictures were counted as 0 %. They say nothing: leave "
         "them out."),
        (precisions.mean(), "This goes by what was *predicted*: of all that were called face, how "
         "many are faces (precision)? Go by the targets (recall)."),
        (recalls.sum() / 13, "The classes' shares are divided by the number of pictures. Divide by "
         "the number of classes that have some."),
        (mean(hits) / 3, "What was found of a class is divided by *all* pictures. Divide by the "
         "class's own."),
        (hits[[3, 9, 12]].double().mean(), "One picture a class was looked at, not all of them."),
        (recalls.sum(), "The classes' shares were added up. Take their mean."),
        (100 * recalls.mean(), "This is in per cent; a share between 0 and 1 was asked for."),
        (1 - recalls.mean(), "This is the share that fails."),
        (recalls.median(), "This is the median of the classes' shares. Take their mean."),
    ]  # fmt: skip
    compare(one_number(answer, predicted, targets), recalls.mean(), mistakes)
    return "Every class counts the same, however many pictures it has."


# -- how honest is it? ----------------------------------------------------------------------------


@exercise(
    "calibration_error",
    hints=(
        "What does a share of 0.8 promise? Take all pictures that were given about 0.8, and see "
        "how many of them are right.",
        "Each picture has a confidence, its highest share, and is right or wrong. Times the number "
        "of bins and rounded down, the confidence says which bin it falls into.",
        "In each bin that holds pictures: the distance between the share that is right and the "
        "mean confidence. Weigh it by the bin's part of all pictures, and add up.",
    ),
)
def _calibration(answer: Answer) -> str:
    random = torch.Generator().manual_seed(11)
    shares = (3 * torch.randn(60, 4, generator=random)).softmax(1)
    targets = torch.randint(4, (60,), generator=random)
    targets = torch.where(torch.rand(60, generator=random) < 0.55, shares.argmax(1), targets)
    result = one_number(answer, shares, targets, 5)
    p = shares.double()
    right, gaps, counts = _gaps(p.amax(1), p.argmax(1) == targets, 5)
    mistakes = [
        *_gaps_gone_wrong(gaps, counts),
        *_shares_gone_wrong(p, targets),
        (60 * right, "Weighed by counts, not by parts of all pictures: divide by their number."),
        (100 * right, "This is in per cent; a share between 0 and 1 was asked for."),
    ]
    compare(result, right, mistakes)
    return "0 is honest: in each bin, right as often as sure."


def _gaps_gone_wrong(gaps: Tensor, counts: Tensor) -> Mistakes:
    """The bins are right, but not what is made of their gaps."""
    kept, signed = gaps[counts > 0], (gaps * counts).sum() / counts.sum()
    cancel = (
        "Over- and underconfident bins cancel here: take the distance (absolute value) in each "
        "bin, before they are added up."
    )
    return [
        (kept.abs().mean(), "Every bin counts the same here. A bin with three pictures should "
         "weigh less than one with thirty: weigh by pictures."),
        (gaps.abs().mean(), "Every bin counts the same here, empty ones too: weigh each by its "
         "pictures."),
        (signed.abs(), cancel),
        (signed, cancel),
        (kept.abs().amax(), "This is the worst bin (the *maximum* calibration error). The expected "
         "one is the mean, weighed by pictures."),
        ((counts * gaps.square()).sum() / counts.sum(), "The gaps are squared. Their absolute "
         "value was asked for."),
    ]  # fmt: skip


def _shares_gone_wrong(p: Tensor, targets: Tensor) -> Mistakes:
    """Other shares, or other bins, than each picture's highest share in five of equal width."""
    sure, hits = p.amax(1), p.argmax(1) == targets
    own = p.gather(1, targets[:, None])[:, 0]
    each = torch.zeros_like(p).scatter(1, targets[:, None], 1.0)
    place = (5 * sure).long().clamp(max=4)
    shifted = torch.bincount((5 * sure).round().long(), hits.double() - sure)
    middles = torch.bincount(place, hits.double() - (place + 0.5) / 5)
    return [
        (_gaps(own, hits, 5)[0], "The confidence is taken from the right class. A user doesn't "
         "know it: take each picture's highest share."),
        (_gaps(p.flatten(), each.flatten() > 0, 5)[0], "All shares of all classes were put into "
         "bins. Take each picture's highest share only."),
        ((hits.double() - sure).abs().mean(), "Each picture is held against its own confidence: "
         "without bins, nothing can be right 80 times of 100. First bins, then the means in each."),
        (shifted.abs().sum() / 60, "The bins are shifted by half of their width: confidence times "
         "bins is to be rounded down, not to the nearest."),
        (middles.abs().sum() / 60, "The accuracy is held against the middle of the bin. Take the "
         "mean confidence of the pictures in it."),
    ]  # fmt: skip


def _gaps(confidence: Tensor, hits: Tensor, bins: int) -> tuple[Tensor, Tensor, Tensor]:
    """The expected calibration error, each bin's gap (0 where empty), and its pictures."""
    place = torch.bucketize(confidence, torch.linspace(0, 1, bins + 1).double()[1:-1])
    counts = torch.bincount(place, minlength=bins).double()
    total = torch.bincount(place, hits.double() - confidence, bins)
    return total.abs().sum() / len(hits), total / counts.clamp(min=1), counts
