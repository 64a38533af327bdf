"""What a hostile client sends to the whole dashboard, and that it gets a sentence or nothing.

Where each item of the issue's list is tested (“requests”: test_app_security_requests.py):

  a file over 10 MB, a picture over 16 MP     here, sizes
  SVG, HTML, non-images, damaged files        here, no pictures
  a bomb, as a file and as a data: URL        here, no pictures
  200 files at once                           here, many files
  EXIF with a place                           here, places; test_app_own_folder
  templates and labels as formats, greedy     here, words; test_app
  templates and labels as HTML                test_app_browser, test_app_map
  no path outside the app's own folders       requests, paths; test_app_folders
  no address fetched (SSRF)                   requests, paths
  bound to 127.0.0.1; other sites' pages      requests, whose request it is
  JSON without measure, floods                requests, sizes and floods
  no traceback, no path of this machine       requests, paths
"""

import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("gradio", reason="the app needs the extra 'apps'")

from hostile import (
    CANARY,
    FIELDS,
    META,
    ONE,
    QUERY,
    SEVERAL,
    WAYS,
    WORDS,
    Hostile,
    data_address,
    hostile_to,
    noise,
    pictures_in,
    placed,
    sentence,
    told,
    written,
)
from PIL import Image

from apps import inputs
from apps.cleaning import REFUSED


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where uploads are kept."""
    return tmp_path_factory.mktemp("uploads")


@pytest.fixture(scope="module")
def client(folder: Path) -> Iterator[Hostile]:
    with hostile_to(folder) as client:
        yield client


def check_refused(client: Hostile, way: str, picture: Any, word: str) -> None:
    said = sentence(told(client, way, picture), way)
    assert word in said and len(said) < 300, (way, said)


# -- no pictures, and sizes -----------------------------------------------------------------------


def bomb(side: int = 13_000) -> bytes:
    """169 megapixels in 26 kB."""
    return written(Image.new("1", (side, side)), optimize=True)


NO_PICTURES = {
    "SVG": (b"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'/>", "not a picture"),
    "HTML": (b"<!doctype html><script>alert(1)</script>", "not a picture"),
    "words": (b"hello", "not a picture"),
    "nothing": (b"", "not a picture"),
    "a zip": (b"PK\3\4" + bytes(100), "not a picture"),
    "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage", "not a picture"),
    "half a JPEG": (written(noise(640, 480), "JPEG")[:20_000], "damaged"),
    "a bomb": (bomb(), "16 megapixels"),
    "a picture of 16.4 megapixels": (bomb(4050), "16 megapixels"),
}


@pytest.mark.parametrize("way", WAYS)
def test_what_is_no_picture_or_too_large_a_one_is_a_sentence_in_every_tab(
    client: Hostile, folder: Path, way: str
) -> None:
    for name, (content, word) in NO_PICTURES.items():
        upload = client.file(content, "it.svg" if name == "SVG" else "it.png")
        check_refused(client, way, upload, word)
        assert Path(upload["path"]).read_bytes().startswith(REFUSED), name  # nothing of it is kept
        if way not in SEVERAL and content:
            check_refused(client, way, data_address(content, "image/svg+xml"), word)


def test_sixteen_megapixels_are_read(client: Hostile) -> None:
    assert client.call("classify", ONE["classify"](client.file(bomb(3990))))[0]["labels"]


def test_a_file_over_ten_megabytes_is_refused_and_not_kept(client: Hostile, folder: Path) -> None:
    before = set(folder.rglob("*"))
    status, text = client.upload(bytes(inputs.MAX_FILE_BYTES + 1))
    assert status == 413 and "maximum allowed size" in text
    assert set(folder.rglob("*")) == before


@pytest.mark.parametrize("way", [*ONE, QUERY])
def test_a_data_address_over_ten_megabytes_is_a_sentence(client: Hostile, way: str) -> None:
    check_refused(client, way, data_address(bytes(inputs.MAX_FILE_BYTES + 1000)), "over 10 MB")


def test_a_query_s_picture_has_the_same_limits(client: Hostile) -> None:
    for content, word in (*NO_PICTURES.values(), (bytes(inputs.MAX_FILE_BYTES + 1000), "10 MB")):
        query = json.dumps([{"picture": data_address(content)["url"]}])
        asked = ["tiny", "", query, "emoji-noto", "", 4, False, *FIELDS]
        assert word in client.call("search", asked)[0]["error"]


# -- many files -----------------------------------------------------------------------------------


@pytest.mark.parametrize("way", SEVERAL)
def test_two_hundred_files_at_once_are_a_sentence(client: Hostile, way: str) -> None:
    paths = client.upload(*[written(noise())] * 200)
    uploads = [{"path": path, "meta": META} for path in paths]
    answer = client.call(way, SEVERAL[way](*uploads))
    assert "200 pictures are too many; at most 16" in answer[0]["error"]


def test_many_large_files_at_once_are_refused_and_not_kept(client: Hostile, folder: Path) -> None:
    before = set(folder.rglob("*"))
    status, text = client.upload(*[bytes(9 * 2**20)] * 8)
    assert status == 413 and "Upload fewer at a time" in text
    assert set(folder.rglob("*")) == before


# -- places ---------------------------------------------------------------------------------------


def assert_no_place(content: bytes) -> None:
    assert CANARY not in content
    with Image.open(io.BytesIO(content)) as picture:
        picture.load()
        assert not picture.getexif().get_ifd(0x8825) and not picture.info.get("xmp")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "GIF", "AVIF"])
def test_a_place_is_gone_from_the_file_that_is_kept_and_served(
    client: Hostile, folder: Path, kind: str
) -> None:
    content = placed(kind)
    assert CANARY in content
    upload = client.file(content, f"holiday.{kind.lower()}")
    assert_no_place(Path(upload["path"]).read_bytes())
    assert client.send(f"gradio_api/file={upload['path']}")[0] == 200
    assert not [
        path for path in folder.rglob("*") if path.is_file() and CANARY in path.read_bytes()
    ]
    before, after = inputs.open_image(content), inputs.read_picture(upload)
    assert before.size == after.size  # it still stands upright
    difference = np.abs(np.asarray(before, float) - np.asarray(after, float)).mean()
    assert difference == 0 if kind in ("PNG", "TIFF", "GIF") else difference < 12


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_no_answer_says_anything_of_a_place(client: Hostile, way: str, kind: str) -> None:
    content = placed(kind)
    sent = (
        [client.file(content)] if way in SEVERAL else [client.file(content), data_address(content)]
    )
    for picture in sent:
        answer = told(client, way, picture)
        assert not sentence(answer, way) and CANARY.decode() not in json.dumps(answer)
        found = pictures_in(answer)
        assert found or way in ("templates", "near")
        for one in found:
            assert_no_place(one)


def test_a_picture_without_notes_is_kept_as_it_is(client: Hostile) -> None:
    for kind in ("JPEG", "PNG", "WEBP", "GIF"):
        content = written(noise(), kind)
        assert Path(client.file(content)["path"]).read_bytes() == content


# -- words ----------------------------------------------------------------------------------------

MILLION = "\n".join(map(str, range(1_000_000)))
FORMATS = "{0.__class__}\n{:>1000000000}\n{}{a}\n%s\n${alert(1)}"
OWN, TINY = [False, inputs.OWN], ["tiny", ""]
SCENE = ["1", "square", "red", "circle", "blue", "left of", ""]
GREEDY = {
    "a million labels": ("classify", [None, MILLION, *WORDS[1:]]),
    "a label of 10 MB": ("classify", [None, "a" * 10**7, *WORDS[1:]]),
    "a template of 10 MB": ("classify", [None, "a", *OWN, "{}" * 5 * 10**6, *TINY]),
    "templates by the million": ("classify", [None, "a", *OWN, "{}\n" * 10**6, *TINY]),
    "templates times labels": (
        "classify",
        [None, "\n".join(map(str, range(9000))), False, inputs.OWN,
         "\n".join(f"{{}} {i}" for i in range(9000)), "tiny", ""],
    ),
    "a million captions": ("matrix", ["tiny", "", "0", None, MILLION]),
    "a caption of 10 MB": ("matrix", ["tiny", "", "0", None, "a" * 10**7]),
    "a million texts on the map": ("map", ["tiny", "", "gap", 2, 0, None, MILLION, "group"]),
    "a query of 10 MB": ("search", ["tiny", "", "a" * 10**7, "shapes", "", 4, False, *FIELDS]),
    "a query of a million parts": (
        "search", ["tiny", "", "[" + "{}," * 10**6 + "{}]", "shapes", "", 4, False, *FIELDS],
    ),
    "a query of lists in lists": (
        "search", [*TINY, "[" * 10**6, "shapes", "", 4, False, *FIELDS],
    ),
    "a claim of 10 MB": ("believe", ["tiny", "", *SCENE, "a" * 10**7, "b"]),
    "a written word of 10 MB": ("believe", ["tiny", "", *SCENE[:-1], "A" * 10**7, "a", "b"]),
    "a million words to audit": ("audit", ["tiny", "", MILLION, "men and women"]),
    "a model's name of 10 MB": ("classify", [None, "a", False, "bare name", "", "a" * 10**7, ""]),
    "a collection's name of 10 MB": (
        "search", ["tiny", "", "a", "a" * 10**7, "", 4, False, *FIELDS],
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", GREEDY)
def test_greedy_words_get_a_short_sentence_and_not_the_memory(client: Hostile, case: str) -> None:
    name, data = GREEDY[case]
    picture = client.file(written(noise()))
    data = [picture if i == 0 and one is None else one for i, one in enumerate(data)]
    answer = client.call(name, data)
    said = answer[0]["error"] if answer else "Gradio itself refused it."
    assert 20 < len(said) < 400 and said.endswith((".", ")"))


def test_nothing_in_labels_captions_and_templates_is_a_format(client: Hostile) -> None:
    picture = client.file(written(noise()))
    value = client.call("classify", [picture, FORMATS, False, inputs.OWN, "{} {0.x}", "tiny", ""])[
        0
    ]
    assert set(value["labels"]) == set(FORMATS.split("\n"))
    assert "{0.x}" in value["prompt"] and "class" not in value["prompt"].replace("__class__", "")
    assert client.call("matrix", ["tiny", "", "0", None, FORMATS])[0]["captions"] == FORMATS.split(
        "\n"
    )
    assert (
        FORMATS[:13] in client.call("believe", ["tiny", "", *SCENE, FORMATS[:13], "b"])[0]["labels"]
    )
    assert FORMATS[:13] in client.call("inside", ["tiny", "", picture, FORMATS[:13], 1])[0]["note"]


def test_half_a_character_breaks_nothing(client: Hostile) -> None:
    picture = client.file(written(noise()))
    client.call("classify", [picture, "\ud800\ncat", *WORDS[1:]])
    assert client.call("classify", [picture, *WORDS])[0]["labels"]
