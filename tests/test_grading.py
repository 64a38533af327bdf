"""Grading handed-in notebooks: the same verdicts as in the notebook, whatever is in it."""

import csv
import json
import os
import sys
import time
from pathlib import Path

import pytest
import torch

pytest.importorskip("jupytext", reason="the course needs the extra 'notebooks'")

import answers.info_nce
import answers.similarity
from course_run import chapter

from clip_lab.cli import main
from clip_lab.course import Wrong, check
from clip_lab.course.build import NOTEBOOKS, solved_code
from clip_lab.course.checks import EXERCISES, Answer
from clip_lab.course.grading import grade as grading
from clip_lab.course.grading.handed_in import chapters, read
from clip_lab.course.grading.messages import Foul, pack, unpack
from clip_lab.course.grading.remote import Learner, RemoteFunction, isolation
from clip_lab.errors import LabError

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits are Linux's")
NAME = chapter("similarity").stem
STUDENT = NOTEBOOKS / "student" / f"{NAME}.ipynb"
COURSE = chapters()
HEAD = "import torch\nfrom torch.nn import functional as F\nfrom torch import Tensor\n"
NORMALIZE = "def normalize(vectors):\n    "


def solved() -> dict:
    """The student notebook with every gap filled by the chapter's own solution."""
    import jupytext

    notebook = json.loads(STUDENT.read_text("utf-8"))
    source = jupytext.reads(chapter("similarity").read_text("utf-8"), fmt="py:percent")
    del notebook["cells"][1]  # the set-up
    for cell, filled in zip(notebook["cells"], source.cells, strict=True):
        cell["source"] = solved_code(filled.source)
    return notebook


def hand_in(folder: Path, code: str, name: str = f"{NAME}.ipynb") -> Path:
    """A notebook of one cell, in the place of whatever the chapter had."""
    cell = {"cell_type": "code", "id": "mine", "source": code, "metadata": {}, "outputs": []}
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"cells": [cell], "metadata": {}, "nbformat": 4}))
    return path


def graded(path: Path, seconds: float = 20) -> dict[str, grading.Row]:
    rows = grading.grade_notebook(path, path.name, COURSE, seconds)
    return {row.item: row for row in rows}


def test_the_student_s_notebook_as_it_is_has_everything_open():
    rows = graded(STUDENT)
    exercises = {name for name in rows if name in EXERCISES}
    assert len(exercises) == 6 and {rows[name].result for name in exercises} == {grading.OPEN}
    others = [row.result for name, row in rows.items() if name not in EXERCISES]
    assert set(others) == {grading.MISSING} and len(others) >= 4


def test_a_solved_notebook_is_right_throughout_and_its_words_are_kept(tmp_path):
    (path := tmp_path / "anna.ipynb").write_text(json.dumps(solved()))
    rows = graded(path)
    assert {rows[name].result for name in rows if name in EXERCISES} == {grading.RIGHT}
    assert rows["prediction 1"].result == grading.MADE
    assert "A cosine by itself is no grade" in rows["explain: only 0.4"].remark


@pytest.mark.parametrize("name", [*answers.similarity.RIGHT, *answers.info_nce.RIGHT])
def test_a_remote_function_is_judged_as_a_local_one(name):
    """Values, gradients and shapes cross the pipe: the same note, or the same diagnosis."""
    written = {
        "normalize": "x / x.norm(dim=0, keepdim=True)",
        "similarity": "F.normalize(i, dim=-1) @ t.T",
        "probabilities": "(i / t).softmax(0)",
        "info_nce": "F.cross_entropy(s.exp() * i @ t.T, torch.arange(len(i)))",
        "recall_at_1": "(0.5, 0.75)",
        "leads": "x.diagonal() - x.amax(1)",
        "recall_by_name": "(0.5, 0.75)",
        "best_in_pieces": "(i @ t.T).argmin(1)",
        "loss_gradient": "i * 0",
        "lead_needed": "0.5 * i",
        "scale_gradient": "(i * 0).sum()",
        "info_nce_shared": "F.cross_entropy(s.exp() * i @ t.T, torch.arange(len(i)))",
    }[name]
    given = {1: "x", 2: "i, t", 3: "i, t, s", 4: "i, t, s, names"}
    count = {"normalize": 1, "recall_at_1": 1, "leads": 1, "info_nce": 3, "best_in_pieces": 3}
    count |= {"lead_needed": 3, "info_nce_shared": 4}
    source = f"{HEAD}def f({given[count.get(name, 2)]}): return {written}"
    names: dict = {}
    exec(source, names)
    with pytest.raises(Wrong) as here:
        check(name, names["f"])
    with Learner([source], 20) as learner, pytest.raises(Wrong) as there:
        EXERCISES[name].diagnose(Answer(RemoteFunction(learner, "f")))
    assert str(there.value).replace("f ", "") == str(here.value).replace("f ", "")


