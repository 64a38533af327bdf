"""Scenes set up by hand, and the bias audit: in a real browser and by their API."""

from collections.abc import Iterator

import pytest

pytest.importorskip("gradio", reason="the app needs the extra 'apps'")
pytest.importorskip("playwright", reason="browser tests need Playwright (extra 'dev')")

from app_server import Visit, served, tiny_encoder
from gradio_client import Client
from playwright.sync_api import Browser

from apps.limits import set_up
from clip_lab import ZeroShotClassifier
from clip_lab.data.shape_drawing import draw
from clip_lab.data.staging import QUESTIONS, Stage
from clip_lab.preprocess import open_image

pytestmark = pytest.mark.browser
SCENE = ["1", "square", "red", "circle", "blue", "left of", ""]
ENCODER = tiny_encoder()


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with served(ENCODER, tiny_encoder("another", 1)) as url:
        yield url


@pytest.fixture(params=[(1280, 900), (390, 844)], ids=["desk", "phone"])
def visit(request: pytest.FixtureRequest, browser: Browser, address: str) -> Iterator[Visit]:
    visit = Visit(browser, address, *request.param, path="?tab=Limits")
    visit.page.wait_for_selector("#believes .lab-body:not([hidden])")
    yield visit
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= request.param[0]
    visit.close()


def test_both_captions_are_asked_of_the_very_scene(client: Client) -> None:
    captions = ("a red square", "a blue square")
    value, second = client.predict("tiny", "", *SCENE, *captions, api_name="/believe")
    scene = Stage("square", "red", 1, "circle", "blue", "left of").scene()
    expected = ZeroShotClassifier(ENCODER, captions)([open_image(draw(scene, 64)[0])])
    best = expected.labels[expected.cosines[0].argmax()]
    assert value["labels"][0] == best and second is None
    assert value["cosines"][0] == pytest.approx(expected.cosines.max(), abs=1e-5)
    assert value["prompt"] == f"The {'true' if best == captions[0] else 'false'} caption wins."


@pytest.mark.parametrize(
    ("scene", "captions", "said"),
    [
        (SCENE, ("same", " same "), "captions are the same"),
        ([*SCENE[:-1], "É"], ("a", "b"), "A to Z"),
        (SCENE, ("a", " "), "at least one label"),
    ],
)
def test_what_can_t_be_set_up_is_a_sentence(client: Client, scene, captions, said) -> None:
    for value in client.predict("tiny", "another", *scene, *captions, api_name="/believe"):
        assert said in value["error"]


def test_the_audit_tells_every_word_s_leaning(client: Client) -> None:
    found, other = client.predict(
        "tiny", "another", "doctor, nurse", "men and women", api_name="/audit"
    )
    assert {row[0] for row in found["rows"]} == {"doctor", "nurse"} and other["rows"]
    assert [float(row[1]) for row in found["rows"]] == sorted(
        (float(row[1]) for row in found["rows"]), reverse=True
    )
    value, _ = client.predict("tiny", "", " ", "men and women", api_name="/audit")
    assert "at least one label" in value["error"]


def test_a_question_sets_the_scene_and_says_what_was_measured(visit: Visit) -> None:
    page = visit.page
    page.get_by_label("Left or right?").click()
    page.wait_for_selector("#believes >> text=a green heart left of a purple star")
    assert page.get_by_label("A true caption").input_value() == QUESTIONS["Left or right?"].true
    page.wait_for_selector("text=CLIP is weak at spatial relations")
    page.get_by_label("A false one").fill("a green heart")
    page.wait_for_selector("#believes tbody >> text=/^a green heart$/")
    page.wait_for_function("location.search.includes('question=Left')")


def test_every_question_has_all_its_controls() -> None:
    assert {len(set_up(question)) for question in QUESTIONS} == {10}
