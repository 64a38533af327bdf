"""Tokenizers of other models than CLIP, by the files that lie beside their weights.

SigLIP reads SentencePiece's unigram pieces, SigLIP 2 the byte-pair pieces of Gemma, Chinese-CLIP
BERT's WordPiece. Their vocabularies can't be made from a list of merges, so the file itself is the
tokenizer: a `tokenizer.json` or a `vocab.txt` is run by the `tokenizers` package, a `spiece.model`
by `sentencepiece`. What is done to a text before, and which marks go around its ids, is not in
these files: it is what the owner's code does, OpenCLIP's HFTokenizer or transformers.
"""

import base64
import html
import json
import re
import string
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from clip_lab.errors import LabError

SPACE = "▁"  # how pieces write it
NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
LEFT_PADDED = ("GemmaTokenizer", "Siglip2Tokenizer")  # unless their files say otherwise

Config = dict[str, Any]  # a tokenizer_config.json


class FileTokenizer:
    """Text to token ids by a published file.

    `source`: the text of a tokenizer.json, or the bytes of a spiece.model. `config`: the
    tokenizer_config.json beside it. `clean`: what OpenCLIP does to a text first ("whitespace",
    "lower", "canonicalize"), or "none". Every row has the ids `before` and `after` a text's own, as
    transformers puts them, and is filled up with `pad`. Raises LabError for a damaged file.
    """

    def __init__(
        self,
        source: str | bytes,
        context_length: int,
        config: Config | None = None,
        clean: str = "none",
    ):
        if clean not in CLEANERS:
            raise LabError(f"There is no text cleaning “{clean}”. Known: {', '.join(CLEANERS)}.")
        self.source = source
        self.context_length = context_length
        self.config = config or {}
        self.clean = clean
        if isinstance(source, bytes):
            self._pieces = _Siglip(source, self.config)
        else:
            self._pieces = _Pipeline(source, self.config)
        self.before, self.after = self._pieces.marks()
        self.pad = self._pieces.pad
        self.padding_side = self._pieces.padding_side

    def __len__(self) -> int:
        return len(self._pieces)

    def __call__(
        self, texts: Sequence[str], truncate: bool = False
    ) -> Int[Tensor, "texts context_length"]:
        """A row of ids a text, with its marks and padding.

        Raises LabError for a text that doesn't fit; with `truncate`, its end is cut off instead
        (the end mark stays).
        """
        rows = torch.full((len(texts), self.context_length), self.pad, dtype=torch.long)
        room = self.context_length - len(self.before) - len(self.after)
        for row, text in zip(rows, texts, strict=True):
            ids = self.encode(text)
            if len(ids) > room and not truncate:
                raise LabError(
                    f"The text “{text[:40]}…” has {len(ids)} tokens; this model reads at most "
                    f"{room} tokens. Shorten it (in code, truncate=True cuts its end)."
                )
            ids = torch.tensor([*self.before, *ids[:room], *self.after])
            start = 0 if self.padding_side == "right" else len(row) - len(ids)
            row[start : start + len(ids)] = ids
        return rows

    def encode(self, text: str) -> list[int]:
        """The ids of a text of any length, without marks."""
        # A lone surrogate is no character and has no bytes; everything else passes.
        text = text.encode("utf-8", "replace").decode("utf-8")
        return self._pieces.encode(CLEANERS[self.clean](text))

    def decode(self, ids: Iterable[int]) -> str:
        """The cleaned text; marks and padding dropped."""
        marks = {*self.before, *self.after, self.pad}
        return self._pieces.decode([i for i in ids if i not in marks])

    @classmethod
    def from_vocab(
        cls, text: str, context_length: int, config: Config | None = None, clean: str = "none"
    ) -> "FileTokenizer":
        """From BERT's vocab.txt, a piece a line: WordPiece, as transformers' BertTokenizer."""
        config = config or {}
        names = ("unk", "sep", "pad", "cls", "mask")
        marks = {name: _token(config, f"{name}_token", f"[{name.upper()}]") for name in names}
        lines = text.removesuffix("\n").split("\n")
        vocabulary = {line.rstrip(): i for i, line in enumerate(lines)}
        missing = [mark for mark in marks.values() if mark not in vocabulary]
        if missing:
            raise LabError(f"vocab.txt is no BERT vocabulary: {missing[0]} is missing from it.")
        config = {"tokenizer_class": "BertTokenizer", "pad_token": marks["pad"]} | config
        return cls(_word_piece(vocabulary, marks, config), context_length, config, clean)

    def to_json(self) -> str:
        """What `from_json` needs to make the same tokenizer again, the file itself included."""
        source, form = self.source, "tokenizer.json"
        if isinstance(source, bytes):
            source, form = base64.b64encode(source).decode(), "spiece.model"
        values = {
            "kind": "file",
            "format": form,
            "context_length": self.context_length,
            "config": self.config,
            "clean": self.clean,
            "source": source,
        }
        return json.dumps(values, ensure_ascii=False, indent=0)

    @classmethod
    def from_json(cls, text: str) -> "FileTokenizer":
        """The inverse of `to_json`. Raises KeyError, TypeError or ValueError on anything else."""
        values = json.loads(text)
        if values.pop("kind") != "file":
            raise ValueError("not a tokenizer from a file")
        if values.pop("format") == "spiece.model":
            values["source"] = base64.b64decode(values["source"])
        return cls(**values)


