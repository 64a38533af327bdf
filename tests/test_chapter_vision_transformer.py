"""Chapter 3: its figures bear out its words, what is built is the lab's own, its widget works."""

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

pytest.importorskip("jupytext", reason="the course needs the extra 'notebooks'")
pytest.importorskip("anywidget", reason="widgets need the extra 'notebooks'")

from chromium import grave_faults, visit, widget_page
from course_run import Run, chapter

from clip_lab.errors import LabError
from clip_lab.evaluation.accuracy import wilson
from clip_lab.model import CONFIGS, ViTConfig
from clip_lab.model.vit import VisionTransformer
from clip_lab.pretrained.build import resize_positions
from clip_lab.view.chapters import vision_transformer as figures
from clip_lab.view.chapters.vision_transformer import by_distance
from clip_lab.view.figures import describe
from clip_lab.view.widgets.patches import PatchesWidget, vit_cost

CHAPTER = chapter("vision_transformer")
SIDE, GRID, WIDTH = 24, 6, 5


class TestRun(Run):
    """Stopped at each gap, and quick."""


# What the chapter says, measured


def test_what_is_built_is_what_the_lab_has(ran):
    tower, noise = ran["tower"], ran["noise"]
    with torch.no_grad():
        tokens = tower.conv1(noise).flatten(2).transpose(1, 2)
        cut = ran["cut"](noise, ran["PATCH"]) @ tower.conv1.weight.flatten(1).T
        assert torch.allclose(cut, tokens, atol=1e-5)
        assert torch.allclose(ran["read"](tokens, tower), tower(noise), atol=1e-5)
        q, k, v = torch.randn(3, 2, 7, 32)
        a, b, c = (x.unflatten(2, (4, 8)).transpose(1, 2) for x in (q, k, v))
        mixed = F.scaled_dot_product_attention(a, b, c).transpose(1, 2).flatten(2)
        assert torch.allclose(ran["attend"](q, k, v, 4), mixed, atol=1e-5)
        lab = ran["lab"]
        yours = ran["block"](tokens, lab.ln_1, ran["attention"], lab.ln_2, lab.mlp)
        assert torch.allclose(yours, lab(tokens), atol=1e-5)
    places = tower.positional_embedding.detach()
    assert torch.allclose(ran["resize"](places, 12), resize_positions(places, 8, 12, 1))


def test_four_times_the_tokens_cost_four_times_as_much(ran):
    assert ran["work"][1] / ran["work"][0] == pytest.approx(4, abs=0.05)
    n = 4608  # where pairs overtake the matrices
    assert 12 * n * 768**2 == 2 * n**2 * 768
    assert ran["block_cost"](50, 768) * 12 == sum(
        count for part, count in vit_cost(224, 32, 768, 12).items() if part != "patches to tokens"
    )
    weights = sum(p.numel() for p in ran["tower"].parameters())
    assert round(weights, -4) == 30_000


def test_order_is_known_from_positions_alone(ran):
    changes = ran["changes"]
    assert changes["with their positions"] < 1e-4
    assert changes["without positions"] < 1e-4
    assert changes["positions stay"] > 1


def test_neighbours_are_learnt(ran):
    def near_and_far(positions):
        rows = F.normalize(torch.as_tensor(positions)[1:], dim=1)
        means = by_distance((rows @ rows.T).numpy())[1]
        return means[0], means[4]

    near, far = near_and_far(ran["untrained"])
    assert abs(near - far) < 0.05
    near, far = near_and_far(ran["trained"])
    assert near > far + 0.2


def test_opposite_edges_come_out_alike_and_hold_no_centre(ran):
    rows = F.normalize(torch.as_tensor(ran["trained"])[1:], dim=1)
    means = by_distance((rows @ rows.T).numpy())[1]
    assert means[6] > means[4] + 0.1
    centres = ran["scenes"].centre[:, 0]
    assert 1 / 8 < float(centres.min()) < float(centres.max()) < 7 / 8
    assert (ran["far"] - ran["even"]).abs().max() < 0.5  # heads look about everywhere


def test_each_mistake_costs_what_the_chapter_says(ran):
    colour, place, cosine = (
        {name: row[k] for name, row in ran["measured"].items()} for k in range(3)
    )
    sound, (_, commonest) = "as it should be", ran["guessed"]
    assert cosine[sound] == pytest.approx(1, abs=1e-4)
    assert colour[sound] > 0.95
    assert place[sound] > 0.55
    for name in ("one position", "48 px, zeros"):  # colours stay, places go
        assert colour[name] > 0.85
        assert place[name] == pytest.approx(commonest, abs=0.03)
    assert colour["reshape alone"] < ran["guessed"][0] + 0.05
    assert place["reshape alone"] < 0.35
    assert colour["no ln_pre"] < colour[sound] - 0.05
    assert place["no ln_pre"] < place[sound] - 0.05
    assert colour["GELU"] > 0.95
    assert place["GELU"] > place[sound] - 0.03  # of the three to choose from it costs the least
    assert cosine["GELU"] > 0.999
    assert place["48 px, resized"] > place[sound] - 0.1
    x = torch.linspace(-8, 8, 4001)
    assert float((F.gelu(x) - x * (1.702 * x).sigmoid()).abs().max()) < 0.0205


