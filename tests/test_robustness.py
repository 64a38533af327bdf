"""Robustness: the line against SciPy's, the intervals against published ones and simulation."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import special, stats

from clip_lab.errors import LabError
from clip_lab.evaluation.accuracy import Accuracy
from clip_lab.evaluation.robustness import Baseline, Difference, robustness

REFERENCES = ([0.56, 0.62, 0.70, 0.74, 0.79, 0.83], [0.40, 0.47, 0.55, 0.64, 0.68, 0.75])
LINE = Baseline.fit(*REFERENCES)
SHARES = st.floats(0.02, 0.98)


def of(right: int, pictures: int) -> Accuracy:
    return Accuracy(right / pictures, 1.0, pictures, 10)


# -- the baseline ---------------------------------------------------------------------------------


def test_the_line_is_scipy_s_on_logits_and_not_on_shares():
    expected = stats.linregress(special.logit(REFERENCES[0]), special.logit(REFERENCES[1]))
    assert (LINE.slope, LINE.intercept) == pytest.approx((expected.slope, expected.intercept))
    for accuracy in (0.1, 0.5, 0.9):
        logit = expected.slope * special.logit(accuracy) + expected.intercept
        assert LINE.expected(accuracy) == pytest.approx(special.expit(logit), abs=1e-12)
    plain = stats.linregress(*REFERENCES)
    assert abs(plain.slope * 0.99 + plain.intercept - LINE.expected(0.99)) > 0.02


@pytest.mark.parametrize("accuracy", [0.2, 0.5, 0.77, 0.97])
def test_the_line_s_interval_is_that_of_scipy_s_intercept_there(accuracy):
    # With the axis moved so that the accuracy lies at 0, the line's height is its intercept.
    x = special.logit(REFERENCES[0]) - special.logit(accuracy)
    there = stats.linregress(x, special.logit(REFERENCES[1]))
    half = stats.t.ppf(0.975, 4) * there.intercept_stderr
    expected = special.expit([there.intercept - half, there.intercept + half])
    assert LINE.interval(accuracy) == pytest.approx(expected, abs=1e-9)


@settings(deadline=None)
@given(SHARES, st.floats(0.2, 3), st.floats(-2, 2))
def test_a_model_on_the_line_has_no_effective_robustness(accuracy, slope, intercept):
    x = np.array([0.3, 0.5, 0.6, 0.8])
    y = special.expit(slope * special.logit(x) + intercept)
    line = Baseline.fit(x.tolist(), y.tolist())
    assert (line.slope, line.intercept) == pytest.approx((slope, intercept), abs=1e-9)
    assert line.scatter == pytest.approx(0, abs=1e-7)
    on_it = Accuracy(line.expected(accuracy), 1.0, 1000, 10)
    result = robustness(Accuracy(accuracy, 1.0, 1000, 10), on_it, line)
    assert result.effective.value == pytest.approx(0, abs=1e-9)
    assert result.effective.low < 0 < result.effective.high


def test_two_models_make_a_line_that_counts_as_certain():
    line = Baseline.fit([0.5, 0.8], [0.3, 0.6])
    assert line.scatter is None and line.models == 2
    assert line.expected(0.8) == pytest.approx(0.6)
    assert line.interval(0.7) == (line.expected(0.7),) * 2
    certain = robustness(of(700, 1000), of(600, 1000), line).effective
    unsure = robustness(of(700, 1000), of(600, 1000), LINE).effective
    assert certain.high - certain.low < unsure.high - unsure.low


@pytest.mark.parametrize(
    ("inside", "shifted", "message"),
    [
        ([0.5], [0.4], "at least two reference models"),
        ([], [], "at least two reference models"),
        ([0.5, 0.6], [0.4], "2 accuracies in distribution and 1 under"),
        ([0.5, 1.0], [0.4, 0.5], "is 1.0, and has no finite logit"),
        ([0.5, 0.6], [0.0, 0.5], "is 0.0, and has no finite logit"),
        ([0.5, math.nan], [0.4, 0.5], "is nan"),
        ([50.0, 60.0], [40.0, 50.0], "is 50.0"),  # percentages
        ([0.5, 0.5, 0.5], [0.3, 0.4, 0.5], "the same accuracy in distribution"),
    ],
)
def test_what_makes_no_line_is_said_in_a_sentence(inside, shifted, message):
    with pytest.raises(LabError, match=message):
        Baseline.fit(inside, shifted)


def test_an_expectation_from_an_accuracy_of_one_is_refused_by_the_line_itself():
    with pytest.raises(LabError, match="no finite logit"):
        LINE.expected(1.0)


# -- the three figures ----------------------------------------------------------------------------


def test_the_three_figures_by_hand():
    result = robustness(of(700, 1000), of(650, 1000), LINE, without=of(560, 1000))
    assert result.shifted.top1 == 0.65
    assert result.effective.value == pytest.approx(0.65 - LINE.expected(0.7))
    assert result.relative is not None and result.relative.value == pytest.approx(0.09)
    assert robustness(of(700, 1000), of(650, 1000), LINE).relative is None


def test_a_better_ordinary_model_gains_relatively_and_not_effectively():
    before, after = LINE.expected(0.6), LINE.expected(0.8)
    result = robustness(
        Accuracy(0.8, 1.0, 5000, 10), Accuracy(after, 1.0, 5000, 10), LINE,
        without=Accuracy(before, 1.0, 5000, 10),
    )  # fmt: skip
    assert result.relative is not None and result.relative.low > 0.1
    assert result.effective.low < 0 < result.effective.high


def test_a_method_can_be_effectively_robust_and_lose_accuracy():
    # It gives up 20 points in distribution and 5 under the shift.
    result = robustness(of(600, 1000), of(530, 1000), LINE, without=of(580, 1000))
    assert result.effective.low > 0
    assert result.relative is not None and result.relative.high < 0


def test_a_difference_s_interval_is_newcombe_s_published_one():
    # Newcombe 1998, table II, contrast (a): 56/70 − 48/80, method 10.
    difference = robustness(of(56, 70), of(56, 70), LINE, without=of(48, 80)).relative
    assert isinstance(difference, Difference)
    assert (difference.value, difference.low, difference.high) == pytest.approx(
        (0.2, 0.0524, 0.3339), abs=5e-5
    )


@pytest.mark.parametrize("shifted", [REFERENCES[1], REFERENCES[1][::-1]], ids=["rises", "falls"])
def test_the_effective_interval_adds_three_sources_up_as_squares(shifted):
    line = Baseline.fit(REFERENCES[0], shifted)
    inside, under = of(90, 120), of(70, 120)
    effective = robustness(inside, under, line).effective
    expected = line.expected(0.75)
    ends = [line.expected(p) for p in inside.interval()]
    up = [under.interval()[1] - under.top1, expected - min(ends), expected - line.interval(0.75)[0]]
    down = [under.top1 - under.interval()[0], max(ends) - expected]
    down += [line.interval(0.75)[1] - expected]
    value = under.top1 - expected
    bounds = value - np.linalg.norm(down), value + np.linalg.norm(up)
    assert (effective.low, effective.high) == pytest.approx(bounds, abs=1e-12)
    assert min(*up, *down) > 0.005  # each of them counts


def test_the_effective_interval_covers_the_truth_nine_times_in_ten():
    draw = np.random.default_rng(0)
    inside, shifted, spread = 0.72, 0.66, 0.06  # of the reference models, in logits
    truth = shifted - special.expit(0.95 * special.logit(inside) - 0.6)
    covered, blind = 0, 0
    for _ in range(300):
        x = draw.uniform(0, 2, 8)
        y = 0.95 * x - 0.6 + spread * draw.normal(size=8)
        line = Baseline.fit(special.expit(x).tolist(), special.expit(y).tolist())
        models = (of(int(draw.binomial(500, p)), 500) for p in (inside, shifted))
        effective = robustness(*models, line).effective
        covered += effective.low <= truth <= effective.high
        half = 1.96 * math.sqrt(shifted * (1 - shifted) / 500)  # the shifted test's error alone
        blind += abs(effective.value - truth) <= half
    assert covered >= 0.93 * 300 > 0.9 * 300 > blind


@settings(deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.data())
def test_intervals_hold_their_figure_and_stay_in_range(first, second, data):
    inside = of(data.draw(st.integers(0, first)), first)
    shifted, without = (of(data.draw(st.integers(0, second)), second) for _ in range(2))
    falling = Baseline.fit([0.3, 0.5, 0.8], [0.7, 0.6, 0.2])
    for line in (LINE, falling):
        result = robustness(inside, shifted, line, without)
        assert result.relative is not None
        for difference in (result.effective, result.relative):
            assert -1 <= difference.low <= difference.value <= difference.high <= 1


def test_an_accuracy_of_one_in_distribution_is_read_as_half_a_picture_less():
    result = robustness(of(200, 200), of(150, 200), LINE)
    assert result.expected == pytest.approx(LINE.expected(1 - 0.5 / 200))
    assert robustness(of(0, 200), of(150, 200), LINE).expected < 0.02


def test_more_pictures_make_narrower_intervals():
    few, many = (robustness(of(7 * n, 10 * n), of(6 * n, 10 * n), LINE) for n in (10, 1000))
    assert many.effective.high - many.effective.low < few.effective.high - few.effective.low


def test_the_result_is_plain_json_and_a_table():
    result = robustness(of(700, 1000), of(650, 1000), LINE, without=of(560, 1000))
    values = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    assert values == result.to_dict()
    assert values["shifted"]["top1"] == 0.65 and len(values["shifted"]["top1_interval_95"]) == 2
    assert len(result.rows()) == 4 and "+9.00" in result.rows()[3]
    assert robustness(of(7, 10), of(6, 10), LINE).to_dict()["relative"] is None
