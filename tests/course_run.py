"""A chapter from the top, as a student meets it: each gap first empty, then filled."""

import re
import time
from pathlib import Path
from typing import Any

import jupytext
import pytest
import torch

from clip_lab.course import Wrong
from clip_lab.course.build import NOTEBOOKS, solutions, solved_code, student_code
from clip_lab.course.figures import run_cell

CHAPTERS = sorted((NOTEBOOKS / "solved").glob("*.py"))


def chapter(name: str) -> Path:
    """The solved source of a chapter by its number or a part of its name."""
    return next(path for path in CHAPTERS if name in path.stem)


def cells(path: Path, kind: str) -> list[str]:
    """The sources of a chapter's "code" or "markdown" cells."""
    found = jupytext.reads(path.read_text("utf-8"), fmt="py:percent").cells
    return [cell.source for cell in found if cell.cell_type == kind]


def prose(path: Path) -> str:
    """All that a chapter says in words, on one line."""
    return " ".join(" ".join(cells(path, "markdown")).split())


def run_through(path: Path) -> dict[str, Any]:
    """The chapter's names at its end; under "stopped" what each empty gap said, under "seconds"
    the processor time of it all. Every shown thing is rendered, as a front end would."""
    names: dict[str, Any] = {"__name__": "__main__"}
    stopped, threads = [], torch.get_num_threads()
    begun = time.process_time()
    for code in cells(path, "code"):
        if student_code(code) != code:
            with pytest.raises(Wrong) as caught:
                run_cell(student_code(code), names)
            stopped.append(str(caught.value))
        shown = run_cell(solved_code(code), names)
        for view in ("_repr_html_", "_repr_mimebundle_"):
            assert not hasattr(shown, view) or getattr(shown, view)()
    torch.set_num_threads(threads)
    return names | {"stopped": stopped, "seconds": time.process_time() - begun}


class Run:
    """What holds of every chapter's run. Each chapter's own tests inherit it, as `TestRun`."""

    def test_a_student_is_stopped_at_each_gap_in_turn_and_nowhere_else(self, ran, request):
        gaps = solutions(request.module.CHAPTER.read_text("utf-8"))
        assert len(ran["stopped"]) == len(gaps)
        for message in ran["stopped"]:
            assert re.search("still to be written|in place of the dots|own words", message)

    def test_it_takes_less_than_a_minute(self, ran):
        assert ran["seconds"] < 60  # of the processor, each cell with a gap run twice
