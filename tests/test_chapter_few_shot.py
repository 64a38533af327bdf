"""Chapter 11: its sentences against its measurements, its parts against the lab's, its widget."""

import base64
import re
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("jupytext", reason="the course needs the extra 'notebooks'")
pytest.importorskip("anywidget", reason="the course needs the extra 'notebooks'")
pytest.importorskip("sklearn", reason="the probes need the extra 'evaluation'")

from chromium import grave_faults, visit, widget_page
from course_run import Run, chapter, prose

from clip_lab.errors import LabError
from clip_lab.evaluation.few_shot import shots_to_match
from clip_lab.evaluation.linear_probe import Trial, best, fit, labelled, sweep
from clip_lab.experiments.registry import experiment
from clip_lab.experiments.report import results
from clip_lab.training.prompt_learning import ConditionalPrompts, LearnedPrompts
from clip_lab.view.chapters import few_shot as figures
from clip_lab.view.figures import describe
from clip_lab.view.widgets import static_html
from clip_lab.view.widgets.shots import ShotsWidget, levelled

CHAPTER = chapter("11_few_shot")


class TestRun(Run):
    """Stopped at each gap, and quick."""


# What the chapter says of its measurements


def test_the_task_is_what_it_says(ran):
    assert len(ran["names"]) == 8
    for part, each in (("train", 16), ("validation", 16), ("test", 52)):
        assert ran[part][1].bincount().tolist() == [each] * 8
    assert len(set(ran["rows"])) == len(ran["rows"]) == 8 * 84  # no drawing is in two parts
    groups = [ran["table"][row].group for row in ran["rows"]]
    assert [ran["kinds"][group] for group in groups[::84]] == ran["names"]
    labels = {ran["table"][row].label: ran["table"][row].group for row in ran["rows"]}
    assert labels.get("mouth", "people-body") == "people-body"  # "lips are a person"
    assert labels.get("red heart", "smileys-emotion") == "smileys-emotion"  # "a heart is a face"


def test_a_weak_penalty_gets_every_training_picture_right_which_says_nothing(ran):
    found = ran["by_strength"]
    assert found["training"][0] == 1.0
    top = max(found["validation"])
    assert found["validation"][0] < top - 0.05
    assert ran["best"] == found["validation"].index(top)
    assert 0 < ran["best"] < 7  # the best is no end of what was tried


def test_a_name_is_worth_a_few_pictures(ran):
    assert ran["found"].means[0] < ran["zero_shot"] < ran["found"].means[-1]
    assert 2 < ran["found"].zero_shot_worth < 8
    claim = results()["few_shot"]
    assert 2 ** claim.measured.mean("log2_worth").mean > ran["found"].zero_shot_worth
    assert claim.measured.mean("zero_shot").mean > 0.95  # "reads nearly perfectly"


def blended(names: np.ndarray, probe: np.ndarray, alpha: float) -> np.ndarray:
    """Each picture's answer: both logits at mean 0 for each picture and spread 1, then mixed."""
    both = [logits - logits.mean(1, keepdims=True) for logits in (names, probe)]
    first, second = (logits / np.sqrt((logits**2).mean()) for logits in both)
    return ((1 - alpha) * first + alpha * second).argmax(1)


def test_the_blend_beats_both_and_moves_towards_the_examples(ran):
    targets = ran["test"][1].numpy()
    names = (ran["test"][0] @ ran["name_vectors"].T).numpy()
    bests, alphas = {}, np.arange(101) / 100
    for k, draws in ran["probes"].items():
        alone = [np.mean(draw.argmax(1) == targets) for draw in draws]
        assert alone == pytest.approx(ran["found"].top1[ran["shots"].index(k)])  # the same draws
        curves = np.array(
            [[np.mean(blended(names, draw, a) == targets) for a in alphas] for draw in draws]
        )
        mean = curves.mean(0)
        bests[k] = alphas[mean.argmax()]
        assert mean.max() > max(mean[0], mean[-1]) + 0.01  # at every number of shots
        if k == 1:  # the blend varies less from draw to draw than the examples alone
            assert np.ptp(curves.max(1)) < 0.5 * np.ptp(curves[:, -1])
    assert bests[1] < 0.4 < 0.6 < bests[16]
    assert bests[1] < bests[2] < bests[4]


