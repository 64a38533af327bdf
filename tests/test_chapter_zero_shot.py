"""Chapter 9: its sentences against its measurements, its parts against the lab's, its widget."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("jupytext", reason="the course needs the extra 'notebooks'")
pytest.importorskip("anywidget", reason="the course needs the extra 'notebooks'")

from chromium import grave_faults, visit, widget_page
from course_run import Run, chapter, prose

import clip_lab
from clip_lab.data.captions import TEMPLATES
from clip_lab.data.emoji_table import texts
from clip_lab.errors import LabError
from clip_lab.evaluation.accuracy import Accuracy, rank_of_target
from clip_lab.evaluation.calibration import calibration, fit_temperature
from clip_lab.evaluation.classification import Classification
from clip_lab.view.chapters import zero_shot as figures
from clip_lab.view.notebook_figures import describe
from clip_lab.view.widgets import static_html
from clip_lab.view.widgets.softmax import SoftmaxWidget

CHAPTER = chapter("09_zero_shot")


class TestRun(Run):
    """Stopped at each gap, and quick."""


# What the chapter says of its measurements


def test_every_class_has_one_picture_and_there_are_1760(ran):
    assert len(ran["names"]) == len(ran["own"]) == 1760
    assert torch.equal(ran["own"].sort().values, torch.arange(1760))


def test_more_than_a_quarter_are_flags_and_the_two_sums_differ(ran):
    sizes = ran["sizes"]
    assert len(sizes) == 11
    assert 0.25 < sizes["flag"] / sum(sizes.values()) < 0.3
    assert ran["overall"] > ran["mean"] + 0.05


def test_an_article_loses_about_half_of_the_animals_found_or_more(ran):
    assert ran["new_found"]["animal"] < 0.55 * ran["found"]["animal"]
    others = [k for k in ran["kinds"] if k != "animal"]
    assert all(abs(ran["new_found"][k] - ran["found"][k]) < 0.06 for k in others)
    assert ran["as_food"] > 30  # the print says how many
    said = [name for names in texts("en").values() for name in names]
    articled = [name for name in said if {"a", "an"} & set(name.split())]
    assert len(articled) < 0.001 * len(said)  # "hardly any thing had an article before it"
    assert all(t.split("{}")[0].split()[-1:] not in (["a"], ["an"]) for t in TEMPLATES["en"])


def test_sports_for_sport_helps_the_whole_and_ruins_the_class(ran):
    _, found, overall, mean = ran["sort_into"](ran["plural"])
    assert overall > ran["overall"] + 0.01
    assert abs(mean - ran["mean"]) < 0.015  # "hardly moves"
    assert found["sport"] < ran["found"]["sport"] / 3
    called_sport = ran["answers"] == ran["kinds"].index("sport")
    lent = [int((ran["targets"][called_sport] == ran["kinds"].index(k)).sum())
            for k in ("person", "vehicle")]  # fmt: skip
    assert min(lent) >= 15  # "a label that had drawn people and vehicles to itself"


def test_too_sure_on_short_lists_and_too_modest_on_long_ones(ran):
    gap = dict(zip(ran["lengths"], np.subtract(ran["sure"], ran["right"]), strict=True))
    assert all(gap[length] > 0.008 for length in (2, 5, 10, 20, 50, 100, 200))
    assert min(gap[1000], gap[1760]) < -0.02


def test_only_the_labels_lengths_change_the_ranking(ran):
    forgotten, top_1 = ran["forgotten"], ran["top_1"]
    assert top_1["both"] == top_1["the labels'"] < top_1["none"] - 0.04
    assert top_1["the pictures'"] == top_1["none"]
    for one, other in (("both", "the labels'"), ("the pictures'", "none")):
        assert torch.equal(forgotten[one].argmax(1), forgotten[other].argmax(1))
    assert min(ran["wins"]["man"], ran["wins"]["ear"]) > 15  # of 500 pictures


def test_none_of_these_misses_most_and_a_bar_on_the_cosine_catches_more(ran):
    assert ran["caught"] < 0.35
    assert ran["caught_by_bar"] > ran["caught"] + 0.2
    refused = (ran["or_none"](ran["listed"], ran["bar"]) < 0).float().mean().item()
    assert refused == pytest.approx(ran["refused"], abs=0.002)  # "as many ... as"
    assert ran["area"]["highest cosine"] > ran["area"]["highest share"] + 0.05


def test_the_fitted_temperature_helps_and_is_one_for_this_length_of_list(ran):
    before, after = ran["tables"].values()
    assert after.nll < before.nll
    assert 0 < after.ece < before.ece
    fitted = [
        fit_temperature(ran["with_labels"](count)[::2], ran["first"][::2])
        for count in (5, 20, 1760)
    ]
    assert fitted[0] > fitted[1] * 1.05 > fitted[2] * 1.2


def test_the_mean_per_class_is_used_for_four_sets_and_sources_are_linked():
    assert "four of its data sets" in prose(CHAPTER)
    for source in ("fashion-clip/issues/31", "xpool/issues/11", "open_clip/issues/68",
                   "CLIP/issues/246", "CLIP/issues/44", "Prompt_Engineering_for_ImageNet",
                   "EVA/issues/140", "1706.04599",
                   "2106.07998"):  # fmt: skip
        assert source in prose(CHAPTER)


# What is built, against the lab's own


def test_the_classifier_built_is_the_labs(ran):
    encoder, names = ran["encoder"], ran["names"][:30]
    own = ran["zero_shot_weights"](encoder, names, "an emoji of {}")
    labs = clip_lab.ZeroShotClassifier(encoder, names, ["an emoji of {}"]).weights
    assert torch.allclose(own, labs, atol=1e-6)
    assert ran["same"]


def test_the_measures_built_are_the_labs(ran):
    logits, own = ran["logits"], ran["own"]
    labs = Accuracy.of_ranks(rank_of_target(logits, own), 1760)
    assert ran["shares"][0] == pytest.approx(labs.top1)
    assert ran["shares"][4] == pytest.approx(labs.top5)
    rows = ran["zero_shot_weights"](ran["encoder"], ran["kinds"], "{}")
    ranks = rank_of_target(ran["sorted_vectors"] @ rows.T, ran["targets"])
    table = Classification.of_ranks(ranks, ran["targets"], 11)
    assert ran["mean"] == pytest.approx(table.mean_per_class)
    assert ran["overall"] == pytest.approx(table.accuracy.top1)
    for shares in (ran["ours"][0], ran["ours"][5]):
        labs_error = calibration(shares, ran["first"], bins=10).ece
        assert ran["calibration_error"](shares, ran["first"], 10) == pytest.approx(
            labs_error, abs=2e-3
        )
    assert ran["tau"] == pytest.approx(fit_temperature(ran["fit_on"], ran["first"][::2]), rel=0.05)


def test_figures_tell_their_numbers():
    words = describe(figures.top_k([1, 5], [0.4, 0.7], [(0.3, 0.5), (0.6, 0.8)], classes=90))
    assert "top-1: 40.0% (30.0% to 50.0%); top-5: 70.0%" in words
    recalls, after = {"cat": (0.5, 30), "dog": (0.9, 10)}, {"cat": 0.2, "dog": 0.9}
    words = describe(figures.by_class(recalls, overall=0.6, mean=0.7, after=after, changed="new"))
    assert "cat (30): 50%, new 20%; dog (10): 90%." in words
    words = describe(figures.by_length([2, 10], [0.9, 0.5], [0.95, 0.4], 20))
    assert "10 labels: right 50%, sure 40%" in words
    pair = {"share": (torch.tensor([0.9, 0.8, 1.0]), torch.tensor([0.2, 0.3]))}
    assert "median 0.90 listed, 0.25 not" in describe(figures.not_listed(pair, {"share": "share"}))


# The widget: its Python side

LABELS = ["cat", "dog", "</script><b>bold</b>", "苹果", "none of these"]
NAMES = ["cat", "apple", "</script>"]


def cosines() -> np.ndarray:
    rows = np.random.default_rng(7).uniform(-0.3, 0.8, size=(3, 5))
    rows[1, 0] = -0.4
    return rows


def pictures() -> list[np.ndarray]:
    return [np.full((20, 20, 3), 60 * k + 40, np.uint8) for k in range(3)]


def widget(**options) -> SoftmaxWidget:
    given = {"scale": 20.0, "none": "none of these", "off": ["none of these"], **options}
    return SoftmaxWidget(cosines(), pictures(), NAMES, LABELS, **given)


def test_it_holds_what_it_was_given():
    made = widget(threshold=0.3)
    assert np.allclose(made.cosines, cosines(), atol=1e-6)
    assert (made.tau, made.threshold, made.none) == (0.05, 0.3, "none of these")
    assert (made.labels, made.off, made.picture) == (LABELS, ["none of these"], 0)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"cosines": cosines()[:2]}, "3 names and 5 labels"),
        ({"pictures": pictures()[:2]}, "these are 2 pictures"),
        ({"cosines": cosines() * 30}, "length 1"),
        ({"cosines": cosines() * np.nan}, "length 1"),
        ({"labels": ["cat"] * 5}, "twice"),
        ({"labels": ["cat"], "cosines": cosines()[:, :1]}, "2 to 12 labels"),
        ({"off": ["horse"]}, "“horse” is not among"),
        ({"none": "nothing"}, "“nothing” is not among"),
        ({"scale": 300}, "1 to 100"),
        ({"scale": float("nan")}, "1 to 100"),
        ({"threshold": 2}, "between -1 and 1"),
        ({"pictures": [p[..., 0] for p in pictures()]}, "height, width, 3"),
    ],
)
def test_what_it_can_not_show_is_told(change, words):
    given = {"cosines": cosines(), "pictures": pictures(), "names": NAMES, "labels": LABELS}
    with pytest.raises(LabError, match=words):
        SoftmaxWidget(**{**given, "scale": 20, **change})


def test_labels_can_not_end_the_script_they_stand_in():
    html = static_html(widget())
    assert html.count("</script>") == 1
    assert html.count("export ") == 0


# The widget in a page without a kernel


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    return widget_page(tmp_path_factory.mktemp("widget"), widget(), widget(scale=1))


def number(shown: str) -> float:
    """What a cell says: −0.31, 12 %, 3.1·10⁸."""
    plain = shown.replace("−", "-").removesuffix(" %")
    digits, _, power = plain.partition("·10")
    return float(digits) * 10.0 ** int(power.translate(str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻", "0123456789-"))
                                       or 0)  # fmt: skip


def table(page) -> dict[str, list[float]]:
    rows = page.locator(".cls >> nth=0 >> tbody tr").all()
    return {
        row.locator("th").inner_text(): [number(t) for t in row.locator("td").all_inner_texts()]
        for row in rows
    }


def wanted(picture: int, labels: list[str], tau: float, threshold: float = 0.5) -> np.ndarray:
    row = cosines()[picture][[LABELS.index(label) for label in labels]]
    powers = np.exp(row / tau)
    alone = 1 / (1 + np.exp((threshold - row) / tau))
    return np.stack([row, row / tau, powers, 100 * powers / powers.sum(), 100 * alone], axis=1)


def agree(page, picture: int, labels: list[str], tau: float, threshold: float = 0.5) -> None:
    found, right = table(page), wanted(picture, labels, tau, threshold)
    assert list(found) == labels
    values = np.array(list(found.values()))
    for column, (atol, rtol) in enumerate(((6e-4, 0), (0.06, 0), (0, 0.06), (0.6, 0), (0.6, 0))):
        assert np.allclose(values[:, column], right[:, column], atol=atol, rtol=rtol)
    assert values[:, 3].sum() == pytest.approx(100, abs=2)
    foot = page.locator(".cls >> nth=0 >> tfoot td").all_inner_texts()
    assert foot[3] == "100 %"
    assert number(foot[4]) == pytest.approx(right[:, 4].sum(), abs=1)


def move(page, selector: str, value: float) -> None:
    page.locator(selector).first.evaluate(
        "(e, v) => { e.value = v; e.dispatchEvent(new Event('input')); }", value
    )


@pytest.mark.browser
def test_each_step_is_pythons(browser, file):
    with visit(browser, file) as page:
        agree(page, 0, LABELS[:4], 0.05)
        for tau in (0.02, 0.3, 1.0):
            move(page, ".cls-slide", math.log(tau))
            stepped = math.exp(float(page.locator(".cls-slide").first.input_value()))
            assert stepped == pytest.approx(tau, rel=0.004)
            agree(page, 0, LABELS[:4], stepped)
        move(page, ".cls-bar input", 0.2)
        agree(page, 0, LABELS[:4], stepped, 0.2)


@pytest.mark.browser
def test_pictures_and_labels_are_chosen_by_mouse(browser, file):
    with visit(browser, file) as page:
        first, said = page.locator(".cls").first, page.locator(".cls .cl-said").first
        first.get_by_role("radio", name="picture of: apple").check(force=True)
        agree(page, 1, LABELS[:4], 0.05)
        assert "“apple” is not on the list." in said.inner_text()
        first.get_by_role("checkbox", name="dog").uncheck(force=True)
        first.get_by_role("checkbox", name="none of these").check(force=True)
        listed = [LABELS[0], *LABELS[2:]]
        agree(page, 1, listed, 0.05)
        shares = wanted(1, listed, 0.05)[:, 3] / 100
        entropy = -(shares * np.log(shares)).sum()
        assert f"Entropy {entropy:.2f} nats of at most ln 4 = 1.39" in said.inner_text()
        assert f"among {math.exp(entropy):.1f} equal labels" in said.inner_text()
        assert f"“{listed[int(shares.argmax())]}” gets" in said.inner_text()
        for label in listed:
            first.get_by_role("checkbox", name=label, exact=True).uncheck(force=True)
        assert said.inner_text().startswith("No label is on the list.")
        assert first.locator("tbody tr").count() == 0
        assert page.locator(".cls b", has_text="bold").count() == 0  # text, not markup
        assert page.locator(".cls").last.locator("tbody tr").count() == 4  # the other one


@pytest.mark.browser
def test_the_keyboard_reaches_everything(browser, file):
    with visit(browser, file) as page:
        page.keyboard.press("Tab")
        page.keyboard.press("ArrowRight")  # the next picture
        agree(page, 1, LABELS[:4], 0.05)
        page.keyboard.press("Tab")
        page.keyboard.press("Space")  # cat, off the list
        agree(page, 1, LABELS[1:4], 0.05)
        for _ in range(5):
            page.keyboard.press("Tab")  # past the other labels to τ
        page.keyboard.press("End")
        agree(page, 1, LABELS[1:4], 1.0)
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")  # the first preset
        agree(page, 1, LABELS[1:4], 0.01)


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_has_no_serious_fault(browser, file, scheme):
    with visit(browser, file, color_scheme=scheme) as page:
        assert grave_faults(page) == []


@pytest.mark.browser
def test_it_fits_a_phone(browser, file):
    with visit(browser, file, width=360) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
