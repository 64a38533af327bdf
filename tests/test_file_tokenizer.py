"""Tokenizers from published files: ids equal to their owners', on every script; nothing lost."""

import itertools
import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_tokenizer import many_strings
from vocabularies import (
    GEMMA_CONFIG,
    SPIECE,
    SPIECE_IDS,
    T5_CONFIG,
    bert_vocab,
    corpus,
    gemma_json,
    t5_json,
)

from clip_lab.errors import LabError
from clip_lab.file_tokenizer import FileTokenizer

SIGLIP = FileTokenizer(SPIECE.read_bytes(), 64)

ODD = ["", " ", "!?", "  A  Photo, of a_Cat! ", "&amp; cafÃ©", "İstanbul ΟΔΟΣ", "[toxicity=0]"]
ODD += [
    "[SEP] a [CLS]",
    "<eos> b <pad>",
    "<unk></s> c",
    "a\x00b\x1cc\u200bd\u3000e",
    "▁x▁▁y ▁",
    "x" * 300,
]
STRINGS = [*ODD, *many_strings(2000), *corpus()[::100], *SPIECE_IDS]


# -- SentencePiece --------------------------------------------------------------------------------


def test_siglip_s_ids_are_those_that_transformers_gave():
    # Written down by tests/data/make_spiece.py, so that no peer is needed here.
    for text, ids in SPIECE_IDS.items():
        assert [*SIGLIP.encode(text), 1] == ids, text


def test_white_space_or_punctuation_in_front_leaves_a_second_mark():
    # SiglipTokenizer's way: it puts the mark there itself, before it cleans the text.
    assert SIGLIP.encode("dog") != SIGLIP.encode(" dog") == SIGLIP.encode("- dog")
    assert SIGLIP.decode(SIGLIP(["- A Dog!"])[0].tolist()) == "a dog"


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60))
def test_what_is_no_sentencepiece_model_is_refused(data):
    with pytest.raises(LabError, match="SentencePiece"):
        FileTokenizer(data, 64)


@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_a_sentencepiece_model_cut_short_is_refused(part):
    data = SPIECE.read_bytes()
    with pytest.raises(LabError):
        FileTokenizer(data[: int(len(data) * part)], 64)


@pytest.mark.peers
@pytest.mark.filterwarnings("ignore:This sequence already has")
@pytest.mark.parametrize("rule", ["nmt_nfkc", "identity"])
def test_ids_equal_siglip_s_in_transformers(peers, tmp_path, rule):
    sentencepiece = pytest.importorskip("sentencepiece", reason="sentencepiece is not installed")
    pytest.importorskip("google.protobuf", reason="protobuf is not installed")
    from transformers import SiglipTokenizer

    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(corpus()[::2]), model_prefix=str(tmp_path / "spiece"),
        vocab_size=6000, normalization_rule_name=rule, byte_fallback=rule == "identity",
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, num_threads=1, minloglevel=2,
    )  # fmt: skip
    theirs = SiglipTokenizer(str(tmp_path / "spiece.model"))
    ours = FileTokenizer((tmp_path / "spiece.model").read_bytes(), 64)
    ties = ["".join(letters) for letters in itertools.product("ate ", repeat=5)]
    for text in [*STRINGS, *ties]:
        assert [*ours.encode(text), 1] == theirs(text).input_ids, text
    rows = theirs(STRINGS, padding="max_length", truncation=True, return_tensors="pt").input_ids
    assert torch.equal(ours(STRINGS, truncate=True), rows)


# -- tokenizer.json and vocab.txt -----------------------------------------------------------------

NO_SIDE = {name: value for name, value in GEMMA_CONFIG.items() if name != "padding_side"}
SIGLIP2 = GEMMA_CONFIG | {"tokenizer_class": "Siglip2Tokenizer"}
BERT = {"tokenizer_class": "BertTokenizer"}
CASED = BERT | {"do_lower_case": False, "tokenize_chinese_chars": False}

# file, its text, tokenizer_config.json, context length
FILES = {
    "SigLIP 2, as Gemma": ("tokenizer.json", gemma_json, GEMMA_CONFIG, 64),
    "SigLIP 2": ("tokenizer.json", gemma_json, SIGLIP2, 64),
    "padded on the left": ("tokenizer.json", gemma_json, NO_SIDE, 64),
    "T5": ("tokenizer.json", t5_json, T5_CONFIG, 64),
    "Chinese-CLIP": ("vocab.txt", bert_vocab, BERT, 52),
    "BERT, cased": ("vocab.txt", bert_vocab, CASED, 52),
}

OWNERS = [(file, "none") for file in FILES if file != "T5"]
OWNERS += [("T5", "canonicalize"), ("SigLIP 2, as Gemma", "canonicalize"), ("T5", "whitespace")]
OWNERS += [("Chinese-CLIP", "whitespace"), ("BERT, cased", "lower")]


def from_file(name: str, text: str, config: dict, length: int, clean: str) -> FileTokenizer:
    if name == "vocab.txt":
        return FileTokenizer.from_vocab(text, length, config, clean)
    return FileTokenizer(text, length, config, clean)


