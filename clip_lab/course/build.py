"""Notebooks from solved chapters: the student's, with gaps, and the book's, with outputs.

    python -m clip_lab.course.build            # writes notebooks/student/
    python -m clip_lab.course.build --check    # exits with 1 if that would change a file

A chapter is one Python file (py:percent), solved. Its gaps are marked in the code:

    # <solution>                      becomes   # Your code here: about 2 lines.
    ...                                         raise NotImplementedError
    # </solution>

    # <solution: guess = ...>         becomes   guess = ...
    guess = 0.9
    # </solution>

The same source always gives the same bytes: no outputs, and cell ids made from the cells' text.
"""

import argparse
import hashlib
import re
import sys
from collections.abc import Callable
from pathlib import Path

from clip_lab.errors import LabError

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
GAP = re.compile(
    r"^(?P<indent> *)# <solution(?:: (?P<stub>[^\n]*))?>\n(?P<body>.*?)^ *# </solution>$",
    re.MULTILINE | re.DOTALL,
)
# The first cell of code that a student gets, for machines that have only the notebook.
SETUP = """\
# {name}: set-up. Where the lab isn't installed (Colab), this installs it; else it does nothing.
from importlib.util import find_spec

if find_spec("clip_lab") is None:
    %pip install --quiet "clip-lab[notebooks]"
"""
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}


def solutions(source: str) -> list[str]:
    """What stands between the marks of a solved chapter, in order."""
    return [gap["body"] for gap in GAP.finditer(source)]


def student_code(code: str) -> str:
    """A cell with its solutions taken out."""
    return GAP.sub(_gap, code)


def solved_code(code: str) -> str:
    """A cell as it stands, but for the marks."""
    return GAP.sub(lambda gap: gap["body"].rstrip("\n"), code)


def _gap(gap: re.Match) -> str:
    if gap["stub"]:
        return gap["indent"] + gap["stub"]
    lines = [line for line in gap["body"].splitlines() if line.strip() and "# " not in line[:2]]
    size = f"about {len(lines)} lines" if len(lines) > 1 else "one line is enough"
    return f"{gap['indent']}# Your code here: {size}.\n{gap['indent']}raise NotImplementedError"


def student_notebook(source: str) -> str:
    """The notebook with gaps, and a set-up cell after its title, as the text of an .ipynb file."""
    cells = [
        (cell.cell_type, student_code(cell.source) if cell.cell_type == "code" else cell.source, {})
        for cell in _cells(source)
    ]
    title = cells[0][1].partition("\n")[0].lstrip("# ")
    return _notebook([cells[0], ("code", SETUP.format(name=title).strip(), {}), *cells[1:]])


def book_notebook(source: str) -> str:
    """The solved notebook for the book: each exercise as the student sees it, then its solution.

    The solution's code is folded away (myst-nb's tag `hide-input`); its output stays in sight.
    """
    cells: list[tuple[str, str, dict]] = []
    for cell in _cells(source):
        exercise = cell.cell_type == "code" and any(not gap["stub"] for gap in _gaps(cell.source))
        if not exercise:
            cells.append((cell.cell_type, solved_code(cell.source), {}))
            continue
        prompts = {"code_prompt_show": "Show a solution", "code_prompt_hide": "Hide the solution"}
        cells.append(("markdown", f"```python\n{student_code(cell.source)}\n```", {}))
        hidden = {"tags": ["hide-input"], "mystnb": prompts}
        cells.append(("code", solved_code(cell.source), hidden))
    return _notebook(cells)


def _gaps(code: str) -> list[re.Match]:
    return list(GAP.finditer(code))


def _cells(source: str) -> list:
    import jupytext  # extra `notebooks`; loaded here so that the checks need nothing but torch

    if source.count("# <solution") != len(_gaps(source)):
        raise LabError("A `# <solution>` of this chapter has no `# </solution>` on a line alone.")
    return jupytext.reads(source, fmt="py:percent").cells


def _notebook(cells: list[tuple[str, str, dict]]) -> str:
    import nbformat
    from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

    made, seen = [], set()
    for kind, source, metadata in cells:
        make = new_code_cell if kind == "code" else new_markdown_cell
        made.append(make(source, id=_cell_id(source, seen), metadata=metadata))
    notebook = new_notebook(cells=made, metadata=METADATA)
    notebook.nbformat_minor = 5
    return nbformat.writes(notebook) + "\n"


def _cell_id(source: str, seen: set[str]) -> str:
    """Made from the text, so that it stays as it is while other cells come and go."""
    tries = (
        hashlib.sha256(f"{n} {source}".encode()).hexdigest()[:12] for n in range(len(seen) + 1)
    )
    name = next(name for name in tries if name not in seen)
    seen.add(name)
    return name


def chapter_table() -> str:
    """The chapters as a table of the book: title, student notebook, solved source."""
    rows = ["| chapter | student notebook | solved source |", "|---|---|---|"]
    for path in sorted((NOTEBOOKS / "solved").glob("*.py")):
        title = re.search(r"^# # (.*)$", path.read_text("utf-8"), re.MULTILINE)
        name = f"{int(path.stem[:2])}. {title[1] if title else path.stem}"
        notebook = f"{{download}}`notebook <../notebooks/student/{path.stem}.ipynb>`"
        source = f"{{download}}`Python <../notebooks/solved/{path.name}>`"
        rows.append(f"| [{name}](chapters/{path.stem}) | {notebook} | {source} |")
    return "\n".join([*rows, ""])


def write_all(make: Callable[[str], str], target: Path, check: bool = False) -> list[Path]:
    """Make a notebook of every solved chapter; returns the files that changed (or would)."""
    chapters = sorted((NOTEBOOKS / "solved").glob("*.py"))
    if not chapters:
        raise LabError(f"No chapters in {NOTEBOOKS / 'solved'}: run this in a clone of the lab.")
    wanted = {target / f"{path.stem}.ipynb": make(path.read_text("utf-8")) for path in chapters}
    left = set(target.glob("*.ipynb")) - set(wanted)  # notebooks of chapters that are gone
    changed = [p for p, text in wanted.items() if not p.exists() or p.read_text("utf-8") != text]
    if not check:
        target.mkdir(parents=True, exist_ok=True)
        for path in changed:
            path.write_text(wanted[path], encoding="utf-8", newline="\n")
        for path in left:
            path.unlink()
    return sorted([*changed, *left])


def main(arguments: list[str] | None = None) -> int:
    """Write (or, with --check, compare) the student notebooks; returns the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if a file is stale")
    check = parser.parse_args(arguments).check
    try:
        changed = write_all(student_notebook, NOTEBOOKS / "student", check)
    except LabError as error:
        print(error, file=sys.stderr)
        return 2
    for path in changed:
        print("stale:" if check else "written:", path.relative_to(NOTEBOOKS.parent))
    return int(check and bool(changed))


if __name__ == "__main__":
    raise SystemExit(main())
