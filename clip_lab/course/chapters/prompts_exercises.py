"""Chapter 10, the exercises at its end: what each template brings, choosing some, disagreement."""

from collections.abc import Sequence

import torch
from torch import Tensor

from clip_lab.course.checks import Answer, Wrong, compare, exercise
from clip_lab.course.trial import Mistakes, drawn, numbers, one_number, unit


def small_test(templates: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Vectors of 4 classes in so many templates, of 40 pictures, and the pictures' classes."""
    things = unit(drawn(4, 6, seed=seed))
    texts = unit(things[:, None] + 0.8 * unit(drawn(4, templates, 6, seed=seed + 1)))
    targets = torch.arange(40) % 4
    pictures = unit(things[targets] + 1.1 * unit(drawn(40, 6, seed=seed + 2)))
    return texts.float(), pictures.float(), targets


def right_with(texts: Tensor, pictures: Tensor, targets: Tensor, places: Sequence[int]) -> float:
    """Accuracy of the ensemble of some templates."""
    return _accuracy(unit(texts.double()[:, list(places)].mean(1)), pictures, targets)


def _accuracy(rows: Tensor, pictures: Tensor, targets: Tensor) -> float:
    return ((pictures.double() @ rows.T).argmax(1) == targets).double().mean().item()


@exercise(
    "without_each",
    hints=(
        "Take one template away and measure again. What the accuracy loses is what the template "
        "brought.",
        "For template t, the ensemble of all others: a list of the other places picks them along "
        "the second axis. Mean, length 1, cosines, argmax, as before.",
        "One accuracy for each template, in their order. A loop over the templates is fine; "
        "`vectors[:, [u for u in ... if u != t]]` leaves one out.",
    ),
)
def _without_each(answer: Answer) -> str:
    texts, pictures, targets = small_test(4, seed=30)
    result = numbers(answer(texts, pictures, targets), (4,), "one accuracy for each template")
    every = range(4)
    left_out = [[u for u in every if u != t] for t in every]
    right = _each(texts, pictures, targets, left_out)
    whole = torch.tensor(right_with(texts, pictures, targets, every)).double()
    mean = texts.double().mean(1)
    too_much = [unit(mean - texts[:, t].double()) for t in every]
    as_they_are = [texts.double()[:, kept].mean(1) for kept in left_out]
    mistakes: Mistakes = [
        (_each(texts, pictures, targets, [[t] for t in every]), "This is each template alone. Left "
         "out is the other way round: all but this one."),
        (whole.expand(4), "Nothing is left out: four times the accuracy of the whole ensemble."),
        (whole - right, "These are the losses. The accuracies themselves were asked for."),
        (right - whole, "These are the changes. The accuracies themselves were asked for."),
        (100 * right, "These are per cent; shares between 0 and 1 were asked for."),
        (_by_rows(pictures, targets, too_much), "A whole vector was taken from the *mean*, in "
         "which it has a quarter's share. Take it from the sum, or average the others."),
        (_by_rows(pictures, targets, as_they_are), "The means aren't of length 1: a class whose "
         "prompts disagree gets lower cosines from every picture. Scale each row."),
        (_each(texts, pictures, targets, [range(t) or [0] for t in every]), "Only the templates "
         "before each one take part. Those after it belong to the rest, too."),
    ]  # fmt: skip
    compare(result, right, mistakes)
    return "The whole less one, for each: what it loses is what that one brought."


def _by_rows(pictures: Tensor, targets: Tensor, classifiers: list[Tensor]) -> Tensor:
    return torch.tensor([_accuracy(rows, pictures, targets) for rows in classifiers]).double()


def _each(texts: Tensor, pictures: Tensor, targets: Tensor, kept: list) -> Tensor:
    return torch.tensor([right_with(texts, pictures, targets, of) for of in kept]).double()


@exercise(
    "next_template",
    hints=(
        "You have an ensemble and may add one template. Try each that isn't in it yet.",
        "For a candidate t, the places are those chosen plus t; the accuracy of that ensemble is "
        "what t is judged by, not its accuracy alone.",
        "The candidate with the highest accuracy: Python's max takes a key. Candidates are the "
        "templates that aren't among those chosen.",
    ),
)
def _next_template(answer: Answer) -> str:
    texts, pictures, targets = small_test(6, seed=3)
    chosen = [0, 3]
    given = list(chosen)
    place = one_number(answer, texts, pictures, targets, given)
    if given != chosen:
        raise Wrong("`chosen` is another list afterwards. Leave it as it is: whoever called will "
                    "add the template.")  # fmt: skip
    score = {t: right_with(texts, pictures, targets, [*chosen, t]) for t in range(6)}
    alone = {t: right_with(texts, pictures, targets, [t]) for t in range(6)}
    fresh = [t for t in range(6) if t not in chosen]
    right = max(fresh, key=lambda t: score[t])
    mistakes = {
        max(fresh, key=lambda t: alone[t]): "This one is the best *alone*. What does it add to "
        "those that are there? Judge the ensemble with it.",
        min(fresh, key=lambda t: score[t]): "This one is the worst to add.",
    }
    if 0 < float(place) < 1:
        raise Wrong("This is an accuracy. Return the place of the template that reaches it.")
    if int(place) in chosen:
        raise Wrong(
            f"Template {int(place)} is in the ensemble already. Try only the others, and return "
            "the template's own number, not its place among those tried."
        )
    if int(place) != right:
        told = f"Template {int(place)} takes the ensemble to {score.get(int(place), 0):.0%}; "
        told += "another does better."
        raise Wrong(mistakes.get(int(place), told))
    before = right_with(texts, pictures, targets, chosen)
    return f"Template {right} takes the ensemble from {before:.0%} to {score[right]:.0%}."


@exercise(
    "mean_length",
    hints=(
        "The length of a vector m is the root of m · m. Here m is a mean of T vectors: expand it.",
        "m · m is a sum over all pairs (t, u) of their cosines, divided by T twice. The pairs of a "
        "vector with itself belong to it.",
        "So: the mean of the whole T x T table, diagonal included, and the root of that.",
    ),
)
def _mean_length(answer: Answer) -> str:
    vectors = unit(unit(drawn(1, 7, seed=1)) + 0.9 * unit(drawn(5, 7, seed=2)))
    cosines = vectors @ vectors.T
    right = vectors.mean(0).norm()
    apart = (cosines.sum() - 5) / 20
    mistakes = [
        (cosines.mean(), "This is the square of the length: a root is missing."),
        (apart, "This is the mean cosine of different prompts. Each prompt with itself belongs to "
         "the sum as well; then a root."),
        (apart.sqrt(), "The diagonal was left out: each vector with itself, cosine 1, belongs to "
         "the sum."),
        (cosines.sum().sqrt(), "This is the length of the sum. The mean is shorter by the number "
         "of prompts."),
        (cosines.sqrt().mean(), "The root comes last, after the mean."),
        (cosines.norm() / 5, "The cosines were squared: a root of a sum of squares. Sum them as "
         "they are."),
        (cosines.sum().sqrt() / 25, "Divided once too often: the root of 1/T² is 1/T."),
        (torch.tensor(1.0).double(), "A mean of unit vectors is shorter than 1, unless they are "
         "all equal."),
    ]  # fmt: skip
    compare(one_number(answer, cosines.float()), right, mistakes)
    return "The more its prompts disagree, the shorter a class's mean."
