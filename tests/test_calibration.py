"""Calibration: each figure against its formula in NumPy or scikit-learn, known temperatures."""

import inspect
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize
from sklearn.metrics import log_loss

from clip_lab.errors import LabError
from clip_lab.evaluation import calibration as calibrate
from clip_lab.evaluation import fit_temperature
from clip_lab.evaluation.calibration import TINIEST, Calibration
from clip_lab.zero_shot import Prediction

MODULE = inspect.getmodule(Calibration)


@pytest.fixture(autouse=True, scope="module")
def fewer_resamples():
    """What is tested doesn't hang on their number."""
    assert MODULE.RESAMPLES == 1000
    MODULE.RESAMPLES = 100
    yield
    MODULE.RESAMPLES = 1000


def softmax(logits: np.ndarray) -> np.ndarray:
    shares = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shares / shares.sum(axis=1, keepdims=True)


def drawn(pictures: int, classes: int = 5, sharpness: float = 2.0, seed: int = 0):
    """Logits, and targets drawn from their softmax: perfectly calibrated at temperature 1."""
    draw = np.random.default_rng(seed)
    logits = sharpness * draw.normal(size=(pictures, classes))
    targets = (softmax(logits).cumsum(axis=1) < draw.random((pictures, 1))).sum(axis=1)
    return logits, targets.clip(max=classes - 1)


def by_hand(probabilities: np.ndarray, targets: np.ndarray, bins: int) -> float:
    """Guo et al., equation 3, picture by picture and bin by bin."""
    confidence, chosen = probabilities.max(axis=1), probabilities.argmax(axis=1)
    error = 0.0
    for b in range(bins):
        inside = [i for i, c in enumerate(confidence) if b / bins < c <= (b + 1) / bins]
        if inside:
            right = np.mean([chosen[i] == targets[i] for i in inside])
            error += len(inside) / len(targets) * abs(right - np.mean(confidence[inside]))
    return error


# -- the figures ----------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 40), st.integers(2, 7), st.integers(1, 20))
def test_every_figure_is_its_formula(seed, pictures, classes, bins):
    draw = np.random.default_rng(seed)
    probabilities = softmax(3 * draw.normal(size=(pictures, classes)))
    targets = draw.integers(0, classes, pictures)
    result = calibrate(probabilities, targets, bins)
    assert result.ece == pytest.approx(by_hand(probabilities, targets, bins), abs=1e-12)
    assert result.nll == pytest.approx(
        log_loss(targets, probabilities, labels=range(classes)), abs=1e-9
    )
    answers = np.eye(classes)[targets]
    brier = ((probabilities - answers) ** 2).sum(axis=1).mean()
    assert result.brier == pytest.approx(brier, abs=1e-12)
    assert 0 <= result.ece <= 1 and 0 <= result.brier <= 2 and result.nll >= 0
    assert 0 <= result.ece_interval[0] <= result.ece_interval[1] <= 1


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.permutations(range(30)))
def test_the_order_of_pictures_and_of_classes_doesn_t_matter(seed, order):
    logits, targets = drawn(30, seed=seed)
    probabilities, classes = softmax(logits), np.random.default_rng(seed).permutation(5)
    result = calibrate(probabilities, targets)
    moved = calibrate(probabilities[order], targets[order])
    renamed = calibrate(probabilities[:, classes], np.argsort(classes)[targets])
    for other in (moved, renamed):
        assert (other.ece, other.nll, other.brier) == pytest.approx(
            (result.ece, result.nll, result.brier), abs=1e-12
        )


def test_the_table_by_hand():
    # Confidences 0.6 and 0.8 share the bin (0.5, 1]; one of the two is right.
    probabilities = np.array([[0.6, 0.2, 0.2], [0.1, 0.8, 0.1], [0.4, 0.3, 0.3]])
    result = calibrate(probabilities, np.array([0, 2, 0]), bins=2)
    low, high = result.bins
    assert (low.low, low.high, low.pictures, low.accuracy) == (0, 0.5, 1, 1)
    assert (high.pictures, high.accuracy) == (2, 0.5)
    assert (low.confidence, high.confidence) == pytest.approx((0.4, 0.7))
    assert result.ece == pytest.approx(0.6 / 3 + 0.2 * 2 / 3)
    assert (result.accuracy, result.confidence) == pytest.approx((2 / 3, 0.6))


