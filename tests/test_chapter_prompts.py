"""Chapter 10: its sentences against its measurements, its parts against the lab's, its widget."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

pytest.importorskip("jupytext", reason="the course needs the extra 'notebooks'")
pytest.importorskip("anywidget", reason="the course needs the extra 'notebooks'")

from chromium import grave_faults, visit, widget_page
from course_run import Run, chapter, prose

import clip_lab
from clip_lab.data import emoji_table
from clip_lab.errors import LabError
from clip_lab.evaluation.accuracy import wilson
from clip_lab.evaluation.template_effects import template_effects
from clip_lab.experiments.claims.prompts import SENSES
from clip_lab.experiments.registry import experiment
from clip_lab.experiments.report import results
from clip_lab.view.chapters import prompts as figures
from clip_lab.view.notebook_figures import describe
from clip_lab.view.widgets import static_html
from clip_lab.view.widgets.templates import TemplatesWidget

CHAPTER = chapter("10_prompts")


class TestRun(Run):
    """Stopped at each gap, and quick."""


# What the chapter says of its measurements


def test_a_sentence_loses_to_the_bare_name(ran):
    alone = ran["alone"]
    assert len(ran["names"]) == 1760
    assert alone["an emoji of {}"] < alone["{}"] - 0.03  # "falls": more than a point
    assert max(alone.values()) == alone["{}"]


def test_the_ensemble_lies_between_the_mean_template_and_the_bare_name(ran):
    ways = ran["ways"]
    bare, mean, vectors, unscaled, shares = ways.values()
    assert mean + 0.003 < vectors < bare - 0.01
    assert unscaled >= vectors  # "not even the forgotten scaling is punished"
    assert max(vectors, unscaled, shares) - min(vectors, unscaled, shares) < 0.02


def test_the_papers_points_are_as_registered_and_the_labs_as_published(ran):
    assert "+1.3 points by a template, +3.5 more" in experiment("prompts").published
    assert "+1.3 points on ImageNet" in prose(CHAPTER)
    published = results()["prompts"].measured
    assert len(published.seeds) == 5
    assert len(published.runs[0]["worlds"]) == 3
    whole = ran["over_bare"].mean(0)
    assert (whole[:, 1] < 0.001).all()  # nothing of the five points in any world
    assert (whole > -0.02).all()


def test_captions_were_often_bare_names(ran):
    mix, total = vars(ran["mix"]), ran["total"]
    assert mix["name"] / total > 2 * mix["template"] / total
    card = ran["card"]
    plain, described = (
        [card[prompt][what] for prompt in ("bare_name", "ensemble")]
        for what in ("never_trained", "never_trained_described")
    )
    assert plain[0]["classes"] == 20
    assert plain[0]["top1_interval_95"][1] < described[0]["top1_interval_95"][0]
    assert described[0]["top1_interval_95"][1] < described[1]["top1_interval_95"][0]


def test_an_average_costs_nothing(ran):
    assert ran["ratio"] == pytest.approx(1, abs=0.02)
    times = ran["times"]
    assert times["templates"][0] == 80
    assert 1 < times["apart"].mean() / times["one"].mean() < 1.1  # "still little"


def test_context_picks_the_sense_shown():
    assert len(SENSES) == 22
    found = results()["prompts"]
    assert "context picks the right one in" in found.verdict.because
    context = found.verdict.effects["context, above chance"]
    assert 0.5 + context.mean == pytest.approx(found.measured.mean("context").mean)
    assert context.seeds == 5  # "five trained models"


def test_in_the_four_words_shown_context_always_turns_the_answer(ran):
    encoder, number = ran["encoder"], ran["number"]
    shown = [entry for entry in SENSES if entry[0] in ran["two"]]
    assert len(shown) == 4
    for word, *senses in shown:
        pictures = ran["image_vectors"][[number[code] for code, _ in senses]]
        texts = encoder.encode_texts([f"{word}, {context}" for _, context in senses])
        assert torch.equal((texts @ pictures.T).argmax(1), torch.arange(2))


def test_spelling_like_code_costs_a_third_and_upper_case_nothing(ran):
    bare, spelt = ran["alone"]["{}"], ran["spelt"]
    assert max(spelt["red_apple"], spelt["RedApple"]) < 0.75 * bare
    assert spelt["RED APPLE"] == bare
    plain, lined, joined = (ran["encoder"].tokenizer.encode(text)
                            for text in ("red apple", "red_apple", "RedApple"))  # fmt: skip
    assert [piece for piece in lined if piece in plain] == plain
    assert len(lined) == len(plain) + 1  # "with one more between them, an underscore"
    assert joined == ran["encoder"].tokenizer.encode("redapple")
    assert not set(joined[:-1]) & set(plain)  # "in other pieces"
    assert not [t for said in emoji_table.texts("en").values() for t in said if "_" in t]


def test_a_lost_gap_makes_all_shares_equal_and_a_wrong_set_harms(ran):
    assert set(ran["same"]) == {"an emoji of {}"}
    assert torch.allclose(ran["shares"], torch.full_like(ran["shares"], 1 / 1760), rtol=1e-3)
    assert ran["wrong_set"] < ran["right_set"] - 0.2


def test_a_satellite_photo_brings_something_to_the_ensemble_that_is_ticked_first(ran):
    few, offered = ran["few"], ran["offered"]
    vectors = ran["prompt_vectors"](ran["kinds"], offered)
    pictures, targets = ran["kind_vectors"][few], ran["targets"][few]
    counts = torch.bincount(targets)
    assert counts.tolist() == [10] * 11  # "ten drawings of each"

    def found(places: list[int]) -> int:
        rows = F.normalize(vectors[:, places].mean(1), dim=-1)
        return int(((pictures @ rows.T).argmax(1) == targets).sum())

    place = offered.index("a satellite photo of {}.")
    gains = [found([*on, place]) - found(on) for on in ([0, 1, 2, 3], [0, 1], [1, 2], [1, 2, 3])]
    assert max(gains) > 0


def test_more_of_the_same_sort_help_and_stay_below_the_bare_name(ran):
    mean = dict(zip(ran["sizes"], np.mean(ran["drawn"], axis=0), strict=True))
    gained = mean[80] - mean[1]
    assert gained > 0.08
    assert mean[10] - mean[1] > 0.6 * gained  # "most of it is had with ten or so"
    assert mean[80] < ran["bare"] - 0.05
    photo = [t for t in ran["prompt_sets"]()["imagenet"].templates if "photo" in t]
    assert len(photo) > 40  # "most of the 80 speak of photographs"


def test_what_is_chosen_on_100_pictures_gains_there_only(ran):
    used, others = ran["on_used"], ran["on_others"]
    assert len(ran["used"]) == 100
    assert used[-1] - used[0] > 0.03
    assert others[-1] - others[0] < 0.5 * (used[-1] - used[0])
    assert len(set(ran["chosen"])) == 8


def test_sources_are_linked():
    for source in ("Histo-TransCLIP/issues/3", "ViFi-CLIP/issues/6", "imagenet-stubs/issues/2",
                   "mteb/pull/1103", "zero-shot-demo/issues/1", "datacomp/issues/69",
                   "Prompt_Engineering_for_ImageNet", "2209.03320"):  # fmt: skip
        assert source in prose(CHAPTER)


# What is built, against the lab's own


def test_the_ensemble_built_is_the_labs(ran):
    encoder, names = ran["encoder"], ran["names"][:20]
    labs = clip_lab.ZeroShotClassifier(encoder, names, ran["templates"]).weights
    assert torch.allclose(
        ran["ensemble_weights"](encoder, names, ran["templates"]), labs, atol=1e-6
    )
    filled = clip_lab.zero_shot.fill("{}: a {}", "bat")
    assert ran["fill_gap"]("{}: a {}", "bat") == filled


def test_what_each_template_brings_is_what_the_labs_effects_are_made_of(ran):
    """For one picture the lab tells the ensemble's winner without each template."""
    encoder, kinds, templates = ran["encoder"], ran["kinds"], ran["templates"]
    picture, target = ran["kind_vectors"][:1], ran["targets"][:1]
    vectors = ran["prompt_vectors"](kinds, templates)
    built = ran["without_each"](vectors, picture, target)
    _, _, effects = template_effects(encoder, picture[0], kinds, templates)
    labs = [effect.winner_without == int(target) for effect in effects]
    assert built.tolist() == [float(right) for right in labs]


