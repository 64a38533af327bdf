"""Chapter 1: its sentences against its measurements, its parts against the lab's, its widget."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("jupytext", reason="the course needs the extra 'notebooks'")
pytest.importorskip("anywidget", reason="the course needs the extra 'notebooks'")

from chromium import grave_faults, visit, widget_page
from course_run import Run, chapter, prose

import clip_lab
from clip_lab.errors import LabError
from clip_lab.evaluation.accuracy import wilson
from clip_lab.evaluation.emoji import words_heard
from clip_lab.experiments.report import results
from clip_lab.training.recipes import emoji_corpus
from clip_lab.view.chapters import why_language as figures
from clip_lab.view.notebook_figures import describe
from clip_lab.view.widgets import static_html
from clip_lab.view.widgets.words import MOST, WordsWidget

CHAPTER = chapter("01_why_language")


class TestRun(Run):
    """Stopped at each gap, and quick."""


# What the chapter says of its measurements


def test_one_list_serves_all_artists_and_a_thing_is_its_number(ran):
    """The cells take picture k for the thing named k."""
    for test in ran["tests"].values():
        assert torch.equal(test.targets, torch.arange(len(test.targets)))
    assert ran["tests"]["Noto"].labels == ran["tests"]["OpenMoji"].labels
    for test in ran["kept"].values():
        assert len(set(test.labels)) == len(test.labels) == len(test.targets) == 151


def test_a_name_does_as_well_as_a_labelled_drawing_and_both_beat_pixels(ran):
    share = {name: right / n for name, (right, n) in ran["counts"].items()}
    pixels, drawing, name = (share[key] for key in share)
    assert abs(name - drawing) < 0.08  # "the other two bars are close"
    assert 0.2 < pixels < min(name, drawing) - 0.1  # "even bare pixels go a long way"


def test_the_bootstrap_agrees_with_wilson_but_not_for_twelve_of_twelve(ran):
    hits = ran["right"]["the name alone, CLIP"]
    ends = ran["bootstrap_interval"](hits)
    assert ends == pytest.approx(wilson(float(hits.float().mean()), len(hits)), abs=0.02)
    assert ran["bootstrap_interval"](torch.ones(12, dtype=torch.bool)) == (1, 1)
    assert wilson(1.0, 12)[0] < 0.8


def test_sorting_as_text_changes_nothing_to_ten_classes_and_ruins_twelve(ran):
    as_text, in_order = (
        dict(zip(ran["sizes"], ran[key], strict=True)) for key in ("as_text", "in_order")
    )
    for count in (3, 6, 10):
        assert as_text[count] == in_order[count]
    for count in (12, 25, 50, 100, 300):
        assert as_text[count] <= 0.25 < 0.5 < in_order[count]
    named = sum(map(str.__eq__, ran["said"], ran["names"]))  # "most answers name what is drawn"
    assert len(ran["said"]) == 12
    assert named > 6 > int((ran["mixed"] == torch.arange(12)).sum())  # "most targets don't"
    assert sorted(map(str, range(1000))).index("100") == 3  # "folder 100 becomes class 3"


def test_a_new_artist_costs_something_and_a_new_thing_nearly_all(ran):
    share = {name: right / n for name, (right, n) in ran["table"].items()}
    known = share["known thing, known artist"]
    assert known - 0.05 > share["known thing, new artist"] > 0.6 * known
    assert max(share["new thing, known artist"], share["new thing, new artist"]) < known / 4
    assert {n for _, n in ran["table"].values()} == {151}


def test_more_languages_help_with_new_things(ran):
    english, all_of_them = ran["hits_by"].values()
    assert all_of_them.float().mean() > english.float().mean() + 0.05
    assert ran["gain"][0] > 0
    assert len(ran["spoken"]) == 27  # "27 languages"
    assert not {"zebra", "orangutan"} & words_heard()
    assert any("马" in caption for caption in emoji_corpus(("zh",)))


def test_what_the_list_of_imagenet_allows(ran):
    names = [str(k) for k in range(996)] + ["missile", "sunglasses"] * 2
    best = ran["best_possible"](names, torch.arange(1000).repeat_interleave(50))
    assert f"{best:.1%}" == "99.8%"
    assert "99.8 %" in prose(CHAPTER)


def test_it_says_of_the_published_results_what_they_say():
    found = results()
    marks = found["robustness"].measured
    labels, captions = marks["broad_shifted"][:, -1], marks["clip_shifted"]
    assert (labels > captions).all()  # "with three artists they win on the fourth as well"
    assert (marks["narrow_in"][:, -1] > marks["clip_in"]).all()  # "the task they were made for"
    alike = found["robustness"].verdict.effects["effective robustness, at equal pictures"]
    assert 0 < alike.mean < 0.05  # "small once both learn from the same drawings"
    kept = found["composition"].verdict.effects
    assert kept["share kept"].low > 0.9  # shapes "nearly as well"
    assert kept["share kept, emoji"].high < 0.5  # "emoji badly"


def test_contrast_needs_nearly_as_many_pairs_in_small(ran):
    effect = results()["objectives"].verdict.effects["log pairs, caption model to contrast"]
    assert 1 < math.exp(effect.mean) < 1.5  # "nearly as many", "far from a factor of twelve"
    assert ran["needed"] == pytest.approx(math.exp(-effect.mean))
    assert len(ran["tasks"]) == 3


# What is built, against the lab's own


def test_the_classifier_built_is_the_labs(ran):
    encoder, names = ran["encoder"], ran["names"][:40]
    pictures = ran["new"][:40]
    classifier = clip_lab.ZeroShotClassifier(encoder, names)
    wanted = [best[0][0] for best in classifier(pictures).top(1)]
    assert ran["name_pictures"](encoder, pictures, names) == wanted


def test_a_prototype_of_one_picture_is_that_picture(ran):
    vectors, means = ran["labelled_vectors"], ran["classes"]["one labelled drawing, CLIP"]
    assert torch.allclose(vectors, means, atol=1e-6)


def test_sources_are_linked():
    for source in (
        "ImageNetV2/issues/10",
        "places365/issues/22",
        "openai/CLIP/issues/318",
        "openai/CLIP/issues/235",
        "CuPL/issues/2",
        "open_clip/pull/842",
        "2205.01397",
        "2404.04125",
        "2006.06666",
        "2008.01392",
        "2010.00747",
    ):
        assert source in prose(CHAPTER)  # fmt: skip


# Figures


def test_figures_tell_their_numbers():
    rows = {"a": (30, 40), "b": (0, 40)}
    words = describe(figures.shares(rows, wilson, chance=0.1, predicted=50, title="T"))
    assert "a: 75.0 % of 40, 59.8 to 85.8" in words
    assert "chance 10.0 %" in words
    words = describe(figures.label_order([3, 12], [0.9, 0.8], [0.9, 0.1]))
    assert "12 classes: 80% in order, 10% sorted as text" in words
    curves = {"one": [[0.1, 0.5], [0.3, 0.7]], "two": [[0.1, 0.2], [0.1, 0.2]]}
    assert "one ends at 60.0 %" in describe(figures.learning([10, 20], curves, 44))
    marks = {"m": [[0.8, 0.6], [0.4, 0.6]]}
    words = describe(figures.shift(marks, ("old", "new"), 0.02))
    assert "m: 70 % on old, 50 % on new" in words
    drawing = np.zeros((4, 4, 3))
    words = describe(figures.by_artist({"Noto": [drawing] * 2, "Other": [drawing] * 2}, ["x", "y"]))
    assert "Columns: x, y. Rows, one an artist: Noto, Other." in words


# The widget: its Python side

WORDS = ["cat", "dog", "apple", "</script><b>bold</b>", "斑马"]
NAMES = ["cat", "apple", "斑马"]


def cosines() -> np.ndarray:
    rows = np.random.default_rng(5).uniform(-0.4, 0.9, size=(3, 5))
    rows[2, 4] = 0.95
    return rows


def drawings() -> list[np.ndarray]:
    return [np.full((20, 20, 3), 60 * k + 40, np.uint8) for k in range(3)]


def widget(**options) -> WordsWidget:
    return WordsWidget(cosines(), drawings(), NAMES, WORDS, ["cat", "dog"], **options)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cosines": cosines()[:2]}, "3 names and 5 words"),
        ({"pictures": drawings()[:2]}, "these are 2 pictures"),
        ({"cosines": cosines() * 20}, "length 1"),
        ({"cosines": cosines() * np.nan}, "length 1"),
        ({"words": ["cat"] * 5}, "twice"),
        ({"listed": ["horse"]}, "“horse” is to be listed"),
        ({"pictures": [p[..., 0] for p in drawings()]}, "height, width, 3"),
    ],
)
def test_what_it_can_not_show_is_told(change, words):
    given = {"cosines": cosines(), "pictures": drawings(), "names": NAMES, "words": WORDS}
    with pytest.raises(LabError, match=words):
        WordsWidget(**{**given, "listed": ["cat"], **change})


def test_a_reader_s_own_word_is_encoded_and_listed():
    asked = []

    def ask(word: str) -> np.ndarray:
        asked.append(word)
        return np.array([0.1, 0.2, 0.3])

    made = widget(ask=ask)
    made.asked = "  my   cat "
    assert asked == ["my cat"]
    assert made.words == [*WORDS, "my cat"]
    assert made.listed == ["cat", "dog", "my cat"]
    assert [row[-1] for row in made.cosines] == [0.1, 0.2, 0.3]
    assert (made.asked, made.answer) == ("", "")
    made.asked = "apple"  # known already: ticked, not encoded again
    assert (asked, made.listed[-1]) == (["my cat"], "apple")
    made.asked = "x" * 61
    assert "at most 60" in made.answer


def test_what_the_encoder_refuses_is_said_and_a_full_list_too():
    def ask(word: str) -> np.ndarray:
        if word == "long":
            raise LabError("That text is too long.")
        return np.zeros(2 if word == "odd" else 3)

    made = widget(ask=ask)
    for word, words in (("long", "too long"), ("odd", "3 cosines")):
        made.asked = word
        assert words in made.answer
        assert word not in made.words
    for k in range(MOST):
        made.asked = f"word {k}"
    assert len(made.words) == MOST
    assert f"at most {MOST}" in made.answer


def test_words_can_not_end_the_script_they_stand_in():
    html = static_html(widget())
    assert html.count("</script>") == 1
    assert html.count("export ") == 0
    assert json.dumps("斑马", ensure_ascii=False) in html


# The widget in a page without a kernel


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    return widget_page(
        tmp_path_factory.mktemp("widget"), widget(ask=lambda word: np.zeros(3)), widget()
    )


def table(page) -> list[tuple[str, float]]:
    rows = page.locator(".clw >> nth=0 >> tbody tr").all()
    found = [(row.locator("th").inner_text(), row.locator("td").last.inner_text()) for row in rows]
    return [(word, float(value.replace("−", "-"))) for word, value in found]


def wanted(picture: int, listed: list[str]) -> list[tuple[str, float]]:
    row = dict(zip(WORDS, cosines()[picture], strict=True))
    return sorted(((word, round(row[word], 2)) for word in listed), key=lambda x: -row[x[0]])


def agree(found, right) -> bool:
    same = [word for word, _ in found] == [word for word, _ in right]
    return same and np.allclose([v for _, v in found], [v for _, v in right], atol=0.0051)


@pytest.mark.browser
def test_ticking_and_choosing_change_the_answer(browser, file):
    with visit(browser, file) as page:
        said = page.locator(".clw .cl-said").first
        assert agree(table(page), wanted(0, ["cat", "dog"]))
        page.locator(".clw").first.get_by_role("radio", name="picture of: 斑马").check(force=True)
        assert agree(table(page), wanted(2, ["cat", "dog"]))
        assert "“斑马”, its name, is not on the list" in said.inner_text()
        page.locator(".clw").first.get_by_role("checkbox", name="斑马").check(force=True)
        assert agree(table(page), wanted(2, ["cat", "dog", "斑马"]))
        assert said.inner_text().strip() == "Nearest of 3: “斑马”."
        page.locator(".clw").first.get_by_role("checkbox", name="</script>").check(force=True)
        assert agree(table(page), wanted(2, ["cat", "dog", "斑马", WORDS[3]]))
        assert page.locator(".clw b", has_text="bold").count() == 0  # text, not markup
        for word in ("cat", "dog", "斑马", "</script>"):
            page.locator(".clw").first.get_by_role("checkbox", name=word).uncheck(force=True)
        assert said.inner_text().startswith("No class is on the list.")
        # The other one on the page went its own way, and no field promises what needs a kernel.
        assert page.locator(".clw").last.locator("tbody tr").count() == 2
        assert not page.locator(".clw-own").first.is_visible()


@pytest.mark.browser
def test_the_keyboard_reaches_everything(browser, file):
    with visit(browser, file) as page:
        page.keyboard.press("Tab")
        page.keyboard.press("ArrowRight")  # the next picture
        assert agree(table(page), wanted(1, ["cat", "dog"]))
        for _ in range(3):
            page.keyboard.press("Tab")  # past cat and dog to apple
        page.keyboard.press("Space")
        assert agree(table(page), wanted(1, ["cat", "dog", "apple"]))
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Space")
        assert agree(table(page), wanted(1, ["cat", "apple"]))


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_has_no_serious_fault(browser, file, scheme):
    with visit(browser, file, color_scheme=scheme) as page:
        assert grave_faults(page) == []


@pytest.mark.browser
def test_it_fits_a_phone(browser, file):
    with visit(browser, file, width=360) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


def test_the_chapter_ends_where_the_next_begins():
    assert re.search(r"the next chapter builds it", prose(CHAPTER))