@pytest.mark.peers
@pytest.mark.parametrize(("file", "clean"), OWNERS)
def test_rows_equal_the_owner_s(peers, tmp_path, file, clean):
    # "none" is transformers' own; the rest is what OpenCLIP's HFTokenizer does first.
    from open_clip.tokenizer import HFTokenizer
    from transformers import AutoTokenizer

    name, text, config, length = FILES[file]
    (tmp_path / name).write_text(text())
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
    ours = from_file(name, text(), config, length, clean)
    if clean == "none":
        how = {"padding": "max_length", "truncation": True, "max_length": length}
        made = AutoTokenizer.from_pretrained(tmp_path)
        rows = made(STRINGS, return_tensors="pt", **how).input_ids
        assert len(ours) == len(made)
    else:
        rows = HFTokenizer(str(tmp_path), length, clean)(STRINGS)
    ids = ours(STRINGS, truncate=True)
    assert [STRINGS[i] for i in (ids != rows).any(1).nonzero()] == []


@pytest.mark.parametrize("file", FILES.values(), ids=FILES)
@settings(max_examples=30, deadline=None)
@given(text=st.text(max_size=80))
def test_every_text_gives_a_row_of_known_ids(file, text):
    name, source, config, length = file
    ours = cached(name, source(), length, config["tokenizer_class"])
    row = ours([text], truncate=True)
    assert row.shape == (1, length)
    assert row.min() >= 0 and row.max() < len(ours)


MADE: dict = {}


def cached(name: str, text: str, length: int, kind: str) -> FileTokenizer:
    if (name, kind) not in MADE:
        MADE[name, kind] = from_file(name, text, {"tokenizer_class": kind}, length, "none")
    return MADE[name, kind]


def test_marks_and_padding():
    chinese = FileTokenizer.from_vocab(bert_vocab(), 12)
    ids = chinese.encode("dog")
    assert chinese(["dog"]).tolist() == [[2, *ids, 3, *[0] * (10 - len(ids))]]  # [CLS] [SEP] [PAD]
    assert chinese.decode(chinese(["dog"])[0].tolist()) == "dog"
    right, left = (FileTokenizer(gemma_json(), 8, config) for config in (GEMMA_CONFIG, NO_SIDE))
    ids = [*right.encode("dog"), 1]
    assert right(["dog"]).tolist() == [ids + [0] * (8 - len(ids))]
    assert left(["dog"]).tolist() == [[0] * (8 - len(ids)) + ids]
    assert right.decode(right(["a dog"])[0].tolist()) == "a dog"
    ids = SIGLIP.encode("dog")
    assert SIGLIP(["dog"]).tolist() == [ids + [1] * (64 - len(ids))]
    assert SIGLIP([]).shape == (0, 64)


def test_siglip_2_reads_capitals_only_in_gemma_s_clothes():
    texts = ["A Dog", "a dog"]
    gemma, siglip2 = (FileTokenizer(gemma_json(), 16, config) for config in (GEMMA_CONFIG, SIGLIP2))
    assert not torch.equal(*gemma(texts))
    assert torch.equal(*siglip2(texts))


@pytest.mark.parametrize("file", FILES.values(), ids=FILES)
def test_a_text_that_is_too_long_says_so_or_is_cut_before_its_end(file):
    ours = from_file(file[0], file[1](), file[2], file[3], "none")
    room = file[3] - len(ours.before) - len(ours.after)
    long = "dog " * 200
    with pytest.raises(LabError, match=rf"has {len(ours.encode(long))} tokens.*at most {room}"):
        ours([long])
    (row,) = ours([long], truncate=True)
    assert row.tolist() == [*ours.before, *ours.encode(long)[:room], *ours.after]


def test_a_lone_surrogate_is_read_as_a_question_mark():
    for ours in (SIGLIP, FileTokenizer.from_vocab(bert_vocab(), 52)):
        assert ours.encode("a\ud800b") == ours.encode("a?b")


@pytest.mark.parametrize("file", FILES.values(), ids=FILES)
def test_json_makes_the_same_tokenizer(file):
    ours = from_file(file[0], file[1](), file[2], file[3], "whitespace")
    copy = FileTokenizer.from_json(ours.to_json())
    assert torch.equal(copy(STRINGS[:200], truncate=True), ours(STRINGS[:200], truncate=True))
    assert copy.to_json() == ours.to_json()


def test_json_makes_the_same_tokenizer_from_sentencepiece():
    copy = FileTokenizer.from_json(SIGLIP.to_json())
    assert copy.source == SIGLIP.source
    assert torch.equal(copy(STRINGS[:50], truncate=True), SIGLIP(STRINGS[:50], truncate=True))


@pytest.mark.parametrize("text", ["{", "[]", '{"kind": "file"}', '{"kind": "x"}', '{"merges": []}'])
def test_other_json_is_refused(text):
    with pytest.raises((KeyError, TypeError, ValueError)):
        FileTokenizer.from_json(text)


def test_damaged_files_are_refused_in_a_sentence():
    with pytest.raises(LabError, match=r"tokenizer\.json can't be read"):
        FileTokenizer(gemma_json()[:1000], 64)
    with pytest.raises(LabError, match="no token “</s>”"):
        FileTokenizer(gemma_json(), 64, {"pad_token": "</s>"})
    with pytest.raises(LabError, match=r"\[UNK\] is missing"):
        FileTokenizer.from_vocab("a\nb\n", 52)
    with pytest.raises(LabError, match="no piece “<end>”"):
        FileTokenizer(SPIECE.read_bytes(), 64, {"eos_token": {"content": "<end>"}})
    with pytest.raises(LabError, match="no text cleaning “tidy”"):
        FileTokenizer.from_vocab(bert_vocab(), 52, clean="tidy")
