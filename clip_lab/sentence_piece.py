"""SentencePiece: words into pieces by the path of greatest probability, from a `spiece.model`.

Kudo and Richardson 2018 (arXiv 1808.06226) for the format, Kudo 2018 (arXiv 1804.10959) for the
unigram model: every piece has a log probability, a text's probability is the product over its
pieces, and of all ways to cut it up the most probable one is found by dynamic programming
(Viterbi). A space becomes "▁" and belongs to the piece that follows it.

Equal to the sentencepiece package (seen with 0.2.3) down to its ties: "ttt" as "t tt" or "tt t" is
decided by how sums round in single precision. The file is a protocol buffer, whose few fields that
matter are read here.
"""

import struct
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import numpy as np

from clip_lab.errors import LabError

SPACE = "▁"
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = range(1, 7)  # the types of pieces
UNIGRAM = 1
UNKNOWN_PENALTY = 10.0  # below the least probable piece
MAX_KNOWN = 100_000  # words whose pieces are remembered


class SentencePiece:
    """A unigram model: `pieces`, their log probabilities, and how text is normalised for them.

    `data` is what a `spiece.model` holds. Raises LabError for anything else, and for the models of
    other algorithms that the format can hold (byte-pair encoding).
    """

    def __init__(self, data: bytes):
        try:
            self._read(data)
            self._index()
        except (IndexError, KeyError, TypeError, ValueError, struct.error) as error:
            raise LabError(
                f"The SentencePiece model can't be read ({error}). Fetch the file again; only "
                "unigram models are known here."
            ) from error
        self._known: dict[tuple[str, float], tuple[list[int], float]] = {}

    def _read(self, data: bytes) -> None:
        """The fields of `sentencepiece_model.proto` by their numbers."""
        self.pieces: list[str] = []
        self.scores: list[float] = []
        self.types: list[int] = []
        trainer: dict[int, Any] = {}
        normalizer: dict[int, Any] = {}
        for number, value in _fields(data):
            if number == 1:
                piece = dict(_fields(value))
                self.pieces.append(piece[1].decode("utf-8"))
                self.scores.append(struct.unpack("<f", piece.get(2, bytes(4)))[0])
                self.types.append(piece.get(3, NORMAL))
            elif number == 2:
                trainer = dict(_fields(value))
            elif number == 3:
                normalizer = dict(_fields(value))
        if trainer.get(3, UNIGRAM) != UNIGRAM:
            raise ValueError("it is no unigram model")
        self.unknown = self.types.index(UNKNOWN)
        self.byte_fallback = bool(trainer.get(35, False))
        self.remove_extra_spaces = bool(normalizer.get(4, True))
        # What is replaced by what: a trie's size in bytes, the trie, the replacements.
        self.charsmap: bytes = normalizer.get(2, bytes(4))
        size = int.from_bytes(self.charsmap[:4], "little")
        self._trie = np.frombuffer(self.charsmap[4 : 4 + size], "<u4").tolist()
        self._replacements = self.charsmap[4 + size :]

    def _index(self) -> None:
        """What the search looks up."""
        self.id_of = {
            piece: i
            for i, (piece, kind) in enumerate(zip(self.pieces, self.types, strict=True))
            if kind in (NORMAL, USER_DEFINED)
        }
        self.longest = max(map(len, self.id_of))
        self.across_spaces = any(SPACE in piece[1:] for piece in self.id_of)
        likely = [self.scores[i] for i, kind in enumerate(self.types) if kind == NORMAL]
        self.unknown_score = _single(min(likely) - UNKNOWN_PENALTY)
        self.byte_ids = {p: i for i, p in enumerate(self.pieces) if self.types[i] == BYTE}
        if self.byte_fallback and len(self.byte_ids) != 256:
            raise ValueError("it lacks pieces for some bytes")

    def __len__(self) -> int:
        return len(self.pieces)

    # -- text to ids ------------------------------------------------------------------------------

    def encode(self, text: str, score: float = 0.0) -> list[int]:
        """The ids of the most probable pieces of a normalised text.

        `score`: the log probability of what went before it, which can matter for a tie.
        """
        ids: list[int] = []
        for word in self._words(text):
            more, score = self._segment(word, score)
            ids += more
        return ids

    def score(self, text: str) -> float:
        """The log probability of the most probable way to cut up a normalised text."""
        score = 0.0
        for word in self._words(text):
            _, score = self._segment(word, score)
        return score

    def _words(self, text: str) -> Iterator[str]:
        """Cut before every "▁", unless there are pieces that go on across it."""
        start = 0
        while start < len(text):
            end = -1 if self.across_spaces else text.find(SPACE, start + 1)
            end = len(text) if end < 0 else end
            yield text[start:end]
            start = end

    def _segment(self, word: str, score: float) -> tuple[list[int], float]:
        """The pieces of a word and their log probability, on top of a `score`."""
        if (word, score) not in self._known:
            if len(self._known) > MAX_KNOWN:
                self._known = {}
            self._known[word, score] = self._most_probable(word, score)
        return self._known[word, score]

    def _most_probable(self, word: str, score: float) -> tuple[list[int], float]:
        """The dynamic programme.

        `best[end]` is the best path to this place: its score, where its last piece began, that
        piece's id. Of equals, the one found first stays.
        """
        best: list[tuple[float, int, int] | None] = [(score, 0, 0), *[None] * len(word)]
        for start in range(len(word)):
            score_here = best[start][0]  # pyright: ignore[reportOptionalSubscript]
            for end in range(start + 1, min(start + self.longest, len(word)) + 1):
                i = self.id_of.get(word[start:end])
                if i is not None:
                    candidate = _single(score_here + self.scores[i])
                elif end == start + 1:
                    i, candidate = self.unknown, _single(score_here + self.unknown_score)
                else:
                    continue
                known = best[end]
                if known is None or candidate > known[0]:
                    best[end] = (candidate, start, i)
        return self._ids_of_path(word, best), best[-1][0]  # pyright: ignore[reportOptionalSubscript]

    def _ids_of_path(self, word: str, best: list) -> list[int]:
        """Back along the best path. A run of unknown characters is one unknown piece, or bytes."""
        path: list[tuple[int, str]] = []
        end = len(word)
        while end > 0:
            _, start, i = best[end]
            path.append((i, word[start:end]))
            end = start
        ids: list[int] = []
        for i, run in groupby(reversed(path), key=lambda step: step[0]):
            if i != self.unknown:
                ids += [i for _ in run]
            elif self.byte_fallback:
                text = "".join(piece for _, piece in run)
                ids += [self.byte_ids[f"<0x{byte:02X}>"] for byte in text.encode("utf-8")]
            else:
                ids.append(i)
        return ids

    # -- normalisation ----------------------------------------------------------------------------

    def normalize(self, text: str) -> str:
        """Characters replaced by the model's own table, spaces single and written "▁".

        As for a text that goes on from another: nothing is put before it.
        """
        data = text.encode("utf-8")
        out = bytearray()
        after_space = False
        start = 0
        while start < len(data):
            length, replacement = self._replacement(data, start)
            start += length
            if after_space:
                replacement = replacement.lstrip(b" ")
            if replacement:
                out += replacement
                after_space = self.remove_extra_spaces and replacement.endswith(b" ")
        normal = out.decode("utf-8").replace(" ", SPACE)
        return normal.rstrip(SPACE) if self.remove_extra_spaces else normal

    def _replacement(self, data: bytes, start: int) -> tuple[int, bytes]:
        """The longest run of bytes that the table knows, and what it becomes; else one character.

        The table is a double-array trie (Yata's Darts-clone): from a node, a byte leads to the unit
        at `node ^ byte` if that unit is labelled with it.
        """
        length, value = 0, 0
        node = _offset(self._trie[0]) if self._trie else 0
        for end in range(start, len(data) if self._trie else 0):
            node ^= data[end]
            unit = self._trie[node]
            if unit & 0x800000FF != data[end]:
                break
            node ^= _offset(unit)
            if unit & 0x100:  # a known run ends here
                length, value = end + 1 - start, self._trie[node] & 0x7FFFFFFF
        if length:
            return length, self._replacements[value : self._replacements.index(0, value)]
        end = start + 1
        while end < len(data) and data[end] & 0xC0 == 0x80:  # a character's further bytes
            end += 1
        return end - start, data[start:end]

    # -- ids to text ------------------------------------------------------------------------------

    def decode(self, ids: list[int]) -> str:
        """The normalised text; what was unknown is " ⁇ ", control pieces are nothing."""
        out = bytearray()
        for i in ids:
            if self.types[i] == BYTE:
                out.append(int(self.pieces[i][1:-1], 16))
            elif self.types[i] == UNKNOWN:
                out += " ⁇ ".encode()
            elif self.types[i] != CONTROL:
                out += self.pieces[i].encode("utf-8")
        return out.decode("utf-8", errors="replace").replace(SPACE, " ").strip()


def _single(value: float) -> float:
    """Rounded to single precision, as sentencepiece stores its sums."""
    return struct.unpack("f", struct.pack("f", value))[0]


def _offset(unit: int) -> int:
    """Where a trie unit's children begin."""
    return (unit >> 10) << ((unit & 0x200) >> 6)


def _fields(data: bytes) -> Iterator[tuple[int, Any]]:
    """Number and value of each field of a protocol buffer: a whole number, or bytes."""
    at = 0
    while at < len(data):
        key, at = _varint(data, at)
        kind = key & 7
        if kind == 0:
            value, at = _varint(data, at)
        else:
            size, at = _varint(data, at) if kind == 2 else ({1: 8, 5: 4}[kind], at)
            value, at = data[at : at + size], at + size
            if at > len(data):
                raise ValueError("it is cut short")
        yield key >> 3, value


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """A whole number in groups of seven bits, the lowest first; and where it ends."""
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value, at
