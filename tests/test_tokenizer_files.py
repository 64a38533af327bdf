"""Which tokenizer a folder of weights means, and folders that its owner reads the same way."""

import gzip
import json
from pathlib import Path

import pytest
import torch
from test_tokenizer import LOST_BY_OPENAI, many_strings
from vocabularies import GEMMA_CONFIG, SPIECE, T5_CONFIG, bert_vocab, corpus, gemma_json, t5_json

from clip_lab.errors import LabError
from clip_lab.file_tokenizer import FileTokenizer
from clip_lab.pretrained.tokenizer_files import (
    MERGES,
    is_openai,
    open_clip_tokenizer_kwargs,
    openai_tokenizer,
    tokenizer_from_folder,
    tokenizer_from_json,
    tokenizer_to_huggingface,
)
from clip_lab.tokenizer import Tokenizer

OPENAI = openai_tokenizer()
SIGLIP_CONFIG = {
    "tokenizer_class": "SiglipTokenizer",
    "eos_token": "</s>",
    "pad_token": "</s>",
    "unk_token": "<unk>",
    "do_lower_case": True,
    "model_max_length": 64,
    "added_tokens_decoder": {"1": {"content": "</s>"}, "2": {"content": "<unk>"}},
}
STRINGS = [*many_strings(1500), *corpus()[::150], "ΟΔΟΣ ΣΟΦΟΣ", "İstanbul", "&amp; I'VE  it's"]


def fill(folder: Path, files: dict) -> Path:
    for name, content in files.items():
        if isinstance(content, dict):
            content = json.dumps(content)
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


# -- CLIP's own -----------------------------------------------------------------------------------


def test_the_lab_ships_the_merges_that_clip_uses():
    assert (len(OPENAI), OPENAI.start, OPENAI.end) == (49408, 49406, 49407)
    assert len(set(OPENAI.vocabulary)) == 49408
    assert OPENAI(["a photo of a dog"])[0, :7].tolist() == [49406, 320, 1125, 539, 320, 1929, 49407]
    assert openai_tokenizer(32)(["dog"]).shape == (1, 32)
    assert is_openai(OPENAI) and not is_openai(Tokenizer([]))


@pytest.mark.peers
def test_the_shipped_merges_are_openai_s(peers):
    assert Tokenizer.from_openai(peers.openai_merges).merges == OPENAI.merges
    text = "".join(f"{left} {right}\n" for left, right in OPENAI.merges)
    assert gzip.decompress(MERGES.read_bytes()).decode() == text  # as scripts/ has it written


def test_a_folder_without_merges_means_openai_s(tmp_path):
    made = tokenizer_from_folder(tmp_path, "clip", 77, {})
    assert is_openai(made) and made.repair


@pytest.mark.peers
def test_ids_of_a_folder_written_for_transformers_are_transformers_own(peers, tmp_path):
    from transformers import AutoTokenizer, CLIPTokenizer

    fill(tmp_path, tokenizer_to_huggingface(OPENAI))
    theirs = CLIPTokenizer.from_pretrained(tmp_path)
    assert type(AutoTokenizer.from_pretrained(tmp_path)) is CLIPTokenizer
    ours = tokenizer_from_folder(tmp_path, "clip", 77)
    assert len(theirs) == len(ours) == 49408
    for text in STRINGS:  # as they come: transformers doesn't mend them, and so nor do we
        assert ours.encode(text) == theirs.encode(text, add_special_tokens=False), text
    rows = theirs(STRINGS[:100], padding="max_length", truncation=True, return_tensors="pt")
    ids = ours(STRINGS[:100], truncate=True)
    assert torch.equal(ids, rows.input_ids * rows.attention_mask)  # theirs repeats the end


@pytest.mark.peers
def test_ids_of_the_same_folder_read_as_open_clip_s_are_open_clip_s_own(peers, tmp_path):
    fill(tmp_path, tokenizer_to_huggingface(OPENAI))
    ours = tokenizer_from_folder(tmp_path, "clip", 77, {"clean": "lower"})
    texts = [text for text in STRINGS if LOST_BY_OPENAI not in text.lower()]
    assert torch.equal(ours(texts, truncate=True), peers.open_clip_tokenizer(texts))
    assert ours.encode("caf\u00c3\u00a9 &amp;") == ours.encode("café &")