def test_figures_tell_their_numbers():
    words = describe(figures.one_by_one({"{}": 0.5, "a {}": 0.4}, 100, wilson))
    assert "“{}” 50.0% (40.4 to 59.6); “a {}” 40.0%" in words
    two = np.array([[0.01], [0.03]])
    words = describe(figures.gains(["here"], two, two + 0.01, (1.3, 4.8)))
    assert "one template: paper, ImageNet +1.3; here here +2.0" in words
    words = describe(figures.cost({"1": [2.0, 3.0]}, {"1": [0.5]}))
    assert "each picture, 1: 2.50 ms; building, once, 1: 0.50 s" in words
    words = describe(figures.many([1, 80], [[0.5, 0.6], [0.7, 0.6]], 0.8, "bare name"))
    assert "1: 60.0 %" in words
    assert "bare name: 80.0%" in words
    assert "from 80.0% to 90.0%; on 9 others" in describe(
        figures.choosing([0.8, 0.9], [0.7, 0.7], (3, 9))
    )


# The widget: its Python side

CLASSES = ["cat", "dog", "</script><b>bold</b>"]
TEMPLATES = ["{}", "a drawing of {}", "<!-- {} -->", "{} emoji"]
TARGETS = np.arange(30) % 3
SCALE = 12.0


