"""Chapter 2, the exercises at its end: where a row ends, back to text, and the fewest tokens."""

from typing import Any

import torch

from clip_lab.course.chapters.byte_pairs import tell, tokenizer_of
from clip_lab.course.checks import Answer, Wrong, compare, exercise


@exercise(
    "where_it_ends",
    hints=(
        "Which entries of a row ARE the end token? That is a comparison, yes or no for each entry.",
        "Of the yeses you want the first. argmax gives the place of the first largest entry, and a "
        "yes as a number is larger than a no.",
        "Compare with ==, turn the result into int (argmax knows no booleans), and take the argmax "
        "along each row.",
    ),
)
def _ends(answer: Answer) -> str:
    end, above = 99, 120  # `above`: a token that somebody added later
    tokens = torch.tensor(
        [
            [98, 5, 99, 0, 0, 0],
            [98, 5, 6, 7, 8, 99],
            [98, 5, above, 6, 99, 0],
            [98, 5, 6, 99, 99, 99],  # padded with the end token, as some do
        ]
    )
    result = answer.tensor(tokens, end, shape=(4,), means="one place a row")
    wanted, largest = torch.tensor([2.0, 5, 4, 3]).double(), tokens.argmax(1).double()
    last = torch.tensor([2.0, 5, 4, 5]).double()
    compare(result, wanted, [
        (largest, "This takes the largest id. A token that was added above the end token (120 in "
         "row 2) then passes for the end. Compare with the end token itself."),
        (last, "Row 3 is padded with end tokens, and you take the last of them (or the last entry "
         "that isn't 0). The text ends at the first."),
        (wanted + 1, "These are counts from 1; places count from 0."),
        (torch.full((4,), 5.0).double(), "This is always the last place. Rows end earlier, and "
         "zeros follow."),
        (torch.zeros(4).double(), "Every row ends at place 0 here: was an argmax taken of rows in "
         "which nothing stands out?"),
    ])  # fmt: skip
    return "By equality, the first one: whatever is added to the vocabulary or used as padding."


@exercise(
    "to_text",
    hints=(
        "Four steps: ids to tokens, end marks to spaces, symbols to bytes, bytes to characters. In "
        "which order, so that half a character in one token meets its other half in the next?",
        "Glue the tokens together first. Split at the spaces, turn each word's symbols into bytes "
        "by BYTE_OF_SYMBOL, and put spaces between the words again.",
        "bytes(numbers) makes bytes from numbers below 256. b' '.join(...) puts them together; "
        "decode('utf-8', errors='replace') comes last, on all of it; strip takes the last space.",
    ),
)
def _text(answer: Answer) -> str:
    tokenizer = tokenizer_of("c a", "ca t</w>", "ç Į")
    said = "cat 猫 naïve 7"
    value = _string(answer, tokenizer.encode(said), tokenizer.vocabulary)
    pieces = [tokenizer.vocabulary[i] for i in tokenizer.encode(said)]
    symbols = "".join(pieces).replace("</w>", " ")
    if "\ufffd" in value:
        raise Wrong(
            f"{said!r} comes back as {value!r}. A token can be part of a character: “猫” is three "
            "bytes in two tokens, and neither half means anything alone. Glue first, decode last."
        )
    tell(value, said, [
        (said + " ", "A space is left over at the end: strip it."),
        (said.replace(" ", ""), "The words run together. An end mark becomes a space."),
        ("".join(pieces), "These are the tokens as the vocabulary spells them. Their marks and "
         "their stand-ins for bytes are still in them."),
        (symbols, "“çĮ«” is how three bytes are written down. Turn symbols back into bytes, and "
         "bytes into characters."),
        (symbols.strip(), "“çĮ«” is how three bytes are written down. Turn symbols back into "
         "bytes, and bytes into characters."),
        (" ".join(piece.replace("</w>", "") for piece in pieces), "A space stands after every "
         "token. Only where a word ends there is one."),
    ], f"the ids of {said!r}")  # fmt: skip
    half = tokenizer.encode("猫")[:1]
    tell(_string(answer, half, tokenizer.vocabulary), "\ufffd", [
        ("", "Half a character disappeared. errors='replace' shows that something was there."),
    ], "the first token of 猫, two bytes of three,")  # fmt: skip
    return "Glued, then turned into bytes, then decoded: nothing lost but white space."


def _string(answer: Answer, ids: list[int], vocabulary: list[str]) -> str:
    result: Any = answer(list(ids), list(vocabulary))
    if isinstance(result, bytes):
        raise Wrong("These are bytes. decode('utf-8', ...) makes text of them.")
    if not isinstance(result, str):
        raise Wrong(f"That is a {type(result).__name__}; a text was asked for.")
    return result


@exercise(
    "fewest_tokens",
    hints=(
        "Say you knew the fewest tokens for every beginning of the word. The last token starts "
        "somewhere: how do you get the fewest for the whole?",
        "Let best[i] be the fewest for the first i symbols; best[0] is 0. For each stop, try every "
        "place where the last token may begin, if those symbols glued together are in the "
        "vocabulary.",
        "The fewest up to a stop: one more than the fewest up to a begin, for the best begin whose "
        "slice, glued, is a token. Single symbols always are, so there is one. The answer is the "
        "last entry of best.",
    ),
)
def _fewest(answer: Answer) -> str:
    letters = ("a", "b", "c", "d", "e</w>")
    for tokens, wanted, mistakes, given in (
        ({"ab", "abc", "cde</w>"}, 2, [
            (3, "That is what the longest token from the left costs (abc d e). A shorter first "
             "token can leave a better rest: ab cde."),
            (5, "These are single symbols. Longer tokens are in the vocabulary."),
        ], "a b c d e"),
        ({"abc", "cde</w>", "de</w>"}, 2, [
            (3, "That is what the longest token from the right costs. Try every place."),
        ], "a b c d e"),
        ({"abcde</w>", "ab", "cde</w>"}, 1, [
            (2, "The whole word is one token here."), (0, "One token counts as 1: add 1 a token.")
        ], "a b c d e as one token"),
        (set(), 5, [(4, "That is one too few: with single symbols alone, five."),
                    (6, "That is one too many: with single symbols alone, five.")],
         "a b c d e with nothing but single symbols"),
    ):  # fmt: skip
        result = answer(letters, tokens | set(letters))
        if isinstance(result, list | tuple):
            raise Wrong("The number of tokens was asked for, not the tokens.")
        tell(result, wanted, mistakes, f"{given} and the tokens {sorted(tokens)}")
    return "The true minimum. Merging by rank doesn't always reach it, and needn't."
