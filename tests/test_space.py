"""A page for the public: what visitors can't make it do, and the files of a Hugging Face Space."""

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("gradio", reason="the app needs the extra 'apps'")

from app_server import running, tiny_encoder
from gradio.route_utils import delete_files_created_by_app
from gradio_client import Client, handle_file
from PIL import Image

from apps import classify, lab, theme, training
from apps import models as offered
from apps.models import Models
from clip_lab import LabError
from clip_lab.cli import _parser
from clip_lab.pretrained import names, registry

ROOT = Path(__file__).parents[1]
TINY = tiny_encoder()


@pytest.fixture(scope="module")
def space(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("space") / "files"
    spec = importlib.util.spec_from_file_location("space", ROOT / "scripts" / "space.py")
    assert spec is not None and spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    script.write_space(folder)
    with pytest.raises(FileExistsError, match="isn't empty"):
        script.write_space(folder)
    return folder


def front_matter(text: str) -> dict[str, str]:
    head = text.split("---\n")[1]
    return dict(line.split(": ", 1) for line in head.splitlines())


def test_the_public_is_offered_no_download(monkeypatch):
    here, absent = registry.rows()[:2]
    monkeypatch.setattr(offered, "in_cache", lambda repo: repo == here.repo)
    monkeypatch.setattr(offered, "load", lambda name, *_: name)
    models = Models(TINY, public=True)
    listed = [name for _, name in models.choices()]
    assert listed == ["tiny", *names(), here.name]
    assert models.get(here.name) == here.name
    with pytest.raises(LabError, match="offers no model"):
        models.get(absent.name)
    assert absent.name in [name for _, name in Models(TINY).choices()]


def test_nothing_is_trained_for_the_public():
    def names_of(demo):
        return {one.api_name for one in demo.fns.values()}

    assert "train" in names_of(training.build_demo(Models(TINY)))
    assert "train" not in names_of(training.build_demo(Models(TINY, public=True)))


def test_a_public_page_on_this_machine_reads_no_folder_and_knows_other_names(monkeypatch):
    seen = {}
    monkeypatch.setattr(lab, "build_demo", lambda models, folders: seen.update(folders=folders))
    monkeypatch.setattr(theme, "launch", lambda *args, **options: seen.update(options))
    lab.main(Models(TINY, public=True))
    assert not seen["folders"] and seen["public"]
    lab.main(Models(TINY))
    assert seen["folders"].any_folder and not seen["public"]


def test_uploads_are_deleted_and_the_page_s_own_pictures_stay(tmp_path):
    demo = classify.build_demo(Models(TINY))
    assert demo.delete_cache == (600, 7200)
    picture = tmp_path / "mine.png"
    Image.new("RGB", (40, 40), "red").save(picture)
    with running(demo) as address:
        client = Client(address, verbose=False, analytics_enabled=False)
        first, *_ = client.predict(handle_file(picture), "a\nb", False, "bare name", "", "tiny", "",
                                   api_name="/classify")  # fmt: skip
        assert "error" not in first
        (uploaded,) = demo.upload_file_set
        own = {path for block in demo.blocks.values() for path in block.keep_in_cache}
        assert own and Path(uploaded).exists()
        delete_files_created_by_app(demo, 0)
        assert not Path(uploaded).exists() and all(Path(path).exists() for path in own)


def test_a_space_has_its_files_and_says_what_it_needs(space):
    matter = front_matter((space / "README.md").read_text("utf-8"))
    assert matter["sdk"] == "gradio" and matter["app_file"] == "app.py"
    pins = (ROOT / "constraints.txt").read_text("utf-8")
    assert f"gradio=={matter['sdk_version']}\n" in pins
    assert len(matter["short_description"]) <= 60  # the hub refuses a longer one
    wanted = (space / "requirements.txt").read_text("utf-8")
    for package in ("torch", "pillow", "tokenizers", "usearch", "plotly"):
        assert re.search(rf"^{package}>=", wanted, re.MULTILINE), package
    assert (space / "clip_lab/pretrained/weights/emoji/model.safetensors").is_file()
    assert not list(space.rglob("__pycache__"))


def test_a_space_s_app_builds_from_its_own_files_alone(space):
    code = (
        "import runpy, sys; sys.path.insert(0, '.'); page = runpy.run_path('app.py')\n"
        "import apps, clip_lab; print(apps.__file__, clip_lab.__file__)\n"
        "print(page['demo'].title, len(page['demo'].fns))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=space, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    files, built = done.stdout.strip().splitlines()[-2:]
    assert files.count(str(space)) == 2 and built.startswith("CLIP Lab ")


@pytest.mark.parametrize("page", ["dashboard.md", "serving.md"])
def test_every_option_that_the_book_names_exists(page):
    text = (ROOT / "book" / page).read_text("utf-8")
    parser = _parser()
    (subparsers,) = [one for one in parser._actions if one.choices]
    commands = re.findall(r"clip-lab (app|search|info|models|classify|train)\b([^\n`]*)", text)
    assert len(commands) > 3
    for name, rest in commands:
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*", rest):
            assert option in subparsers.choices[name]._option_string_actions, (name, option)
