"""A browser for tests of pages that need no server, and what it must not do: complain, or fetch."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = Path("/usr/bin/chromium")
MISSING = f"there is no browser at {CHROMIUM}"
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]
INSIDE = ("file:", "data:", "blob:")


@contextmanager
def open_browser(*more: str) -> Iterator[Any]:
    """Debian's Chromium without a window; `more`: further arguments of its command line."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=str(CHROMIUM), args=[*QUIET, *more])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def visit(browser: Any, file: Path, width: int = 1280, **options: Any) -> Iterator[Any]:
    """The page of a file. On leaving: no error was logged, and nothing was asked of the network."""
    page = browser.new_page(viewport={"width": width, "height": 900}, **options)
    page.set_default_timeout(30_000)
    fetched, complaints = [], []
    page.on("request", lambda request: fetched.append(request.url))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
    page.goto(file.as_uri())
    try:
        yield page
    finally:
        page.close()
    assert [url for url in fetched if not url.startswith(INSIDE)] == []
    assert complaints == []


def widget_page(folder: Path, *widgets: Any) -> Path:
    """A page of widgets as the book shows them, without a kernel, in `folder`."""
    from clip_lab.view.widgets.base import static_html

    head = '<!doctype html><html lang="en"><meta charset="utf-8"><title>Widgets</title>'
    body = "".join(static_html(widget) for widget in widgets)
    page = f"{head}<body><main><h1>Widgets</h1>{body}</main></body></html>"
    (folder / "page.html").write_text(page, encoding="utf-8")
    return folder / "page.html"


def grave_faults(page: Any) -> list[tuple[str, str, str]]:
    """What axe-core finds serious or critical: its rule, the place, what to do about it."""
    import pytest

    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="extra 'dev'")
    return [
        (fault["id"], node["html"][:160], node["failureSummary"][:200])
        for fault in axe.Axe().run(page).response["violations"]
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"]
    ]
