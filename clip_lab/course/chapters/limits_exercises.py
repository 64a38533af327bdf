"""Chapter 13, the exercises at its end: a ceiling, Winoground's scores, whole groups redrawn."""

import math

import torch
from torch import Tensor

from clip_lab.course.chapters.limits import compare_not
from clip_lab.course.checks import Answer, Wrong, agrees, exercise
from clip_lab.course.trial import ends

PAIRS = [
    ("a red circle and a blue star", "a blue circle and a red star"),
    ("a dog on a mat", "a mat on a dog"),
    ("two cats", "three cats"),
    ("a red star", "a red red star"),
    ("the man bites", "the dog bites"),
    ("a cat and a dog", "a cat and dog a"),
    ("a dog", "a god"),
    ("a a b", "a b b"),
]


@exercise(
    "bag_ceiling",
    hints=(
        "Which pairs can a model that ignores order decide, and what does it get where it can't?",
        "Two captions are one bag if they hold the same words, each as often. There it guesses.",
        "Sorting a caption's words makes bags comparable (a Counter does too). Count pairs with "
        "equal bags: each costs half a point; divide by all pairs.",
    ),
)
def _bag_ceiling(answer: Answer) -> str:
    result = answer(PAIRS)
    try:
        value = float(result)
    except (TypeError, ValueError, RuntimeError):
        raise Wrong("One share was asked for, of all pairs together.") from None
    if math.isclose(value, 1 - 3 / 16, rel_tol=1e-6):
        return "What no bag of words can pass, however good its words are."
    for mistaken, words in (
        (3 / 8, "This is the share of pairs that can't be told apart. What does one get on them?"),
        (5 / 8, "Pairs that can't be told apart count as lost here. Guessing gets half of them."),
        (3 / 16, "This is what is lost. What can be reached was asked for."),
        (1 - 5 / 16, "Sets forget how often a word occurs: “a red star” and “a red red star” are "
         "different bags."),
        (1 - 4 / 16, "Letters were compared: “dog” and “god” are different words."),
        (1 - 5 / 8, "Sets forget how often a word occurs, and guessing gets half of the ties."),
        (81.25, "These are per cent; a share between 0 and 1 was asked for."),
        (6.5, "This is a count. Divide by the number of pairs."),
        (1.0, "Captions in another order are different strings, but the same bag."),
        (0.5, "Half is what it gets on the pairs that it can't tell apart. The others it can."),
    ):  # fmt: skip
        compare_not(value, mistaken, words)
    raise Wrong(f"3 of these 8 pairs are one bag; you say that {value:.4f} can be reached.")


def quartets() -> Tensor:
    """Cosines in which text, image and group scores are 3/8, 4/8 and 2/8."""
    both = [[0.5, 0.1], [0.2, 0.6]]
    text = [[0.5, 0.4], [0.6, 0.7]]
    image = [[0.5, 0.6], [0.2, 0.7]]
    none = [[0.2, 0.5], [0.6, 0.1]]
    tied = [[0.4, 0.4], [0.4, 0.4]]
    half = [[0.6, 0.3], [0.7, 0.5]]
    return torch.tensor([both, text, image, none, both, half, tied, image])


@exercise(
    "winoground",
    hints=(
        "There are four cosines: two that match (on the diagonal) and two that don't. Each score "
        "asks for two comparisons, both of which must hold.",
        "Text score: in picture 0's row its own caption is larger, and in picture 1's row its own. "
        "Image score: the same along the columns.",
        "With c[:, 0, 0] and its three companions as rows of n numbers, combine comparisons by "
        "`&`; the group score is the `&` of the other two. Average each.",
    ),
)
def _winoground(answer: Answer) -> str:
    cosines = quartets()
    result = answer(cosines)
    values = result.tolist() if isinstance(result, Tensor) else result
    if not isinstance(values, tuple | list) or len(values) != 3:
        raise Wrong("Return three numbers: text, image, group.")
    found = torch.tensor([float(value) for value in values], dtype=torch.float64)
    c = cosines.double()
    rows = (c[:, 0, 0] > c[:, 0, 1]) & (c[:, 1, 1] > c[:, 1, 0])
    columns = (c[:, 0, 0] > c[:, 1, 0]) & (c[:, 1, 1] > c[:, 0, 1])
    right = torch.stack([rows, columns, rows & columns]).double().mean(1)
    if agrees(found, right):
        return "Three eighths, four eighths, two eighths: the group asks for the most."
    for mistaken, words in _winoground_mistakes(c, rows, columns, right):
        if agrees(found, mistaken):
            raise Wrong(words)
    told = ", ".join(f"{value:.3f}" for value in found.tolist())
    raise Wrong(f"On eight examples you get {told}; 0.375, 0.500, 0.250 is right.")


