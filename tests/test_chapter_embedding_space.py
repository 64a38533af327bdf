"""Chapter 12: its sentences against its measurements, its parts against the lab's, its widget."""

import base64
import re

import numpy as np
import pytest
import torch
from torch.nn import functional as F

pytest.importorskip("jupytext", reason="the course needs the extra 'notebooks'")
pytest.importorskip("anywidget", reason="the course needs the extra 'notebooks'")

from chromium import grave_faults, visit, widget_page
from course_run import Run, chapter, prose

from clip_lab import maps
from clip_lab.data.emoji_table import emoji_table
from clip_lab.errors import LabError
from clip_lab.evaluation.retrieval import ranks_of_best
from clip_lab.experiments.registry import experiment
from clip_lab.experiments.report import results
from clip_lab.view.chapters import embedding_space as figures
from clip_lab.view.figures import describe
from clip_lab.view.widgets import static_html
from clip_lab.view.widgets.map import MapWidget

CHAPTER = chapter("12_embedding_space")


class TestRun(Run):
    """Stopped at each gap, and quick."""


def recall_at_1(ran, scores) -> float:
    return float((ran["partner_ranks"](scores) == 1).float().mean())


# What the chapter says of its measurements


def test_it_never_runs_umap(ran):
    assert ran["emoji_map"].is_shipped


def test_the_collection_is_what_it_says(ran):
    assert len(set(ran["names"])) == ran["n"] == 300
    assert ran["image_vectors"].shape == ran["text_vectors"].shape == (300, 256)
    for rows in (ran["image_vectors"], ran["text_vectors"], ran["new_images"]):
        assert torch.allclose(rows.norm(dim=1), torch.ones(len(rows)), atol=1e-5)
    names = [ran["content"].names[row] for row in ran["content"].targets[ran["rows"]]]
    assert names == ran["names"]  # the UMAP's points are those of these names
    assert len(ran["new_names"]) == 151
    assert len(ran["content"]) == 5733  # "all 5,733 vectors"
    held_out = {emoji_table().rows[row].label for row in emoji_table().bases("heldout", ["noto"])}
    unread = [name in held_out for name in ran["names"]]
    assert unread == ran["unread"].tolist()
    assert sum(unread) < 60  # "most of them the model was trained on"


def test_the_labs_index_finds_the_same(ran):
    assert ran["same"]
    assert ran["hits"].keys() == {"vehicle", "happy", "animal", "love"}


def test_the_ways_differ_and_new_things_are_hard(ran):
    new = ran["new_scores"]
    there, back = recall_at_1(ran, new), recall_at_1(ran, new.T)
    assert there != back
    assert (
        max(there, back)
        < 0.25
        < 0.8
        < recall_at_1(ran, ran["image_vectors"] @ ran["text_vectors"].T)
    )
    assert ran["partner_ranks"](new).median() > 5


def test_hubs_are_names_never_read_and_lie_on_the_pictures_side(ran):
    counts, unread = ran["of_names"], ran["unread"]
    assert counts.sum() == 3000
    assert counts.max() > 80
    assert ran["of_pictures"].max() < 40
    assert unread[counts.topk(5).indices].sum() >= 3  # "most of the first"
    assert counts[unread].float().mean() > 2 * counts[~unread].float().mean()
    along = (ran["text_vectors"] @ ran["gap"])[counts.argmax()]
    assert along > (ran["text_vectors"] @ ran["gap"]).quantile(0.95)  # "on which side of the gap?"
    assert along > (ran["image_vectors"] @ ran["gap"]).median()


def test_there_is_a_gap_and_closing_it_mixes_lists_but_finds_no_more(ran):
    assert ran["gap"].norm() > 5 * ran["chance_gap"]
    assert experiment("modality_gap").published.startswith("0.82")
    assert results()["modality_gap"].verdict.word == "holds"
    curves = {name: [float(value) for value in values] for name, values in ran["curves"].items()}
    for way in ("text to picture", "picture to text"):
        assert abs(curves[way][4] - curves[way][0]) < 0.05
    assert curves["cosine"][4] > curves["cosine"][0] + 0.04
    assert curves["mixed"][0] < 0.45 < curves["mixed"][4]  # "mostly other texts"
    assert ran["shares"][4] == 0.5


