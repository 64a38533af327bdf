"""Checkpoint files of every kind: the same tensors come out, no code is run, faults are named."""

import io
import json
import os
import pickle
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

from clip_lab.errors import LabError
from clip_lab.pretrained.tensors import activation_of, read_tensors


@pytest.fixture
def tensors() -> dict[str, torch.Tensor]:
    """Of several dtypes and shapes; one without elements, one without dimensions."""
    torch.manual_seed(0)
    return {
        "visual.conv1.weight": torch.randn(8, 3, 2, 2).half(),
        "positional_embedding": torch.randn(5, 8),
        "text_projection": torch.randn(8, 4).bfloat16(),
        "logit_scale": torch.tensor(4.6),
        "attn.mask": torch.ones(2, 2, dtype=torch.bool),
        "ids": torch.arange(7),
        "nothing": torch.zeros(0, 3),
    }


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(
        a[name].dtype == b[name].dtype and torch.equal(a[name], b[name]) for name in a
    )


def legacy(content: object, path: Path) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=False)


# -- what can be read -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["model.safetensors", "model.bin", "no suffix"])
@pytest.mark.parametrize("write", [save_file, torch.save, legacy])
def test_the_format_is_told_from_the_content_not_from_the_name(tmp_path, tensors, write, name):
    write(tensors, tmp_path / name)
    assert same(read_tensors(tmp_path / name), tensors)
    assert activation_of(tmp_path / name) is None


@pytest.mark.parametrize("write", [torch.save, legacy])
@pytest.mark.parametrize("key", ["state_dict", "model"])
def test_a_training_checkpoint_s_table_is_taken_out(tmp_path, tensors, write, key):
    checkpoint = {"epoch": 3, key: OrderedDict(tensors), "optimizer": {"state": {}}, "name": "run"}
    write(checkpoint, tmp_path / "epoch_3.pt")
    assert same(read_tensors(tmp_path / "epoch_3.pt"), tensors)


def test_parameters_come_as_plain_tensors(tmp_path):
    torch.save({"weight": nn.Parameter(torch.ones(3))}, tmp_path / "a.bin")
    weight = read_tensors(tmp_path / "a.bin")["weight"]
    assert type(weight) is torch.Tensor
    assert not weight.requires_grad


@pytest.mark.parametrize("write", [save_file, torch.save])
def test_module_is_stripped_from_all_names_or_from_none(tmp_path, tensors, write):
    write({f"module.{name}": tensor for name, tensor in tensors.items()}, tmp_path / "a")
    assert same(read_tensors(tmp_path / "a"), tensors)
    mixed = {"module.weight": torch.ones(1), "bias": torch.ones(1)}
    write(mixed, tmp_path / "b")
    assert same(read_tensors(tmp_path / "b"), mixed)


def test_writing_to_a_tensor_leaves_the_file_alone(tmp_path, tensors):
    torch.save(tensors, tmp_path / "a.bin")
    before = (tmp_path / "a.bin").read_bytes()
    read_tensors(tmp_path / "a.bin")["positional_embedding"].zero_()
    assert (tmp_path / "a.bin").read_bytes() == before


@pytest.mark.parametrize("write", [save_file, torch.save])
def test_shards_are_put_together(tmp_path, tensors, write):
    write_shards(tmp_path, tensors, write)
    assert same(read_tensors(tmp_path / "model.index.json"), tensors)


def write_shards(folder: Path, tensors: dict[str, torch.Tensor], write) -> None:
    names = sorted(tensors)
    parts = {"part-1": names[:3], "part-2": names[3:]}
    for file, inside in parts.items():
        write({name: tensors[name] for name in inside}, folder / file)
    files = {name: file for file, inside in parts.items() for name in inside}
    index = {"metadata": {"total_size": 1}, "weight_map": files}
    (folder / "model.index.json").write_text(json.dumps(index))


# -- TorchScript archives -------------------------------------------------------------------------


class Pooled(nn.Module):
    """A model with a bit of everything that OpenAI's have: nested modules, bare parameters, sizes
    as buffers, a tensor that is neither parameter nor buffer, half-precision weights in part."""

    def __init__(self, activation: nn.Module):
        super().__init__()
        self.visual = nn.Sequential(nn.Conv2d(3, 8, 2), nn.BatchNorm2d(8), activation)
        self.ln_final = nn.LayerNorm(8)
        self.text_projection = nn.Parameter(torch.randn(8, 4))
        self.logit_scale = nn.Parameter(torch.tensor(2.6))
        self.attn_mask = torch.full((3, 3), -torch.inf).triu(1)
        for name, value in [("input_resolution", 4), ("context_length", 8), ("vocab_size", 60)]:
            self.register_buffer(name, torch.tensor(value))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.visual(x).mean(dim=(2, 3)) + self.attn_mask[2, 2]
        return self.ln_final(x) @ self.text_projection * self.logit_scale.exp()