# -- what OpenCLIP does to a text first -----------------------------------------------------------


def _whitespace(text: str) -> str:
    """Broken encodings and HTML entities mended, single spaces."""
    import ftfy

    return " ".join(html.unescape(html.unescape(ftfy.fix_text(text))).split())


def _canonical(text: str) -> str:
    """Also lower case and without punctuation, as Google's big_vision prepares text for SigLIP."""
    text = _whitespace(text).replace("_", " ").translate(NO_PUNCTUATION)
    return " ".join(text.lower().split())


CLEANERS: dict[str, Callable[[str], str]] = {
    "none": lambda text: text,
    "whitespace": _whitespace,
    "lower": lambda text: _whitespace(text).lower(),
    "canonicalize": _canonical,
}


# -- the two kinds of file ------------------------------------------------------------------------


class _Siglip:
    """A spiece.model with what transformers' SiglipTokenizer puts around it.

    Lower case, no punctuation. It marks a text's beginning itself, by a "▁" in front (so white
    space or punctuation at the beginning leaves a second one), and has the model read every text as
    going on from "<unk>".
    """

    def __init__(self, data: bytes, config: Config):
        from sentencepiece import SentencePieceProcessor

        if not config.get("do_lower_case", True):
            raise LabError("A SigLIP tokenizer that keeps capitals (do_lower_case) isn't known.")
        self.model = SentencePieceProcessor()
        try:
            loaded = bool(data) and self.model.load_from_serialized_proto(data)
        except (RuntimeError, OSError):
            loaded = False
        if not loaded:
            raise LabError("The SentencePiece model can't be read: it is damaged. Fetch it again.")
        self.end = self._id_of(_token(config, "eos_token", "</s>"))
        self.pad = self._id_of(_token(config, "pad_token", "</s>"))
        self.padding_side: str = config.get("padding_side", "right")
        unknown = self.model.unk_id()
        self.special = {self.model.id_to_piece(i): i for i in (unknown, self.end)}
        self.cut = re.compile("(" + "|".join(map(re.escape, self.special)) + ")")
        self.before = len(self.model.encode("<unk>"))

    def _id_of(self, piece: str) -> int:
        number = self.model.piece_to_id(piece)
        if self.model.id_to_piece(number) != piece:
            raise LabError(f"The SentencePiece model has no piece “{piece}”: it isn't SigLIP's.")
        return number

    def __len__(self) -> int:
        return self.model.get_piece_size()

    def marks(self) -> tuple[list[int], list[int]]:
        return [], [self.end]

    def encode(self, text: str) -> list[int]:
        ids: list[int] = []
        for part in self.cut.split(SPACE + text.replace(SPACE, " ")):
            if part in self.special:
                ids.append(self.special[part])
            else:
                part = re.sub(r"\s+", " ", part.lower().translate(NO_PUNCTUATION)).strip()
                ids += self.model.encode("<unk>" + part)[self.before :]
        return ids[:-1] if ids[-1:] == [self.end] else ids  # it adds no second end

    def decode(self, ids: list[int]) -> str:
        return self.model.decode(ids)


