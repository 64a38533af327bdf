"""A training watched: the moments it is shown by."""

import numpy as np
import pytest
import torch

from clip_lab.experiments.learning import Plan, at_rest
from clip_lab.experiments.moments import (
    MAPPED,
    SHOWN,
    Moment,
    moment,
    replay,
    shown_pairs,
    train_live,
)
from clip_lab.pretrained import load, steps

TINY = Plan(steps=3, batch=16, warmup=1)


def test_a_moment_is_what_the_model_says_of_the_pairs() -> None:
    encoder, pairs = load("shapes", "cpu"), shown_pairs()
    found = moment(encoder, 7, pairs)
    images = encoder.encode_images(torch.from_numpy(pairs.pictures[:SHOWN]))
    texts = encoder.encode_texts(pairs.captions[:SHOWN])
    assert np.allclose(found.matrix, (images @ texts.T).numpy(), atol=1e-5)
    assert (found.matrix.argmax(axis=1) == np.arange(SHOWN)).mean() > 0.7
    assert (found.step, found.scale) == (7, encoder.scale) and found.accuracy > 0.9
    assert found.pictures.shape == found.texts.shape == (MAPPED, 2)
    between = found.pictures.mean(axis=0) - found.texts.mean(axis=0)
    assert between[0] > 0.1 and abs(between[1]) < 1e-5  # the gap lies along the first axis


def test_the_replay_ends_where_the_run_did(monkeypatch) -> None:
    monkeypatch.setattr("clip_lab.experiments.moments.steps", lambda name: steps(name)[:1])
    first, last = replay(shown_pairs())
    assert (first.step, last.step) == (0, load("shapes", "cpu").card["steps"])
    assert first.accuracy < 0.2 < 0.9 < last.accuracy


def test_a_live_training_changes_the_model_and_tells_how_it_stands() -> None:
    encoder, training = train_live(shown_pairs(), 3, TINY)
    before = {name: weight.clone() for name, weight in encoder.model.named_parameters()}
    told = list(training)
    assert [step for step, _, _ in told] == [0, 1, 2, 3]
    assert told[0][1] is None and all(loss > 0 for _, loss, _ in told[1:] if loss is not None)
    assert [isinstance(found, Moment) for *_, found in told] == [True, False, False, True]
    assert any((weight != before[name]).any() for name, weight in encoder.model.named_parameters())
    assert not any(part.training for part in encoder.model.modules())


def test_who_stops_asking_stops_the_training() -> None:
    encoder, training = train_live(shown_pairs(), 3, TINY)
    next(training), next(training)
    held = {name: weight.clone() for name, weight in encoder.model.named_parameters()}
    training.close()
    assert all((weight == held[name]).all() for name, weight in encoder.model.named_parameters())


def test_a_look_leaves_every_part_as_it_was() -> None:
    encoder, _ = train_live(shown_pairs(), 0, TINY)
    encoder.model.train()
    encoder.model.visual.bn1.eval()  # locked
    with pytest.raises(KeyError), at_rest(encoder.model):
        assert not any(part.training for part in encoder.model.modules())
        raise KeyError
    assert encoder.model.training and not encoder.model.visual.bn1.training
