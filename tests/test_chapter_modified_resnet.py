"""Chapter 4: its sentences against its measurements, its code against the lab's, its widget."""

import numpy as np
import pytest
import torch

pytest.importorskip("jupytext", reason="the course needs the extra 'notebooks'")
pytest.importorskip("anywidget", reason="widgets need the extra 'notebooks'")

from chromium import grave_faults, visit, widget_page
from course_run import Run, chapter

from clip_lab.errors import LabError
from clip_lab.evaluation.accuracy import wilson
from clip_lab.interpret.attention import pool_attention
from clip_lab.view.chapters import modified_resnet as drawn
from clip_lab.view.figures import describe
from clip_lab.view.widgets import static_html
from clip_lab.view.widgets.pooling import PoolingWidget

# -- the widget: what Python hands over ---------------------------------------------------------

CHAPTER = chapter("modified_resnet")
NAMES = ["cat", "</script><b>bold</b>"]
SIDE, HEADS = 3, 5


class TestRun(Run):
    """Stopped at each gap, and quick."""


def shares(side: int = SIDE) -> np.ndarray:
    logits = np.random.default_rng(2).normal(size=(len(NAMES), HEADS, 1 + side * side), scale=1.5)
    powers = np.exp(logits)
    return powers / powers.sum(axis=2, keepdims=True)


def weights(side: int = SIDE) -> np.ndarray:
    """What the widget should show: own share, and an even part of the mean's."""
    given = shares(side)
    return given[:, :, 1:] + given[:, :, :1] / side**2


def pictures() -> list[np.ndarray]:
    return [np.full((30, 30, 3), 90 + 60 * k, np.uint8) for k in range(len(NAMES))]


def widget(**options) -> PoolingWidget:
    return PoolingWidget(shares(), pictures(), NAMES, **options)


def test_it_holds_what_it_was_given():
    made = widget(picture=1, head=4, place=8)
    assert np.allclose(made.shares, shares(), atol=1e-6)
    assert (made.picture, made.head, made.place) == (1, 4, 8)
    assert made.names == NAMES
    assert all(address.startswith("data:image/png;base64,") for address in made.pictures)
    assert PoolingWidget(np.full((1, 1, 2), 0.5), pictures()[:1], ["one place"]).place == 0


@pytest.mark.parametrize(
    ("shares", "pictures", "names", "options", "words"),
    [
        (shares()[0], pictures(), NAMES, {}, "pictures, heads, tokens"),
        (shares()[:1], pictures(), NAMES, {}, "2 pictures"),
        (shares(), pictures(), NAMES[:1], {}, "1 names"),
        (shares()[:, :0], pictures(), NAMES, {}, "pictures, heads, tokens"),
        (shares()[:, :, 1:], pictures(), NAMES, {}, "Is the mean's share among them"),
        (np.full((2, 5, 82), 1 / 82), pictures(), NAMES, {}, "64 at most"),
        (2 * shares(), pictures(), NAMES, {}, "sum to 1"),
        (shares() * np.nan, pictures(), NAMES, {}, "sum to 1"),
        (shares(), [p[..., 0] for p in pictures()], NAMES, {}, "height, width, 3"),
        (shares(), pictures(), NAMES, {"head": 5}, "5 heads"),
        (shares(), pictures(), NAMES, {"place": -1}, "9 places"),
    ],
)
def test_what_it_can_not_show_is_told(shares, pictures, names, options, words):
    with pytest.raises(LabError, match=words):
        PoolingWidget(shares, pictures, names, **options)


def test_names_can_not_end_the_script_they_stand_in():
    html = static_html(widget())
    assert html.count("</script>") == 1
    assert html.count("export ") == 0


# -- the widget: what a browser makes of it without a kernel --------------------------------------


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    second = widget(picture=1, head=2, place=4)
    return widget_page(tmp_path_factory.mktemp("pooling"), widget(), second)


def cells(page, nth: int = 0) -> np.ndarray:
    texts = page.locator(".clo").nth(nth).locator("[role=grid] td").all_inner_texts()
    return np.array([float(text) for text in texts]) / 100


def said(page, part: str) -> str:
    return page.locator(f".clo .{part}").first.inner_text()