class _Pipeline:
    """A tokenizer.json, run by the `tokenizers` package."""

    def __init__(self, text: str, config: Config):
        from tokenizers import Tokenizer, normalizers

        try:
            self.pipeline = Tokenizer.from_str(text)
        except Exception as error:  # the package raises nothing more exact
            raise LabError(f"A tokenizer.json can't be read ({error}). Fetch it again.") from error
        kind = (config.get("tokenizer_class") or "").removesuffix("Fast")
        if kind == "Siglip2Tokenizer":  # it adds this to Gemma's
            steps = [normalizers.Lowercase(), self.pipeline.normalizer]
            self.pipeline.normalizer = normalizers.Sequence([step for step in steps if step])
        padding = self.pipeline.padding or {}
        side = padding.get("direction") or ("left" if kind in LEFT_PADDED else "right")
        self.padding_side: str = config.get("padding_side", side)
        usual = "<pad>" if self.pipeline.token_to_id("[PAD]") is None else "[PAD]"
        token = _token(config, "pad_token", padding.get("pad_token", usual))
        pad = self.pipeline.token_to_id(token)
        if pad is None:
            raise LabError(f"The tokenizer.json has no token “{token}”. Fetch its files again.")
        self.pad: int = pad
        self.pipeline.no_padding()
        self.pipeline.no_truncation()

    def __len__(self) -> int:
        return self.pipeline.get_vocab_size(with_added_tokens=True)

    def marks(self) -> tuple[list[int], list[int]]:
        """The ids that the file's own post-processor puts before and after a text."""
        marked = self.pipeline.encode("a")
        own = [i for i, sequence in enumerate(marked.sequence_ids) if sequence is not None]
        if not own:
            raise LabError("The tokenizer.json has no token even for “a”. Fetch its files again.")
        return marked.ids[: own[0]], marked.ids[own[-1] + 1 :]

    def encode(self, text: str) -> list[int]:
        return self.pipeline.encode(text, add_special_tokens=False).ids

    def decode(self, ids: list[int]) -> str:
        return self.pipeline.decode(ids)


def _token(config: Config, name: str, otherwise: str) -> str:
    """A token's text by its name in tokenizer_config.json, where it may be a plain string."""
    value = config.get(name)
    if isinstance(value, dict):
        value = value.get("content")
    return value or otherwise


def _word_piece(vocabulary: dict[str, int], marks: dict[str, str], config: Config) -> str:
    """The tokenizer.json that BERT's vocabulary stands for."""
    from tokenizers import AddedToken, Tokenizer, normalizers, pre_tokenizers
    from tokenizers.decoders import WordPiece as Decoder
    from tokenizers.models import WordPiece
    from tokenizers.processors import BertProcessing

    pipeline = Tokenizer(WordPiece(vocabulary, unk_token=marks["unk"]))
    pipeline.normalizer = normalizers.BertNormalizer(
        lowercase=config.get("do_lower_case", True),
        strip_accents=config.get("strip_accents"),
        handle_chinese_chars=config.get("tokenize_chinese_chars", True),
    )
    pipeline.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    pipeline.decoder = Decoder()
    pipeline.post_processor = BertProcessing(
        (marks["sep"], vocabulary[marks["sep"]]), (marks["cls"], vocabulary[marks["cls"]])
    )
    pipeline.add_special_tokens([AddedToken(mark, special=True) for mark in marks.values()])
    return pipeline.to_str()
