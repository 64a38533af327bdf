"""The evidence page: every claim, who says it, what was measured here, and the verdict.

Written from the result files alone; nothing is run and nothing typed in by hand.
"""

from collections import Counter
from pathlib import Path

from clip_lab.errors import LabError
from clip_lab.experiments.experiment import Experiment
from clip_lab.experiments.registry import NAMES, experiment
from clip_lab.experiments.result import VERDICTS, Result
from clip_lab.files import write_text

RESULTS = Path(__file__).parent / "results"  # of the full runs, published
INTRODUCTION = """\
# The evidence

What the notes and papers around CLIP claim, measured on data that everyone has: the shapes world,
the emoji, the built-in models. The rule by which a verdict follows from the figures stands in the
experiment's module (`judge`); it was tried out on seed 0 and fixed before the seeds shown here were
run. Intervals are 95 %, over seeds. Where three left open which way an effect goes, more seeds were
run until it showed, or the report says that it doesn't; such intervals are a little too narrow. A
miniature can show that an effect exists and which way it
goes; it can't tell how large it is at the size of the real CLIP. A claim that fails here is
reported as failing here. “Note 000” to “note 004” are five summaries of CLIP, of unknown authors,
that the lab began from; “paper” without a name is CLIP's (Radford et al. 2021, arXiv 2103.00020).
"""


def results(folder: Path = RESULTS) -> dict[str, Result]:
    """All results in a folder by the experiment's name, in the order of the claims.

    Raises LabError where there is none, or one is damaged.
    """
    found = {
        name: Result.load(folder / f"{name}.json")
        for name in NAMES
        if (folder / f"{name}.json").is_file()
    }
    if not found:
        raise LabError(
            f"There are no results in “{folder}”. `clip-lab experiment run NAME --out {folder}` "
            "makes one."
        )
    return found


def page(found: dict[str, Result], figures: str = "evidence") -> str:
    """The page in Markdown; `figures` is the folder of the figures, as seen from the page."""
    parts = [INTRODUCTION, summary(found, link=True)]
    parts += [_section(experiment(name), result, figures) for name, result in found.items()]
    return "\n".join(parts)


def summary(found: dict[str, Result], link: bool = False) -> str:
    """One row a claim, and how many hold."""
    lines = [
        "| | claim | verdict | the effect, 95 % interval | minutes |",
        "|---|---|---|---|---|",
    ]
    for name, result in found.items():
        this = experiment(name)
        what, effect = next(iter(result.verdict.effects.items()))
        claim = f"[{this.claim}](#{_anchor(this)})" if link else this.claim
        lines.append(
            f"| {this.number} | {claim} | {result.verdict.word} "
            f"| {what}: {effect.number(2 if abs(effect.mean) >= 0.1 else 3)} "
            f"| {result.minutes:.1f} |"
        )
    counts = Counter(result.verdict.word for result in found.values())
    told = ", ".join(f"{counts[word]} {word}" for word in VERDICTS if counts[word])
    own = sum(result.minutes for result in found.values())
    shared: dict[str, float] = {}
    for result in found.values():
        shared |= result.shared
    last = (
        f"{len(found)} of {len(NAMES)} claims: {told}. Minutes are of one processor core: "
        f"{own:.0f} for the claims' own work and {sum(shared.values()):.0f} for {len(shared)} "
        "trainings that several of them share."
    )
    return "\n".join([*lines, "", last, ""])


def _anchor(this: Experiment) -> str:
    return f"claim-{this.number}"


def _section(this: Experiment, result: Result, figures: str) -> str:
    measured = result.measured
    settings = ", ".join(f"{name} {value}" for name, value in _flat(measured.config))
    versions = ", ".join(f"{name} {version}" for name, version in result.versions.items())
    return f"""\
({_anchor(this)})=
## {this.number}. {this.claim}

*Who says so:* {this.source}. *Published:* {this.published}.

{this.plain}

**{result.verdict.word.capitalize()}.** {result.verdict.because}{_reservation(this)}

![{_in_words(this, result)}]({figures}/{this.name}.png)

`{result.command}` · {len(measured.seeds)} seeds · {_minutes(result)} on {result.machine}
· {versions} · {settings}
"""


def _minutes(result: Result) -> str:
    """Its own, and those of the trainings that it shares with other claims."""
    own = f"{result.minutes:.1f} minutes"
    shared = sum(result.shared.values())
    return f"{own} (and {shared:.1f} of trainings shared with others)" if shared else own


def _in_words(this: Experiment, result: Result) -> str:
    """The figure's own description, on one line and without what Markdown would read."""
    from clip_lab.view.figures import describe

    words = describe(this.draw(result.measured))
    return " ".join(words.replace("[", "(").replace("]", ")").split())


def _reservation(this: Experiment) -> str:
    return f" {this.reservation}" if this.reservation else ""


def _flat(config: dict, before: str = "") -> list[tuple[str, object]]:
    """Settings of settings by their own names."""
    pairs = []
    for name, value in config.items():
        pairs += _flat(value) if isinstance(value, dict) else [(name.replace("_", " "), value)]
    return pairs


def draw_all(found: dict[str, Result], folder: Path) -> None:
    """Every result's figure, as NAME.png in the folder."""
    from clip_lab.view.figures import save

    for name, result in found.items():
        save(experiment(name).draw(result.measured), folder / f"{name}.png", dpi=120)


def write(folder: Path, found: dict[str, Result]) -> Path:
    """The page and its figures into a folder; returns the page's path."""
    draw_all(found, folder / "evidence")
    path = folder / "evidence.md"
    write_text(path, page(found))
    return path