def test_gradients_come_back_and_what_is_cut_off_stays_cut_off():
    source = HEAD + "def f(a, b):\n    return (a * a).sum() + b.detach().sum(), b * 2, 3.5, [None]"
    a, b = torch.tensor([1.0, 2.0], requires_grad=True), torch.ones(2, requires_grad=True)
    with Learner([source], 20) as learner:
        total, twice, number, rest = RemoteFunction(learner, "f")(a, b)
        assert (number, rest) == (3.5, [None]) and float(total.detach()) == 7
        assert torch.autograd.grad(total, [a, b], allow_unused=True)[1] is None
        total, twice, *_ = RemoteFunction(learner, "f")(a, b)
        (total + twice.sum()).backward()
    assert a.grad is not None and b.grad is not None
    assert a.grad.tolist() == [2, 4] and b.grad.tolist() == [2, 2]


@pytest.mark.parametrize(
    "body, said",
    [
        ("while True: pass", "more than 3 s"),
        ("import os; os._exit(0)", "ended on its own"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "ended on its own"),
        ("import sys; sys.exit()", "SystemExit"),
        ("return torch.ones(10**11)", "stopped with RuntimeError"),
        ("return bytearray(10**11)", "MemoryError"),
        ("return torch.ones(2**25 + 1)", "larger than"),
        ("return object()", "returned a object, not a tensor"),
        ("return vectors.to_sparse()", "not a tensor"),
        ("raise Exception('x' * 10**8)", "xxx"),
        ("import os; os.write(1, b'junk' * 999); return vectors", "came back as they went in"),
        ("import os\n    for i in range(3, 20):\n        try: os.write(i, b'\\xff' * 99)\n"
         "        except OSError: pass\n    return vectors", ""),
        ("def g(n): return g(n + 1)\n    return g(0)", "RecursionError"),
    ],
)  # fmt: skip
def test_a_vandal_hurts_its_own_row_alone(tmp_path, body, said):
    path = hand_in(tmp_path, HEAD + NORMALIZE + body + "\n\ndef similarity(i, t):\n"
                   "    return F.normalize(i, dim=1) @ F.normalize(t, dim=1).T")  # fmt: skip
    began = time.monotonic()
    rows = graded(path, seconds=3 if "while" in body else 30)
    assert rows["normalize"].result == grading.WRONG and said in rows["normalize"].remark
    assert len(rows["normalize"].remark) < 2000
    assert rows["similarity"].result == grading.RIGHT  # in a fresh process if it must be
    assert time.monotonic() - began < 120


def test_definitions_without_an_end_cost_their_notebook_one_wait(tmp_path):
    similarity = "def similarity(i, t):\n    return i @ t.T\n"
    endless = "class Endless:\n    while True: pass\n"
    began = time.monotonic()
    rows = graded(hand_in(tmp_path, f"{HEAD}{NORMALIZE}return vectors\n{similarity}{endless}"), 3)
    remarks = [rows[name].remark for name in ("normalize", "similarity")]
    assert any("more than 3 s" in remark for remark in remarks)
    assert any("never come to an end" in remark for remark in remarks)
    assert {rows[name].result for name in ("normalize", "similarity")} == {grading.WRONG}
    assert time.monotonic() - began < 60


def test_a_definition_that_went_wrong_says_why(tmp_path):
    broken = "def similarity(i, t, how=nowhere.at_all):\n    return i @ t.T\n"
    rows = graded(hand_in(tmp_path, f"{HEAD}{NORMALIZE}return vectors\n{broken}"))
    assert rows["similarity"].result == grading.WRONG
    assert "could not be defined" in rows["similarity"].remark
    assert "nowhere" in rows["similarity"].remark


