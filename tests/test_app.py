"""The app answers, and every bad input gets a sentence: driven through its own API."""

import base64
import contextlib
import io
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

pytest.importorskip("gradio", reason="the app needs the extra 'apps'")

from app_server import served, tiny_encoder
from gradio_client import Client, handle_file

from apps import inputs, lab, theme
from apps.models import Models
from apps.panels import SHOWN, prompt_note
from apps.samples import emoji_samples, starting_point
from clip_lab import LabError, ZeroShotClassifier
from clip_lab.zero_shot import TEMPLATES

ENCODER = tiny_encoder()
LABELS = "cat\ndog\nred fox"


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with served(ENCODER) as url:
        yield url


@pytest.fixture
def classify(client: Client, capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[..., Any]]:
    def call(picture: Any, labels: str = LABELS, template: str = "bare name", own: str = "") -> Any:
        picture = handle_file(picture) if isinstance(picture, Path) else picture
        words = (labels, False, template, own)
        return client.predict(picture, *words, "tiny", "", api_name="/classify")[0]

    capfd.readouterr()
    yield call
    assert "Traceback" not in "".join(capfd.readouterr())


def picture(size: tuple[int, int] = (48, 32), seed: int = 0) -> Image.Image:
    noise = np.random.default_rng(seed).integers(0, 256, (size[1] // 8, size[0] // 8, 3))
    return Image.fromarray(noise.astype(np.uint8)).resize(size)


@pytest.fixture
def png(tmp_path: Path) -> Path:
    path = tmp_path / "plain.png"
    picture().save(path)
    return path


# -- right answers --------------------------------------------------------------------------------


def test_answer_is_the_classifiers(classify: Callable[..., Any], png: Path) -> None:
    value = classify(png, template="drawings")
    prediction = ZeroShotClassifier(ENCODER, LABELS.split("\n"), TEMPLATES["drawings"])([png])
    names, _ = zip(*prediction.top(3)[0], strict=True)
    assert value["labels"] == list(names)
    np.testing.assert_allclose(value["cosines"], np.sort(prediction.cosines[0])[::-1], atol=2e-6)
    assert value["scale"] == pytest.approx(ENCODER.scale)
    assert len(TEMPLATES["drawings"]) > 1 and "averaged" in value["prompt"]
    assert value["seen"].startswith("data:image/webp;base64,") and value["size"] == 32


def odd_pictures(folder: Path) -> dict[str, Path]:
    """Pictures that are fine, in ways that trip careless code."""
    made = {name: folder / name for name in ("cmyk.jpg", "grey16.png", "moving.gif", "alpha.webp")}
    picture().convert("CMYK").save(made["cmyk.jpg"])
    grey = np.linspace(0, 65535, 48 * 32).reshape(32, 48).astype(np.uint16)
    Image.fromarray(grey).save(made["grey16.png"])
    frames = [picture(seed=seed) for seed in range(3)]
    frames[0].save(made["moving.gif"], save_all=True, append_images=frames[1:])
    picture().convert("RGBA").save(made["alpha.webp"])
    return made


@pytest.mark.parametrize("name", ["cmyk.jpg", "grey16.png", "moving.gif", "alpha.webp"])
def test_odd_pictures_are_read(classify: Callable[..., Any], tmp_path: Path, name: str) -> None:
    assert len(classify(odd_pictures(tmp_path)[name])["labels"]) == 3


def test_turned_photograph_is_put_upright(classify: Callable[..., Any], tmp_path: Path) -> None:
    upright, turned = tmp_path / "upright.png", tmp_path / "turned.png"
    picture().save(upright)
    exif = Image.Exif()
    exif[274] = 6  # the camera was held on its side
    picture().transpose(Image.Transpose.ROTATE_90).save(turned, exif=exif)
    assert classify(turned)["cosines"] == classify(upright)["cosines"]


def test_thousands_of_labels(classify: Callable[..., Any], png: Path) -> None:
    value = classify(png, "\n".join(f"thing {i}" for i in range(5000)))
    assert len(value["labels"]) == SHOWN and len(value["cosines"]) == 5000
    assert value["cosines"] == sorted(value["cosines"], reverse=True)


def test_html_in_a_label_stays_text(classify: Callable[..., Any], png: Path) -> None:
    label = "<img src=x onerror=alert(1)>"
    assert label in classify(png, f"{label}\ncat")["labels"]  # shown by textContent: browser test


# -- bad pictures ---------------------------------------------------------------------------------


def truncated(path: Path) -> None:
    buffer = io.BytesIO()
    picture((640, 480)).save(buffer, "JPEG", quality=95)
    path.write_bytes(buffer.getvalue()[: len(buffer.getvalue()) // 3])


def bomb(path: Path) -> None:
    Image.new("1", (13000, 13000)).save(path, optimize=True)
    assert path.stat().st_size < 30_000


BAD_PICTURES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "truncated.jpg": (truncated, "damaged"),
    "nothing.png": (lambda path: path.write_bytes(b""), "not a picture"),
    "words.png": (lambda path: path.write_text("hello"), "not a picture"),
    "page.svg": (lambda path: path.write_text("<svg onload='alert(1)'/>"), "not a picture"),
    "bomb.png": (bomb, "megapixels"),
}


@pytest.mark.parametrize("name", BAD_PICTURES)
def test_bad_picture_gets_a_sentence(
    classify: Callable[..., Any], tmp_path: Path, name: str
) -> None:
    make, word = BAD_PICTURES[name]
    make(tmp_path / name)
    value = classify(tmp_path / name)
    assert list(value) == ["error"] and word in value["error"]


def test_no_picture(classify: Callable[..., Any]) -> None:
    assert "Choose a picture" in classify(None)["error"]


def data_url(content: bytes) -> dict[str, Any]:
    url = "data:image/png;base64," + base64.b64encode(content).decode()
    return {"url": url, "meta": {"_type": "gradio.FileData"}}


def post(address: str, upload: Any) -> dict[str, Any] | None:
    """The answer to a request that Gradio's client would not send as it is."""
    body = {"data": [upload, LABELS, False, "bare name", "", "tiny", ""]}
    event = httpx.post(f"{address}gradio_api/call/classify", json=body, timeout=60).json()
    url = f"{address}gradio_api/call/classify/{event['event_id']}"
    name, data = httpx.get(url, timeout=60).text.strip().split("\n")[-2:]
    answer = json.loads(data.removeprefix("data: "))
    return answer[0] if name == "event: complete" else answer


def test_picture_in_a_data_address(address: str, png: Path) -> None:
    value = post(address, data_url(png.read_bytes()))
    assert value and len(value["labels"]) == 3


def test_data_address_over_the_limit(address: str) -> None:
    value = post(address, data_url(bytes(inputs.MAX_FILE_BYTES + 1000)))
    assert value and "over 10 MB" in value["error"]


def test_data_address_that_is_no_base64(address: str) -> None:
    upload = {"url": "data:image/png;base64,%%%", "meta": {"_type": "gradio.FileData"}}
    value = post(address, upload)
    assert value and "damaged" in value["error"]


def test_address_is_not_fetched(address: str) -> None:
    asked = []
    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.settimeout(0.2)
        url = f"http://127.0.0.1:{trap.getsockname()[1]}/cat.png"
        answer = post(address, {"path": url, "url": url, "meta": {"_type": "gradio.FileData"}})
        with contextlib.suppress(TimeoutError):
            asked.append(trap.accept())
    assert not asked
    assert "not as an address" in json.dumps(answer)


def test_files_elsewhere_stay_closed(address: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("the secret")
    answer = post(address, {"path": str(secret), "meta": {"_type": "gradio.FileData"}})
    assert "secret" not in json.dumps(answer)
    reply = httpx.get(f"{address}gradio_api/file={secret}")
    assert reply.status_code == 403 and "the secret" not in reply.text


def test_big_upload_is_refused(address: str) -> None:
    files = {"files": ("big.png", bytes(inputs.MAX_FILE_BYTES + 1))}
    assert httpx.post(f"{address}gradio_api/upload", files=files).status_code == 413


# -- bad words ------------------------------------------------------------------------------------

BAD_WORDS = {
    "no labels": ({"labels": " \n ,, \n"}, "at least one label"),
    "a label of 100,000 characters": ({"labels": "a" * 100_000}, "100,000 characters"),
    "a megabyte of labels": ({"labels": "cat\n" * 250_000}, "fewer or shorter"),
    "too many labels": ({"labels": "\n".join(map(str, range(30_000)))}, "too many"),
    "template without {}": ({"template": inputs.OWN, "own": "a photo"}, "no {}"),
    "template with {0.__class__}": ({"template": inputs.OWN, "own": "{0.__class__}"}, "no {}"),
    "template with a format spec": ({"template": inputs.OWN, "own": "{:>300000000}"}, "no {}"),
    "template of 100,000 places": ({"template": inputs.OWN, "own": "{}" * 100_000}, "tokens"),
    "templates by the thousand": (
        {"template": inputs.OWN, "own": "\n".join(f"{{}} {i}" for i in range(20_000))},
        "too many texts",
    ),
    "no template": ({"template": inputs.OWN, "own": "  "}, "Write a template"),
    "a set that isn't there": ({"template": "../etc"}, "no set of templates"),
}


@pytest.mark.parametrize("case", BAD_WORDS)
def test_bad_words_get_a_sentence(classify: Callable[..., Any], png: Path, case: str) -> None:
    words, part = BAD_WORDS[case]
    value = classify(png, **words)
    assert list(value) == ["error"] and part in value["error"]
    assert len(value["error"]) < 400


def test_braces_in_labels_and_templates_are_plain_text(
    classify: Callable[..., Any], png: Path
) -> None:
    value = classify(png, "{0.__class__}\n{}", inputs.OWN, "a {} of {0.__class__}")
    assert set(value["labels"]) == {"{0.__class__}", "{}"}
    assert "{0.__class__}" in value["prompt"]


@given(st.text(max_size=200))
def test_labels_are_whole_and_single(text: str) -> None:
    try:
        labels = inputs.parse_labels(text)
    except LabError:
        assert not text.replace(",", "").replace("，", "").replace("、", "").strip()
        return
    assert all(labels) and len(set(labels)) == len(labels)
    assert all(label == label.strip() and "\n" not in label for label in labels)


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("cat, dog ,cat", ("cat", "dog")),
        ("a cat, asleep\r\na dog\n", ("a cat, asleep", "a dog")),
        ("猫，狗、鱼", ("猫", "狗", "鱼")),
        ("  one  ", ("one",)),
    ],
)
def test_labels_by_line_or_comma(text: str, labels: tuple[str, ...]) -> None:
    assert inputs.parse_labels(text) == labels


def test_prompts_are_counted_before_they_are_written() -> None:
    """Ten thousand places times twenty thousand labels would be gigabytes of text."""
    labels = [f"{i:0>20}" for i in range(20_000)]
    with pytest.raises(LabError, match="too many texts"):
        inputs.choose_templates(inputs.OWN, "{}" * 10_000, labels)


# -- the page itself ------------------------------------------------------------------------------


def test_page_keeps_to_this_machine(address: str) -> None:
    from gradio import analytics

    assert address.startswith("http://127.0.0.1:")
    assert not analytics.analytics_enabled()
    assert "googleapis" not in httpx.get(f"{address}theme.css").text
    config = httpx.get(f"{address}config").json()
    assert config["footer_links"] == []


def test_page_says_what_the_model_has_seen(address: str) -> None:
    config = httpx.get(f"{address}config").json()
    texts = [str(c["props"].get("value")) for c in config["components"] if c["type"] == "markdown"]
    assert any("It has seen nothing at all. Unknown to it: anything." in text for text in texts)


def test_taken_port_is_a_sentence(address: str) -> None:
    port = int(address.rstrip("/").rsplit(":", 1)[1])
    with pytest.raises(LabError, match=f"Port {port} on 127.0.0.1 is taken"):
        theme.launch(lab.build_demo(Models(ENCODER)), port=port, block=False)


def test_samples_are_what_their_marks_say() -> None:
    from clip_lab.data.emoji_table import TRAINED_STYLES, emoji_table

    table = emoji_table()
    held = {row.label: table.held_out(i) for i, row in enumerate(table.rows)}
    for sample in emoji_samples():
        style_is_new = sample.style.split()[0].lower() not in TRAINED_STYLES
        assert ("style" in sample.mark or "neither" in sample.mark) == style_is_new
        assert ("thing" in sample.mark or "neither" in sample.mark) == held[sample.name]
        assert sample.picture.getbbox()


@pytest.mark.parametrize("model", ["emoji", "shapes", "of my own"])
def test_every_model_has_a_starting_point(model: str) -> None:
    start = starting_point(model)
    assert len(start.samples) == 12
    assert any(sample.mark for sample in start.samples) == (model in ("emoji", "shapes"))
    for name, text in start.lists.items():
        labels = inputs.parse_labels(text)
        assert len(labels) >= 10, name
    assert {sample.name for sample in start.samples} <= set(inputs.parse_labels(start.labels))


def test_prompt_note_names_a_few() -> None:
    assert prompt_note(["{}"], "cat") == "The text tower read “cat”."
    assert prompt_note(["{} 1"] * 9, "cat").endswith("…")


def test_apps_stay_thin() -> None:
    folder = Path(lab.__file__).parent
    for module in lab.APPS.values():
        lines = (folder / Path(str(module.__file__)).name).read_text().count("\n")
        assert lines <= 150, module.__name__
