"""Few-shot probes: against scikit-learn and SciPy, the draw, and the zero-shot worth in shots."""

import inspect
import json
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from sklearn.linear_model import LogisticRegression
from test_probe import blobs

from clip_lab.errors import LabError
from clip_lab.evaluation.few_shot import FewShot, _orders, few_shot, shots_to_match

TRAIN, TEST = blobs(4, 20, 12, 2.0), blobs(4, 150, 12, 2.0, seed=1)
CENTRES = np.random.default_rng(99).normal(size=(4, 12)).astype(np.float32)  # those of the blobs


# -- the probes -----------------------------------------------------------------------------------


def test_shots_of_all_pictures_are_scikit_learn_s_probe_whatever_the_seed():
    result = few_shot(*TRAIN, *TEST, shots=(20,), seeds=(3, 4), strength=0.5)
    model = LogisticRegression(C=2, max_iter=5000, tol=1e-7).fit(*TRAIN)
    assert result.means == pytest.approx([model.score(*TEST)], abs=1 / 600)
    assert result.intervals()[0] == pytest.approx((result.means[0],) * 2, abs=0.01)


def test_more_shots_do_better_and_the_figures_are_those_of_the_draws():
    result = few_shot(*TRAIN, *TEST, seeds=range(5))
    assert result.shots == (1, 2, 4, 8, 16)
    assert list(result.means) == sorted(result.means)
    assert result.means[-1] > result.means[0] + 0.15
    assert [len(draws) for draws in result.top1] == [5] * 5
    orders = _orders(TRAIN[1], seed=2)
    drawn = np.concatenate([own[:4] for own in orders])
    model = LogisticRegression(max_iter=5000, tol=1e-7).fit(TRAIN[0][drawn], TRAIN[1][drawn])
    assert result.top1[2][2] == pytest.approx(model.score(*TEST), abs=1 / 600)


def test_intervals_are_student_s():
    result = few_shot(*TRAIN, *TEST, shots=(1, 4), seeds=range(4))
    for draws, interval in zip(result.top1, result.intervals(), strict=True):
        expected = stats.ttest_1samp(draws, 0).confidence_interval(0.95)
        assert interval == pytest.approx((max(0, expected.low), min(1, expected.high)), abs=1e-9)
    normal = 1.96 * np.std(result.top1[0], ddof=1) / 2  # too sure, for four draws
    assert np.diff(result.intervals()[0])[0] > 2.5 * normal


def test_an_interval_stays_within_0_and_1():
    wild = FewShot((1,), ((0.0, 1.0),), 1.0, 10, 2, None)
    assert wild.intervals() == ((0, 1),)


def test_a_draw_holds_every_class_once_and_smaller_draws_lie_in_larger_ones():
    targets = np.array([2, 0, 2, 1, 0, 1, 2, 0, 1])
    orders = _orders(targets, seed=0)
    assert [set(targets[own]) for own in orders] == [{0}, {1}, {2}]
    assert sorted(np.concatenate(orders)) == list(range(9))
    others = [_orders(targets, seed)[0].tolist() for seed in range(9)]
    assert orders[0].tolist() == others[0] and len({tuple(order) for order in others}) > 3


def test_the_same_seeds_give_the_same_result_and_shots_are_put_in_order():
    assert few_shot(*TRAIN, *TEST, shots=(4, 1, 4)) == few_shot(*TRAIN, *TEST, shots=(1, 4))


# -- zero-shot beside it --------------------------------------------------------------------------


def test_the_zero_shot_classifier_is_measured_on_the_same_pictures():
    result = few_shot(*TRAIN, *TEST, zero_shot_weights=CENTRES)
    nearest = (TEST[0] @ CENTRES.T).argmax(axis=1)
    assert result.zero_shot is not None
    assert result.zero_shot.top1 == pytest.approx((nearest == TEST[1]).mean(), abs=1e-6)
    assert (result.zero_shot.pictures, result.zero_shot.classes) == (600, 4)
    others = few_shot(*TRAIN, *TEST, zero_shot_weights=torch.from_numpy(CENTRES[[1, 2, 3, 0]]))
    assert others.zero_shot is not None and others.zero_shot.top1 < 0.3
    assert result.zero_shot_worth is not None and result.zero_shot_worth > 4
    assert others.zero_shot_worth == 0


def test_a_worth_between_two_numbers_of_shots_lies_between_them_in_logarithms():
    # Half-way in accuracy between 2 and 8 shots: at 4, their geometric mean, and not at 5.
    assert shots_to_match(0.5, (1, 2, 8), (0.3, 0.4, 0.6)) == pytest.approx(4)
    # The fully supervised probe as the last point, as in the paper.
    assert shots_to_match(0.7, (1, 16, 1600), (0.4, 0.6, 0.8)) == pytest.approx(160)


