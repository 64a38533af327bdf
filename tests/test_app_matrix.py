"""The matrix of pictures against captions, in a real browser and by its own API."""

import csv
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("gradio", reason="the app needs the extra 'apps'")
pytest.importorskip("playwright", reason="browser tests need Playwright (extra 'dev')")

from app_server import Visit, served, tiny_encoder
from gradio_client import Client
from playwright.sync_api import Browser

from apps.matrix import numbers

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with served(tiny_encoder(), tiny_encoder("another", 1)) as url:
        yield url


@pytest.fixture
def desk(browser: Browser, address: str) -> Iterator[Visit]:
    visit = Visit(browser, address, 1280, 900, path="?tab=Matrix")
    visit.page.wait_for_selector("#matrix tbody td")
    yield visit
    visit.close()


def cells(visit: Visit) -> np.ndarray:
    """The numbers that are drawn; shares as shares of one."""
    rows = visit.page.locator("#matrix tbody tr").all()
    texts = [row.locator("td").all_inner_texts() for row in rows]

    def number(text: str) -> float:
        value = float(text.replace("−", "-").replace("<", "").replace(" %", ""))
        return value / 100 if "%" in text else value

    return np.array([[number(text) for text in row] for row in texts])


def choose(visit: Visit, view: str) -> None:
    visit.page.locator("#matrix .matrix-view").select_option(view)


def test_views_agree_with_the_loss_computed_elsewhere(desk: Visit) -> None:
    with desk.page.expect_download() as file:
        desk.page.locator("#matrix").get_by_role("button", name="Numbers (CSV)").click()
    rows = list(csv.reader(Path(file.value.path()).read_text("utf-8-sig").splitlines()))
    cosines = torch.tensor([[float(x) for x in row[1:]] for row in rows[1:]]).double()
    assert cells(desk) == pytest.approx(cosines.numpy(), abs=0.006)
    logits = (cosines / 0.07).requires_grad_()
    target = torch.arange(6)
    loss = (
        torch.nn.functional.cross_entropy(logits, target)
        + torch.nn.functional.cross_entropy(logits.T, target)
    ) / 2
    loss.backward()
    told = desk.page.locator("#matrix .matrix-loss").inner_text()
    assert f"loss {loss.item():.3f}" in told and f"{math.log(6):.3f}" in told
    choose(desk, "gradient")
    assert logits.grad is not None
    assert cells(desk) == pytest.approx(logits.grad.numpy(), abs=0.001)
    choose(desk, "row")
    assert cells(desk) == pytest.approx(logits.detach().softmax(1).numpy(), abs=0.002)
    choose(desk, "column")
    assert cells(desk) == pytest.approx(logits.detach().softmax(0).numpy(), abs=0.002)


def test_swapping_two_captions_swaps_two_columns_and_no_request_is_made(desk: Visit) -> None:
    before = cells(desk)
    desk.requests.clear()
    heads = desk.page.locator("#matrix thead button")
    names = heads.all_inner_texts()
    heads.nth(1).focus()
    desk.page.keyboard.press("Enter")
    heads.nth(3).click()
    assert heads.all_inner_texts() == [names[i] for i in (0, 3, 2, 1, 4, 5)]
    assert (cells(desk) == before[:, [0, 3, 2, 1, 4, 5]]).all()
    desk.page.get_by_role("button", name="as it was").first.click()
    assert (cells(desk) == before).all()
    assert desk.requests == []


def test_without_normalisation_lengths_count(desk: Visit) -> None:
    before = cells(desk)
    desk.page.locator("#matrix .matrix-unit").click()
    after = cells(desk)
    big = abs(before) > 0.1
    ratio = after[big] / before[big]
    assert ratio.min() > 0 and ratio.std() > 0.01


def test_fewer_pictures_than_captions_have_no_loss(desk: Visit) -> None:
    desk.page.locator("#matrix-samples .sample").first.click()
    desk.page.wait_for_selector("text=5 pictures and 6 captions")
    assert desk.page.locator("#matrix-samples .sample[aria-pressed=true]").count() == 5
    desk.page.get_by_role("button", name="Take the samples' own names").click()
    desk.page.wait_for_selector("#matrix .matrix-loss b")
    assert cells(desk).shape == (5, 5)


def test_no_captions_is_a_sentence(address: str) -> None:
    client = Client(address, verbose=False, analytics_enabled=False)
    first, second = client.predict("tiny", "another", "0,1", None, " \n", api_name="/matrix")
    assert "at least one caption" in first["error"] and "at least one" in second["error"]
    first, _ = client.predict("tiny", "", "0", None, "a\n" * 17, api_name="/matrix")
    assert "too many" in first["error"]
    first, _ = client.predict("tiny", "", "", None, "a", api_name="/matrix")
    assert "at least one picture" in first["error"]


def test_any_text_in_the_address_gives_samples_that_are_there() -> None:
    assert numbers("0,0,3,x,99,-1,²,", 12) == [0, 3]
    assert numbers("", 12) == []
