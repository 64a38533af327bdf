"""Readers of public test sets: what they yield, and a sentence for everything that can be wrong."""

import http.server
import shutil
import threading
from functools import partial
from pathlib import Path

import pytest
from PIL import Image
from wds_files import COLOURS, picture, write_captions, write_classes, write_tar

from clip_lab.data.prompts import imagenet_names
from clip_lab.data.webdataset import open_webdataset
from clip_lab.errors import LabError
from clip_lab.evaluation.public import open_public_set

SAMPLES = [(picture(i), i % 3) for i in range(10)]


@pytest.fixture
def folder(tmp_path) -> Path:
    return write_classes(tmp_path / "wds_colours", SAMPLES, ["red", "green", "blue"], shards=3)


@pytest.fixture
def server(tmp_path):
    """tmp_path at an address of this machine; `.cut` shortens what is sent of one file."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def copyfile(self, source, outputfile):
            data = source.read()
            outputfile.write(data[: server.cut.get(self.path, len(data))])

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Handler, directory=str(tmp_path))
    )
    server.cut = {}
    server.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def read(place) -> list[tuple[bytes, int]]:
    return [(sample.image, sample.target) for sample in open_public_set(place).samples()]


def test_every_picture_comes_in_order_with_its_class(folder):
    public_set = open_public_set(folder)
    assert (public_set.name, public_set.task) == ("wds_colours", "classification")
    assert public_set.classes == ("red", "green", "blue")
    assert public_set.templates == ("a photo of a {}.",)
    assert read(folder) == SAMPLES
    assert read(folder) == SAMPLES  # a second time from the start
    keys = [sample.key for sample in public_set.samples()]
    assert keys[0] == "s0000000 in test/0.tar" and keys[-1] == "s0000009 in test/2.tar"


def test_an_address_reads_as_the_folder_does(server, folder):
    public_set = open_public_set(f"{server.address}/wds_colours/")
    assert public_set.name == "wds_colours" and public_set.classes == ("red", "green", "blue")
    assert read(f"{server.address}/wds_colours") == SAMPLES


def test_a_page_of_the_hub_is_read_where_it_serves_files(monkeypatch):
    asked = []

    def refuse(address, timeout):
        asked.append(address)
        raise OSError("no network in tests")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    page = "https://huggingface.co/datasets/clip-benchmark/wds_cars"
    for place in (page, f"{page}/", f"{page}/resolve/main", f"{page}/tree/v2"):
        with pytest.raises(LabError, match="no network in tests"):
            open_public_set(place)
    files = [
        f"{page}/resolve/{branch}/test/nshards.txt" for branch in ("main", "main", "main", "v2")
    ]
    assert asked == files


def test_captions_are_lines(tmp_path):
    samples = [(picture(0), ["a dog", "ein Hund 狗"]), (picture(1), ["one"])]
    public_set = open_public_set(write_captions(tmp_path / "wds", samples))
    assert public_set.task == "retrieval" and public_set.classes == ()
    found = [(sample.image, list(sample.target)) for sample in public_set.samples()]
    assert found == samples


def test_pictures_of_all_four_endings_in_folders_beside_other_files(folder):
    png, webp = picture(1, form="PNG"), picture(2, form="WEBP")
    files = [
        ("a/x.json", b"{}"), ("a/x.PNG", png), ("a/x.cls", b" 1 \n"), ("b/x.cls", b"0"),
        ("b/x.webp", webp), ("b/x.seg.png", b"a mask"), ("b/._x.jpg", b"a Mac's"),
        ("c.d.jpg", b"no ending of ours"), ("e.jpeg", webp), ("e.cls", b"2"),
    ]  # fmt: skip
    write_tar(folder / "test/0.tar", files)
    (folder / "test/nshards.txt").write_text("1")
    assert read(folder) == [(png, 1), (webp, 0), (webp, 2)]


def break_key(folder, name, content):
    write_tar(folder / "test/0.tar", [("k1.jpg", picture(0)), ("k1.cls", b"0"), (name, content)])


WRONG = {
    "no shard count": (lambda f: (f / "test/nshards.txt").unlink(), "nshards.txt.*is missing"),
    "odd shard count": (lambda f: (f / "test/nshards.txt").write_text("some"), "number of shards"),
    "no shards": (lambda f: (f / "test/nshards.txt").write_text("0"), "number of shards"),
    "missing shard": (lambda f: (f / "test/1.tar").unlink(), r"test/1.tar .*missing.* 3 shards"),
    "no names": (lambda f: (f / "classnames.txt").unlink(), "has no classnames.txt"),
    "unnamed class": (lambda f: (f / "classnames.txt").write_text("a\n\nb\n"), "Line 2 .* empty"),
    "no class names": (lambda f: (f / "classnames.txt").write_text(""), "Line 1 .* empty"),
    "names no text": (lambda f: (f / "classnames.txt").write_bytes(b"\xff\xfe\x00"), "no text"),
    "class out of range": (
        lambda f: (f / "classnames.txt").write_text("a\nb\n"),
        "s0000002 in test/0.tar is of class 2, but classnames.txt names 2 classes, 0 to 1",
    ),
    "multilabel": (lambda f: (f / "dataset_type.txt").write_text("multilabel"), "“multilabel”"),
    "no caption": (lambda f: (f / "dataset_type.txt").write_text("retrieval"), "has no caption"),
    "no picture": (lambda f: break_key(f, "k2.cls", b"0"), "k2 in test/0.tar has no picture"),
    "no class": (lambda f: break_key(f, "k2.jpg", b"?"), "k2 in test/0.tar has no class number"),
    "a word": (lambda f: break_key(f, "k1.cls", b"dog"), "k1 in test/0.tar .* “dog”"),
    "no end of digits": (lambda f: break_key(f, "k1.cls", b"9" * 5000), "k1 in test/0.tar .* “999"),
    "negative": (lambda f: break_key(f, "k1.cls", b"-1"), "k1 in test/0.tar .* “-1”"),
    "a web page": (lambda f: (f / "test/1.tar").write_text("<html>" * 999), "test/1.tar .*damaged"),
    "nothing": (lambda f: (f / "test/2.tar").write_bytes(b""), "test/2.tar .*damaged or cut short"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_set_that_is_wrong_is_a_sentence(folder, case):
    breaks, message = WRONG[case]
    breaks(folder)
    with pytest.raises(LabError, match=message):
        read(folder)


@pytest.mark.parametrize("length", [300, 512, 1024, 1536, 2048, 3000])
def test_a_shard_cut_anywhere_is_noticed(folder, server, length):
    # Also between two files, where the standard library sees an archive that has ended.
    whole = (folder / "test/1.tar").read_bytes()
    assert len(whole) > 6000
    server.cut["/wds_colours/test/1.tar"] = length
    with pytest.raises(LabError, match=r"test/1.tar .*damaged or cut short after (its start|s000)"):
        read(f"{server.address}/wds_colours")
    (folder / "test/1.tar").write_bytes(whole[:length])
    with pytest.raises(LabError, match="damaged or cut short"):
        read(folder)


def test_a_garbled_header_is_noticed(folder):
    data = bytearray((folder / "test/0.tar").read_bytes())
    data[1024:1100] = b"x" * 76  # the second file's header
    (folder / "test/0.tar").write_bytes(data)
    with pytest.raises(LabError, match=r"test/0.tar .*damaged or cut short after s0000000"):
        read(folder)


def test_addresses_that_lead_nowhere_are_sentences(server):
    address = server.address
    with pytest.raises(LabError, match=r"nshards.txt is missing"):
        open_public_set(f"{address}/nothing")
    with pytest.raises(LabError, match=r"can't be read.*address and the network"):
        open_public_set("http://127.0.0.1:1/wds_cars")
    with pytest.raises(LabError, match="can't be read"):
        open_webdataset("http://[broken")


def test_a_server_s_refusal_is_a_sentence(server, monkeypatch):
    handler = server.RequestHandlerClass.func
    monkeypatch.setattr(handler, "do_GET", lambda self: self.send_error(401), raising=False)
    with pytest.raises(LabError, match=r"answers 401, .*whether the set is public"):
        open_public_set(f"{server.address}/wds_colours")


# -- folders, a class each ------------------------------------------------------------------------


@pytest.fixture
def classes(tmp_path) -> Path:
    for name, colour in COLOURS.items():
        for i in range(2):
            path = tmp_path / "colours" / f"{name}_thing" / f"{i}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), colour).save(path)
    (tmp_path / "colours/notes.txt").write_text("no class")
    (tmp_path / "colours/.clip-lab").mkdir()
    return tmp_path / "colours"


def test_folders_are_classes_in_order_of_name(classes):
    public_set = open_public_set(classes)
    assert public_set.classes == ("blue thing", "green thing", "grey thing", "red thing")
    assert (public_set.pictures, public_set.templates) == (8, ())
    targets = {sample.image.parent.name: sample.target for sample in public_set.samples()}
    assert targets == {"blue_thing": 0, "green_thing": 1, "grey_thing": 2, "red_thing": 3}


def test_a_file_may_name_the_folders(classes):
    (classes / "classnames.txt").write_text("sea\ngrass\nstone\nfire\n")
    assert open_public_set(classes).classes == ("sea", "grass", "stone", "fire")
    (classes / "classnames.txt").write_text("sea\ngrass\n")
    with pytest.raises(LabError, match="names 2 classes; there are 4 folders"):
        open_public_set(classes)
    (classes / "classnames.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(LabError, match="no text"):
        open_public_set(classes)


def test_wordnet_ids_are_called_as_imagenet_calls_them(classes):
    # Given out of order: what counts is the order of the ids.
    for old, new in zip(COLOURS, ("n03126707", "n01440764", "n02012849", "n15075141"), strict=True):
        (classes / f"{old}_thing").rename(classes / new)
    public_set = open_public_set(classes)
    assert public_set.classes == ("tench", "crane bird", "construction crane", "toilet paper")
    assert len(public_set.templates) == 80
    assert [sample.target for sample in public_set.samples()] == [0, 0, 1, 1, 2, 2, 3, 3]
    (classes / "n15075141").rename(classes / "n00000000")
    with pytest.raises(LabError, match="“n00000000” is none of ImageNet's"):
        open_public_set(classes)
    assert imagenet_names()["n03126707"] == "construction crane"


def test_folders_that_are_no_data_set_are_sentences(classes, folder, tmp_path):
    with pytest.raises(LabError, match="There is no folder"):
        open_public_set(tmp_path / "none")
    with pytest.raises(LabError, match="can't be read"):
        open_public_set("x" * 5000)
    (tmp_path / "void").mkdir()
    with pytest.raises(LabError, match=r"is no data set.*nshards.txt"):
        open_public_set(tmp_path / "void")
    (tmp_path / "void/dogs").mkdir()
    with pytest.raises(LabError, match="no pictures in its 1 folders"):
        open_public_set(tmp_path / "void")
    (tmp_path / "parts").mkdir()
    shutil.move(classes, tmp_path / "parts/val")
    with pytest.raises(LabError, match=r"parts of a data set.*parts/val"):
        open_public_set(tmp_path / "parts")
    (folder / "test/nshards.txt").unlink()
    with pytest.raises(LabError, match=r"holds shards, but test/nshards.txt"):
        open_public_set(folder)
