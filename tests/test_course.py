"""The checks of chapter 6 know a right answer in any form, and name the idea behind a wrong one."""

import ast
import json
import math
import re
import time
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

jupytext = pytest.importorskip("jupytext", reason="the course needs the extra 'notebooks'")
pytest.importorskip("anywidget", reason="the course needs the extra 'notebooks'")

from clip_lab.course import (  # noqa: E402
    EXERCISES,
    Note,
    Wrong,
    check,
    explain,
    hint,
    predict_choice,
    predict_number,
)
from clip_lab.course.build import (  # noqa: E402
    NOTEBOOKS,
    book_notebook,
    solutions,
    solved_code,
    student_code,
    student_notebook,
)
from clip_lab.dual_encoder import DualEncoder  # noqa: E402
from clip_lab.errors import LabError  # noqa: E402
from clip_lab.model import CLIP, CLIPConfig, TextConfig, ViTConfig  # noqa: E402
from clip_lab.preprocess import Preprocess  # noqa: E402
from clip_lab.tokenizer import Tokenizer  # noqa: E402
from clip_lab.view import notebook_figures as figures  # noqa: E402

CHAPTERS = sorted((NOTEBOOKS / "solved").glob("*.py"))


def unit(rows):
    return rows / rows.norm(dim=-1, keepdim=True)


def log_shares(logits, axis):
    return logits.log_softmax(axis).diagonal()


def by_hand(i, t, scale):
    logits = i @ t.T * torch.exp(scale)
    return -(log_shares(logits, 0) + log_shares(logits, 1)).mean() / 2


def two_calls(i, t, scale):
    logits = i @ t.T * scale.exp()
    own = torch.arange(i.shape[0])
    return 0.5 * F.cross_entropy(logits, own) + 0.5 * F.cross_entropy(logits.T, own)


def one_hot(i, t, scale):
    logits = unit(i) @ unit(t).T * scale.exp()
    yes = torch.eye(len(i))
    return (F.cross_entropy(logits, yes) + F.cross_entropy(logits.mT, yes)).div(2)


def loop(i, t, scale):
    total = 0
    for k in range(len(i)):
        row, column = scale.exp() * (t @ i[k]), scale.exp() * (i @ t[k])
        total = total + row.logsumexp(0) + column.logsumexp(0) - 2 * row[k]
    return total / (2 * len(i))


def recall(c):
    own = torch.arange(len(c))
    return (c.argmax(1) == own).float().mean(), (c.argmax(0) == own).float().mean()


def gradient(c, scale):
    logits, n = scale.exp() * c, len(c)
    return scale.exp() * (logits.softmax(1) + logits.softmax(0) - 2 * torch.eye(n)) / (2 * n)


def by_autograd(c, scale):
    c = c.clone().requires_grad_()
    logits, own = scale.exp() * c, torch.arange(len(c))
    loss = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
    return torch.autograd.grad(loss, c)[0]


def shared(i, t, scale, names):
    logits = scale.exp() * i @ t.T
    targets = (names[:, None] == names[None]).float()
    targets = targets / targets.sum(1, keepdim=True)
    return (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets.T)) / 2


def shared_by_hand(i, t, scale, names):
    logits, same = scale.exp() * i @ t.T, names[:, None].eq(names)
    weight = same / same.sum(1, keepdim=True)
    return -((logits.log_softmax(1) + logits.log_softmax(0)) * weight).sum() / (2 * len(i))


RIGHT = {
    "normalize": [unit, lambda x: F.normalize(x), lambda x: (x.T / x.norm(dim=1)).T,
                  lambda x: x * x.pow(2).sum(-1, keepdim=True).rsqrt(),
                  lambda x: torch.stack([row / row.norm() for row in x])],
    "similarity": [lambda i, t: unit(i) @ unit(t).T,
                   lambda i, t: F.cosine_similarity(i[:, None], t[None], dim=-1),
                   lambda i, t: torch.einsum("id,jd->ij", F.normalize(i), F.normalize(t)),
                   lambda i, t: i @ t.T / i.norm(dim=1)[:, None] / t.norm(dim=1)],
    "probabilities": [lambda c, tau: (c / tau).softmax(-1),
                      lambda c, tau: F.softmax(c * (1 / tau), dim=1),
                      lambda c, tau: ((c - c.max(1, keepdim=True).values) / tau).exp()
                      / ((c - c.max(1, keepdim=True).values) / tau).exp().sum(1, keepdim=True)],
    "info_nce": [by_hand, two_calls, one_hot, loop],
    "recall_at_1": [recall, lambda c: [share.item() for share in recall(c)],
                    lambda c: ((c.diag() == c.amax(1)).double().mean(),
                               (c.diag() == c.amax(0)).double().mean())],
    "loss_gradient": [gradient, by_autograd],
    "info_nce_shared": [shared, shared_by_hand],
}  # fmt: skip


