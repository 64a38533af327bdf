"""The matrix widget: what Python hands over, and what a browser makes of it without a kernel."""

import math
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("anywidget", reason="widgets need the extra 'notebooks'")

from chromium import visit, widget_page

from clip_lab.errors import LabError
from clip_lab.losses import info_nce
from clip_lab.view import widgets
from clip_lab.view.widgets import MatrixWidget, static_html

WIDGETS = Path(widgets.__file__).parent
CAPTIONS = ["cat", "dog", "red apple", "</script><b>bold</b>", "<!-- <script>"]
N = len(CAPTIONS)


def cosines() -> np.ndarray:
    rows = np.random.default_rng(3).normal(size=(2, N, 8))
    image, text = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
    return 0.6 * image @ text.T + 0.3 * np.eye(N)


def pictures() -> list[np.ndarray]:
    return [np.full((20, 30, 3), 50 * k, np.uint8) for k in range(N)]


def widget(**options) -> MatrixWidget:
    return MatrixWidget(cosines(), pictures(), CAPTIONS, **options)


def test_it_holds_what_it_was_given():
    made = widget(tau=0.05, show="captions")
    assert np.allclose(made.cosines, cosines(), atol=1e-6)
    assert made.captions == CAPTIONS
    assert (made.tau, made.show) == (0.05, "captions")
    assert all(address.startswith("data:image/png;base64,") for address in made.pictures)
    floats = MatrixWidget(cosines(), [p / 255 for p in pictures()], CAPTIONS)
    assert floats.pictures == made.pictures


@pytest.mark.parametrize(
    ("cosines", "pictures", "captions", "options", "words"),
    [
        (cosines()[:3], pictures(), CAPTIONS, {}, "5 captions needs"),
        (cosines(), pictures()[:3], CAPTIONS, {}, "3 pictures"),
        (cosines()[:1, :1], pictures()[:1], CAPTIONS[:1], {}, "at least 2"),
        (cosines() * 30, pictures(), CAPTIONS, {}, "length 1"),
        (cosines() * np.nan, pictures(), CAPTIONS, {}, "length 1"),
        (cosines(), [p[..., 0] for p in pictures()], CAPTIONS, {}, "height, width, 3"),
        (cosines(), pictures(), CAPTIONS, {"tau": 7}, "0.01 to 1"),
    ],
)
def test_what_it_can_not_show_is_told(cosines, pictures, captions, options, words):
    with pytest.raises(LabError, match=words):
        MatrixWidget(cosines, pictures, captions, **options)


@pytest.mark.parametrize("module", sorted(WIDGETS.glob("*.js")), ids=lambda path: path.stem)
def test_no_module_declares_again_what_the_base_declares(module):
    """They become one module, in which a second declaration would stop the whole widget."""
    declares = re.compile(r"^(?:async )?(?:function\*?|const|let|class) (\w+)", re.MULTILINE)
    shared = declares.findall((WIDGETS / "base.js").read_text("utf-8"))
    own = [] if module.stem == "base" else declares.findall(module.read_text("utf-8"))
    assert len(shared) > 8
    assert [name for name, times in Counter([*shared, *own]).items() if times > 1] == []


def test_a_notebook_gets_the_live_widget_and_a_page_gets_html():
    bundle, _ = widget()._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert "<script" in bundle["text/html"]


def test_captions_can_not_end_the_script_they_stand_in():
    html = static_html(widget())
    assert html.count("</script>") == 1
    assert "<!--" not in html
    assert html.count("export ") == 0


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return widget_page(tmp_path_factory.mktemp("widget"), widget(), widget(tau=1))


def numbers(page) -> np.ndarray:
    texts = page.locator(".clm >> nth=0 >> tbody td[tabindex]").all_inner_texts()
    return np.array([float(text.replace("−", "-")) for text in texts]).reshape(N, N)


def set_tau(page, tau: float) -> None:
    page.locator("input[type=range]").first.evaluate(
        "(e, v) => { e.value = v; e.dispatchEvent(new Event('input')); }", math.log(tau)
    )


