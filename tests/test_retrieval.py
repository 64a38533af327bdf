"""Exact search: the same answers as sorting everything, in memory and from disk."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from clip_lab.errors import LabError
from clip_lab.retrieval import VectorIndex, find_pictures


@pytest.fixture
def vectors():
    return F.normalize(torch.randn(300, 16, generator=torch.Generator().manual_seed(0)), dim=-1)


def rows(number):
    return [{"path": f"图 {i}.png"} for i in range(number)]


def test_finds_what_sorting_all_cosines_finds(vectors):
    index = VectorIndex.build(vectors, rows(300))
    queries = vectors[[5, 7]]
    exact = vectors.half().float() @ queries.T
    for column, hits in zip(exact.T, index.search(queries, k=10), strict=True):
        best = column.argsort(descending=True)[:10].tolist()
        assert [hit.row["path"] for hit in hits] == [f"图 {i}.png" for i in best]
        assert hits[0].score == pytest.approx(1, abs=1e-3)


def test_blocks_join_up(vectors, monkeypatch):
    index = VectorIndex.build(vectors, rows(300))
    whole = index.search(vectors[:3], k=300)
    monkeypatch.setattr("clip_lab.retrieval.BLOCK", 37)
    assert index.search(vectors[:3], k=300) == whole


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
    with pytest.raises(LabError, match="holds no index"):
        VectorIndex.open(tmp_path)
    with pytest.raises(LabError, match="another model"):
        VectorIndex.build(vectors, rows(300)).search(torch.randn(1, 8))
    with pytest.raises(LabError, match="rows"):
        VectorIndex.build(vectors, rows(2))
    VectorIndex.build(vectors, rows(300)).save(tmp_path)
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