def test_one_picture_makes_the_learned_prompt_worse_and_sixteen_make_it_better(ran):
    coop, written = ran["coop"], ran["written"]
    assert max(coop[1], coop[4]) < written < coop[16] - 0.04
    assert ran["opening"].numel() == 960
    assert ran["weights"].numel() + ran["bias"].numel() == 2056
    assert "960 learned numbers beside the probe's 2,056" in prose(CHAPTER)


def test_what_was_learnt_is_no_words(ran):
    tokens = ran["text"].tokens(["a picture of a"])[0, 1:-1]
    assert torch.equal(ran["nearest"], tokens)  # the words that it started from
    assert ran["as_words"] == ran["written"] < ran["coop"][16]


def test_the_gain_on_base_classes_is_not_kept_on_new_ones(ran):
    base, new = ran["gain"].mean(dim=0).tolist()
    assert base > 0.03
    assert new < 0.01  # "nothing of the gain is left"
    assert len(ran["gain"]) == 6
    assert "chance is 16.7 %" in ran["shapes"].verdict.because
    panels = ran["panels"]
    paper = panels["11 data sets (CoCoOp paper)"]
    assert list(paper) == ["written", "CoOp", "CoCoOp"]
    assert "82.7 / 63.2" in experiment("prompt_learning").published
    for panel in (paper, panels["shapes (claim 21)"]):
        assert panel["CoOp"][0] > panel["written"][0]
        assert panel["CoOp"][1] < panel["written"][1]  # "on new ones it loses"
    assert paper["CoCoOp"][1] > paper["CoOp"][1]  # "transfers better in its paper"
    shapes = panels["shapes (claim 21)"]
    assert shapes["CoCoOp"][1] < shapes["CoOp"][1]  # "in the lab's miniature it doesn't"


def test_settings_chosen_on_the_test_are_flattered_and_the_more_the_smaller_it_is(ran):
    told, true = np.array(ran["told_as"]), np.array(ran["in_truth"])
    flattered = told - true
    assert (flattered > 0.01).all()
    assert (np.diff(flattered) < 0).all()
    assert flattered[0] > 0.05
    assert len(ran["alphas"]) * len(ran["betas"]) == 1000  # "a thousand pairs"
    assert ran["honest"] > ran["zero_shot"]


# What is built, against the lab's own


def test_the_probe_built_is_the_labs(ran):
    assert ran["yours"] == pytest.approx(ran["theirs"], abs=0.006)
    vectors, targets = ran["train"]
    model = fit(labelled(vectors, targets, "training"), 1.0)
    weights = ran["weights"].detach().numpy()
    weights = weights - weights.mean(axis=0)  # a shift of all classes changes no share
    assert np.allclose(model.coef_ - model.coef_.mean(axis=0), weights, atol=0.01)


def test_the_prompt_built_is_the_ordinary_one_and_the_labs(ran):
    assert (ran["read"] - ran["plain"]).abs().max() < 1e-5
    learner = LearnedPrompts(ran["text"], ran["names"], ran["opening"], ran["encoder"].scale)
    with torch.no_grad():
        assert torch.allclose(learner.prompts(ran["opening"]), ran["read"], atol=1e-6)


def test_the_conditional_context_built_is_the_labs(ran):
    encoder, names = ran["encoder"], ran["names"][:3]
    learner = ConditionalPrompts(ran["text"], names, ran["opening"], encoder.scale)
    last = learner.meta[2]
    assert isinstance(last, torch.nn.Linear)
    torch.nn.init.normal_(last.weight, std=0.1)  # away from its zeros
    images = ran["test"][0][:2]
    with torch.no_grad():
        contexts = ran["conditional_context"](learner.context, learner.meta(images))
        for image, context, row in zip(images, contexts, learner(images), strict=True):
            mine = encoder.scale * learner.prompts(context) @ image
            assert torch.allclose(mine, row, atol=1e-4)


