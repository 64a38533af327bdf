"""Chapter 11: its sentences against its measurements, its parts against the lab's own."""

import re

import numpy as np
import pytest
import torch

pytest.importorskip("jupytext", reason="the course needs the extra 'notebooks'")
pytest.importorskip("sklearn", reason="the probes need the extra 'evaluation'")

from course_run import chapter, prose

from clip_lab.evaluation.few_shot import shots_to_match
from clip_lab.evaluation.linear_probe import Trial, best, fit, labelled, sweep
from clip_lab.experiments.registry import experiment
from clip_lab.experiments.report import results
from clip_lab.training.prompt_learning import ConditionalPrompts, LearnedPrompts
from clip_lab.view.chapters import few_shot as figures
from clip_lab.view.figures import describe

CHAPTER = chapter("11_few_shot")


# What the chapter says of its measurements


def test_it_is_quick(ran):
    assert ran["seconds"] < 25  # 15 on a quiet core


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
    assert new < base / 2  # "little of the gain is left"
    assert len(ran["gain"]) == 6
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
    words = describe(figures.base_and_new({"here": {"CoOp": (0.64, 0.51)}}))
    assert "here, CoOp: 64.0% on base, 51.0% on new" in words
    words = describe(figures.flattered((25, 50), (0.6, 0.58), (0.5, 0.52), honest=0.53))
    assert "25 pictures: told 60.0%, true 50.0%" in words


def test_it_cites_what_it_runs():
    for source in ("Tip-Adapter/issues/11", "Tip-Adapter/issues/4", "CLIP/issues/128",
                   "CLIP_benchmark/issues/125"):  # fmt: skip
        assert source in prose(CHAPTER)
    assert re.search(r"chapters 9 and 10", prose(CHAPTER))
