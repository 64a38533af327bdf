"""Models on disk: the same after a round trip, and a sentence for whatever is wrong."""

import json
import pickle

import pytest
import torch
from safetensors.torch import load_file, save_file

from clip_lab.data.shapes import shapes_test
from clip_lab.errors import LabError
from clip_lab.evaluation import zero_shot_accuracy
from clip_lab.pretrained import load, names, save, steps


@pytest.fixture
def folder(encoder, tmp_path):
    save(encoder, tmp_path / "model")
    return tmp_path / "model"


def test_a_round_trip_changes_nothing(encoder, folder):
    loaded = load(folder, "cpu")
    texts, images = ["a red circle", "图"], [torch.rand(3, 32, 32)]
    for name, tensor in encoder.model.state_dict().items():
        assert torch.equal(tensor, loaded.model.state_dict()[name]), name
    # Weights that are views of a file lie elsewhere in memory, and sums round by where they lie.
    assert torch.allclose(loaded.encode_texts(texts), encoder.encode_texts(texts), atol=1e-6)
    assert torch.allclose(loaded.encode_images(images), encoder.encode_images(images), atol=1e-6)
    assert (loaded.preprocess, loaded.model.config) == (encoder.preprocess, encoder.model.config)


def test_half_precision_is_half_the_size_and_read_back_as_float32(encoder, folder, tmp_path):
    save(encoder, tmp_path / "half", bits=16)
    whole, half = (p / "model.safetensors" for p in (folder, tmp_path / "half"))
    assert half.stat().st_size < 0.6 * whole.stat().st_size
    loaded = load(tmp_path / "half", "cpu")
    assert {p.dtype for p in loaded.model.parameters()} == {torch.float32}
    cosines = loaded.encode_texts(["red"]) @ encoder.encode_texts(["red"]).T
    assert cosines.item() > 0.9999


def test_eight_bits_are_a_quarter_of_the_size_and_no_weight_moves_far(encoder, folder, tmp_path):
    save(encoder, tmp_path / "narrow", bits=8)
    whole, narrow = (p / "model.safetensors" for p in (folder, tmp_path / "narrow"))
    assert narrow.stat().st_size < 0.35 * whole.stat().st_size
    loaded = load(tmp_path / "narrow", "cpu").model.state_dict()
    for name, tensor in encoder.model.state_dict().items():
        assert loaded[name].dtype == torch.float32
        if tensor.ndim < 2:
            assert torch.equal(loaded[name], tensor), name
        else:
            reach = tensor.flatten(1).abs().amax(dim=1) / 254 + 1e-9
            assert ((loaded[name] - tensor).flatten(1).abs() <= reach[:, None]).all(), name
    # Stored again, they are the same numbers.
    save(load(tmp_path / "narrow", "cpu"), tmp_path / "again", bits=8)
    again = load(tmp_path / "again", "cpu").model.state_dict()
    assert all(torch.allclose(again[name], loaded[name], atol=1e-7) for name in loaded)


def test_eight_bits_without_their_scales_are_refused(encoder, tmp_path):
    save(encoder, tmp_path, bits=8)
    path = tmp_path / "model.safetensors"
    tensors = {k: v for k, v in load_file(path).items() if not k.startswith("visual.proj.")}
    save_file(tensors, path)
    with pytest.raises(LabError, match=r"visual\.proj is stored in 8 bits without its rows"):
        load(tmp_path, "cpu")
    with pytest.raises(LabError, match="8-bit"):
        save(encoder, tmp_path / "other", bits=8, layout="open_clip")
    with pytest.raises(LabError, match="8, 16, 32 bits, not in 4"):
        save(encoder, tmp_path / "other", bits=4)


def test_unknown_names_say_what_there_is():
    with pytest.raises(LabError, match=r"no model “nonsense”\. Built in are"):
        load("nonsense")


def test_an_unknown_device_is_a_sentence(folder):
    for device in ("cuda:7", "abacus"):
        with pytest.raises(LabError, match=f"device “{device}”"):
            load(folder, device)