def test_umap_keeps_several_times_as_many_neighbours_and_most_are_false(ran):
    truth = ran["truth"]
    assert 5 > truth["UMAP"] > 3 * truth["PCA"] > 3 * 0.3
    assert round(100 / 599, 1) == 0.2  # "by chance 0.2": ten drawn of 599, ten of them true
    kept = ran["kept"]
    assert kept[10] < 0.8 < kept[20]
    assert kept[2] < 0.15


def test_beyond_the_neighbours_umaps_distances_say_next_to_nothing(ran):
    assert abs(ran["far"]["UMAP"]) < 0.15 < ran["far"]["PCA"] - 0.1
    pairs = len(ran["in_space"])
    assert f"{pairs:,} pairs" in prose(CHAPTER)
    on_map, true = ran["by_map"]["UMAP"]
    tenths = [some.median() for some in true[on_map.argsort()].tensor_split(10)]
    assert tenths[2] - tenths[0] > 2 * (tenths[9] - tenths[3])  # "all but flat"
    low, high = true.quantile(0.1), true.quantile(0.9)
    assert (round(float(low), 1), round(float(high), 1)) == (1.1, 1.5)


def test_the_wrong_index_always_answers_with_the_shortest(ran):
    outcome, lengths = ran["outcome"], ran["lengths"]
    assert outcome["cosine"] == outcome["squared distance, length 1"]
    assert outcome["squared distance, raw"][1] == 300
    assert outcome["squared distance, raw"][0] < 0.02
    assert 0.5 < outcome["inner product, raw"][0] < outcome["cosine"][0] - 0.1
    short = ran["to_find"]["squared distance, raw"].topk(10).indices.unique()
    assert lengths[short].max() < lengths.quantile(0.1)  # "the shortest vectors win"
    lists = ran["to_find"]["inner product, raw"].topk(10).indices
    usual = ran["to_find"]["cosine"].topk(10).indices
    assert lengths[lists].mean() > lengths[usual].mean() + 2  # "long vectors win"


def test_words_add_up_where_the_model_learnt_to_read_them(ran):
    right, bare, alone = ran["recolouring"].values()
    assert right > 0.6 > 0.1 > max(bare, alone)
    assert len(ran["tasks"]) == 3960
    assert len(ran["things"]) == 396


def test_csls_takes_the_hubs_down_and_helps_where_the_model_is_weak(ran):
    before, after = ran["new_scores"], ran["relieved"]
    assert recall_at_1(ran, after) > recall_at_1(ran, before) + 0.02
    assert ran["most"][1] < 0.7 * ran["most"][0]
    strong = ran["image_vectors"] @ ran["text_vectors"].T
    gain = recall_at_1(ran, ran["csls"](strong, 10)) - recall_at_1(ran, strong)
    assert gain < recall_at_1(ran, after) - recall_at_1(ran, before)


# What is built, against the lab's own


def test_what_is_built_is_the_labs(ran):
    images, texts = ran["image_vectors"], ran["text_vectors"]
    wanted = ranks_of_best(images, texts, [[i] for i in range(300)]) + 1
    assert torch.equal(ran["partner_ranks"](images @ texts.T), wanted)
    report = ran["ours"].text_to_image
    ranks = ran["partner_ranks"](texts @ images.T)
    assert report == pytest.approx([float((ranks <= k).float().mean()) for k in (1, 5, 10)])
    both, points = ran["both"].numpy(), ran["pca_points"].numpy()
    theirs = maps.pca(both)
    assert np.allclose(np.abs(theirs.project(both)), np.abs(points), atol=1e-4)
    assert np.allclose(theirs.shares, ran["pca_shares"], atol=1e-5)
    some = [maps.true_on_map(points, both, row, 10) for row in range(600)]
    assert ran["neighbours_kept"](ran["pca_points"], ran["both"], 10) == pytest.approx(
        np.mean(some) / 10, abs=0.002
    )


