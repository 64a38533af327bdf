"""The learner's own words and guesses: taken down first, then set beside what is so.

Nothing here is marked. A guess that was written down before the plot appears is worth more to its
author than the plot alone, right or wrong.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape
from typing import Any

from clip_lab.course.checks import Note, Wrong
from clip_lab.errors import LabError

PREDICTED = "#6a5acd"
ANSWERS: dict[str, str] = {}  # question -> model answer; a chapter adds its own


@dataclass(frozen=True)
class Prediction:
    """A guess on record. `value` is what was guessed; `measured(...)` sets it beside what is so."""

    question: str
    value: Any
    guess: str

    def __repr__(self) -> str:
        return f"Prediction  {self.question}  You say: {self.guess}"

    def _repr_html_(self) -> str:
        text = f"{self.question}\nYou say: {self.guess}"
        return Note("Prediction", text, PREDICTED)._repr_html_()

    def measured(self, text: str) -> Note:
        return Note("You predicted", f"{self.guess}\nMeasured: {text}", PREDICTED)


def predict_number(question: str, guess: Any, low: float, high: float) -> Prediction:
    """Take down a number between `low` and `high`. Wrong (still to be filled in) for `...`."""
    _written(guess)
    if isinstance(guess, bool) or not isinstance(guess, int | float) or not low <= guess <= high:
        raise Wrong(f"Predict with a number between {low:g} and {high:g}; this is {guess!r}.")
    return Prediction(question, float(guess), f"{guess:g}")


def predict_choice(question: str, guess: Any, choices: Mapping[str, str]) -> Prediction:
    """Take down one of the choices by its letter. Wrong (still to be filled in) for `...`."""
    _written(guess)
    if guess not in choices:
        raise Wrong(f"Predict with one of {', '.join(map(repr, choices))}; this is {guess!r}.")
    return Prediction(question, guess, f"{guess}) {choices[guess]}")


def _written(guess: Any) -> None:
    if guess is ...:
        raise Wrong("Write your prediction in place of the dots. Nobody marks it.")


class Comparison:
    """The learner's words and a model answer, side by side."""

    def __init__(self, question: str, words: str, model: str) -> None:
        self.question, self.words, self.model = question, words, model

    def __repr__(self) -> str:
        return f"{self.question}\n\nYou: {self.words}\n\nA model answer: {self.model}"

    def _repr_html_(self) -> str:
        column = '<div style="flex:1 1 16em;border-left:4px solid {};padding:.2em .9em">{}</div>'
        yours = column.format(PREDICTED, f"<b>You</b><br>{escape(self.words)}")
        model = column.format("#2e9e5b", f"<b>A model answer</b><br>{escape(self.model)}")
        return f'<div style="display:flex;flex-wrap:wrap;gap:1em">{yours}{model}</div>'


def explain(question: str, words: Any, at_least: int = 15) -> Comparison:
    """Set `words` beside the model answer; Wrong until there are `at_least` of them.

    The model answer is kept away from the notebook, so that one's own words come first.
    """
    if question not in ANSWERS:
        raise LabError(f"No question is called {question!r}. There are: {', '.join(ANSWERS)}.")
    if words is ... or not isinstance(words, str) or len(words.split()) < at_least:
        raise Wrong(f"First your own words, at least {at_least} of them; then a model answer.")
    return Comparison(question, " ".join(words.split()), " ".join(ANSWERS[question].split()))