class QuickGELU(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * torch.sigmoid(1.702 * x)


def archive(path: Path, activation: nn.Module, traced: bool) -> dict[str, torch.Tensor]:
    """Write a model as OpenAI did; its tensors but for the sizes."""
    torch.manual_seed(0)
    model = Pooled(activation).eval()
    pictures = torch.randn(1, 3, 4, 4)
    script = torch.jit.trace(model, pictures) if traced else torch.jit.script(model)
    getattr(script.visual, "0").half()
    script.text_projection.data = script.text_projection.data.half()
    torch.jit.save(script, path)
    sizes = {"input_resolution", "context_length", "vocab_size"}
    return {name: tensor for name, tensor in script.state_dict().items() if name not in sizes}


@pytest.mark.parametrize("traced", [True, False])
def test_an_archive_gives_parameters_and_buffers_as_they_are_stored(tmp_path, traced):
    expected = archive(tmp_path / "ViT-B-32.pt", QuickGELU(), traced)
    read = read_tensors(tmp_path / "ViT-B-32.pt")
    assert same(read, expected)
    assert read["visual.0.weight"].dtype == torch.float16
    assert read["visual.1.running_mean"].dtype == torch.float32
    assert read["visual.1.num_batches_tracked"].dtype == torch.int64


@pytest.mark.parametrize("traced", [True, False])
@pytest.mark.parametrize(
    ("activation", "expected"),
    [(QuickGELU(), "quick_gelu"), (nn.GELU(), "gelu"), (nn.Sigmoid(), None), (nn.ReLU(), None)],
)
def test_an_archive_s_code_tells_its_activation(tmp_path, activation, traced, expected):
    archive(tmp_path / "model.pt", activation, traced)
    assert activation_of(tmp_path / "model.pt") == expected


def test_an_archive_packed_anew_by_another_tool_reads_the_same(tmp_path):
    expected = archive(tmp_path / "model.pt", QuickGELU(), traced=True)
    rewritten(tmp_path / "model.pt", tmp_path / "again.pt", {})
    assert same(read_tensors(tmp_path / "again.pt"), expected)
    assert activation_of(tmp_path / "again.pt") == "quick_gelu"


def test_an_archive_is_never_compiled_and_its_tensors_are_not_copied(tmp_path, monkeypatch):
    archive(tmp_path / "model.pt", QuickGELU(), traced=False)
    monkeypatch.setattr(torch.jit, "load", None)
    monkeypatch.setattr(torch._C, "import_ir_module", None)
    read = read_tensors(tmp_path / "model.pt")
    assert len({tensor.untyped_storage().data_ptr() for tensor in read.values()}) == 1
    before = (tmp_path / "model.pt").read_bytes()
    read["logit_scale"].zero_()
    assert (tmp_path / "model.pt").read_bytes() == before


@pytest.mark.peers
@pytest.mark.parametrize("quick", [True, False])
def test_open_clip_s_models_come_back_from_an_archive(peers, tmp_path, quick):
    torch.manual_seed(0)
    vision = {"layers": 1, "width": 64, "patch_size": 8, "image_size": 16, "head_width": 32}
    text = {"context_length": 6, "vocab_size": 50, "width": 64, "heads": 2, "layers": 1}
    model = peers.open_clip.CLIP(32, vision, text, quick_gelu=quick).eval()
    torch.jit.script(model).save(str(tmp_path / "model.pt"))
    assert same(read_tensors(tmp_path / "model.pt"), dict(model.state_dict()))
    assert activation_of(tmp_path / "model.pt") == ("quick_gelu" if quick else "gelu")


# -- files that would run code --------------------------------------------------------------------


class Bomb:
    """Unpickled without care, it leaves a file behind."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def rewritten(source: Path, target: Path, replaced: dict[str, bytes]) -> None:
    """A copy of a zip file with the content of some members replaced, stored as torch stores."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for info in old.infolist():
            ending = info.filename.partition("/")[2]
            new.writestr(info.filename, replaced.get(ending, old.read(info)))


def test_the_bomb_works(tmp_path):
    pickle.loads(pickle.dumps(Bomb(tmp_path / "mark")))
    assert (tmp_path / "mark").exists()


@pytest.mark.parametrize("kind", ["zip", "legacy", "pickle", "torchscript", "constants"])
@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_code_in_a_file_is_refused_and_not_run(tmp_path, tensors, kind, protocol):
    path, mark = tmp_path / "model.pt", tmp_path / "mark"
    content = {**tensors, "bomb": Bomb(mark)}
    if kind == "zip":
        torch.save(content, path, pickle_protocol=protocol)
    elif kind == "legacy":
        torch.save(content, path, pickle_protocol=protocol, _use_new_zipfile_serialization=False)
    elif kind == "pickle":
        path.write_bytes(pickle.dumps({"bomb": Bomb(mark)}, protocol))
    else:
        archive(tmp_path / "good.pt", QuickGELU(), traced=True)
        part = "data.pkl" if kind == "torchscript" else "constants.pkl"
        rewritten(tmp_path / "good.pt", path, {part: pickle.dumps(Bomb(mark), protocol)})
    # torch's own reader, which the first three go through, stops at protocol 4 as such.
    named = kind in ("torchscript", "constants") or protocol == 2
    with pytest.raises(LabError, match="mkdir" if named else "holds more than tensors") as caught:
        activation_of(path) if kind == "constants" else read_tensors(path)
    assert "was refused" in str(caught.value)
    assert not mark.exists()


def test_a_whole_model_saved_by_torch_is_refused(tmp_path):
    torch.save(nn.Linear(2, 2), tmp_path / "model.pt")
    with pytest.raises(LabError, match="would have run code"):
        read_tensors(tmp_path / "model.pt")


@pytest.mark.parametrize(
    ("attack", "what"),
    [
        (b"c__builtin__\neval\n(V1\ntR.", "code"),
        (b"\x80\x04\x8c\x05torch\x8c\x04load\x93.", "code"),
        (b"ctorch._utils\n_rebuild_tensor_v2\n.", "no module"),
        (b"c__torch__\nM\n)R}U\x01aU\x01bsb.", "^{}$"),
        (b"c__torch__\nM\n)R", "damaged"),  # no end
        (b"ctorch\nFloatStorage\n(tR.", "damaged"),  # a dtype is not to be called
        (
            b"(U\x07storagectorch\nFloatStorage\nU\x0299U\x03cpuK\x01tQ.",
            "damaged",
        ),  # no such record
        (b"", "damaged"),
    ],
)
def test_forged_archives_fail_in_words(tmp_path, attack, what):
    archive(tmp_path / "good.pt", QuickGELU(), traced=False)
    rewritten(tmp_path / "good.pt", tmp_path / "bad.pt", {"data.pkl": attack})
    if what == "^{}$":
        assert read_tensors(tmp_path / "bad.pt") == {}
    else:
        with pytest.raises(LabError, match=what):
            read_tensors(tmp_path / "bad.pt")


@pytest.mark.parametrize("ending", [".py", "/constants.pkl"])
def test_an_archive_with_a_broken_part_is_refused_in_words(tmp_path, ending):
    archive(tmp_path / "good.pt", QuickGELU(), traced=True)
    with zipfile.ZipFile(tmp_path / "good.pt") as file:
        start = next(i for i in file.infolist() if i.filename.endswith(ending)).header_offset
    data = bytearray((tmp_path / "good.pt").read_bytes())
    data[start : start + 200] = bytes(200)
    (tmp_path / "bad.pt").write_bytes(data)
    with pytest.raises(LabError, match=r"bad\.pt” is damaged"):
        activation_of(tmp_path / "bad.pt")


def test_constants_that_are_none_tell_nothing(tmp_path):
    archive(tmp_path / "good.pt", QuickGELU(), traced=True)
    rewritten(tmp_path / "good.pt", tmp_path / "bad.pt", {"constants.pkl": b"I7\n."})
    assert activation_of(tmp_path / "bad.pt") is None


@pytest.mark.parametrize(
    ("offset", "size", "stride"),
    [(0, (2,), (1,)), (1, (1,), (1,)), (0, (2, 2), (0, 1)), (-1, (1,), (1,)), (0, (3,), (-1,))],
)
def test_a_tensor_cannot_reach_beyond_its_record(tmp_path, offset, size, stride):
    """The file around it is no tensor's business."""
    forged = io.BytesIO()

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj):
            return ("storage", torch.FloatStorage, "0", "cpu", 1) if obj is marker else None

        def reducer_override(self, obj):
            if isinstance(obj, Tensor_):
                return torch._utils._rebuild_tensor_v2, (marker, offset, size, stride, False, {})
            return NotImplemented

    class Tensor_: ...

    marker = object()
    Pickler(forged, 2).dump(Tensor_())
    archive(tmp_path / "good.pt", QuickGELU(), traced=False)
    one_float = {"data.pkl": forged.getvalue(), "data/0": b"\0\0\x80?"}
    rewritten(tmp_path / "good.pt", tmp_path / "bad.pt", one_float)
    with pytest.raises(LabError, match="damaged"):
        read_tensors(tmp_path / "bad.pt")


