"""The page in a real browser: what a person sees, on a desk and on a phone."""

import csv
import io
import math
import re
from collections.abc import Iterator

import pytest

pytest.importorskip("gradio", reason="the app needs the extra 'apps'")
pytest.importorskip("playwright", reason="browser tests need Playwright (extra 'dev')")

from app_server import Visit, served, tiny_encoder
from PIL import Image
from playwright.sync_api import Browser, FilePayload

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with served(tiny_encoder(), tiny_encoder("another", 1)) as url:
        yield url


class Desk(Visit):
    """The first tab: labels of one picture."""

    def column(self, kind: str) -> list[str]:
        return self.page.locator(f"#stages tbody .stages-{kind} .stages-number").all_inner_texts()

    def write_labels(self, text: str) -> None:
        """As a paste does. (Playwright's `fill` takes minutes over thousands of lines.)"""
        self.page.wait_for_selector("#labels textarea", state="attached")
        self.page.evaluate(
            """text => {
                const area = document.querySelector('#labels textarea');
                area.value = text;
                area.dispatchEvent(new Event('input', {bubbles: true}));
            }""",
            text,
        )


@pytest.fixture
def desk(browser: Browser, address: str) -> Iterator[Desk]:
    visit = Desk(browser, address, 1280, 900)
    yield visit
    visit.close()


@pytest.fixture
def phone(browser: Browser, address: str) -> Iterator[Desk]:
    visit = Desk(browser, address, 390, 844, has_touch=True)
    yield visit
    visit.close()


def numbers(texts: list[str]) -> list[float]:
    return [float(re.sub(r"[ %<]", "", text).replace("−", "-")) for text in texts]


def click_sample(visit: Desk, name: str) -> None:
    before = visit.page.locator("#stages .stages-seen img").get_attribute("src")
    visit.page.locator(".sample", has_text=name).click()
    visit.page.wait_for_function(
        "before => document.querySelector('#stages .stages-seen img').src !== before", arg=before
    )


def test_sample_shows_three_columns(desk: Desk) -> None:
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


def test_another_picture_clears_what_was_looked_at_more_closely(desk: Desk) -> None:
    desk.page.get_by_role("button", name="Each template").click()
    desk.page.locator("#templates .lab-panel").wait_for()
    click_sample(desk, "zebra")
    desk.page.locator("#templates .lab-panel").wait_for(state="hidden")


def test_temperature_answers_in_the_browser_alone(desk: Desk) -> None:
    cosines, shares = desk.column("cosine"), desk.column("share")
    desk.page.wait_for_load_state("networkidle")
    desk.requests.clear()
    desk.page.evaluate(
        """() => {
            const slider = document.querySelector('#stages .stages-tau-track input');
            slider.value = slider.max;
            slider.dispatchEvent(new Event('input', {bubbles: true}));
        }"""
    )
    flat = numbers(desk.column("share"))
    assert max(flat) - min(flat) < max(numbers(shares)) - min(numbers(shares))
    assert desk.column("cosine") == cosines
    desk.page.locator("#stages .stages-learned").click()
    assert desk.column("share") == shares
    assert [url for url in desk.requests if not url.startswith("data:")] == []


def test_temperature_by_keyboard(desk: Desk) -> None:
    slider = desk.page.locator("#stages .stages-tau-track input")
    slider.focus()
    before = slider.get_attribute("aria-valuetext")
    desk.page.keyboard.press("ArrowRight")
    assert slider.get_attribute("aria-valuetext") != before
    assert desk.page.locator("#stages").get_by_label("Temperature τ").count() == 1
    desk.page.keyboard.press("Home")
    assert numbers(desk.column("share"))[0] > 95  # nearly no temperature: the winner takes all


def test_sample_by_keyboard(desk: Desk) -> None:
    sample = desk.page.locator(".sample", has_text="guitar")
    sample.focus()
    before = desk.page.locator("#stages .stages-seen img").get_attribute("src")
    desk.page.keyboard.press("Enter")
    desk.page.wait_for_function(
        "before => document.querySelector('#stages .stages-seen img').src !== before", arg=before
    )
    assert sample.get_attribute("aria-pressed") == "true"


