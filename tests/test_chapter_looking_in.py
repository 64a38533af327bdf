"""Chapter 16: its sentences against its measurements, its parts against the lab's, its widget."""

from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("jupytext", reason="the course needs the extra 'notebooks'")
pytest.importorskip("anywidget", reason="the course needs the extra 'notebooks'")

from chromium import grave_faults, visit, widget_page
from course_run import Run, chapter, prose

from clip_lab.errors import LabError
from clip_lab.interpret import localisation, occlusion
from clip_lab.interpret.heat_maps import raw_similarity
from clip_lab.view.chapters import looking_in as figures
from clip_lab.view.notebook_figures import describe
from clip_lab.view.widgets import static_html
from clip_lab.view.widgets.heat import MOST, HeatWidget

CHAPTER = chapter("16_heat_maps")


class TestRun(Run):
    """Stopped at each gap, and quick."""


# What the chapter says of its measurements


def test_a_raw_map_of_places_is_no_better_than_a_guess(ran):
    assert len(ran["collages"]) > 40
    assert abs(ran["raw_share"] - 0.25) < 0.06
    assert abs(ran["less_share"] - ran["raw_share"]) < 0.04  # "next to nothing"


def test_raw_maps_of_vits_point_at_the_background_and_the_wrong_shape(ran):
    named, other = ran["scores"]["raw similarity"]
    assert other > named + 0.05
    assert 0.4 < 1 - named - other < 0.6  # "half the time at the background"
    assert abs(named - ran["blind"]) < 0.05
    rollout = ran["scores"]["attention rollout"]
    assert abs(rollout[0] - rollout[1]) < 0.06
    assert ran["scores"]["CLIP Surgery"][0] > 2 * named
    raw, outlines = ran["by_method"]["raw similarity"], ran["vit_outlines"]
    large = localisation.enlarged(raw, 64)
    for row in (0, 2):  # "coldest on the thing named": lower there than all around
        assert large[row][outlines[row]].mean() < large[row][~outlines[row]].mean() - 20
    assert len(ran["trials"].runs) == 5
    assert 5 * ran["trials"].config["pictures"] == 2500
    assert ran["agree"]


def test_occlusion_follows_the_text_and_random_weights_do_not(ran):
    trained, blank = ran["hits"]["trained"], ran["hits"]["random weights"]
    assert trained[0] > 0.5
    assert trained[1] < 0.1
    assert abs(blank[0] - blank[1]) < 0.1  # "about as often"
    assert blank[0] < trained[0] / 3


def test_every_map_has_a_bright_spot_and_the_numbers_tell_more_but_overlap(ran):
    assert len(ran["there"]) + len(ran["gone"]) == 200
    assert ran["ones"] == 200
    assert 0.7 < ran["apart"] < 0.95
    assert ran["there"].min() < ran["gone"].median()
    for here, absent in zip(ran["things"], ran["missing"], strict=True):
        assert not {w for t in here for w in (t.shape, t.colour)} & set(absent.split())


def test_a_transposed_map_looks_half_right_on_the_diagonal_only(ran):
    right, turned, near = ran["right"], ran["turned"], ran["near"]
    assert 0.4 < turned[near].mean() / right[near].mean() < 0.75
    assert turned[~near].mean() < 0.1 < 0.5 < right[~near].mean()


def test_a_language_without_data_gets_what_its_neighbours_left_it(ran):
    assert len(ran["trained"]) == 28
    assert min(ran["trained"].values()) > 0.9
    order = [ran["never"][language] for language in ("ca", "cs", "tr", "el")]
    assert order == sorted(order, reverse=True)
    assert order[0] > 0.5
    assert order[-1] < 0.2
    assert ran["known"] == {"ca": 7, "cs": 3, "tr": 1, "el": 0}
    assert {"sol", "arbre", "gat"} <= ran["heard"]
    assert "gat" in ran["texts"]("nl")["1F573"]  # a hole
    assert not any("\u0370" <= letter <= "\u03ff" for letter in "".join(ran["heard"]))
    assert [*ran["emoji"].tokenizer.explain("σκύλος")[0].merges] == []  # "twelve single bytes"
    assert len(ran["emoji"].tokenizer.encode("σκύλος")) == len("σκύλος".encode()) == 12
    tokens = {
        language: np.mean([len(ran["emoji"].tokenizer.encode(w)) for w in words.split()])
        for language, words in ran["NEW"].items()
    }
    assert tokens["el"] > 1.5 * tokens["ca"]  # "fall to byte pairs that training hardly touched"