def ce(logits, transpose=True):
    own = torch.arange(len(logits))
    rows, columns = F.cross_entropy(logits, own), F.cross_entropy(logits.T, own)
    return (rows + columns) / 2 if transpose else rows


def all_targets_zero(i, t, s):
    logits, zero = s.exp() * i @ t.T, torch.zeros(len(i), dtype=torch.long)
    return (F.cross_entropy(logits, zero) + F.cross_entropy(logits.T, zero)) / 2


def naive(i, t, s):
    powers = (s.exp() * i @ t.T).exp()
    shares = powers / powers.sum(1, keepdim=True), powers / powers.sum(0, keepdim=True)
    return -sum(share.diagonal().log().mean() for share in shares) / 2


def twins_masked(i, t, s, names):
    twins = (names[:, None] == names) & ~torch.eye(len(i), dtype=torch.bool)
    return ce((s.exp() * i @ t.T).masked_fill(twins, -1e9))


def any_of_the_name(i, t, s, names):
    logits, same = s.exp() * i @ t.T, (names[:, None] == names).float()
    return -sum(((logits.softmax(d) * same).sum(d)).log().mean() for d in (0, 1)) / 2


def unscaled_targets(i, t, s, names):
    logits, same = s.exp() * i @ t.T, (names[:, None] == names).float()
    return (F.cross_entropy(logits, same) + F.cross_entropy(logits.T, same)) / 2


def in_place(x):
    x /= x.norm(dim=1, keepdim=True)
    return x


def no_return(x):
    unit(x)


def stub(x):
    raise NotImplementedError


def breaks(x):
    return x.no_such_thing


