"""The command: right answers, and for every kind of wrong use a sentence without a traceback."""

import json
import re
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from test_preprocess import RED, bomb, encoded

from clip_lab.cli import main
from clip_lab.pretrained import save


@pytest.fixture
def model(encoder, tmp_path):
    save(encoder, tmp_path / "model")
    return str(tmp_path / "model")


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    monkeypatch.setenv("CLIP_LAB_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "pictures"
    (folder / "deep").mkdir(parents=True)
    Image.new("RGB", (40, 30), RED).save(folder / "red.png")
    Image.new("CMYK", (30, 40), (200, 0, 0, 0)).save(folder / "cyan.jpg")
    Image.fromarray(np.full((9, 9), 40000, np.uint16)).save(folder / "deep/grey16.png")
    (folder / "notes.txt").write_text("no picture")
    (folder / "empty.png").write_bytes(b"")
    (folder / "text.jpg").write_text("no picture either")
    (folder / "bomb.png").write_bytes(bomb())
    whole = encoded(Image.effect_noise((64, 64), 90).convert("RGB"), "JPEG")
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    return folder


def run(capsys, *arguments: str) -> tuple[int, str, str]:
    status = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return status, out, err


def test_without_arguments_it_helps(capsys):
    status, out, _ = run(capsys)
    assert status == 0
    for command in ("classify", "search", "train", "app", "lab", "info"):
        assert command in out


def test_classify_prints_cosine_logit_and_softmax(capsys, model, pictures, encoder):
    status, out, _ = run(
        capsys, "classify", pictures / "red.png", "--labels", "star, heart,红", "--model", model
    )
    rows = re.findall(r"(-?\d\.\d{3}) +(-?\d+\.\d\d) +(\d+\.\d)%  (.+)", out)
    assert status == 0 and {row[3] for row in rows} == {"star", "heart", "红"}
    assert sum(float(row[2]) for row in rows) == pytest.approx(100, abs=0.2)
    for cosine, logit, *_ in rows:
        assert float(logit) == pytest.approx(encoder.scale * float(cosine), abs=0.01)
    assert [row[0] for row in rows] == sorted((row[0] for row in rows), key=float, reverse=True)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--labels", ","], "at least one label"),
        (["--labels", "cat", "--template", "no place"], "has no {}"),
        (["--labels", "cat", "--template", "{0.__class__}"], "has no {}"),
        (["--labels", "x" * 100_000], "100,000 characters"),
        (["--labels", "cat", "--device", "abacus"], "abacus"),
    ],
)
def test_wrong_use_is_a_sentence(capsys, model, pictures, arguments, message):
    command = ["classify", pictures / "red.png", "--model", model, *arguments]
    status, _, err = run(capsys, *command)
    assert status == 2
    assert message in err and "Traceback" not in err


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("empty.png", "not a picture"),
        ("text.jpg", "not a picture"),
        ("bomb.png", "megapixels"),
        ("cut.jpg", "damaged"),
        ("none.png", "can't be opened"),
    ],
)
def test_bad_pictures_are_a_sentence(capsys, model, pictures, name, message):
    command = ("classify", pictures / name, "--labels", "cat", "--model", model)
    status, _, err = run(capsys, *command)
    assert status == 2 and message in err and name in err


def test_five_thousand_labels(capsys, model, pictures):
    labels = ",".join(f"star {i}" for i in range(5000))
    status, out, _ = run(
        capsys, "classify", pictures / "red.png", "--labels", labels, "--model", model
    )
    assert status == 0 and out.count("%") == 5


def test_an_unknown_or_damaged_model_is_a_sentence(capsys, model, pictures, tmp_path):
    command = ("classify", pictures / "red.png", "--labels", "cat", "--model")
    status, _, err = run(capsys, *command, "nonsense")
    assert status == 2 and "no model “nonsense”" in err
    shutil.copytree(model, tmp_path / "cut")
    weights = tmp_path / "cut/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:999])
    status, _, err = run(capsys, *command, str(tmp_path / "cut"))
    assert status == 2 and "model.safetensors” is damaged" in err


def found(out: str) -> list[str]:
    return [line.split("  ")[-1].split("/")[-1] for line in out.splitlines()]


def test_search_indexes_once_and_names_what_it_left_out(capsys, model, pictures, encoder):
    command = ("search", pictures, "red heart", "--model", model)
    status, out, err = run(capsys, *command)
    assert status == 0
    for name in ("empty.png", "text.jpg", "bomb.png", "cut.jpg"):
        assert name in err
    assert sorted(found(out)) == ["cyan.jpg", "grey16.png", "red.png"]
    vectors = encoder.encode_images([pictures / name for name in ("red.png", "cyan.jpg")])
    best = float((vectors @ encoder.encode_texts(["red heart"]).T).max())
    assert float(out.split()[0]) >= best - 0.002
    assert run(capsys, *command) == (0, out, "")  # the bad ones aren't tried, or named, again
    (pictures / "red.png").unlink()
    status, out, _ = run(capsys, *command)
    assert status == 0 and sorted(found(out)) == ["cyan.jpg", "grey16.png"]
    status, out, err = run(capsys, *command, "--rebuild")
    assert status == 0 and "red.png" not in out and "empty.png" in err


