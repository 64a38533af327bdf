"""Chapter 1, the exercises at its end: names that occur twice, five tongues, a fair comparison."""

import torch

from clip_lab.course.chapters.why_language import (
    MORE_WITH_DRAWS,
    Pretend,
    diagnose_width,
    scaled,
    share_ends,
    width_of_few,
)
from clip_lab.course.checks import Answer, Wrong, compare, exercise
from clip_lab.course.trial import units


@exercise(
    "best_possible",
    hints=(
        "Two classes of one name have one and the same vector. Of equal cosines, argmax takes the "
        "first: which class can then never be the answer?",
        "For each class, find the first place where its name stands in the list. A class is within "
        "reach if that place is its own.",
        "A list's method `index` gives the first place of a name. Make that a tensor, pick from it "
        "by the pictures' targets, compare with the targets, average.",
    ),
)
def _best_possible(answer: Answer) -> str:
    names = ["tench", "missile", "crane", "missile", "sunglasses", "sunglasses"]
    targets = torch.tensor([0, 0, 1, 1, 1, 1, 3, 4, 5, 5, 2, 2])  # 9 of 12 within reach
    result = answer(names, targets)
    try:
        value = torch.tensor(float(result), dtype=torch.float64)
    except (TypeError, ValueError, RuntimeError):
        raise Wrong("One share was asked for, of all pictures together.") from None
    mistakes = [
        (3 / 12, "This is the share that can't be right. The share that can was asked for."),
        (4 / 6, "This is a share of classes, or one in which namesakes win by turns. Count "
         "pictures; the first of two namesakes wins always."),
        (75.0, "These are per cent; a share between 0 and 1 was asked for."),
        (9.0, "This is a count; divide by the number of pictures."),
        (4 / 12, "Only classes whose name is unique were counted. The first of two namesakes is "
         "still found."),
        (7 / 12, "Here the last of two namesakes wins. argmax takes the first of equal values."),
        (1.0, "That would be so if no name stood there twice. A name's second class is never "
         "answered."),
    ]  # fmt: skip
    wanted = torch.tensor(0.75, dtype=torch.float64)
    compare(value, wanted, [(torch.tensor(m, dtype=torch.float64), text) for m, text in mistakes])
    return "What a list of names can reach at best, whatever the model."


@exercise(
    "polyglot_classes",
    hints=(
        "A class with five names is a class with five labelled vectors. You know what to do with "
        "those.",
        "Encode one language's list at a time; you get a matrix a language, all in the same order "
        "of classes. Which axis do you average over?",
        "Stack the matrices to (languages, classes, d), take the mean over the first axis, and "
        "scale each row to length 1 again.",
    ),
)
def _polyglot(answer: Answer) -> str:
    names = [["cat", "violin"], ["Katze", "Geige"], ["chat", "violon"]]
    vectors = units(6, 5, seed=21)
    flat = [name for spoken in names for name in spoken]
    encoder = Pretend({}, dict(zip(flat, vectors, strict=True)))
    result = answer.tensor(encoder, names, shape=(2, 5), means="one row a class")
    spoken = vectors.double().view(3, 2, 5)
    mixed = vectors.double().view(2, 3, 5)
    mistakes = [
        (spoken.mean(0), "These are the means, and shorter than 1. Scale each row."),
        (spoken.sum(0), "These are sums, longer than 1. Scale each row."),
        (spoken[0], "Only the first language takes part."),
        (spoken[-1], "Only the last language takes part: it overwrote the others."),
        (scaled(mixed.mean(1)), "Vectors of different classes were averaged: the list was cut in "
         "runs of three, but it goes language by language."),
        (scaled(spoken.mean(0).T).T, "Your columns have length 1. A class is a row."),
        (spoken.amax(0), "This is the largest entry at each place. Take the mean."),
    ]  # fmt: skip
    compare(result, scaled(spoken.mean(0)), mistakes)
    return "A class's vector can be made of as many names as people have for it."


@exercise(
    "paired_interval",
    hints=(
        "Both models saw the same pictures. Some pictures are hard for both: drawing the pictures "
        "once for both lets that fall out.",
        "Take one model's answers less the other's, picture by picture: 1, 0 or −1. That is one "
        "row of numbers, and you have an interval for the mean of such a row.",
        "As float, subtract. Then what you wrote before: positions drawn with replacement, the "
        "mean of each draw, the two quantiles.",
    ),
)
def _paired(answer: Answer) -> str:
    a = torch.arange(200) % 10 < 7  # 140 of 200
    b = a.clone()
    b[torch.arange(0, 200, 10)] = False  # 20 that only a gets right
    b[9::40] = True  # 5 that only b gets right
    torch.manual_seed(0)
    low, high = share_ends(answer, a, b, 4000)
    difference = a.double() - b.double()
    middle, got = float(difference.mean()), (low + high) / 2
    if abs(got + middle) < 0.015:
        raise Wrong("The sign is turned round: the first model less the second.")
    if abs(got - middle) > 0.04:
        raise Wrong(f"The difference of the shares is {middle:.3f}; your interval, {low:.3f} to "
                    f"{high:.3f}, is not around it.")  # fmt: skip
    few = width_of_few(answer, a, b)
    extremes = high - low > MORE_WITH_DRAWS * few
    width = 3.92 * float(difference.std(correction=0)) / 200**0.5
    alone = 3.92 * float((a.double().var() + b.double().var()).sqrt()) / 200**0.5
    if abs((high - low) / alone - 1) < 0.1 and not extremes:
        raise Wrong(
            "The interval is right for two models that saw different pictures: each was drawn for "
            "alone. Draw pictures once, and take both models' answers to them."
        )
    diagnose_width(high - low, width, few)
    return f"On the same pictures: {low:+.1%} to {high:+.1%}."