# (exercise, a plausible wrong answer, words that its diagnosis must hold)
WRONG = [
    ("normalize", lambda x: x / x.norm(dim=0, keepdim=True), "Your columns have length 1"),
    ("normalize", lambda x: F.normalize(x, dim=0), "Your columns have length 1"),
    ("normalize", lambda x: x / x.norm(), "divided by one number"),
    ("normalize", lambda x: F.normalize(x, p=1), "L1 length"),
    ("normalize", lambda x: x / x.pow(2).sum(1, keepdim=True), "a root is missing"),
    ("normalize", lambda x: x / x.max(1, keepdim=True).values, "largest entry"),
    ("normalize", lambda x: x.softmax(1), "A softmax changes the direction"),
    ("normalize", lambda x: unit(x - x.mean(1, keepdim=True)), "mean was taken off"),
    ("normalize", lambda x: F.layer_norm(x, x.shape[-1:], eps=0), "LayerNorm"),
    ("normalize", lambda x: x, "came back as they went in"),
    ("normalize", lambda x: x * 0 + 1, "On a small example at ["),
    ("normalize", lambda x: x / x.norm(dim=1), "was the reduced axis kept"),
    ("normalize", lambda x: unit(x).squeeze(), "a batch of one stays a batch"),
    ("normalize", lambda x: unit(x).detach(), "cut off from its inputs"),
    ("normalize", lambda x: unit(x).detach().numpy(), "not a tensor"),
    ("normalize", lambda x: x.norm(dim=1), "(5, 3) was expected"),
    ("normalize", lambda x: x / (x - x), "nan or inf"),
    ("normalize", lambda x: in_place(x.data), "changes the tensor it is given"),
    ("normalize", no_return, "returned None"),
    ("normalize", lambda x: ..., "still to be written"),
    ("normalize", stub, "still to be written"),
    ("normalize", breaks, "return x.no_such_thing"),
    ("normalize", lambda: None, "called with 1 argument"),
    ("normalize", torch.zeros(2, 2), "pass the function's name"),
    ("similarity", lambda i, t: i @ t.T, "dot products"),
    ("similarity", lambda i, t: unit(i) @ t.T, "the captions do not"),
    ("similarity", lambda i, t: i @ unit(t).T, "the pictures do not"),
    ("similarity", lambda i, t: unit(t) @ unit(i).T, "Rows are captions"),
    ("similarity", lambda i, t: unit(i) @ unit(t), "turned on its side"),
    ("similarity", lambda i, t: F.cosine_similarity(i, t), "its own caption only"),
    ("similarity", lambda i, t: torch.cdist(unit(i), unit(t)), "distances"),
    ("similarity", lambda i, t: torch.cdist(i, t), "distances"),
    ("similarity", lambda i, t: unit(i) @ unit(i).T, "captions take no part"),
    ("similarity", lambda i, t: (unit(i) @ unit(t).T)[:, : len(i)], "need not be equal"),
    ("probabilities", lambda c, tau: (c * tau).softmax(1), "multiplied by the temperature"),
    ("probabilities", lambda c, tau: c.softmax(1), "takes no part"),
    ("probabilities", lambda c, tau: (c / tau).softmax(0), "Your columns sum to 1"),
    ("probabilities", lambda c, tau: (c / tau).flatten().softmax(0).view_as(c), "whole matrix"),
    ("probabilities", lambda c, tau: c.softmax(1) / tau, "came after the softmax"),
    ("probabilities", lambda c, tau: (c / tau).log_softmax(1), "logarithms"),
    ("probabilities", lambda c, tau: (c / tau).sigmoid(), "each pair alone"),
    ("probabilities", lambda c, tau: c / tau, "logits"),
    ("probabilities", lambda c, tau: (c / tau).exp() / (c / tau).exp().sum(1, True), "float32"),
    ("info_nce", lambda i, t, s: ce(s.exp() * i @ t.T, False), "one direction only: rows"),
    ("info_nce", lambda i, t, s: ce(s.exp() * t @ i.T, False), "one direction only: columns"),
    ("info_nce", lambda i, t, s: 2 * ce(s.exp() * i @ t.T), "directions are added"),
    ("info_nce", lambda i, t, s: len(i) * ce(s.exp() * i @ t.T), "losses of the batch are summed"),
    ("info_nce", lambda i, t, s: 10 * ce(s.exp() * i @ t.T), "over both directions"),
    ("info_nce", lambda i, t, s: ce(s * i @ t.T), "logit_scale is a logarithm"),
    ("info_nce", lambda i, t, s: ce(i @ t.T / s.exp()), "multiplied by the temperature"),
    ("info_nce", lambda i, t, s: ce(i @ t.T), "bare cosines"),
    ("info_nce", lambda i, t, s: ce(i @ t.T / s), "divided by logit_scale"),
    ("info_nce", lambda i, t, s: ce(s * i @ t.T, False), "exponentiate it. This is the mean over"),
    ("info_nce", lambda i, t, s: -ce(s.exp() * i @ t.T), "sign is turned round"),
    ("info_nce", lambda i, t, s: -(s.exp() * (i * t).sum(1)).mean(), "no negatives"),
    ("info_nce", all_targets_zero, "caption 0"),
    ("info_nce", lambda i, t, s: sum(ce((s.exp() * x).softmax(1), False)
                                     for x in (i @ t.T, t @ i.T)) / 2, "two softmaxes"),
    ("info_nce", lambda i, t, s: F.binary_cross_entropy_with_logits(
        s.exp() * i @ t.T, torch.eye(len(i))), "SigLIP"),
    ("info_nce", naive, "exp(95)"),
    ("info_nce", lambda i, t, s: ce(s.exp() * i @ t.T).item(), "not a tensor"),
    ("info_nce", lambda i, t, s: ce(s.exp() * i @ t.T).detach(), "cut off from its inputs"),
    ("info_nce", lambda i, t, s: ce(math.exp(s.item()) * i @ t.T), "the temperature would stay"),
    ("info_nce", lambda i, t, s: ce(s.exp() * i @ t.T.detach()), "the text tower"),
    ("info_nce", lambda i, t, s: -log_shares(s.exp() * i @ t.T, 1), "one number for the whole"),
    ("recall_at_1", lambda c: recall(c)[::-1], "exchanged"),
    ("recall_at_1", lambda c: [4 * share for share in recall(c)], "counts"),
    ("recall_at_1", lambda c: [100 * share for share in recall(c)], "per cent"),
    ("recall_at_1", lambda c: recall(c)[:1] * 2, "the same direction: rows"),
    ("recall_at_1", lambda c: recall(c)[1:] * 2, "the same direction: columns"),
    ("recall_at_1", lambda c: [1 - share for share in recall(c)], "that fail"),
    ("recall_at_1", lambda c: recall(c)[0], "Return two shares"),
    ("loss_gradient", lambda c, s: gradient(c, s) / s.exp(), "gradient by the logits"),
    ("loss_gradient", lambda c, s: gradient(c, s) * len(c), "1/N is missing"),
    ("loss_gradient", lambda c, s: gradient(c, s) * 2, "a half is missing"),
    ("loss_gradient", lambda c, s: gradient(c, s) * 2 * len(c), "are missing"),
    ("loss_gradient", lambda c, s: -gradient(c, s), "sign"),
    ("loss_gradient", lambda c, s: s.exp() * ((s.exp() * c).softmax(1) - torch.eye(len(c)))
     / len(c), "rows only"),
    ("loss_gradient", lambda c, s: s.exp() * ((s.exp() * c).softmax(1) + (s.exp() * c).softmax(0))
     / len(c) / 2, "targets are missing"),
    ("info_nce_shared", lambda i, t, s, names: two_calls(i, t, s), "ordinary loss"),
    ("info_nce_shared", unscaled_targets, "sum to 1"),
    ("info_nce_shared", twins_masked, "left the denominators"),
    ("info_nce_shared", any_of_the_name, "MIL-NCE"),
    ("info_nce_shared", lambda i, t, s, names: shared(i, t, s.log(), names), "a logarithm"),
    ("info_nce_shared", lambda i, t, s, names: shared(i, t, 0 * s, names), "bare cosines"),
]  # fmt: skip


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
    with pytest.raises(LabError, match=r"There are: normalize|three steps"):
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