# Figures


def test_figures_say_what_they_show():
    picture = np.zeros((4, 4, 3))
    words = describe(figures.found({"a wish": [(picture, "one", 0.5), (picture, "two", 0.4)]}))
    assert "“a wish” finds one, two" in words
    words = describe(figures.hubs({"lists": [1, 30, 2]}, ["a", "b", "c"], lists=11, predicted=20))
    assert "most often b 30, c 2, a 1; least 1. The mean is 11" in words
    words = describe(
        figures.closing([0, 0.5, 1], {"x": {"way": [0.9, 0.8, 0.7]}, "y": {"z": [0, 0, 0]}})
    )
    assert "way: 90 %, at a half 80 %" in words
    assert "of 2 pictures" in describe(
        figures.maps({"A: true": np.eye(4)[:, :2], "B": np.eye(4)[:, :2]}, pairs=2)
    )
    words = describe(figures.truth_by_distance({"M": (np.arange(100), np.arange(100) / 100)}))
    assert re.search(r"M: medians 0.0[45], 0.4[45], 0.9[45]", words)
    words = describe(figures.indexes({"cosine": (0.91, 23), "raw": (0.003, 300)}, queries=300))
    assert "raw: 0.3%, favourite on 300 lists" in words


# The widget: its Python side

N, D = 24, 6
NAMES = ["cat", "</script><b>bold</b>", "斑马", *(f"thing {k}" for k in range(3, N))]


def vectors() -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(8)
    shared = random.normal(size=(N, D))
    kinds = [shared + random.normal(size=(N, D)) + side for side in (0.8, -0.8)]
    images, texts = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in kinds)
    return images, texts


def views() -> dict:
    images, texts = vectors()
    bent = np.random.default_rng(9).uniform(-3, 3, size=(2 * N, 2))
    return {"gap axes": maps.gap_axes(images, texts), "UMAP": bent}


def pictures() -> list[np.ndarray]:
    return [np.full((20, 20, 3), 9 * k, np.uint8) for k in range(N)]


def widget(**options) -> MapWidget:
    return MapWidget(*vectors(), NAMES, pictures(), views(), **options)


def test_it_holds_what_it_was_given():
    made = widget(chosen=3)
    sent = np.frombuffer(base64.b64decode(made.vectors), "<i2").reshape(2 * N, D) / 32767
    assert np.allclose(sent, np.concatenate(vectors()), atol=2e-5)
    assert (made.view, made.share, made.chosen, made.names) == ("gap axes", 0, 3, NAMES)
    assert made.sheet.startswith("data:image/webp;base64,")
    assert np.allclose(made.views[0]["axes"], views()["gap axes"].axes, atol=1e-6)
    floats = MapWidget(*vectors(), NAMES, [p / 255 for p in pictures()], views())
    assert floats.sheet == made.sheet


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"image_vectors": vectors()[0][:5]}, "24 names need as many"),
        ({"pictures": pictures()[:2]}, "2 pictures"),
        ({"image_vectors": vectors()[0] * 30}, "length 1"),
        ({"image_vectors": vectors()[0] * np.nan}, "length 1"),
        ({"pictures": [p[..., 0] for p in pictures()]}, "height, width, 3"),
        ({"views": {}}, "at least one view"),
        ({"views": {"UMAP": np.zeros((N, 2))}}, "48 points"),
        ({"views": {"UMAP": np.full((2 * N, 2), np.nan)}}, "48 points"),
        ({"views": {"PCA": maps.pca(vectors()[0], 3)}}, "two axes of 6"),
        ({"chosen": 2 * N}, "Rows go from 0 to 47"),
    ],
)
def test_what_it_can_not_show_is_told(change, words):
    images, texts = vectors()
    given = {"image_vectors": images, "text_vectors": texts, "names": NAMES,
             "pictures": pictures(), "views": views()}  # fmt: skip
    with pytest.raises(LabError, match=words):
        MapWidget(**{**given, **change})


