"""The map: what it is given, against an independent computation; then in a real browser."""

import base64
import csv
import io
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("gradio", reason="the app needs the extra 'apps'")
pytest.importorskip("plotly", reason="the map needs the extra 'maps'")
pytest.importorskip("playwright", reason="browser tests need Playwright (extra 'dev')")

import gradio as gr
from app_server import Visit, running, tiny_encoder
from chromium import CHROMIUM, MISSING, QUIET, open_browser
from gradio_client import Client
from PIL import Image
from playwright.sync_api import Browser, FilePayload

from apps import embedding_map, map_values
from apps.frame import build
from apps.map_values import (
    ACROSS,
    COLUMNS,
    TITLES,
    Own,
    content_value,
    map_value,
    near_value,
    own_things,
    row_of,
    settings,
    sheet,
)
from apps.models import Models
from clip_lab import DualEncoder, LabError, load
from clip_lab.map_collections import CONTENTS, Content, ModelMap, emoji_content, shapes_content
from clip_lab.maps import LaidOut, LinearView, towards_each_other

PICTURES = 40
FIRST, SECOND = tiny_encoder(), tiny_encoder("another", 1)
no_browser = pytest.mark.skipif(not CHROMIUM.exists(), reason=MISSING)


def small_content() -> Content:
    """Forty of the emoji, far apart, with their names in two languages each."""
    whole = emoji_content()
    chosen = list(range(0, whole.pictures, whole.pictures // PICTURES))[:PICTURES]
    rows = [row + kind * whole.pictures for kind in range(3) for row in chosen]
    columns = {key: tuple(column[i] for i in rows) for key, column in whole.columns.items()}
    return Content(
        "emoji",
        tuple(whole.names[i] for i in rows),
        columns,
        np.arange(PICTURES) + PICTURES,
        lambda asked: whole.draw([chosen[i] for i in asked]),
    )


SMALL = small_content()


@pytest.fixture(scope="module", autouse=True)
def few_emoji() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(CONTENTS, "emoji", lambda: SMALL)
        yield


@pytest.fixture(scope="module")
def here() -> ModelMap:
    return ModelMap(FIRST, SMALL)


def axes(here: ModelMap, view: str, dimensions: int = 2) -> LinearView:
    made = here.view(view, dimensions)
    assert isinstance(made, LinearView)
    return made


def unpacked(value: dict, dimensions: int) -> np.ndarray:
    points = np.frombuffer(base64.b64decode(value["points"]), "<f4")
    return points.reshape(-1, dimensions)


# -- values ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("view", ["gap", "pca"])
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_one_s_own_lands_on_its_equal_however_far_the_gap_is_closed(
    here: ModelMap, view: str, share: float
) -> None:
    text = SMALL.names[PICTURES + 3]
    pixels = (SMALL.draw([5])[0].permute(1, 2, 0) * 255).round().byte().numpy()
    vector = FIRST.encode_images([Image.fromarray(pixels)])[0].numpy()
    assert vector @ here.vectors[5] > 0.9999  # the very picture, but for rounding
    own = [Own("mine", Image.fromarray(pixels)), Own(text, None)]
    value = map_value(here, view, 2, share, own)
    points = unpacked(value, 2)
    expected = here.vectors
    if share:
        pictures, texts = expected[:PICTURES], expected[PICTURES:]
        expected = np.concatenate(towards_each_other(pictures, texts, share))
    made = axes(here, view)
    assert points == pytest.approx((expected - made.mean) @ made.axes.T, abs=1e-5)
    assert value["mine"][0]["point"] == pytest.approx(points[5], abs=2e-3)
    assert value["mine"][1]["point"] == pytest.approx(points[PICTURES + 3], abs=2e-4)
    assert value["approximate"] is False and value["mine"][0]["src"].startswith("data:image")


def test_umap_is_marked_approximate_and_has_no_gap_to_close(here: ModelMap) -> None:
    laid_out = np.random.default_rng(0).normal(size=(len(SMALL), 3)).astype(np.float32)
    here._views["umap", 3] = LaidOut(laid_out, here.vectors, SMALL.is_text)
    value = map_value(here, "umap", 3, 0.5, [Own(SMALL.names[PICTURES], None)])
    assert value["approximate"] is True
    assert unpacked(value, 3) == pytest.approx(laid_out)
    assert value["mine"][0]["point"] == pytest.approx(laid_out[PICTURES], abs=1e-3)
    assert "mean nothing" in value["note"]


@pytest.mark.parametrize("item", ["7", "55", "own 0"])
def test_neighbours_are_those_of_brute_force(here: ModelMap, item: str) -> None:
    own = [Own("a red heart", None)]
    value = near_value(here, "gap", 2, 0.0, own, item)
    every = np.concatenate([here.vectors, FIRST.encode_texts(["a red heart"]).numpy()])
    points = unpacked(map_value(here, "gap", 2, 0.0, []), 2)
    made = axes(here, "gap")
    points = np.concatenate([points, (every[-1:] - made.mean) @ made.axes.T])
    row = len(SMALL) if item == "own 0" else int(item)
    cosines = every @ every[row]
    for kind, rows in (("pictures", range(PICTURES)), ("texts", range(PICTURES, len(SMALL)))):
        best = sorted((i for i in rows if i != row), key=lambda i: -cosines[i])[:8]
        found = value[kind]
        assert [cosine for _, cosine in found] == pytest.approx(cosines[best], abs=1e-4)
    others = np.array([i for i in range(len(every)) if i != row])
    true = set(others[np.argsort(-cosines[others])[:10]])
    beside = others[np.argsort(((points[others] - points[row]) ** 2).sum(1))[:10]]
    assert value["true"] == len(true & set(beside)) and value["beside"] == 10
    assert "Trustworthiness" in value["facts"] and "isn't on the map" in value["facts"]


@given(st.text() | st.sampled_from(["own 2", "own -1", "²", "120", "own", " 5 ", "1 2", "9" * 99]))
def test_any_text_in_the_address_is_a_row_or_nothing(item: str) -> None:
    row = row_of(item, 120, 2)
    assert row is None or item in (str(row), f"own {row - 120}") or int(item.split()[-1]) == row


def test_an_item_that_isn_t_there_has_no_neighbours(here: ModelMap) -> None:
    assert near_value(here, "gap", 2, 0.0, [], "own 0") == {"item": ""}


@pytest.mark.parametrize("dimensions", [2, 3])
@pytest.mark.parametrize("view", ["gap", "pca"])
def test_titles_are_those_of_the_axes(here: ModelMap, view: str, dimensions: int) -> None:
    assert axes(here, view, dimensions).titles == TITLES[view][:dimensions]


def test_a_sheet_holds_the_pictures_in_their_order() -> None:
    map_values._sheet.cache_clear()  # another test's page may have drawn the real emoji
    body = base64.b64decode(sheet("emoji 0").partition(",")[2])
    pixels = np.asarray(Image.open(io.BytesIO(body)).convert("RGB")).astype(float) / 255
    for row in (0, 17, PICTURES - 1):
        top, left = 64 * (row // ACROSS), 64 * (row % ACROSS)
        expected = SMALL.draw([row])[0].permute(1, 2, 0).numpy()
        assert abs(pixels[top : top + 64, left : left + 64] - expected).mean() < 0.03
    assert (pixels[64 * 3 :] > 0.99).all()


@pytest.mark.parametrize(
    "asked", ["emoji 1", "emoji -1", "emoji ²", "../x 0", "", None, ["emoji", 0], 10**30]
)
def test_a_sheet_that_isn_t_there_is_empty(asked: object) -> None:
    assert sheet(asked) == ""


def test_names_and_columns_come_whole() -> None:
    value = content_value("emoji")
    assert tuple(value["names"]) == SMALL.names and value["pictures"] == PICTURES
    for key, column in value["columns"].items():
        assert tuple(column["values"][i] for i in column["rows"]) == SMALL.columns[key]
    with pytest.raises(LabError, match="no collection"):
        content_value("../etc")


def test_every_column_can_be_coloured_by() -> None:
    for name, whole in (("emoji", emoji_content()), ("shapes", shapes_content())):
        assert set(COLUMNS[name]) == {*whole.columns, "zero-shot"}


@pytest.mark.parametrize("share", ["x", None, float("nan"), [1], True])
def test_settings_are_sound_whatever_the_address_says(share: object) -> None:
    dimensions, moved = settings(share, share)
    assert dimensions == 2 and moved in (0.0, 1.0)
    assert settings("3", 7) == (3, 1.0) and settings(3, -1) == (3, 0.0)


def test_too_many_of_one_s_own_and_what_is_no_picture_are_refused(tmp_path: Path) -> None:
    with pytest.raises(LabError, match="too many"):
        own_things(None, "a\n" * 17)
    (tmp_path / "x.png").write_bytes(b"<svg/>")
    with pytest.raises(LabError):
        own_things([{"path": str(tmp_path / "x.png"), "orig_name": "x.png"}], "")
    assert own_things(None, " \n") == []


def test_a_built_in_map_opens_without_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something was encoded")

    encoder = load("shapes", "cpu")
    monkeypatch.setattr(DualEncoder, "encode_images", refuse)
    monkeypatch.setattr(DualEncoder, "encode_texts", refuse)
    shipped = ModelMap(encoder, shapes_content())
    for view in TITLES:
        for dimensions in (2, 3):
            value = map_value(shipped, view, dimensions, 0.0, [])
            assert len(unpacked(value, dimensions)) == len(shipped.content)


# -- the page --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def address(few_emoji: None) -> Iterator[str]:
    with running(embedding_map.build_demo(Models(FIRST, SECOND))) as url:
        yield url


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """With a WebGL of its own: the map is drawn by it where it can be."""
    with open_browser("--enable-unsafe-swiftshader") as browser:
        yield browser


class MapVisit(Visit):
    ready = "#map-points tbody tr"

    def go(self, path: str) -> None:
        self.page.goto(self.address + path)
        self.page.wait_for_selector(self.ready)

    def points(self, plot: str = "#map-plot") -> dict[int, tuple[float, float]]:
        """Every point that is drawn by row, from plotly's own data; one's own have no row."""
        found = self.page.evaluate(
            """selector => document.querySelector(selector + ' .map-plot').data
                .filter(trace => trace.customdata)
                .flatMap(({customdata, x, y}) => customdata.map((row, i) => [row, x[i], y[i]]))""",
            plot,
        )
        return {row: (x, y) for row, x, y in found if isinstance(row, int)}

    def pixel(self, row: int) -> tuple[float, float]:
        """Where on the screen a row is drawn."""
        return tuple(
            self.page.evaluate(
                """([x, y]) => {
                    const plot = document.querySelector('#map-plot .map-plot');
                    const {xaxis, yaxis} = plot._fullLayout, box = plot.getBoundingClientRect();
                    const place = (axis, at) => axis._offset + axis.l2p(at);
                    return [box.x + place(xaxis, x), box.y + place(yaxis, y)];
                }""",
                list(self.points()[row]),
            )
        )

    def near(self, name: str, panel: str = "#map-near") -> list[str]:
        self.page.locator(f"{panel} .map-near-item b", has_text=name).wait_for()
        return self.page.locator(
            f"{panel} .map-near-pictures li span:nth-of-type(2)"
        ).all_inner_texts()

    def heading(self, text: str) -> None:
        self.page.locator("#map-points h4", has_text=text).wait_for()


@pytest.fixture(scope="module")
def visit(browser: Browser, address: str) -> Iterator[MapVisit]:
    """One page for all tests: plotly takes a while to read, and is read once."""
    visit = MapVisit(browser, address, 1280, 1400)
    yield visit
    visit.close()


@pytest.fixture
def desk(visit: MapVisit) -> Iterator[MapVisit]:
    visit.go("")
    yield visit
    assert visit.complaints == []


def names_near(here: ModelMap, row: int) -> list[str]:
    cosines = here.vectors[:PICTURES] @ here.vectors[row]
    return [SMALL.names[i] for i in np.argsort(-cosines, kind="stable") if i != row][:8]


@pytest.mark.browser
@no_browser
def test_all_points_are_drawn_where_they_lie(desk: MapVisit, here: ModelMap) -> None:
    points = desk.points()
    assert np.array([points[row] for row in range(len(SMALL))]) == pytest.approx(
        here.points("gap"), abs=1e-5
    )
    kinds = desk.page.evaluate(
        """() => document.querySelector('#map-plot .map-plot').data
            .map(trace => [trace.type, trace.marker.symbol, trace.customdata])"""
    )
    for kind, symbol, rows in kinds:
        assert kind == "scattergl"
        assert symbol.startswith("diamond" if rows[0] >= PICTURES else "circle")
    desk.heading(f"{len(SMALL)} points in view")


@pytest.mark.browser
@no_browser
def test_a_click_brings_the_true_neighbours(desk: MapVisit, here: ModelMap) -> None:
    points = here.points("gap")
    gaps = np.linalg.norm(points[:, None] - points[None], axis=-1) + 9 * np.eye(len(points))
    row = int(gaps.min(axis=1)[:PICTURES].argmax())  # the picture that stands most alone
    at = desk.pixel(row)
    desk.page.mouse.move(*at)
    desk.page.locator("#map-plot .map-tip b", has_text=SMALL.names[row]).wait_for()
    assert "blob:" in str(
        desk.page.wait_for_function(
            "document.querySelector('.map-tip .map-thumb').style.backgroundImage"
        ).json_value()
    )
    desk.page.mouse.click(*at)
    assert desk.near(SMALL.names[row]) == names_near(here, row)
    assert f"map_item={row}" in desk.page.url
    told = desk.page.locator("#map-near .map-near-true").inner_text()
    value = near_value(here, "gap", 2, 0.0, [], str(row))
    assert f"map, {value['true']} " in told
    with desk.page.expect_download() as file:
        desk.page.locator("#map-near").get_by_role("button", name="Numbers (CSV)").click()
    rows = list(csv.reader(Path(file.value.path()).read_text("utf-8-sig").splitlines()))
    assert len(rows) == 17 and [row[3] for row in rows[1:9]] == names_near(here, row)


@pytest.mark.browser
@no_browser
def test_names_are_found_chosen_and_let_go_by_keyboard(desk: MapVisit, here: ModelMap) -> None:
    name = SMALL.names[11]
    desk.page.locator("#map-find textarea, #map-find input").first.fill(name.upper())
    desk.heading(f"found with “{name.upper()}”")
    desk.page.locator("#map-points .map-item").first.focus()
    desk.page.keyboard.press("Enter")
    assert desk.near(name) == names_near(here, 11)
    desk.page.locator("#map-near .map-near-clear").focus()
    desk.page.keyboard.press("Enter")
    desk.page.locator("#map-near .map-near-hint").wait_for()
    assert "map_item" not in desk.page.url


@pytest.mark.browser
@no_browser
def test_the_legend_hides_and_shows(desk: MapVisit) -> None:
    desk.page.evaluate("labMap.set('colour', 'modality')")
    desk.page.locator("#map-plot .map-legend button", has_text="text").click()
    desk.heading(f"{PICTURES} points in view")
    assert sorted(desk.points()) == list(range(PICTURES))
    button = desk.page.locator("#map-plot .map-legend button", has_text="text")
    assert button.get_attribute("aria-pressed") == "false"
    desk.page.get_by_role("button", name="Hide all colours").click()
    desk.heading("0 points in view")
    desk.page.get_by_role("button", name="Show all colours").click()
    desk.heading(f"{len(SMALL)} points in view")


@pytest.mark.browser
@no_browser
def test_a_box_makes_a_gallery_and_a_file(desk: MapVisit) -> None:
    pixels = np.array([desk.pixel(row) for row in range(len(SMALL))])
    (left, top), (right, _) = pixels.min(axis=0) - 4, pixels.max(axis=0) + 4
    heights = np.sort(pixels[:, 1])[5:60]
    widest = np.diff(heights).argmax()
    bottom = heights[widest : widest + 2].mean()  # a line that runs near no point
    inside = np.flatnonzero(pixels[:, 1] < bottom).tolist()
    desk.page.locator("#map-plot [data-title='Box Select']").click()
    desk.page.mouse.move(left, top)
    desk.page.mouse.down()
    desk.page.mouse.move((left + right) / 2, (top + bottom) / 2, steps=3)
    desk.page.mouse.move(right, bottom, steps=3)
    desk.page.mouse.up()
    desk.heading(f"{len(inside)} points chosen")
    assert desk.page.locator("#map-points .map-gallery .map-item").count() == len(inside)
    with desk.page.expect_download() as file:
        desk.page.locator("#map-points").get_by_role("button", name="Numbers (CSV)").click()
    rows = list(csv.DictReader(Path(file.value.path()).read_text("utf-8-sig").splitlines()))
    assert [int(row["row"]) for row in rows] == inside
    assert [row["name"] for row in rows] == [SMALL.names[i] for i in inside]
    desk.page.get_by_role("button", name="let go").click()
    desk.heading(f"{len(SMALL)} points in view")


@pytest.mark.browser
@no_browser
def test_the_table_is_sorted_and_turned_by_page(desk: MapVisit, here: ModelMap) -> None:
    desk.page.locator("#map-points thead button", has_text="x").click()
    header = desk.page.locator("#map-points th[aria-sort=ascending]")
    header.wait_for()
    names = desk.page.locator("#map-points tbody .map-item span:nth-of-type(2)").all_inner_texts()
    order = np.argsort(np.round(here.points("gap")[:, 0], 4), kind="stable")
    assert names == [SMALL.names[i] for i in order[:20]]
    desk.page.get_by_role("button", name="Next page").click()
    desk.page.locator("#map-points output", has_text="2 of 6").wait_for()


@pytest.mark.browser
@no_browser
def test_one_s_own_texts_and_pictures_land_and_leave(desk: MapVisit, here: ModelMap) -> None:
    bad = "<img src=x onerror=alert(1)><a href='javascript:alert(1)'>x</a>"
    picture = io.BytesIO()
    Image.new("RGB", (80, 60), "teal").save(picture, "PNG")
    desk.page.locator("#map-texts textarea").fill(f"{bad}\na drawing of a face")
    desk.page.locator("#map-plot .map-mine li").nth(1).wait_for()
    desk.page.locator("#map-files input[type=file]").set_input_files(
        FilePayload(name="mine.png", mimeType="image/png", buffer=picture.getvalue())
    )
    mine = desk.page.locator("#map-plot .map-mine li")
    mine.nth(2).wait_for()
    assert mine.nth(1).inner_text().split("\n")[1] == bad
    assert all("exact" in text for text in mine.all_inner_texts())
    drawn = desk.page.evaluate(
        """() => document.querySelector('#map-plot .map-plot').data
            .flatMap(trace => trace.text || [])"""
    )
    assert sorted(drawn) == ["1", "2", "3"]  # numbers, never what was written
    mine.nth(2).get_by_role("button").click()
    vector = FIRST.encode_texts(["a drawing of a face"])[0].numpy()
    order = np.argsort(-(here.vectors[:PICTURES] @ vector), kind="stable")
    assert desk.near("a drawing of a face") == [SMALL.names[i] for i in order[:8]]
    desk.page.locator("#map-texts textarea").fill("")
    desk.page.wait_for_function("document.querySelectorAll('#map-plot .map-mine li').length === 1")
    assert "map_texts" not in desk.page.url


@pytest.mark.browser
@no_browser
def test_the_gap_closes_and_a_zoom_stays(desk: MapVisit, here: ModelMap) -> None:
    ranges = "() => document.querySelector('#map-plot .map-plot').layout.xaxis.range"
    at = desk.pixel(5)
    desk.page.mouse.move(*at)
    before = desk.page.evaluate(ranges)
    desk.page.mouse.wheel(0, -300)
    desk.page.wait_for_function(f"before => ({ranges})()[1] < before[1]", arg=before)
    zoomed = desk.page.evaluate(ranges)
    desk.page.locator("#map-gap input[type=number]").fill("0.5")
    desk.page.keyboard.press("Tab")
    first = here.points("gap")[0, 0]
    desk.page.wait_for_function(
        """first => document.querySelector('#map-plot .map-plot').data.some(
            trace => trace.customdata?.[0] === 0 && Math.abs(trace.x[0] - first) > 0.01)""",
        arg=float(first),
    )
    points = desk.points()
    assert np.array([points[row] for row in range(len(SMALL))]) == pytest.approx(
        here.moved(0.5), abs=1e-5
    )
    assert desk.page.evaluate(ranges) == pytest.approx(zoomed)
    desk.page.evaluate("labMap.set('colour', 'language')")
    desk.page.locator("#map-plot .map-legend", has_text="German").wait_for()
    desk.page.evaluate("labMap.set('colour', 'modality')")
    desk.page.locator("#map-plot .map-legend", has_text="picture").wait_for()
    assert desk.page.evaluate(ranges) == pytest.approx(zoomed)
    desk.page.locator("#map-plot [data-title='Reset axes']").click()
    desk.page.wait_for_function(
        f"before => Math.abs(({ranges})()[1] - before[1]) < 1e-6", arg=before
    )


@pytest.mark.browser
@no_browser
@pytest.mark.parametrize("width", [1280, 390])
def test_two_models_mark_the_same_item(desk: MapVisit, width: int) -> None:
    visit = desk
    visit.page.set_viewport_size({"width": width, "height": 900})
    visit.go("?other=another&map_item=9&map=pca&map_dims=3")
    there = ModelMap(SECOND, SMALL)
    assert visit.near(SMALL.names[9], "#map-near-other") == names_near(there, 9)
    for plot, model in (("#map-plot", FIRST), ("#map-plot-other", SECOND)):
        ring = visit.page.evaluate(
            """selector => document.querySelector(selector + ' .map-plot').data
                .filter(one => one.mode === 'markers' && one.x.length && !one.customdata.length)
                .map(({x, y, z}) => [x[0], y[0], z[0]])[0]""",
            plot,
        )
        assert ring == pytest.approx(ModelMap(model, SMALL).points("pca", 3)[9], abs=1e-4)
    first, second = (visit.page.locator(p).bounding_box() for p in ("#map-plot", "#map-plot-other"))
    assert first and second
    assert (second["y"] > first["y"] + 100) if width == 390 else second["y"] == first["y"]
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= width
    visit.page.set_viewport_size({"width": 1280, "height": 1400})


# How opaque the picture that is dragged about is where each point has to be by now.
STAMPED = """way => {
    const plot = document.querySelector('#map-plot .map-plot');
    const canvas = plot.querySelector('.map-pan[data-along=xy] canvas');
    const axes = [plot._fullLayout.xaxis, plot._fullLayout.yaxis], pen = canvas.getContext('2d');
    const [frame, own] = [plot, canvas].map((node) => node.getBoundingClientRect());
    const from = [frame.x - own.x, frame.y - own.y], ratio = canvas.width / own.width;
    const opacity = (place) => {
        const pixel = axes.map((axis, i) => axis.l2p(place[i]) + axis._offset + way[i] + from[i]);
        return pen.getImageData(...pixel.map((one) => Math.round(one * ratio)), 1, 1).data[3] / 255;
    };
    return plot.data.filter((trace) => trace.customdata?.length)
        .flatMap(({ x, y }) => Array.from(x, (_, i) => opacity([x[i], y[i]])));
}"""
RANGES = """() => {
    const { xaxis, yaxis } = document.querySelector('#map-plot .map-plot')._fullLayout;
    return [...xaxis.range, ...yaxis.range, xaxis._length, yaxis._length];
}"""


@pytest.mark.browser
@no_browser
def test_a_dragged_map_follows_the_pointer_and_plotly_learns_where_it_led(desk: MapVisit) -> None:
    desk.page.evaluate("labMap.set('colour', 'modality')")  # filled signs only
    desk.page.locator("#map-plot .map-legend", has_text="text").wait_for()
    left, right, low, high, wide, tall = desk.page.evaluate(RANGES)
    x, y = desk.pixel(7)
    desk.page.mouse.move(x, y)
    desk.page.mouse.down()
    desk.page.mouse.move(x + 40, y + 30, steps=3)
    desk.page.mouse.move(x + 120, y - 50, steps=3)
    assert desk.page.evaluate(RANGES)[:2] == [left, right]  # plotly knows nothing of it yet
    assert desk.page.evaluate("labMap.maps.first.plot.querySelectorAll('.map-pan').length") == 3
    stamped = desk.page.evaluate(STAMPED, [120, -50])
    assert len(stamped) == len(SMALL) and min(stamped) > 0.5
    elsewhere = desk.page.evaluate(STAMPED, [0, 0])
    assert np.mean(elsewhere) < 0.5
    desk.page.evaluate("labMap.set('colour', 'language')")  # drawn anew, but not before the end
    desk.page.mouse.up()
    desk.page.wait_for_function(f"left => ({RANGES})()[0] !== left", arg=left)
    after = desk.page.evaluate(RANGES)
    across, up = 120 * (right - left) / wide, -50 * (high - low) / tall
    expected = [left - across, right - across, low + up, high + up]
    assert after[:4] == pytest.approx(expected, abs=1e-3 * (right - left))
    desk.page.wait_for_function("!document.querySelector('.map-pan, .map-panning')")
    desk.page.locator("#map-plot .map-legend", has_text="German").wait_for()


@pytest.mark.browser
@no_browser
def test_a_drag_there_and_back_is_no_click(desk: MapVisit) -> None:
    x, y = desk.pixel(7)
    before = desk.page.evaluate(RANGES)
    desk.page.mouse.move(x, y)
    desk.page.locator("#map-plot .map-tip b").wait_for()  # a click here would choose this point
    desk.page.mouse.down()
    desk.page.mouse.move(x + 60, y, steps=2)
    desk.page.mouse.move(x + 1, y, steps=2)
    desk.page.mouse.up()
    desk.page.wait_for_timeout(300)
    assert desk.page.evaluate("labMap.state.item") == ""
    assert desk.page.evaluate(RANGES) == pytest.approx(before)


@pytest.mark.browser
@no_browser
def test_nothing_is_loaded_or_encoded_before_the_tab_is_opened(browser: Browser) -> None:
    def tabs(frame) -> None:
        with gr.Tabs():
            with gr.Tab("Elsewhere"):
                gr.Markdown("nothing here", elem_id="elsewhere")
            with gr.Tab("Map"):
                embedding_map.layout(frame)

    class Elsewhere(MapVisit):
        ready = "#elsewhere"

    with running(build("test", Models(FIRST, SECOND), tabs)) as url:
        visit = Elsewhere(browser, url, 1280, 900, "?other=another&map_item=3")
        visit.page.wait_for_timeout(800)
        assert not any("plotly" in request for request in visit.requests)
        assert visit.page.evaluate("Object.keys(labMap.maps).length") == 0
        visit.page.get_by_role("tab", name="Map").click()
        assert visit.near(SMALL.names[3], "#map-near-other")
        assert sum("plotly" in request for request in visit.requests) == 1
        visit.close()


@pytest.mark.browser
@no_browser
def test_without_webgl_the_map_is_drawn_all_the_same(browser: Browser, address: str) -> None:
    plain = browser.browser_type.launch(
        executable_path=str(CHROMIUM), args=[*QUIET, "--disable-3d-apis"]
    )
    visit = MapVisit(plain, address, 390, 844)
    assert len(visit.points()) == len(SMALL)
    assert visit.page.locator("#map-plot .scatterlayer .point").count() >= len(SMALL)
    visit.close()
    plain.close()


def test_the_api_answers_with_values_and_sentences(address: str) -> None:
    client = Client(address, verbose=False, analytics_enabled=False)
    first, second, _ = client.predict(
        "tiny", "another", "pca", 2, 0.2, None, "a cat", "group", api_name="/map"
    )
    assert first["model"] == "tiny" and len(second["mine"]) == 1
    first, second, _ = client.predict("tiny", "", "../x", 2, 0, None, "", "group", api_name="/map")
    assert "no view" in first["error"] and second is None
    first, _ = client.predict("3", "nobody", "", "gap", 2, 0, None, "", api_name="/near")
    assert "no model" in first["error"]


def test_plotly_is_the_only_file_that_is_served(address: str) -> None:
    with urlopen(address + "lab/plotly.min.js") as answer:
        assert b"plotly.js" in answer.read(100)
    page = urlopen(address).read().decode() + urlopen(address + "config").read().decode()
    assert "site-packages" not in page and str(Path.cwd()) not in page
    for path in ("lab/", "lab/plotly.py", "lab/../plotly.py", "lab/%2e%2e/plotly.py"):
        try:
            assert b"plotly" not in urlopen(address + path).read(2000)
        except OSError as error:
            assert "404" in str(error)