def test_what_guessing_finds(ran):
    """Three shapes in four lie on the four middle places, so one answer for all finds a fifth."""
    middle = torch.isin(ran["spots"], torch.tensor([5, 6, 9, 10])).float().mean()
    assert float(middle) == pytest.approx(0.75, abs=0.04)
    colour, place = ran["guessed"]
    assert place == pytest.approx(0.2, abs=0.02)
    assert colour < 0.13


def test_reshape_alone_takes_most_patches_from_one_colour():
    channel = torch.arange(3).repeat_interleave(32 * 32).reshape(64, -1)
    assert ((channel == channel[:, :1]).all(dim=1).float().mean()) > 0.95


def test_figures_say_what_they_show():
    picture = np.random.default_rng(0).random((16, 16, 3))
    assert "4 by 4 patches of 4 pixels" in describe(figures.sequence(picture, 4))
    assert "patch 32: 50 tokens, 4.4 G" in describe(figures.cost_by_patch([32, 16]))
    rows = {"sound": (0.9, 0.8, 1.0), "worse": (0.5, 0.06, -0.1)}
    words = describe(figures.accuracy_bars(rows, (0.1, 0.2), n=1000, interval=wilson))
    assert "worse: colour 50%, place 6%, cosine -0.100" in words
    assert "untrained" in describe(figures.places(positions(), positions(), 3))


# The cost that figure and widget show


