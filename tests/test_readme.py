"""The README promises nothing that isn't there."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
CHINESE = (ROOT / "README.zh.md").read_text(encoding="utf-8")


def test_every_link_within_the_project_leads_somewhere():
    targets = re.findall(r"\]\((?!https?:)([^)#]+)\)", README)
    assert len(targets) > 10
    for target in targets:
        assert (ROOT / target).exists(), target


def test_every_make_target_exists():
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"make (\w+)", README)) - {"and"}:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize(
    "script",
    ["readme_models.py", "speed_table.py", "scale_costs.py", "training_table.py", "evidence.py"],
)
def test_tables_are_level_with_cards_and_results(script):
    command = [sys.executable, ROOT / "scripts" / script, "--check"]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, f"run scripts/{script}" + result.stderr


def parts(text: str) -> tuple[list[int], list[str], set[str]]:
    """What a translation must keep: the depth of each heading, the code, the links and pictures."""
    code = re.findall(r"^```.*?^```$", text, re.MULTILINE | re.DOTALL)
    prose = re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL)
    depths = [len(marks) for marks in re.findall(r"^(#+) ", prose, re.MULTILINE)]
    return depths, code, set(re.findall(r"\]\(([^)#]+)", prose))


def test_the_chinese_readme_is_level_with_the_english_one():
    (depths, code, links), (same, code_there, links_there) = parts(README), parts(CHINESE)
    assert (same, code_there) == (depths, code)
    pair = {"README.md", "README.zh.md"}
    assert links - links_there <= pair and links_there - links <= pair | {"book/glossary.md"}


def test_no_machine_s_paths_in_documents():
    for name in (
        "README.md",
        "README.zh.md",
        "CONTRIBUTING.md",
        "NOTICE",
        "Makefile",
        "pyproject.toml",
    ):
        text = (ROOT / name).read_text(encoding="utf-8")
        assert not re.search(r"/(root|home|work|tmp)/", text), name
