"""Which folders a page reads: those named at the start, or any for this machine's own browser."""

import json
import os
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("gradio", reason="the app needs the extra 'apps'")

from app_server import running, tiny_encoder
from gradio_client import Client
from PIL import Image

from apps import search
from apps.folders import Folders, from_this_machine
from apps.models import Models
from clip_lab.errors import LabError

TINY = tiny_encoder()


def request(client: str = "127.0.0.1", **headers: str) -> Any:
    return SimpleNamespace(client=SimpleNamespace(host=client), headers=headers)


LOCAL = request(host="127.0.0.1:7860")


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in ("photos/below", "photos/empty", "photos/.private", "other"):
        (tmp_path / name).mkdir(parents=True)
        if not name.endswith("empty"):
            Image.new("RGB", (20, 20), "red").save(tmp_path / name / "one.png")
    Image.new("RGB", (20, 20), "blue").save(tmp_path / "photos" / "one.png")
    os.symlink(tmp_path / "other", tmp_path / "photos" / "link")
    return tmp_path / "photos"


@pytest.mark.parametrize(
    ("host", "share", "named", "any_folder"),
    [
        ("127.0.0.1", False, False, True),
        ("localhost", False, False, True),
        ("::1", False, False, True),
        ("0.0.0.0", False, False, False),
        ("192.168.0.7", False, False, False),
        ("127.0.0.1", True, False, False),
        ("127.0.0.1", False, True, False),  # whoever names folders wants no others
        ("0.0.0.0", True, True, False),
    ],
)
def test_how_a_page_is_started_says_what_it_may_read(host, share, named, any_folder, photos):
    folders = Folders.at_start([photos] if named else [], host, share)
    assert folders.any_folder is any_folder
    assert bool(folders) is (named or any_folder)


def test_a_folder_named_at_the_start_must_be_there(tmp_path):
    with pytest.raises(LabError, match="no folder"):
        Folders.at_start([tmp_path / "none"], "127.0.0.1", False)


def test_no_folder_is_read_unless_it_was_allowed(photos):
    with pytest.raises(LabError, match="reads no folders"):
        Folders().find(str(photos), LOCAL)


@pytest.mark.parametrize("text", ["photos", "photos/", " photos ", "photos/below", "photos/empty"])
def test_a_named_folder_is_found_by_its_name_by_anyone(photos, text):
    folders = Folders.at_start([photos], "0.0.0.0", False)
    assert folders.find(text, None).is_relative_to(photos)
    assert folders.find(str(photos / "below"), None) == photos / "below"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "Write the path"),
        ("photos/../other", "lies outside"),
        ("photos/below/../../other", "lies outside"),
        ("..", "lies outside"),
        ("/", "lies outside"),
        ("/etc", "lies outside"),
        ("~", "lies outside"),
        ("photos/link", "lies outside"),  # a link that leads out
        ("other", "lies outside"),
        ("photos/none", "no folder"),
        ("photos/.private", "hidden"),
        ("photos/one.png", "no folder"),
        ("photos\0", "no path"),
        ("photos/" + "x" * 5000, "no path"),
        ("~nobody-of-that-name/x", "no path|lies outside"),
    ],
)
def test_what_lies_outside_or_is_hidden_is_a_sentence(photos, text, sentence):
    folders = Folders.at_start([photos], "0.0.0.0", False)
    with pytest.raises(LabError, match=sentence) as caught:
        folders.find(text, LOCAL)
    assert str(photos.parent) not in str(caught.value)


def test_any_folder_is_for_this_machine_s_own_browser(photos):
    folders = Folders(any_folder=True)
    assert folders.find(f"{photos}/below/..", LOCAL) == photos
    assert folders.find(str(photos / "link"), LOCAL) == photos.parent / "other"
    for text, sentence in (("/", "whole disk"), (str(photos / ".private"), "hidden")):
        with pytest.raises(LabError, match=sentence):
            folders.find(text, LOCAL)
    with pytest.raises(LabError, match="on this machine alone"):
        folders.find(str(photos), request("192.168.0.9", host="127.0.0.1:7860"))