def test_worth_and_search_are_the_labs(ran):
    worth = ran["shots_worth"](ran["zero_shot"], list(ran["shots"]), list(ran["found"].means))
    assert worth == pytest.approx(ran["found"].zero_shot_worth, rel=1e-6)
    assert ran["shots_worth"](0.99, [1, 2], [0.1, 0.5]) == shots_to_match(0.99, [1, 2], [0.1, 0.5])
    for peak in (-5.9, -1.35, 0.4, 3.3, 6.0):
        asked, theirs = [], []

        def accuracy(strength, peak=peak, asked=asked):
            asked.append(float(strength))
            return 0.9 - 0.01 * (np.log10(strength) - peak) ** 2

        def trial(strength, accuracy=accuracy, theirs=theirs):
            theirs.append(strength)
            return Trial(strength, accuracy(strength), True)

        wanted = np.log10(best(sweep(trial)).strength)
        asked.clear()
        assert ran["search_strength"](accuracy) == pytest.approx(wanted)
        assert sorted(asked) == pytest.approx(sorted(theirs))
        assert len(asked) <= 15
    assert len(np.arange(-48, 49)) == 97  # eighths of a decade from -6 to 6


# Figures


def test_figures_say_what_they_show():
    drawing = np.zeros((4, 4, 3))
    words = describe(figures.examples({"cat": [drawing] * 2, "dog": [drawing] * 2}))
    assert "2 classes, 2 of each: cat, dog" in words
    words = describe(figures.by_strength([0.1, 1], {"validation": [0.4, 0.5]}, chosen=1))
    assert "validation 40% at the weakest, 50% at the strongest; chosen λ = 1" in words
    curves = {"probe": [0.2, 0.5], "CoOp": {2: 0.4}}
    words = describe(figures.by_shots((1, 2), curves, {"names": 0.3}, predicted=0))
    assert "probe: 20% with 1, 50% with 2; CoOp: 40% with 2; names: 30%" in words
    words = describe(figures.base_and_new({"here": {"CoOp": (0.64, 0.51)}}, [0.25]))
    assert "here, chance: 25.0%" in words
    assert "here, CoOp: 64.0% on base, 51.0% on new" in words
    words = describe(figures.flattered((25, 50), (0.6, 0.58), (0.5, 0.52), honest=0.53))
    assert "25 pictures: told 60.0%, true 50.0%" in words


def test_it_cites_what_it_runs():
    for source in ("Tip-Adapter/issues/11", "Tip-Adapter/issues/4", "CLIP/issues/128",
                   "CLIP_benchmark/issues/125"):  # fmt: skip
        assert source in prose(CHAPTER)
    assert re.search(r"chapters 9 and 10", prose(CHAPTER))


# The widget: its Python side

CLASSES = ["cat", "dog", "</script><b>bold</b>"]
TARGETS = np.arange(30) % 3
SHOTS = (1, 2, 8)
SHOWN = [0, 1, 2, 4, 29]