# -- damaged files --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["safetensors", "zip", "legacy", "torchscript"])
@settings(max_examples=15, deadline=None)
@given(share=st.floats(0.0, 0.999))
def test_a_file_cut_short_anywhere_is_refused(tmp_path_factory, kind, share):
    folder = tmp_path_factory.mktemp("cut")
    whole, cut = folder / "whole", folder / "cut"
    if kind == "torchscript":
        archive(whole, QuickGELU(), traced=False)
    else:
        write = {"safetensors": save_file, "zip": torch.save, "legacy": legacy}[kind]
        write({"a": torch.arange(500.0), "b": torch.ones(3)}, whole)
    data = whole.read_bytes()
    cut.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(LabError, match=str(cut)):
        read_tensors(cut)


def test_a_missing_shard_is_named(tmp_path, tensors):
    write_shards(tmp_path, tensors, save_file)
    (tmp_path / "part-2").unlink()
    with pytest.raises(LabError, match=r"1 of the 2 files .* missing: part-2\."):
        read_tensors(tmp_path / "model.index.json")


def test_shards_that_do_not_belong_to_their_index_are_refused(tmp_path, tensors):
    write_shards(tmp_path, tensors, save_file)
    save_file({"other": torch.ones(1)}, tmp_path / "part-2")
    with pytest.raises(LabError, match="names 4 tensors that are in none of its files"):
        read_tensors(tmp_path / "model.index.json")


