"""The experiments' frame: runs, seeds, cache, verdicts, results, the page, the command."""

import importlib.util
import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace

import numpy as np
import pytest

from clip_lab.cli import main
from clip_lab.errors import LabError
from clip_lab.experiments import cache, report, runner
from clip_lab.experiments.drawing import bars, canvas, chance, curve, finish, in_style
from clip_lab.experiments.experiment import Experiment, Subject
from clip_lab.experiments.registry import NAMES, experiment
from clip_lab.experiments.result import (
    FAILS,
    HOLDS,
    UNJUDGED,
    Interval,
    Measured,
    Result,
    Verdict,
    interval,
)


@pytest.fixture(autouse=True)
def cache_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("CLIP_LAB_CACHE", str(tmp_path / "cache"))


@dataclass(frozen=True)
class Config:
    slope: float = 2.0


CALLS: list[int] = []


def measure(config: Config, seed: int) -> dict:
    CALLS.append(seed)
    return {"gain": config.slope + 0.1 * seed, "curve": [0.1 * seed, 0.5]}


def judge(measured: Measured) -> Verdict:
    gain = measured.mean("gain")
    return Verdict(HOLDS if gain.above_zero else FAILS, gain.number(), {"gain": gain})


@in_style
def draw(measured: Measured):
    figure, axes = canvas(2)
    curve(axes[0], [1, 2], measured["curve"], "a", 0)
    bars(axes[1], ("one", "two"), {"a": measured["curve"], "b": measured["curve"]})
    chance(axes[1], 20)
    return finish(figure, measured, "Words.", "ten pictures")


MADE_UP = Experiment(
    17, "binding", "A claim", "a source", "a figure", "What is done.",
    Config(), Config(), measure, judge, draw,
)  # fmt: skip


@pytest.fixture
def made_up(monkeypatch):
    CALLS.clear()
    monkeypatch.setattr(runner, "experiment", lambda name: MADE_UP)
    monkeypatch.setattr(report, "experiment", lambda name: MADE_UP)


def test_every_claim_has_an_experiment_that_says_what_it_is():
    assert len(NAMES) == 30 == len(set(NAMES))
    for number, name in enumerate(NAMES, 1):
        this = experiment(name)
        assert (this.number, this.name) == (number, name) and experiment(str(number)) is this
        assert type(this.quick) is type(this.full) and this.seeds >= 3
        assert min(map(len, (this.claim, this.source, this.published, this.plain))) > 0
        assert this.judge.__doc__, f"{name}: the rule in plain words"


def test_the_interval_is_student_s():
    # By hand: mean 2, standard deviation 1, n = 3, t(0.975, 2) = 4.302653
    half = 4.302653 / math.sqrt(3)
    found = interval([1, 2, 3])
    assert (found.low, found.high) == pytest.approx((2 - half, 2 + half), abs=1e-5)
    assert not found.apart and interval([1.0, 1.1, 1.2]).above_zero
    assert interval([-1.0, -1.1, -1.2]).below_zero
    with pytest.raises(LabError):
        interval([])


def test_one_seed_has_no_interval_and_so_no_verdict(made_up):
    result = runner.run("binding")
    assert result.verdict.word == UNJUDGED and not result.verdict.effect.apart
    assert "one seed" in result.verdict.because


def test_several_seeds_are_judged_by_the_rule(made_up):
    assert runner.run("binding", full=True, jobs=1).verdict.word == HOLDS
    fallen = runner.run("binding", full=True, jobs=1, settings={"slope": -2.0})
    assert fallen.verdict.word == FAILS


def test_what_was_measured_is_not_measured_again(made_up):
    runner.run("binding", seeds=[0, 1], jobs=1)
    runner.run("binding", seeds=[0, 1, 2], jobs=1)
    assert CALLS == [0, 1, 2]
    runner.run("binding", seeds=[0], jobs=1, settings={"slope": 3.0})
    assert CALLS == [0, 1, 2, 0]


def test_a_damaged_file_in_the_cache_is_measured_again(made_up):
    runner.run("binding")
    for path in (cache.folder() / "runs").rglob("*.json"):
        path.write_text("{")
    assert runner.run("binding").measured["gain"] == [2.0]
    assert CALLS == [0, 0]


def test_shared_work_is_counted_apart_whoever_did_it(made_up, monkeypatch):
    clock = [0.0]

    def wait(minutes):
        clock[0] += 60 * minutes
        return {}

    def shared(config, seed):
        wait(1)
        cache.numbers("sweep", f"{seed}", lambda: wait(5))
        return measure(config, seed)

    shared.__module__ = __name__
    monkeypatch.setattr(time, "process_time", lambda: clock[0])
    monkeypatch.setattr(runner, "experiment", lambda name: replace(MADE_UP, measure=shared))
    first = runner.run("binding", seeds=[0, 1], jobs=1)
    second = runner.run("binding", seeds=[0, 1], jobs=1, settings={"slope": 3.0})
    assert clock == [14 * 60]
    for result in (first, second):
        assert (result.minutes, result.shared) == (2, {"sweep-0": 5, "sweep-1": 5})
    assert "4 for the claims' own work and 10 for 2 trainings" in report.summary(
        {"binding": first, "relations": second}
    )


def test_another_version_of_the_module_is_measured_again(made_up, monkeypatch):
    runner.run("binding")
    monkeypatch.setattr(runner, "source_digest", lambda this: "later")
    runner.run("binding")
    assert CALLS == [0, 0]