def units(*shape: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=shape)
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def texts() -> np.ndarray:
    mixed = units(3, 1, 8, seed=1) + 0.9 * units(3, 4, 8, seed=2)
    return mixed / np.linalg.norm(mixed, axis=-1, keepdims=True)


def pictures() -> np.ndarray:
    mixed = texts().mean(1)[TARGETS] + 0.9 * units(30, 8, seed=3)
    return mixed / np.linalg.norm(mixed, axis=-1, keepdims=True)


def widget(**options) -> TemplatesWidget:
    given = {"scale": SCALE, "on": [0, 1], **options}
    return TemplatesWidget(pictures(), texts(), TARGETS, CLASSES, TEMPLATES, **given)


def test_it_holds_what_it_was_given():
    made = widget(on=[2, 1, 2], combine="shares")
    assert np.allclose(np.array(made.cosines)[:, :, 1], pictures() @ texts()[:, 1].T, atol=1e-4)
    assert np.allclose(np.array(made.gram)[1], texts()[1] @ texts()[1].T, atol=1e-4)
    assert (made.on, made.combine, made.scale) == ([1, 2], "shares", SCALE)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"text_vectors": texts()[:, :3]}, "3 classes and 4 templates"),
        ({"image_vectors": pictures()[:, :5]}, "these are"),
        ({"classes": ["cat"], "text_vectors": texts()[:1]}, "2 classes or more"),
        ({"image_vectors": pictures() * 2}, "length 1"),
        ({"text_vectors": texts() * np.nan}, "length 1"),
        ({"targets": TARGETS[:5]}, "each of the 30 pictures"),
        ({"targets": TARGETS + 1}, "0 to 2; these go to 3"),
        ({"targets": TARGETS / 2}, "number of its class"),
        ({"on": [4]}, "0 to 3"),
        ({"scale": 0}, "above 0"),
        ({"image_vectors": np.repeat(pictures(), 200, 0), "targets": np.repeat(TARGETS, 200)},
         "fewer pictures"),
    ],
)  # fmt: skip
def test_what_it_can_not_show_is_told(change, words):
    given = {"image_vectors": pictures(), "text_vectors": texts(), "targets": TARGETS,
             "classes": CLASSES, "templates": TEMPLATES, "scale": SCALE}  # fmt: skip
    with pytest.raises(LabError, match=words):
        TemplatesWidget(**{**given, **change})


def test_templates_can_not_end_the_script_they_stand_in():
    html = static_html(widget())
    assert html.count("</script>") == 1
    assert "<!--" not in html
    assert html.count("export ") == 0


# The widget in a page without a kernel


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    return widget_page(tmp_path_factory.mktemp("widget"), widget(), widget(on=[3]))


def answers(on: list[int], combine: str = "vectors") -> np.ndarray:
    """Each picture's class, by torch, from the vectors themselves."""
    images, vectors = torch.tensor(pictures()), torch.tensor(texts())[:, on]
    if combine == "vectors":
        return (images @ F.normalize(vectors.mean(1), dim=-1).T).argmax(1).numpy()
    logits = SCALE * torch.einsum("nd,ctd->nct", images, vectors)
    return logits.softmax(1).mean(2).argmax(1).numpy()


