"""Exact search: the same answers as sorting everything in float64, in memory and from disk."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from clip_lab.errors import LabError
from clip_lab.retrieval import VectorIndex, find_pictures, k_best


@pytest.fixture
def vectors():
    return F.normalize(torch.randn(300, 16, generator=torch.Generator().manual_seed(0)), dim=-1)


def rows(number):
    return [{"path": f"图 {i}.png"} for i in range(number)]


def numbers(hits):
    return [hit.number for hit in hits]


def test_finds_what_sorting_all_cosines_finds(vectors):
    index = VectorIndex.build(vectors, rows(300))
    queries = vectors[[5, 7]]
    exact = vectors.half().float() @ queries.T
    for column, hits in zip(exact.T, index.search(queries, k=10), strict=True):
        best = column.argsort(descending=True)[:10].tolist()
        assert [hit.row["path"] for hit in hits] == [f"图 {i}.png" for i in best]
        assert numbers(hits) == best
        assert hits[0].score == pytest.approx(1, abs=1e-3)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_collection_is_answered_as_brute_force_in_float64_does(data):
    """Few distinct vectors, so that ties and duplicates abound; k beyond the rows; one row."""
    size = data.draw(st.integers(1, 40), "rows")
    kinds = data.draw(st.integers(1, 6), "kinds")
    generator = torch.Generator().manual_seed(data.draw(st.integers(0, 999), "seed"))
    distinct = F.normalize(torch.randn(kinds, 8, generator=generator), dim=-1)
    vectors = distinct[torch.randint(kinds, (size,), generator=generator)]
    query = F.normalize(torch.randn(1, 8, generator=generator), dim=-1)
    among = np.array(data.draw(st.lists(st.booleans(), min_size=size, max_size=size), "among"))
    k = data.draw(st.integers(1, 50), "k")
    (hits,) = VectorIndex.build(vectors, rows(size)).search(query, k, among)
    scores = vectors.half().numpy().astype(np.float64) @ query[0].numpy().astype(np.float64)
    allowed = np.flatnonzero(among)
    assert len(hits) == min(k, len(allowed)) == len(set(numbers(hits)))
    assert set(numbers(hits)) <= set(allowed.tolist())
    best = np.sort(scores[allowed])[::-1][:k]  # which of equal rows comes is not asked here
    np.testing.assert_allclose([hit.score for hit in hits], best, atol=1e-6)
    np.testing.assert_allclose(scores[numbers(hits)], best, atol=1e-6)


@given(st.lists(st.sampled_from([0.0, 0.25, 0.5, 1.0]), min_size=1), st.integers(1, 60))
def test_of_equal_scores_the_earlier_row_comes_first(scores, k):
    values = np.array(scores, dtype=np.float32)
    expected = sorted(range(len(scores)), key=lambda i: (-scores[i], i))[:k]
    assert k_best(values, k).tolist() == expected


def test_blocks_join_up(vectors, monkeypatch):
    index = VectorIndex.build(vectors, rows(300))
    among = np.arange(300) % 3 > 0
    whole = [index.search(vectors[:3], 300, mask) for mask in (None, among)]
    monkeypatch.setattr("clip_lab.retrieval.BLOCK", 37)
    for expected, mask in zip(whole, (None, among), strict=True):
        for one, other in zip(index.search(vectors[:3], 300, mask), expected, strict=True):
            assert numbers(one) == numbers(other)
            np.testing.assert_allclose([h.score for h in one], [h.score for h in other], atol=1e-6)


def test_only_marked_rows_are_found_and_as_many_as_there_are(vectors):
    index = VectorIndex.build(vectors, rows(300))
    far = (-vectors[0] @ vectors.T).argsort(descending=True)[:20].tolist()  # nowhere near the best
    among = np.zeros(300, dtype=bool)
    among[far] = True
    (hits,) = index.search(vectors[:1], 7, among)
    assert numbers(hits) == far[::-1][:7]
    assert index.search(vectors[:1], 7, np.zeros(300, dtype=bool)) == [[]]


def test_saved_and_opened_it_answers_the_same(vectors, tmp_path):
    index = VectorIndex.build(vectors, rows(300))
    index.save(tmp_path / "index")
    opened = VectorIndex.open(tmp_path / "index")
    assert isinstance(opened.vectors, np.memmap)
    assert opened.search(vectors[:4], 5) == index.search(vectors[:4], 5)


def test_fewer_rows_than_asked_for_and_none_at_all(vectors):
    assert len(VectorIndex.build(vectors[:3], rows(3)).search(vectors[:1], 10)[0]) == 3
    assert VectorIndex.build(vectors[:0], []).search(vectors[:2], 10) == [[], []]


def test_faults_are_sentences(vectors, tmp_path):
    index = VectorIndex.build(vectors, rows(300))
    with pytest.raises(LabError, match="holds no index"):
        VectorIndex.open(tmp_path)
    with pytest.raises(LabError, match="another model"):
        index.search(torch.randn(1, 8))
    with pytest.raises(LabError, match="no numbers"):
        index.search(torch.full((1, 16), torch.nan))
    with pytest.raises(LabError, match="ask for 1 or more"):
        index.search(vectors[:1], 0)
    with pytest.raises(LabError, match="rows"):
        VectorIndex.build(vectors, rows(2))
    index.save(tmp_path)
    (tmp_path / "vectors.npy").write_bytes(b"\x93NUMPY damaged")
    with pytest.raises(LabError, match="holds no index"):
        VectorIndex.open(tmp_path)


def test_find_pictures_skips_the_rest(tmp_path):
    for name in ("b.JPG", "a.png", "notes.txt", ".hidden.png", "sub/c.webp"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    found = [str(path.relative_to(tmp_path)) for path in find_pictures(tmp_path)]
    assert found == ["a.png", "b.JPG", "sub/c.webp"]
    with pytest.raises(LabError, match="no folder"):
        list(find_pictures(tmp_path / "none"))