@pytest.mark.parametrize(
    "index",
    [
        "{}", '{"weight_map": 3}', '{"weight_map": {}}', '{"weight_map": {"a": 1}}', "{",
        '{"weight_map": {"a": "../part-1"}}', '{"weight_map": {"a": "model.index.json"}}',
    ],
)  # fmt: skip
def test_a_bad_index_is_refused(tmp_path, tensors, index):
    write_shards(tmp_path, tensors, save_file)
    (tmp_path / "model.index.json").write_text(index)
    with pytest.raises(LabError, match=r"model\.index\.json"):
        read_tensors(tmp_path / "model.index.json")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html>404</html>", "no checkpoint"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "git lfs pull"),
        (b"cos\nsystem\n(Vtouch mark\ntR.", "no checkpoint"),
        (b"\x89PNG\r\n", "no checkpoint"),
        (b"\xff" * 8 + b"{}", "no checkpoint"),
        (b"\xff" + bytes(7) + b"{}", "damaged or cut short"),
    ],
)
def test_what_is_no_checkpoint_is_refused(tmp_path, content, what):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(LabError, match=what):
        read_tensors(tmp_path / "file")


def test_a_zip_of_something_else_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("notes.txt", "hello")
    with pytest.raises(LabError, match="is a zip file, but no checkpoint"):
        read_tensors(tmp_path / "a.zip")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ({"weight": torch.ones(1), "epoch": 3}, "“epoch” in it is a int"),
        ({"state_dict": {"weight": [1.0, 2.0]}}, "“weight” in it is a list"),
        ({3: torch.ones(1)}, "“3”"),
        ([torch.ones(1)], "holds a list, not a table"),
        (torch.ones(1), "holds a Tensor, not a table"),
        ({}, "not a table"),
    ],
)
def test_what_holds_more_or_less_than_tensors_is_refused(tmp_path, content, what):
    torch.save(content, tmp_path / "a.bin")
    with pytest.raises(LabError, match=what):
        read_tensors(tmp_path / "a.bin")


def test_a_file_that_is_not_there_a_folder_and_a_forbidden_file_are_told_apart(
    tmp_path, monkeypatch
):
    with pytest.raises(LabError, match="isn't there"):
        read_tensors(tmp_path / "nothing.bin")
    with pytest.raises(LabError, match="is a folder"):
        read_tensors(tmp_path)

    def refuse(*_args, **_options):
        raise PermissionError(13, "Permission denied")

    (tmp_path / "secret.bin").write_bytes(b"x")
    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(LabError, match="can't be read: Permission denied"):
        read_tensors(tmp_path / "secret.bin")


def test_the_activation_in_the_test_is_the_published_one():
    x = torch.linspace(-3, 3, 50)
    assert torch.allclose(QuickGELU()(x), F.gelu(x), atol=0.03)
    assert not torch.allclose(QuickGELU()(x), F.gelu(x), atol=0.01)
