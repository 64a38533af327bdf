"""Byte-pair encoding: text to the numbers that a text tower reads, and back.

Sennrich et al. 2016 (arXiv 1508.07909) on bytes (as GPT-2), the way CLIP uses it (paper 2.4): lower
case, and a word's last piece carries an end mark, `</w>`. Start from single bytes; then, again and
again, join the two neighbours that were most often neighbours in the training text. Frequent words
end as one token, rare ones as several, and as every byte is a token, no text is ever unknown.
"""

import gzip
import html
import json
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import regex
import torch
from jaxtyping import Int
from torch import Tensor

from clip_lab.errors import LabError

Pair = tuple[str, str]

START, END = "<|startoftext|>", "<|endoftext|>"
WORD_END = "</w>"
MAX_KNOWN = 100_000  # words whose ids are remembered
OPENAI_MERGES = 48_894  # of the 262,144 in OpenAI's file, the ones that CLIP uses

# What counts as one word before any merge: contractions, letters, single digits, other marks.
# (OpenAI's code also says IGNORECASE, which in cleaned text does one thing: it loses U+0345.)
WORDS = regex.compile(
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|\p{L}+|\p{N}|[^\s\p{L}\p{N}]+"
)

# A visible character for each byte, in the order of OpenAI's vocabulary: printable bytes stand for
# themselves, the rest (controls, space) borrow characters from 256 up, so that a list of merges is
# plain text without stray white space.
_PRINTABLE = [*range(33, 127), *range(161, 173), *range(174, 256)]
_HIDDEN = sorted(set(range(256)) - set(_PRINTABLE))
SYMBOL_OF_BYTE = {byte: chr(byte) for byte in _PRINTABLE}
SYMBOL_OF_BYTE |= {byte: chr(256 + i) for i, byte in enumerate(_HIDDEN)}
BYTE_OF_SYMBOL = {symbol: byte for byte, symbol in SYMBOL_OF_BYTE.items()}


@dataclass(frozen=True)
class Merge:
    """One join: `pair` became one piece by the rule of this `rank` (0 was learned first)."""

    pair: Pair
    rank: int
    pieces: tuple[str, ...]  # the whole word after it


@dataclass(frozen=True)
class Word:
    """How one word became tokens: its bytes, each merge in turn, the tokens' ids at the end."""

    text: str
    symbols: tuple[str, ...]
    merges: tuple[Merge, ...]
    ids: tuple[int, ...]