@pytest.mark.parametrize(
    "wrong, said",
    [
        ({"settings": {"slop": 1}}, "no setting slop"),
        ({"seeds": [1, 1]}, "different"),
        ({"seeds": []}, "at least one"),
        ({"seeds": [-1]}, "from 0 on"),
        ({"subject": Subject(None)}, "can't look at a published one"),  # type: ignore[arg-type]
    ],
)
def test_wrong_use_is_told(made_up, wrong, said):
    with pytest.raises(LabError, match=said):
        runner.run("binding", **wrong)


def test_seeds_side_by_side_measure_the_same_as_one_after_the_other(tmp_path, monkeypatch):
    from clip_lab.experiments.learning import Plan
    from clip_lab.experiments.world import Shared

    plan = Plan(steps=2, batch=16, warmup=1)
    tiny = {"start": Shared(plan=plan), "plan": plan, "pictures": 20}
    both = runner.run("binding", seeds=[0, 1], jobs=2, settings=tiny)
    monkeypatch.setenv("CLIP_LAB_CACHE", str(tmp_path / "another"))
    alone = runner.run("binding", seeds=[0, 1], jobs=1, settings=tiny)
    assert both.measured == alone.measured


SLOW = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
sys.path.insert(0, "tests")
import test_experiments as t
from clip_lab.experiments import runner
def measure(config, seed):
    if seed: time.sleep(60)
    return t.measure(config, seed)
slow = t.replace(t.MADE_UP, measure=measure)
measure.__module__ = t.__name__
runner.experiment = lambda name: slow
runner.run("binding", seeds=[0, 1], jobs=1)
"""


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_a_stop_loses_the_running_seed_alone(how):
    process = subprocess.Popen([sys.executable, "-c", SLOW], stderr=subprocess.DEVNULL)
    runs, deadline = cache.folder() / "runs" / "binding", time.monotonic() + 60
    while not list(runs.glob("*.json")) and time.monotonic() < deadline:
        time.sleep(0.05)
    os.kill(process.pid, how)
    process.wait(20)
    assert len(list(runs.glob("*.json"))) == 1
    assert not [path for path in runs.iterdir() if path.suffix != ".json"] or how == signal.SIGKILL


def test_a_result_comes_back_from_its_file(made_up, tmp_path):
    for result in (runner.run("binding"), runner.run("binding", seeds=[0, 1, 2], jobs=1)):
        result.save(tmp_path / "r.json")
        json.loads((tmp_path / "r.json").read_text(), parse_constant=pytest.fail)
        again = Result.load(tmp_path / "r.json")
        assert again.verdict == result.verdict
        assert np.array_equal(again.measured["curve"], result.measured["curve"])


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"measured": 3, "verdict": {}}', "\x00"])
def test_a_file_that_is_no_result_is_told(tmp_path, content):
    (tmp_path / "binding.json").write_text(content)
    with pytest.raises(LabError, match="no result"):
        Result.load(tmp_path / "binding.json")


def test_the_page_tells_each_claim_with_its_figures(made_up, tmp_path):
    result = runner.run("binding", full=True, jobs=1)
    path = report.write(tmp_path, {"binding": result})
    page = path.read_text()
    for part in ("A claim", "a source", "a figure", "What is done.", "Holds", result.command):
        assert part in page
    assert (tmp_path / "evidence" / "binding.png").stat().st_size > 5000
    assert "1 of 30 claims: 1 holds" in page


def test_a_series_is_told_apart_in_grey():
    _, (axis,) = canvas()
    for series in range(6):
        curve(axis, [0, 1], np.zeros((2, 2)), str(series), series)
    marks = {(line.get_marker(), str(line.get_linestyle())) for line in axis.lines}
    assert len(marks) == 6


@pytest.mark.parametrize(
    "arguments, said",
    [
        (["run", "no_such"], "no experiment “no_such”"),
        (["run", "31"], "no experiment “31”"),
        (["run", "binding", "--data", "x"], "--data is for published models"),
        (["run", "collapse", "--model", "shapes"], "can't look at a published one"),
        (["run", "binding", "--model", "no_such_model"], "no_such_model"),
        (["report", "--results", "no/such"], "no results"),
    ],
)
def test_the_command_says_what_is_wrong(arguments, said, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["experiment", *arguments]) == 2
    assert said in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["run", "binding"], ["report"]])
def test_packages_that_are_missing_are_told_before_anything_is_run(arguments, capsys, monkeypatch):
    find_spec = importlib.util.find_spec
    lacking = lambda name: None if name == "matplotlib" else find_spec(name)  # noqa: E731
    monkeypatch.setattr("clip_lab.experiment_command.find_spec", lacking)
    assert main(["experiment", *arguments]) == 2
    said = capsys.readouterr().err
    assert "not installed: matplotlib" in said and "clip-lab[experiments]" in said


def test_the_command_lists_and_runs(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["experiment", "list"]) == 0
    assert "binding" in capsys.readouterr().out
    quick = replace(experiment("binding").quick, pictures=40)
    this = replace(experiment("binding"), quick=quick)
    monkeypatch.setattr("clip_lab.experiments.runner.experiment", lambda name: this)
    assert main(["experiment", "run", "17", "--model", "shapes", "--out", "here"]) == 0
    out = capsys.readouterr().out
    assert "17. " in out and UNJUDGED in out
    assert (tmp_path / "here/binding.json").exists() and (tmp_path / "here/binding.png").exists()
    assert main(["experiment", "report", "--results", "here", "--out", "page"]) == 0
    assert "binding" in (tmp_path / "page/evidence.md").read_text()


def test_an_interval_of_one_seed_prints_no_infinity():
    assert "inf" not in Interval(0.1, -math.inf, math.inf, 1).points()
