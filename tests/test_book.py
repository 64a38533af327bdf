"""The book: built once, with warnings as errors; its pages load nothing from outside; it works."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

pytest.importorskip("myst_nb", reason="the book needs the extra 'book'")
pytest.importorskip("latex2mathml", reason="the book needs the extra 'book'")

from book_build import finished
from chromium import visit

from clip_lab.pretrained import names

CHAPTER = "chapters/07_infonce_and_temperature"
# A <link> of these kinds makes a browser fetch; others (next, search, index) only name a page.
FETCHED = {"stylesheet", "icon", "shortcut", "preload", "modulepreload", "prefetch", "manifest"}
LOADS = {"src", "srcset", "data", "poster", "background", "xlink:href"}


class Page(HTMLParser):
    """What a page would load, what it links to, and its pictures' descriptions."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads, self.links, self.undescribed, self.tags = [], [], [], set()
        # `$` would begin what a script puts in, an address only once it runs.
        self.loads += re.findall(r"url\(\s*\\?['\"]?([^'\")$\\]+)", text)
        self.loads += re.findall(r"@import\s+['\"]([^'\"]+)", text)
        self.loads += re.findall(r"\b(?:import|from)\s*\(?['\"](https?:[^'\"]+)", text)
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.tags.add(tag)
        self.loads += [values[name] for name in LOADS & set(values) if values[name]]
        if tag == "link" and FETCHED & set((values.get("rel") or "").split()):
            self.loads.append(values["href"])
        if tag in ("use", "image"):
            self.loads.append(values.get("href") or "")
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        described = values.get("alt") or values.get("aria-label") or values.get("aria-hidden")
        if tag in ("img", "svg") and not described:
            self.undescribed.append(self.get_starttag_text())


@pytest.fixture(scope="module")
def book() -> Path:
    if "emoji" not in names():
        pytest.skip("the chapters need the built-in model 'emoji', whose weights are not here")
    return finished()


@pytest.fixture(scope="module")
def pages(book) -> dict[Path, Page]:
    """All but what the theme leaves of its templates beside its scripts."""
    files = [path for path in book.rglob("*.html") if "_static" not in path.parts]
    return {path: Page(path.read_text("utf-8")) for path in files}


def test_the_scan_finds_what_would_be_fetched():
    page = Page(
        '<link rel="stylesheet" href="https://a/x.css"><link rel="next" href="https://b/">'
        '<a href="https://c/">c</a><img src="https://d/x.png" alt=""><svg></svg>'
        "<style>@import 'https://e/x.css'; p {background: url(https://f/x.png)}</style>"
        '<script type="module">import x from "https://g/x.js"</script>'
    )
    assert {urlsplit(address).netloc for address in page.loads} == {"a", "d", "e", "f", "g"}
    assert len(page.undescribed) == 2


def test_no_page_loads_anything_from_outside(book, pages):
    loads = [(path, load) for path, page in pages.items() for load in page.loads]
    for path in book.rglob("*.css"):
        loads += [(path, load) for load in Page(f"<i>{path.read_text('utf-8')}").loads]
    outside = [(p, load) for p, load in loads if urlsplit(load).netloc or load.startswith("//")]
    assert outside == []
    assert len(loads) > 20


def test_what_pages_load_and_link_to_is_there(pages):
    for path, page in pages.items():
        for address in page.loads + page.links:
            parts = urlsplit(address)
            if not parts.scheme and parts.path:
                assert (path.parent / unquote(parts.path)).exists(), f"{path.name}: {address}"


def test_every_picture_is_described(pages):
    assert [text for page in pages.values() for text in page.undescribed] == []


def test_formulas_need_no_script(book, pages):
    page = book / f"{CHAPTER}.html"
    assert page.read_text("utf-8").count("<math ") == 2
    assert not [load for load in pages[page].loads if "mathjax" in load.lower()]


def test_the_chapter_ran_without_a_fault_or_a_warning(book):
    ran = json.loads((book.parent / "jupyter_execute" / f"{CHAPTER}.ipynb").read_text("utf-8"))
    outputs = [out for cell in ran["cells"] for out in cell.get("outputs", [])]
    assert outputs
    assert not [out for out in outputs if out["output_type"] == "error"]
    assert not [out for out in outputs if out.get("name") == "stderr"]


@pytest.mark.browser
def test_the_matrix_moves_without_a_kernel(book, browser):
    with visit(browser, book / f"{CHAPTER}.html") as page:
        cells = page.locator(".clm td[tabindex]")
        assert cells.count() == 64
        page.get_by_label("softmax over captions").check()
        page.get_by_role("button", name="1 flattest").click()
        flat, loss = cells.all_inner_texts(), page.locator(".clm-total").inner_text()
        page.locator(".clm input[type=range]").press("Home")  # τ = 0.01
        assert cells.all_inner_texts() != flat
        assert page.locator(".clm-total").inner_text() != loss
        assert "τ = 0.010" in page.locator(".clm-tau").inner_text()


@pytest.mark.browser
def test_solutions_are_folded_until_asked_for(book, browser):
    with visit(browser, book / f"{CHAPTER}.html") as page:
        solution = page.locator("details:has-text('Show a solution')").first
        code = solution.locator("pre")
        assert not code.is_visible()
        solution.locator("summary").click()
        assert code.is_visible()


@pytest.mark.browser
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", ["index", "running", CHAPTER])
def test_pages_fit_phone_and_desk(book, browser, name, width):
    with visit(browser, book / f"{name}.html", width) as page:
        assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.browser
def test_search_works_from_a_folder(book, browser):
    with visit(browser, book / "search.html") as page:
        page.goto(f"{(book / 'search.html').as_uri()}?q=temperature")
        page.locator("#search-results a", has_text="Similarity matrix").first.wait_for()
