"""The loop learns, stops, goes on bit for bit, and leaves whole files whatever happens."""

import copy
import dataclasses
import json
import math
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from conftest import untrained
from safetensors.torch import load_file

from clip_lab.data.batch import Batch, Pairs
from clip_lab.data.shapes import ShapesPairs
from clip_lab.dual_encoder import DualEncoder
from clip_lab.errors import LabError
from clip_lab.model import CLIP, CLIPConfig, ResNetConfig, TextConfig, ViTConfig
from clip_lab.preprocess import Preprocess
from clip_lab.pretrained import load
from clip_lab.training import TrainConfig, train
from clip_lab.training.batches import load_batches
from clip_lab.training.blend import blend
from clip_lab.training.gradients import contrast
from clip_lab.training.log import read_log
from clip_lab.training.loop import step_optimizer
from clip_lab.training.precision import grad_scaler
from clip_lab.training.schedule import adamw, learning_rate
from clip_lab.training.towers import Towers, encode_by_length


class FourColours(Pairs):
    """Plain squares of one colour: a task that a tiny model learns in seconds."""

    names = ("red", "green", "blue", "white")
    rgb = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]])

    def batch(self, step: int):
        noise = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(step))
        pictures = 0.8 * self.rgb[:, :, None, None] + 0.2 * noise
        return Batch(pictures, list(self.names), ids=[f"{name} {step}" for name in self.names])


CONFIG = TrainConfig(steps=40, learning_rate=1e-3, warmup=5, precision="float32", workers=0)


def weights(encoder) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in encoder.model.parameters()])


