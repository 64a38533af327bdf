"""Chapter 2: byte-pair encoding. What its build exercises look for.

Answers here are counts, pieces and lists of ids, not tensors, so values are compared as they are:
the right one, worked out in another way, and beside it what the likely mistakes would give.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from itertools import pairwise
from typing import Any

from torch import Tensor

from clip_lab.course.checks import Answer, Wrong, exercise
from clip_lab.course.words import ANSWERS
from clip_lab.tokenizer import Tokenizer

ANSWERS["only its beginning"] = """
    The model reads tokens, not words, and at most 75 of them between start and end. English takes
    more than one a word, brand names and numbers several, other scripts far more: two hundred words
    are some three hundred tokens. Everything after the 75th was cut off before the model saw it, in
    silence where truncation is switched on. So no change at the end can matter. I would count
    tokens, not words, put first what has to be found, and warn when something is cut.
"""

Pieces = tuple[str, ...]

# Sennrich's example, a word in which a pair comes twice, and one without any pair.
WORDS: dict[Pieces, int] = {
    ("l", "o", "w</w>"): 5,
    ("l", "o", "w", "e", "r</w>"): 2,
    ("n", "e", "w", "e", "s", "t</w>"): 6,
    ("w", "i", "d", "e", "s", "t</w>"): 3,
    ("n", "a", "n", "a", "n", "a</w>"): 2,
    ("a</w>",): 4,
}


def tell(value: Any, wanted: Any, mistakes: Iterable[tuple[Any, str]], given: str) -> None:
    """Nothing if `value` is right; else Wrong, by the first mistake that gives it."""
    if value == wanted:
        return
    for mistaken, diagnosis in mistakes:
        if value == mistaken:
            raise Wrong(diagnosis)
    raise Wrong(f"For {given} you return {value!r}; {wanted!r} is right.")


def as_pieces(answer: Answer, *inputs: Any) -> Pieces:
    """What the learner returns, as a tuple of strings, or Wrong."""
    result = answer(*inputs)
    if isinstance(result, str):
        raise Wrong("That is one string. Return the pieces of the word, as a tuple.")
    if not isinstance(result, list | tuple):
        raise Wrong(f"That is a {type(result).__name__}. Return the pieces of the word, a tuple.")
    if not all(isinstance(piece, str) for piece in result):
        odd = next(piece for piece in result if not isinstance(piece, str))
        raise Wrong(f"One of your pieces is {odd!r}. Glue the two strings together with +.")
    return tuple(result)


@exercise(
    "count_pairs",
    hints=(
        "A word of n symbols has n - 1 pairs of neighbours. And a word that occurs six times "
        "brings each of them six times.",
        "Two loops: over the words with their counts, and inside over each word's neighbours, "
        "which itertools.pairwise hands out.",
        "A Counter takes what isn't there as 0. For each pair met, add how often the word occurs, "
        "not 1.",
    ),
)
def _count(answer: Answer) -> str:
    given = dict(WORDS)
    result = answer(given)
    if given != WORDS:
        raise Wrong("The words that were handed in have changed. Count into something new.")
    if not isinstance(result, Mapping):
        raise Wrong(f"That is a {type(result).__name__}; a Counter or dict was asked for.")
    value = {pair: count for pair, count in result.items() if count}
    for words in ({("a</w>",): 3}, {("a", "b</w>"): 2}):
        if len(found := dict(answer(words))) != len(next(iter(words))) - 1:
            raise Wrong(f"For the words {words} you find {found}. Pairs are neighbours in a word.")
    tell(value, _neighbours(WORDS), _count_mistakes(), "a few words")
    return "Neighbours inside words, each as often as its word occurs."


def _neighbours(words: Mapping[Pieces, int]) -> dict[Pieces, int]:
    pairs: Counter[Pieces] = Counter()
    for word, number in words.items():
        for i in range(1, len(word)):
            pairs[word[i - 1 : i + 1]] += number
    return dict(pairs)


def _count_mistakes() -> list[tuple[dict, str]]:
    right = _neighbours(WORDS)
    stepped, once, unordered, chars, spanning = (Counter() for _ in range(5))
    text = [piece for word, number in WORDS.items() for piece in word * number]
    for word, number in WORDS.items():
        stepped.update(list(zip(word[::2], word[1::2], strict=False)) * number)
        once.update(dict.fromkeys(_neighbours({word: 1}), number))
        chars.update({piece: number * word.count(piece) for piece in set(word)})
    for pair, number in right.items():
        unordered[tuple(sorted(pair))] += number
    spanning.update(pairwise(text))
    return [
        (_neighbours(dict.fromkeys(WORDS, 1)), "Every word counts once here. A word that occurs "
         "six times has each of its pairs six times: the number beside it says so."),
        (dict(once), "A pair that comes twice in one word (“n a” in “nanana”) counts once for you. "
         "Count each place."),
        (dict(unordered), "You took “s e” and “e s” for the same. The order of the two matters: "
         "they become different pieces."),
        (dict(chars), "These are counts of single symbols. A pair is two neighbours."),
        (dict(stepped), "You step by two, so only every other pair is seen. Pairs overlap: in "
         "“l o w” there are “l o” and “o w”."),
        (dict(spanning), "Pairs reach from the end of one word into the next. No piece ever "
         "crosses a word's border, so no pair does."),
        ({left + right: number for (left, right), number in right.items()}, "The keys are glued "
         "strings. Keep the two apart, as a tuple: “es t” and “e st” would look the same."),
    ]  # fmt: skip


@exercise(
    "join_pair",
    hints=(
        "Walk through the pieces from the left and build a new list. When do two of them go in as "
        "one?",
        "Look back: if the last piece that you put in and the one at hand are the pair, glue the "
        "second onto the first. Otherwise put it in as it is.",
        "The list's last entry is [-1] (mind the empty list at the start), += glues a string on, "
        "and at the end the list becomes a tuple.",
    ),
)
def _join(answer: Answer) -> str:
    wholly = "The pair is still there further on. Join it everywhere in the word, not only once."
    cases = [
        (("l", "o", "w", "e", "s", "t</w>"), ("e", "s"), ("l", "o", "w", "es", "t</w>"), [
            (("l", "o", "w", "es", "s", "t</w>"), "The second of the two is there twice: once "
             "joined and once alone. After a join, go on behind it."),
            (("l", "o", "w", "es"), "The last piece got lost. Does your walk reach the end?"),
            (("l", "o", "w", "e", "s", "t</w>"), "Nothing was joined."),
            (("es",), "Only the new piece came back. The rest of the word stays."),
        ]),
        (("b", "a", "n", "a", "n", "a</w>"), ("a", "n"), ("b", "an", "an", "a</w>"), [
            (("b", "an", "a", "n", "a</w>"), wholly)]),
        (("ba", "n", "a", "n</w>", "a", "n"), ("a", "n"), ("ba", "n", "a", "n</w>", "an"), [
            (("ban", "an</w>", "an"), "Pieces were joined that only look like the pair inside a "
             "longer text: “ba” ends in a, but is not the piece “a”. Compare whole pieces."),
            (("ban", "a", "n</w>", "an"), "“ba” ends in a, but is not the piece “a”. Compare whole "
             "pieces."),
        ]),
        (("a", "a", "a", "b</w>"), ("a", "a"), ("aa", "a", "b</w>"), [
            (("a", "aa", "b</w>"), "Three in a row: the pair was joined from the right. Everybody "
             "starts from the left; ids differ otherwise."),
            (("aa", "aa", "b</w>"), "Three in a row: the middle one went into two pieces. Each "
             "symbol belongs to one."),
            (("aaa", "b</w>"), "Three in a row became one piece. Only the two of the pair join."),
        ]),
        (("x", "y</w>"), ("x", "y</w>"), ("xy</w>",), [
            (("x", "y</w>"), "A pair at the very end of the word was passed over.")]),
    ]  # fmt: skip
    for pieces, pair, wanted, mistakes in cases:
        given = f"the pieces {pieces} and the pair {pair}"
        tell(as_pieces(answer, pieces, pair), wanted, mistakes, given)
    return "Everywhere, from the left, whole pieces only."


@exercise(
    "merge_word",
    hints=(
        "Of all neighbours in the word, which pair has a rule, and whose rule was learned first? "
        "Join that one. Then the word has other neighbours: ask again.",
        "min with a key finds the pair of the lowest rank. Pairs without a rule must not win: "
        "leave them out before, or give them an infinite rank.",
        "When no pair has a rule (also when there is no pair), the word is done. Otherwise join "
        "the pair with your own function, and do the same to what comes out, by a loop or by the "
        "function calling itself.",
    ),
)
def _merge(answer: Answer) -> str:
    lowest = {("a", "b"): 0, ("b", "c</w>"): 1}
    tell(as_pieces(answer, ("a", "b", "c</w>"), dict(lowest)), ("ab", "c</w>"), [
        (("a", "bc</w>"), "The HIGHEST rank went first. Rank 0 was learned first, and goes first."),
        (("a", "b", "c</w>"), "Nothing was merged, though a pair has a rule."),
    ], f"a b c</w> and the ranks {lowest}")  # fmt: skip
    greedy = (
        "The pair furthest to the left (or the longest token that fits) went first. Neither place "
        "nor length decides: the lowest rank of all pairs in the word does."
    )
    swapped = {("b", "c</w>"): 0, ("a", "b"): 1}
    tell(as_pieces(answer, ("a", "b", "c</w>"), dict(swapped)), ("a", "bc</w>"),
         [(("ab", "c</w>"), greedy)], f"a b c</w> and the ranks {swapped}")  # fmt: skip
    rules = {("e", "s"): 0, ("es", "t</w>"): 1, ("l", "o"): 2, ("a", "n"): 3, ("lo", "w"): 4}
    kept = dict(rules)
    tell(as_pieces(answer, (*tuple("lowes"), "t</w>"), kept), ("low", "est</w>"), [
        (("l", "o", "w", "es", "t</w>"), "One merge was done. Go on until no pair has a rule."),
        (("lo", "w", "es", "t</w>"), "A merge makes new neighbours (“es” and “t</w>”), and these "
         "can have rules too. Look again after every merge."),
        (("low", "es", "t</w>"), "A merge makes new neighbours (“es” and “t</w>”). Look again."),
        (("lowest</w>",), "Pieces were joined that no rule joins."),
    ], f"l o w e s t</w> and the ranks {rules}")  # fmt: skip
    if kept != rules:
        raise Wrong("The table of ranks has changed. The next word needs it whole.")
    _without_rules(answer, rules)
    return "Always the lowest rank of those present, until no pair has a rule."


def _without_rules(answer: Answer, rules: dict) -> None:
    for word in (("x", "y", "z</w>"), ("q</w>",)):
        try:
            value = as_pieces(answer, word, rules)
        except Wrong as wrong:
            few = "no pair at all" if len(word) == 1 else "no pair with a rule"
            raise Wrong(f"{wrong}\nThe word {word} has {few}: it comes back as it is.") from None
        tell(value, word, [], f"the word {word}, to which no rule applies,")


@exercise(
    "frame_ids",
    hints=(
        "How many of the ids can stay, if start and end take a place each?",
        "Cut the ids first, to two fewer than the length; then put start before and end behind. "
        "What is left over is padding.",
        "A slice that is longer than the list cuts nothing. The padding is a list [0] times the "
        "number of places left.",
    ),
)
def _frame(answer: Answer) -> str:
    start, end = 98, 99
    ids = [5, 6, 7]
    short = f"{ids}, length 8"
    tell(_row(answer, ids, start, end, 8), [98, 5, 6, 7, 99, 0, 0, 0], [
        ([98, 5, 6, 7, 99], "The row isn't filled up. All rows of a batch have the same length."),
        ([98, 5, 6, 7, 99, 99, 99, 99], "You pad with the end token (as transformers does). The "
         "vectors would be the same, but OpenAI's rows, which are asked for, have zeros."),
        ([98, 5, 6, 7, 0, 0, 0, 99], "The end token went behind the padding. It stands right "
         "after the text."),
        ([5, 6, 7, 99, 0, 0, 0, 0], "The start token is missing."),
        ([98, 5, 6, 7, 0, 0, 0, 0], "The end token is missing, where the text's vector is read."),
        ([0, 0, 0, 98, 5, 6, 7, 99], "The padding stands in front, which moves every token to "
         "another position. It comes last."),
    ], short)  # fmt: skip
    long, wanted = list(range(1, 11)), [98, 1, 2, 3, 4, 99]
    tell(_row(answer, long, start, end, 6), wanted, [
        ([98, 1, 2, 3, 4, 5], "A text that is too long lost its end token: the row was put "
         "together first and cut afterwards. Cut the text, then add the end."),
        ([98, *long, 99], "A text that is too long stays too long. Cut it to fit."),
        ([98, 7, 8, 9, 10, 99], "The beginning of a long text was cut off. Keep it: cut the end."),
        ([98, 1, 2, 3, 4, 5, 99], "The row is one too long: start AND end need a place."),
        ([98, 1, 2, 3, 99, 0], "One token too few was kept: there is a place left over."),
    ], f"{long}, length 6")  # fmt: skip
    tell(_row(answer, [1, 2, 3, 4], start, end, 6), wanted, [
        ([98, 1, 2, 3, 99, 0], "Four ids, start and end fit into 6 places. You cut one off."),
    ], "[1, 2, 3, 4], length 6")  # fmt: skip
    if ids != [5, 6, 7]:
        raise Wrong("The list that was handed in has changed. Make a new one.")
    return "Start, text, end, zeros; a long text loses its own end, never the end token."


def _row(answer: Answer, ids: list[int], start: int, end: int, length: int) -> list[int]:
    result = answer(ids, start, end, length)
    if isinstance(result, Tensor):
        result = result.tolist()
    if not isinstance(result, list | tuple):
        raise Wrong(f"That is a {type(result).__name__}; a list of ids was asked for.")
    return list(result)


def tokenizer_of(*merges: str) -> Tokenizer:
    """A small tokenizer from merges such as "e s"."""
    return Tokenizer([(left, right) for left, right in map(str.split, merges)])
