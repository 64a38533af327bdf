"""The emoji: table and sheets agree, nothing held out leaks, batches repeat, changes behave."""

import csv
import importlib.util
import itertools
import json
import re
from pathlib import Path
from types import ModuleType

import pytest
import torch
from torch.utils.data import DataLoader

from clip_lab.data.captions import KINDS, TEMPLATES, CaptionMix, Captions, permitted_words
from clip_lab.data.emoji import (
    EmojiPairs,
    EmojiPictures,
    default_weights,
    emoji_test,
)
from clip_lab.data.emoji_table import (
    FILES,
    STYLES,
    TRAINED_STYLES,
    emoji_table,
    forbidden_texts,
    languages,
    pictures,
    texts,
)
from clip_lab.errors import LabError
from clip_lab.training.recipes import emoji_corpus, emoji_tokenizer

TABLE = emoji_table()


@pytest.fixture(scope="module")
def pairs() -> EmojiPairs:
    return EmojiPairs(batch_size=64, size=32, seed=3)


@pytest.fixture(scope="module")
def build() -> ModuleType:
    path = Path(__file__).parent.parent / "scripts" / "build_emoji.py"
    spec = importlib.util.spec_from_file_location("build_emoji", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def row_of(hexcode: str) -> int:
    return TABLE.number[hexcode]


# ---- table, names, sheets ----------------------------------------------------------------------


def test_table_counts_and_an_entry():
    assert len(TABLE) == 3953 and len(TABLE.bases()) == 1923
    farmer = TABLE.rows[row_of("1F468-1F3FD-200D-1F33E")]
    assert farmer.emoji == "👨🏽‍🌾" and TABLE.rows[row_of("2764")].emoji == "\u2764\ufe0f"
    assert (farmer.label, farmer.tone) == ("man farmer: medium skin tone", "3")
    assert (farmer.base, farmer.concept) == ("1F468-200D-1F33E", "farmer")
    assert (farmer.group, farmer.subgroup) == ("people-body", "person-role")


@pytest.mark.parametrize(
    ("concept", "some_members"),
    [
        ("farmer", {"farmer", "man farmer", "woman farmer"}),
        ("merperson", {"merperson", "merman", "mermaid"}),
        ("person with crown", {"person with crown", "prince", "princess"}),
        ("Santa Claus", {"Santa Claus", "Mrs. Claus", "Mx Claus"}),
        ("person running", {"man running", "woman running: facing right"}),
        ("family", {"family", "family: man, woman, boy", "family: adult, child"}),
        ("person: red hair", {"man: red hair", "woman: red hair", "person: red hair"}),
        ("person feeding baby", {"breast-feeding", "man feeding baby"}),
        ("kiss", {"kiss", "kiss: woman, man"}),
    ],
)
def test_genders_and_families_are_one_concept(concept: str, some_members: set[str]):
    members = {TABLE.rows[i].label for i in TABLE.bases() if TABLE.rows[i].concept == concept}
    assert some_members <= members


def test_skin_tones_belong_to_their_base():
    assert len(TABLE.variants[row_of("1F44D")]) == 6
    for base, variants in TABLE.variants.items():
        assert not TABLE.rows[base].tone
        assert {TABLE.rows[i].concept for i in variants} == {TABLE.rows[base].concept}


@pytest.mark.parametrize("style", STYLES)
def test_cells_are_numbered_without_gaps(style: str):
    cells = [row.cells[style] for row in TABLE.rows if style in row.cells]
    assert cells == list(range(len(cells)))
    sheet = pictures(style)
    assert sheet.dtype == torch.uint8 and sheet.shape[1:] == (4, 64, 64)
    assert sheet[: len(cells), 3].flatten(1).amax(1).min() > 200  # nothing is empty
    assert not sheet[len(cells) :, 3].any()


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(
    ("hexcode", "strongest"), [("2764", 0), ("1F34F", 1), ("1F499", 2), ("1F7E9", 1)]
)
def test_known_emoji_have_their_colour(style: str, hexcode: str, strongest: int):
    """Red heart, green apple, blue heart, green square."""
    cell = pictures(style)[TABLE.rows[row_of(hexcode)].cells[style]].float()
    opaque = cell[3] > 128
    mean = cell[:3, opaque].mean(1)
    assert mean.argmax() == strongest and mean.max() - mean.min() > 40


@pytest.mark.parametrize("style", ["twemoji", "fluent", "openmoji"])
def test_silhouettes_agree_with_another_artists(style: str):
    """If table and sheets were out of step, they would fit no better than shuffled ones."""
    rows = [i for i in TABLE.bases()[::7] if {style, "noto"} <= TABLE.rows[i].cells.keys()]
    one = pictures(style)[[TABLE.rows[i].cells[style] for i in rows], 3] > 128
    other = pictures("noto")[[TABLE.rows[i].cells["noto"] for i in rows], 3] > 128

    def overlap(other: torch.Tensor) -> float:
        return ((one & other).flatten(1).sum(1) / (one | other).flatten(1).sum(1)).mean().item()

    assert overlap(other) > overlap(other.roll(1, 0)) + 0.1


def test_pictures_fill_their_cells():
    alpha = pictures("openmoji")[row_of("1F600"), 3] > 8
    inside = alpha.any(0).nonzero()
    assert inside.min() <= 2 and inside.max() >= 61


def test_every_language_names_every_emoji():
    assert len(languages()) == 28
    for language in languages():
        words = texts(language)
        assert words.keys() == {row.hexcode for row in TABLE.rows}
        assert all(all(entry) for entry in words.values()), language
    assert texts("en")["1F98A"][0] == "fox" and texts("zh")["1F98A"][0] == "狐狸"
    with pytest.raises(LabError, match="zh-hant"):
        texts("tlh")
    with pytest.raises(LabError, match="openmoji"):
        pictures("wingdings")


# ---- the split ---------------------------------------------------------------------------------


def test_split_is_a_tenth_of_the_permitted_concepts():
    held_out = [TABLE.rows[i] for i in TABLE.bases("heldout")]
    assert len(TABLE.held_out_concepts) == 134 and len(held_out) == 151
    assert not any(row.group in ("flags", "component") for row in held_out)
    assert not any(row.subgroup in ("keycap", "alphanum") for row in held_out)
    assert not any("o'clock" in row.label or "-thirty" in row.label for row in held_out)
    assert len({row.group for row in held_out}) == 8
    assert set(TABLE.bases("heldout")).isdisjoint(TABLE.bases("train"))


def test_split_file_is_the_rule_s_draw(build: ModuleType):
    with (FILES / "table.csv").open(encoding="utf-8", newline="") as stream:
        rows = [{key: value for key, value in row.items() if value or key == "tone"}
                for row in csv.DictReader(stream)]  # fmt: skip
    split = json.loads((FILES / "split.json").read_text(encoding="utf-8"))
    assert build.draw_split(rows) == split["held_out"]


def test_no_held_out_picture_is_trained_on(pairs: EmojiPairs):
    trained = {TABLE.rows[row].concept for base in pairs.bases for row in TABLE.variants[base]}
    assert trained.isdisjoint(TABLE.held_out_concepts)
    for style, split in itertools.product(STYLES, ("heldout", "seen")):
        concepts = {TABLE.rows[i].concept for i in emoji_test(style, split).rows}
        assert concepts.isdisjoint(trained) if split == "heldout" else concepts <= trained


@pytest.mark.parametrize("language", languages())
def test_no_source_of_captions_names_anything_held_out(language: str):
    """Every name, skin-tone name, keyword and kind that training in this language may use."""
    names = [
        texts(language)[row.hexcode][0] for i, row in enumerate(TABLE.rows) if TABLE.held_out(i)
    ]
    held_out = {name.casefold() for name in names}
    forbidden = forbidden_texts([language])
    assert held_out == forbidden and len(held_out) > 100
    for base in TABLE.bases("train", STYLES):
        words = permitted_words(base, language, forbidden)
        used = [words.name, *words.toned.values(), *words.keywords, words.kind]
        assert held_out.isdisjoint(text.casefold() for text in used if text)


def test_unfiltered_texts_would_have_leaked():
    """The test above can fail: some keywords do name held-out things."""
    forbidden = forbidden_texts(["en"])
    keywords = {word for i in TABLE.bases("train") for word in texts("en")[TABLE.rows[i].hexcode]}
    assert keywords & forbidden


def test_no_caption_is_or_contains_a_held_out_name(pairs: EmojiPairs):
    forbidden = forbidden_texts(["en", "zh"])
    templates = [part for group in TEMPLATES.values() for part in group]
    for caption in pairs.captions.corpus(per_emoji=6):
        pieces = caption.casefold().replace("，", ", ").split(", ")
        assert forbidden.isdisjoint(pieces), caption
        for template in templates:  # a template around a bare held-out name
            before, after = template.casefold().split("{}")
            if caption.casefold().startswith(before) and caption.casefold().endswith(after):
                filled = caption.casefold().removeprefix(before).removesuffix(after)
                assert filled not in forbidden, caption


def test_test_labels_are_distinct_and_targets_right():
    for language in ("en", "zh", "fr"):
        test = emoji_test("openmoji", "seen", language)
        assert len(test.labels) == len(set(test.labels))
        assert len(test.rows) == len(test.targets) == len(test.pictures) > 1600
        named = [texts(language)[TABLE.rows[i].hexcode][0] for i in test.rows]
        assert [test.labels[i] for i in test.targets.tolist()] == named
    with pytest.raises(LabError, match="seen"):
        emoji_test("noto", "unseen")


# ---- batches -----------------------------------------------------------------------------------


def test_batch_shape_range_and_repetition(pairs: EmojiPairs):
    pictures_, captions, *_ = pairs.batch(5)
    assert pictures_.shape == (64, 3, 32, 32) and pictures_.dtype == torch.float32
    assert pictures_.isfinite().all() and pictures_.min() >= 0 and pictures_.max() <= 1
    again, same, *_ = EmojiPairs(batch_size=64, size=32, seed=3).batch(5)
    assert torch.equal(pictures_, again) and captions == same
    other, different, *_ = EmojiPairs(batch_size=64, size=32, seed=4).batch(5)
    assert not torch.equal(pictures_, other) and captions != different


def test_no_emoji_and_no_caption_twice_in_a_batch(pairs: EmojiPairs):
    for step in range(0, 60, 7):
        assert len(set(pairs.bases_of(step))) == 64
        captions = pairs.batch(step)[1]
        assert len(set(captions)) == 64 and all(captions)


def test_an_epoch_meets_each_emoji_at_most_once(pairs: EmojiPairs):
    steps = range(pairs.steps_per_epoch)
    met = [base for step in steps for base in pairs.bases_of(step)]
    assert len(met) == len(set(met)) > len(pairs.bases) - 64
    assert pairs.bases_of(0) != pairs.bases_of(pairs.steps_per_epoch)


def test_resuming_and_workers_give_the_same_stream():
    options = {"batch_size": 8, "size": 16, "seed": 1}
    alone = [batch.captions for batch in itertools.islice(EmojiPairs(**options), 6)]
    later = itertools.islice(EmojiPairs(**options, start_step=2), 4)
    resumed = [batch.captions for batch in later]
    assert resumed == alone[2:]
    loader = DataLoader(EmojiPairs(**options), batch_size=None, num_workers=2)
    assert [batch.captions for batch in itertools.islice(loader, 6)] == alone


def test_captions_speak_the_languages_asked_for(pairs: EmojiPairs):
    captions = pairs.captions.corpus(per_emoji=2)
    chinese = sum(any("\u4e00" <= letter <= "\u9fff" for letter in text) for text in captions)
    assert 0.35 < chinese / len(captions) < 0.45
    german = EmojiPairs(batch_size=16, size=16, languages=["de"])
    assert "Apfel" in " ".join(german.captions.corpus(per_emoji=3))
    assert default_weights(1) == [1.0] and sum(default_weights(3)) == pytest.approx(1)


def test_captions_say_what_the_mix_asks_for():
    fox = row_of("1F98A")
    only_keywords = CaptionMix(0.0, 0.0, 1.0, 0.0, 0.0, 0.0)
    keywords = Captions([fox], ["en"], [1.0], mix=only_keywords).corpus(5)
    assert set(", ".join(keywords).split(", ")) <= set(texts("en")["1F98A"][1:])
    kinds = Captions([fox], ["en"], [1.0], mix=CaptionMix(0.0, 0.0, 0.0, 0.0, 1.0, 0.0)).corpus(20)
    assert set(kinds) == {"animal: fox", "fox, animal"}
    assert {row.subgroup for row in TABLE.rows} >= KINDS.keys()


def test_faulty_requests_are_explained():
    with pytest.raises(LabError, match="batch"):
        EmojiPairs(batch_size=5000, size=16)
    with pytest.raises(LabError, match="language"):
        EmojiPairs(size=16, languages=[])
    with pytest.raises(LabError, match="weight"):
        EmojiPairs(size=16, languages=["en", "de"], language_weights=[1.0, -1.0])
    with pytest.raises(LabError, match="train, heldout or all"):
        EmojiPairs(size=16, split="test")


def test_plain_view_gives_picture_name_and_row():
    view = EmojiPictures("twemoji", language="zh", split="heldout")
    assert len(view) == 151
    picture, name, row = view[0]
    assert picture.shape == (3, 64, 64) and TABLE.held_out(row)
    assert name == texts("zh")[TABLE.rows[row].hexcode][0]
    assert picture[:, 0, 0].tolist() == [1, 1, 1]  # a face is round: the corner is paper


# ---- the build script --------------------------------------------------------------------------


def test_build_refuses_missing_and_changed_packages(build: ModuleType, tmp_path: Path):
    with pytest.raises(SystemExit, match="missing"):
        build.verify(tmp_path)
    build.tarball_path(tmp_path, "emoji-datasource-google@16.0.0").write_bytes(b"not it")
    with pytest.raises(SystemExit, match="is not the published"):
        build.verify(tmp_path)


def test_trained_styles_leave_openmoji_out():
    assert "openmoji" in STYLES and "openmoji" not in TRAINED_STYLES
    assert EmojiPairs(batch_size=8, size=16).styles == TRAINED_STYLES


def test_a_picture_s_captions_are_in_different_languages():
    spoken = ["en", "de", "ja", "th"]
    pairs = EmojiPairs(batch_size=32, size=16, languages=spoken, captions_each=3)
    for step in range(4):
        batch = pairs.batch(step)
        assert len(batch.captions) == 96 and len(batch.images) == 32
        assert batch.right().tolist() == pairs.bases_of(step)
        for row in range(32):
            own = batch.captions[3 * row : 3 * row + 3]
            japanese = sum(bool(re.search("[぀-ヿ]", caption)) for caption in own)
            thai = sum(bool(re.search("[฀-๿]", caption)) for caption in own)
            assert japanese <= 1 and thai <= 1


def test_the_vocabulary_reads_every_language_without_loss():
    tokenizer = emoji_tokenizer()
    assert len(tokenizer) == 8192
    for language in languages():
        for name in [said[0] for said in texts(language).values()][:40]:
            # OpenAI's pattern cuts words at the vowel signs of Bengali and Hindi
            read = tokenizer.decode(tokenizer.encode(name))
            assert read.replace(" ", "") == tokenizer.clean(name).replace(" ", "")


def test_no_held_out_name_is_in_the_vocabulary_s_corpus():
    corpus = {text.casefold() for text in emoji_corpus(("en", "fi", "ko"))}
    assert len(corpus) > 5000 and not corpus & forbidden_texts(("en", "fi", "ko"))