def test_noise_beats_nearly_all_true_stars_and_seven_numbers_end_as_a_star(ran):
    assert ran["beaten"] >= 280
    assert ran["free"].shape[1] == 3072
    assert ran["ends"]["seven numbers"] > ran["climbs"]["seven numbers"][0] + 0.1
    red, green, blue = ran["numbers"][ran["best"], 4:].tolist()
    assert red > 0.5 > max(green, blue)
    assert (ran["how_large"], ran["colour"], ran["shape"]) == ("large", "red", "star")


def test_what_is_hottest_first_makes_the_cosine_fall_fastest(ran):
    falls = {name: np.mean(values) for name, values in ran["falls"].items()}
    assert falls["trained"] < falls["any order"]
    assert falls["trained"] < falls["random weights"]


def test_sources_are_linked():
    for source in ("VLM-Visualizer/issues/1", "keras-vis/issues/222", "CLIP_Surgery/issues/13",
                   "2304.05653", "1810.03292", "1608.00507", "1311.2901", "2103.15679",
                   "2211.01335", "1806.07421", "2204.06125", "2204.08583"):  # fmt: skip
        assert source in prose(CHAPTER)


# What is built, against the lab's own


def test_the_maps_built_are_the_labs(ran):
    emoji, shapes, said = ran["emoji"], ran["shapes"], ran["said"]
    for k in (0, 5):
        labs = raw_similarity(emoji, ran["collages"][k : k + 1], said[k])[0]
        assert torch.allclose(ran["raw"][k], labs, atol=1e-5)
    labs = occlusion.occlusion(shapes, ran["pictures"][:3], ran["prompts"][:1])[:, 0]
    one = ran["occluded"](shapes, [ran["prompts"][0]] * len(ran["pictures"]))[:3]
    assert torch.allclose(one[:, 2::4, 2::4], labs, atol=5e-3)  # `preprocess` rounds to 8 bits


def test_the_marks_built_are_the_labs(ran):
    maps, masks = ran["heat"]["trained"], ran["mine"]
    assert torch.equal(ran["points_at"](maps, masks), localisation.points_inside(maps, masks, 0))
    low, high = maps.amin((1, 2), keepdim=True), maps.amax((1, 2), keepdim=True)
    built = ran["mask_iou"](maps > (low + high) / 2, masks)
    assert torch.allclose(built, localisation.overlap(maps, masks))


def test_figures_tell_their_numbers():
    picture, grid = np.zeros((8, 8, 3)), np.eye(2)
    words = describe(figures.overlays([picture], ["cat"], {"raw": [grid]}, [np.eye(8) > 0]))
    assert "Rows: “cat”. Columns: the picture, raw." in words
    words = describe(figures.pointing({"raw": (0.4, 0.2)}, 0.1, predicted=50))
    assert "raw: named 40.0%, other 20.0%; chance 10.0%" in words
    assert "absent: median 2.00" in describe(figures.absent({"there": [3.0], "absent": [2.0]}, "x"))
    words = describe(figures.spoken({"new": {"ca": 0.5, "el": 0.1}}, 1 / 16, predicted=5))
    assert "ca 50%; el 10%; chance 6.2%" in words
    words = describe(figures.curves({"one": [0.1, 0.9]}, "step", "cosine", ("level", 0.5)))
    assert "one: from 0.10 to 0.90; level: 0.50" in words


# The widget: its Python side

PROMPTS = ["cat", "dog", "</script><b>bold</b>"]
NAMES = ["a cat", "斑马"]