def test_a_confidence_on_an_edge_belongs_to_the_bin_below_it():
    probabilities = np.array([[1.0, 0.0], [0.75, 0.25], [0.5, 0.5]])
    counts = [b.pictures for b in calibrate(probabilities, np.array([0, 0, 0]), bins=4).bins]
    assert counts == [0, 1, 1, 1]


def test_an_empty_bin_has_no_mean():
    first = calibrate(np.array([[0.9, 0.1]]), np.array([0]), bins=2).bins[0]
    assert (first.pictures, first.confidence, first.accuracy) == (0, None, None)


def test_sure_and_always_right_or_always_wrong():
    sure, targets = np.eye(3)[[0, 1, 2, 0]], np.array([0, 1, 2, 0])
    right, wrong = calibrate(sure, targets), calibrate(sure, (targets + 1) % 3)
    assert (right.ece, right.nll, right.brier) == (0, 0, 0)
    assert (wrong.ece, wrong.brier) == (1, 2)
    assert wrong.nll == pytest.approx(-np.log(TINIEST)) and np.isfinite(wrong.nll)


# -- its uncertainty ------------------------------------------------------------------------------


def test_honest_probabilities_show_an_ece_by_chance_and_the_interval_reaches_0():
    logits, targets = drawn(400)
    honest = calibrate(softmax(logits), targets)
    assert honest.ece > 0.01 and honest.ece_interval[0] == 0
    again = [by_hand(softmax(logits), drawn_again(logits, s), 15) for s in range(40)]
    assert honest.ece_by_chance == pytest.approx(np.mean(again), abs=0.01)


def drawn_again(logits: np.ndarray, seed: int) -> np.ndarray:
    below = softmax(logits).cumsum(axis=1) < np.random.default_rng(seed).random((len(logits), 1))
    return below.sum(axis=1).clip(max=logits.shape[1] - 1)


def test_probabilities_that_are_too_sure_are_found_out():
    logits, targets = drawn(1000)
    honest, boastful = (calibrate(softmax(s * logits), targets) for s in (1, 3))
    assert boastful.ece_interval[0] > 0.05 > honest.ece
    assert boastful.confidence > boastful.accuracy + 0.05
    assert boastful.nll > honest.nll and boastful.brier > honest.brier
    assert boastful.accuracy == honest.accuracy


def test_the_interval_covers_the_truth_about_nine_times_in_ten():
    # Two confidences with one true error each: the ECE of endless pictures is known.
    confidence, right = np.array([0.6, 0.9]), np.array([0.55, 0.8])
    truth, covered = 0.075, 0
    draw = np.random.default_rng(0)
    for seed in range(120):
        kind = np.arange(600) % 2
        shares = np.stack([confidence[kind], 1 - confidence[kind]], axis=1)
        targets = (draw.random(600) >= right[kind]).astype(int)
        low, high = calibrate(shares, targets, seed=seed).ece_interval
        covered += low <= truth <= high
    assert covered >= 0.88 * 120


def test_a_seed_gives_one_interval_and_more_pictures_a_narrower_one():
    logits, targets = drawn(200)
    first, again, other = (calibrate(softmax(2 * logits), targets, seed=s) for s in (0, 0, 1))
    assert first == again and first.ece_interval != other.ece_interval and first.ece == other.ece
    many = drawn(5000)
    wide, narrow = first.ece_interval, calibrate(softmax(2 * many[0]), many[1]).ece_interval
    assert np.diff(narrow) < np.diff(wide) / 2


# -- the temperature ------------------------------------------------------------------------------


