"""Top-1, top-5, mean per class and R@k: against counting by hand, sorting, and CLIP_benchmark."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from clip_lab.evaluation import retrieval
from clip_lab.evaluation.classification import Classification, class_ranks, classify
from clip_lab.evaluation.retrieval import ranks_of_best, retrieve


def unit(*shape: int, seed: int = 0) -> torch.Tensor:
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


# -- classification -------------------------------------------------------------------------------


def test_figures_by_hand():
    # Class 0 has four pictures, three of them right; class 2 has two, none right; class 1 none.
    ranks, targets = torch.tensor([0, 0, 0, 1, 4, 5]), torch.tensor([0, 0, 0, 0, 2, 2])
    result = Classification.of_ranks(ranks, targets, classes=7)
    assert (result.accuracy.top1, result.accuracy.top5) == (3 / 6, 5 / 6)
    assert result.recalls[:3] == (0.75, None, 0.0)
    assert result.mean_per_class == 0.375  # of the two classes that have pictures
    assert result.to_dict()["chance"] == 1 / 7


@given(st.integers(0, 10_000), st.integers(1, 30), st.integers(1, 9))
def test_class_ranks_are_the_places_in_a_stable_sort(seed, pictures, classes):
    draw = np.random.default_rng(seed)
    scores = draw.integers(0, 4, (pictures, classes)).astype(np.float32)  # with many ties
    targets = draw.integers(0, classes, pictures)
    order = np.argsort(-scores, axis=1, kind="stable")
    expected = [list(row).index(target) for row, target in zip(order, targets, strict=True)]
    ranks = class_ranks(torch.from_numpy(scores), torch.from_numpy(targets))
    assert ranks.tolist() == expected
    assert ((ranks == 0).numpy() == (scores.argmax(axis=1) == targets)).all()


def test_two_classes_of_one_name_don_t_bar_each_other():
    weights = torch.eye(3)[[0, 1, 1, 2]]  # as ImageNet's "missile" and "missile"
    result = classify([(torch.eye(3), torch.tensor([0, 1, 3]))], weights)
    assert result.accuracy.top1 == 1
    assert classify([(torch.eye(3)[[1]], torch.tensor([2]))], weights).accuracy.top1 == 0


def test_batches_don_t_matter():
    vectors, weights, targets = unit(50, 8), unit(10, 8, seed=1), torch.arange(50) % 10
    whole = classify([(vectors, targets)], weights)
    parts = classify(zip(vectors.split(7), targets.split(7), strict=True), weights)
    assert whole == parts and 0 < whole.accuracy.top1 < 1


# -- retrieval ------------------------------------------------------------------------------------


def by_sorting(queries, candidates, right) -> list[int]:
    """Places of the best right candidate, from the whole matrix."""
    places = []
    for scores, own in zip((queries @ candidates.T).tolist(), right, strict=True):
        wrong = [score for i, score in enumerate(scores) if i not in own]
        best = max(scores[i] for i in own)
        places.append(sum(score >= best for score in wrong))
    return places


@given(st.integers(0, 10_000), st.integers(1, 20), st.integers(1, 15), st.integers(1, 40))
def test_ranks_are_the_places_among_all_however_small_the_block(seed, queries, candidates, block):
    draw = np.random.default_rng(seed)
    few = torch.from_numpy(draw.integers(-1, 2, (queries + candidates, 2)).astype(np.float32))
    right = [
        draw.choice(candidates, draw.integers(1, candidates + 1), replace=False).tolist()
        for _ in range(queries)
    ]
    expected = by_sorting(few[:queries], few[queries:], right)
    whole = retrieval.BLOCK
    retrieval.BLOCK = block
    try:
        assert ranks_of_best(few[:queries], few[queries:], right).tolist() == expected
    finally:
        retrieval.BLOCK = whole


def test_recalls_by_hand():
    # Picture 0's captions lie on it and across; picture 1's one caption lies nearer to picture 2.
    images = torch.eye(3)
    texts = torch.tensor([[1.0, 0, 0], [0, 0, 1], [0, 0.6, 0.8], [0.1, 0, 0.9]])
    result = retrieve(images, texts, [["a", "b"], ["c"], ["d"]])
    assert result.text_to_image == (2 / 4, 1.0, 1.0)
    assert result.image_to_text == (2 / 3, 1.0, 1.0)  # picture 2 finds "b" before its "d"
    assert (result.pictures, result.captions) == (3, 4)


def test_a_model_that_gives_one_vector_to_everything_finds_nothing():
    same = F.normalize(torch.ones(20, 4), dim=1)
    result = retrieve(same, same, [[f"text {i}"] for i in range(20)])
    assert result.text_to_image == result.image_to_text == (0, 0, 0)


def test_an_interval_of_recalls_is_wilsons_where_queries_are_independent():
    # 14 of 20 found: the roots of (p − 0.7)² = z² p (1 − p) / 20, with z = 1.96.
    ranks = torch.tensor([0] * 14 + [9] * 6)
    bounds = np.roots([1 + 1.96**2 / 20, -2 * 0.7 - 1.96**2 / 20, 0.7**2])
    first = retrieval._intervals(ranks, torch.arange(20))[0]
    assert first == pytest.approx(sorted(bounds), abs=1e-6)


def test_captions_that_only_repeat_their_picture_add_no_certainty():
    ranks = torch.randint(0, 20, (60,), generator=torch.Generator().manual_seed(0))
    pictures = torch.arange(60)
    once = retrieval._intervals(ranks, pictures)
    five = retrieval._intervals(ranks.repeat_interleave(5), pictures.repeat_interleave(5))
    assert np.allclose(once, five, atol=1e-12)
    apart = retrieval._intervals(ranks.repeat_interleave(5), torch.arange(300))  # the wrong way
    assert (np.diff(apart) < 0.6 * np.diff(once)).all()


def test_intervals_of_captions_are_by_their_pictures_in_the_result_as_well():
    images, texts = unit(40, 6), unit(40, 6, seed=1)
    once = retrieve(images, texts, [[f"text {i}"] for i in range(40)])
    repeated = [[f"text {i}, {j}" for j in range(5)] for i in range(40)]
    five = retrieve(images, texts.repeat_interleave(5, dim=0), repeated)
    assert 0 < once.text_to_image[2] < 1
    assert np.allclose(five.text_to_image_intervals, once.text_to_image_intervals)
    found = retrieve(images, images.repeat_interleave(5, dim=0), repeated)  # all of them
    n, z = 40, 1.96
    assert found.text_to_image_intervals[0] == pytest.approx((n / (n + z * z), 1))
    assert found.image_to_text_intervals[0] == pytest.approx((n / (n + z * z), 1))


def test_the_interval_covers_nine_times_in_ten_however_captions_hang_together():
    draw = np.random.default_rng(0)
    covered, wrongly = 0, 0
    for _ in range(400):
        easy = draw.beta(2, 2, 100)  # pictures differ in how easily their captions find them
        ranks = torch.from_numpy(1 - (draw.random((100, 5)) < easy[:, None]).astype(int).ravel())
        low, high = retrieval._intervals(ranks, torch.arange(100).repeat_interleave(5))[0]
        covered += low <= 0.5 <= high
        low, high = retrieval._intervals(ranks, torch.arange(500))[0]
        wrongly += low <= 0.5 <= high
    assert covered >= 0.92 * 400 > 0.88 * 400 > wrongly


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 11), st.integers(0, 6)), min_size=1, max_size=40))
def test_an_interval_lies_in_0_to_1_about_its_recall(queries):
    ranks, owners = torch.tensor(queries).T
    recalls = retrieval._recalls(ranks)
    for recall, (low, high) in zip(recalls, retrieval._intervals(ranks, owners), strict=True):
        assert 0 <= low <= recall + 1e-12 and recall - 1e-12 <= high <= 1 and low < high


def test_intervals_are_in_the_dictionary_and_the_table():
    result = retrieve(unit(30, 4), unit(30, 4, seed=1), [[f"text {i}"] for i in range(30)])
    values = result.to_dict()
    low, high = values["image_retrieval_recall@5_interval_95"]
    assert low < values["image_retrieval_recall@5"] < high
    assert f"{100 * low:.2f} to {100 * high:.2f}" in result.rows()[2]


def test_the_same_words_in_another_picture_s_list_are_right_as_well():
    images, text = torch.eye(2), F.normalize(torch.ones(1, 2), dim=1)
    result = retrieve(images, text[[0, 0]], [["a dog"], ["a dog"]])
    assert result.image_to_text[0] == 1
    assert retrieve(images, text[[0, 0]], [["a dog"], ["a cat"]]).image_to_text[0] == 0


MEASURE = """
import resource, torch
from clip_lab.evaluation.retrieval import ranks_of_best
n = 16_000
vectors = torch.randn(n, 4)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
ranks = ranks_of_best(vectors, vectors, [[i] for i in range(n)])
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024, len(ranks))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="peak memory is read from Unix")
def test_memory_is_bounded_by_a_block():
    # The whole matrix of scores alone would take 1,024 MB.
    done = subprocess.run(
        [sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True
    )
    megabytes, number = done.stdout.split()
    assert float(megabytes) < 250 and int(number) == 16_000