def grids() -> dict[str, np.ndarray]:
    random = np.random.default_rng(4)
    return {
        "occlusion": random.normal(size=(2, 3, 4, 5)).round(3),
        "raw": random.normal(size=(2, 3, 2, 2)).round(3),
    }


def drawings() -> list[np.ndarray]:
    return [np.full((20, 20, 3), 90 * k + 40, np.uint8) for k in range(2)]


def widget(**options) -> HeatWidget:
    return HeatWidget(grids(), drawings(), NAMES, PROMPTS, about={"raw": "a cosine"}, **options)


def test_it_holds_what_it_was_given():
    made = widget()
    assert (made.methods, made.about) == (["occlusion", "raw"], ["", "a cosine"])
    assert np.allclose(made.maps[0], grids()["occlusion"])
    assert (made.picture, made.prompt, made.method, made.scale) == (0, 0, 0, "own")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"maps": {}}, "0 methods"),
        ({"maps": {"raw": grids()["raw"][:1]}}, "need \\(2, 3\\)"),
        ({"maps": {"raw": grids()["raw"][0]}}, "shape \\(3, 2, 2\\)"),
        ({"maps": {"raw": grids()["raw"] * np.nan}}, "nan or inf"),
        ({"maps": {"raw": np.zeros((2, 3, 150, 150))}}, "too many"),
        ({"pictures": drawings()[:1]}, "1 pictures"),
        ({"prompts": ["cat"] * 3}, "twice"),
        ({"pictures": [p[..., 0] for p in drawings()]}, "height, width, 3"),
    ],
)
def test_what_it_can_not_show_is_told(change, words):
    given = {"maps": grids(), "pictures": drawings(), "names": NAMES, "prompts": PROMPTS}
    with pytest.raises(LabError, match=words):
        HeatWidget(**{**given, **change})


def test_a_readers_own_prompt_is_mapped_by_every_method():
    asked = []

    def ask(prompt: str) -> dict[str, np.ndarray]:
        asked.append(prompt)
        if prompt == "long":
            raise LabError("That text is too long.")
        side = 3 if prompt == "odd" else 2
        return {"occlusion": np.ones((2, 4, 5)), "raw": np.ones((2, side, side))}

    made = widget(ask=ask)
    made.asked = "  a   zebra "
    assert asked == ["a zebra"]
    assert made.prompts == [*PROMPTS, "a zebra"]
    assert (made.prompt, made.asked, made.answer) == (3, "", "")
    assert np.shape(made.maps[0]) == (2, 4, 4, 5)
    assert np.shape(made.maps[1]) == (2, 4, 2, 2)
    made.asked = "dog"  # known: chosen, not computed again
    assert (asked, made.prompt) == (["a zebra"], 1)
    for prompt, words in (("long", "too long"), ("odd", "must give maps"), ("x" * 61, "at most")):
        made.asked = prompt
        assert words in made.answer
        assert prompt not in made.prompts
    for k in range(MOST):
        made.asked = f"prompt {k}"
    assert len(made.prompts) == MOST
    assert f"at most {MOST}" in made.answer


def test_prompts_can_not_end_the_script_they_stand_in():
    html = static_html(widget())
    assert html.count("</script>") == 1
    assert html.count("export ") == 0


# The widget in a page without a kernel


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    return widget_page(
        tmp_path_factory.mktemp("widget"), widget(ask=lambda prompt: grids()), widget()
    )


def number(shown: str) -> float:
    return float(shown.strip().rstrip(".").replace("−", "-"))


def agree(page, method: str, picture: int, prompt: int, scale: str = "own") -> None:
    """Numbers and colours of every cell, and the table, against Python's."""
    first, map = page.locator(".clh").first, grids()[method][picture, prompt]
    spans = first.locator("[role=grid] td span").all_inner_texts()
    assert np.allclose([number(t) for t in spans], map.ravel(), atol=6e-5)
    every = map if scale == "own" else grids()[method][picture]
    wanted = (map - every.min()) / (every.max() - every.min())
    drawn = first.locator("[role=grid] td").evaluate_all(
        "cells => cells.map(cell => Number(cell.style.getPropertyValue('--depth')))"
    )
    assert np.allclose(drawn, wanted.ravel(), atol=6e-4)
    table = first.locator("tbody >> nth=1 >> td").all_text_contents()
    assert np.allclose([number(t) for t in table], map.ravel(), atol=6e-5)