def test_the_cost_is_what_torch_counts():
    for name in ("ViT-B-32", "ViT-B-16"):
        vision = CONFIGS[name].vision
        assert isinstance(vision, ViTConfig)
        with torch.device("meta"):
            tower = VisionTransformer(vision, 512, "quick_gelu", 1e-5)
            picture = torch.zeros(1, 3, 224, 224)
            tokens = torch.zeros(1, (224 // vision.patch_size) ** 2 + 1, vision.width)
        with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
            tower.conv1(picture)
            tower.transformer(tokens)
        cost = vit_cost(224, vision.patch_size, vision.width, vision.layers)
        assert 2 * sum(cost.values()) == counter.get_total_flops()


# The widget, in Python


def picture() -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)


def positions() -> np.ndarray:
    return np.random.default_rng(2).normal(size=(1 + GRID**2, WIDTH))


def test_the_widget_holds_what_it_was_given():
    made = PatchesWidget(picture(), positions(), layers=3)
    assert (made.patch, made.token, made.layers) == (4, 1, 3)
    assert made.sizes == [2, 3, 4, 6, 8, 12]
    assert np.array_equal(made.pixels, picture())
    assert np.allclose(made.positions, positions(), atol=1e-5)
    assert PatchesWidget(picture() / 255, positions()).pixels == made.pixels
    bundle, _ = made._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert bundle["text/html"].count("</script>") == 1


@pytest.mark.parametrize(
    ("picture", "positions", "options", "words"),
    [
        (picture()[:, :20], positions(), {}, "side, side, 3"),
        (picture()[..., 0], positions(), {}, "side, side, 3"),
        (np.zeros((96, 96, 3)), positions(), {}, "2 to 64"),
        (picture(), positions()[1:], {}, "class token's, then a square grid's"),
        (picture(), positions()[0], {}, "class token's, then a square grid's"),
        (picture(), positions() * np.nan, {}, "nan or inf"),
        (picture()[:20, :20], positions(), {}, "6 times a patch"),
        (picture(), positions(), {"patch": 5}, "These do: 2, 3, 4"),
        (picture(), positions(), {"token": 37}, "0 to 36"),
    ],
)
def test_what_the_widget_can_not_show_is_told(picture, positions, options, words):
    with pytest.raises(LabError, match=words):
        PatchesWidget(picture, positions, **options)


# The widget, in a page


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    made = PatchesWidget(picture(), positions(), layers=3)
    return widget_page(tmp_path_factory.mktemp("patches"), made)


def cosines(grid: int, token: int) -> np.ndarray:
    """Of one position with all, on a grid of another size; computed apart from the widget."""
    given = torch.tensor(positions())
    board = given[1:].T.reshape(1, WIDTH, GRID, GRID)
    board = F.interpolate(board, (grid, grid), mode="bilinear", align_corners=False)
    rows = F.normalize(torch.cat([given[:1], board[0].flatten(1).T]), dim=1)
    return (rows @ rows[token]).numpy()


def shown(page) -> np.ndarray:
    """The digest's cosines, one a token."""
    texts = page.locator(".clp .cl-digest td:last-child").all_text_contents()
    return np.array([float(text.replace("−", "-")) for text in texts])


def slide(page, place: int) -> None:
    page.locator(".clp input[type=range]").evaluate(
        "(e, v) => { e.value = v; e.dispatchEvent(new Event('input')); }", place
    )


def number(text: str) -> float:
    value, *unit = text.split()
    return float(value) * {"G": 1e9, "M": 1e6, "k": 1e3}[unit[0]] if unit else float(value)


@pytest.mark.browser
def test_its_numbers_are_those_of_python(browser, file):
    with visit(browser, file) as page:
        assert "6 × 6 = 36 patches + class token = 37 tokens" in page.inner_text(".clp-count")
        assert np.allclose(shown(page), cosines(GRID, 1), atol=0.0051)
        page.locator(".clp-grid td").nth(14).click()
        assert np.allclose(shown(page), cosines(GRID, 15), atol=0.0051)
        squares = page.locator(".clp-map span").all_text_contents()
        assert np.allclose([float(t.replace("−", "-")) for t in squares], cosines(GRID, 15)[1:],
                           atol=0.0051)  # fmt: skip
        said = page.locator(".clp [role=status]").inner_text()
        assert said.startswith("Token 15 of 36: row 3, column 3.")
        assert "4 × 4 pixels × 3 colours = 48 numbers" in said
        colour = picture()[8:12, 8:12].reshape(-1, 3).mean(0).round().astype(int)
        row = page.locator(".clp .cl-digest tbody tr").nth(15)
        assert row.locator("td").nth(1).text_content() == f"rgb {' '.join(map(str, colour))}"
        drawn = page.locator(".clp-zoom").evaluate(
            "c => [...c.getContext('2d').getImageData(0, 0, 4, 4).data]"
        )
        assert np.array_equal(np.reshape(drawn, (4, 4, 4))[..., :3], picture()[8:12, 8:12])


@pytest.mark.browser
def test_the_slider_cuts_anew(browser, file):
    with visit(browser, file) as page:
        for place, size in enumerate([12, 8, 6, 4, 3, 2]):
            slide(page, place)
            grid = SIDE // size
            assert page.locator(".clp-grid td").count() == grid**2
            assert page.locator(".clp-map span").count() == grid**2
            assert f"patch {size} px" in page.inner_text(".clp-count")
            cost = vit_cost(SIDE, size, WIDTH, 3)
            told = page.locator(".clp-cost td:nth-child(2)").all_inner_texts()
            assert np.allclose([number(text) for text in told], list(cost.values()), rtol=0.006)
            token = page.locator(".clp .cl-digest tbody tr").count() // 2
            page.locator(".clp-grid td").nth(token - 1).click()
            assert np.allclose(shown(page), cosines(grid, token), atol=0.0051)


@pytest.mark.browser
def test_the_keyboard_reaches_everything(browser, file):
    with visit(browser, file) as page:
        page.keyboard.press("Tab")
        page.keyboard.press("ArrowRight")  # the slider: patches of 3 pixels
        assert "8 × 8 = 64 patches" in page.inner_text(".clp-count")
        page.keyboard.press("ArrowLeft")
        page.keyboard.press("Tab")  # one stop for the whole grid
        for key in ("ArrowRight", "ArrowDown", "ArrowDown", "ArrowUp", "ArrowLeft", "ArrowLeft"):
            page.keyboard.press(key)
        said = page.locator(".clp [role=status]")
        assert said.inner_text().startswith("Token 7 of 36: row 2, column 1.")
        page.keyboard.press("Tab")
        page.keyboard.press("Enter")
        assert said.inner_text().startswith("Token 0, the class token.")
        assert np.allclose(shown(page), cosines(GRID, 0), atol=0.0051)
        assert page.locator(".clp-class").get_attribute("aria-pressed") == "true"
        assert page.locator(".clp-grid td[tabindex='0']").count() == 1


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_serious_fault(browser, file, scheme):
    with visit(browser, file, color_scheme=scheme) as page:
        page.get_by_text("The same as a table").click()
        for place in (0, 3):
            slide(page, place)
            assert grave_faults(page) == []


@pytest.mark.browser
def test_it_fits_a_phone(browser, file):
    with visit(browser, file, width=360) as page:
        for place in (0, 5):
            slide(page, place)
            assert page.evaluate("document.documentElement.scrollWidth") <= 360
