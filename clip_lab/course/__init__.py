"""What the notebooks lean on: predictions, checks, hints, words to compare, the lab's verdicts.

    from clip_lab.course import check, explain, hint, predict_choice, predict_number

`check("normalize", normalize)` says what is right or names the wrong idea; `hint("normalize", 1)`
helps in three steps; `predict_number` and `predict_choice` take a guess down before the answer is
shown; `explain` sets the learner's own words beside a model answer; `verdict` tells what the lab's
own experiments found of a claim.
"""

import clip_lab.course.chapters  # noqa: F401  (registers every exercise)
from clip_lab.course.checks import EXERCISES, Note, Wrong, check, hint
from clip_lab.course.claims import verdict
from clip_lab.course.words import explain, predict_choice, predict_number

__all__ = [
    "EXERCISES",
    "Note",
    "Wrong",
    "check",
    "explain",
    "hint",
    "predict_choice",
    "predict_number",
    "verdict",
]
