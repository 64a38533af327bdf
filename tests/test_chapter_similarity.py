"""Chapter 6: its sentences against its measurements, its parts against the lab's, its figures."""

import numpy as np
import pytest
import torch

pytest.importorskip("jupytext", reason="the course needs the extra 'notebooks'")
pytest.importorskip("anywidget", reason="the course needs the extra 'notebooks'")

from course_run import Run, chapter, prose
from torch.nn import functional as F

from clip_lab.view.chapters import similarity as figures
from clip_lab.view.notebook_figures import describe

CHAPTER = chapter("06_similarity_matrix")


class TestRun(Run):
    """Stopped at each gap, and quick."""


def test_what_is_built_is_what_the_lab_has(ran):
    assert ran["apart"].abs().max() < 1e-5
    wanted = F.normalize(ran["image_raw"]) @ F.normalize(ran["text_raw"]).T
    assert torch.allclose(ran["similarity"](ran["image_raw"], ran["text_raw"]), wanted, atol=1e-5)
    images, texts = ran["image_unit"], ran["text_unit"]
    assert torch.equal(ran["best_in_pieces"](images, texts, 100), (images @ texts.T).argmax(1))
    rows, columns = ran["recall_at_1"](ran["similarity"](images, texts))
    ours = ran["retrieve"](images, texts, [[name] for name in ran["own_names"]])
    assert (rows, columns) == pytest.approx(
        (ours.image_to_text[0], ours.text_to_image[0]), abs=0.01
    )


def test_the_diagonal_is_high_on_what_was_trained_on_and_far_lower_on_the_new(ran):
    seen, new = (c.diagonal().mean() for c in ran["cosines"].values())
    assert seen > new + 0.2
    assert len(ran["emoji"].targets) == 1760 and "same 1,760 emoji" in prose(CHAPTER)
    assert [len(c) for c in ran["cosines"].values()] == [512, 151]


def test_the_highest_diagonal_belongs_to_the_model_that_finds_least(ran):
    diagonal = [ran["matched"][ran["models"].index(f"τ = {tau:g}")] for tau in ran["fixed"]]
    assert np.argmax(diagonal) == np.argmin(ran["accuracy"])
    same = [ran["published"][name].measured.config["sweep"] for name in ("cosines", "temperature")]
    assert same[0] == same[1]  # the same models


def test_twins_make_two_of_three_rows_wrong_and_names_make_it_good(ran):
    assert ran["rows"] <= 1 / 3 + 1e-6 and ran["columns"] <= 1 / 3 + 1e-6
    assert min(ran["by_name"]) > 0.95
    blocks = ran["blocks"].unflatten(0, (8, 3)).unflatten(2, (8, 3))  # thing, artist, thing, which
    own = torch.einsum("tatk->tak", blocks)
    assert own.min() > 0.6  # all three artists' pictures are of the thing that the caption says


def test_forgotten_lengths_spare_the_rows_and_break_the_columns(ran):
    full, pictures, captions, neither = ran["recalls"].values()
    assert captions[0] == full[0] and captions[1] < full[1] - 0.1
    assert pictures[1] == full[1] and pictures[0] < full[0]
    assert neither == (pictures[0], captions[1])
    spread = [raw.norm(dim=1).std() / raw.norm(dim=1).mean()
              for raw in (ran["image_raw"], ran["text_raw"])]  # fmt: skip
    assert spread[0] > 2 * spread[1]
    assert full[0] - pictures[0] < full[1] - captions[1]  # "it costs less here"


def test_figures_are_described():
    recalls = {"both": (0.9, 0.8), "one": (0.9, 0.5)}
    assert "one: rows 90.0%, columns 50.0%" in describe(figures.both_recalls(recalls, chance=0.01))
    drawn = figures.published_means(["x", "y"], [0.9, 0.5], [0.0, 0.1])
    assert "y: matches 0.50, others 0.10" in describe(drawn)
    words = describe(figures.blocks(np.kron(np.eye(2), np.ones((3, 3))), ["a", "b"]))
    assert "6 pictures" in words and "mean cosine 1.00" in words
