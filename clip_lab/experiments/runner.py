"""Run an experiment: seed by seed, each kept as soon as it is done, several side by side.

Ctrl-C, a crash or a kill loses the seeds that are running, nothing more: the next run finds the
others in the cache.
"""

import os
import platform
import signal
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import asdict, replace
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import Any

import torch
from tqdm.auto import tqdm

from clip_lab import __version__
from clip_lab.errors import LabError
from clip_lab.experiments import cache
from clip_lab.experiments.experiment import Experiment, Subject
from clip_lab.experiments.registry import experiment
from clip_lab.experiments.result import UNJUDGED, Measured, Result


def run(
    name: str,
    full: bool = False,
    seeds: Sequence[int] | None = None,
    jobs: int | None = None,
    subject: Subject | None = None,
    settings: dict[str, Any] | None = None,
) -> Result:
    """Run one experiment, judge it, and return all that is known of it.

    By default quickly: small settings, one seed, which gives figures but no verdict. `full`: the
    settings and seeds of the published results. `jobs`: how many seeds at once, each on its share
    of the processor; by default as many as it has cores. `subject`: a published model to look at
    instead of the lab's own. `settings` replaces some of the configuration.

    Raises LabError for an unknown name or setting, an experiment that can't look at a published
    model, or one that fails.
    """
    this = experiment(name)
    if subject is not None and this.measure_model is None:
        raise LabError(
            f"“{this.name}” trains its own models and can't look at a published one. Leave --model "
            "away."
        )
    config = _with_settings(this.full if full else this.quick, settings or {})
    chosen = _chosen(this, full, seeds)
    runs = _all_seeds(this, config, chosen, jobs, subject)
    measured = Measured(asdict(config), chosen, tuple(run["measured"] for run in runs))
    verdict = this.judge(measured)
    if len(chosen) == 1:
        verdict = replace(verdict, word=UNJUDGED)
    return Result(
        name=this.name,
        mode="full" if full else "quick",
        measured=measured,
        verdict=verdict,
        minutes=round(sum(run["seconds"] for run in runs) / 60, 2),
        shared={
            name: round(seconds / 60, 2) for run in runs for name, seconds in run["shared"].items()
        },
        command=_command(this.name, full, seeds, subject),
        machine=f"{platform.machine()}, {os.cpu_count()} cores",
        versions={"clip-lab": __version__, "torch": torch.__version__},
        model=None if subject is None else subject.encoder.name,
    )


def _chosen(this: Experiment, full: bool, seeds: Sequence[int] | None) -> tuple[int, ...]:
    """Experiments are tried out on seed 0: what is published must not be judged by it."""
    chosen = tuple(seeds if seeds is not None else range(1, this.seeds + 1) if full else (0,))
    if not chosen or len(set(chosen)) < len(chosen) or min(chosen) < 0:
        raise LabError("Seeds are different whole numbers from 0 on, at least one.")
    return chosen


def _with_settings(config: Any, settings: dict[str, Any]) -> Any:
    unknown = set(settings) - set(asdict(config))
    if unknown:
        raise LabError(
            f"There is no setting {', '.join(sorted(unknown))}. There are: "
            f"{', '.join(asdict(config))}."
        )
    return replace(config, **settings)


def _all_seeds(
    this: Experiment, config: Any, seeds: Sequence[int], jobs: int | None, subject: Subject | None
) -> list[dict[str, Any]]:
    jobs = min(jobs or os.cpu_count() or 1, len(seeds))
    bar = tqdm(total=len(seeds), desc=this.name, unit="seed", disable=None)
    with bar:
        if jobs == 1 or subject is not None:  # a model from outside is loaded once
            return [_shown(one_seed(this.name, config, seed, subject), bar) for seed in seeds]
        threads = max(1, torch.get_num_threads() // jobs)
        context = get_context("spawn")  # a forked process would share torch's locked threads
        with ProcessPoolExecutor(jobs, context, _prepare, (threads,)) as pool, _at_once(pool):
            tasks = [pool.submit(one_seed, this.name, config, seed) for seed in seeds]
            for task in as_completed(tasks):
                _shown(task.result(), bar)
            return [task.result() for task in tasks]


def _shown(run: dict[str, Any], bar: tqdm) -> dict[str, Any]:
    bar.update()
    return run


def _prepare(threads: int) -> None:
    torch.set_num_threads(threads)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the first process, which ends us


@contextmanager
def _at_once(pool: ProcessPoolExecutor) -> Iterator[None]:
    """On Ctrl-C or a failure don't wait for seeds that are still running or queued."""
    try:
        yield
    except BaseException:
        for process in active_children():
            process.terminate()
        pool.shutdown(wait=False, cancel_futures=True)
        raise


def one_seed(name: str, config: Any, seed: int, subject: Subject | None = None) -> dict[str, Any]:
    """One seed's measurements and how long they took, from the cache where it has them."""
    this = experiment(name)
    parts: list[Any] = [config, seed, source_digest(this)]
    if subject is not None:
        parts += [_fingerprint(subject), str(subject.data)]

    def compute() -> dict[str, Any]:
        start = time.process_time()
        torch.manual_seed(seed)
        with cache.used() as shared:
            if subject is None:
                measured = this.measure(config, seed)
            else:
                assert this.measure_model is not None
                measured = this.measure_model(config, seed, subject)
        own = time.process_time() - start - shared.now
        return {"measured": measured, "seconds": own, "shared": shared.seconds}

    return cache.numbers(this.name, cache.digest(*parts), compute)


def source_digest(this: Experiment) -> str:
    """The version of the module that measures."""
    return cache.version(this.measure.__module__)


def _fingerprint(subject: Subject) -> str:
    """Stands for the model's weights."""
    weights = subject.encoder.model.state_dict().values()
    return cache.digest(subject.encoder.name, [f"{w.double().sum().item():.9e}" for w in weights])


def _command(name: str, full: bool, seeds: Sequence[int] | None, subject: Subject | None) -> str:
    words = ["clip-lab experiment run", name]
    if full:
        words.append("--full")
    if seeds is not None:
        words.append("--seeds " + " ".join(map(str, seeds)))
    if subject is not None:
        words.append(f"--model {subject.encoder.name}")
        if subject.data is not None:
            words.append(f"--data {Path(subject.data).name}")
    return " ".join(words)
