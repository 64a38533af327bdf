"""Heat maps and attention in a real browser and by their API."""

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("gradio", reason="the app needs the extra 'apps'")
pytest.importorskip("playwright", reason="browser tests need Playwright (extra 'dev')")

from app_server import Visit, served, tiny_encoder
from gradio_client import Client, handle_file
from PIL import Image
from playwright.sync_api import Browser

from clip_lab.experiments.world import new_model
from clip_lab.interpret.occlusion import ALL_METHODS

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    resnet = new_model("resnet")
    resnet.name = "resnet"
    with served(tiny_encoder(), resnet) as url:
        yield url


@pytest.fixture(params=[(1280, 900), (390, 844)], ids=["desk", "phone"])
def visit(request: pytest.FixtureRequest, browser: Browser, address: str) -> Iterator[Visit]:
    visit = Visit(browser, address, *request.param, path="?tab=Inside")
    visit.page.wait_for_selector(".inside-samples, #inside-samples .sample")
    yield visit
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= request.param[0]
    visit.close()


@pytest.fixture
def png(tmp_path: Path) -> Path:
    path = tmp_path / "plain.png"
    Image.linear_gradient("L").convert("RGB").save(path)
    return path


def test_a_vit_has_every_method_and_a_resnet_two(client: Client, png: Path) -> None:
    places, other, heads, pool = client.predict(
        "tiny", "resnet", handle_file(png), "a red circle", 1, api_name="/inside"
    )
    assert [one["title"] for one in places["maps"]] == list(ALL_METHODS)
    assert [one["title"] for one in other["maps"]] == ["occlusion", "raw similarity"]
    assert "Vision Transformer" in other["note"] and "estimate" not in heads["note"]
    assert len(heads["maps"]) == 1 and len(heads["maps"][0]["values"]) == 4  # a head of 4 x 4
    assert "attention pooling" in pool["note"]


def test_nothing_to_look_for_is_a_sentence(client: Client, png: Path) -> None:
    places, _, heads, _ = client.predict("tiny", "", handle_file(png), " ", 1, api_name="/inside")
    assert "Say what to look for" in places["error"] and heads["maps"]
    places, _, heads, _ = client.predict("tiny", "", None, "a", 1, api_name="/inside")
    assert "Choose a picture" in places["error"] and "Choose a picture" in heads["error"]


def test_maps_are_drawn_and_said(visit: Visit) -> None:
    page = visit.page
    page.get_by_role("button", name="Look", exact=True).click()
    page.wait_for_selector("#places canvas[role=img]")
    maps = page.locator("#places canvas[role=img]")
    assert maps.count() == len(ALL_METHODS)
    for label in (maps.nth(i).get_attribute("aria-label") or "" for i in range(maps.count())):
        assert "strongest at the" in label
    page.wait_for_selector("#heads canvas[role=img]")
    page.locator("#inside-samples .sample").nth(3).click()
    page.wait_for_function("location.search.includes('inside=3')")
