"""`clip-lab experiment`: claims about CLIP, run, judged and reported."""

import argparse
import time
from importlib.util import find_spec
from pathlib import Path

from clip_lab.errors import LabError
from clip_lab.model_options import MODEL_HELP, add_model_options, load_model, positive

EXAMPLES = """\
try:
  clip-lab experiment list
  clip-lab experiment run binding                   a quick look, a few minutes
  clip-lab experiment run 17 4 --full               by number; all seeds, with intervals
  clip-lab experiment run binding --model openai/ViT-B-32
  clip-lab experiment run all
  clip-lab experiment report --results experiments  a page of what was measured
"""
OUT = Path("experiments")


def add_experiment(commands) -> None:
    """Add the command to argparse's subparsers."""
    help = "measure a claim about CLIP"
    command = commands.add_parser(
        "experiment",
        help=help,
        description="Claims about CLIP: each runs, measures, judges and draws its own result.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    actions = command.add_subparsers(title="what to do", metavar="ACTION", required=True)
    _add_list(actions)
    _add_run(actions)
    _add_report(actions)


def _add_list(actions) -> None:
    command = actions.add_parser("list", help="all claims, and how the published runs judged them")
    command.set_defaults(run=run_list)


def _add_run(actions) -> None:
    command = actions.add_parser(
        "run", help="run experiments; what was measured before is not measured again"
    )
    command.set_defaults(run=run_experiments)
    command.add_argument("name", nargs="+", help="names or numbers of claims, or: all")
    command.add_argument(
        "--full", action="store_true", help="as the published results: longer, several seeds"
    )
    command.add_argument("--seeds", type=int, nargs="+", help="(default: 0; with --full its own)")
    command.add_argument(
        "--jobs", type=positive(int), help="seeds side by side (default: the processor's cores)"
    )
    command.add_argument(
        "--out", type=Path, default=OUT, help=f"folder for results and figures (default: {OUT})"
    )
    command.add_argument("--model", help=f"look at a published model instead: {MODEL_HELP}")
    command.add_argument(
        "--data", type=Path, help="its pictures with classes, where an experiment needs some"
    )
    add_model_options(command)


def _add_report(actions) -> None:
    command = actions.add_parser("report", help="write results as a page with figures")
    command.set_defaults(run=run_report)
    command.add_argument("--results", type=Path, help="folder of results (default: the published)")
    command.add_argument(
        "--out", type=Path, default=OUT, help=f"folder for evidence.md (default: {OUT})"
    )


def run_list(_options: argparse.Namespace) -> None:
    """One line a claim."""
    from clip_lab.experiments.registry import NAMES, experiment
    from clip_lab.experiments.report import results

    published = results()
    print(f"{'':3} {'name':21} {'verdict':19} {'minutes':>7}  claim")
    for name in NAMES:
        this, result = experiment(name), published.get(name)
        word, minutes = (result.verdict.word, f"{result.minutes:.1f}") if result else ("", "")
        print(f"{this.number:3} {name:21} {word:19} {minutes:>7}  {this.claim}")


def _need_packages() -> None:
    """Better said before an hour of computing than after it."""
    missing = [name for name in ("matplotlib", "scipy", "sklearn") if find_spec(name) is None]
    if missing:
        raise LabError(
            f"Experiments need packages that are not installed: {', '.join(missing)}. "
            'Get them with: pip install "clip-lab[experiments]".'
        )


def run_experiments(options: argparse.Namespace) -> None:
    """Run them one after the other; each result is written as soon as it is there."""
    _need_packages()
    from clip_lab.experiments.registry import NAMES, experiment
    from clip_lab.experiments.runner import run

    everything = options.name == ["all"]
    chosen = list(NAMES) if everything else [experiment(name).name for name in options.name]
    subject = _subject(options)
    if subject is not None and everything:
        chosen = [name for name in chosen if experiment(name).measure_model is not None]
    options.out.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    for name in chosen:
        result = run(name, options.full, options.seeds, options.jobs, subject)
        _write(result, options.out)
    if len(chosen) > 1:
        minutes = (time.monotonic() - start) / 60
        print(f"{len(chosen)} of {len(NAMES)} claims in {minutes:.1f} minutes.")


def _subject(options: argparse.Namespace):
    from clip_lab.experiments.experiment import Subject

    if options.model is None:
        if options.data is not None:
            raise LabError("--data is for published models. Give --model NAME with it.")
        return None
    return Subject(load_model(options), options.data)


def _write(result, folder: Path) -> None:
    """The result and its figure; what it says goes to the terminal."""
    from clip_lab.experiments.registry import experiment
    from clip_lab.view.figures import save

    this = experiment(result.name)
    result.save(folder / f"{result.name}.json")
    figure = save(this.draw(result.measured), folder / f"{result.name}.png")
    print(f"\n{this.number}. {this.claim}\n   {result.verdict.word}: {result.verdict.because}")
    print(f"   {result.minutes:.1f} minutes of computing; figure: {figure}")


def run_report(options: argparse.Namespace) -> None:
    """Write evidence.md and its figures."""
    _need_packages()
    from clip_lab.experiments.report import RESULTS, results, write

    path = write(options.out, results(options.results or RESULTS))
    print(f"Written to {path}.")
