"""The training tab in a real browser: the shipped run, and one of one's own."""

from collections.abc import Iterator

import pytest

pytest.importorskip("gradio", reason="the app needs the extra 'apps'")
pytest.importorskip("playwright", reason="browser tests need Playwright (extra 'dev')")

from app_server import Visit, served, tiny_encoder
from playwright.sync_api import Browser

from clip_lab.experiments import moments
from clip_lab.experiments.learning import Plan

pytestmark = pytest.mark.browser
QUICK = Plan(steps=60, batch=16, learning_rate=4e-3, warmup=10)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(moments.train_live, "__defaults__", (QUICK,))
        patch.setattr("clip_lab.experiments.moments.steps", lambda name: [0, 300])
        with served(tiny_encoder()) as url:
            yield url


@pytest.fixture(params=[(1280, 900), (390, 844)], ids=["desk", "phone"])
def visit(request: pytest.FixtureRequest, browser: Browser, address: str) -> Iterator[Visit]:
    visit = Visit(browser, address, *request.param, path="?tab=Training")
    yield visit
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= request.param[0]
    visit.close()


def test_the_shipped_run_is_replayed_in_the_browser(visit: Visit) -> None:
    page = visit.page
    page.get_by_role("button", name="Show the run that made").click()
    page.wait_for_selector("#replay .training-curves svg")
    assert page.locator("#replay svg").count() == 3
    assert "step 3,000 of 3,000" in page.locator("#replay output").inner_text()
    said = page.locator("#replay .training-matrix").get_attribute("aria-label") or ""
    page.locator("#replay input[type=range]").focus()
    page.keyboard.press("Home")
    assert "step 0 of" in page.locator("#replay output").inner_text()
    assert page.locator("#replay .training-matrix").get_attribute("aria-label") != said
    visit.requests.clear()
    page.locator("#replay").get_by_label("Play").click()
    page.wait_for_function(
        "document.querySelector('#replay output').textContent.includes('3,000 of')"
    )
    assert visit.requests == []


def test_a_model_of_one_s_own_can_be_chosen_when_it_is_done(visit: Visit) -> None:
    page = visit.page
    page.get_by_role("button", name="Train for a minute").click()
    page.wait_for_selector("#training-said >> text=Done after 60 steps", timeout=240_000)
    name = page.locator("#live .lab-model").inner_text()
    page.get_by_label("Model", exact=True).click()
    page.get_by_role("option", name=name, exact=True).click()
    page.wait_for_selector(f"text=About “{name}”")
    page.get_by_role("tab", name="Classify").click()
    page.wait_for_selector("text=as the model sees it: 32 px")


def test_stop_keeps_what_was_learnt(visit: Visit) -> None:
    page = visit.page
    page.get_by_role("button", name="Train for a minute").click()
    page.wait_for_selector("#live .training-curves svg")
    page.get_by_role("button", name="Stop", exact=True).click()
    page.wait_for_selector("#training-said >> text=/Done after \\d+ steps/", timeout=240_000)