def test_an_unknown_view_is_told():
    made = widget()
    made.view = "UMAP"
    with pytest.raises(LabError, match="no view “TSNE”"):
        made.view = "TSNE"


def test_names_can_not_end_the_script_they_stand_in():
    html = static_html(widget())
    assert html.count("</script>") == 1
    assert html.count("export ") == 0


# The widget in a page without a kernel


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return widget_page(tmp_path_factory.mktemp("widget"), widget(), widget(chosen=5))


def shifted(share: float) -> np.ndarray:
    images, texts = (torch.from_numpy(rows) for rows in vectors())
    step = share * (images.mean(0) - texts.mean(0))
    both = torch.cat([F.normalize(images - step, dim=1), F.normalize(texts + step, dim=1)])
    return both.numpy()


def wanted_lists(chosen: int, share: float = 0.0) -> list[list[tuple[str, float]]]:
    """The six nearest pictures and texts, as an independent computation has them."""
    rows = shifted(share)
    cosines = rows @ rows[chosen]
    cosines[chosen] = -9
    lists = []
    for kind in (range(N), range(N, 2 * N)):
        best = sorted(kind, key=lambda row: -cosines[row])[:6]
        own = [" (its own)" if row == (chosen + N) % (2 * N) else "" for row in best]
        lists.append([(NAMES[r % N] + o, cosines[r]) for r, o in zip(best, own, strict=True)])
    return lists


def agree(page, chosen: int, share: float = 0.0) -> bool:
    shown = []
    for table in page.locator(".cle >> nth=0 >> table").all():
        names = table.locator("th").all_inner_texts()
        values = table.locator("td:last-child").all_inner_texts()
        shown.append([(n, float(v.replace("−", "-"))) for n, v in zip(names, values, strict=True)])
    right = wanted_lists(chosen, share)
    return all(
        [n for n, _ in a] == [n for n, _ in b]
        and np.allclose([v for _, v in a], [v for _, v in b], atol=0.0052)
        for a, b in zip(shown, right, strict=True)
    )


def said(page) -> str:
    return page.locator(".cle .cl-said").first.inner_text()


def places(page) -> np.ndarray:
    """Where the marks lie, pictures first, in the map's units. (Marks change their order.)"""
    return np.array(
        page.evaluate("""() => [...document.querySelector(".cle-points").children]
          .map((mark) => [Number(mark.dataset.row),
            ...mark.style.translate.split(" ").map(parseFloat)])
          .sort((a, b) => a[0] - b[0]).map(([, x, y]) => [x, y ?? 0])""")
    )


def close(page, share: float) -> None:
    page.locator("input[type=range]").first.evaluate(
        "(e, v) => { e.value = v; e.dispatchEvent(new Event('input')); }", share
    )


@pytest.mark.browser
def test_neighbours_are_those_of_the_full_space_and_the_slider_moves_them(browser, file):
    with visit(browser, file) as page:
        assert agree(page, 0)
        images, texts = vectors()
        apart = np.linalg.norm(images.mean(0) - texts.mean(0))
        assert f"centroids: {apart:.2f}" in page.locator(".cle-gap").first.inner_text()
        before = places(page)
        close(page, 0.5)
        assert agree(page, 0, 0.5)
        now = places(page)
        assert np.abs(now - before).max() > 20
        view = views()["gap axes"]
        wanted = view.project(shifted(0.5))
        scale = np.ptp(now[:, 0]) / np.ptp(wanted[:, 0])
        assert np.allclose((now[:, 0] - now[0, 0]) / scale, wanted[:, 0] - wanted[0, 0], atol=0.01)
        assert np.allclose((now[0, 1] - now[:, 1]) / scale, wanted[:, 1] - wanted[0, 1], atol=0.01)
        rest = shifted(0.5)
        left = np.linalg.norm(rest[:N].mean(0) - rest[N:].mean(0))
        assert (
            f"Distance of the centroids: {left:.2f}" in page.locator(".cle-gap").first.inner_text()
        )
        assert "50 % of the gap" in page.locator(".cle-gap").first.inner_text()


