"""The linear probe: against scikit-learn on every strength of the grid, and what it refuses."""

import inspect
import json
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression

from clip_lab.errors import LabError
from clip_lab.evaluation.linear_probe import (
    MAX_ITERATIONS,
    Trial,
    _kept_back,
    best,
    fit,
    labelled,
    linear_probe,
    ranks,
    sweep,
)

GRID = [step / 8 for step in range(-48, 49)]  # exponents: 96 steps, 97 strengths


def blobs(classes: int, each: int, width: int, noise: float, seed: int = 0):
    """Vectors about one random centre a class, in random order."""
    draw = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(classes, width))
    targets = draw.permutation(np.repeat(np.arange(classes), each))
    vectors = centres[targets] + noise * draw.normal(size=(len(targets), width))
    return vectors.astype(np.float32), targets


TRAIN, TEST = blobs(3, 30, 10, 3.0), blobs(3, 200, 10, 3.0, seed=1)


# -- the sweep ------------------------------------------------------------------------------------


@settings(deadline=None)
@given(st.sampled_from(GRID), st.floats(0.1, 10), st.floats(0.1, 10))
def test_the_binary_search_finds_any_single_peak_in_at_most_15_of_97_trials(peak, up, down):
    def trial(strength: float) -> Trial:
        away = np.log10(strength) - peak
        return Trial(strength, float(-up * max(0, -away) - down * max(0, away)), True)

    trials = sweep(trial)
    assert best(trials).strength == pytest.approx(10**peak)
    assert len(trials) <= 15
    tried = [np.log10(t.strength) * 8 for t in trials]
    assert np.allclose(tried, np.round(tried)) and min(tried) >= -48 and max(tried) <= 48
    assert tried == sorted(tried)


def test_of_equals_the_strongest_penalty_is_chosen():
    trials = tuple(Trial(10.0**e, float(e < 2), True) for e in range(-6, 7))
    assert best(trials).strength == 10


def test_every_trial_and_the_answer_are_what_scikit_learn_gives_on_the_whole_grid():
    vectors, targets = TRAIN
    probe = linear_probe(vectors, targets, *TEST)
    back = _kept_back(targets, 0)
    assert back.sum() == 18

    def accuracy(strength: float) -> float:
        model = LogisticRegression(C=1 / strength, max_iter=5000, tol=1e-7)
        model.fit(vectors[~back].astype(np.float64), targets[~back])
        return model.score(vectors[back], targets[back])

    exhaustive = {exponent: accuracy(10.0**exponent) for exponent in GRID}
    for trial in probe.trials:
        exponent = round(np.log10(trial.strength) * 8) / 8
        if abs(exponent) < 5:  # beyond, float32 is too coarse
            assert trial.accuracy == pytest.approx(exhaustive[exponent], abs=1e-9), exponent
    chosen = exhaustive[round(np.log10(probe.strength) * 8) / 8]
    assert chosen >= max(exhaustive.values()) - 1 / 18  # a lesser peak is one picture lower at most
    model = LogisticRegression(C=1 / probe.strength, max_iter=5000, tol=1e-7).fit(vectors, targets)
    assert probe.accuracy.top1 == pytest.approx(model.score(*TEST), abs=2 / 600)
    assert (probe.accuracy.pictures, probe.accuracy.classes) == (600, 3)


def test_the_chosen_strength_beats_the_ends_of_the_range_on_noisy_vectors():
    train, test = blobs(4, 40, 60, 6.0), blobs(4, 200, 60, 6.0, seed=1)
    probe = linear_probe(*train, *test)
    own = labelled(*train, "training")
    weakest = (ranks(fit(own, 1e-6), labelled(*test, "test")) == 0).double().mean()
    assert probe.strength > 1 and probe.accuracy.top1 > weakest + 0.05


def test_the_test_pictures_have_no_say_in_the_choice():
    wrong = np.roll(TEST[1], 1)
    probe, other = linear_probe(*TRAIN, *TEST), linear_probe(*TRAIN, TEST[0], wrong)
    assert probe.trials == other.trials
    assert other.accuracy.top1 < 0.45 < 0.55 < probe.accuracy.top1


def test_one_seed_gives_one_answer_and_another_seed_other_trials():
    assert linear_probe(*TRAIN, *TEST) == linear_probe(*TRAIN, *TEST)
    assert linear_probe(*TRAIN, *TEST).trials != linear_probe(*TRAIN, *TEST, seed=1).trials