@pytest.mark.peers
def test_merges_are_found_in_tokenizer_json_too(peers, tmp_path):
    from transformers import CLIPTokenizer

    learnt = Tokenizer.train(corpus()[::20], 900, context_length=20)
    fill(tmp_path, tokenizer_to_huggingface(learnt))
    theirs = CLIPTokenizer.from_pretrained(tmp_path)
    theirs.save_pretrained(tmp_path / "saved")
    assert not (tmp_path / "saved" / "merges.txt").exists()
    ours = tokenizer_from_folder(tmp_path / "saved", "clip", 20)
    assert (ours.vocabulary, ours.merges) == (learnt.vocabulary, learnt.merges)
    old = json.loads((tmp_path / "saved" / "tokenizer.json").read_text())
    old["model"]["merges"] = [" ".join(pair) for pair in old["model"]["merges"]]  # before 2024
    fill(tmp_path / "saved", {"tokenizer.json": old})
    assert tokenizer_from_folder(tmp_path / "saved", "clip", 20).merges == learnt.merges
    for text in STRINGS[::5]:
        assert ours.encode(text) == theirs.encode(text, add_special_tokens=False), text


def test_a_vocabulary_in_another_order_is_refused(tmp_path):
    files = tokenizer_to_huggingface(Tokenizer.train(corpus()[::50], 600))
    vocabulary = json.loads(files["vocab.json"])
    vocabulary["!"], vocabulary['"'] = vocabulary['"'], vocabulary["!"]
    fill(tmp_path, {**files, "vocab.json": vocabulary})
    with pytest.raises(LabError, match="not numbered as CLIP's"):
        tokenizer_from_folder(tmp_path, "clip", 77)


@pytest.mark.parametrize(
    "files",
    [
        {"merges.txt": "#version: 0.2\na b c\n"},
        {"merges.txt": b"\xff\xfe"},
        {"merges.txt": "", "vocab.json": "{"},
        {"merges.txt": "", "vocab.json": "[]"},
        {"tokenizer.json": {"model": {"merges": [["a"]]}}},
        {"tokenizer.json": {"model": {}}},
    ],
    ids=str,
)
def test_damaged_files_of_clip_s_are_refused_in_a_sentence(files, tmp_path):
    with pytest.raises(LabError, match=r"damaged|can't be read"):
        tokenizer_from_folder(fill(tmp_path, files), "clip", 77)


# -- the others -----------------------------------------------------------------------------------

SIGLIP = {"spiece.model": SPIECE.read_bytes(), "tokenizer_config.json": SIGLIP_CONFIG}
T5 = {"tokenizer.json": t5_json(), "tokenizer_config.json": T5_CONFIG}
GEMMA = {"tokenizer.json": gemma_json(), "tokenizer_config.json": GEMMA_CONFIG}
CHINESE = {"vocab.txt": bert_vocab()}

# files, kind, context length, OpenCLIP's tokenizer_kwargs
FOLDERS = {
    "SigLIP for OpenCLIP": (T5, "siglip", 64, {"clean": "canonicalize"}),
    "SigLIP 2 for OpenCLIP": (GEMMA, "siglip", 64, {"clean": "canonicalize"}),
    "SigLIP 2 for transformers": (GEMMA, "siglip", 64, None),
    "Chinese-CLIP": (CHINESE, "chinese_clip", 52, None),
    "Chinese-CLIP for OpenCLIP": (CHINESE, "chinese_clip", 52, {}),
}


def their_rows(folder: Path, length: int, tokenizer_kwargs: dict | None) -> torch.Tensor:
    """The owner's ids of `STRINGS`, by its own reading of the folder."""
    from open_clip.tokenizer import HFTokenizer
    from transformers import AutoTokenizer

    if tokenizer_kwargs is not None:
        return HFTokenizer(str(folder), length, **tokenizer_kwargs)(STRINGS)
    how = {"padding": "max_length", "truncation": True, "max_length": length}
    return AutoTokenizer.from_pretrained(folder)(STRINGS, return_tensors="pt", **how).input_ids


