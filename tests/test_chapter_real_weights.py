"""Chapter 17: its sentences against its measurements, its parts against the lab's, and the promise
that it runs without a network and says whose weights it ran."""

import math
import socket
from typing import Any

import pytest
import torch
from torch.nn import functional as F

pytest.importorskip("jupytext", reason="the course needs the extra 'notebooks'")
pytest.importorskip("anywidget", reason="the course needs the extra 'notebooks'")

from course_run import Run, cells, chapter, prose

from clip_lab.course.build import solved_code
from clip_lab.course.figures import run_cell
from clip_lab.model import CLIP, CONFIGS, TextConfig, ViTConfig
from clip_lab.preprocess import Preprocess
from clip_lab.pretrained import hub
from clip_lab.pretrained.layouts.inferred import infer_config
from clip_lab.view.chapters import real_weights as figures
from clip_lab.view.notebook_figures import describe

CHAPTER = chapter("17_real_weights")


class TestRun(Run):
    """Stopped at each gap, and quick."""


# The network, and honesty about the weights


def test_it_asks_the_network_for_nothing_unless_told_and_says_whose_weights_it_ran(
    monkeypatch, tmp_path, capsys
):
    def refuse(*_):
        raise AssertionError("the chapter reached for the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    names: dict[str, Any] = {"__name__": "__main__"}
    for code in cells(CHAPTER, "code")[:2]:
        run_cell(solved_code(code), names)
    assert names["MAY_DOWNLOAD"] is False
    assert names["real"] is False
    assert "These are random weights: a stand-in." in capsys.readouterr().out


def test_where_weights_can_be_had_they_are_taken_and_named(monkeypatch, tmp_path, capsys):
    """A folder as the hub's, in float32, stands in for the download."""
    asked: list[str] = []
    names: dict[str, Any] = {"__name__": "__main__"}
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))
    first, second, *others = [solved_code(code) for code in cells(CHAPTER, "code")]
    run_cell(first, names)
    run_cell(second, names)
    (tmp_path / "hub").mkdir()
    folder = names["write_stand_in"](tmp_path / "hub")
    monkeypatch.setattr(hub, "fetch", lambda repo: asked.append(repo) or folder)
    run_cell(first, names)
    run_cell(second.replace("MAY_DOWNLOAD = False", "MAY_DOWNLOAD = True"), names)
    assert asked == ["timm/vit_base_patch32_clip_224.openai"]
    assert "These are OpenAI's weights." in capsys.readouterr().out
    for code in others:
        run_cell(code, names)
        if "agreement = " in code:
            break
    assert max(gap for gap, _ in names["agreement"].values()) < 1e-5
    assert "OpenAI's weights; pixels the same bit for bit: True" in capsys.readouterr().out


def test_the_stand_in_hides_nothing(ran):
    if ran["real"]:
        pytest.skip("real weights are in the cache")
    assert all(t.dtype == torch.float16 for t in ran["stored"].values())
    biases = [t for name, t in ran["stored"].items() if name.endswith("bias")]
    assert all(t.abs().max() > 0.01 for t in biases)
    assert ran["scale"] == pytest.approx(100, rel=1e-3)


# What the chapter says of its measurements


def test_the_archives_size_by_openais_rule(ran):
    assert ran["megabytes"] == pytest.approx(353, abs=1)
    assert ran["count"] == sum(t.numel() for t in ran["original"].values())
    assert ran["count"] / 1e6 == pytest.approx(151.28, abs=0.01)
    table = ran["sizes"]["table of tokens"][0]
    assert 5.8 < ran["count"] / table < 6.2  # "one number in six"
    assert 0.25 < ran["sizes"]["table of tokens"][1] / 1e6 / ran["megabytes"] < 0.33


def test_two_implementations_agree_to_rounding(ran):
    assert ran["same"]
    for gap, cosine in ran["agreement"].values():
        assert gap < (1e-5 if ran["real"] else 1e-6)  # "about a millionth at most"
        assert cosine > 0.999999
    assert 0.01 < ran["ours"]["pictures"].abs().mean() < 0.1  # "some hundredths"


def test_a_mistake_is_orders_of_magnitude_above_rounding_and_bfloat16_hides_it(ran):
    seen = ran["differences"]
    assert max(seen["yours"]) < 1e-5 < 1e-3 < min(seen["GELU"][-1], seen["bfloat16 weights"][-1])
    assert seen["GELU"][-1] > 1.5 * seen["GELU"][0]  # "grow with depth"
    if ran["real"]:
        return  # the next is said of the stand-in
    assert 0.2 < seen["bfloat16 weights"][-1] / seen["GELU"][-1] < 5


def test_the_strangers_file_is_refused_unrun(ran):
    assert "was refused" in ran["refused"]
    assert "Nothing of it was run" in ran["refused"]