def test_checks_that_were_bent_in_the_notebook_count_for_nothing(tmp_path):
    bent = (
        "import clip_lab.course.checks as c\nimport torch\n"
        "def check(*_): return 'right'\n"
        "class Yes:\n    def __eq__(self, _): return True\n    allclose = lambda *_: True\n"
        f"{NORMALIZE}import clip_lab.course.checks as c; c.compare = lambda *_: None; "
        "torch.allclose = lambda *a, **k: True; return vectors\n"
        "def similarity(i, t):\n    return Yes()\n"
    )
    rows = graded(hand_in(tmp_path, bent))
    assert rows["normalize"].result == rows["similarity"].result == grading.WRONG
    with pytest.raises(Wrong):
        check("normalize", lambda x: x)  # ours is as it was


@pytest.mark.skipif(not isolation(), reason="bubblewrap isn't installed, or may not be used")
def test_in_isolation_nothing_is_written_reached_or_killed(tmp_path):
    (kept := tmp_path / "kept").write_text("as it was")
    source = HEAD + (
        "import os, socket, signal\n"
        "def write(path):\n    open(path, 'w')\n"
        "def parent():\n    return os.getppid()\n"
        "def reach():\n    socket.create_connection(('127.0.0.1', 9), 1)\n"
        "def kill(pid):\n    os.kill(pid, signal.SIGTERM)\n"
    )
    with Learner([source], 20) as learner:
        for name, args in (("write", (str(kept),)), ("reach", ()), ("kill", (os.getpid(),))):
            with pytest.raises(Exception, match=r"Read-only|unreachable|refused|No such process"):
                RemoteFunction(learner, name)(*args)
    assert kept.read_text() == "as it was"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"cells": 3}', "not json", '{"cells": [1]}',
                                     "[" * 10**5])  # fmt: skip
def test_a_file_that_is_no_notebook_is_told_and_the_next_is_graded(tmp_path, content):
    (tmp_path / "broken.ipynb").write_text(content)
    hand_in(tmp_path, HEAD + NORMALIZE + "return F.normalize(vectors)", f"zoe/{NAME}.ipynb")
    broken, zoe = list(grading.grade(tmp_path, 20))
    assert [row.result for row in broken] == [grading.UNREAD] and broken[0].remark
    assert "1 right" in grading.summary(zoe)


def test_a_notebook_is_known_by_its_cells_whatever_it_is_called(tmp_path):
    (path := tmp_path / "homework final (2).ipynb").write_text(STUDENT.read_text("utf-8"))
    assert read(path, COURSE).chapter.name == NAME
    with pytest.raises(LabError, match="none of the course's"):
        read(hand_in(tmp_path, "x = 1", "other.ipynb"), COURSE)


def test_nothing_of_a_notebook_runs_while_it_is_read(tmp_path):
    path = hand_in(tmp_path, "import os\nos.mkdir('was-here')\nguess = os.mkdir('here-too')\n"
                   "%matplotlib inline\nwords = 'a b'\nx: int = 3\ndef f(): pass")  # fmt: skip
    found = read(path, COURSE)
    assert found.functions == {"f"} and found.words == ("a b",) and found.predicted == 0
    assert found.definitions == ("import os", "words = 'a b'", "x: int = 3", "def f():\n    pass")


@pytest.mark.parametrize("message", [b"", b"\0\0\0\2{}", b"\xff" * 40, pack([1])[:-3],
                                     b"\0\0\0\x0b{\"list\": 3}" + pack(1)[5:]])  # fmt: skip
def test_a_foul_message_is_refused(message):
    with pytest.raises(Foul):
        unpack(message)


def test_values_come_through_whole():
    value = {"a": [1, 2.5, float("inf"), None, True, "ü", ...], "t": (torch.arange(3), {4})}
    back = unpack(pack(value))
    assert back["a"] == value["a"] and back["t"][0].tolist() == [0, 1, 2] and back["t"][1] == {4}


def test_the_command_writes_a_table_that_no_spreadsheet_runs(tmp_path, capsys):
    hand_in(tmp_path, HEAD + "words = '=HYPERLINK(1)'", f"=a/{NAME}.ipynb")
    assert main(["grade", str(tmp_path), "--out", str(tmp_path / "t.csv")]) == 0
    rows = list(csv.DictReader((tmp_path / "t.csv").read_text().splitlines()))
    assert rows[0]["file"].startswith("'=a") and rows[0]["result"] == grading.OPEN
    assert any(row["remark"] == "'=HYPERLINK(1)" for row in rows)
    assert "0 of" in capsys.readouterr().out or rows
    assert main(["grade", str(tmp_path / "no")]) == 2
    (tmp_path / "empty").mkdir()
    assert main(["grade", str(tmp_path / "empty")]) == 2
    assert "no notebooks" in capsys.readouterr().err
