"""`clip-lab grade`: the course's checks over notebooks that were handed in."""

import argparse
from pathlib import Path

from clip_lab.errors import LabError
from clip_lab.model_options import positive

ABOUT = """\
Reads every notebook (*.ipynb) in a folder and below it, finds out which chapter it is of, and runs
the chapter's own checks on the functions in it: the checks in the notebook don't count. A
notebook's code runs in a process of its own with limits on time and memory, and, where bubblewrap
(the command `bwrap`) is installed, without network and without a way to write files. The table
has a line for each exercise, prediction and explanation; the latter are for you to read.
"""


def add_grade(commands) -> None:
    """Add the command to argparse's subparsers."""
    help = "check notebooks that were handed in, and write a table"
    command = commands.add_parser("grade", help=help, description=ABOUT)
    command.set_defaults(run=run_grade)
    command.add_argument("folder", type=Path, help="where the notebooks are")
    command.add_argument(
        "--out", type=Path, default=Path("grades.csv"), help="the table (default: grades.csv)"
    )
    command.add_argument(
        "--seconds",
        type=positive(float),
        default=20.0,
        help="for one call of a learner's function (default: 20)",
    )


def run_grade(options: argparse.Namespace) -> None:
    """Grade the folder; one line a notebook as it is done."""
    from clip_lab.course.grading.grade import grade_folder
    from clip_lab.course.grading.remote import isolation

    if not options.folder.is_dir():
        raise LabError(f"“{options.folder}” is no folder.")
    if not isolation():
        print("bubblewrap isn't here: notebooks run with limits, but with your own rights.")
    grade_folder(options.folder, options.out, options.seconds)
