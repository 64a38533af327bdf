"""Chapter 8: its sentences against its measurements, its parts against the lab's, its widget."""

import copy
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("jupytext", reason="the course needs the extra 'notebooks'")
pytest.importorskip("anywidget", reason="the course needs the extra 'notebooks'")

from chromium import grave_faults, visit, widget_page
from course_run import Run, chapter, prose

import clip_lab
from clip_lab.errors import LabError
from clip_lab.experiments.report import results
from clip_lab.model.clip import MAX_LOGIT_SCALE
from clip_lab.training import gradients
from clip_lab.training.loop import step_optimizer
from clip_lab.training.precision import grad_scaler
from clip_lab.training.recipes import recipe
from clip_lab.training.schedule import adamw
from clip_lab.training.towers import Features, Towers
from clip_lab.view.chapters import training as figures
from clip_lab.view.notebook_figures import describe
from clip_lab.view.widgets import static_html
from clip_lab.view.widgets.scrubber import ScrubberWidget

CHAPTER = chapter("08_training")


class TestRun(Run):
    """Stopped at each gap, and quick."""


# What the chapter says of its measurements


def test_the_built_in_run_is_the_one_that_it_speaks_of(ran):
    card = clip_lab.load("shapes").card
    assert card["steps"] == ran["steps"] == 3000
    its = recipe("shapes")
    assert (its.learning_rate, its.warmup, its.weight_decay) == (5e-3, 200, 0.1)
    assert ran["half"] == 200
    assert next(share for step, share in ran["held_out"] if step == 200) > 0.5
    loss, scale = (dict(ran["curves"][key]) for key in ("loss", "scale"))
    assert abs(loss[10] - math.log(256)) < 0.1  # "begins near ln 256"
    assert round(math.log(256), 2) == 5.55
    assert max(scale[step] for step in scale if step <= 220) < 14.5  # "stands still at first"
    assert scale[2950] > 2 * scale[220]
    share = dict(ran["curves"]["accuracy"])
    assert share[0] < 0.06
    assert share[3000] > 0.98
    assert share[150] < 0.5 < share[300]
    assert loss[290] > 5 * loss[2950]  # "how much of the loss's way is still to go"
    right = [int((m.argmax(1) == torch.arange(8)).sum()) for m in ran["matrices"]]
    assert right[0] <= 2
    assert right[-1] == 8


def test_no_captions_of_the_test_are_trained_on(ran):
    words = [set(caption.split(" on ")[0].split()) for caption in ran["captions"]]
    for caption in ran["test"].captions:
        _, size, colour, shape = caption.split()
        assert not [w for w in words if {size, colour, shape} <= w]


def test_fewer_pairs_give_the_lowest_loss_and_hardly_more_than_chance(ran):
    loss = {name: points[-1][1] for name, points in ran["losses"].items()}
    share = {name: points[-1][1] for name, points in ran["accuracy"].items()}
    assert loss["128 pairs"] < 0.05
    assert loss["4,096 pairs"] > 200 * loss["128 pairs"]  # "hundreds of times higher"
    assert share["128 pairs"] < 0.1 < 0.25 < share["4,096 pairs"]
    assert abs(loss["no warm-up"] - math.log(64)) < 0.05
    assert share["no warm-up"] < 0.06


def test_without_warm_up_all_pictures_get_one_vector(ran):
    alike = {}
    for name, model in ran["models"].items():
        with torch.no_grad():
            rows = nn.functional.normalize(model.encode_image(ran["test_scaled"]), dim=-1)
        alike[name] = float((rows @ rows.T).mean())
    assert alike["no warm-up"] > 0.98
    assert max(alike["4,096 pairs"], alike["128 pairs"]) < 0.5


def test_the_longer_measurements_say_what_the_chapter_says_of_them():
    found = results()
    pairs, noise, locked = (
        found[name].verdict.effects for name in ("data_size", "noisy_captions", "locked_tower")
    )
    assert pairs["gain per tenfold pairs"].low > 0.2  # "help until ...
    assert abs(pairs["endless less most"].mean) < 0.05  # ... something else limits",
    assert pairs["in the last step, each pair once"].low > 0.5  # "the length of the training"
    assert noise["noisy at scale less few clean"].low < 0  # "not free"
    assert locked["locked less from scratch"].low > 0.1  # "needs far fewer"


