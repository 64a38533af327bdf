"""Chapter 13: limits. What its build exercises look for.

Beside each right value stands what the likely mistakes would give on the same input.
"""

import math

import torch
from torch import Tensor

from clip_lab.course.checks import Answer, Wrong, agrees, compare, exercise
from clip_lab.course.trial import ends, unit
from clip_lab.course.words import ANSWERS

Z = 1.96

ANSWERS["forty questions"] = """
    Who guesses at 40 questions with two answers lands between 35 and 65 % nineteen times in
    twenty, so 58 % is what luck gives: it shows neither understanding nor its absence. A thousand
    questions would tell, with ties counted as half. And a few points above luck would still need a
    blind baseline, for if one side stands in captions more often than the other, language alone
    scores. Only what a model does better than both has to do with the picture.
"""


# -- a caption that is wrong in one thing ---------------------------------------------------------

CAPTIONS = (
    ("a red circle and a blue star", "red", "blue", "a blue circle and a red star"),
    ("a pink ring and a green ring", "pink", "green", "a green ring and a pink ring"),
    ("a star left of a red star", "left", "right", "a star right of a red star"),
    ("two red hundred red discs", "red", "two", "red two hundred two discs"),
)


@exercise(
    "exchange",
    hints=(
        "Go through the caption word by word. What becomes of each word depends on that word only.",
        "One after the other doesn't do: once every `red` is a `blue`, which blue was red? Decide "
        "for all words at once, from the old caption.",
        "Split at the spaces. A word that is `one` becomes `other`, one that is `other` becomes "
        "`one`, all the rest stay (a small dictionary with both directions does it). Join again.",
    ),
)
def _exchange(answer: Answer) -> str:
    for caption, one, other, wanted in CAPTIONS:
        said = answer(caption, one, other)
        if not isinstance(said, str):
            raise Wrong(f"A caption was asked for, a string; this is a {type(said).__name__}.")
        if said != wanted:
            raise Wrong(_exchange_mistake(said, caption, one, other, wanted))
    return "The same words, another world. With neither of the two in it, a caption stays."


def _exchange_mistake(said: str, caption: str, one: str, other: str, wanted: str) -> str:
    told = f"From “{caption}” came “{said}”; “{wanted}” is right. "
    if said == caption.replace(one, "\0").replace(other, one).replace("\0", other):
        return told + "Parts of other words were exchanged too: compare whole words."
    if said in (caption.replace(one, other), caption.replace(other, one)):
        return told + (
            "In the end only one of the two has changed: one replacement is missing, or the second "
            "undid the first. Decide for each word of the old caption once."
        )
    if said == caption:
        return told + "Nothing has changed. (A string's methods return a new string.)"
    if said == _once(caption.split(), one, other):
        return told + "Only the first of each was exchanged; a word may stand there more than once."
    if sorted(said.split()) == sorted(wanted.split()) and len(caption.split()) > 4:
        return told + "The words are right and stand in other places: keep the order of the rest."
    if said.replace(" ", "") == wanted.replace(" ", ""):
        return told + "The spaces differ."
    return told + "Only the two words change, wherever they stand: first, last, and more than once."


def _once(words: list[str], one: str, other: str) -> str | None:
    """The caption with the first `one` and the first `other` exchanged, if it holds both."""
    if one not in words or other not in words:
        return None
    first, second = words.index(one), words.index(other)
    words[first], words[second] = other, one
    return " ".join(words)


# -- an answer ----------------------------------------------------------------------


def captioned() -> tuple[Tensor, Tensor, Tensor]:
    """Six pictures with two captions each: three right, one wrong, two ties."""
    random = torch.Generator().manual_seed(13)
    images = unit(torch.randn(6, 8, generator=random))
    images[:2] = unit(images[:1] + 0.3 * unit(torch.randn(2, 8, generator=random)))
    true = unit(images + 0.8 * unit(torch.randn(6, 8, generator=random)))
    false = unit(torch.randn(6, 8, generator=random))
    true[2], false[2] = false[2].clone(), true[2].clone()  # the false one is nearer
    false[4:] = true[4:]  # no difference at all
    return images.float(), true.float(), false.float()


