"""The Search tab, by its own API and in a real browser: built-in collections and one's own folder.

What may be read at all: test_app_folders.py.
"""

import base64
import csv
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("gradio", reason="the app needs the extra 'apps'")
pytest.importorskip("playwright", reason="browser tests need Playwright (extra 'dev')")

from gradio_client import Client
from PIL import Image
from playwright.sync_api import Browser, FilePayload
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
from clip_lab.search import approximate as approximate_module
from clip_lab.search import shapes_collection

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with a_cache_of_its_own(tmp_path_factory), served_alone(Folders(any_folder=True)) as url:
        yield url


@pytest.fixture
def desk(browser: Browser, address: str) -> Iterator[Seen]:
    visit = Seen(browser, address, 1280, 900, SHAPES)
    yield visit
    visit.close()


# -- queries --------------------------------------------------------------------------------------


def test_words_find_what_plain_cosines_find(client: Client) -> None:
    first, second = ask(client, "a red circle")
    check(first, nearest(TINY.encode_texts(["a red circle"])[0]))
    assert second is None
    assert re.fullmatch(r"Exact search among all 120 pictures took [\d.]+ ms\.", first["told"])
    assert opened(first["hits"][0]["src"]).size == (64, 64)


def test_words_a_picture_and_results_are_added_and_subtracted_by_weight(client: Client) -> None:
    file = io.BytesIO()
    picture = Image.radial_gradient("L").convert("RGB").resize((40, 40))
    picture.save(file, "PNG")
    data = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    query = [
        {"words": "blue star", "weight": 0.5},
        {"picture": data},
        {"row": "7", "of": "shapes", "name": "any", "weight": -2},
    ]
    row = shapes_collection(TINY).vector(7)
    expected = (
        0.5 * TINY.encode_texts(["blue star"])[0] + TINY.encode_images([picture])[0] - 2 * row
    )
    check(ask(client, query)[0], nearest(expected))


def test_two_models_answer_the_same_query_and_say_what_both_found(client: Client) -> None:
    first, second = ask(client, "a red circle", other="another", count=12)
    assert (first["model"], second["model"]) == ("tiny", "another")
    rows = [{hit["row"] for hit in value["hits"]} for value in (first, second)]
    both = rows[0] & rows[1]
    for value in (first, second):
        assert {hit["row"] for hit in value["hits"] if hit["both"]} == both
        assert f"{len(both)} of its 12 are found by both models" in value["told"]


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ("", "Nothing to look for"),
        ("[]", "Nothing to look for"),
        ([{"words": " "}], "Nothing to look for"),
        ("[{", "can't be read"),
        ("[" * 100_000, "can't be read"),
        ([{"sorrow": "x"}], "can't be read"),
        ([{"words": 5}], "can't be read"),
        ([7], "can't be read"),
        ([{"words": "a"}] * 9, "too many"),
        ("a" * 301, "Shorten it"),
        ('[{"words": "a", "weight": NaN}]', "A weight lies between"),
        ([{"words": "a", "weight": 1e9}], "A weight lies between"),
        ([{"words": "a"}, {"words": "a", "weight": -1}], "cancel out"),
        ([{"row": "120", "of": "shapes"}], "not among these pictures"),
        ([{"row": "../x", "of": "shapes"}], "not among these pictures"),
        ([{"row": "1", "of": "emoji-none"}], "no collection"),
        ([{"picture": "data:image/png;base64,!!"}], "damaged"),
        ([{"picture": "/etc/hostname"}], "no data: address"),
        ([{"picture": "data:image/png;base64,aGVsbG8="}], "not a picture"),
    ],
)
def test_a_query_that_can_t_be_answered_is_a_sentence(
    client: Client, query: Any, sentence: str
) -> None:
    assert sentence in ask(client, query)[0]["error"]


# -- filters, exact and approximate ---------------------------------------------------------------


def test_filters_let_through_what_they_say_and_their_count_is_told(client: Client) -> None:
    pairs = ask(client, "red", filters=["", "pair", *OPEN[2:]], count=96)[0]
    assert {hit["group"] for hit in pairs["hits"]} == {"pair"} and len(pairs["hits"]) == 24
    assert "among 24 of 120 pictures" in pairs["told"]
    named = ask(client, "red", filters=["RED", *OPEN[1:]], count=96)[0]
    names = [row["name"] for row in shapes_collection(TINY).rows]
    assert len(named["hits"]) == min(96, sum("red" in name.casefold() for name in names))
    none = ask(client, "red", filters=[*OPEN[:5], 65, None])[0]
    assert none["hits"] == [] and "None of 120 pictures passes" in none["told"]
    wrong = ask(client, "red", filters=[*OPEN[:3], "2023-02-30", None, None, None])[0]
    assert "is no day" in wrong["error"]
    assert "whole number" in ask(client, "red", filters=[*OPEN[:5], "many", None])[0]["error"]