def test_only_the_whole_checkpoint_goes_on_exactly(ran):
    apart = ran["apart"]
    assert apart["all of it"] == 0
    assert min(apart["without the averages"], apart["without the step"]) > 0.005


def test_what_adam_does_in_float16(ran):
    moves = ran["moves"]
    lost = {name: float((~move.isfinite()).float().mean()) for name, move in moves.items()}
    still = {name: float((move == 0).float().mean()) for name, move in moves.items()}
    assert lost["float16, ε = 1e-8"] > 0.7
    assert max(share for name, share in lost.items() if "e-8" not in name) == 0
    assert still["float16, ε = 1e-4"] > 1.6 * still["float32"]  # "nearly twice as many"
    assert still["float32"] == pytest.approx(still["float32 weights, bfloat16 products"], abs=0.03)
    assert torch.tensor(1e-8).half() == 0  # "ε is 0"
    assert torch.tensor(ran["smallest"]).half() > 0
    assert torch.tensor(ran["smallest"] * 0.49).half() == 0
    below = torch.tensor(0.001 * (0.99 * ran["squares"]) ** 2).half()
    assert below == 0 < torch.tensor(0.001 * (1.01 * ran["squares"]) ** 2).half()
    small = (ran["gradients"].abs() < ran["squares"]).float().mean()
    assert small > 0.5  # "the squares of most gradients"


def test_an_embedding_of_a_token_that_is_not_in_the_batch_becomes_nan(ran):
    """0/0, where the gradient is exactly 0."""
    model = copy.deepcopy(ran["models"]["4,096 pairs"]).half()
    adam = torch.optim.Adam(model.parameters(), lr=1e-5)
    seen, read = ran["batch"](500, 4096)
    ran["training_step"](model, adam, seen.half(), read)
    (embedding,) = [p for n, p in model.named_parameters() if n.endswith("token_embedding.weight")]
    absent = torch.ones(len(embedding), dtype=torch.bool)
    absent[read.flatten()] = False
    assert embedding[absent].isnan().all()


def test_the_figures_in_its_sentences():
    assert round(math.log(14.3), 2) == 2.66
    assert round((math.log(100) - math.log(14.3)) / 0.005, -1) == 390
    assert round((100 - 14.3) / 0.005, -3) == 17_000
    assert "some 390 steps at 0.005" in prose(CHAPTER)
    assert "17,000" in prose(CHAPTER)


def test_the_last_tenth_leaks(ran):
    assert 0.02 < ran["leaked"] < 0.5


# What is built, against the lab's own


def test_its_schedule_and_its_groups_are_the_labs(ran):
    assert ran["gap"] < 1e-12
    assert ran["same"] == {id(p) for p in ran["decaying"]}
    assert 0.4 < ran["left"] < 0.6


def test_its_step_is_the_labs(ran):
    """One step from the same weights, on a batch without repeated captions."""
    mine, theirs = ran["new_model"](), ran["new_model"]()
    seen, read = ran["batch"](3, 4096)
    _, first = np.unique(read.numpy(), axis=0, return_index=True)
    seen, read = seen[first], read[first]
    descent = adamw(mine, lr=1e-3, weight_decay=0.1)
    loss = ran["training_step"](mine, descent, seen, read)
    towers, other = Towers(theirs), adamw(theirs, lr=1e-3, weight_decay=0.1)

    def contrast(features: Features) -> torch.Tensor:
        return gradients.contrast(features, torch.arange(len(seen)))

    value = gradients.gradients_at_once(towers, seen, read, contrast, lambda v: v.backward())
    scaler = grad_scaler(torch.device("cpu"), "float32")
    step_optimizer(theirs, other, scaler, 1e-3, clip_norm=1e9)
    assert loss == pytest.approx(float(value), abs=1e-5)
    for (name, own), lab in zip(mine.named_parameters(), theirs.parameters(), strict=True):
        far = (own - lab).abs().max()
        assert far < 3e-4, name  # AdamW's first step is the gradient's sign: rounding shows


def test_it_clamps_where_the_lab_does(ran):
    model = ran["new_model"]()
    model.logit_scale.data.fill_(5.0)
    ran["training_step"](model, ran["new_adamw"](model), *ran["batch"](3, 4096))
    assert model.logit_scale.item() == pytest.approx(MAX_LOGIT_SCALE)