def test_class_numbers_are_mere_names_and_tensors_do_as_well_as_arrays():
    probe = linear_probe(*TRAIN, *TEST)
    renamed = linear_probe(TRAIN[0], 7 * TRAIN[1] - 3, TEST[0], 7 * TEST[1] - 3)
    tensors = linear_probe(*map(torch.from_numpy, (*TRAIN, *TEST)))
    assert probe == renamed == tensors


@settings(deadline=None)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=60), st.integers(0, 5))
def test_a_fifth_of_each_class_is_kept_back_at_least_one_and_never_the_only_one(numbers, seed):
    targets = np.array(numbers)
    counts = np.bincount(targets)
    if counts.max() == 1:
        with pytest.raises(LabError, match="single training picture"):
            _kept_back(targets, seed)
        return
    kept = np.bincount(targets[_kept_back(targets, seed)], minlength=len(counts))
    expected = [0 if n < 2 else max(1, round(n / 5)) for n in counts]
    assert kept.tolist() == expected


# -- one fit --------------------------------------------------------------------------------------


def test_two_classes_are_scored_as_scikit_learn_predicts_them():
    vectors, targets = blobs(2, 50, 5, 2.0)
    test, answers = blobs(2, 100, 5, 2.0, seed=1)
    model = fit(labelled(vectors, targets, "training"), 1.0)
    hits = ranks(model, labelled(test, answers, "test")) == 0
    assert (hits.numpy() == (model.predict(test) == answers)).all() and hits.float().mean() > 0.5


@pytest.mark.filterwarnings("ignore:The number of unique classes")
def test_a_thousand_classes_are_learnt_where_the_default_tolerance_learns_nothing():
    codes = np.random.default_rng(0).choice([-1.0, 1.0], (700, 256)).astype(np.float32) / 16
    own = labelled(codes, np.arange(700), "training")
    assert (ranks(fit(own, 1.0), own) == 0).all()
    default = LogisticRegression(C=1.0).fit(codes, np.arange(700))
    assert np.abs(default.coef_).max() == 0 and default.score(codes, np.arange(700)) < 0.01


def test_a_probe_that_learnt_nothing_gets_nothing_right():
    vectors, targets = np.ones((12, 4), dtype=np.float32), np.arange(12) % 3
    assert linear_probe(vectors, targets, vectors, targets).accuracy.top1 == 0


def test_a_fit_that_was_cut_off_says_so():
    vectors, targets = blobs(4, 100, 40, 1.0)
    probe = linear_probe(vectors * 100, targets, vectors * 100, targets)
    assert all(trial.converged for trial in probe.trials[-3:])
    model = fit(labelled(vectors, targets, "training"), 1e-6)
    assert model.n_iter_.max() <= MAX_ITERATIONS


# -- what goes in and what comes out --------------------------------------------------------------


def test_the_result_is_plain_json_and_a_table():
    probe = linear_probe(*TRAIN, *TEST)
    values = json.loads(json.dumps(probe.to_dict()))
    assert values == probe.to_dict()
    low, high = values["accuracy"]["top1_interval_95"]
    assert low < probe.accuracy.top1 < high
    assert len(values["trials"]) == len(probe.trials)
    assert f"{probe.accuracy.top1:.2%}" in probe.rows()[0]


X, Y = torch.randn(12, 4, generator=torch.Generator().manual_seed(0)), torch.arange(12) % 3
NAN = X.clone()
NAN[7, 2] = torch.nan


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((X[:0], Y[:0], X, Y), "no training vectors"),
        ((X, Y, X[:0], Y[:0]), "no test vectors"),
        ((X, Y[:-1], X, Y), "12 training vectors and 11"),
        ((X, Y, X, Y[:-1]), "12 test vectors and 11"),
        ((X, Y, X[:, :3], Y), "4 values and test vectors 3"),
        ((NAN, Y, X, Y), "Vector 7 of the training vectors"),
        ((X, Y, NAN, Y), "Vector 7 of the test vectors"),
        ((X, 0 * Y, X, 0 * Y), "of one class"),
        ((X, Y, X, Y + 1), "Class 3 occurs among the test"),
        ((X[:3], Y[:3], X, Y), "single training picture"),
    ],
)
def test_what_can_t_be_probed_is_said_in_a_sentence(arguments, message):
    with pytest.raises(LabError, match=message):
        inspect.unwrap(linear_probe)(*arguments)  # as without the tests' own check of shapes


def test_a_missing_scikit_learn_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn.linear_model", None)
    with pytest.raises(LabError, match="scikit-learn isn't installed"):
        linear_probe(*TRAIN, *TEST)