def test_what_each_mistake_costs(ran):
    share = {name: value for name, (value, _) in ran["found"].items()}
    sound = share["as it should be"]
    assert abs(share["the other bend"] - sound) < 0.015  # "costs nothing here"
    assert abs(share["ImageNet's means"] - sound) < 0.03  # "hardly matter"
    assert share["means of 0.5"] < sound - 0.04
    assert share["BGR"] < sound / 2
    assert share["divided twice"] < 0.01
    assert len(ran["names"]) == 1760
    assert len(ran["own"]) == 440
    assert share["BGR"] < min(share["the other bend"], share["ImageNet's means"])


def test_a_cosine_above_0_99_changes_a_tenth_of_the_answers(ran):
    assert 0.995 < ran["cosine"] < 0.9975
    assert math.degrees(math.acos(ran["cosine"])) == pytest.approx(5, abs=0.5)
    assert ran["changed"].mean() > 0.05


def test_sources_are_linked():
    for source in ("transformers/issues/11992", "clip-as-service/issues/904",
                   "pytorch-image-models/issues/2031", "LaViLa/issues/15", "musubi-tuner/pull/176",
                   "transformers/pull/25688", "open_clip/issues/441", "open_clip/issues/771",
                   "openai/CLIP/issues/20", "2303.15343", "2212.07143", "2103.00020"):  # fmt: skip
        assert source in prose(CHAPTER)
    assert round(Preprocess.mean[0] * 255) == 123  # "where CLIP's red mean is 123"


# What is built, against the lab's own


@pytest.mark.parametrize("name", [name for name in CONFIGS if name.startswith("ViT")])
def test_the_configuration_built_is_the_labs(ran, name):
    with torch.device("meta"):
        tensors = CLIP(CONFIGS[name]).state_dict()
    built, labs = ran["config_from_shapes"](tensors), infer_config(tensors, "quick_gelu")
    assert labs == CONFIGS[name]
    assert isinstance(labs.vision, ViTConfig)
    assert isinstance(labs.text, TextConfig)
    assert built == {
        "image_size": labs.vision.image_size, "patch": labs.vision.patch_size,
        "width": labs.vision.width, "layers": labs.vision.layers, "embed_dim": labs.embed_dim,
        "text_width": labs.text.width, "text_layers": labs.text.layers,
        "context": labs.text.context_length, "vocabulary": labs.text.vocab_size,
    }  # fmt: skip


@pytest.mark.parametrize("sides", [(640, 480), (333, 500), (225, 224), (100, 100), (51, 999)])
def test_the_pixels_built_are_the_labs_bit_for_bit(ran, sides):
    from PIL import Image

    width, height = sides
    values = torch.randint(0, 256, (height, width, 3), generator=torch.Generator().manual_seed(1))
    picture = Image.fromarray(values.byte().numpy())
    assert torch.equal(ran["clip_pixels"](picture, 224), Preprocess(224)(picture))


def test_folded_means_give_the_same_tokens(ran):
    kernel = ran["weights"]["visual.conv1.weight"]
    weight, bias = ran["fold_means"](kernel, ran["MEAN"], ran["STD"])
    raw = torch.rand(2, 3, 224, 224)
    plain = F.conv2d(Preprocess(224).normalize(raw), kernel, stride=32)
    assert torch.allclose(F.conv2d(raw, weight, bias, stride=32), plain, atol=1e-3)


def test_split_matrices_do_what_the_fused_one_does(ran):
    own = ran["beginning"](ran["weights"], "visual.transformer.resblocks.0.attn.")
    parts = ran["split_in_proj"](own["in_proj_weight"], own["in_proj_bias"])
    x = torch.randn(3, own["in_proj_weight"].shape[1])
    each = [F.linear(x, parts[f"{k}_proj.weight"], parts[f"{k}_proj.bias"]) for k in "qkv"]
    fused = F.linear(x, own["in_proj_weight"], own["in_proj_bias"])
    assert torch.allclose(torch.cat(each, dim=-1), fused, atol=1e-5)


def test_first_difference_names_the_guilty_stage(ran):
    theirs = {"pixels": torch.ones(3), "block 1": torch.ones(3), "vector": torch.ones(3)}
    ours = theirs | {"block 1": torch.tensor([1, 1, 0.5]), "vector": -torch.ones(3)}
    assert ran["first_difference"](ours, theirs, 1e-3) == "block 1"
    assert ran["first_difference"](theirs, theirs, 1e-3) == "none"


# Its figures


def test_its_figures_are_described():
    drawn = figures.parts({"blocks": (2_000_000, 4_000_000), "table": (1_000_000, 4_000_000)})
    assert "together 8 MB" in describe(drawn)
    drawn = figures.growth({"yours": [1e-7, 2e-7], "GELU": [1e-3, 4e-3]})
    assert "GELU: 1.0e-03 after block 1, 4.0e-03 after the last" in describe(drawn)
    found = {"as it should be": (0.5, 1.0), "BGR": (0.2, 0.8)}
    drawn = figures.costs(found, {name: (0.1, 0.6) for name in found}, chance=0.01)
    assert "BGR: 20.0% right, cosine 0.8000" in describe(drawn)