def test_the_temperature_that_a_softmax_was_drawn_at_is_found():
    logits, targets = drawn(20_000)
    assert fit_temperature(logits, targets) == pytest.approx(1, abs=0.03)
    assert fit_temperature(4 * logits, targets) == pytest.approx(4, abs=0.12)
    half_wrong = np.where(np.arange(20_000) % 2, targets, np.roll(targets, 2))
    assert fit_temperature(logits, half_wrong) > 1.5


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.01, 100))
def test_the_temperature_is_scipy_s_minimum_and_scales_with_the_logits(seed, scale):
    logits, targets = drawn(150, seed=seed)
    best = fit_temperature(logits, targets)
    found = optimize.minimize_scalar(
        lambda t: log_loss(targets, softmax(logits / np.exp(t)), labels=range(5)),
        bounds=(-3, 6), method="bounded", options={"xatol": 1e-8},
    )  # fmt: skip
    assert best == pytest.approx(np.exp(found.x), rel=1e-3)
    assert fit_temperature(scale * logits, targets) == pytest.approx(scale * best, rel=1e-6)
    assert fit_temperature(logits + 100, targets) == pytest.approx(best, rel=1e-6)


def test_cosines_and_their_temperature_as_the_lab_s_classifier_has_them():
    logits, targets = drawn(3000)
    cosines = (logits / 40).astype(np.float32)  # honest at a scale of 40, used at 100
    prediction = Prediction(tuple("abcde"), cosines, scale=100.0)
    tau = fit_temperature(cosines, targets)
    assert 1 / tau == pytest.approx(40, rel=0.1)
    before = calibrate(prediction.probabilities, targets)
    after = calibrate(prediction.at_scale(1 / tau).probabilities, targets)
    assert before.ece_interval[0] > after.ece_interval[1]
    assert after.accuracy == before.accuracy and after.nll < before.nll


def test_a_temperature_at_the_end_of_the_world_is_refused():
    logits = 5 * np.eye(4)
    with pytest.raises(LabError, match="Every picture is classified right"):
        fit_temperature(logits, np.arange(4))
    with pytest.raises(LabError, match="no higher than the others"):
        fit_temperature(-logits, np.arange(4))
    with pytest.raises(LabError, match="no higher than the others"):
        fit_temperature(np.ones((4, 4)), np.arange(4))


# -- what goes in and what comes out --------------------------------------------------------------


def test_tensors_do_as_well_as_arrays():
    logits, targets = drawn(50)
    tensors = calibrate(torch.from_numpy(softmax(logits)), torch.from_numpy(targets))
    assert tensors == calibrate(softmax(logits), targets)
    assert fit_temperature(torch.from_numpy(logits), torch.from_numpy(targets)) > 0


def test_the_result_is_plain_json_and_a_table():
    logits, targets = drawn(60)
    result = calibrate(softmax(logits), targets)
    values = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert values == result.to_dict() and len(values["bins"]) == 15
    filled = [b for b in result.bins if b.pictures]
    assert len(result.rows()) == 4 + len(filled) and f"{result.ece:.2%}" in result.rows()[0]
    assert sum(b.pictures for b in result.bins) == result.pictures == 60


P, T = np.full((6, 3), 1 / 3), np.arange(6) % 3
NAN = P.copy()
NAN[2, 1] = np.nan


@pytest.mark.parametrize(
    ("probabilities", "targets", "message"),
    [
        (P[:0], T[:0], "no pictures"),
        (P, T[:-1], "6 rows and 5 targets"),
        (NAN, T, "isn't finite"),
        (P[:, :1] * 3, 0 * T, "a single class"),
        (P, T + 1, "Targets go from 1 to 3, columns from 0 to 2"),
        (P, T - 1, "Targets go from -1"),
    ],
)
def test_what_can_t_be_measured_is_said_in_a_sentence(probabilities, targets, message):
    for call in (calibrate, fit_temperature):
        with pytest.raises(LabError, match=message):
            unchecked(call)(probabilities, targets)


def unchecked(call):
    """As without the tests' own check of shapes, also of what it calls."""
    return inspect.unwrap(call)


@pytest.mark.parametrize("probabilities", [P * 2, P - 0.5, np.log(P)])
def test_logits_are_not_probabilities(probabilities):
    with pytest.raises(LabError, match="isn't made of probabilities"):
        calibrate(probabilities, T)


def test_no_bins_are_refused():
    with pytest.raises(LabError, match="at least 1"):
        calibrate(P, T, bins=0)