@exercise(
    "answers",
    hints=(
        "Two numbers decide: the picture's cosine with its true caption, and with its false one.",
        "Of vectors of length 1 the cosine is the sum of products, along each row: one number a "
        "picture. There are three cases, and equality is one of them.",
        "Take the two cosines' difference, row by row. Its sign is 1, 0 or −1 (torch.sign); which "
        "simple sum turns these into 1, a half and 0?",
    ),
)
def _answers(answer: Answer) -> str:
    images, true, false = captioned()
    given = answer(images, true, false)
    if isinstance(given, Tensor) and given.dtype == torch.bool:
        raise Wrong("Yes and no leave no room for a tie. Return numbers: 1, 0 or 0.5.")
    result = answer.tensor(images, true, false, shape=(6,), means="one mark a picture")
    rows, right, wrong = images.double(), true.double(), false.double()
    gap = (rows * right).sum(1) - (rows * wrong).sum(1)
    gap[4:] = 0
    wanted = (gap.sign() + 1) / 2
    everyone = (rows @ right.T).argmax(1) == torch.arange(6)
    mistakes = [
        ((gap >= 0).double(), "A tie counts as right here. The model said "
         "the same of both captions: give it a half."),
        ((gap > 0).double(), "A tie counts as wrong here. Fair to a guesser would be a half."),
        (1 - wanted, "Turned round: these are marks for the false caption."),
        (gap.sign(), "These are 1, 0 and −1. A share needs 1, 0.5 and 0."),
        (gap, "These are the gaps between the cosines. Only which one is larger counts."),
        ((1 + gap) / 2, "The size of the gap still takes part; only its sign should."),
        (everyone.double(), "Each picture was compared with everybody's captions. It has two of "
         "its own: true[i] and false[i]."),
    ]  # fmt: skip
    compare(result, wanted, mistakes)
    return "Right, wrong, and don't know, each at its worth."


# -- what guessing gets ----------------------------------------------------------------------


@exercise(
    "guessers",
    hints=(
        "A guesser at a question with five answers is right with a chance of one in five. Let many "
        "guessers take the whole test.",
        "torch.rand gives numbers between 0 and 1, a row a guesser, a column a question. A number "
        "below the chance is a hit. What share of its row does each guesser hit?",
        "Sort the guessers' shares, or use quantiles: the middle 95 % begin after the lowest 2.5 % "
        "and end before the highest 2.5 %. Return both ends, the lower first.",
    ),
)
def _guessers(answer: Answer) -> str:
    torch.manual_seed(0)
    low, high = ends(answer, 2, 400, 5, 4000)
    spread = 2 * Z * math.sqrt(0.2 * 0.8 / 400)
    middle, width = (low + high) / 2, high - low
    for chance, words in (
        (0.8, "This is the share that guessers miss."),
        (80.0, "These are counts. Divide by the number of questions."),
        (20.0, "These are per cent; shares between 0 and 1 were asked for."),
        (0.5, "These guessers hit half: how many answers to choose from are there?"),
    ):
        if abs(middle - chance) < 0.06 * max(chance, 0.5):
            raise Wrong(words)
    if abs(middle - 0.168) < 0.012:
        raise Wrong(
            "Called with 4,000 guessers, yours counts its ends for another number: use `draws`."
        )
    if abs(middle - 0.2) > 0.02:
        raise Wrong(f"With 5 choices a guesser hits about a fifth; yours hit {middle:.2f}.")
    _guessing_width(width / spread, answer)
    few, _ = ends(answer, 2, 20, 2, 4000)
    if few > 0.36:
        raise Wrong("With 20 questions of two answers luck reaches further down than yours does.")
    return f"400 questions with 5 answers: guessing gets {low:.1%} to {high:.1%}."


