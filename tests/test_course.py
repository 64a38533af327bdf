"""The course: checks that know a right answer in any form and name the idea behind a wrong one, and
the chapters as files and as a student runs them. A chapter's answers: tests/answers/."""

import importlib
import json
import pkgutil
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

jupytext = pytest.importorskip("jupytext", reason="the course needs the extra 'notebooks'")
pytest.importorskip("anywidget", reason="the course needs the extra 'notebooks'")

import answers  # noqa: E402
from answers.similarity import unit  # noqa: E402
from course_run import CHAPTERS, cells, chapter  # noqa: E402

from clip_lab.course import (  # noqa: E402
    EXERCISES,
    Note,
    Wrong,
    check,
    explain,
    hint,
    predict_choice,
    predict_number,
    verdict,
)
from clip_lab.course.build import (  # noqa: E402
    NOTEBOOKS,
    book_notebook,
    solutions,
    student_code,
    student_notebook,
)
from clip_lab.errors import LabError  # noqa: E402
from clip_lab.experiments.registry import NAMES  # noqa: E402
from clip_lab.experiments.report import results  # noqa: E402
from clip_lab.view import notebook_figures as figures  # noqa: E402

BY_CHAPTER = [
    importlib.import_module(f"answers.{module.name}")
    for module in pkgutil.iter_modules(answers.__path__)
]
RIGHT = {name: right for module in BY_CHAPTER for name, right in module.RIGHT.items()}
WRONG = [wrong for module in BY_CHAPTER for wrong in module.WRONG]
SIMILARITY = chapter("similarity")


@pytest.mark.parametrize(
    ("name", "answer"), [(name, answer) for name, answers in RIGHT.items() for answer in answers]
)
def test_a_right_answer_passes_however_it_is_written(name, answer):
    note = check(name, answer)
    assert note.title == f"✓ {name}"
    assert "border-left" in note._repr_html_()


@pytest.mark.parametrize(("name", "answer", "words"), WRONG)
def test_a_wrong_answer_is_named(name, answer, words):
    with pytest.raises(Wrong) as caught:
        check(name, answer)
    assert words in str(caught.value)
    assert caught.value.exercise == name


def test_every_exercise_has_right_and_at_least_five_wrong_answers_and_three_hints():
    assert set(RIGHT) == set(EXERCISES)
    for name in EXERCISES:
        assert sum(wrong[0] == name for wrong in WRONG) >= 5
        texts = [hint(name, step).text for step in (1, 2, 3)]
        assert len(set(texts)) == 3
        assert min(map(len, texts)) > 30


def test_a_wrong_answer_reads_as_a_diagnosis_in_a_notebook_not_as_a_traceback():
    with pytest.raises(Wrong) as caught:
        check("normalize", lambda x: x / x.norm())
    shown = re.sub(r"\x1b\[[\d;]*m", "", "\n".join(caught.value._render_traceback_()))
    assert shown.startswith("✗ normalize\nAll rows were divided by one number")
    assert 'hint("normalize", 1)' in shown


@pytest.mark.parametrize(("name", "step"), [("normalise", 1), ("normalize", 4), ("normalize", 0)])
def test_unknown_names_and_steps_are_told(name, step):
    with pytest.raises(LabError, match=r"No exercise is called|three steps"):
        hint(name, step)


def test_a_prediction_must_be_written_down_and_lie_in_range():
    with pytest.raises(Wrong, match="in place of the dots"):
        predict_number("How much?", ..., low=-1, high=1)
    with pytest.raises(Wrong, match="between -1 and 1"):
        predict_number("How much?", 3, low=-1, high=1)
    with pytest.raises(Wrong, match="'a', 'b'"):
        predict_choice("Which?", "c", {"a": "up", "b": "down"})
    guess = predict_number("How much?", 0.9, low=-1, high=1)
    assert guess.value == 0.9
    assert "0.9" in guess._repr_html_()
    assert "0.31" in guess.measured("0.31")._repr_html_()
    assert predict_choice("Which?", "b", {"a": "up", "b": "down"}).guess == "b) down"


def test_the_model_answer_comes_after_ones_own_words():
    with pytest.raises(Wrong, match="First your own words"):
        explain("only 0.4", ...)
    with pytest.raises(Wrong, match="at least 15"):
        explain("only 0.4", "No idea, sorry.")
    with pytest.raises(LabError, match="No question"):
        explain("something else", "word " * 20)
    shown = explain("only 0.4", "<b>I think</b> " + "word " * 20)._repr_html_()
    assert "model answer" in shown
    assert "&lt;b&gt;I think" in shown


def test_learners_own_text_cannot_become_markup():
    assert "<script>" not in check("normalize", unit)._repr_html_()
    with pytest.raises(Wrong) as caught:
        predict_number("q", "<script>", low=0, high=1)
    assert "<script>" in str(caught.value)  # plain text: the front end shows it as such


def test_a_verdict_is_the_published_one():
    note = verdict("binding")
    assert note.title == "Claim 17 holds."
    assert results()["binding"].verdict.because in note.text
    edges = {verdict(name).colour for name in ("binding", "prompts", "towers")}
    assert len(edges) == 3  # holds, in part, does not
    with pytest.raises(LabError, match="bindings"):
        verdict("bindings")


@pytest.mark.parametrize("name", NAMES)
def test_each_claim_is_told_in_a_chapter(name):
    """... by its published verdict, which `verdict`, or the result itself, holds."""
    assert any(f'"{name}"' in path.read_text("utf-8") for path in CHAPTERS)