@pytest.mark.browser
def test_it_says_how_true_the_map_is(browser, file):
    with visit(browser, file) as page:
        page.get_by_label("UMAP").first.check(force=True)
        assert page.locator("input[type=range]").first.is_disabled()
        both = np.concatenate(vectors())
        true = maps.true_on_map(np.array(views()["UMAP"]), both, 0, 10)
        cosines = both @ both[0]
        cosines[0] = -9
        pictures = int((np.argsort(-cosines)[:10] < N).sum())
        assert f"Of the 10 beside it on this map, {true} are among them" in said(page)
        assert f"{pictures} are pictures and {10 - pictures} texts" in said(page)
        order = sorted(range(N, 2 * N), key=lambda row: -cosines[row])
        assert f"Its own name is number {order.index(N) + 1} of 24 texts" in said(page)


@pytest.mark.browser
def test_a_click_and_a_name_choose(browser, file):
    with visit(browser, file) as page:
        # a mark that no other lies near, so that the click can mean nothing else
        at = places(page)
        gaps = np.linalg.norm(at[:, None] - at[None], axis=2) + 1e9 * np.eye(2 * N)
        row = int(gaps.min(1).argmax())
        box = page.locator(".cle-plot svg").first.bounding_box()
        scale = box["width"] / 640
        spot = box["x"] + at[row][0] * scale, box["y"] + at[row][1] * scale
        page.mouse.move(*spot)
        kind = "Picture of" if row < N else "Text"
        assert page.locator(".cle-hover").first.text_content() == f"{kind} “{NAMES[row % N]}”"
        page.mouse.click(*spot)
        assert agree(page, row)
        assert said(page).startswith(f"{kind} “{NAMES[row % N]}”.")
        page.get_by_label("Choose by name").first.select_option(value=str(N + 1))
        assert agree(page, N + 1)
        assert said(page).startswith("Text “</script><b>bold</b>”.")  # text, not markup
        # the other map on the page stayed where it was
        assert "thing 5" in page.locator(".cle .cl-said").last.inner_text()


@pytest.mark.browser
def test_the_arrow_keys_walk_the_map(browser, file):
    with visit(browser, file) as page:
        at, start = places(page), 0
        page.locator(".cle-plot").first.focus()
        for key, axis, sign in (("ArrowRight", 0, 1), ("ArrowUp", 1, -1), ("ArrowLeft", 0, -1),
                                ("ArrowDown", 1, 1)):  # fmt: skip
            page.keyboard.press(key)
            now = int(page.locator("select").first.input_value())
            if now != start:
                step = sign * (at[now] - at[start])
                assert step[axis] > 0
                assert abs(step[1 - axis]) <= step[axis] + 0.2
            assert agree(page, now)
            start = now
        assert start != 0


@pytest.mark.browser
def test_the_keyboard_reaches_everything(browser, file):
    with visit(browser, file) as page:
        reached = []
        for _ in range(4):
            page.keyboard.press("Tab")
            reached.append(page.evaluate("document.activeElement.type || 'map'"))
        assert reached == ["radio", "range", "map", "select-one"]


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_has_no_serious_fault(browser, file, scheme):
    with visit(browser, file, color_scheme=scheme) as page:
        assert grave_faults(page) == []


@pytest.mark.browser
def test_it_fits_a_phone(browser, file):
    with visit(browser, file, width=360) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
