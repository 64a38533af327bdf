"""Widgets under JupyterLab, with a kernel: what is moved in the page arrives in Python."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("jupyterlab", reason="needs JupyterLab (extra 'notebooks')")
pytest.importorskip("anywidget", reason="widgets need the extra 'notebooks'")
pytest.importorskip("playwright", reason="browser tests need Playwright (extra 'dev')")

from playwright.sync_api import Browser, Page

from clip_lab.course.open import offline, own_settings

pytestmark = pytest.mark.browser
ROOT = Path(__file__).parents[1]

# Whatever changes in the kernel is written to a file beside the notebook.
START = """
import json
from pathlib import Path
import numpy as np
from clip_lab.tokenizer import Tokenizer
from clip_lab.view.widgets import MatrixWidget
from clip_lab.view.widgets.merges import MergesWidget
from clip_lab.view.widgets.patches import PatchesWidget
from clip_lab.view.widgets.words import WordsWidget

dice = np.random.default_rng(0)
pictures = [dice.integers(0, 255, (32, 32, 3), dtype=np.uint8) for _ in range(3)]
names = ["cat", "dog", "owl"]
cosines = np.array([[0.6, 0.1, 0.2], [0.0, 0.5, 0.1], [0.1, 0.2, 0.7]])

def told(widget, *traits):
    def write(change):
        with Path("seen.txt").open("a") as file:
            file.write(json.dumps([change["name"], change["new"]]) + "\\n")
    widget.observe(write, traits)
    return widget
"""
CELLS = [
    START,
    "matrix = told(MatrixWidget(cosines, pictures, names), 'tau', 'show')\nmatrix",
    "merges = told(MergesWidget(Tokenizer.train(['lower newest widest'] * 3, 530), 'low'), 'text')"
    "\nmerges",
    "patches = told(PatchesWidget(pictures[0], dice.normal(size=(17, 8))), 'token', 'patch')"
    "\npatches",
    "own = lambda word: np.array([0.9, 0.0, 0.0]) if word == 'tiger' else np.zeros(3)\n"
    "words = told(WordsWidget(cosines, pictures, names, names, names, ask=own), 'words')\nwords",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a notebook of widgets."""
    path = tmp_path_factory.mktemp("lab")
    cells = [
        {"cell_type": "code", "id": f"cell-{i}", "source": code, "metadata": {}, "outputs": [],
         "execution_count": None}
        for i, code in enumerate(CELLS)
    ]  # fmt: skip
    spec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = {"cells": cells, "metadata": {"kernelspec": spec}, "nbformat": 4}
    (path / "widgets.ipynb").write_text(json.dumps(notebook | {"nbformat_minor": 5}))
    return path


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    """A JupyterLab of its own, which knows none of the user's settings."""
    options = ["--no-browser", "--ServerApp.port=0", "--IdentityProvider.token=", "--allow-root"]
    own = {f"JUPYTER_{name}_DIR": str(folder / name) for name in ("CONFIG", "DATA", "RUNTIME")}
    own |= {f"JUPYTERLAB_{n}_DIR": str(folder / n) for n in ("SETTINGS", "WORKSPACES")}
    own |= own_settings() | {"PYTHONPATH": str(ROOT)}
    server = subprocess.Popen(
        [sys.executable, "-m", "jupyterlab", *options, *offline()],
        cwd=folder, env=os.environ | own, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert server.stderr
    for line in server.stderr:
        if found := re.search(r"(http://(?:localhost|127\.0\.0\.1):\d+)/lab", line):
            break
    else:
        raise AssertionError("JupyterLab ended at once")
    yield found[1]
    server.terminate()
    server.communicate(timeout=60)


@pytest.fixture(scope="module")
def page(browser: Browser, address: str) -> Iterator[Page]:
    """The notebook, run from the top."""
    page = browser.new_page(viewport={"width": 1280, "height": 3600})
    page.set_default_timeout(90_000)
    page.goto(f"{address}/lab/tree/widgets.ipynb")
    page.wait_for_selector(".jp-Notebook .jp-CodeCell")
    page.locator(".jp-StatusBar-Left").get_by_text("Idle").wait_for()
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    for root in (".clm", ".clb", ".clp", ".clw"):
        page.locator(root).wait_for()
    yield page
    page.close()


def seen(folder: Path, name: str, wanted) -> None:
    """Wait until the kernel has been told of such a value."""
    until = time.monotonic() + 60
    file = folder / "seen.txt"
    while time.monotonic() < until:
        lines = file.read_text().splitlines() if file.exists() else []
        if any(key == name and wanted(value) for key, value in map(json.loads, lines)):
            return
        time.sleep(0.1)
    raise AssertionError(f"the kernel never heard of {name}: {lines}")


def test_keys_pressed_in_a_widget_are_no_commands_of_the_notebook(page: Page) -> None:
    cells = page.locator(".jp-CodeCell").count()
    page.locator(".clm [role=grid] td").nth(4).click()
    for key in "ddba":  # of a notebook: delete the cell, one below, one above
        page.keyboard.press(key)
    assert page.locator(".jp-CodeCell").count() == cells


def test_nothing_is_asked_at_the_start(page: Page) -> None:
    assert page.locator(".Toastify__toast").count() == 0


def test_the_matrix_s_temperature_and_view_arrive_in_the_kernel(page: Page, folder: Path) -> None:
    page.locator(".clm input[type=range]").press("ArrowLeft")
    seen(folder, "tau", lambda tau: 0.01 < tau < 0.07)
    page.locator(".clm-views label", has_text="softmax over captions").click()
    seen(folder, "show", lambda show: show == "captions")


def test_a_text_of_one_s_own_is_cut_and_arrives(page: Page, folder: Path) -> None:
    page.locator(".clb input[type=text]").fill("lowest")
    seen(folder, "text", lambda text: text == "lowest")
    assert "lowest" in page.locator(".clb .clb-words").inner_text()


def test_arrow_keys_walk_the_patches_and_leave_the_notebook_alone(page: Page, folder: Path) -> None:
    page.locator(".clp [role=grid] td").nth(5).click()
    seen(folder, "token", lambda token: token == 6)
    page.keyboard.press("ArrowRight")
    seen(folder, "token", lambda token: token == 7)
    page.locator(".clp input[type=range]").press("ArrowLeft")
    seen(folder, "patch", lambda patch: patch > 0)


def test_a_class_of_one_s_own_is_encoded_by_the_kernel(page: Page, folder: Path) -> None:
    page.locator(".clw input[type=text]").fill("tiger")
    page.locator(".clw").get_by_role("button", name="Add").click()
    seen(folder, "words", lambda words: "tiger" in words)
    page.locator(".clw table").get_by_text("tiger").wait_for()
    assert "Nearest of" in page.locator(".clw .clw-said, .clw .cl-said").inner_text()