def test_search_by_picture(capsys, model, pictures):
    status, out, _ = run(capsys, "search", pictures, pictures / "red.png", "--model", model)
    assert status == 0 and out.splitlines()[0].endswith("red.png")
    assert float(out.split()[0]) == pytest.approx(1, abs=2e-3)


def test_search_adds_and_subtracts(capsys, model, pictures):
    one = ("search", pictures, pictures / "red.png", "--model", model)
    _, alone, _ = run(capsys, *one)
    status, together, _ = run(capsys, *one[:3], "blue star", "--minus", "green square", *one[3:])
    assert status == 0 and together != alone
    status, _, err = run(capsys, *one, "--minus", pictures / "red.png")
    assert status == 2 and "cancel out" in err
    status, _, err = run(capsys, "search", pictures, "--model", model)
    assert status == 2 and "Nothing to look for" in err


def test_search_removes_its_index_alone(capsys, model, pictures, tmp_path):
    before = sorted(pictures.rglob("*"))
    (pictures / ".clip-lab").mkdir()  # as an earlier version left it
    _, _, err = run(capsys, "search", pictures, "red", "--model", model)
    assert "earlier version" in err and "may delete it" in err
    assert list((tmp_path / "cache").rglob("*.sqlite"))
    assert run(capsys, "search", pictures, "--remove", "--model", model) == (0, "", "")
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert sorted(pictures.rglob("*")) == sorted([*before, pictures / ".clip-lab"])


def test_search_in_nothing_is_a_sentence(capsys, model, tmp_path):
    (tmp_path / "void").mkdir()
    for folder in ("void", "none"):
        status, _, err = run(capsys, "search", tmp_path / folder, "x", "--model", model)
        assert status == 2 and err.startswith("clip-lab: ")


@pytest.mark.parametrize(
    "option", ["--steps=0", "--minutes=-1", "--minutes=nan", "--batch-size=0", "--threads=-2"]
)
def test_train_takes_no_numbers_of_zero_or_less(capsys, option):
    with pytest.raises(SystemExit) as ended:
        main(["train", "--data", "shapes", option])
    assert ended.value.code == 2
    assert "number greater than 0" in capsys.readouterr().err


def test_train_begins_goes_on_and_never_overwrites(capsys, tmp_path):
    command = ["train", "--data", "shapes", "--steps", "1", "--batch-size", "4", "--out", tmp_path]
    for more, expected in ((["--resume"], 0), (["--resume"], 0), ([], 2)):
        status, _, err = run(capsys, *command, *more)
        assert status == expected, err
    assert "holds a run already" in err and "--resume" in err


def test_train_says_what_it_lacks(capsys, tmp_path):
    wrong = {
        ("--data", "photos"): "--pictures FOLDER",
        ("--data", str(tmp_path / "nothing.csv"), "--architecture", "ViT-B-32"): "nothing.csv",
        ("--data", "captions.csv"): "--architecture ViT-B-32 for a new model",
        ("--data", "shapes", "--architecture", "ViT-Z"): "no architecture “ViT-Z”",
        ("--data", "shapes", "--architecture", "RN50", "--weights", "shapes"): "Give --weights",
        ("--data", "shapes", "--keep-at", "0,ten"): "--keep-at takes steps",
        ("--data", "shapes", "--measure-on", str(tmp_path / "no")): "no folder",
        ("--data", "shapes", "--loss", "sigmoid"): "needs a model with a bias",
        ("--data", "shapes", "--patch-dropout", "0.5"): "needs a Vision Transformer",
    }
    for options, told in wrong.items():
        out = tmp_path / "run"
        status, _, err = run(capsys, "train", *options, "--steps", "1", "--out", out)
        assert status == 2 and told in err and "Traceback" not in err, (options, err)


def test_info_shows_the_card(capsys, encoder, tmp_path):
    encoder.card = {"name": "tiny", "trained_on": "nothing", "figures": {"top1": 0.5}}
    save(encoder, tmp_path)
    status, out, _ = run(capsys, "info", tmp_path)
    assert status == 0 and "trained on: nothing" in out and "top1: 0.5" in out
    assert json.loads((tmp_path / "card.json").read_text())["figures"] == {"top1": 0.5}


def test_lab_copies_notebooks_and_never_overwrites(capsys, tmp_path, monkeypatch):
    from clip_lab.course import open as course

    started = []

    def start(command: list[str], env: dict[str, str], check: bool) -> SimpleNamespace:
        assert "course/jupyter" in env["JUPYTER_CONFIG_PATH"]
        started.append(command)
        return SimpleNamespace(returncode=0)

    monkeypatch.setattr(course.subprocess, "run", start)
    folder = tmp_path / "course"
    assert run(capsys, "lab", "--folder", folder, "--no-browser")[0] == 0
    notebooks = sorted(folder.glob("*.ipynb"))
    assert [path.name for path in notebooks] == [p.name for p in course.student_notebooks()]
    assert str(notebooks[0]) in started[0]
    notebooks[0].write_text("my work")
    run(capsys, "lab", "--folder", folder, "--no-browser")
    assert notebooks[0].read_text() == "my work"
    blocked = tmp_path / "file"
    blocked.write_text("")
    status, _, err = run(capsys, "lab", "--folder", blocked)
    assert status == 2 and "can't be written" in err
