"""The benchmark of search runs, and measures what it says: at sizes that take no time."""

import sys
from pathlib import Path

import torch

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))  # `benchmarks` is no installed package

from benchmarks.search import folder, vectors  # noqa: E402


def test_all_who_search_exactly_find_what_float64_finds():
    record = vectors.vectors_part(2, [400])["400"]["contenders"]
    for name, found in record.items():
        assert found["seconds"]["median"] > 0
        if "exact" in name or "Py" in name:
            assert found.get("recall_at_10", 1) == 1, name
    assert 0.9 < record["clip_lab approximate"]["recall_at_10"] <= 1


def test_recall_counts_what_is_missed():
    assert vectors.recall([[1, 2, 3, 4], [5, 6, 7, 8]], [[4, 3, 2, 1], [5, 0, 9, 6]]) == 0.75


def test_things_of_one_topic_are_near_each_other():
    made = vectors.made(4000, 1)
    torch.testing.assert_close(made.norm(dim=1), torch.ones(4000))
    best = (made[:50] @ made.T).topk(2).values[:, 1]  # the nearest besides itself
    assert best.median() > 0.5 > (made[:50] @ made.T).median() + 0.4


def test_a_folder_is_indexed_changed_and_searched(encoder, monkeypatch):
    monkeypatch.setattr(folder, "load", lambda *_: encoder)
    monkeypatch.setattr(folder, "WIDTH", 64)
    monkeypatch.setattr(folder, "HEIGHT", 48)
    record = folder.folder_part(100)
    assert record["pictures"] == 100 and record["first_index"] > 0 and record["search"] > 0