def test_sources_are_linked():
    for source in (
        "openai/CLIP/issues/40",
        "openai/CLIP/issues/57",
        "openai/CLIP/issues/46",
        "the_well/issues/77",
        "M3D/issues/67",
        "optax/pull/1755",
        "2103.00020",
        "1711.05101",
        "1710.03740",
    ):  # fmt: skip
        assert source in prose(CHAPTER)


# Figures


def test_figures_tell_their_numbers():
    words = describe(figures.learnt([(100, 0.4), (200, 0.6)], chance=0.02, half=200, predicted=90))
    assert "half at step 200, 60.0% at step 200; chance 2.0%" in words
    assert "r: highest, 2, at step 1" in describe(figures.rates({"r": [1, 2, 0.5]}))
    points = {"one": [(10, 2.0), (20, 1.0)]}
    words = describe(
        figures.runs(points, {"one": [(0, 0.02), (20, 0.5)]}, nothing=4.16, chance=0.02)
    )
    assert "one: loss 1.00, 50.0% of held-out pictures right" in words
    words = describe(figures.gradient_sizes(np.array([0, 1e-3, -1e-3, 0.1]), 6e-8, 5e-3))
    assert "25% are exactly 0, 50% are not 0" in words


# The widget: its Python side

STEPS = [0, 50, 400, 3000]
NAMES = ["a red ring", "a blue star", "</script><b>bold</b>", "<!-- <script>"]


def cosines() -> np.ndarray:
    rows = np.random.default_rng(7).uniform(-0.5, 0.5, size=(4, 4, 4))
    return rows + np.array([0, 0.1, 0.3, 0.5])[:, None, None] * np.eye(4)


def curves() -> dict[str, list[tuple[int, float]]]:
    return {
        "loss": [(10, 5.5), (100, 4.0), (1000, 1.0), (3000, 0.5)],
        "scale": [(10, 14.3), (1000, 25.0), (3000, 36.0)],
        "accuracy": [(0, 0.02), (50, 0.3), (400, 0.6), (3000, 1.0)],
    }


def drawings() -> list[np.ndarray]:
    return [np.full((20, 20, 3), 60 * k + 40, np.uint8) for k in range(4)]


def widget(**options) -> ScrubberWidget:
    return ScrubberWidget(STEPS, cosines(), drawings(), NAMES, curves(), chance=0.02, **options)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"steps": [0, 50, 50, 3000]}, "later than the one before"),
        ({"steps": [0], "cosines": cosines()[:1]}, "two steps at least"),
        ({"cosines": cosines()[:3]}, "4 x 4 x 4 cosines"),
        ({"pictures": drawings()[:2]}, "these are 2 pictures"),
        ({"cosines": cosines() * 20}, "length 1"),
        ({"cosines": cosines() * np.nan}, "length 1"),
        ({"curves": {"loss": [(0, 1.0)]}}, "“scale” must be"),
        ({"curves": curves() | {"loss": [(0, math.nan)]}}, "“loss” must be"),
        ({"curves": curves() | {"loss": [(9, 1.0), (3, 2.0)]}}, "must rise"),
        ({"at": 4}, "none numbered 4"),
    ],
)
def test_what_it_can_not_show_is_told(change, words):
    given = {"steps": STEPS, "cosines": cosines(), "pictures": drawings(), "captions": NAMES}
    with pytest.raises(LabError, match=re.escape(words)):
        ScrubberWidget(**{**given, "curves": curves(), **change})


def test_it_can_be_set_from_python_within_its_moments():
    made = widget(at=2, show="captions")
    assert (made.at, made.show) == (2, "captions")
    made.at = 3
    with pytest.raises(Exception, match="moments 0 to 3"):
        made.at = 4
    html = static_html(made)
    assert html.count("</script>") == 1
    assert "<!--" not in html
    assert html.count("export ") == 0


# The widget in a page without a kernel


@pytest.fixture(scope="module")
def file(tmp_path_factory) -> Path:
    return widget_page(tmp_path_factory.mktemp("scrubber"), widget(), widget(at=3))