def right(on: list[int], combine: str = "vectors") -> int:
    return int((answers(on, combine) == TARGETS).sum())


def agree(page, on: list[int], combine: str = "vectors") -> None:
    score = page.locator(".clg-score").first.inner_text()
    assert f"right: {right(on, combine)} of 30, with {len(on)} of 4 templates" in score
    rows = page.locator(".clg-templates").first.locator("tbody tr").all()
    for t, row in enumerate(rows):
        assert row.locator("input").is_checked() == (t in on)
        alone, brings = row.locator("td").all_inner_texts()
        assert float(alone.split()[0]) == pytest.approx(100 * right([t]) / 30, abs=0.51)
        other = [u for u in on if u != t] if t in on else sorted([*on, t])
        if not other:
            assert brings == "–"
            continue
        gain = right(on, combine) - right(other, combine)
        gain = gain if t in on else -gain
        value = float(brings.split()[0].replace("−", "-"))
        assert value == pytest.approx(100 * gain / 30, abs=0.051)
        assert ("if ticked" in brings) == (t not in on)


@pytest.mark.browser
def test_ticking_changes_the_ensemble_and_what_each_brings(browser, file):
    with visit(browser, file) as page:
        first = page.locator(".clg").first
        agree(page, [0, 1])
        first.get_by_role("checkbox", name="{} emoji").check()
        agree(page, [0, 1, 3])
        before, after = answers([0, 1]), answers([0, 1, 3])
        was, now = before == TARGETS, after == TARGETS
        won = int((now & ~was).sum())
        lost = int((was & ~now).sum())
        said = page.locator(".clg .cl-said").first.inner_text()
        assert f"altered {int((before != after).sum())} of 30 answers: {won} from wrong" in said
        assert f"{lost} from right to wrong" in said
        first.get_by_role("radio", name="mean of the shares").check(force=True)
        agree(page, [0, 1, 3], "shares")
        first.get_by_role("button", name="only the first").click()
        agree(page, [0], "shares")
        first.get_by_role("checkbox", name="{}", exact=True).uncheck()
        assert "there is no classifier" in page.locator(".clg .cl-said").first.inner_text()
        first.get_by_role("button", name="all", exact=True).click()
        agree(page, [0, 1, 2, 3], "shares")
        assert page.locator(".clg b", has_text="bold").count() == 0  # text, not markup
        other = page.locator(".clg").last.locator(".clg-templates input:checked")
        assert other.count() == 1  # the other widget went its own way


@pytest.mark.browser
def test_the_classes_stand_in_a_table(browser, file):
    with visit(browser, file) as page:
        page.get_by_text("Class by class").first.click()
        rows = page.locator(".clg .cl-digest").first.locator("tbody tr").all()
        lengths = np.linalg.norm(texts()[:, [0, 1]].mean(1), axis=-1)
        for k, row in enumerate(rows):
            own = np.flatnonzero(np.equal(TARGETS, k))
            found = [int((answers(on)[own] == k).sum()) for on in ([0, 1], [0])]
            assert row.locator("th").inner_text() == CLASSES[k]
            told = row.locator("td").all_inner_texts()
            assert [int(value) for value in told[:3]] == [10, *found]
            assert float(told[3]) == pytest.approx(lengths[k], abs=0.006)


@pytest.mark.browser
def test_the_keyboard_reaches_everything(browser, file):
    with visit(browser, file) as page:
        page.keyboard.press("Tab")
        page.keyboard.press("ArrowRight")  # shares
        agree(page, [0, 1], "shares")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")  # all
        agree(page, [0, 1, 2, 3], "shares")
        for _ in range(4):
            page.keyboard.press("Tab")  # two more buttons, then the second template
        page.keyboard.press("Space")
        agree(page, [0, 2, 3], "shares")


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_has_no_serious_fault(browser, file, scheme):
    with visit(browser, file, color_scheme=scheme) as page:
        assert grave_faults(page) == []


@pytest.mark.browser
def test_it_fits_a_phone(browser, file):
    with visit(browser, file, width=360) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
