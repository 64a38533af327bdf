"""What a notebook that was handed in holds, read without running any of it."""

import ast
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from clip_lab.course.open import student_notebooks
from clip_lab.errors import LabError

LARGEST = 20 * 2**20  # bytes of a notebook; pictures in its outputs count
SOURCE = 10**6  # characters of code that are read


@dataclass(frozen=True)
class Chapter:
    """What a chapter asks for, as its student notebook says."""

    name: str
    cells: frozenset[str]  # their ids
    exercises: dict[str, str]  # exercise -> the function that is checked
    predictions: int
    questions: tuple[str, ...]  # that are answered in words


@dataclass(frozen=True)
class HandedIn:
    """A learner's notebook: the parts of its code that define something, its guesses and words."""

    chapter: Chapter
    definitions: tuple[str, ...]
    functions: frozenset[str]
    predicted: int
    words: tuple[str, ...]


def chapters() -> list[Chapter]:
    """All chapters of the course."""
    return [_chapter(path) for path in student_notebooks()]


def _chapter(path: Path) -> Chapter:
    cells = _cells(path)
    trees = [tree for tree in map(_parsed, _code(cells)) if tree]
    calls = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    exercises, questions = {}, []
    for call in calls:
        asked = call.args[0] if call.args else None
        if not isinstance(call.func, ast.Name) or not isinstance(asked, ast.Constant):
            continue
        if call.func.id == "check" and len(call.args) > 1 and isinstance(call.args[1], ast.Name):
            exercises[str(asked.value)] = call.args[1].id
        if call.func.id == "explain":
            questions.append(str(asked.value))
    ids = frozenset(str(cell.get("id")) for cell in cells)
    guesses = sum(len(_assigned(tree, "guess")) for tree in trees)
    return Chapter(path.stem, ids, exercises, guesses, tuple(questions))


def read(path: Path, course: list[Chapter]) -> HandedIn:
    """Raises LabError for a file that is no notebook, or none of this course's."""
    cells = _cells(path)
    ids = {str(cell.get("id")) for cell in cells}
    chapter = max(course, key=lambda one: (len(one.cells & ids), one.name in path.stem))
    if not chapter.cells & ids and chapter.name not in path.stem:
        raise LabError("It is none of the course's notebooks: no cell of theirs is in it.")
    trees = [tree for tree in map(_parsed, _code(cells)) if tree]
    parts = [node for tree in trees for node in tree.body if _defines(node)]
    guesses = [value for tree in trees for value in _assigned(tree, "guess")]
    words = [value for tree in trees for value in _assigned(tree, "words")]
    return HandedIn(
        chapter,
        tuple(ast.unparse(part) for part in parts),
        frozenset(part.name for part in parts if isinstance(part, ast.FunctionDef)),
        sum(guess is not ... for guess in guesses),
        tuple(" ".join(text.split()) for text in words if isinstance(text, str)),
    )


def _cells(path: Path) -> list[dict[str, Any]]:
    try:
        if path.stat().st_size > LARGEST:
            raise LabError(f"It is larger than {LARGEST >> 20} MB: clear its outputs.")
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        return [cell for cell in cells if isinstance(cell, dict)]
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise LabError(f"It can't be read as a notebook ({type(error).__name__}).") from error


def _code(cells: list[dict[str, Any]]) -> list[str]:
    """The code cells' sources, without what IPython adds to Python."""
    found = []
    for cell in cells:
        source = cell.get("source") if cell.get("cell_type") == "code" else ""
        text = "".join(map(str, source)) if isinstance(source, list) else str(source or "")
        found.append(
            "\n".join(x for x in text.splitlines() if not x.lstrip().startswith(("%", "!")))
        )
    return found


def _parsed(source: str) -> ast.Module | None:
    """None for what isn't Python: the exercises in that cell then count as not written."""
    try:
        return ast.parse(source) if len(source) <= SOURCE else None
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return None


def _defines(node: ast.stmt) -> bool:
    """An import, a function, a class, or a name for something that needs no call to make."""
    if isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef):
        return True
    if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
        return not any(isinstance(part, ast.Call | ast.Await) for part in ast.walk(node))
    return False


def _assigned(tree: ast.Module, name: str) -> list[Any]:
    """The plain values that are given to a name; dots where there is something else."""
    values = []
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(
            isinstance(target, ast.Name) and target.id == name for target in node.targets
        ):
            try:
                values.append(ast.literal_eval(node.value))
            except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
                values.append(...)
    return values