def test_html_in_a_label_is_text(desk: Desk) -> None:
    label = "<img src=x onerror=alert(1)>"
    desk.write_labels(f"{label}\n<b>bold</b>\n" + r"${alert(2)} {{alert}}")
    desk.page.wait_for_function("document.querySelectorAll('#stages tbody tr').length === 3")
    names = desk.page.locator("#stages tbody .stages-label").all_inner_texts()
    assert label in names and "<b>bold</b>" in names
    assert desk.page.locator("#stages tbody img, #stages tbody b").count() == 0


def test_thousands_of_labels_show_the_best(desk: Desk) -> None:
    desk.write_labels("\n".join(f"thing {i}" for i in range(5000)))
    desk.page.wait_for_selector("text=The best 20 of 5,000 labels", timeout=60_000)
    assert desk.page.locator("#stages tbody tr").count() == 20
    foot = desk.page.locator("#stages tfoot").inner_text()
    assert "4,980 other labels" in foot and "all 5,000 labels" in foot


def test_fault_is_told_in_the_page_and_mended(desk: Desk) -> None:
    desk.write_labels("")
    alert = desk.page.get_by_role("alert")
    alert.wait_for()
    assert "at least one label" in alert.inner_text()
    desk.write_labels("cat")
    desk.page.wait_for_selector("#stages .lab-body:not([hidden])")
    assert desk.column("share") == ["100 %"]


def test_upload_of_a_picture_and_of_nothing(desk: Desk) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (90, 60), "teal").save(buffer, "PNG")
    teal = FilePayload(name="teal.png", mimeType="image/png", buffer=buffer.getvalue())
    words = FilePayload(name="words.png", mimeType="image/png", buffer=b"not a picture")
    chooser = desk.page.locator("#sample-picture input[type=file]")
    desk.page.get_by_label("Remove Image").click()
    desk.page.get_by_role("alert").wait_for()
    chooser.set_input_files(teal)
    desk.page.wait_for_selector("#stages .lab-body:not([hidden])")
    assert desk.page.locator(".sample[aria-pressed=true]").count() == 0
    desk.page.get_by_label("Remove Image").click()
    desk.page.get_by_role("alert").wait_for()
    chooser.set_input_files(words)
    desk.page.wait_for_selector("text=not a picture that can be read")


def test_own_template(desk: Desk) -> None:
    desk.page.get_by_label("your own").click()
    box = desk.page.get_by_label("Your templates")
    box.wait_for()
    box.fill("a sketch of {}, at night")
    desk.page.wait_for_selector("text=at night”")
    box.fill("a sketch")
    desk.page.get_by_role("alert").wait_for()


def test_whole_list_of_labels(desk: Desk) -> None:
    desk.page.get_by_label("Take a whole list").click()
    desk.page.get_by_role("option", name="animals", exact=True).click()
    desk.page.wait_for_selector("text=The best 20 of")
    assert "llama" in desk.page.locator("#labels textarea").input_value()


def test_sigmoid_judges_each_label_by_itself(desk: Desk) -> None:
    softmax = numbers(desk.column("share"))
    desk.page.get_by_role("radio", name="sigmoid: each by itself").click()
    each = numbers(desk.column("share"))
    assert sum(softmax) == pytest.approx(100, abs=1) and each != softmax
    half = desk.page.locator("#stages").get_by_label("50 % at a cosine of")
    half.fill(str(numbers(desk.column("cosine"))[0]))
    assert numbers(desk.column("share"))[0] == pytest.approx(50, abs=0.2)
    desk.page.keyboard.press("Shift+Tab")  # back to the chosen of the two
    desk.page.keyboard.press("ArrowLeft")
    assert numbers(desk.column("share")) == softmax


def test_none_of_these_takes_its_share(desk: Desk) -> None:
    desk.write_labels("cat")
    desk.page.wait_for_function("document.querySelectorAll('#stages tbody tr').length === 1")
    desk.page.get_by_label("Add a label “none of these”").click()
    desk.page.wait_for_function("document.querySelectorAll('#stages tbody tr').length === 2")
    assert sum(numbers(desk.column("share"))) == pytest.approx(100, abs=0.2)


def test_templates_and_places_are_shown_on_request_and_cleared(desk: Desk) -> None:
    desk.page.get_by_label("drawings", exact=True).click()
    desk.page.wait_for_selector("text=4 texts and their vectors were averaged")
    desk.page.get_by_role("button", name="Each template's part").click()
    desk.page.wait_for_selector("#templates tbody tr")
    assert desk.page.locator("#templates tbody tr").count() == 4
    desk.page.get_by_role("button", name="Where in the picture?").click()
    desk.page.wait_for_selector("#where canvas[role=img]")
    maps = desk.page.locator("#where canvas[role=img]")
    assert maps.count() == 4 and "strongest at the" in (
        maps.first.get_attribute("aria-label") or ""
    )
    click_sample(desk, "zebra")
    desk.page.wait_for_selector("#where .lab-body", state="hidden")
    desk.page.wait_for_selector("#templates .lab-body", state="hidden")


