"""Each template's part in an ensemble's answer."""

import pytest
import torch
from torch.nn import functional as F

from clip_lab import LabError, ZeroShotClassifier
from clip_lab.dual_encoder import DualEncoder
from clip_lab.evaluation.template_effects import template_effects
from clip_lab.experiments.world import new_model

LABELS = ("red circle", "blue star", "large ring")
TEMPLATES = ("a {}", "a picture of a {}", "there is a {}")


@pytest.fixture(scope="module")
def encoder() -> DualEncoder:
    return new_model(seed=3)


def test_each_part_is_the_classifier_of_that_part(encoder: DualEncoder) -> None:
    vector = F.normalize(torch.randn(encoder.embed_dim, generator=torch.manual_seed(1)), dim=0)

    def share(templates, label):
        found = ZeroShotClassifier(encoder, LABELS, templates).predict(vector[None])
        return found.probabilities[0, label], int(found.cosines[0].argmax())

    winner, whole, effects = template_effects(encoder, vector, LABELS, TEMPLATES)
    assert (pytest.approx(whole, abs=1e-5), winner) == share(TEMPLATES, winner)
    for place, effect in enumerate(effects):
        others = TEMPLATES[:place] + TEMPLATES[place + 1 :]
        alone, first = share(TEMPLATES[place : place + 1], winner)
        without, left = share(others, winner)
        assert effect.template == TEMPLATES[place]
        assert effect.share_alone == pytest.approx(alone, abs=1e-5) and effect.winner_alone == first
        assert effect.share_without == pytest.approx(without, abs=1e-5)
        assert effect.winner_without == left
        text = encoder.encode_texts([TEMPLATES[place].replace("{}", LABELS[winner])])[0]
        assert effect.cosine == pytest.approx(float(text @ vector), abs=1e-5)


def test_of_one_template_nothing_is_left(encoder: DualEncoder) -> None:
    vector = encoder.encode_texts(["red circle"])[0]
    _, whole, (effect,) = template_effects(encoder, vector, LABELS, ("{}",))
    assert effect.share_without is effect.winner_without is None
    assert effect.share_alone == pytest.approx(whole)


@pytest.mark.parametrize(("labels", "templates"), [((), ("{}",)), (("a",), ()), (("a",), ("b",))])
def test_nothing_to_take_apart_is_a_sentence(encoder, labels, templates) -> None:
    with pytest.raises(LabError):
        template_effects(encoder, torch.zeros(encoder.embed_dim), labels, templates)