@pytest.mark.browser
def test_its_numbers_are_those_of_python(browser, file):
    with visit(browser, file) as page:
        assert np.allclose(numbers(page), cosines(), atol=0.0051)
        for tau in (0.07, 0.2, 0.01):
            set_tau(page, tau)
            logits = cosines() / tau
            for label, axis in (("softmax over captions", 1), ("softmax over pictures", 0)):
                page.get_by_label(label).first.check()
                powers = np.exp(logits - logits.max(axis, keepdims=True))
                shares = 100 * powers / powers.sum(axis, keepdims=True)
                assert np.allclose(numbers(page), shares, atol=0.6)
                assert np.allclose(numbers(page).sum(axis), 100, atol=3)
            page.get_by_label("logit").first.check()
            assert np.allclose(
                numbers(page), logits, atol=0.4
            )  # the slider steps by half a per cent
            loss = info_nce(
                torch.tensor(cosines()), torch.eye(N).double(), -torch.tensor(tau).log()
            )
            assert float(page.locator(".clm-total").first.inner_text()) == pytest.approx(
                float(loss), abs=0.005 / tau * 0.05
            )


@pytest.mark.browser
def test_two_on_a_page_do_not_disturb_each_other(browser, file):
    with visit(browser, file) as page:
        page.get_by_label("softmax over captions").first.check()
        assert page.get_by_label("cosine", exact=True).last.is_checked()
        assert "τ = 1.0" in page.locator(".clm-tau").last.inner_text()


@pytest.mark.browser
def test_the_keyboard_reaches_everything(browser, file):
    with visit(browser, file) as page:
        page.keyboard.press("Tab")
        page.keyboard.press("ArrowRight")  # the slider
        assert page.evaluate("document.activeElement.type") == "range"
        for _ in range(4):  # three presets, then the switch
            page.keyboard.press("Tab")
        page.keyboard.press("ArrowRight")
        assert page.get_by_label("logit").first.is_checked()
        page.keyboard.press("Tab")  # one stop for the whole matrix
        for key in ("ArrowRight", "ArrowDown", "ArrowDown", "ArrowUp", "ArrowLeft", "ArrowLeft"):
            page.keyboard.press(key)
        said = page.locator(".clm .cl-said").first.inner_text()
        assert said.startswith("Picture of “dog”, caption “cat”:")
        assert page.locator("td[tabindex='0']").count() == 2  # one a widget


@pytest.mark.browser
def test_a_table_says_it_in_words(browser, file):
    with visit(browser, file) as page:
        page.get_by_text("The same as a table").first.click()
        table = page.locator(".clm .cl-digest").first
        assert table.locator("tbody tr").count() == N
        assert table.locator("tbody th").all_inner_texts() == CAPTIONS
        best = [CAPTIONS[k] for k in cosines().argmax(1)]
        assert table.locator("tbody td:last-child").all_inner_texts() == best
        assert page.locator(".clm").first.locator("img[alt='picture of: red apple']").count() == 1


CONTRAST = """() => {
  const channels = (text) => {  // as the browser paints them, whatever colour space they are in
    const canvas = new OffscreenCanvas(1, 1).getContext("2d");
    canvas.fillStyle = text;
    canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data.slice(0, 3)];
  };
  const light = (text) => channels(text)
    .map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, k) => sum + c * [0.2126, 0.7152, 0.0722][k], 0);
  const cell = document.querySelector("td[tabindex]");
  let worst = 99;
  for (const negative of [false, true]) for (let depth = 0; depth <= 100; depth += 2) {
    cell.style.setProperty("--depth", `${depth}%`);
    cell.className = negative ? "cl-negative" : "";
    const style = getComputedStyle(cell);
    const [a, b] = [light(style.color), light(style.backgroundColor)].sort((x, y) => y - x);
    worst = Math.min(worst, (a + 0.05) / (b + 0.05));
  }
  return worst;
}"""


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_numbers_can_be_read_on_every_colour(browser, file, scheme):
    with visit(browser, file, color_scheme=scheme) as page:
        assert page.evaluate(CONTRAST) >= 4.5  # WCAG 2.2, level AA


@pytest.mark.browser
def test_it_fits_a_phone(browser, file):
    with visit(browser, file, width=360) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
