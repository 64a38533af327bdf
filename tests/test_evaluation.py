"""Accuracy against counting by hand; the built-in models' tests on a model that knows nothing."""

import pytest
import torch
from conftest import untrained

from clip_lab.data.emoji_table import TRAINED_STYLES
from clip_lab.evaluation import emoji, rank_of_target, shapes, zero_shot_accuracy
from clip_lab.evaluation.accuracy import Accuracy
from clip_lab.tokenizer import Tokenizer


def test_ranks_count_what_scores_higher_and_ties_count_against():
    scores = torch.tensor([[0.1, 0.9, 0.5], [0.3, 0.3, 0.3], [0.2, 0.1, 0.0]])
    assert rank_of_target(scores, torch.tensor([2, 1, 0])).tolist() == [1, 2, 0]


def test_accuracy_of_ranks_and_its_interval():
    accuracy = Accuracy.of_ranks(torch.tensor([0, 0, 3, 7, 0, 4, 9, 9, 0, 1]), classes=20)
    assert (accuracy.top1, accuracy.top5) == (pytest.approx(0.4), pytest.approx(0.7))
    assert accuracy.chance == 0.05
    # Wilson's interval for 4 of 10, as tables give it.
    assert accuracy.interval() == (pytest.approx(0.168, abs=1e-3), pytest.approx(0.687, abs=1e-3))


def test_a_classifier_that_is_given_the_answers_is_right(encoder):
    pictures = torch.rand(3, 3, 32, 32)
    vectors = encoder.encode_images(pictures)
    encoder.encode_texts = lambda texts, **_: vectors[[int(text) for text in texts]]
    accuracy = zero_shot_accuracy(encoder, pictures, ["0", "1", "2"], torch.tensor([0, 1, 2]))
    assert accuracy.top1 == 1
    accuracy = zero_shot_accuracy(encoder, pictures, ["0", "1", "2"], torch.tensor([1, 2, 0]))
    assert accuracy.top1 == 0


@pytest.fixture
def roomy():
    """An untrained model that takes long texts."""
    return untrained(Tokenizer.train(["a", "b"], vocab_size=514, context_length=100))


def test_an_untrained_model_is_near_chance(roomy):
    assert emoji.concepts_never_seen(roomy, TRAINED_STYLES[0]).top1 < 0.05
    assert shapes.held_out_retrieval(roomy).top1 < 0.12


def test_familiarity_shares_out_all_pictures(roomy):
    parts = emoji.by_familiarity(roomy, "noto")
    assert sum(part.pictures for part in parts.values()) == 151
    assert all(part.pictures > 20 for part in parts.values())


def test_the_shipped_models_do_as_their_cards_say():
    # Measured anew on what is stored, for the figures that are quick to measure.
    from clip_lab.pretrained import load

    shapes_model, emoji_model = load("shapes", "cpu"), load("emoji", "cpu")
    card = shapes_model.card["figures"]["held_out_combinations"]
    assert shapes.held_out_retrieval(shapes_model).top1 == pytest.approx(card["top1"], abs=0.01)
    card = emoji_model.card["figures"]["en"]["concepts_never_seen_noto"]
    assert emoji.concepts_never_seen(emoji_model, "noto").top1 == pytest.approx(
        card["top1"], abs=0.01
    )
