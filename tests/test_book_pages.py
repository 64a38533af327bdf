"""The book's pages to look things up in: what they name is there."""

import re
import sys
from pathlib import Path

import pytest

from clip_lab.experiments.registry import NAMES

ROOT = Path(__file__).parents[1]
BOOK = ROOT / "book"
sys.path.append(str(BOOK / "_ext"))


def rows(page: str) -> list[list[str]]:
    """The cells of a page's tables, without their heads."""
    lines = [line for line in (BOOK / page).read_text("utf-8").splitlines() if line[:1] == "|"]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in cells if not set("".join(row)) <= set("-")][1:]


@pytest.mark.parametrize("page", ["glossary.md", "papers.md"])
def test_every_file_and_claim_that_is_named_is_there(page):
    for row in rows(page):
        where = row[-1]
        files = re.findall(r"`([^`]+)`", where)
        numbers = re.findall(r"\d+", re.sub("`[^`]+`", "", where))
        assert files or numbers, row
        for file in files:
            assert (ROOT / file).exists(), file
        most = len(NAMES) if "claim" in where else 17
        assert all(1 <= int(number) <= most for number in numbers), row


def test_the_glossary_is_in_order_and_in_two_languages():
    terms = [row[0] for row in rows("glossary.md")]
    assert terms == sorted(terms, key=str.lower) and len(terms) > 50
    for term, chinese, meaning, _ in rows("glossary.md"):
        assert re.search("[一-鿿]", chinese), term
        assert len(meaning) > 15, term


def test_papers_have_their_numbers():
    for paper, *_ in rows("papers.md"):
        if not paper.startswith("the same"):
            found = re.findall(
                r"\[(\d{4}\.\d{4,5})\]\(https://arxiv.org/abs/(\d{4}\.\d{4,5})\)", paper
            )
            assert found and all(shown == linked for shown, linked in found), paper


def test_syllabi_link_to_chapters_that_are_there():
    text = (BOOK / "teaching.md").read_text("utf-8")
    for name in re.findall(r"\(chapters/(\w+)\)", text):
        assert (ROOT / "notebooks/solved" / f"{name}.py").exists(), name


def test_docstrings_keep_their_text_and_code():
    from docstrings import converted

    given = ["A *star*, under_score_ and `code_`.", "    further in", "", "    x = `y`", "",
             "* one", "  more", "* two"]  # fmt: skip
    assert converted(given) == [
        r"A \*star\*, under\_score\_ and ``code_``.", "further in", "", "::", "", "    x = `y`", "",
        "* one", "  more", "* two", "",
    ]  # fmt: skip


def test_every_room_has_its_place_on_the_api_pages():
    text = "".join(path.read_text("utf-8") for path in (BOOK / "api").glob("*.md"))
    named = re.findall(r"automodule:: (\S+)", text)
    assert len(named) == len(set(named)) > 50
    for name in named:
        path = ROOT / name.replace(".", "/")
        assert path.with_suffix(".py").exists() or (path / "__init__.py").exists(), name


SOLVED = """# %% [markdown]
# # A title

# %%
from clip_lab.view.notebook_figures import cosine_panels, show
1 + 1

# %%
show(cosine_panels({"one": [[1, 0], [0, 1]]}))
"""


def test_a_chapter_s_figures_are_written_with_their_words(tmp_path, monkeypatch, capsys):
    pytest.importorskip("jupytext", reason="the course needs the extra 'notebooks'")
    pytest.importorskip("matplotlib", reason="figures need the extra 'notebooks'")
    from clip_lab.course import build, figures

    (tmp_path / "solved").mkdir()
    (tmp_path / "solved/03_x.py").write_text(SOLVED)
    monkeypatch.setattr(figures, "NOTEBOOKS", tmp_path)
    monkeypatch.setattr(build, "NOTEBOOKS", tmp_path)
    assert figures.main(["3", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.split() == [str(tmp_path / "out/03-1.svg")]
    assert (tmp_path / "out/03-1.svg").read_text().startswith('<svg color="#1c2430"')
    assert "one" in (tmp_path / "out/03-1.txt").read_text()
    assert figures.main(["4", str(tmp_path / "out")]) == 2
    assert "no chapter 4" in capsys.readouterr().err
    assert "[3. A title](chapters/03_x)" in build.chapter_table()
