"""`clip-lab eval`: the figures, the table, the file, and a sentence for what goes wrong."""

import json

import pytest
import torch
from PIL import Image
from wds_files import COLOURS, picture, write_captions, write_classes

from clip_lab.cli import main
from clip_lab.errors import LabError
from clip_lab.evaluation.public import evaluate
from clip_lab.pretrained import save

SAMPLES = [(picture(i, COLOURS[c]), n) for i in range(9) for n, c in enumerate(COLOURS)]


@pytest.fixture
def folder(tmp_path):
    return write_classes(tmp_path / "wds_colours", SAMPLES, list(COLOURS), ["{c}", "a {c}."], 2)


@pytest.fixture
def model(encoder, tmp_path):
    save(encoder, tmp_path / "model")
    return str(tmp_path / "model")


@pytest.fixture
def knowing(encoder):
    """The tiny encoder, its texts turned into what it makes of pictures: "red" is near red ones."""
    look = {
        name: encoder.encode_images([Image.new("RGB", (8, 8), c)]) for name, c in COLOURS.items()
    }

    def encode_texts(texts, **_):
        names = [next(name for name in COLOURS if name in text) for text in texts]
        return torch.cat([look[name] for name in names])

    encoder.encode_texts = encode_texts
    return encoder


def run(capsys, *arguments):
    status = main([str(argument) for argument in arguments])
    out, err = capsys.readouterr()
    return status, out, err


def test_classification_finds_what_a_plain_loop_finds(knowing, folder):
    result = evaluate(knowing, folder).result
    right = 0
    for image, target in SAMPLES:
        scores = [
            float((knowing.encode_images([image]) @ knowing.encode_texts([name]).T).item())
            for name in COLOURS
        ]
        right += scores.index(max(scores)) == target
    assert 0.3 < result.accuracy.top1 == right / len(SAMPLES)
    assert result.accuracy.pictures == 36 and result.accuracy.classes == 4


def test_retrieval_finds_what_a_plain_loop_finds(knowing, tmp_path):
    samples = [
        (picture(i, colour), [f"{name} {i}", f"the {name}"])
        for i, (name, colour) in enumerate(COLOURS.items())
    ]
    evaluation = evaluate(knowing, write_captions(tmp_path / "wds_words", samples), batch_size=3)
    images = knowing.encode_images([image for image, _ in samples])
    scores = images @ knowing.encode_texts(list(COLOURS)).T
    hits = (scores.argmax(dim=1) == torch.arange(4)).double().mean().item()
    assert evaluation.result.image_to_text[0] == hits
    back = (scores.argmax(dim=0) == torch.arange(4)).double().mean().item()
    assert evaluation.result.text_to_image[0] == back
    assert evaluation.result.captions == 8 and evaluation.templates == ()


def test_folders_and_shards_and_batches_agree(encoder, folder, tmp_path):
    for i, (image, target) in enumerate(SAMPLES):
        path = tmp_path / "folders" / f"{target} {list(COLOURS)[target]}" / f"{i:03}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(image)
    (tmp_path / "folders/classnames.txt").write_text("\n".join(COLOURS))
    templates = ("a {}",)
    one = evaluate(encoder, folder, templates)
    two = evaluate(encoder, tmp_path / "folders", templates, batch_size=5)
    assert one.result == two.result and one.templates == two.templates == templates
    assert evaluate(encoder, tmp_path / "folders").templates == ("a photo of a {}.",)


def test_the_command_prints_a_table_and_writes_all_that_made_it(capsys, model, folder, tmp_path):
    out_file = tmp_path / "deep/result.json"
    status, out, _ = run(capsys, "eval", model, folder, "--output", out_file, "--device", "cpu")
    written = json.loads(out_file.read_text())
    assert status == 0
    assert "36 pictures, 4 classes, 2 templates" in out and "wds_colours" in out
    for name in ("top1", "top5", "mean_per_class_recall"):
        assert f"{written['result'][name]:.2%}" in out
    assert written["templates"] == ["{}", "a {}."] and written["classes"] == list(COLOURS)
    assert written["result"]["pictures"] == 36 and len(written["result"]["recalls"]) == 4
    assert written["versions"]["torch"] == torch.__version__
    assert not list(out_file.parent.glob("*.part"))