def test_it_learns_and_leaves_a_model_that_loads(encoder, tmp_path):
    train(encoder, FourColours(), CONFIG, tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert losses[0] < math.log(4) * 1.5 and losses[-1] < 0.1
    loaded = load(tmp_path, "cpu")
    pictures, names, *_ = FourColours().batch(999)
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
    optimizer, scaler = adamw(model, 1e-3, 0.1), grad_scaler(torch.device("cpu"), "float32")
    for start in (10.0, -3.0):
        with torch.no_grad():
            model.logit_scale.fill_(start)
        pictures, names, *_ = FourColours().batch(0)
        features = Towers(model)(pictures, encoder.tokenizer(names))
        contrast(features, torch.arange(4)).backward()
        step_optimizer(model, optimizer, scaler, 1e-3, 1.0)
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
        one, other = next(alone), next(two)
        assert torch.equal(one.images, other.images) and torch.equal(one.tokens, other.tokens)


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
    def run(folder, measure):
        torch.manual_seed(0)
        text = TextConfig(len(tokenizer), 24, 64, 1, tokenizer.end)
        model = CLIP(CLIPConfig(32, ResNetConfig(32, (1, 1, 1, 1), 4), text))
        encoder = DualEncoder(model, tokenizer, Preprocess(32), "tiny")
        config = TrainConfig(steps=4, precision="float32", workers=0, measure_every=1)
        train(encoder, FourColours(), config, folder, measure=measure)
        return encoder.model.state_dict()

    def look(encoder):
        encoder.encode_images([torch.rand(3, 32, 32) * 0.1])
        return {"looked": 1.0}

    alone, watched = run(tmp_path / "a", None), run(tmp_path / "b", look)
    assert all(torch.equal(alone[name], watched[name]) for name in alone)


def test_twenty_kills_at_random_moments_change_no_bit(tmp_path):
    command = [sys.executable, str(Path(__file__).parent / "kill_worker.py")]
    subprocess.run([*command, str(tmp_path / "whole")], check=True, capture_output=True)
    parts, rng, step = tmp_path / "parts", random.Random(0), 0
    for life in range(20):
        resume = ["--resume"] if life else []
        process = subprocess.Popen([*command, str(parts), *resume], stderr=subprocess.PIPE)
        until = time.monotonic() + 60
        while _saved(parts) <= step and process.poll() is None and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(0.1 * rng.random())
        assert process.poll() is None, process.communicate()[1].decode()[-2000:]
        process.send_signal(signal.SIGKILL)
        process.communicate()
        step = _saved(parts)
    subprocess.run([*command, str(parts), "--resume"], check=True, capture_output=True)
    for name in ("model.safetensors", "state.safetensors"):
        whole, killed = (load_file(tmp_path / run / name) for run in ("whole", "parts"))
        whole.pop("seconds", None)
        assert all(torch.equal(whole[key], killed[key]) for key in whole), name
    curves = [
        [(line["step"], line["loss"]) for line in read_log(tmp_path / run / "log.jsonl")]
        for run in ("whole", "parts")
    ]
    assert curves[0] == curves[1] and len(curves[0]) == 90
    assert sorted(path.name for path in (parts / "kept").iterdir()) == [
        "step-00000000", "step-00000020", "step-00000040",
    ]  # fmt: skip


def _saved(folder: Path) -> int:
    path = folder / "state.safetensors"
    return _saved_step(path) if path.exists() else 0


def test_a_loss_that_is_no_number_stops_before_the_weights_and_names_the_batch(encoder, tmp_path):
    class Broken(FourColours):
        def batch(self, step: int):
            whole = super().batch(step)
            return whole._replace(images=whole.images * float("nan")) if step == 7 else whole

    config = TrainConfig(steps=20, precision="float32", workers=0, save_every=0.0)
    with pytest.raises(LabError, match=r"nan at step 7.*red 7, green 7.*--learning-rate"):
        train(encoder, Broken(), config, tmp_path)
    kept = load(tmp_path, "cpu")
    assert torch.isfinite(weights(kept)).all() and torch.equal(weights(kept), weights(encoder))
    encoder.model.load_state_dict(kept.model.state_dict())
    train(encoder, FourColours(), config, tmp_path, resume=True)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds children as Linux does")
def test_a_worker_that_dies_is_a_sentence(tmp_path):
    command = [sys.executable, "-m", "clip_lab", "train", "--data", "shapes", "--steps", "100000"]
    command += ["--batch-size", "8", "--out", str(tmp_path), "--save-every", "0", "--threads", "1"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 60
    while _saved(tmp_path) < 2 and time.monotonic() < until:
        time.sleep(0.1)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    assert children
    for child in children:
        os.kill(int(child), signal.SIGKILL)
    _, told = process.communicate(timeout=60)
    assert process.returncode == 2 and "Traceback" not in told
    assert "A process that prepares batches died" in told
    assert load(tmp_path, "cpu").scale > 0


def test_a_fault_of_the_data_in_a_worker_is_told_as_it_is(encoder, tmp_path):
    class Gone(FourColours):
        def batch(self, step: int):
            raise LabError("The shard is gone.")

    config = TrainConfig(steps=2, workers=1)
    with pytest.raises(LabError) as told:
        train(encoder, Gone(), config, tmp_path)
    assert str(told.value) == "The shard is gone."


def test_a_folder_that_can_not_be_written_is_a_sentence(encoder, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(LabError, match="can't be written"):
        train(encoder, FourColours(), CONFIG, tmp_path / "file" / "run")


def test_a_run_is_not_resumed_as_another(encoder, tmp_path):
    train(encoder, FourColours(), TrainConfig(steps=3, workers=0), tmp_path)
    other = TrainConfig(steps=3, workers=0, learning_rate=0.5, weight_decay=0.0, pieces=2)
    with pytest.raises(LabError, match=r"learning_rate was 0.001, is 0.5, weight_decay was 0.2"):
        train(encoder, FourColours(), other, tmp_path, resume=True)
    small, large = (ShapesPairs(batch_size=size, size=32) for size in (4, 6))
    train(encoder, small, TrainConfig(steps=1, workers=0), tmp_path / "shapes")
    with pytest.raises(LabError, match="data_batch_size was 4, is 6"):
        train(encoder, large, TrainConfig(steps=1, workers=0), tmp_path / "shapes", resume=True)


def test_float16_scales_its_gradients_and_resumes_to_the_same_bits(encoder, tmp_path):
    start = copy.deepcopy(encoder.model.state_dict())
    config = dataclasses.replace(CONFIG, precision="float16", steps=12, pieces=2, recompute=True)
    train(encoder, FourColours(), config, tmp_path / "whole")
    whole = weights(encoder)
    encoder.model.load_state_dict(start)
    train(encoder, Interrupted(5), config, tmp_path / "parts")
    saved = load_file(tmp_path / "parts" / "state.safetensors")
    assert saved["scaler/scale"].item() > 1
    encoder.model.load_state_dict(start)
    train(encoder, FourColours(), config, tmp_path / "parts", resume=True)
    assert torch.equal(weights(encoder), whole) and whole.isfinite().all()


def test_a_locked_tower_stays_and_the_other_learns(encoder, tmp_path):
    before = {k: v.clone() for k, v in encoder.model.state_dict().items()}
    config = TrainConfig(steps=5, workers=0, precision="float32", image_rate=0.0)
    train(encoder, FourColours(), config, tmp_path)
    for name, tensor in encoder.model.state_dict().items():
        assert torch.equal(tensor, before[name]) == name.startswith("visual."), name


def test_each_tower_learns_at_its_own_rate(encoder):
    groups = adamw(encoder.model, 1e-3, 0.2, image_rate=0.1, text_rate=2.0).param_groups
    rates = {id(p): group["rate"] for group in groups for p in group["params"]}
    for name, parameter in encoder.model.named_parameters():
        tower = name.split(".")[0]
        assert rates[id(parameter)] == {"visual": 0.1, "text": 2.0}.get(tower, 1.0), name
    assert len(rates) == len(list(encoder.model.parameters()))


def test_a_blend_lies_between_and_keeps_both_ends(encoder, tokenizer):
    tuned = copy.deepcopy(encoder)
    with torch.no_grad():
        for parameter in tuned.model.parameters():
            parameter += torch.randn_like(parameter)
    for share, other in ((0.0, encoder), (1.0, tuned)):
        assert torch.allclose(weights(blend(encoder, tuned, share)), weights(other), atol=1e-6)
    middle = weights(blend(encoder, tuned, 0.5))
    assert torch.allclose(middle, (weights(encoder) + weights(tuned)) / 2, atol=1e-6)
    with pytest.raises(LabError, match="0 to 1"):
        blend(encoder, tuned, 1.5)
    with pytest.raises(LabError, match="aren't built alike"):
        blend(encoder, load("shapes", "cpu"), 0.5)


def test_the_sigmoid_loss_learns_too(tokenizer, tmp_path):
    torch.manual_seed(0)
    text = TextConfig(len(tokenizer), 24, 64, 1, tokenizer.end)
    model = CLIP(CLIPConfig(32, ViTConfig(32, 8, 64, 2), text, logit_bias=True))
    encoder = DualEncoder(model, tokenizer, Preprocess(32), "tiny")
    config = dataclasses.replace(CONFIG, loss="sigmoid", steps=60, learning_rate=3e-3)
    train(encoder, FourColours(), config, tmp_path)
    pictures, names, *_ = FourColours().batch(999)
    similarity = encoder.encode_images(list(pictures)) @ encoder.encode_texts(names).T
    assert similarity.argmax(dim=1).tolist() == [0, 1, 2, 3]
    assert encoder.model.logit_bias.item() != -10.0
    with pytest.raises(LabError, match="needs a model with a bias"):
        train(untrained(tokenizer), FourColours(), config, tmp_path / "other")


def test_curves_for_tensorboard(encoder, tmp_path):
    pytest.importorskip("tensorboard", reason="the extra 'training' is not installed")
    train(encoder, FourColours(), dataclasses.replace(CONFIG, tensorboard=True), tmp_path)
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    written = {event.step: event.value for event in events.Scalars("loss")}
    logged = {line["step"]: line["loss"] for line in read_log(tmp_path / "log.jsonl")}
    assert written == pytest.approx(logged, rel=1e-6)


@pytest.mark.parametrize(
    "wrong",
    [{"loss": "triplet"}, {"precision": "int8"}, {"pieces": 0}, {"patch_dropout": 1.0},
     {"image_rate": 0.0, "text_rate": 0.0}],
)  # fmt: skip
def test_settings_that_make_no_sense_are_told(wrong):
    with pytest.raises(LabError):
        TrainConfig(steps=1, **wrong)


def test_a_log_cut_by_a_kill_is_read_to_its_last_whole_line(tmp_path):
    (tmp_path / "log.jsonl").write_text('{"step": 1, "loss": 2.0}\n{"step": 2, "lo')
    assert read_log(tmp_path / "log.jsonl") == [{"step": 1, "loss": 2.0}]
