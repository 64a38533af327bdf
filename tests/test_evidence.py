"""The published results: all there, whole, and made by the experiments as they are now."""

from dataclasses import asdict

import pytest

from clip_lab.experiments.registry import NAMES, experiment
from clip_lab.experiments.report import results
from clip_lab.experiments.result import UNJUDGED, _plain

# Claims whose effect must be told from nothing, or the report says why it can't be.
TO_BE_APART = {1, 2, 5, 10, 12, 13, 15, 16, 17, 20, 21, 23}


def test_every_claim_has_a_result():
    assert list(results()) == list(NAMES)


@pytest.mark.parametrize("name", results())
def test_a_published_result_is_a_full_one(name):
    this, result = experiment(name), results()[name]
    assert result.mode == "full" and result.model is None
    assert len(result.measured.seeds) >= max(3, this.seeds)
    assert len(set(result.measured.seeds)) == len(result.measured.seeds)
    assert f"run {name} --full" in result.command
    assert result.machine and result.versions["torch"]
    assert result.measured.config == _plain(asdict(this.full)), "its settings were changed since"


@pytest.mark.parametrize("name", results())
def test_its_verdict_is_the_rule_s(name):
    this, result = experiment(name), results()[name]
    assert this.judge(result.measured) == result.verdict
    assert result.verdict.word != UNJUDGED


@pytest.mark.parametrize("name", [n for n in results() if experiment(n).number in TO_BE_APART])
def test_the_effect_is_told_from_nothing_or_it_says_why_not(name):
    this, result = experiment(name), results()[name]
    assert result.verdict.effect.apart or this.reservation
