"""The figures of a chapter, for slides.

    python -m clip_lab.course.figures 06 slides/

runs the solved chapter and writes each figure that it shows as SVG, black on nothing, and its
description as text beside it: 06-1.svg, 06-1.txt and so on. Needs a clone of the lab.
"""

import argparse
import ast
import sys
from pathlib import Path
from typing import Any

from clip_lab.course.build import NOTEBOOKS, solved_code
from clip_lab.errors import LabError
from clip_lab.files import write_text


def figures(chapter: Path) -> list[tuple[str, str]]:
    """(SVG, description) of each figure that a solved chapter shows, in order."""
    import jupytext

    from clip_lab.view.notebook_figures import Shown

    names: dict[str, Any] = {"__name__": "__main__"}
    cells = jupytext.reads(chapter.read_text("utf-8"), fmt="py:percent").cells
    values = [run_cell(solved_code(c.source), names) for c in cells if c.cell_type == "code"]
    return [(one.svg, one.alt) for one in values if isinstance(one, Shown)]


def run_cell(code: str, names: dict[str, Any]) -> Any:
    """Run a cell as a notebook does: the value of its last line, if that is an expression."""
    tree = ast.parse(code)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<cell>", "exec"), names)
    if not isinstance(last, ast.Expr):
        return None
    return eval(compile(ast.Expression(last.value), "<cell>", "eval"), names)


def export(number: str, folder: Path) -> list[Path]:
    """Write a chapter's figures into a folder; returns the SVG files. LabError for no chapter."""
    found = sorted((NOTEBOOKS / "solved").glob(f"{number.zfill(2)}_*.py"))
    if not found:
        raise LabError(f"There is no chapter {number} in {NOTEBOOKS / 'solved'}.")
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for place, (svg, words) in enumerate(figures(found[0]), start=1):
        name = folder / f"{found[0].stem[:2]}-{place}"
        # In a page the ink is the page's own colour; alone, the figure says which.
        write_text(name.with_suffix(".svg"), svg.replace("<svg", '<svg color="#1c2430"', 1))
        write_text(name.with_suffix(".txt"), words + "\n")
        files.append(name.with_suffix(".svg"))
    return files


def main(arguments: list[str] | None = None) -> int:
    """Write a chapter's figures and name the files; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m clip_lab.course.figures")
    parser.add_argument("chapter", help="its number")
    parser.add_argument("folder", type=Path, help="where the files go")
    options = parser.parse_args(arguments)
    try:
        for file in export(options.chapter, options.folder):
            print(file)
    except (LabError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