class Tokenizer:
    """Text to token ids by an ordered list of merges.

    The vocabulary is 256 byte symbols, the same 256 with the end mark, one token a merge, and the
    start and end tokens, in this order. `repair` mends broken encodings and HTML entities first
    (ftfy), as OpenAI's code does; their ids can't be matched without it.
    """

    def __init__(self, merges: Sequence[Pair], context_length: int = 77, repair: bool = False):
        symbols = list(SYMBOL_OF_BYTE.values())
        self.merges = list(merges)
        self.context_length = context_length
        self.repair = repair
        self.vocabulary = symbols + [symbol + WORD_END for symbol in symbols]
        self.vocabulary += [left + right for left, right in self.merges] + [START, END]
        self.id_of = {token: i for i, token in enumerate(self.vocabulary)}
        self.rank_of = {pair: rank for rank, pair in enumerate(self.merges)}
        self.longest = max(map(len, self.vocabulary))  # characters in any one token
        self._known: dict[str, tuple[int, ...]] = {START: (self.start,), END: (self.end,)}

    @property
    def start(self) -> int:
        return self.id_of[START]

    @property
    def end(self) -> int:
        return self.id_of[END]

    def __len__(self) -> int:
        return len(self.vocabulary)

    # -- text to ids ------------------------------------------------------------------------------

    def __call__(
        self, texts: Sequence[str], truncate: bool = False
    ) -> Int[Tensor, "texts context_length"]:
        """A row of ids a text: start token, tokens, end token, then zeros.

        Raises LabError for a text that doesn't fit; with `truncate`, its end is cut off instead
        (the end token stays).
        """
        rows = torch.zeros(len(texts), self.context_length, dtype=torch.long)
        room = self.context_length - 2
        for row, text in zip(rows, texts, strict=True):
            ids = self.encode(self._within_reach(text, room, truncate))
            if len(ids) > room and not truncate:
                raise LabError(self._too_long(text, f"{len(ids)} tokens"))
            ids = [self.start, *ids[:room], self.end]
            row[: len(ids)] = torch.tensor(ids)
        return rows

    def _within_reach(self, text: str, room: int, truncate: bool) -> str:
        """Spare the work on texts so long that they can't fit, whatever their tokens are."""
        reach = 4 * room * self.longest
        if len(text) > reach and not truncate:
            raise LabError(self._too_long(text, f"{len(text):,} characters"))
        return text[:reach]

    def _too_long(self, text: str, length: str) -> str:
        return (
            f"The text “{text[:40]}…” has {length}; this model reads at most "
            f"{self.context_length - 2} tokens. Shorten it (in code, truncate=True cuts its end)."
        )

    def encode(self, text: str) -> list[int]:
        """The ids of a text of any length, without start and end token."""
        return [i for word in WORDS.findall(self.clean(text)) for i in self._encode_word(word)]

    def _encode_word(self, word: str) -> tuple[int, ...]:
        if word not in self._known:
            if len(self._known) > MAX_KNOWN:
                self._known = {START: (self.start,), END: (self.end,)}
            *_, pieces = [_symbols(word), *(merge.pieces for merge in self._merge(word))]
            self._known[word] = tuple(self.id_of[piece] for piece in pieces)
        return self._known[word]

    def _merge(self, word: str) -> Iterable[Merge]:
        """Of the pairs present, always the one learned first, wherever it occurs in the word."""
        pieces = _symbols(word)
        while len(pieces) > 1:
            pair = min(pairwise(pieces), key=lambda pair: self.rank_of.get(pair, len(self.merges)))
            if pair not in self.rank_of:
                return
            pieces = _join(pieces, pair)
            yield Merge(pair, self.rank_of[pair], pieces)

    def explain(self, text: str) -> list[Word]:
        """Every word of the text with each of its merges, for a picture of the process."""
        return [
            Word(word, _symbols(word), tuple(self._merge(word)), self._encode_word(word))
            for word in WORDS.findall(self.clean(text))
        ]

    def clean(self, text: str) -> str:
        """One Unicode form, single spaces, lower case."""
        if self.repair:
            import ftfy

            text = html.unescape(html.unescape(ftfy.fix_text(text)))
        else:
            text = "".join(map(str.lower, unicodedata.normalize("NFC", text)))  # Σ is never ς
        # A lone surrogate is no character and has no bytes; everything else passes.
        text = text.encode("utf-8", "replace").decode("utf-8")
        return " ".join(text.split()).strip().lower()

    # -- ids to text ------------------------------------------------------------------------------

    def decode(self, ids: Iterable[int]) -> str:
        """The cleaned text, with one space where a word ended; start, end and padding dropped.

        Nothing but white space is lost: taking it away, decode(encode(t)) equals clean(t).
        """
        tokens = [self.vocabulary[i] for i in self._between_marks(list(ids))]
        text = "".join(token.replace(WORD_END, " ") for token in tokens)
        parts = (bytes(BYTE_OF_SYMBOL[symbol] for symbol in part) for part in text.split(" "))
        return b" ".join(parts).decode("utf-8", errors="replace").strip()

    def _between_marks(self, ids: list[int]) -> list[int]:
        if ids and ids[0] == self.start:  # a padded row: what follows its end is not text
            ids = ids[1 : ids.index(self.end)] if self.end in ids else ids[1:]
        return [i for i in ids if i not in (self.start, self.end)]

    # -- where merges come from -------------------------------------------------------------------

    @classmethod
    def train(cls, corpus: Iterable[str], vocab_size: int, context_length: int = 77) -> "Tokenizer":
        """Learn merges from texts until the vocabulary has `vocab_size` tokens.

        Stops earlier where no pair occurs twice. The same corpus gives the same merges: ties go to
        the pair that sorts first.
        """
        if vocab_size < 2 * len(SYMBOL_OF_BYTE) + 2:
            raise LabError(f"A vocabulary needs at least 514 tokens, not {vocab_size}.")
        plain = cls([])
        counts = Counter(word for text in corpus for word in WORDS.findall(plain.clean(text)))
        merges = _learn_merges(counts, vocab_size - len(plain))
        return cls(merges, context_length)

    @classmethod
    def from_openai(cls, path: str | Path) -> "Tokenizer":
        """Read OpenAI's `bpe_simple_vocab_16e6.txt.gz`: a title line, then a merge a line."""
        lines = gzip.decompress(Path(path).read_bytes()).decode("utf-8").split("\n")
        merges = [tuple(line.split()) for line in lines[1 : 1 + OPENAI_MERGES]]
        return cls(merges, repair=True)  # pyright: ignore[reportArgumentType]

    def to_json(self) -> str:
        """What `from_json` needs to make the same tokenizer again."""
        values = {
            "context_length": self.context_length,
            "repair": self.repair,
            "merges": [" ".join(pair) for pair in self.merges],
        }
        return json.dumps(values, ensure_ascii=False, indent=0)

    @classmethod
    def from_json(cls, text: str) -> "Tokenizer":
        """The inverse of `to_json`. Raises KeyError or ValueError on anything else."""
        values = json.loads(text)
        merges = []
        for line in values["merges"]:
            left, right = line.split(" ")
            merges.append((left, right))
        return cls(merges, values["context_length"], values["repair"])


def _symbols(word: str) -> tuple[str, ...]:
    """A word as one symbol a byte, the last one marked."""
    symbols = [SYMBOL_OF_BYTE[byte] for byte in word.encode("utf-8")]
    return (*symbols[:-1], symbols[-1] + WORD_END)


def _join(pieces: tuple[str, ...], pair: Pair) -> tuple[str, ...]:
    """Every occurrence of the pair, from the left, as one piece."""
    joined: list[str] = []
    i = 0
    while i < len(pieces):
        if pieces[i : i + 2] == pair:
            joined.append(pair[0] + pair[1])
            i += 2
        else:
            joined.append(pieces[i])
            i += 1
    return tuple(joined)


def _learn_merges(counts: Counter[str], number: int) -> list[Pair]:
    """The greedy heart of it: count neighbours, join the most frequent, count again.

    Only the words that hold the joined pair change, so only their counts are made anew.
    """
    words = {word: _symbols(word) for word in counts}
    frequency: Counter[Pair] = Counter()
    holders: defaultdict[Pair, set[str]] = defaultdict(set)
    for word, pieces in words.items():
        for pair in pairwise(pieces):
            frequency[pair] += counts[word]
            holders[pair].add(word)
    merges: list[Pair] = []
    while len(merges) < number and frequency:
        best = min(frequency, key=lambda pair: (-frequency[pair], pair))
        if frequency[best] < 2:
            break
        merges.append(best)
        for word in holders.pop(best):
            for pair in pairwise(words[word]):
                frequency[pair] -= counts[word]
            words[word] = _join(words[word], best)
            for pair in pairwise(words[word]):
                frequency[pair] += counts[word]
                holders[pair].add(word)
        frequency += Counter()  # drops what no longer occurs
        del frequency[best]
    return merges