# The builder, and the chapters as files


def cells(kind: str, path: Path = CHAPTERS[0]) -> list[str]:
    found = jupytext.reads(path.read_text("utf-8"), fmt="py:percent").cells
    return [cell.source for cell in found if cell.cell_type == kind]


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
        assert [cell["id"] for cell in longer["cells"]][1:] == ids

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
        text, code = cells("markdown", chapter), cells("code", chapter)
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
    notebook = json.loads(book_notebook(CHAPTERS[0].read_text("utf-8")))
    text = "".join("".join(cell["source"]) + "\n" for cell in notebook["cells"])
    assert "<solution" not in text
    folded = [c for c in notebook["cells"] if "hide-input" in c["metadata"].get("tags", [])]
    assert len(folded) == len(EXERCISES)
    for cell in folded:
        before = notebook["cells"][notebook["cells"].index(cell) - 1]
        assert before["cell_type"] == "markdown"
        assert "raise NotImplementedError" in "".join(before["source"])


def run_cell(code: str, names: dict) -> object:
    """Run a cell as a notebook does: the value of its last line, if that is an expression."""
    tree = ast.parse(code)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "<cell>", "exec"), names)
    return eval(compile(ast.Expression(last.value), "<cell>", "eval"), names) if last else None


def untrained() -> DualEncoder:
    torch.manual_seed(0)
    tokenizer = Tokenizer.train(["a drawing of an emoji", "a picture of a face"] * 2, 540, 77)
    text = TextConfig(len(tokenizer), 77, 64, 1, tokenizer.end)
    model = CLIP(CLIPConfig(32, ViTConfig(32, 8, 64, 1), text))
    return DualEncoder(model, tokenizer, Preprocess(32), "untrained")


@pytest.fixture(scope="module")
def run_through() -> dict:
    """The chapter from the top with an untrained model: every gap is met empty, then filled."""
    names, stopped, threads = {}, [], torch.get_num_threads()
    begun = time.process_time()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("clip_lab.load", lambda name: untrained())
        for code in cells("code"):
            if student_code(code) != code:
                with pytest.raises(Wrong) as caught:
                    run_cell(student_code(code), names)
                stopped.append(str(caught.value))
            shown = run_cell(solved_code(code), names)
            for view in ("_repr_html_", "_repr_mimebundle_"):
                assert not hasattr(shown, view) or getattr(shown, view)()
    torch.set_num_threads(threads)
    return names | {"stopped": stopped, "seconds": time.process_time() - begun}


def test_a_student_is_stopped_at_each_gap_in_turn_and_nowhere_else(run_through):
    assert len(run_through["stopped"]) == len(solutions(CHAPTERS[0].read_text("utf-8")))
    for message in run_through["stopped"]:
        assert re.search("still to be written|in place of the dots|own words", message)


def test_the_chapter_takes_less_than_a_minute(run_through):
    assert run_through["seconds"] < 60


def test_the_measurement_bears_out_what_the_chapter_says_of_it(run_through):
    """Pulling alone: the highest diagonal and the worst model. Without exp: between the two."""
    mean = {name: float(c.diagonal().mean()) for name, c in run_through["trained"].items()}
    right = {name: recall(c)[0] for name, c in run_through["trained"].items()}
    assert mean["pull only"] > 0.99 > mean["InfoNCE without exp"] > mean["InfoNCE"]
    assert right["pull only"] < 0.3 < right["InfoNCE without exp"] < right["InfoNCE"] - 0.05
    a_perfect_match = math.exp(2.66) / (math.exp(2.66) + 255)
    assert round(a_perfect_match, 2) == 0.05


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
