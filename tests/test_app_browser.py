"""The page in a real browser: what a person sees, on a desk and on a phone."""

import io
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gradio", reason="the app needs the extra 'apps'")
pytest.importorskip("playwright", reason="browser tests need Playwright (extra 'dev')")

from app_server import served, tiny_encoder
from PIL import Image
from playwright.sync_api import Browser, FilePayload, Page, sync_playwright

CHROMIUM = Path("/usr/bin/chromium")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--no-first-run"]  # fmt: skip

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not CHROMIUM.exists(), reason=f"there is no browser at {CHROMIUM}"),
]


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with served(tiny_encoder()) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=QUIET)
        yield browser
        browser.close()


class Visit:
    """A page that is open, with all that it asked for and complained of."""

    def __init__(self, browser: Browser, address: str, width: int, height: int, **options: Any):
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page: Page = browser.new_page(viewport={"width": width, "height": height}, **options)
        self.page.set_default_timeout(30_000)
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on(
            "console",
            lambda note: self.complaints.append(note.text) if note.type == "error" else None,
        )
        self.page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        self.page.goto(address)
        self.page.wait_for_selector(".stages-body:not([hidden])")
        self.address = address

    def column(self, kind: str) -> list[str]:
        return self.page.locator(f"tbody .stages-{kind} .stages-number").all_inner_texts()

    def write_labels(self, text: str) -> None:
        """As a paste does. (Playwright's `fill` takes minutes over thousands of lines.)"""
        self.page.evaluate(
            """text => {
                const area = document.querySelector('#labels textarea');
                area.value = text;
                area.dispatchEvent(new Event('input', {bubbles: true}));
            }""",
            text,
        )

    def close(self) -> None:
        local = (self.address, "data:", "blob:")
        assert [url for url in self.requests if not url.startswith(local)] == []
        assert self.complaints == []
        self.page.close()


@pytest.fixture
def desk(browser: Browser, address: str) -> Iterator[Visit]:
    visit = Visit(browser, address, 1280, 900)
    yield visit
    visit.close()


@pytest.fixture
def phone(browser: Browser, address: str) -> Iterator[Visit]:
    visit = Visit(browser, address, 390, 844, has_touch=True)
    yield visit
    visit.close()


def numbers(texts: list[str]) -> list[float]:
    return [float(re.sub(r"[ %<]", "", text).replace("−", "-")) for text in texts]


def click_sample(visit: Visit, name: str) -> None:
    before = visit.page.locator(".stages-seen img").get_attribute("src")
    visit.page.locator(".sample", has_text=name).click()
    visit.page.wait_for_function(
        "before => document.querySelector('.stages-seen img').src !== before", arg=before
    )


def test_sample_shows_three_columns(desk: Visit) -> None:
    click_sample(desk, "zebra")
    assert desk.page.locator(".sample[aria-pressed=true]").inner_text().startswith("zebra")
    cosines, logits = numbers(desk.column("cosine")), numbers(desk.column("logit"))
    shares = numbers(desk.column("share"))
    assert len(cosines) == len(logits) == len(shares) == 20
    assert cosines == sorted(cosines, reverse=True)
    scale = 1 / 0.07  # the tiny model's, never trained
    assert logits == pytest.approx([scale * cosine for cosine in cosines], abs=0.02)
    powers = [math.exp(logit) for logit in logits]
    assert shares == pytest.approx([100 * p / sum(powers) for p in powers], abs=0.2)


def test_temperature_answers_in_the_browser_alone(desk: Visit) -> None:
    cosines, shares = desk.column("cosine"), desk.column("share")
    desk.requests.clear()
    milliseconds = desk.page.evaluate(
        """() => {
            const slider = document.querySelector('.stages input');
            const began = performance.now();
            slider.value = slider.max;
            slider.dispatchEvent(new Event('input', {bubbles: true}));
            document.querySelector('.stages').getBoundingClientRect();  // laid out anew
            return performance.now() - began;
        }"""
    )
    assert milliseconds < 100
    flat = numbers(desk.column("share"))
    assert max(flat) - min(flat) < max(numbers(shares)) - min(numbers(shares))
    assert desk.column("cosine") == cosines
    desk.page.locator(".stages-learned").click()
    assert desk.column("share") == shares
    assert desk.requests == []


def test_temperature_by_keyboard(desk: Visit) -> None:
    slider = desk.page.locator(".stages input")
    slider.focus()
    before = slider.get_attribute("aria-valuetext")
    desk.page.keyboard.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") != before
    assert desk.page.get_by_label("Temperature τ").count() == 1
    desk.page.keyboard.press("Home")
    assert numbers(desk.column("share"))[0] > 95  # nearly no temperature: the winner takes all


