"""Prompts, ensembles, and the way from cosine to probability."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from clip_lab.errors import LabError
from clip_lab.zero_shot import TEMPLATES, Prediction, ZeroShotClassifier, fill


def test_a_template_is_filled_by_replacement_alone():
    assert fill("a photo of a {}.", "{}") == "a photo of a {}."
    assert fill("{} and {}", "cat") == "cat and cat"
    assert fill("{} {0.__class__} {:>9}", "cat") == "cat {0.__class__} {:>9}"
    for bad in ("no place", "{0.__class__}", "{:>300000000}", ""):
        with pytest.raises(LabError, match=r"has no \{\}"):
            fill(bad, "cat")


def test_every_set_of_templates_has_a_place_for_the_label():
    assert all(fill(t, "cat").count("cat") == 1 for ts in TEMPLATES.values() for t in ts)


def test_an_ensemble_is_the_mean_of_unit_vectors_made_unit(encoder):
    templates = ("{}", "a red {}", "a {} star")
    classifier = ZeroShotClassifier(encoder, ["circle", "heart"], templates)
    for label, weight in zip(classifier.labels, classifier.weights, strict=True):
        vectors = encoder.encode_texts([t.replace("{}", label) for t in templates])
        assert torch.allclose(weight, F.normalize(vectors.mean(dim=0), dim=0), atol=1e-6)


def test_prediction_is_softmax_of_scaled_cosines(encoder):
    images = [torch.rand(3, 32, 32) for _ in range(3)]
    prediction = ZeroShotClassifier(encoder, ["circle", "star", "heart"])(images)
    vectors = encoder.encode_images(images)
    cosines = vectors @ encoder.encode_texts(["circle", "star", "heart"]).T
    expected = (encoder.scale * cosines).softmax(dim=1)
    assert np.allclose(prediction.cosines, cosines, atol=1e-6)
    assert np.allclose(prediction.probabilities, expected, atol=1e-5)
    assert np.allclose(prediction.at_scale(0.0).probabilities, 1 / 3)
    assert prediction.at_scale(1e4).probabilities.max(axis=1) == pytest.approx([1, 1, 1], abs=0.2)


def test_top_is_sorted_and_never_longer_than_the_labels():
    prediction = Prediction(("a", "b", "c"), np.array([[0.1, 0.3, 0.2]]), 10.0)
    (best,) = prediction.top(5)
    assert [label for label, _ in best] == ["b", "c", "a"]
    assert sum(p for _, p in best) == pytest.approx(1)


@pytest.mark.parametrize("labels", [[], [""], ["cat", "  "]])
def test_labels_must_be_there(encoder, labels):
    with pytest.raises(LabError, match="label"):
        ZeroShotClassifier(encoder, labels)


def test_five_thousand_labels(encoder):
    classifier = ZeroShotClassifier(encoder, [f"star {i}" for i in range(5000)])
    (best,) = classifier([torch.rand(3, 32, 32)]).top(3)
    assert len(best) == 3 and classifier.weights.shape == (5000, 32)


def test_no_template_and_a_huge_text_are_refused(encoder):
    with pytest.raises(LabError, match="at least one template"):
        ZeroShotClassifier(encoder, ["cat"], ())
    with pytest.raises(LabError, match="characters"):
        ZeroShotClassifier(encoder, ["x" * 100_000])


def test_batches_and_order_do_not_change_vectors(encoder):
    images = [torch.rand(3, 40, 32) for _ in range(5)]
    whole = encoder.encode_images(images)
    assert torch.allclose(whole, encoder.encode_images(images, batch_size=2), atol=1e-6)
    texts = ["red circle", "a blue star", "red", "heart"]
    whole = encoder.encode_texts(texts)
    assert torch.allclose(whole, encoder.encode_texts(texts, batch_size=1), atol=1e-6)
    assert torch.allclose(whole.norm(dim=1), torch.ones(4), atol=1e-6)
    assert encoder.encode_texts([]).shape == (0, 32)