def said(page) -> str:
    return page.locator(".clh .cl-said").first.inner_text()


@pytest.mark.browser
def test_picture_prompt_method_and_scale_by_mouse(browser, file):
    with visit(browser, file) as page:
        first = page.locator(".clh").first
        agree(page, "occlusion", 0, 0)
        first.get_by_role("radio", name="斑马").check(force=True)
        first.get_by_role("radio", name="dog").check(force=True)
        agree(page, "occlusion", 1, 1)
        first.get_by_role("radio", name="the highest of all prompts").check(force=True)
        agree(page, "occlusion", 1, 1, "shared")
        map = grids()["occlusion"][1, 1]
        first.locator("[role=grid] td").nth(7).hover()
        assert f"Row 2, column 3: {map[1, 2]:.4f}".replace("-", "−") in said(page)
        assert f"Place {(map > map[1, 2]).sum() + 1} of 20" in said(page)
        row, column = np.unravel_index(map.argmax(), map.shape)
        assert f"Highest: {map.max():.4f}, row {row + 1}, column {column + 1}" in said(page)
        first.get_by_role("radio", name="raw").check(force=True)  # another grid: 2 x 2
        agree(page, "raw", 1, 1, "shared")
        assert "a cosine" in first.inner_text()
        assert "of 4." in said(page)
        assert page.locator(".clh b", has_text="bold").count() == 0  # text, not markup
        # The other one on the page went its own way, and no field promises what needs a kernel.
        assert page.locator(".clh").last.locator("[role=grid] td").count() == 20
        assert not page.locator(".clh-own").first.is_visible()


@pytest.mark.browser
def test_the_maps_strength_can_be_set(browser, file):
    with visit(browser, file) as page:
        first = page.locator(".clh").first
        cell, slider = first.locator("[role=grid] td").first, first.locator("[type=range]")
        colour = "cell => getComputedStyle(cell).backgroundColor"
        seen = []
        for strength in (0, 50, 100):
            slider.evaluate(
                "(e, v) => { e.value = v; e.dispatchEvent(new Event('input')); }", strength
            )
            assert first.locator("output").inner_text() == f"{strength} %"
            seen.append(cell.evaluate(colour))
        assert len(set(seen)) == 3


@pytest.mark.browser
def test_the_keyboard_reaches_everything(browser, file):
    with visit(browser, file) as page:
        page.keyboard.press("Tab")
        page.keyboard.press("ArrowRight")  # the next picture
        agree(page, "occlusion", 1, 0)
        page.keyboard.press("Tab")
        page.keyboard.press("ArrowRight")  # the next prompt
        agree(page, "occlusion", 1, 1)
        page.keyboard.press("Tab")
        page.keyboard.press("Tab")  # past the methods into the grid
        page.keyboard.press("ArrowDown")
        page.keyboard.press("ArrowRight")
        map = grids()["occlusion"][1, 1]
        assert f"Row 2, column 2: {map[1, 1]:.4f}".replace("-", "−") in said(page)
        page.keyboard.press("Tab")
        page.keyboard.press("End")  # the slider
        assert page.locator(".clh output").first.inner_text() == "100 %"
        page.keyboard.press("Tab")
        page.keyboard.press("ArrowRight")
        agree(page, "occlusion", 1, 1, "shared")


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_has_no_serious_fault(browser, file, scheme):
    with visit(browser, file, color_scheme=scheme) as page:
        page.locator(".clh details").first.evaluate("box => { box.open = true; }")
        assert grave_faults(page) == []


@pytest.mark.browser
def test_it_fits_a_phone(browser, file):
    with visit(browser, file, width=360) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
