"""The loop learns, stops, goes on bit for bit, and leaves whole files whatever happens."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from clip_lab.data.shapes import ShapesPairs
from clip_lab.errors import LabError
from clip_lab.pretrained import load
from clip_lab.training import TrainConfig, train
from clip_lab.training.batches import load_batches
from clip_lab.training.loop import encode_by_length, step_optimizer, training_loss
from clip_lab.training.schedule import adamw, learning_rate


class FourColours:
    """Plain squares of one colour: a task that a tiny model learns in seconds."""

    names = ("red", "green", "blue", "white")
    rgb = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]])

    def batch(self, step: int):
        noise = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(step))
        return 0.8 * self.rgb[:, :, None, None] + 0.2 * noise, list(self.names)


CONFIG = TrainConfig(steps=40, learning_rate=1e-3, warmup=5, precision="float32", workers=0)


def weights(encoder) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in encoder.model.parameters()])


def test_it_learns_and_leaves_a_model_that_loads(encoder, tmp_path):
    train(encoder, FourColours(), CONFIG, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert losses[0] < math.log(4) * 1.5 and losses[-1] < 0.1
    loaded = load(tmp_path, "cpu")
    pictures, names = FourColours().batch(999)
    similarity = loaded.encode_images(list(pictures)) @ loaded.encode_texts(names).T
    assert similarity.argmax(dim=1).tolist() == [0, 1, 2, 3]


def test_a_resumed_run_ends_at_the_same_bits(encoder, tokenizer, tmp_path):
    torch.manual_seed(0)
    start = {k: v.clone() for k, v in encoder.model.state_dict().items()}
    train(encoder, FourColours(), CONFIG, tmp_path / "whole")
    whole = weights(encoder)
    encoder.model.load_state_dict(start)
    # Interrupted after 17 steps, as Ctrl-C does it: the schedule is that of the whole run.
    data = Interrupted(17)
    train(encoder, data, CONFIG, tmp_path / "parts")
    assert not torch.equal(weights(encoder), whole)
    encoder.model.load_state_dict(start)
    train(encoder, FourColours(), CONFIG, tmp_path / "parts", resume=True)
    assert torch.equal(weights(encoder), whole)
    steps = [json.loads(line)["step"] for line in (tmp_path / "parts/log.jsonl").open()]
    assert steps == sorted(steps) and steps[-1] == 40


class Interrupted(FourColours):
    """Ctrl-C is pressed while batch number `at` is made."""

    def __init__(self, at: int):
        self.at = at

    def batch(self, step: int):
        if step == self.at:
            signal.raise_signal(signal.SIGINT)
        return super().batch(step)


def test_the_scale_is_clamped_after_each_step(encoder):
    model = encoder.model.train()
    optimizer = adamw(model, 1e-3, 0.1)
    for start in (10.0, -3.0):
        with torch.no_grad():
            model.logit_scale.fill_(start)
        pictures, names = FourColours().batch(0)
        loss = training_loss(model, pictures, encoder.tokenizer(names))
        step_optimizer(model, optimizer, loss, 1e-3)
        assert 0 <= model.logit_scale.item() <= math.log(100) + 1e-6


def test_gains_biases_and_the_scale_do_not_decay(encoder):
    groups = adamw(encoder.model, 1e-3, 0.2).param_groups
    decays = {
        id(p): group["weight_decay"] for group in groups for p in group["params"]
    }  # fmt: skip
    for name, parameter in encoder.model.named_parameters():
        still = name.endswith("bias") or ".ln_" in name or name == "logit_scale"
        still = still or name == "visual.class_embedding"
        assert decays[id(parameter)] == (0.0 if still else 0.2), name


def test_the_learning_rate_warms_up_and_ends_at_nothing():
    rates = [learning_rate(1.0, 10, step, step / 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.1)
    assert max(rates) == pytest.approx(1, abs=0.03)
    assert rates.index(max(rates)) == 9
    assert learning_rate(1.0, 10, 100, 1.0) == pytest.approx(0)


def test_encoding_by_length_changes_nothing(encoder):
    texts = ["red", "a small red heart", "star", "the lower newest widest", "a blue star", "图"]
    tokens = encoder.tokenizer(texts)
    with torch.no_grad():
        together = encoder.model.encode_text(tokens)
        for pieces in (1, 2, 4, 9):
            apart = encode_by_length(encoder.model, tokens, pieces)
            assert torch.allclose(apart, together, atol=1e-5)


def test_workers_give_the_same_batches_in_the_same_order(encoder):
    data = ShapesPairs(batch_size=4, size=32)
    alone, two = (load_batches(data, encoder.tokenizer, 5, workers) for workers in (0, 2))
    for _ in range(7):
        (images, tokens), (others, more) = next(alone), next(two)
        assert torch.equal(images, others) and torch.equal(tokens, more)


def test_killed_at_any_moment_it_resumes(tmp_path):
    # A real process, killed by SIGKILL while it saves as often as it can.
    command = [sys.executable, "-m", "clip_lab", "train", "--data", "shapes", "--steps", "400"]
    command += ["--batch-size", "8", "--out", str(tmp_path), "--save-every", "0", "--threads", "1"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    state = tmp_path / "state.safetensors"
    until = time.monotonic() + 120
    while time.monotonic() < until and not state.exists():
        time.sleep(0.2)
    time.sleep(1.5)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert load(tmp_path, "cpu").scale > 0
    again = subprocess.run(command, capture_output=True, text=True)
    assert again.returncode == 2 and "--resume" in again.stderr
    (tmp_path / ".model.safetensors.killed.part").write_text("cut")  # as a kill in a write leaves
    step = _saved_step(state)
    process = subprocess.Popen(
        [*command, "--resume"], stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    while _saved_step(state) < step + 2 and process.poll() is None:
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGINT)  # Ctrl-C, as a terminal sends it: to the workers too
    _, log = process.communicate(timeout=60)
    assert process.returncode == 0, log
    assert "Stopped" in log
    assert not list(tmp_path.glob(".*")), "no temporary file is left by a clean end"


def _saved_step(path: Path) -> int:
    from safetensors import safe_open

    with safe_open(path, "pt") as file:
        return int(file.get_tensor("step"))


def test_a_length_must_be_given_and_a_run_be_there_to_resume(encoder, tmp_path):
    with pytest.raises(LabError, match="how long"):
        TrainConfig()
    with pytest.raises(LabError, match="no run to resume"):
        train(encoder, FourColours(), CONFIG, tmp_path, resume=True)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has /dev/full")
def test_a_full_disk_is_a_sentence_and_keeps_the_old_file(tmp_path):
    from clip_lab.files import write_whole

    target = tmp_path / "model.safetensors"
    target.write_text("old")

    def fill_the_disk(_path: Path) -> None:
        with open("/dev/full", "w") as file:
            file.write("new")

    with pytest.raises(LabError, match=r"No space left.*Nothing was changed"):
        write_whole(target, fill_the_disk)
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_measuring_on_the_way_leaves_no_trace(tmp_path, tokenizer):
    # With batch normalisation in training mode, the test's pictures would move its statistics.
    from clip_lab.dual_encoder import DualEncoder
    from clip_lab.model import CLIP, CLIPConfig, ResNetConfig, TextConfig
    from clip_lab.preprocess import Preprocess

    def run(folder, on_save):
        torch.manual_seed(0)
        text = TextConfig(len(tokenizer), 24, 64, 1, tokenizer.end)
        model = CLIP(CLIPConfig(32, ResNetConfig(32, (1, 1, 1, 1), 4), text))
        encoder = DualEncoder(model, tokenizer, Preprocess(32), "tiny")
        config = TrainConfig(steps=4, precision="float32", workers=0, save_every=0.0)
        train(encoder, FourColours(), config, folder, on_save=on_save)
        return encoder.model.state_dict()

    def look(encoder):
        encoder.encode_images([torch.rand(3, 32, 32) * 0.1])
        return {"looked": 1.0}

    alone, watched = run(tmp_path / "a", None), run(tmp_path / "b", look)
    assert all(torch.equal(alone[name], watched[name]) for name in alone)