def logits(seed: int, size: float = 1.0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(size=(30, 3))
    return size * (noise + 0.7 * np.eye(3)[TARGETS]) + 5


def probes() -> dict[int, np.ndarray]:
    """Three draws; with eight shots they are all there is, and alike."""
    found = {k: np.stack([logits(10 * k + draw, 0.1) for draw in range(3)]) for k in SHOTS[:2]}
    return found | {SHOTS[2]: np.stack([logits(80, 0.1)] * 3)}


def drawings() -> dict[int, np.ndarray]:
    return {place: np.full((20, 20, 3), 8 * place, np.uint8) for place in SHOWN}


def widget(**options) -> ShotsWidget:
    return ShotsWidget(logits(0), probes(), TARGETS, CLASSES, drawings(), **options)


def test_it_holds_what_it_was_given():
    made = widget(alpha=0.3)
    assert (made.alpha, made.at, made.draw, made.shots) == (0.3, 0, 0, [1, 2, 8])
    assert [len(draws) for draws in made.probes] == [3, 3, 1]
    told = np.frombuffer(base64.b64decode(made.probes[1][2]), "<i2").reshape(30, 3) / 4000
    assert np.allclose(told, levelled(probes()[2][2]), atol=0.0002)
    assert levelled(logits(0)).std() == pytest.approx(1)
    assert (levelled(logits(0)).argmax(1) == logits(0).argmax(1)).all()
    assert made.shown == SHOWN
    for trait, place in (("at", 3), ("draw", 3), ("at", -1)):
        with pytest.raises(LabError, match="is a place: 0 to 2"):
            setattr(made, trait, place)


def test_a_classs_name_can_not_end_the_script_it_stands_in():
    html = static_html(widget())
    assert html.count("</script>") == 1
    assert html.count("export ") == 0


def test_the_chapters_own_is_no_heavy_page(ran):
    names = (ran["test"][0] @ ran["name_vectors"].T).numpy()
    made = ShotsWidget(names, ran["probes"], ran["test"][1].numpy(), ran["names"], ran["some"])
    assert len(static_html(made)) < 400_000
    for place, picture in ran["some"].items():  # what is shown is what is told of
        kind = int(ran["test"][1][place])
        row = ran["drawn"][84 * kind + 32 + place % 52]
        assert np.array_equal(picture, row.permute(1, 2, 0).numpy())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"names": logits(0)[:, :2]}, "3 classes"),
        ({"classes": ["cat"]}, "2 or more"),
        ({"probes": {}}, "examples a class"),
        ({"probes": {0: probes()[1]}}, "1 or more"),
        ({"probes": {1: probes()[1][0]}}, "draws, 30, 3"),
        ({"probes": {1: probes()[1] * np.nan}}, "finite"),
        ({"probes": {1: 0 * probes()[1]}}, "all alike"),
        ({"probes": {1: np.repeat(probes()[1], 500, 0)}}, "fewer pictures or draws"),
        ({"targets": TARGETS[:5]}, "each of the 30 pictures"),
        ({"targets": TARGETS / 2}, "number of its class"),
        ({"targets": TARGETS + 1}, "these are 1 to 3"),
        ({"pictures": {}}, "0 to 29"),
        ({"pictures": {30: drawings()[0]}}, "0 to 29"),
        ({"pictures": {3: drawings()[0][..., 0]}}, "height, width, 3"),
        ({"alpha": 1.5}, "from 0, names alone"),
    ],
)
def test_what_it_can_not_show_is_told(change, words):
    given = {"names": logits(0), "probes": probes(), "targets": TARGETS, "classes": CLASSES,
             "pictures": drawings()}  # fmt: skip
    with pytest.raises(LabError, match=words):
        ShotsWidget(**{**given, **change})


# The widget in a page without a kernel


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    return widget_page(tmp_path_factory.mktemp("widget"), widget(), widget(alpha=1.0))


def agree(page, shots: int, draw: int, alpha: float) -> None:
    """All that the first widget says, against numpy's own reckoning."""
    own = page.locator(".clf").first
    bare, probe = logits(0), probes()[shots][draw]
    answers, by_name = blended(bare, probe, alpha), bare.argmax(1)
    right, first = answers == TARGETS, by_name == TARGETS
    said = own.locator(".cl-said").inner_text()
    assert f"With {shots} example{'s' if shots > 1 else ''} a class and α = {alpha:.2f}" in said
    assert f"{right.sum()} of 30 are right ({right.mean():.1%}".replace("%", " %") in said
    for than, count in (("names", first.sum()), ("examples", (probe.argmax(1) == TARGETS).sum())):
        by = right.sum() - count
        words = "as many as" if by == 0 else f"{abs(by)} {'more' if by > 0 else 'fewer'} than"
        assert f"{words} by the {than} alone" in said
    changed = answers != by_name
    won, lost = ((changed & which).sum() for which in (right, first))
    words = f"{changed.sum()} answers differ from the names': {won} became right, {lost} wrong"
    assert (words if changed.any() else "All answers are the names' own.") in said
    curve = [int((blended(bare, probe, a / 100) == TARGETS).sum()) for a in range(101)]
    best = int(np.argmax(curve)) / 100
    assert (
        f"The best α for this draw is {best:.2f} ({max(curve) / 30:.1%}".replace("%", " %") in said
    )
    assert float(own.locator("input[type=range]").input_value()) == round(100 * alpha)
    for k in range(3):
        cells = own.locator(f".clf-answers tbody td:nth-child({k + 1}):has(img)").all()
        places = [place for place in SHOWN if TARGETS[place] == k]
        assert len(cells) == len(places)
        for cell, place in zip(cells, places, strict=True):
            told = cell.text_content()
            assert told.startswith("✓right: " if right[place] else "✗wrong: ")
            assert CLASSES[answers[place]] in told
            assert ("by the names" in told) == bool(changed[place])
            assert ("clf-changed" in cell.get_attribute("class")) == bool(changed[place])