def test_an_approximate_answer_tells_its_recall(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = ask(client, "a red circle", approximate=True)[0]["told"]
    assert "Approximate search" in told and "found 100% of the true nearest" in told
    search_ = approximate_module.ApproximateIndex.search
    monkeypatch.setattr(  # a graph that misses half
        approximate_module.ApproximateIndex, "search",
        lambda self, queries, k: [found[::2] for found in search_(self, queries, k)],
    )  # fmt: skip
    assert "found 50% of" in ask(client, "a red circle", approximate=True)[0]["told"]
    filtered = ask(client, "red", approximate=True, filters=["", "pair", *OPEN[2:]])[0]
    assert "Exact search among 24" in filtered["told"]


# -- the page -------------------------------------------------------------------------------------


def test_words_are_searched_for_by_enter_and_stand_in_the_address(desk: Seen) -> None:
    words = desk.page.locator("#terms .terms-words")

    def ask_for_stars() -> None:
        words.fill("a green star")
        words.press("Enter")

    desk.changed(ask_for_stars)
    assert words.input_value() == "a green star"
    desk.page.wait_for_function("location.search.includes('search=a+green+star')")
    expected = nearest(TINY.encode_texts(["a green star"])[0], 24)
    assert desk.names()[0] == expected[0][0]
    scores = desk.page.locator("#found .search-number").all_inner_texts()
    assert [float(text.replace("−", "-")) for text in scores] == pytest.approx(
        [score for _, score in expected], abs=0.0008
    )


def test_a_click_asks_for_more_like_it_and_signs_add_and_subtract(desk: Seen) -> None:
    name = desk.names()[3]
    desk.changed(lambda: desk.page.locator("#found .search-like").nth(3).click())
    assert desk.page.locator("#found .search-number").first.inner_text() == "1.000"
    assert desk.names()[0] == name
    assert desk.page.locator("#terms .terms-row").inner_text() == name
    assert desk.page.locator("#terms .terms-row img").count() == 1
    desk.changed(lambda: desk.page.locator("#found .search-acts button").nth(3).click())
    signs = desk.page.locator("#terms .terms-sign")
    assert signs.all_inner_texts() == ["+", "−"]
    desk.changed(lambda: signs.nth(1).press("Enter"))  # now added
    assert signs.all_inner_texts() == ["+", "+"]

    def weigh() -> None:
        weight = desk.page.locator("#terms .terms-weight").nth(1)
        weight.fill("0.25")
        weight.press("Tab")

    desk.changed(weigh)
    desk.page.locator("#terms").get_by_role("button", name="add words").click()
    more = desk.page.locator("#terms .terms-words")
    more.fill("blue")
    desk.changed(lambda: desk.page.get_by_role("button", name="Search", exact=True).click())
    query = desk.page.evaluate("new URL(location.href).searchParams.get('search')")
    parts = json.loads(query)
    assert [part.get("weight", 1) for part in parts] == [1, 0.25, 1]
    assert parts[2] == {"words": "blue"}
    desk.page.locator("#terms .terms-remove").first.click()
    desk.page.wait_for_function("document.querySelectorAll('#terms li').length === 2")


def test_a_link_shows_the_same_results(browser: Browser, address: str, desk: Seen) -> None:
    desk.changed(lambda: desk.page.locator("#found .search-like").nth(5).click())
    desk.page.wait_for_function("location.search.includes('search=')")
    other = Seen(browser, address, 1280, 900, desk.page.evaluate("location.search"))
    other.page.wait_for_function(
        "names => [...document.querySelectorAll('#found .search-name')].map(n => n.innerText)"
        ".join() === names",
        arg=",".join(desk.names()),
    )
    other.close()


def test_a_picture_of_one_s_own_joins_the_query_without_its_place(desk: Seen) -> None:
    picture = Image.linear_gradient("L").convert("RGB")
    exif = Image.Exif()
    exif.get_ifd(0x8825)[2] = GPS
    file = io.BytesIO()
    picture.save(file, "PNG", exif=exif)
    payload = FilePayload(name="mine.png", mimeType="image/png", buffer=file.getvalue())
    words = nearest(TINY.encode_texts(["red fruit"])[0] + TINY.encode_images([picture])[0], 24)
    desk.changed(
        lambda: desk.page.locator("#search-picture input[type=file]").first.set_input_files(payload)
    )
    assert desk.names()[0] == words[0][0]
    part = opened(desk.page.locator("#terms .terms-row img").get_attribute("src") or "")
    assert not part.getexif() and part.size == (256, 256)
    broken = FilePayload(name="no.png", mimeType="image/png", buffer=b"no picture")
    desk.page.locator("#search-picture input[type=file]").first.set_input_files(broken)
    desk.page.wait_for_selector("text=is not a picture that can be read")


def test_filters_and_the_approximate_way_are_controls(desk: Seen) -> None:
    desk.page.get_by_role("button", name="Filters").click()
    desk.page.get_by_label("The name contains").fill("star")
    desk.told(r"among \d+ of 120")
    assert all("star" in name.casefold() for name in desk.names())
    desk.page.get_by_label("The name contains").fill("")
    desk.told("among all 120")
    desk.page.get_by_label("Approximate").check()
    assert "recall" in desk.told("Approximate search")
    desk.page.get_by_label("Group").click()
    assert desk.page.get_by_role("option", name="medley").count() == 1


def test_numbers_are_in_a_table_and_in_a_file(desk: Seen) -> None:
    desk.page.locator("#found summary").press("Enter")
    rows = desk.page.locator("#found tbody tr")
    assert rows.count() == 24
    with desk.page.expect_download() as file:
        desk.page.locator("#found").get_by_role("button", name="Numbers (CSV)").click()
    saved = list(csv.reader(Path(file.value.path()).read_text("utf-8-sig").splitlines()))
    assert saved[0][:3] == ["rank", "name", "cosine"] and [row[1] for row in saved[1:]] == (
        desk.names()
    )


def test_two_models_stand_side_by_side_and_below_one_another_on_a_phone(
    browser: Browser, address: str
) -> None:
    for width in (1280, 390):
        visit = Seen(browser, address, width, 900, SHAPES + "&other=another")
        visit.told("found by both", "#found-other")
        first = visit.page.locator("#found").bounding_box()
        second = visit.page.locator("#found-other").bounding_box()
        assert first and second
        beside = second["x"] >= first["x"] + first["width"]
        below = second["y"] >= first["y"] + first["height"]
        assert beside if width == 1280 else below
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
        visit.close()