def _winoground_mistakes(
    c: Tensor, rows: Tensor, columns: Tensor, right: Tensor
) -> list[tuple[Tensor, str]]:
    text, image, group = right.tolist()

    def three(*values: float) -> Tensor:
        """Three scores, as `found` holds them."""
        return torch.tensor(values, dtype=torch.float64)

    row0, row1 = c[:, 0, 0] > c[:, 0, 1], c[:, 1, 1] > c[:, 1, 0]
    column0, column1 = c[:, 0, 0] > c[:, 1, 0], c[:, 1, 1] > c[:, 0, 1]
    loose = [(a.double() + b.double()).mean().item() / 2
             for a, b in ((row0, row1), (column0, column1))]  # fmt: skip
    ties = (c[:, 0, 0] >= c[:, 0, 1]) & (c[:, 1, 1] >= c[:, 1, 0])
    sides = (c[:, 0, 0] >= c[:, 1, 0]) & (c[:, 1, 1] >= c[:, 0, 1])
    tied = [t.double().mean().item() for t in (ties, sides, ties & sides)]
    either = (rows | columns).double().mean().item()
    first = [v.double().mean().item() for v in (row0, column0, row0 & column0)]
    return [
        (three(image, text, group), "Text and image score are exchanged: a picture compares the "
         "captions of its row for the text score."),
        (three(*loose, group), "The two comparisons were averaged. Both must hold at once."),
        (three(text, image, either), "The group score needs both, not either."),
        (three(text, image, text * image), "Two rates multiplied are not the rate at which both "
         "hold: they are right on the same examples more often than by chance."),
        (three(text, image, (text + image) / 2), "The group score is no average: both must hold."),
        (three(text, image, min(text, image)), "The smaller of two rates is not the rate at which "
         "both hold."),
        (three(*tied), "Ties pass here. A model that says the same of everything would get 100 %."),
        (three(*first), "Only the first picture and the first caption are looked at."),
        (three(*(8 * value for value in right.tolist())), "These are counts. Average."),
        (three(*(100 * value for value in right.tolist())), "These are per cent; give shares."),
    ]  # fmt: skip


@exercise(
    "by_profession",
    hints=(
        "What is drawn at random here, a picture or a profession? Redraw that.",
        "Pictures that follow each other belong together, `each` of them. What is one profession's "
        "own difference of rates?",
        "Reshape the differences to a row a profession and average each row. Then as in chapter 1: "
        "draw as many professions with replacement, average, do so many times, cut off 2.5 % at "
        "both ends.",
    ),
)
def _by_profession(answer: Answer) -> str:
    first, second = professions()
    torch.manual_seed(0)
    low, high = ends(answer, 2, first, second, 6, 4000)
    gaps = (first.double() - second.double()).view(-1, 6).mean(1)
    middle, got = gaps.mean().item(), (low + high) / 2
    if abs(got + middle) < 0.04:
        raise Wrong("The sign is turned round: the first less the second.")
    if abs(got - middle) > 0.05:
        raise Wrong(f"The difference is {middle:.3f}; {low:.3f} to {high:.3f} is not around it.")
    ratio = (high - low) / (2 * 1.96 * gaps.std(correction=0).item() / math.sqrt(len(gaps)))
    alone = (first.double() - second.double()).std(correction=0).item() / math.sqrt(len(first))
    across = (first.double() - second.double()).view(6, -1).mean(0)
    for width, words in (
        (alone, "This is the interval for single pictures, as if a profession's six had nothing "
         "in common. Redraw whole professions."),
        (across.std(correction=0).item() / math.sqrt(len(across)), "The groups are cut wrongly: "
         "the six pictures of a profession stand next to each other."),
    ):  # fmt: skip
        if abs((high - low) / (2 * 1.96 * width) - 1) < 0.08:
            raise Wrong(words)
    if 0.88 < ratio < 1.12:
        return f"By profession: {low:+.1%} to {high:+.1%}. The pictures alone promised too much."
    if ratio < 0.02:
        raise Wrong("Both ends are the same. Draw with replacement, anew each time.")
    if 0.44 < ratio < 0.57:
        raise Wrong("One standard error each way holds 68 %. Take the middle 95 %.")
    if 0.76 < ratio <= 0.88:
        raise Wrong("This is the middle 90 %: cut off 2.5 % at each end.")
    if ratio > 1.4:
        raise Wrong("Too wide: these may be the extremes of all draws, or draws of too few.")
    raise Wrong(f"The interval is {ratio:.2f} times as wide as it should be.")


def professions() -> tuple[Tensor, Tensor]:
    """Thirty professions of six pictures that nearly agree among themselves."""
    random = torch.Generator().manual_seed(4)
    leaning = torch.rand(30, 1, generator=random)
    first = torch.rand(30, 6, generator=random) < (leaning > 0.55) * 0.8 + 0.1
    second = torch.rand(30, 6, generator=random) < 0.1
    return first.flatten(), second.flatten()
