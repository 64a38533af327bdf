"""A folder of notebooks in, a table out: which exercise is right, wrong or open, and why."""

import csv
import io
from collections.abc import Iterator
from dataclasses import astuple, dataclass, fields
from pathlib import Path

from clip_lab.course.checks import EXERCISES, Answer, Wrong
from clip_lab.course.grading.handed_in import Chapter, HandedIn, chapters, read
from clip_lab.course.grading.remote import Learner, RemoteFunction
from clip_lab.errors import LabError
from clip_lab.files import write_text

RIGHT, WRONG, OPEN, UNREAD = "right", "wrong", "open", "unreadable"
MADE, MISSING = "made", "missing"
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how a spreadsheet's formula may begin


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    file: str
    chapter: str
    item: str  # an exercise's name, "prediction 2", "explain: only 0.4"
    result: str
    remark: str = ""  # the diagnosis, or the learner's own words


def grade(folder: Path, seconds: float) -> Iterator[list[Row]]:
    """The rows of one notebook after the other; `seconds` for a call of a learner's function.

    Raises LabError where there are no notebooks. Links aren't followed out of the folder.
    """
    notebooks = sorted(
        path
        for path in folder.rglob("*.ipynb")
        if ".ipynb_checkpoints" not in path.parts and not path.is_symlink()
    )
    if not notebooks:
        raise LabError(f"There are no notebooks (*.ipynb) in “{folder}” or below it.")
    course = chapters()
    for path in notebooks:
        yield grade_notebook(path, str(path.relative_to(folder)), course, seconds)


def grade_notebook(path: Path, shown: str, course: list[Chapter], seconds: float) -> list[Row]:
    """All rows of one notebook."""
    try:
        notebook = read(path, course)
    except LabError as error:
        return [Row(shown, "", "", UNREAD, str(error))]
    rows = []
    with Learner(notebook.definitions, seconds) as learner:
        for exercise, function in notebook.chapter.exercises.items():
            result = _judged(exercise, function, notebook, learner)
            rows.append(Row(shown, notebook.chapter.name, exercise, *result))
    return rows + _own_words(notebook, shown)


def _judged(exercise: str, function: str, notebook: HandedIn, learner: Learner) -> tuple[str, str]:
    """What the course's own check says of the learner's function."""
    if function not in notebook.functions:
        return OPEN, f"There is no function {function}."
    try:
        return RIGHT, EXERCISES[exercise].diagnose(Answer(RemoteFunction(learner, function)))
    except Wrong as wrong:
        text = " ".join(str(wrong).split())
        return (OPEN if "still to be written" in text else WRONG), text
    except Exception as error:  # a result that no check expects: never the grader's end
        return WRONG, f"The check can't read what {function} returns ({type(error).__name__})."


def _own_words(notebook: HandedIn, shown: str) -> list[Row]:
    """Guesses that were made, and answers in words for the teacher to read."""
    chapter = notebook.chapter
    rows = [
        Row(shown, chapter.name, f"prediction {i + 1}", MADE if i < notebook.predicted else MISSING)
        for i in range(chapter.predictions)
    ]
    for i, question in enumerate(chapter.questions):
        words = notebook.words[i] if i < len(notebook.words) else ""
        result = MADE if words else MISSING
        rows.append(Row(shown, chapter.name, f"explain: {question}", result, words[:5000]))
    return rows


def summary(rows: list[Row]) -> str:
    """One notebook in a line."""
    if rows[0].result == UNREAD:
        return f"{rows[0].file}: {rows[0].remark}"
    counts = {kind: sum(row.result == kind for row in rows) for kind in (RIGHT, WRONG, OPEN)}
    told = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    own = [row for row in rows if row.result in (MADE, MISSING)]
    made = sum(row.result == MADE for row in own)
    return f"{rows[0].file}: {told}; {made} of {len(own)} predictions and explanations"


def table(rows: list[Row]) -> str:
    """As CSV. A cell that a spreadsheet would take for a formula gets an apostrophe in front."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(field.name for field in fields(Row))
    for row in rows:
        writer.writerow("'" + cell if cell.startswith(FORMULA) else cell for cell in astuple(row))
    return text.getvalue()


def grade_folder(folder: Path, out: Path, seconds: float) -> None:
    """Grade, tell each notebook as it is done, and write the table whole."""
    rows = []
    for of_one in grade(folder, seconds):
        print(summary(of_one), flush=True)
        rows += of_one
    write_text(out, table(rows))
    print(f"The table: {out}")
