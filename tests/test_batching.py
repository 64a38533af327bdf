"""Batches: everything once and in its place, alike with alike, memory bounded, errors in order."""

import threading
import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from clip_lab.batching import MANY, ahead, alike, chunks


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.lists(st.integers(1, 4), min_size=1, max_size=8), max_size=200), st.integers(1, 50)
)
def test_every_row_is_in_one_batch_of_at_most_the_size(rows, size):
    tokens = torch.zeros(len(rows), 20, dtype=torch.long)
    for line, row in zip(tokens, rows, strict=True):
        line[: len(row)] = torch.tensor(row)
    batches = list(alike(tokens, size)) if rows else []
    assert sorted(i for batch in batches for i in batch.tolist()) == list(range(len(rows)))
    assert all(len(batch) <= size for batch in batches)


def test_prompts_of_one_template_stand_together_and_others_by_length():
    templates = [[9, 1, 2, 3, 4], [9, 1, 2, 3, 5, 6]]
    rows = [t + [10 + i] * (1 + i % 3) for i in range(MANY) for t in templates]
    rows += [[9, 20 + i] + [7] * (i % 10) for i in range(40)]
    tokens = torch.zeros(len(rows), 20, dtype=torch.long)
    for line, row in zip(tokens, rows, strict=True):
        line[: len(row)] = torch.tensor(row)
    lengths = (tokens != 0).sum(1)
    templates_seen, others = set(), 0
    for batch in alike(tokens, 256):
        assert lengths[batch].diff().min() >= 0 if len(batch) > 1 else True
        starts = {tuple(row[:5].tolist()) for row in tokens[batch]}
        if starts & {(9, 1, 2, 3, 4), (9, 1, 2, 3, 5)}:
            assert len(starts) == 1  # no batch mixes templates
            templates_seen |= starts
        else:
            others += len(batch)
    assert len(templates_seen) == 2 and others == 40


def test_long_texts_are_not_mixed_with_short_ones():
    tokens = torch.zeros(120, 77, dtype=torch.long)
    for i, row in enumerate(tokens):
        row[: 5 + i % 60] = i + 1
    lengths = (tokens != 0).sum(1)
    batches = list(alike(tokens, 256))
    assert 3 < len(batches) < 20
    worked = sum(len(batch) * lengths[batch].max() for batch in batches)
    assert worked < 1.15 * lengths.sum()  # one batch would take almost twice as many


def test_results_come_in_order_though_some_take_longer():
    def slow(i):
        time.sleep(0.02 if i % 5 == 0 else 0)
        return i * i

    assert list(ahead(slow, range(30), limit=8)) == [i * i for i in range(30)]


def test_no_more_than_the_limit_wait_to_be_taken():
    started, lock = [], threading.Lock()

    def note(i):
        with lock:
            started.append(i)
        return i

    stream = ahead(note, iter(range(1000)), limit=8)
    assert next(stream) == 0
    time.sleep(0.05)
    assert len(started) <= 8
    stream.close()
    assert len(started) <= 8


def test_an_error_is_raised_in_its_item_s_place():
    def fail(i):
        if i == 3:
            raise ValueError("the fourth")
        return i

    taken = []
    with pytest.raises(ValueError, match="the fourth"):
        for value in ahead(fail, range(10), limit=4):
            taken.append(value)
    assert taken == [0, 1, 2]


def test_chunks_lose_nothing():
    assert list(chunks(iter(range(7)), 3)) == [[0, 1, 2], [3, 4, 5], [6]]
    assert list(chunks([], 3)) == []