def test_sample_by_keyboard(desk: Visit) -> None:
    sample = desk.page.locator(".sample", has_text="guitar")
    sample.focus()
    before = desk.page.locator(".stages-seen img").get_attribute("src")
    desk.page.keyboard.press("Enter")
    desk.page.wait_for_function(
        "before => document.querySelector('.stages-seen img').src !== before", arg=before
    )
    assert sample.get_attribute("aria-pressed") == "true"


def test_html_in_a_label_is_text(desk: Visit) -> None:
    label = "<img src=x onerror=alert(1)>"
    desk.write_labels(f"{label}\n<b>bold</b>\n" + r"${alert(2)} {{alert}}")
    desk.page.wait_for_function("document.querySelectorAll('tbody tr').length === 3")
    names = desk.page.locator("tbody .stages-label").all_inner_texts()
    assert label in names and "<b>bold</b>" in names
    assert desk.page.locator("tbody img, tbody b").count() == 0


def test_thousands_of_labels_show_the_best(desk: Visit) -> None:
    desk.write_labels("\n".join(f"thing {i}" for i in range(5000)))
    desk.page.wait_for_selector("text=The best 20 of 5,000 labels", timeout=60_000)
    assert desk.page.locator("tbody tr").count() == 20
    foot = desk.page.locator("tfoot").inner_text()
    assert "4,980 other labels" in foot and "all 5,000 labels" in foot


def test_fault_is_told_in_the_page_and_mended(desk: Visit) -> None:
    desk.write_labels("")
    alert = desk.page.get_by_role("alert")
    alert.wait_for()
    assert "at least one label" in alert.inner_text()
    desk.write_labels("cat")
    desk.page.wait_for_selector(".stages-body:not([hidden])")
    assert desk.column("share") == ["100 %"]


def test_upload_of_a_picture_and_of_nothing(desk: Visit) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (90, 60), "teal").save(buffer, "PNG")
    teal = FilePayload(name="teal.png", mimeType="image/png", buffer=buffer.getvalue())
    words = FilePayload(name="words.png", mimeType="image/png", buffer=b"not a picture")
    chooser = desk.page.locator("#picture input[type=file]")
    desk.page.get_by_label("Remove Image").click()
    desk.page.get_by_role("alert").wait_for()
    chooser.set_input_files(teal)
    desk.page.wait_for_selector(".stages-body:not([hidden])")
    assert desk.page.locator(".sample[aria-pressed=true]").count() == 0
    desk.page.get_by_label("Remove Image").click()
    desk.page.get_by_role("alert").wait_for()
    chooser.set_input_files(words)
    desk.page.wait_for_selector("text=not a picture that can be read")


def test_own_template(desk: Visit) -> None:
    desk.page.get_by_label("your own").click()
    box = desk.page.get_by_label("Your templates")
    box.wait_for()
    box.fill("a sketch of {}, at night")
    desk.page.wait_for_selector("text=at night”")
    box.fill("a sketch")
    desk.page.get_by_role("alert").wait_for()


def test_whole_list_of_labels(desk: Visit) -> None:
    desk.page.get_by_label("Take a whole list").click()
    desk.page.get_by_role("option", name="animals", exact=True).click()
    desk.page.wait_for_selector("text=The best 20 of")
    assert "llama" in desk.page.locator("#labels textarea").input_value()


def test_light_and_dark(desk: Visit) -> None:
    ink = "getComputedStyle(document.querySelector('.stages')).backgroundColor"
    light = desk.page.evaluate(ink)
    desk.page.get_by_label("Switch between light and dark").click()
    assert desk.page.evaluate(ink) != light


def test_table_speaks(desk: Visit) -> None:
    table = desk.page.get_by_role("table")
    assert table.get_by_role("columnheader").count() == 4
    assert table.get_by_role("rowheader").count() == 21  # twenty labels and the sum
    assert desk.page.locator("img:not([alt])").count() == 0
    nameless = desk.page.evaluate(
        """() => [...document.querySelectorAll('button')].filter(one => one.checkVisibility()
            && !one.innerText.trim() && !one.ariaLabel && !one.title).length"""
    )
    assert nameless == 0


def test_phone(phone: Visit) -> None:
    assert phone.page.evaluate("document.documentElement.scrollWidth") <= 390
    click_sample(phone, "rainbow")
    rows = phone.page.locator("tbody tr:visible")
    assert rows.count() == 8
    phone.page.get_by_role("button", name="Show all 20 rows").click()
    assert rows.count() == 20
    width = phone.page.evaluate(
        "Math.max(...[...document.querySelectorAll('.stages *')]"
        ".map(one => one.getBoundingClientRect().right))"
    )
    assert width <= 390
