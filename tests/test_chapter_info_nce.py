"""Chapter 7: its sentences against its measurements, its parts against the lab's, its figures."""

import math

import numpy as np
import pytest
import torch

pytest.importorskip("jupytext", reason="the course needs the extra 'notebooks'")
pytest.importorskip("anywidget", reason="the course needs the extra 'notebooks'")

from answers.similarity import recall
from course_run import Run, chapter, prose

import clip_lab
from clip_lab.view.chapters import info_nce as figures
from clip_lab.view.notebook_figures import describe

CHAPTER = chapter("07_infonce")


class TestRun(Run):
    """Stopped at each gap, and quick."""


def test_the_loss_is_the_lab_s_and_starts_at_ln_n(ran):
    losses = {name: float(loss) for name, loss in ran["losses"].items()}
    assert losses["yours"] == pytest.approx(losses["the lab's"], rel=1e-5)
    assert losses["random vectors, τ = 1"] == pytest.approx(math.log(512), abs=0.02)
    groups = torch.tensor([0, 1, 0, 2, 1, 3, 4, 5])
    given = torch.nn.functional.normalize(torch.randn(2, 8, 4), dim=-1)
    ours = clip_lab.losses.info_nce_of_groups(*given, torch.tensor(2.0), groups)
    mine = ran["info_nce_shared"](*given, torch.tensor(2.0), groups)
    assert float(mine) == pytest.approx(float(ours), rel=1e-5)


def test_the_table_of_names_is_right():
    assert "14.3" in prose(CHAPTER) and round(1 / 0.07, 1) == 14.3
    assert "2.66" in prose(CHAPTER) and round(math.log(1 / 0.07), 2) == 2.66


def test_a_low_temperature_is_sharp_and_pushes_the_hardest(ran):
    assert ran["lowest"] > ran["start"] > ran["largest"][-1]
    parts = [ran["hardest"][tau] for tau in (0.5, 0.07, 0.02)]
    assert parts == sorted(parts) and parts[0] < 0.35 and parts[-1] > 0.8
    assert ran["shares"].sum().item() == pytest.approx(1) and ran["shares"].max() > 0.9


def test_push_and_pull_cancel_out_and_the_cat_is_pushed_from_the_dog(ran):
    names = ran["captions"]
    for gradient in ran["pushes"].values():
        assert abs(float(gradient.sum())) < 1e-4 * float(gradient.abs().sum())
        assert (gradient.diagonal() <= 0).all() and (gradient[~torch.eye(8).bool()] >= 0).all()
    off = ran["pushes"][0.02].clone().fill_diagonal_(0)
    row, column = divmod(int(off.argmax()), 8)
    assert {names[row], names[column]} == {"cat face", "dog face"}
    assert off[:, names.index("snowman")].sum() < 0.05 * off.sum()


def test_the_slope_is_never_positive_for_a_perfect_matrix(ran):
    for tau in (0.5, 0.07, 0.01, 0.001):
        scale = torch.tensor(math.log(1 / tau))
        assert ran["scale_gradient"](torch.eye(8) * 0.5, scale) <= 0
    slopes = [float(ran["scale_gradient"](ran["matrix"], torch.tensor(math.log(1 / tau))))
              for tau in (1, 0.07, 0.01)]  # fmt: skip
    assert slopes[0] < 0  # there is a way to go from flat
    of_512 = ran["image_vectors"] @ ran["text_vectors"].T  # "one of the two changes its sign"
    for tau in (0.2, 0.07, 0.03, 0.01):
        scale = torch.tensor(math.log(1 / tau))
        assert ran["scale_gradient"](ran["matrix"], scale) < 1e-5
        assert (ran["scale_gradient"](of_512, scale) > 1e-3) == (tau == 0.01)
    assert ran["loss_gradient"](ran["matrix"], torch.tensor(2.0)).shape == (8, 8)


def test_the_published_claims_say_what_the_text_says_of_them(ran):
    effects = ran["published"]["temperature"].verdict.effects
    assert not effects["learned less best fixed"].apart  # "saves a search, and that is all"
    batch = ran["published"]["batch_size"].verdict.effects
    assert batch["largest less smallest batch"].high < 0 < batch["most less fewest negatives"].low


def test_the_lead_that_a_share_needs(ran):
    lead = ran["lead_needed"](0.5, 32_768, 0.01)
    assert 0.09 < lead < 0.12  # "a lead of a tenth among 32,768"
    row = torch.full((1, 256), 0.1)
    row[0, 0] += ran["lead_needed"](0.8, 256, 0.07)
    assert float(ran["probabilities"](row, 0.07)[0, 0]) == pytest.approx(0.8, abs=1e-4)


def test_the_measurement_bears_out_what_the_chapter_says_of_it(ran):
    """Pulling alone: the highest diagonal and the worst model. Without exp: between the two."""
    trained = ran["trained"]
    mean = {name: float(c.diagonal().mean()) for name, c in trained.items()}
    right = {name: recall(c)[0] for name, c in trained.items()}
    assert mean["pull only"] > 0.99 > mean["InfoNCE without exp"] > mean["InfoNCE"]
    assert right["pull only"] < 0.3 < right["InfoNCE without exp"] < right["InfoNCE"] - 0.05
    a_perfect_match = math.exp(2.66) / (math.exp(2.66) + 255)
    assert round(a_perfect_match, 2) == 0.05


def test_figures_are_described():
    gradient = np.array([[-1.0, 0.4], [0.6, -1.0]])
    words = describe(figures.pushes({0.1: gradient}, ["a", "b"]))
    assert "picture b and caption a, 60% of all push" in words
    drawn = figures.learned_temperature(
        [0, 1], [[0.07, 0.06]], [0.01, 0.1], [[0.2, 0.5]], [0.06], [0.5], chance=0.1
    )
    assert "highest at 0.070 and ends at 0.060" in describe(drawn) and "0.1: 50 %" in describe(
        drawn
    )
