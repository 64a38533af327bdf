"""`torchrun -m clip_lab.training`: two processes learn what one does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import untrained
from PIL import Image
from safetensors.torch import load_file

from clip_lab.pretrained import save
from clip_lab.training.log import read_log

ROOT = Path(__file__).parent.parent
ALONE = [sys.executable]
TWO = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


@pytest.fixture
def pairs(tmp_path) -> Path:
    """Pictures and a table of captions, one of them damaged."""
    rows = ["path,caption"]
    for number in range(20):
        colour = (12 * number, 255 - 12 * number, 128)
        Image.new("RGB", (40, 40), colour).save(tmp_path / f"{number}.png")
        rows.append(f"{number}.png,a red circle of kind {number % 7}")
    (tmp_path / "3.png").write_bytes(b"cut")
    (tmp_path / "captions.csv").write_text("\n".join(rows))
    return tmp_path / "captions.csv"


def run(start: list[str], pairs: Path, out: Path, *more: str) -> subprocess.CompletedProcess:
    command = [*start, "-m", "clip_lab.training", "--data", str(pairs), "--out", str(out)]
    command += ["--weights", str(pairs.parent / "model"), "--batch-size", "9", "--threads", "1"]
    command += ["--steps", "6", "--precision", "float32", "--log-every", "1", "--device", "cpu"]
    command += ["--measure-every", "100"]
    return subprocess.run(
        [*command, "--learning-rate", "1e-3", "--warmup", "2", *more],
        capture_output=True, text=True, timeout=240, cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip


def test_two_processes_train_the_same_model_as_one(pairs, tmp_path, tokenizer):
    save(untrained(tokenizer), tmp_path / "model")
    alone = run(ALONE, pairs, tmp_path / "alone", "--measure-on", str(pairs))
    assert alone.returncode == 0, alone.stderr
    two = run(TWO, pairs, tmp_path / "two", "--pieces", "2")
    assert two.returncode == 0, two.stderr
    logs = [read_log(tmp_path / name / "log.jsonl") for name in ("alone", "two")]
    measured = logs[0].pop()
    assert measured["pictures"] == 19 and 0 <= measured["text_retrieval_recall@1"] <= 1
    losses = [[line["loss"] for line in log] for log in logs]
    assert losses[0] == pytest.approx(losses[1], abs=1e-5) and len(losses[0]) == 6
    # The damaged picture is left out, told once, and counted over all processes.
    assert [line["skipped"] for line in logs[0]] == [line["skipped"] for line in logs[1]]
    assert logs[0][-1]["skipped"] > 0 and "3.png" in alone.stderr and "3.png" in two.stderr
    weights = [load_file(tmp_path / name / "model.safetensors") for name in ("alone", "two")]
    for name, tensor in weights[0].items():
        assert torch.allclose(tensor, weights[1][name], atol=2e-5), name
    settings = json.loads((tmp_path / "two" / "settings.json").read_text())
    assert settings["steps"] == 6
    # Alone or together, a finished run resumes to nothing.
    again = run(TWO, pairs, tmp_path / "two", "--pieces", "2", "--resume")
    assert again.returncode == 0, again.stderr


def test_a_fault_ends_all_processes_with_a_sentence(pairs, tmp_path, tokenizer):
    save(untrained(tokenizer), tmp_path / "model")
    for number in range(20):
        (tmp_path / f"{number}.png").write_bytes(b"cut")
    done = run(TWO, pairs, tmp_path / "out")
    assert done.returncode != 0
    assert "clip-lab: More than half of batch 0 is damaged" in done.stderr
    assert "clip_lab/training/loop.py" not in done.stderr  # torchrun's own trace, none of ours
