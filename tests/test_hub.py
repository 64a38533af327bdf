"""Models from the hub: which files are fetched, what works offline, what each fault is called."""

import errno
import json
import os
import socket
import subprocess
import sys

import pytest
from hub_server import Hub, Repository

from clip_lab.errors import LabError
from clip_lab.pretrained.hub import cached, fetch, in_cache, weights_file

WEIGHTS = bytes(range(256)) * 400
OPEN_CLIP = {
    ".gitattributes": b"x",
    "README.md": b"x",
    "open_clip_config.json": b"{}",
    "open_clip_model.safetensors": WEIGHTS,
    "open_clip_pytorch_model.bin": b"the same again",
    "config.json": b"{}",
    "model.safetensors": b"timm's image tower alone",
    "pytorch_model.bin": b"the same again",
    "tokenizer.json": b"{}",
    "vocab.json": b"{}",
    "merges.txt": b"#version: 0.2",
    "onnx/model.onnx": b"x",
}
SHARDED = {
    "config.json": b"{}",
    "preprocessor_config.json": b"{}",
    "spiece.model": b"x",
    "model.safetensors.index.json": json.dumps(
        {"weight_map": {"a": "model-1-of-2.safetensors", "b": "model-2-of-2.safetensors"}}
    ).encode(),
    "model-1-of-2.safetensors": b"one",
    "model-2-of-2.safetensors": b"two",
    "pytorch_model.bin": b"the same again",
}


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A hub that huggingface_hub takes for the real one, and an empty cache."""
    from huggingface_hub import constants, file_download

    with Hub() as hub:
        hub.repositories["lab/clip"] = Repository(OPEN_CLIP)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        template = hub.url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
        monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 10_000)
        monkeypatch.setattr(file_download.time, "sleep", lambda seconds: None)
        yield hub


def out_of_reach(monkeypatch):
    """Nobody listens there."""
    from huggingface_hub import constants

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        monkeypatch.setattr(constants, "ENDPOINT", f"http://127.0.0.1:{free.getsockname()[1]}")


# -- which files ----------------------------------------------------------------------------------


def test_one_set_of_weights_is_fetched_and_every_small_file_that_a_model_needs(hub):
    folder = fetch("lab/clip")
    assert {path.name for path in folder.iterdir()} == {
        "open_clip_config.json", "open_clip_model.safetensors", "config.json", "tokenizer.json",
        "vocab.json", "merges.txt",
    }  # fmt: skip
    assert (folder / "open_clip_model.safetensors").read_bytes() == WEIGHTS
    assert hub.fetched()[-1] == "open_clip_model.safetensors"  # weights last
    assert in_cache("lab/clip")


def test_a_second_fetch_downloads_nothing(hub):
    folder = fetch("lab/clip")
    hub.requests.clear()
    assert fetch("lab/clip") == folder
    assert hub.requests == []


def test_shards_come_with_their_index(hub):
    hub.repositories["lab/sharded"] = Repository(SHARDED)
    folder = fetch("lab/sharded")
    assert {path.name for path in folder.iterdir()} == SHARDED.keys() - {"pytorch_model.bin"}


def test_a_new_commit_is_fetched_and_unchanged_weights_are_not(hub):
    fetch("lab/clip")
    hub.requests.clear()
    hub.repositories["lab/clip"] = Repository({**OPEN_CLIP, "config.json": b"[]"}, commit="b" * 40)
    folder = fetch("lab/clip")
    assert (folder / "config.json").read_bytes() == b"[]"
    assert hub.fetched() == ["config.json"]


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["open_clip_config.json", "model.safetensors", "open_clip_pytorch_model.bin"], 2),
        (["model.safetensors", "open_clip_model.safetensors"], 0),
        (["config.json", "pytorch_model.bin", "model.safetensors.index.json"], 2),
        (["config.json", "pytorch_model.bin.index.json", "pytorch_model-1-of-2.bin"], 1),
        (["config.json", "pytorch_model.bin", "clip_cn_vit-b-16.pt"], 1),
        (["README.md", "ViT-B-32.pt"], 1),
        (["epoch_1.pt", "epoch_2.pt"], None),
        (["epoch_1.pt", "epoch_2.pt", "best.safetensors"], 2),
        (["onnx/model.safetensors"], None),
        ([], None),
    ],
)
def test_which_weights_are_chosen(names, expected):
    assert weights_file(names) == (None if expected is None else names[expected])


# -- the cache ------------------------------------------------------------------------------------


def test_without_a_network_the_cache_serves(hub, monkeypatch):
    folder = fetch("lab/clip")
    out_of_reach(monkeypatch)
    assert fetch("lab/clip") == folder


def test_when_the_hub_is_down_the_cache_serves(hub):
    folder = fetch("lab/clip")
    hub.status = 503
    assert fetch("lab/clip") == folder


def test_with_the_hub_forbidden_the_cache_serves_in_a_fresh_process(hub, tmp_path):
    fetch("lab/clip")
    code = (
        "from clip_lab.pretrained.hub import fetch\n"
        "print(fetch('lab/clip').name)\n"
        "try: fetch('lab/other')\n"
        "except Exception as error: print(type(error).__name__, error)"
    )
    cache = {"HF_ENDPOINT": hub.url, "HF_HUB_CACHE": str(tmp_path / "hub"), "HF_HUB_OFFLINE": "1"}
    command, environment = [sys.executable, "-c", code], {**os.environ, **cache}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    name, refusal = done.stdout.splitlines()
    assert name == "a" * 40
    assert refusal.startswith(
        "LabError “lab/other” is not in the cache, and HF_HUB_OFFLINE is set."
    )
    assert "“emoji”, “photos”, “shapes”" in refusal


def test_an_older_copy_serves_while_a_newer_one_is_incomplete(hub, monkeypatch):
    old = fetch("lab/clip")
    changed = {**OPEN_CLIP, "open_clip_model.safetensors": WEIGHTS + b"!"}
    hub.repositories["lab/clip"] = Repository(changed, commit="b" * 40)
    hub.cuts["open_clip_model.safetensors"] = [0] * 9
    assert fetch("lab/clip") == old
    assert cached("lab/clip") == old
    assert cached("lab/clip", "b" * 40) is None


def test_weights_without_all_their_shards_are_not_complete(hub):
    hub.repositories["lab/sharded"] = Repository(SHARDED)
    folder = fetch("lab/sharded")
    assert in_cache("lab/sharded")
    (folder / "model-2-of-2.safetensors").unlink()
    assert not in_cache("lab/sharded")
    (folder / "model.safetensors.index.json").unlink()
    (folder / "model.safetensors.index.json").write_text("{")
    assert not in_cache("lab/sharded")
    assert not in_cache("lab/never-heard-of")


def test_an_image_tower_that_timm_left_in_the_cache_is_no_model(hub, tmp_path):
    folder = tmp_path / "hub" / "models--lab--clip" / "snapshots" / ("a" * 40)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"architecture": "vit", "pretrained_cfg": {}}')
    (folder / "model.safetensors").write_bytes(b"x")
    assert not in_cache("lab/clip")
    assert (fetch("lab/clip") / "open_clip_model.safetensors").read_bytes() == WEIGHTS
    assert in_cache("lab/clip")


# -- broken transfers -----------------------------------------------------------------------------


def test_a_transfer_that_breaks_off_goes_on_where_it_was(hub):
    hub.cuts["open_clip_model.safetensors"] = [70_000]
    folder = fetch("lab/clip")
    assert (folder / "open_clip_model.safetensors").read_bytes() == WEIGHTS
    ranges = [r for method, name, r in hub.requests if name == "open_clip_model.safetensors"]
    assert "bytes=70000-" in ranges


def test_after_an_interruption_whole_files_are_kept_and_the_rest_comes_next_time(hub):
    hub.cuts["open_clip_model.safetensors"] = [70_000] + [0] * 8
    with pytest.raises(LabError, match=r"“lab/clip” was interrupted .*run this again for the rest"):
        fetch("lab/clip")
    assert not in_cache("lab/clip")
    hub.cuts.clear()
    hub.requests.clear()
    folder = fetch("lab/clip")
    assert set(hub.fetched()) == {"open_clip_model.safetensors"}
    assert (folder / "open_clip_model.safetensors").read_bytes() == WEIGHTS


# -- the words for each fault ---------------------------------------------------------------------


def test_an_id_that_does_not_exist_says_so_and_names_what_is_close(hub):
    with pytest.raises(LabError, match="There is no model “lab/nothing” on the hub"):
        fetch("lab/nothing")
    with pytest.raises(LabError, match="Did you mean “openai/ViT-B-32”"):
        fetch("openai/ViT-B-23")


def test_a_private_or_gated_model_says_to_log_in(hub):
    hub.repositories["lab/private"] = Repository(OPEN_CLIP, private=True)
    hub.repositories["lab/gated"] = Repository(OPEN_CLIP, gated=True)
    with pytest.raises(LabError, match="private one log in with “hf auth login”"):
        fetch("lab/private")
    with pytest.raises(LabError, match=r"gated: its owner asks .*“hf auth login”"):
        fetch("lab/gated")


def test_a_revision_that_does_not_exist_says_so(hub):
    with pytest.raises(LabError, match="“lab/clip” has no revision “v9”"):
        fetch("lab/clip", "v9")
    assert fetch("lab/clip", "a" * 40).name == "a" * 40


def test_no_network_says_what_to_do(hub, monkeypatch):
    out_of_reach(monkeypatch)
    with pytest.raises(LabError, match=r"can't be reached. Connect once, or copy .*“emoji”"):
        fetch("lab/clip")


def test_a_refusal_gives_the_hub_s_number(hub):
    hub.status = 429
    with pytest.raises(LabError, match="status 429"):
        fetch("lab/clip")


def test_a_name_that_can_t_be_one_says_how_they_look(hub):
    with pytest.raises(LabError, match="is no name on the hub: those are “owner/name”"):
        fetch("openai/ViT-B/32")


def test_a_repository_without_weights_says_so(hub):
    hub.repositories["lab/empty"] = Repository({"README.md": b"x"})
    with pytest.raises(LabError, match="holds no weights"):
        fetch("lab/empty")
    lacking = {name: data for name, data in SHARDED.items() if name != "model-2-of-2.safetensors"}
    hub.repositories["lab/lacking"] = Repository(lacking)
    with pytest.raises(LabError, match="incomplete on the hub"):
        fetch("lab/lacking")


@pytest.mark.parametrize(
    "fault",
    [
        OSError(errno.ENOSPC, "full"),
        RuntimeError("IO Error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_says_so_and_how_to_use_another(hub, monkeypatch, fault):
    import huggingface_hub

    def full(*_args, **_options):
        raise RuntimeError("download failed") from fault  # wrapped, as threads may

    monkeypatch.setattr(huggingface_hub, "snapshot_download", full)
    with pytest.raises(LabError, match=r"The disk is full: .*HF_HOME"):
        fetch("lab/clip")


def test_a_cache_that_can_t_be_written_says_which(hub, monkeypatch):
    import huggingface_hub

    def refuse(*_args, **_options):
        raise PermissionError(errno.EACCES, "Permission denied", "/models/cache")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    with pytest.raises(LabError, match=r"“/models/cache” can't be written\. Set HF_HOME"):
        fetch("lab/clip")