@pytest.mark.parametrize(
    "name", ["config.json", "tokenizer.json", "card.json", "model.safetensors"]
)
def test_a_missing_cut_or_foreign_file_is_named(folder, name):
    whole = (folder / name).read_bytes()
    for data in (whole[: len(whole) // 2], b"", pickle.dumps(Bomb()), b"[1, 2]", b"\xff\xfe\x00"):
        (folder / name).write_bytes(data)
        with pytest.raises(LabError, match=name):
            load(folder, "cpu")
    (folder / name).unlink()
    with pytest.raises(LabError, match=f"{name} is missing"):
        load(folder, "cpu")


class Bomb:
    """Unpickled, it would fail the test."""

    def __reduce__(self):
        return (pytest.fail, ("a pickle was executed",))


@pytest.mark.parametrize("fault", ["missing", "extra", "shape"])
def test_tensors_that_do_not_fit_are_named(folder, fault):
    tensors = load_file(folder / "model.safetensors")
    if fault == "missing":
        del tensors["visual.proj"]
    elif fault == "extra":
        tensors["visual.stranger"] = torch.zeros(2)
    else:
        tensors["visual.proj"] = torch.zeros(3, 3)
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(LabError, match=r"visual\.(proj|stranger)"):
        load(folder, "cpu")


def test_a_config_that_is_none_and_a_tokenizer_of_another_model_are_refused(folder):
    config = json.loads((folder / "config.json").read_text())
    del config["model"]["text"]
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(LabError, match="does not describe a model"):
        load(folder, "cpu")


def test_a_tokenizer_of_another_size_is_refused(folder):
    values = json.loads((folder / "tokenizer.json").read_text())
    values["merges"].pop()
    (folder / "tokenizer.json").write_text(json.dumps(values))
    with pytest.raises(LabError, match="different models"):
        load(folder, "cpu")


def test_the_built_in_models_are_there_and_fit_in_the_package():
    assert names() == ["emoji", "photos", "shapes"]
    for name in names():
        encoder = load(name, "cpu")
        assert {"trained_on", "command", "figures", "licence"} <= set(encoder.card)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_leaves_normalisations_and_scale_alone(dtype):
    exact, half = load("emoji", "cpu"), load("emoji", "cpu", dtype=dtype)
    kept = {p.dtype for m in half.model.modules() for p in m.parameters(recurse=False)
            if isinstance(m, torch.nn.LayerNorm | torch.nn.BatchNorm2d)}  # fmt: skip
    assert kept == {torch.float32} == {half.model.logit_scale.dtype}
    assert half.model.visual.conv1.weight.dtype == getattr(torch, dtype)
    images = [torch.rand(3, 64, 64) for _ in range(3)]
    assert half.encode_images(images).dtype == torch.float32
    assert (exact.encode_images(images) * half.encode_images(images)).sum(1).min() > 0.999
    texts = ["red apple", "狗"]
    assert (exact.encode_texts(texts) * half.encode_texts(texts)).sum(1).min() > 0.999


def test_compilation_happens_only_where_it_is_asked_for(monkeypatch):
    asked = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module: asked.append(type(module)))
    load("emoji", "cpu")
    assert asked == []
    load("emoji", "cpu", compile=True)
    assert [kind.__name__ for kind in asked] == ["ModifiedResNet"]


def test_another_resolution_keeps_the_class_token_and_the_middle_of_the_grid():
    from clip_lab.pretrained.build import resize_positions

    ramp = torch.arange(4.0)[:, None].expand(4, 4)  # row by row from 0 to 3
    positions = torch.cat([torch.full((1, 1), 9.0), ramp.reshape(16, 1)])
    larger = resize_positions(positions, 4, 8, 1)
    assert larger.shape == (65, 1) and larger[0].item() == 9
    rows = larger[1:].view(8, 8)
    assert torch.allclose(rows, rows[:, :1].expand(8, 8), atol=1e-5)
    assert torch.all(rows[1:, 0] > rows[:-1, 0])
    assert torch.equal(resize_positions(positions, 4, 4, 1), positions)


def test_a_built_in_model_is_there_as_it_was_on_its_way():
    known = steps("shapes")
    assert len(known) >= 10 and known[0] == 0 and known == sorted(known)
    test = shapes_test(4, 32)
    accuracies = [
        zero_shot_accuracy(load(name, "cpu"), test.pictures, test.captions, test.targets).top1
        for name in ("shapes@0", f"shapes@{known[len(known) // 2]}", "shapes")
    ]
    assert accuracies[0] < 0.1 < accuracies[1] < accuracies[2]
    with pytest.raises(LabError, match=r"no weights of step 7\. It has: 0, "):
        load("shapes@7")
    with pytest.raises(LabError, match="none but the last"):
        load("emoji@7")
    assert steps("nonsense") == []