def test_a_worth_outside_of_what_was_tried_is_not_made_up():
    assert shots_to_match(0.2, (1, 2), (0.3, 0.4)) == 0
    assert shots_to_match(0.5, (1, 2), (0.3, 0.4)) == math.inf
    assert shots_to_match(0.3, (1, 2), (0.3, 0.4)) == 1
    assert shots_to_match(0.4, (1, 2, 4), (0.3, 0.4, 0.4)) == pytest.approx(2)  # the first crossing


@settings(deadline=None)
@given(st.lists(st.floats(0.01, 0.2), min_size=2, max_size=6), st.floats(0, 1))
def test_a_worth_agrees_with_numpy_s_interpolation(rises, way):
    accuracies = list(np.cumsum(rises))
    shots = [2**i for i in range(len(rises))]
    accuracy = float(accuracies[0] + way * (accuracies[-1] - accuracies[0]))
    expected = np.exp2(np.interp(accuracy, accuracies, np.arange(len(rises))))
    found = shots_to_match(accuracy, shots, [float(a) for a in accuracies])
    if math.isfinite(found):  # rounding may put the last point just out of reach
        assert found == pytest.approx(expected, rel=1e-6)
    else:
        assert way > 0.999


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.5, (), ()), "one accuracy for each"),
        ((0.5, (1, 2), (0.3,)), "one accuracy for each"),
        ((0.5, (0, 2), (0.3, 0.4)), "above 0"),
        ((math.nan, (1, 2), (0.3, 0.4)), "isn't finite"),
        ((0.5, (1, 2), (0.3, math.nan)), "isn't finite"),
    ],
)
def test_a_worth_of_nothing_is_refused(arguments, message):
    with pytest.raises(LabError, match=message):
        shots_to_match(*arguments)


# -- what goes in and what comes out --------------------------------------------------------------


def test_the_result_is_plain_json_and_a_table():
    result = few_shot(*TRAIN, *TEST, shots=(1, 4), zero_shot_weights=CENTRES)
    values = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert values == result.to_dict()
    assert [row["shots"] for row in values["shots"]] == [1, 4]
    assert len(result.rows()) == 3 and "worth more than 4 a class" in result.rows()[2]
    assert values["zero_shot_worth_shots"] is None  # more than the most shots tried
    assert few_shot(*TRAIN, *TEST, shots=(1,)).zero_shot_worth is None
    assert len(few_shot(*TRAIN, *TEST, shots=(1,)).rows()) == 1


VECTORS, TARGETS = TRAIN
RARE = TARGETS.copy()
RARE[TARGETS == 3] = 2
RARE[np.flatnonzero(TARGETS == 3)[:3]] = 3


@pytest.mark.parametrize(
    ("targets", "options", "message"),
    [
        (RARE, {}, "Class 3 has 3 training pictures, fewer than 16 shots"),
        (TARGETS, {"shots": (1, 32)}, "fewer than 32 shots"),
        (TARGETS, {"shots": (0, 1)}, "1 or more"),
        (TARGETS, {"shots": ()}, "1 or more"),
        (TARGETS, {"seeds": (0,)}, "two seeds"),
        (TARGETS, {"seeds": (1, 1)}, "all different"),
        (TARGETS, {"strength": 0.0}, "isn't above 0"),
        (TARGETS, {"strength": math.nan}, "isn't above 0"),
        (TARGETS[:-1], {}, "80 training vectors and 79"),
        (0 * TARGETS, {}, "of one class"),
        (TARGETS % 3, {}, "Class 3 occurs among the test"),
        (TARGETS, {"zero_shot_weights": CENTRES[:3]}, "each of the 4 classes"),
        (TARGETS, {"zero_shot_weights": CENTRES[:, :3]}, "one row of 12 values"),
        (TARGETS, {"zero_shot_weights": CENTRES * np.nan}, "isn't finite"),
    ],
)
def test_what_can_t_be_measured_is_said_in_a_sentence(targets, options, message):
    with pytest.raises(LabError, match=message):
        inspect.unwrap(few_shot)(VECTORS, targets, *TEST, **options)


@pytest.mark.parametrize("shift", [1, -1])
def test_weights_need_classes_numbered_from_0(shift):
    moved = (VECTORS, TARGETS + shift, TEST[0], TEST[1] + shift)
    with pytest.raises(LabError, match="numbered from 0"):
        few_shot(*moved, zero_shot_weights=CENTRES)
    assert few_shot(*moved, shots=(1,)).means == few_shot(*TRAIN, *TEST, shots=(1,)).means