@pytest.mark.peers
@pytest.mark.parametrize("made", FOLDERS.values(), ids=FOLDERS)
def test_ids_are_the_owner_s_and_stay_so_when_written_back(peers, tmp_path, made):
    files, kind, length, tokenizer_kwargs = made
    fill(tmp_path, {"config.json": {"model_type": kind}, **files})
    ours = tokenizer_from_folder(tmp_path, kind, length, tokenizer_kwargs)
    rows = ours(STRINGS, truncate=True)
    assert torch.equal(rows, their_rows(tmp_path, length, tokenizer_kwargs))
    again = tmp_path / "again"
    again.mkdir()
    fill(again, {"config.json": {"model_type": kind}, **tokenizer_to_huggingface(ours)})
    if tokenizer_kwargs is not None:
        assert open_clip_tokenizer_kwargs(ours) == {"clean": "whitespace", **tokenizer_kwargs}
    assert torch.equal(rows, their_rows(again, length, tokenizer_kwargs))
    copy = tokenizer_from_folder(again, kind, length, tokenizer_kwargs)
    assert copy.to_json() == ours.to_json()


@pytest.mark.peers
@pytest.mark.parametrize("tokenizer_kwargs", [None, {"clean": "canonicalize"}], ids=str)
def test_siglip_s_sentencepiece_folder_too(peers, tmp_path, tokenizer_kwargs):
    pytest.importorskip("sentencepiece", reason="sentencepiece is not installed")
    fill(tmp_path, {"config.json": {"model_type": "siglip"}, **SIGLIP})
    ours = tokenizer_from_folder(tmp_path, "siglip", 64, tokenizer_kwargs)
    theirs = their_rows(tmp_path, 64, tokenizer_kwargs)
    assert torch.equal(ours(STRINGS, truncate=True), theirs)


def test_siglip_s_files_come_back_as_they_were(tmp_path):
    ours = tokenizer_from_folder(fill(tmp_path, SIGLIP), "siglip", 64)
    written = tokenizer_to_huggingface(ours)
    assert written["spiece.model"] == SIGLIP["spiece.model"]
    assert json.loads(written["tokenizer_config.json"]) == SIGLIP_CONFIG


def test_special_tokens_are_also_found_in_their_own_file(tmp_path):
    marks = {"pad_token": {"content": "<bos>"}}
    bare = {name: value for name, value in GEMMA_CONFIG.items() if not name.startswith("pad_t")}
    fill(tmp_path, {**GEMMA, "tokenizer_config.json": bare, "special_tokens_map.json": marks})
    assert tokenizer_from_folder(tmp_path, "siglip", 64).pad == 2
    fill(tmp_path, {"tokenizer_config.json": bare | {"added_tokens_decoder": {}}})
    assert tokenizer_from_folder(tmp_path, "siglip", 64).pad == 0  # as transformers: not then


@pytest.mark.parametrize("text", [OPENAI.to_json(), None], ids=["merges", "file"])
def test_the_lab_s_own_layout_keeps_either(text):
    made = FileTokenizer.from_vocab(bert_vocab(), 52)
    copy = tokenizer_from_json(text or made.to_json())
    assert type(copy) is (Tokenizer if text else FileTokenizer)
    assert copy.encode("a dog") == (OPENAI if text else made).encode("a dog")


@pytest.mark.parametrize(
    ("files", "kind", "tokenizer_kwargs", "message"),
    [
        ({}, "siglip", None, "no tokenizer: spiece.model"),
        ({"tokenizer.json": gemma_json()}, "siglip", None, "tokenizer_config.json"),
        ({}, "chinese_clip", {}, "no tokenizer: vocab.txt"),
        ({"vocab.txt": b"\xff"}, "chinese_clip", {}, "can't be read"),
        ({"tokenizer.json": "{"}, "chinese_clip", {}, "can't be read"),
        ({"spiece.model": b"\x0a\xff"}, "siglip", None, "SentencePiece"),
        (SIGLIP | {"tokenizer_config.json": "nul"}, "siglip", None, "tokenizer_config.json.*dam"),
        (GEMMA, "siglip", {"strip_sep_token": True}, "strip_sep_token"),
        (GEMMA, "siglip", {"clean": "tidy"}, "tidy"),
        ({}, "clip", {"clean": "canonicalize"}, "canonicalize"),
        ({}, "clip", {"reduction_mask": "syntax"}, "reduction_mask"),
        ({}, "gpt", None, "no kind of tokenizer “gpt”"),
    ],
)
def test_what_is_missing_or_not_done_here_is_named(
    files, kind, tokenizer_kwargs, message, tmp_path
):
    with pytest.raises(LabError, match=message):
        tokenizer_from_folder(fill(tmp_path, files), kind, 64, tokenizer_kwargs)
