"""Every tab against axe-core's rules for pages that everyone can use."""

from collections.abc import Iterator

import pytest

pytest.importorskip("gradio", reason="the app needs the extra 'apps'")
pytest.importorskip("axe_playwright_python", reason="needs axe-playwright-python (extra 'dev')")

from app_server import Visit, served, tiny_encoder
from chromium import grave_faults
from playwright.sync_api import Browser

from apps.lab import APPS

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with served(tiny_encoder(), tiny_encoder("another", 1)) as url:
        yield url


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("tab", APPS)
def test_no_serious_fault(browser: Browser, address: str, tab: str, scheme: str) -> None:
    path = f"?tab={tab}&__theme={scheme}"
    visit = Visit(browser, address, 1280, 900, path=path, color_scheme=scheme)
    visit.page.wait_for_selector(f"button[role=tab][aria-selected=true] >> text={tab}")
    visit.page.wait_for_timeout(1500)  # for what moves in
    visit.page.wait_for_function("!document.querySelector('.pending')")
    assert grave_faults(visit.page) == []
    visit.close()
