"""The benchmark of training runs, and measures what it says: at sizes that take no time."""

import json
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]  # neither benchmarks nor scripts are installed

import training_table  # noqa: E402

from benchmarks.training import gpu, loss, memory, step  # noqa: E402
from benchmarks.training.__main__ import merge  # noqa: E402
from benchmarks.training.contenders import OURS, THEIRS, TINY, Ours, Theirs  # noqa: E402
from benchmarks.training.inputs import batch, captions, vectors  # noqa: E402
from clip_lab.losses import info_nce, tiled_info_nce  # noqa: E402


@pytest.fixture
def without_open_clip(monkeypatch):
    def missing():
        raise ImportError("not here")

    monkeypatch.setattr("benchmarks.training.loss.import_open_clip", missing)
    monkeypatch.setattr("benchmarks.training.contenders.import_open_clip", missing)


@pytest.fixture
def in_this_process(monkeypatch):
    """No new interpreter for each measurement of memory: one test of its own does that."""
    monkeypatch.setattr(gpu, "BETWEEN", 16)
    monkeypatch.setattr(gpu, "COUNTED", 8)

    def measure(function, *arguments):
        return function(torch.get_num_threads(), *arguments)

    for module in (loss, step):
        monkeypatch.setattr(module, "in_fresh_process", measure)


def test_captions_are_of_ordinary_length_and_none_comes_twice():
    found = captions(500)
    assert len(set(found)) == 500
    assert {len(caption.split()) for caption in found} == set(range(8, 21))


def test_float64_by_blocks_is_what_autograd_gives_in_float64():
    images, texts, scale = (tensor.detach() for tensor in vectors(50))
    of = [tensor.double().requires_grad_() for tensor in (images, texts, scale)]
    by_autograd = loss.gradients(info_nce, (of[0], of[1], of[2]))
    blocks = loss.exact(images, texts, scale, rows=16)
    for found, right in zip(blocks, by_autograd, strict=True):
        torch.testing.assert_close(found, right, rtol=1e-10, atol=1e-14)


def test_an_error_is_seen():
    of = vectors(64)
    truth = loss.exact(*of)
    right = loss.errors(loss.gradients(tiled_info_nce, of), truth)
    wrong = loss.errors(loss.gradients(lambda i, t, s: 1.001 * info_nce(i, t, s), of), truth)
    assert right["value_relative_error"] < 1e-5 and right["gradient_error"] < 1e-5
    assert right["gradient_error_by_largest_gradient"] < 1e-5
    assert wrong["value_relative_error"] == pytest.approx(1e-3, rel=0.1)
    assert wrong["gradient_error_by_largest_gradient"] == pytest.approx(1e-3, rel=0.1)


def test_memory_tells_the_matrix_from_the_tiles_also_in_a_new_process():
    naive = memory.in_fresh_process(loss.peak_of_loss, loss.NAIVE, 4096, "cpu")
    tiled = loss.peak_of_loss(torch.get_num_threads(), loss.TILED, 4096, "cpu")
    matrix = 4 * 4096**2  # bytes
    assert 2 * matrix < naive < 8 * matrix
    assert tiled < naive / 2


def peak_of_ones(_threads: int, numbers: int) -> int:
    return memory.peak_extra(lambda: torch.ones(numbers).sum())


def test_the_peak_counts_what_was_let_go_again():
    # In a process of its own: here, memory that other tests let go of may be taken again.
    assert 95e6 < memory.in_fresh_process(peak_of_ones, 25_000_000) < 130e6
    assert memory.in_fresh_process(peak_of_ones, 10) < 5e6


def test_a_matrix_without_room_is_left_out_and_the_tiles_are_not(monkeypatch, without_open_clip):
    monkeypatch.setattr(loss, "in_fresh_process", lambda *_: 1_000_000)
    monkeypatch.setattr(loss, "available", lambda device: 10_000_000)
    monkeypatch.setattr(loss, "PATIENCE", 0)
    found = loss.loss_part(2, (256, 1024))["pairs"]
    assert set(found["256"]["contenders"]) == {loss.NAIVE, loss.TILED}
    assert set(found["1024"]["contenders"]) == {loss.TILED}
    assert "were free" in found["1024"]["left_out"][loss.NAIVE]
    assert "minutes" in found["1024"]["left_out"]["float64"]
    assert found["1024"]["left_out"][loss.OPEN_CLIP] == "not installed"