def test_two_models_side_by_side(desk: Desk) -> None:
    desk.page.get_by_label("Compare with").click()
    desk.page.get_by_role("option", name="another (given)").click()
    desk.page.wait_for_selector("#stages-other .lab-body:not([hidden])")
    titles = desk.page.locator(".stages .lab-model").all_inner_texts()
    assert titles == ["tiny", "another"]
    cosines = desk.page.locator("#stages-other tbody .stages-cosine .stages-number")
    assert cosines.count() == 20 and cosines.all_inner_texts() != desk.column("cosine")


def test_a_link_shows_the_same_view(desk: Desk, browser: Browser) -> None:
    click_sample(desk, "zebra")
    desk.write_labels("zebra\nhorse & cart\n“苹果”")
    desk.page.get_by_label("drawings", exact=True).click()
    desk.page.wait_for_function("location.search.includes('template=drawings')")
    desk.page.wait_for_function("document.querySelectorAll('#stages tbody tr').length === 3")
    desk.page.wait_for_selector("text=4 texts and their vectors")
    link = desk.page.url
    other = Desk(browser, desk.address, 1280, 900, path=link.removeprefix(desk.address))
    other.page.wait_for_function("document.querySelectorAll('#stages tbody tr').length === 3")
    other.page.wait_for_selector("text=4 texts and their vectors")
    other.page.wait_for_selector(".sample[aria-pressed=true] >> text=zebra")
    assert other.column("cosine") == desk.column("cosine")
    assert other.page.url == link
    other.close()


def test_numbers_and_picture_are_saved(desk: Desk) -> None:
    desk.write_labels('=1+1\n"quoted", and a comma\ncat')
    desk.page.wait_for_function("document.querySelectorAll('#stages tbody tr').length === 3")
    with desk.page.expect_download() as numbers_file:
        desk.page.locator("#stages").get_by_role("button", name="Numbers (CSV)").click()
    rows = list(csv.reader(numbers_file.value.path().read_text("utf-8-sig").splitlines()))
    assert rows[0][:3] == ["label", "cosine", "logit at tau=0.07"]
    assert {row[0] for row in rows[1:]} == {"'=1+1", '"quoted", and a comma', "cat"}
    assert sum(float(row[3]) for row in rows[1:]) == pytest.approx(1)
    with desk.page.expect_download() as picture_file:
        desk.page.locator("#stages").get_by_role("button", name="Picture (PNG)").click()
    with Image.open(picture_file.value.path()) as picture:
        assert picture.width > 600 and len(picture.convert("RGB").getcolors(10**6) or []) > 20


def test_light_and_dark(desk: Desk) -> None:
    ink = "getComputedStyle(document.querySelector('#stages .stages')).backgroundColor"
    light = desk.page.evaluate(ink)
    desk.page.get_by_label("Switch between light and dark").click()
    assert desk.page.evaluate(ink) != light


def test_table_speaks(desk: Desk) -> None:
    table = desk.page.locator("#stages").get_by_role("table")
    assert table.get_by_role("columnheader").count() == 4
    assert table.get_by_role("rowheader").count() == 21  # twenty labels and the sum
    assert desk.page.locator("img:not([alt])").count() == 0
    nameless = desk.page.evaluate(
        """() => [...document.querySelectorAll('button')].filter(one => one.checkVisibility()
            && !one.innerText.trim() && !one.ariaLabel && !one.title).length"""
    )
    assert nameless == 0


def test_phone(phone: Desk) -> None:
    assert phone.page.evaluate("document.documentElement.scrollWidth") <= 390
    click_sample(phone, "rainbow")
    rows = phone.page.locator("#stages tbody tr:visible")
    assert rows.count() == 8
    phone.page.get_by_role("button", name="Show all 20 rows").click()
    assert rows.count() == 20
    width = phone.page.evaluate(
        "Math.max(...[...document.querySelectorAll('#stages .stages *')]"
        ".map(one => one.getBoundingClientRect().right))"
    )
    assert width <= 390