def _guessing_width(ratio: float, answer: Answer) -> None:
    if 0.9 < ratio < 1.11:
        return
    if ratio < 0.05:
        raise Wrong("All guessers have the same share: that is the mean of all of them, or one.")
    if 0.45 < ratio < 0.57:
        raise Wrong("About half as wide as luck is: one standard deviation each way holds 68 %.")
    if 0.76 < ratio <= 0.9:
        raise Wrong("This is the middle 90 %: cut off 2.5 % at each end, not 5 %.")
    torch.manual_seed(1)
    tries = [ends(answer, 2, 400, 5, 50) for _ in range(6)]
    of_few = sum(high - low for low, high in tries) / len(tries)
    if ratio > 1.4 and ratio > 1.35 * of_few / (2 * Z * 0.02):
        raise Wrong("These are the unluckiest and the luckiest of all: the more guess, the wider. "
                    "Take the middle 95 %.")  # fmt: skip
    raise Wrong(f"The interval is {ratio:.2f} times as wide as luck is at 400 questions.")


# -- a difference of rates ----------------------------------------------------------------------


@exercise(
    "rate_difference",
    hints=(
        "Two rates, p of n and q of m. What is the middle of the interval?",
        "A rate p of n swings with variance p(1 − p)/n from sample to sample. The groups are "
        "different pictures: their swings add up as variances do.",
        "The standard error is the root of the sum of both variances; the ends lie 1.96 of it "
        "below and above the difference. Three numbers, the difference first.",
    ),
)
def _rate_difference(answer: Answer) -> str:
    first = torch.arange(100) < 37  # 37 of 100
    second = torch.arange(50) < 9  # 9 of 50
    gap, low, high = ends(answer, 3, first, second)
    p, n, q, m = 0.37, 100, 0.18, 50
    swings = p * (1 - p) / n, q * (1 - q) / m
    if agrees(_number(gap), _number(q - p)):
        raise Wrong("The sign is turned round: the first less the second.")
    for value, words in (
        (100 * (p - q), "These are points of a hundred; give shares of one."),
        (37.0 - 9.0, "These are counts. The groups differ in size: compare rates."),
        (p / q, "This is a ratio. A difference was asked for."),
        (p, "Only the first group takes part."),
    ):
        compare_not(gap, value, words)
    compare(_number(gap), _number(p - q), [])
    reach = (high - low) / 2
    right = Z * math.sqrt(sum(swings))
    if abs(reach / right - 1) > 0.025:  # n - 1 in place of n is fine
        for value, words in _reaches(p, n, q, m):
            compare_not(reach, value, words)
        raise Wrong(f"The interval reaches {reach:.4f} each way; {right:.4f} is right.")
    if abs((low + high) / 2 - gap) > 0.005:
        raise Wrong("The interval should lie around the difference.")
    return f"37 of 100 less 9 of 50: {gap:+.2f} ({low:+.2f} to {high:+.2f})."


def _reaches(p: float, n: int, q: float, m: int) -> list[tuple[float, str]]:
    """How far mistaken intervals reach, and what to say of each."""
    swings, pooled = (p * (1 - p) / n, q * (1 - q) / m), (p * n + q * m) / (n + m)
    return [
        (Z * (math.sqrt(swings[0]) + math.sqrt(swings[1])), "The two errors were added. Variances "
         "add; take the root of their sum."),
        (Z * math.sqrt(pooled * (1 - pooled) * (1 / n + 1 / m)), "Both groups share one rate here. "
         "That tests whether the rates are equal; for the interval each keeps its own."),
        (math.sqrt(sum(swings)), "One standard error each way holds 68 %. Take 1.96."),
        (Z * math.sqrt(sum(swings)) / 2, "Half as wide as it should be: 1.96 errors *each* way."),
        (Z * sum(swings), "This is built on the variance. Its root is the standard error."),
        (Z * math.sqrt(p * (1 - p) + q * (1 - q)), "How many pictures there are takes no part: "
         "divide each variance by its group's size."),
        (Z * math.sqrt(swings[0]), "Only the first group's swing takes part."),
        (Z * math.sqrt(abs(swings[0] - swings[1])), "The variances were subtracted. The rates are; "
         "their swings add up."),
        (Z * math.sqrt((p * (1 - p) + q * (1 - q)) / (n + m)), "Each variance has its own n: "
         "p(1 − p)/n and q(1 − q)/m."),
    ]  # fmt: skip


def _number(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def compare_not(value: float, mistaken: float, words: str) -> None:
    """Wrong with these words if the value is what a mistake gives (to a per cent)."""
    if math.isclose(value, mistaken, rel_tol=0.011):
        raise Wrong(words)