def test_the_gpus_part_runs_anywhere_and_ways_agree(without_open_clip, in_this_process):
    ways = {16: ((1, False), (4, False))}
    found = gpu.gpu_part(2, ways, TINY.config, (64,), "cpu")
    at_once, in_pieces = found["step"]["16"].values()
    assert at_once["first_loss"] == pytest.approx(in_pieces["first_loss"], abs=0.01)
    lengths = [way["first_gradient_length"] for way in (at_once, in_pieces)]
    assert lengths[0] == pytest.approx(lengths[1], rel=0.05)
    assert found["gigaflops_a_pair"] > 0 and at_once["pairs_a_second"] > 0
    assert loss.TILED in found["loss"]["pairs"]["64"]["contenders"]


def test_what_cannot_run_is_told_and_the_rest_goes_on(monkeypatch, without_open_clip):
    def full(*_):
        raise torch.OutOfMemoryError("CUDA out of memory.\nDetails")

    monkeypatch.setattr(Ours, "step", full)
    found = gpu._batch(gpu.makers(((1, False),), "cpu"), TINY, 2, "cpu")
    assert found[OURS] == {"failed": "CUDA out of memory."}


def test_parts_are_merged_and_the_table_follows_them(tmp_path, without_open_clip, in_this_process):
    result = tmp_path / "training.json"
    assert "not measured yet" in training_table.table(result)
    around = {"threads": 1, "rounds": 2, "command": "it", "versions": {"torch": "2"}}
    around["machine"] = {"cpu": "a processor", "gpu": None, "cores": 2}
    merge(result, "loss", around, loss.loss_part(2, (64,)))
    merge(result, "step", around, step.step_part(2, (TINY,)))
    ways = {8: ((1, False), (2, False))}
    merge(result, "gpu", around, gpu.gpu_part(2, ways, TINY.config, (64,), "cpu"))
    assert set(json.loads(result.read_text())) == {"loss", "step", "gpu"}
    table = training_table.table(result)
    assert "| 64 |" in table and "tiny, batch 8, bfloat16" in table and "2 pieces" in table


@pytest.mark.peers
def test_open_clips_step_is_the_same_step(peers):
    learned, ours, theirs = batch(TINY), Ours(TINY, "float32"), Theirs(TINY, "float32")
    for _ in range(3):
        assert ours.step(learned).item() == pytest.approx(theirs.step(learned).item(), abs=1e-5)
        assert ours.length == pytest.approx(float(theirs.length), rel=1e-4)
    for name, weights in theirs.model.state_dict().items():
        torch.testing.assert_close(ours.model.state_dict()[name], weights, rtol=1e-3, atol=1e-5)


@pytest.mark.peers
def test_the_step_part_sets_open_clip_beside_ours(peers, in_this_process):
    found = step.step_part(2, (TINY,))
    assert len(found) == 2
    for record in found.values():
        assert set(record["contenders"]) == {OURS, THEIRS}
        assert record["contenders"][THEIRS]["times_as_long_as_ours"]["median"] > 0
        assert record["contenders"][OURS]["pairs_a_second"] > 0
    assert found["tiny, batch 8, float32"]["first_loss_difference"] < 1e-4


@pytest.mark.peers
def test_losses_that_differ_end_the_benchmark(peers, in_this_process, monkeypatch):
    monkeypatch.setattr(Theirs, "step", lambda self, batch: torch.tensor(9.0))
    with pytest.raises(AssertionError, match="first losses differ"):
        step.step_part(2, (TINY,))


@pytest.mark.peers
def test_open_clips_loss_has_small_errors_too(peers, in_this_process):
    found = loss.loss_part(2, (64,))["pairs"]["64"]["contenders"]
    assert set(found) == {loss.NAIVE, loss.OPEN_CLIP, loss.TILED}
    assert all(case["gradient_error"] < 1e-5 for case in found.values())
