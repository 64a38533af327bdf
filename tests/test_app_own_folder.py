"""A folder of one's own pictures in the Search tab: indexed, stopped, updated, searched, removed.

Which folders a page reads at all: test_app_folders.py.
"""

import base64
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("gradio", reason="the app needs the extra 'apps'")
pytest.importorskip("playwright", reason="browser tests need Playwright (extra 'dev')")

from gradio_client import Client
from PIL import Image
from playwright.sync_api import Browser
from search_visit import (
    GPS,
    OPEN,
    SHAPES,
    TINY,
    Seen,
    a_cache_of_its_own,
    ask,
    check,
    nearest,
    opened,
    served_alone,
)

from apps.folders import Folders
from clip_lab.dual_encoder import DualEncoder
from clip_lab.search import FolderIndex, folder

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with a_cache_of_its_own(tmp_path_factory), served_alone(Folders(any_folder=True)) as url:
        yield url


@pytest.fixture
def phone(browser: Browser, address: str) -> Iterator[Seen]:
    visit = Seen(browser, address, 390, 844, SHAPES, has_touch=True)
    yield visit
    visit.close()


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Six pictures, one of them with date and place, one damaged; what is hidden; and a link."""
    root = tmp_path / "photos"
    (root / "2023").mkdir(parents=True)
    (root / ".private").mkdir()
    for number, name in enumerate(["a", "b", "c", "2023/d"]):
        shade = Image.effect_mandelbrot((90, 60), (-2 + number / 4, -1, 1, 1), 40 + 20 * number)
        shade.convert("RGB").save(root / f"{name}.png")
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0x9003] = "2021:05:04 10:00:00"
    exif.get_ifd(0x8825).update({1: "N", 2: GPS})
    Image.new("RGB", (600, 400), "orange").save(root / "2023/placed.jpg", exif=exif)
    (root / "broken.jpg").write_bytes((root / "2023/placed.jpg").read_bytes()[:700])
    Image.new("RGB", (50, 50), "blue").save(root / ".private/secret.png")
    Image.new("RGB", (50, 50), "blue").save(root / ".hidden.png")
    Image.new("RGB", (50, 50), "blue").save(tmp_path / "outside.png")
    (root / "link.png").symlink_to(tmp_path / "outside.png")
    return root


def index(client: Client, path: object, other: str = "") -> dict[str, Any]:
    return client.predict("tiny", other, str(path), api_name="/index")


def found(client: Client, path: object, query: Any = "a photo", **options: Any) -> list[str]:
    value = ask(client, query, "folder", str(path), **options)[0]
    return sorted(hit["row"] for hit in value["hits"])


def test_a_folder_is_indexed_searched_and_what_was_left_out_has_reasons(
    client: Client, photos: Path
) -> None:
    assert "isn't indexed for “tiny” yet" in ask(client, "a", "folder", str(photos))[0]["error"]
    done = index(client, photos)
    assert done["state"] == "done" and "5 pictures" in done["text"]
    assert len(done["left_out"]) == done["left_out_count"] == 2
    assert any("broken.jpg" in reason and "damaged" in reason for reason in done["left_out"])
    assert any("link.png" in reason and "link" in reason for reason in done["left_out"])
    assert found(client, photos) == ["2023/d.png", "2023/placed.jpg", "a.png", "b.png", "c.png"]
    inside = ["", "", "2023", None, None, None, None]
    assert found(client, photos, filters=inside) == ["2023/d.png", "2023/placed.jpg"]
    assert found(client, photos, filters=[*OPEN[:4], "2022-01-01", None, None]) == [
        "2023/placed.jpg"
    ]
    assert found(client, photos, filters=[*OPEN[:5], 300, 600]) == ["2023/placed.jpg"]


def test_a_result_s_thumbnail_says_nothing_of_the_place(client: Client, photos: Path) -> None:
    index(client, photos)
    value = ask(client, "a", "folder", str(photos))[0]
    assert len(value["hits"]) == 5
    for hit in value["hits"]:
        assert max(opened(hit["src"]).size) <= 160 and not opened(hit["src"]).info.get("exif")
        file = base64.b64decode(hit["src"].partition(",")[2])
        assert b"EXIF" not in file and b"XMP " not in file
    placed = next(hit for hit in value["hits"] if hit["row"] == "2023/placed.jpg")
    assert (placed["date"], placed["group"]) == ("2021-05-04", "2023")


def test_a_picture_of_the_folder_is_a_query_also_elsewhere(client: Client, photos: Path) -> None:
    index(client, photos)
    query = [{"row": "b.png", "of": f"folder:{photos}", "name": "b"}]
    hits = ask(client, query, "folder", str(photos))[0]["hits"]
    assert hits[0]["row"] == "b.png" and hits[0]["score"] == pytest.approx(1, abs=2e-3)
    check(ask(client, query)[0], nearest(TINY.encode_images([photos / "b.png"])[0]))


def test_an_update_takes_in_what_went_and_came_and_the_next_search_knows(
    client: Client, photos: Path
) -> None:
    index(client, photos)
    assert "b.png" in found(client, photos)
    (photos / "b.png").unlink()
    Image.new("RGB", (30, 30), "green").save(photos / "new.png")
    assert "4 of" not in index(client, photos)["text"]
    assert found(client, photos) == ["2023/d.png", "2023/placed.jpg", "a.png", "c.png", "new.png"]
    gone = [{"row": "b.png", "of": f"folder:{photos}"}]
    assert "not among these" in ask(client, gone, "folder", str(photos))[0]["error"]


def test_an_index_that_another_process_changed_is_opened_anew(client: Client, photos: Path) -> None:
    index(client, photos)
    assert len(found(client, photos)) == 5
    (photos / "a.png").unlink()
    for _ in FolderIndex(photos, TINY).update():
        pass
    assert "a.png" not in found(client, photos)


def test_both_models_index_and_remove(client: Client, photos: Path) -> None:
    assert index(client, photos, "another")["state"] == "done"
    for value in ask(client, "a", "folder", str(photos), other="another"):
        assert len(value["hits"]) == 5
    told = client.predict("tiny", "another", str(photos), api_name="/remove_index")
    assert "removed" in told["text"] and (photos / "a.png").exists()
    for value in ask(client, "a", "folder", str(photos), other="another"):
        assert "isn't indexed" in value["error"]


def test_two_visitors_index_the_same_folder_and_neither_is_harmed(
    client: Client, address: str, photos: Path
) -> None:
    second = Client(address, verbose=False, analytics_enabled=False)
    jobs = [one.submit("tiny", "", str(photos), api_name="/index") for one in (client, second)]
    assert [job.result(30)["state"] for job in jobs] == ["done", "done"]
    assert len(found(second, photos)) == 5


class Gate:
    """Each picture is a batch of its own and waits to be let through."""

    def __init__(self, patch: pytest.MonkeyPatch):
        self.let, self.through = threading.Semaphore(0), 0
        encode = DualEncoder.encode_pixels

        def wait(encoder: DualEncoder, pixels: torch.Tensor) -> torch.Tensor:
            assert self.let.acquire(timeout=30)
            self.through += len(pixels)
            return encode(encoder, pixels)

        patch.setattr(folder, "BATCH", 1)
        patch.setattr(DualEncoder, "encode_pixels", wait)


def type_folder(visit: Seen, path: Path) -> None:
    visit.page.get_by_label("Search in").click()
    visit.page.get_by_role("option", name="A folder of pictures").click()
    box = visit.page.locator("#search-path textarea, #search-path input")
    box.fill(str(path))


def test_stopped_it_loses_nothing_and_goes_on(
    browser: Browser, address: str, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    visit = Seen(browser, address, 1280, 900, SHAPES)
    type_folder(visit, photos)
    gate = Gate(monkeypatch)
    visit.page.get_by_role("button", name="Index or update").click()
    gate.let.release(2)
    text = visit.page.locator("#indexing .indexing-text")
    text.filter(has_text=re.compile(r"^[23] of 7 pictures, about \d+ s left")).wait_for()
    visit.page.get_by_role("button", name="Stop").click()
    text.filter(has_text="Stopped at").wait_for()
    gate.let.release(1)  # what was under way
    again = visit.page.get_by_role("button", name="Index or update")
    again.click()
    text.filter(has_text=re.compile("^[01] of [45] pictures")).wait_for()
    assert gate.through == 3 and visit.told("among all [23] pictures")
    gate.let.release(10)
    text.filter(has_text="is indexed: 5 pictures").wait_for()
    assert gate.through == 5
    visit.page.locator("#indexing summary").click()
    assert "broken.jpg" in visit.page.locator("#indexing li").all_inner_texts()[0]
    visit.told("among all 5 pictures")
    visit.page.get_by_role("button", name="Remove the index").click()
    visit.page.locator("#found .lab-error").filter(has_text="isn't indexed").wait_for()
    visit.close()


def test_on_a_phone_a_folder_is_indexed_and_searched(phone: Seen, photos: Path) -> None:
    type_folder(phone, photos)
    phone.page.get_by_role("button", name="Index or update").click()
    phone.told("among all 5 pictures")
    assert phone.page.evaluate("document.documentElement.scrollWidth") <= 390
    assert "placed.jpg" in phone.names()