@pytest.mark.browser
def test_its_weights_are_those_of_python(browser, file):
    with visit(browser, file) as page:
        assert np.allclose(cells(page), weights()[0, 0], atol=0.0051)
        assert np.allclose(cells(page, 1), weights()[1, 2], atol=0.0051)
        for p in range(len(NAMES)):
            page.locator(".cl-pictures input").nth(p).check(force=True)
            for h in range(HEADS):
                page.locator(".clo-heads input").nth(h).check(force=True)
                assert np.allclose(cells(page), weights()[p, h], atol=0.0051)
                entropy = -(weights()[p, h] * np.log(weights()[p, h])).sum()
                assert f"as if {np.exp(entropy):.1f} of 9" in said(page, "clo-about")
        assert np.allclose(cells(page, 1), weights()[1, 2], atol=0.0051)  # the other one stays


@pytest.mark.browser
def test_the_mouse_chooses_a_place_and_its_share_is_told(browser, file):
    with visit(browser, file) as page:
        page.locator(".clo [role=grid] td").nth(5).hover()
        weight, own, mean = weights()[0, 0, 5], shares()[0, 0, 6], shares()[0, 0, 0]
        text = said(page, "cl-said")
        assert text.lower().startswith("row 2, column 3")
        found = [float(x) for x in text.replace("%", " ").split() if x.replace(".", "").isdecimal()]
        wanted = [100 * weight, 100 * own, 100 * mean / 9, 100 / 9, 9 * weight]
        assert np.allclose(found, wanted, atol=0.51)


@pytest.mark.browser
def test_the_keyboard_reaches_everything(browser, file):
    with visit(browser, file) as page:
        page.keyboard.press("Tab")
        page.keyboard.press("ArrowRight")  # the second picture
        page.keyboard.press("Tab")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("ArrowRight")  # the third head
        assert np.allclose(cells(page), weights()[1, 2], atol=0.0051)
        page.keyboard.press("Tab")  # one stop for all places
        for key in ("ArrowDown", "ArrowRight", "ArrowRight", "ArrowRight", "ArrowUp", "ArrowDown"):
            page.keyboard.press(key)
        assert said(page, "cl-said").lower().startswith("row 2, column 3")
        assert page.locator(".clo [role=grid] td[tabindex='0']").count() == 2  # one a widget


@pytest.mark.browser
def test_bright_means_much(browser, file):
    """The veil over a cell grows as its weight falls; average pooling's veils are all alike."""
    thickness = "e => Number(getComputedStyle(e).getPropertyValue('--veil'))"
    with visit(browser, file) as page:
        grid = page.locator(".clo").first.locator("[role=grid] td")
        veils = np.array([cell.evaluate(thickness) for cell in grid.all()])
        assert (np.argsort(veils) == np.argsort(-weights()[0, 0])).all()
        even = page.locator(".clo").first.locator(".clo-mean i")
        assert {cell.evaluate(thickness) for cell in even.all()} == {0.5}
        assert "11 % each" in page.locator(".clo-mean figcaption").first.inner_text()


@pytest.mark.browser
def test_a_table_says_it_in_numbers(browser, file):
    with visit(browser, file) as page:
        page.get_by_text("The same as a table").first.click()
        table = page.locator(".clo .cl-digest").first
        assert table.locator("tbody tr").count() == SIDE**2
        texts = table.locator("tbody td").all_inner_texts()
        shown = np.array([float(text) for text in texts]).reshape(SIDE**2, HEADS + 1) / 100
        assert np.allclose(shown[:, :HEADS], weights()[0].T, atol=0.0051)
        assert np.allclose(shown[:, HEADS], 1 / 9, atol=0.0051)
        assert "cat" in table.locator("caption").inner_text()


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_fault_for_those_who_cannot_see_it(browser, file, scheme):
    with visit(browser, file, color_scheme=scheme) as page:
        for summary in page.locator(".clo summary").all():
            summary.click()
        assert grave_faults(page) == []


@pytest.mark.browser
def test_it_fits_a_phone(browser, file):
    with visit(browser, file, width=360) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 360


# -- the chapter ----------------------------------------------------------------------------------