def test_the_command_measures_retrieval(capsys, model, tmp_path):
    samples = [(picture(i), [f"text {i}"]) for i in range(12)]
    status, out, _ = run(capsys, "eval", model, write_captions(tmp_path / "wds_words", samples))
    assert status == 0
    assert "12 pictures, 12 captions" in out
    assert "R@10" in out and "text to image" in out and "image to text" in out


def test_templates_of_one_s_own(capsys, model, folder, tmp_path):
    out_file = tmp_path / "result.json"
    command = ("eval", model, folder, "--output", out_file, "--templates", "the {c}", "{} star")
    assert run(capsys, *command)[0] == 0
    assert json.loads(out_file.read_text())["templates"] == ["the {}", "{} star"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--templates", "nonsense"], "neither a template"),
        (["--batch-size", "0"], "1 or more"),
        (["--device", "abacus"], "abacus"),
        (["--output", "."], "is a folder"),
    ],
)
def test_wrong_use_is_a_sentence(capsys, model, folder, options, message):
    status, out, err = run(capsys, "eval", model, folder, *options)
    assert status == 2 and message in err and out == ""


def test_a_place_without_a_set_is_a_sentence(capsys, model, tmp_path):
    for place in (tmp_path / "none", "http://127.0.0.1:1/wds_cars"):
        status, _, err = run(capsys, "eval", model, place)
        assert status == 2 and err.startswith("clip-lab: ") and "Traceback" not in err


def test_a_damaged_picture_is_named(capsys, model, folder, tmp_path):
    for broken, reason in ((b"no picture", "not a picture"), (SAMPLES[0][0][:400], "damaged")):
        samples = [*SAMPLES[:20], (broken, 1), *SAMPLES[20:]]
        write_classes(folder, samples, list(COLOURS), shards=2)
        out_file = tmp_path / "result.json"
        status, _, err = run(capsys, "eval", model, folder, "--output", out_file)
        assert status == 2 and "s0000020 in test/1.tar" in err and reason in err
        assert not out_file.exists()
    path = tmp_path / "folders/red/7.jpg"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"no picture")
    status, _, err = run(capsys, "eval", model, tmp_path / "folders")
    assert status == 2 and "red/7.jpg" in err


def test_an_empty_set_is_a_sentence(encoder, folder):
    write_classes(folder, [], list(COLOURS))
    with pytest.raises(LabError, match="“wds_colours” holds no pictures"):
        evaluate(encoder, folder)
    (folder / "dataset_type.txt").write_text("retrieval")
    with pytest.raises(LabError, match="“wds_colours” holds no pictures"):
        evaluate(encoder, folder)


def test_a_model_of_nan_is_told_so_and_not_given_full_marks(encoder, folder):
    with torch.no_grad():
        encoder.model.visual.proj.fill_(float("nan"))
    with pytest.raises(LabError, match="NaN"):
        evaluate(encoder, folder)


def test_pictures_are_never_all_held_in_memory(encoder, folder, monkeypatch):
    held, most = 0, 0

    class Counted(bytes):
        def __init__(self, *_):
            nonlocal held, most
            held += 1
            most = max(most, held)

        def __del__(self):
            nonlocal held
            held -= 1

    from clip_lab.data import webdataset

    write_classes(folder, SAMPLES * 10, list(COLOURS), shards=4)
    real = webdataset.Sample
    monkeypatch.setattr(webdataset, "Sample", lambda k, image, t: real(k, Counted(image), t))
    evaluate(encoder, folder, batch_size=8)
    assert 8 <= most <= 40, "of 360 pictures only a few batches are there at a time"
