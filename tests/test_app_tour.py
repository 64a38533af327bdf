"""The guided tour, in a real browser: every step points at something, by mouse and by keyboard."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest

pytest.importorskip("gradio", reason="the app needs the extra 'apps'")
pytest.importorskip("axe_playwright_python", reason="needs axe-playwright-python (extra 'dev')")

from app_server import Visit, running, served, tiny_encoder
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser

from apps import classify
from apps.lab import APPS
from apps.models import Models

pytestmark = pytest.mark.browser
STEPS, OF_CLASSIFY = 11, 4
# Of the outlined thing and the box: left, top, right, bottom.
PLACES = """() => ['[data-tour]', '.tour'].map((of) => {
  const r = document.querySelector(of).getBoundingClientRect();
  return [r.left, r.top, r.right, r.bottom]; })"""
STILL = """() => { const t = document.querySelector('[data-tour]'); if (!t) return false;
  const y = t.getBoundingClientRect().top, same = window.lastTop === y;
  window.lastTop = y; return same; }"""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with served(tiny_encoder(), tiny_encoder("another", 1)) as url:
        yield url


@contextmanager
def visiting(browser: Browser, address: str, width: int = 1280, **options) -> Iterator[Visit]:
    visit = Visit(browser, address, width, 844, reduced_motion="reduce", **options)
    visit.page.wait_for_selector(".tour-open")
    yield visit
    visit.close()


def walk(visit: Visit, forward) -> list[str]:
    """The titles of all steps, each of which has come to outline something in sight."""
    titles = []
    count = visit.page.locator(".tour-count")
    while visit.page.locator(".tour").is_visible():
        visit.page.wait_for_function(STILL, polling=150)
        thing, box = visit.page.evaluate(PLACES)
        assert thing[2] - thing[0] > 30 and thing[3] - thing[1] > 20, titles
        assert 0 <= thing[1] < box[1], "its top stands above the box"
        assert thing[0] >= 0 and thing[2] <= visit.page.evaluate("innerWidth") + 1, titles
        titles.append(visit.page.locator(".tour h2").inner_text())
        total = int(count.inner_text().split(" of ")[1])
        assert count.inner_text() == f"{len(titles)} of {total}"
        assert visit.page.locator(".tour-next").inner_text() == (
            "Done" if len(titles) == total else "Next"
        )
        forward()
    assert len(titles) == total
    return titles


def test_it_is_offered_once_and_never_opens_by_itself(browser: Browser, address: str) -> None:
    with visiting(browser, address) as visit:
        page = visit.page
        assert page.get_by_text("New here?").is_visible()
        assert page.locator(".tour").count() == 0
        page.get_by_role("button", name="Don't offer the tour again").click()
        assert page.get_by_text("New here?").is_hidden()
        kept = page.context.storage_state()
    with visiting(browser, address, storage_state=kept) as visit:
        assert visit.page.get_by_text("New here?").is_hidden()
        assert visit.page.get_by_role("button", name="Tour", exact=True).is_visible()


@pytest.mark.parametrize("width", [1280, 390])
def test_every_step_outlines_what_it_speaks_of(browser: Browser, address: str, width: int) -> None:
    with visiting(browser, address, width, has_touch=width < 500) as visit:
        page = visit.page
        page.get_by_role("button", name="Take the two-minute tour").click()
        opened = []

        def forward() -> None:
            opened.append(page.evaluate("new URLSearchParams(location.search).get('tab')"))
            page.get_by_role("button", name="Next", exact=True).or_(
                page.get_by_role("button", name="Done")
            ).click()

        titles = walk(visit, forward)
        assert len(set(titles)) == STEPS
        assert list(dict.fromkeys(filter(None, opened[1:]))) == list(APPS)[1:]
        assert page.evaluate("document.querySelectorAll('[data-tour]').length") == 0
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_by_keyboard_alone(browser: Browser, address: str) -> None:
    with visiting(browser, address) as visit:
        page, focus = visit.page, "document.activeElement.className"
        page.locator(".tour-open").focus()
        page.keyboard.press("Enter")
        assert page.evaluate(focus) == "tour"  # so that it is read out
        for _ in range(2):  # “Back” can't be pressed at the first step
            page.keyboard.press("Tab")
        assert page.evaluate(focus) == "tour-next"
        page.keyboard.press("Enter")
        page.keyboard.press("Enter")
        page.wait_for_selector(".stages-tau[data-tour]")
        assert page.evaluate(focus) == "tour-next"  # the same key goes on
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Shift+Tab")
        page.keyboard.press("Enter")  # to the thing itself
        assert page.evaluate("document.activeElement.closest('[data-tour]') !== null")
        page.keyboard.press("Escape")
        assert page.evaluate(focus) == "tour-next"
        page.keyboard.press("Escape")
        assert page.locator(".tour").is_hidden()
        assert page.evaluate(focus) == "tour-open"


def test_back_goes_back_and_the_first_step_keeps_the_focus(browser: Browser, address: str) -> None:
    with visiting(browser, address) as visit:
        page = visit.page
        page.locator(".tour-open").click()
        page.locator(".tour-next").click()
        page.wait_for_selector("#sample-samples[data-tour]")
        page.locator(".tour-back").click()
        page.wait_for_selector(".lab-models[data-tour]")
        assert page.locator(".tour-back").is_disabled()
        assert page.evaluate("document.activeElement.className") == "tour-next"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_fault_for_who_cannot_see_it(browser: Browser, address: str, scheme: str) -> None:
    path = f"?__theme={scheme}"
    with visiting(browser, address, path=path, color_scheme=scheme) as visit:
        visit.page.locator(".tour-take").click()
        visit.page.locator(".tour-next").click()
        visit.page.wait_for_selector("#sample-samples[data-tour]")
        box = visit.page.get_by_role("dialog", name="A picture, and words of your own")
        assert box.get_attribute("aria-modal") is None  # the page stays in use
        found = Axe().run(visit.page).response["violations"]
        assert [(fault["id"], fault["nodes"][0]["html"][:160]) for fault in found] == []


def test_an_app_alone_offers_its_own_steps(browser: Browser) -> None:
    demo = classify.build_demo(Models(tiny_encoder()))
    with running(demo) as url, visiting(browser, url) as visit:
        visit.page.locator(".tour-open").click()
        titles = walk(visit, visit.page.locator(".tour-next").click)
        assert len(titles) == OF_CLASSIFY and "From cosine to percent" in titles