@pytest.mark.parametrize(
    ("headers", "own"),
    [
        ({"host": "127.0.0.1:7860"}, True),
        ({"host": "localhost"}, True),
        ({"host": "[::1]:7860", "origin": "http://[::1]:7860"}, True),
        ({"host": "127.0.0.1:7860", "origin": "http://localhost:7860"}, True),
        ({"host": "evil.example:7860"}, False),  # DNS rebinding
        ({"host": "127.0.0.1.evil.example"}, False),
        ({"host": "127.0.0.1:7860", "origin": "https://evil.example"}, False),
        ({"host": "127.0.0.1:7860", "origin": "null"}, False),
        ({"host": "127.0.0.1", "x-forwarded-for": "8.8.8.8"}, False),  # a proxy or a tunnel
        ({"host": "127.0.0.1", "Forwarded": "for=8.8.8.8"}, False),
        ({"host": "[::1"}, False),
        ({"host": "user@localhost:1@evil.example"}, False),
        ({}, False),
    ],
)
def test_who_counts_as_this_machine_s_own_browser(headers, own):
    assert from_this_machine(request(**headers)) is own
    assert not from_this_machine(request("10.0.0.3", **headers))
    assert not from_this_machine(None)


# -- through a page that is served ----------------------------------------------------------------


@contextmanager
def served(folders: Folders) -> Iterator[str]:
    with running(search.build_demo(Models(TINY), folders)) as address:
        yield address


def asked(path: str) -> list[Any]:
    return ["tiny", "", "red", "folder", path, 4, False, "", "", "", None, None, None, None]


def test_a_page_that_may_read_nothing_has_no_such_control_and_refuses(photos):
    with served(Folders.at_start([], "127.0.0.1", share=True)) as address:
        client = Client(address, verbose=False, analytics_enabled=False)
        names = client.view_api(return_format="dict")["named_endpoints"]  # pyright: ignore
        assert "/search" in names and "/index" not in names and "/remove_index" not in names
        for path in (str(photos), "", "../other"):
            told = client.predict(*asked(path), api_name="/search")[0]["error"]
            assert "reads no folders" in told
        part = json.dumps([{"row": "one.png", "of": f"folder:{photos}"}])
        query = ["tiny", "", part, "shapes", *asked("")[4:]]
        assert "reads no folders" in client.predict(*query, api_name="/search")[0]["error"]


def test_a_page_with_named_folders_reads_these_alone_and_removes_none(
    photos, tmp_path, monkeypatch
):
    monkeypatch.setenv("CLIP_LAB_CACHE", str(tmp_path / "cache"))
    with served(Folders.at_start([photos], "0.0.0.0", share=False)) as address:
        client = Client(address, verbose=False, analytics_enabled=False)
        for path in ("photos/../other", "photos/link", str(tmp_path / "other"), "photos/none",
                     "photos/empty", "photos/.private"):  # fmt: skip
            told = client.predict("tiny", "", path, api_name="/index")["error"]
            assert told.endswith(("kept.", "below.", "path.", "read.")), told
            assert str(tmp_path) not in told.replace(path, "")
        told = client.predict("tiny", "", "photos", api_name="/index")
        assert "“photos” is indexed: 2 pictures" in told["text"]
        hits = client.predict(*asked("photos"), api_name="/search")[0]["hits"]
        assert sorted(hit["row"] for hit in hits) == ["below/one.png", "one.png"]
        told = client.predict("tiny", "", "photos", api_name="/remove_index")
        assert "removed where it lies" in told["error"]


def test_a_site_that_points_its_own_name_here_gets_no_folder(photos, tmp_path, monkeypatch):
    """Not even where the guard lets any name through, as it does for a page behind a proxy."""
    monkeypatch.setattr("apps.guard.names_this_machine", lambda headers: True)
    monkeypatch.setenv("CLIP_LAB_CACHE", str(tmp_path / "cache"))
    with served(Folders(any_folder=True)) as address:
        client = Client(address, verbose=False, analytics_enabled=False)
        client.predict("tiny", "", str(photos), api_name="/index")
        for host, sentence in (("evil.example:7860", "this machine alone"), ("localhost", "hits")):
            call = f"{address}gradio_api/call/search"
            headers = {"Host": host, "Content-Type": "application/json"}
            body = json.dumps({"data": asked(str(photos))}).encode()
            with urllib.request.urlopen(urllib.request.Request(call, body, headers)) as answer:
                event = json.load(answer)["event_id"]
            with urllib.request.urlopen(
                urllib.request.Request(f"{call}/{event}", headers=headers)
            ) as answer:
                assert sentence in answer.read().decode()