def test_each_chapter_has_tests_of_its_own_run():
    texts = [path.read_text("utf-8") for path in Path(__file__).parent.glob("test_chapter_*.py")]
    named = [re.search(r'^CHAPTER = chapter\("(.+)"\)$', text, re.MULTILINE) for text in texts]
    assert sorted(chapter(found[1]) for found in named if found) == CHAPTERS
    assert all("class TestRun(Run):" in text for text in texts)


# The builder, and the chapters as files


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
class TestChapter:
    def test_its_student_notebook_is_the_one_in_the_repository(self, chapter):
        committed = NOTEBOOKS / "student" / f"{chapter.stem}.ipynb"
        made = student_notebook(chapter.read_text("utf-8"))
        assert made == student_notebook(chapter.read_text("utf-8"))
        assert committed.read_text("utf-8") == made, "run: python -m clip_lab.course.build"

    def test_its_student_notebook_has_no_outputs_and_ids_that_stay(self, chapter):
        source = chapter.read_text("utf-8")
        notebook = json.loads(student_notebook(source))
        for cell in notebook["cells"]:
            assert cell.get("outputs", []) == []
            assert cell.get("execution_count") is None
        ids = [cell["id"] for cell in notebook["cells"]]
        assert len(set(ids)) == len(ids)
        longer = json.loads(student_notebook("# %% [markdown]\n# One more cell.\n\n" + source))
        assert [cell["id"] for cell in longer["cells"]][2:] == [ids[0], *ids[2:]]  # [1]: set-up

    def test_its_first_code_installs_the_lab_where_it_is_missing(self, chapter, monkeypatch):
        from IPython.core.inputtransformer2 import TransformerManager

        notebook = json.loads(student_notebook(chapter.read_text("utf-8")))
        code = [cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
        setup, *others = [TransformerManager().transform_cell("".join(one)) for one in code]
        asked = []
        names = {"get_ipython": lambda: SimpleNamespace(run_line_magic=lambda *a: asked.append(a))}
        exec(compile(setup, "set-up", "exec"), names)
        assert not asked  # the lab is here
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        exec(compile(setup, "set-up", "exec"), names)
        assert asked == [("pip", 'install --quiet "clip-lab[notebooks]"')]
        assert all("%pip" not in "".join(one) for one in code[1:])
        for other in others:
            compile(other, "cell", "exec")

    def test_no_solution_is_in_the_students_notebook_nor_copyable_from_the_checks(self, chapter):
        source = chapter.read_text("utf-8")
        notebook = "\n".join(
            "".join(cell["source"]) for cell in json.loads(student_notebook(source))["cells"]
        )
        package = Path(__file__).parent.parent / "clip_lab" / "course"
        checks = "\n".join(path.read_text("utf-8") for path in package.rglob("*.py"))
        for solution in solutions(source):
            for line in filter(lambda line: len(line) > 3, map(str.strip, solution.splitlines())):
                assert line not in notebook
                assert line.startswith("guess =") or line not in checks

    def test_what_is_to_be_built_is_short(self, chapter):
        found = solutions(chapter.read_text("utf-8"))
        assert found
        assert all(len(solution.splitlines()) <= 15 for solution in found)

    def test_it_is_at_most_40_cells_and_1500_words_and_fits_a_page(self, chapter):
        text, code = cells(chapter, "markdown"), cells(chapter, "code")
        assert len(text) + len(code) <= 40
        assert sum(len(cell.split()) for cell in text) <= 1500
        assert max(len(line) for cell in code for line in cell.splitlines()) <= 80

    def test_jupytext_writes_it_back_as_it_is(self, chapter):
        source = chapter.read_text("utf-8")
        notebook = jupytext.reads(source, fmt="py:percent")
        kept = {"notebook_metadata_filter": "-all", "cell_metadata_filter": "tags,-all"}
        notebook.metadata["jupytext"] = kept
        assert jupytext.writes(notebook, fmt="py:percent") == source


def test_a_mark_that_is_not_closed_is_told():
    with pytest.raises(LabError, match="no `# </solution>`"):
        student_notebook("# %%\n# <solution>\nx = 1\n")


def test_marks_become_stubs():
    source = "def f(x):\n    # <solution>\n    y = x\n    return y\n    # </solution>\n\n\nf(1)"
    assert student_code(source) == (
        "def f(x):\n    # Your code here: about 2 lines.\n    raise NotImplementedError\n\n\nf(1)"
    )
    assert student_code("# <solution: a = ...>\na = 1\n# </solution>\na") == "a = ...\na"


def test_the_books_notebook_shows_the_exercise_and_folds_the_solution():
    source = SIMILARITY.read_text("utf-8")
    notebook = json.loads(book_notebook(source))
    text = "".join("".join(cell["source"]) + "\n" for cell in notebook["cells"])
    assert "<solution" not in text
    folded = [c for c in notebook["cells"] if "hide-input" in c["metadata"].get("tags", [])]
    assert len(folded) == len([gap for gap in solutions(source) if "return" in gap])
    for cell in folded:
        before = notebook["cells"][notebook["cells"].index(cell) - 1]
        assert before["cell_type"] == "markdown"
        assert "raise NotImplementedError" in "".join(before["source"])


def test_figures_are_described_and_take_the_pages_ink():
    cosines, note = {"<one>": torch.eye(4) * 0.8, "two": torch.eye(4)}, Note("Note", "below")
    shown = figures.show(figures.cosine_panels(cosines, predicted=0.3), note)
    html = shown._repr_html_()
    assert 'role="img" aria-label="Histograms of cosines. Means: &lt;one&gt;: matches 0.800' in html
    assert "right caption first for 100% of 4" in repr(shown)
    assert "currentColor" in html
    assert "#22262e" not in html
    assert html.endswith(note._repr_html_())
    assert figures.show(figures.cosine_panels(cosines))._repr_html_().count("<svg") == 1
