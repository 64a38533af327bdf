"""What a visitor waits for in a browser: the page, a classification, the temperature's slider."""

import asyncio
import random
import statistics
import time
from string import ascii_lowercase

from playwright.sync_api import Page

from benchmarks.dashboard.browser import browser_open, time_it, times, visit
from benchmarks.dashboard.figures import Record, milliseconds
from benchmarks.dashboard.server import App, app_open
from benchmarks.dashboard.visitors import Visitor, visitor

ROWS = "#stages tbody"  # what is drawn anew for every answer
SAMPLES = 12


def start_part(quick: bool) -> Record:
    """From the command to the first control that can be pressed; each time a fresh process.

    The browser is open already, as a visitor's is; it has never seen the page.
    """
    answers, usable = [], []
    with browser_open() as browser:
        for _ in range(1 if quick else 5):
            app = App()
            try:
                answers.append(app.wait())
                page = visit(browser, app.address)
                usable.append(time.perf_counter() - app.began)
                page.context.close()
            finally:
                app.end()
    return {
        "starts": len(usable),
        "port_open_s": round(statistics.median(answers), 2),
        "usable_s": round(statistics.median(usable), 2),
        "each_usable_s": [round(seconds, 2) for seconds in usable],
    }


def classify_part(quick: bool) -> Record:
    """A sample clicked, and the labels changed, to what is drawn; then the queue alone, by HTTP."""
    count = 4 if quick else 60
    with app_open() as app:
        with browser_open() as browser:
            page = visit(browser, app.address)
            page.wait_for_timeout(1500)
            record = {"click": milliseconds(clicks(page, count)[1:])}  # the first one warms up
            page.reload()
            page.wait_for_selector(ROWS)
            page.wait_for_timeout(1500)
            record["labels"] = milliseconds(edits(page, count)[1:])
        # After the browser: Playwright has an event loop of its own for as long as it is open.
        record["http"] = milliseconds(asyncio.run(by_http(app.address, count))[1:])
    return record


def clicks(page: Page, count: int) -> list[float]:
    time_it(page, "click", ".sample", ROWS)
    samples = page.locator("#sample-samples .sample")
    for number in range(1, count + 2):  # the first sample is chosen when the page opens
        samples.nth(number % SAMPLES).click()
        times(page, number)
        page.wait_for_timeout(150)
    return times(page, count + 1)


def edits(page: Page, count: int) -> list[float]:
    """A letter typed at the end of the labels each time: one of 21 is new, and has to be read."""
    time_it(page, "input", "#labels", ROWS)
    box = page.locator("#labels textarea")
    box.press("Control+End")
    for number in range(1, count + 2):
        letter = random.Random(number).choice(ascii_lowercase)
        page.keyboard.insert_text(letter if number % 15 else "\n" + letter)
        times(page, number)
        page.wait_for_timeout(150)
    return times(page, count + 1)


async def by_http(address: str, count: int) -> list[float]:
    async with visitor(address) as guest:
        return [await _classified(guest, number) for number in range(count + 1)]


async def _classified(guest: Visitor, number: int) -> float:
    began = time.perf_counter()
    await guest.ask("classify", {0: guest.sample(number % SAMPLES)})
    return time.perf_counter() - began


def temperature_part(quick: bool) -> Record:
    """The slider moved by keys, to the frame that follows; and what was asked of the server."""
    count = 5 if quick else 100
    sliders = {"Classify": "#stages .stages-tau-track input", "Matrix": "#matrix .matrix-tau"}
    record: Record = {}
    with app_open() as app, browser_open() as browser:
        for tab, slider in sliders.items():
            page = visit(browser, app.address)
            page.locator("button[role=tab]", has_text=tab).first.click()
            page.locator(slider).scroll_into_view_if_needed()
            page.wait_for_timeout(2000)
            record[tab.lower()] = moved(page, slider, count)
            page.context.close()
    return record


def moved(page: Page, slider: str, count: int) -> Record:
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    time_it(page, "input", slider)
    before = page.locator(slider).input_value()
    for number in range(1, count + 1):
        page.locator(slider).press("ArrowLeft" if number % 2 else "ArrowRight")
        if number == 1:
            assert page.locator(slider).input_value() != before, "the slider doesn't move"
        times(page, number)
    page.wait_for_timeout(500)
    return milliseconds(times(page, count)) | {"requests": len(asked)}
