"""A real browser, without a window, and what its pages tell of time."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

CHROMIUM = "/usr/bin/chromium"
# Without a graphics card, WebGL is drawn by software, if one says so.
ARGUMENTS = ["--no-sandbox", "--enable-unsafe-swiftshader", "--no-first-run",
             "--disable-background-networking", "--disable-component-update"]  # fmt: skip
USABLE = "#sample-samples .sample"  # the first thing of Classify that one can press

# From each such event inside `target` to the frame that shows what came of it: where `result` is
# named, the frame after that has changed, else the next one. A message posted in a frame's callback
# comes once that frame's layout and paint are done.
STOPWATCH = """({event, target, result}) => {
    window.labTimes = [];
    let began = null;
    const drawn = () => requestAnimationFrame(() => {
        const from = began, {port1, port2} = new MessageChannel();
        if (from === null) return;
        began = null;
        port1.onmessage = () => labTimes.push((performance.now() - from) / 1000);
        port2.postMessage("");
    });
    document.addEventListener(event, (e) => {
        if (!e.target.closest(target)) return;
        began = e.timeStamp;
        if (!result) drawn();
    }, true);
    const place = result && document.querySelector(result);
    if (place) new MutationObserver(drawn).observe(place, {childList: true});
}"""


@contextmanager
def browser_open(chromium: str = CHROMIUM) -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=ARGUMENTS)
        yield browser
        browser.close()


def visit(browser: Browser, address: str) -> Page:
    """A page of a visitor who was never here: no cache, no cookies."""
    page = browser.new_context(viewport={"width": 1280, "height": 1000}).new_page()
    page.set_default_timeout(180_000)
    page.goto(address)
    page.wait_for_selector(USABLE)
    return page


def time_it(page: Page, event: str, target: str, result: str = "") -> None:
    page.evaluate(STOPWATCH, {"event": event, "target": target, "result": result})


def times(page: Page, count: int) -> list[float]:
    """Seconds, once there are so many."""
    page.wait_for_function("count => labTimes.length >= count", arg=count)
    found: Any = page.evaluate("labTimes")
    return found