def test_a_stride_aliases_and_a_blur_mends_part_of_it(ran):
    assert ran["change"]["every second"] == 1
    assert ran["change"]["means of four"] == 0
    jumping, blurred = ran["misses"]["jumping"], ran["misses"]["blurred"]
    assert max(jumping[::2] + blurred[::2]) < 1e-5  # an even shift moves the map, and no more
    assert all(0.17 < miss < 0.23 for miss in jumping[1::2])  # "a fifth"
    assert all(0.10 < miss < 0.12 for miss in blurred[1::2])  # "a ninth"
    assert 0.97 < min(ran["cosines"]) < 0.995
    assert ran["others"] < 0.4  # "hardly minds": other emoji are far away


def test_the_tower_of_the_learners_own_parts_is_the_labs(ran):
    theirs, yours = ran["theirs"], ran["places_of"](ran["tower"], ran["pixels"])
    assert torch.allclose(yours, theirs, atol=1e-5)
    assert torch.allclose(ran["yours"], ran["vectors"], atol=1e-6)
    encoder, few = ran["encoder"], list(ran["emoji"].pictures[ran["some"][:4]])
    prepared = torch.stack([encoder.preprocess(picture) for picture in few])
    places = ran["places_of"](ran["tower"], prepared)
    tokens = ran["tokens_of"](places, ran["pool"].positional_embedding)
    shares = ran["pool_weights"](tokens, ran["pool"])[:, :, 1:].unflatten(2, (2, 2))
    assert torch.allclose(shares, pool_attention(encoder, few), atol=1e-5)


def test_pooling_is_not_just_averaging(ran):
    shares = {name: hits / n for name, (hits, n) in ran["found"].items()}
    assert shares["attention, as trained"] > shares["averaging"] + 0.05
    assert shares["attention, in a margin"] > 0.5
    assert shares["averaging, in a margin"] < 0.05
    assert 0.25 < shares["… its four middle places"] < 0.42  # "a third of the names come back"


def test_what_is_said_of_the_widgets_pictures(ran):
    """Some head takes nearly all from one place; on the violin they keep to the middle."""
    weights = ran["weights"]
    effective = weights[:, :, 1:] + weights[:, :, :1] / 16
    assert torch.allclose(effective.sum(2), torch.ones(3, 12), atol=1e-5)
    assert effective[1, 5, 3] > 0.9


def test_training_mode_makes_a_vector_depend_on_its_neighbours(ran):
    modes = {name: hits / n for name, (hits, n) in ran["modes"].items()}
    assert 0.84 < modes["eval(), all kinds"] < 0.93  # "nearly nine of ten"
    assert abs(modes["train(), all kinds"] - modes["eval(), all kinds"]) < 0.05  # hides it
    assert modes["train(), by two"] < 0.25
    assert modes["train(), flags"] < 0.3 < 0.9 < modes["eval(), flags"]
    assert modes["eval(), drifted"] < 0.3
    before, after = dict(ran["tower"].named_parameters()), ran["drifted"].named_parameters()
    assert all(torch.equal(value, before[name]) for name, value in after)  # no weight has changed


def test_each_place_knows_what_lies_on_it(ran):
    alone, encoder = ran["alone"], ran["encoder"]
    owner = torch.arange(16).view(4, 4)
    owner = (owner // 8) * 2 + (owner % 4) // 2  # which of the four emoji lies on each place
    for vectors, four in zip(alone, ran["on_sheets"], strict=False):
        best = (vectors @ encoder.encode_texts(four).T).argmax(1).view(4, 4)
        assert (best == owner).sum() >= 12


def test_what_is_said_of_the_two_towers_is_what_was_published(ran):
    verdict = ran["towers"].verdict
    assert verdict.word == "does not hold here"
    assert verdict.effect.below_zero  # endless pairs: the ResNet needs less
    few = verdict.effects["few pairs"]
    assert few.low < 0 < few.high  # 2,000 pairs: nobody can tell


def test_figures_are_described(ran):
    words = describe(drawn.share_bars({"a": (2, 4), "b": (1, 4)}, wilson, chance=0.01, odd=["b"]))
    assert "names right, of 4, with 95 % intervals. a: 50 % (15 to 85); b: 25 %" in words
    assert words.endswith("Chance is 1.00 %.")
    words = describe(drawn.grey_maps({"as it is": {"stripes": np.eye(2)}}))
    assert "as it is, stripes: mean 0.50" in words
    words = describe(drawn.misses_by_shift([0, 1], {"jumping": [0, 0.4]}, [1, 0.98], 0.2))
    assert "40 % jumping" in words
