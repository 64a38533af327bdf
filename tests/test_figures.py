"""Figures say in words what they show, draw the right numbers, leave the reader's style alone."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("matplotlib", reason="figures need matplotlib (extra 'apps')")

import matplotlib
import matplotlib.text

from clip_lab import LabError
from clip_lab.view import figures

COSINES = np.array([0.1, 0.31, 0.3, -0.05])
LABELS = ["cat", "猫", "dog", "a label so long that nobody would read it to its end, ever"]


def words_in(figure: "matplotlib.figure.Figure") -> list[str]:
    return [text.get_text() for text in figure.findobj(matplotlib.text.Text) if text.get_text()]


def test_classification_draws_all_three_stages() -> None:
    figure = figures.classification(LABELS, COSINES, 100.0)
    words = words_in(figure)
    assert {"cosine", "× 100 = logit", "softmax", "+0.310", "31.00", "73.1 %"} <= set(words)
    assert any(word.endswith("…") for word in words)  # the long label
    assert "Best: 猫, cosine 0.310, logit 31.00" in figures.describe(figure)


def test_classification_takes_the_softmax_over_all_labels() -> None:
    figure = figures.classification(["one", "two", "three"], np.zeros(3), 10.0, top=1)
    assert "33.3 %" in words_in(figure)


def test_classification_with_a_picture() -> None:
    picture = np.zeros((8, 8, 3), np.uint8)
    assert len(figures.classification(LABELS, COSINES, 10.0, picture=picture).axes) == 4


def test_softmax_survives_large_logits() -> None:
    shares = figures.softmax(np.array([1e4, 1e4 - 1]))
    assert shares.sum() == pytest.approx(1) and shares[0] == pytest.approx(1 / (1 + np.exp(-1)))


def test_training_curve_tells_where_it_ended() -> None:
    steps = np.arange(1, 101)
    tested = {"style never seen": (steps[::20], np.linspace(0, 0.4, 5))}
    figure = figures.training_curve(steps, 5.0 / steps, 14 + steps / 10, tested, chance_loss=5.5)
    assert "style never seen 40.0 %" in figures.describe(figure)
    assert "loss (nats)" in words_in(figure) and "training step" in words_in(figure)


def test_contact_sheet_has_a_caption_each() -> None:
    pictures = [np.zeros((8, 8, 3), np.uint8)] * 5
    figure = figures.contact_sheet(pictures, list("abcde"), columns=3, title="Letters")
    assert {"a", "e", "Letters"} <= set(words_in(figure))


@pytest.mark.parametrize(
    "draw",
    [
        lambda: figures.classification(["one"], np.zeros(2), 1.0),
        lambda: figures.classification([], np.zeros(0), 1.0),
        lambda: figures.contact_sheet([np.zeros((2, 2, 3))], []),
        lambda: figures.training_curve(np.arange(3), np.zeros(2), np.zeros(3), {}),
    ],
)
def test_lengths_must_agree(draw) -> None:
    with pytest.raises(LabError):
        draw()


def test_saved_picture_carries_its_description(tmp_path: Path) -> None:
    figure = figures.classification(LABELS, COSINES, 100.0)
    path = figures.save(figure, tmp_path / "new" / "figure.png", dpi=50)
    with Image.open(path) as image:
        assert image.info["Description"] == figures.describe(figure)


def test_readers_own_style_is_left_alone() -> None:
    before = dict(matplotlib.rcParams)
    figures.contact_sheet([np.zeros((2, 2, 3))], ["dot"])
    assert dict(matplotlib.rcParams) == before
