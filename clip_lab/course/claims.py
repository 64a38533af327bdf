"""What the lab found of a claim about CLIP, for a chapter that tells of it."""

from clip_lab.course.checks import Note


def verdict(name: str) -> Note:
    """The claim of the experiment `name`, and what its published runs say of it.

    Raises LabError for a name that is none (`clip-lab experiment list` has them all).
    """
    from clip_lab.experiments.registry import experiment
    from clip_lab.experiments.report import results
    from clip_lab.experiments.result import HOLDS, IN_PART

    this, found = experiment(name), results()[name].verdict
    colour = {HOLDS: "#2e9e5b", IN_PART: "#c98500"}.get(found.word, "#c0504d")
    return Note(f"Claim {this.number} {found.word}.", f"{this.claim}.\n{found.because}", colour)