def numbers(page) -> np.ndarray:
    texts = page.locator(".clt >> nth=0 >> tbody td[tabindex]").all_inner_texts()
    return np.array([float(text.replace("−", "-")) for text in texts]).reshape(4, 4)


def said_of_curves(page) -> list[float]:
    texts = page.locator(".clt >> nth=0 >> figcaption b").all_inner_texts()
    return [float(text.replace("%", "")) for text in texts]


def wanted(step: int) -> list[float]:
    """Loss, scale and per cent at a step, on straight lines between the points."""
    points = {name: np.array(curve) for name, curve in curves().items()}
    values = [float(np.interp(step, p[:, 0], p[:, 1])) for p in points.values()]
    return [values[0], values[1], 100 * values[2]]


@pytest.mark.browser
def test_its_numbers_are_those_of_python_at_every_moment(browser, file):
    with visit(browser, file) as page:
        box = page.locator(".clt").first
        dots = box.locator("circle")
        before = [dots.nth(k).get_attribute("cx") for k in range(3)]
        box.locator("input[type=range]").focus()
        for k, step in enumerate(STEPS):
            assert f"Step {step:,} of 3,000" in box.locator(".clt-step").inner_text()
            assert np.allclose(numbers(page), cosines()[k], atol=0.0051)
            assert np.allclose(said_of_curves(page), wanted(step), atol=0.06 if k else 0.6)
            right = int((cosines()[k].argmax(1) == np.arange(4)).sum())
            assert f"{right} of these 4 pictures" in box.locator(".cl-said").inner_text()
            assert box.locator("td.clt-best").count() == 4
            page.keyboard.press("ArrowRight")
        assert [dots.nth(k).get_attribute("cx") for k in range(3)] != before
        page.get_by_label("softmax over captions").first.check()
        logits = wanted(3000)[1] * cosines()[3]
        powers = np.exp(logits - logits.max(1, keepdims=True))
        assert np.allclose(numbers(page), 100 * powers / powers.sum(1, keepdims=True), atol=0.6)
        assert page.get_by_label("cosine", exact=True).last.is_checked()  # the other's own


@pytest.mark.browser
def test_it_plays_and_stops_and_is_moved_by_the_mouse(browser, file):
    with visit(browser, file) as page:
        box = page.locator(".clt").first
        play, step = box.locator(".clt-play"), box.locator(".clt-step")
        play.click()
        assert play.inner_text() == "Stop"
        page.wait_for_function("document.querySelector('.clt-step').innerText.includes('Step 50')")
        play.click()
        assert play.inner_text() == "Play"
        frame = box.locator("input[type=range]").bounding_box()
        page.mouse.click(frame["x"] + frame["width"] - 4, frame["y"] + frame["height"] / 2)
        assert "Step 3,000" in step.inner_text()
        play.click()  # at the end: from the beginning
        assert "Step 0" in step.inner_text()
        page.wait_for_function(
            "document.querySelector('.clt-play').innerText === 'Play'", timeout=15_000
        )
        assert "Step 3,000" in step.inner_text()


@pytest.mark.browser
def test_the_keyboard_walks_the_matrix_and_a_table_says_the_run(browser, file):
    with visit(browser, file) as page:
        box = page.locator(".clt").first
        box.locator("td[tabindex='0']").focus()
        for key in ("ArrowRight", "ArrowDown", "ArrowDown", "ArrowLeft", "ArrowLeft"):
            page.keyboard.press(key)
        said = box.locator(".cl-said").inner_text()
        assert f"Picture of “{NAMES[2]}”, caption “{NAMES[0]}”: cosine" in said
        box.locator("summary").click()
        rows = box.locator(".cl-digest tbody tr").all_inner_texts()
        assert [row.split("\t")[0] for row in rows] == [f"{step:,}" for step in STEPS]
        right = [int((m.argmax(1) == np.arange(4)).sum()) for m in cosines()]
        assert [row.split("\t")[-1] for row in rows] == [f"{n} of 4" for n in right]


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everyone_can_use_it(browser, file, scheme):
    with visit(browser, file, color_scheme=scheme) as page:
        page.locator("summary").first.click()
        assert grave_faults(page) == []


@pytest.mark.browser
def test_it_fits_a_phone(browser, file):
    with visit(browser, file, width=360) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
