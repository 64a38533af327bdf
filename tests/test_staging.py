"""Scenes set up by hand."""

import pytest
import torch

from clip_lab import LabError
from clip_lab.data.shape_drawing import draw, masks
from clip_lab.data.staging import PLACES, QUESTIONS, Stage
from clip_lab.experiments.registry import NAMES


@pytest.mark.parametrize("count", range(1, 7))
def test_all_objects_are_whole_and_apart(count: int) -> None:
    scene = Stage("star", "blue", count).scene()
    outlines = masks(scene, 128)[0]
    assert outlines.flatten(1).any(dim=1).sum() == count
    assert outlines.sum(dim=0).max() == 1, "two objects overlap"
    edges = torch.stack([outlines[:, 0], outlines[:, -1], outlines[:, :, 0], outlines[:, :, -1]])
    assert not edges.any()


@pytest.mark.parametrize("where", PLACES)
def test_the_first_stands_where_it_is_said_to(where: str) -> None:
    scene = Stage("heart", "green", 1, "star", "purple", where).scene()
    (first, second) = scene.things()[0]
    right, down = first.x - second.x, first.y - second.y
    assert {"left of": right < 0, "right of": right > 0, "above": down < 0, "below": down > 0}[
        where
    ]
    assert (first.shape, second.colour) == ("heart", "purple")


@pytest.mark.parametrize(
    "wrong",
    [{"count": 0}, {"count": 7}, {"where": "near"}, {"shape": "cube"}, {"colour": "mauve"},
     {"word": "NINELETTERS"}, {"word": "É"}],
)  # fmt: skip
def test_what_there_is_not_is_a_sentence(wrong) -> None:
    with pytest.raises(LabError):
        Stage(**wrong).scene()


def test_every_question_can_be_drawn_and_names_an_experiment() -> None:
    for question in QUESTIONS.values():
        assert draw(question.stage.scene(), 32).shape == (1, 3, 32, 32)
        assert question.experiment in NAMES and question.true != question.false