@pytest.mark.browser
def test_the_mouse_moves_shots_draw_and_alpha(browser, file):
    with visit(browser, file) as page:
        own = page.locator(".clf").first
        agree(page, 1, 0, 0.0)
        assert own.locator(".clf-changed").count() == 0
        own.get_by_role("button", name="half and half").click()
        agree(page, 1, 0, 0.5)
        own.get_by_role("group", name="Examples a class").get_by_label("2").check(force=True)
        own.get_by_role("group", name="Draw").get_by_label("3").check(force=True)
        agree(page, 2, 2, 0.5)
        plot = own.locator(".clf-plot")
        box = plot.bounding_box()
        plot.click(position={"x": 0.8 * box["width"], "y": 20})
        agree(page, 2, 2, 0.8)
        dot, mark = (plot.locator(name).bounding_box() for name in (".clf-dot", ".clf-best"))
        assert dot["x"] + dot["width"] / 2 == pytest.approx(box["x"] + 0.8 * box["width"], abs=1)
        own.get_by_role("button", name="best on these").click()
        dot = plot.locator(".clf-dot").bounding_box()
        for side, size in (("x", "width"), ("y", "height")):
            middle = dot[side] + dot[size] / 2
            assert middle == pytest.approx(mark[side] + mark[size] / 2, abs=1)
        own.get_by_role("button", name="examples alone").click()
        agree(page, 2, 2, 1.0)
        own.get_by_role("group", name="Examples a class").get_by_label("8").check(force=True)
        agree(page, 8, 0, 1.0)  # there is one draw of them only
        assert own.locator(".clf-draws input").first.is_disabled()
        assert page.locator(".clf b", has_text="bold").count() == 0  # text, not markup
        assert "α = 1.00" in page.locator(".clf").last.locator(".clf-alpha").inner_text()


@pytest.mark.browser
def test_the_keyboard_reaches_everything(browser, file):
    with visit(browser, file) as page:
        page.keyboard.press("Tab")
        page.keyboard.press("ArrowRight")  # two examples
        page.keyboard.press("Tab")
        page.keyboard.press("ArrowRight")  # the second draw
        agree(page, 2, 1, 0.0)
        page.keyboard.press("Tab")
        for _ in range(3):
            page.keyboard.press("ArrowRight")
        agree(page, 2, 1, 0.03)
        page.keyboard.press("End")
        agree(page, 2, 1, 1.0)
        for _ in range(2):
            page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        agree(page, 2, 1, 0.5)


@pytest.mark.browser
def test_the_curves_stand_in_a_table(browser, file):
    with visit(browser, file) as page:
        page.get_by_text("The curves as a table").first.click()
        rows = page.locator(".clf .cl-digest").first.locator("tbody tr").all()
        curves = [
            [(blended(logits(0), probes()[k][0], a / 100) == TARGETS).mean() for a in range(101)]
            for k in SHOTS
        ]
        for step, row in enumerate(rows[:-1]):
            assert row.locator("th").inner_text() == f"{step / 10:.2f}"
            told = [float(text.split()[0]) for text in row.locator("td").all_inner_texts()]
            assert told == pytest.approx([100 * curve[10 * step] for curve in curves], abs=0.51)
        best = [float(text) for text in rows[-1].locator("td").all_inner_texts()]
        assert best == [np.argmax(curve) / 100 for curve in curves]


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_has_no_serious_fault(browser, file, scheme):
    with visit(browser, file, color_scheme=scheme) as page:
        page.get_by_role("button", name="half and half").first.click()
        assert grave_faults(page) == []


@pytest.mark.browser
def test_it_fits_a_phone(browser, file):
    with visit(browser, file, width=360) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
