"""Published class names and templates, against what is known of them from elsewhere."""

import json

import pytest

from clip_lab.data.prompts import FILES, imagenet_names, prompt_sets, templates_of
from clip_lab.errors import LabError

# Classes and templates, as the sets' own papers and OpenAI's file number them.
SIZES = {
    "imagenet": (1000, 80), "imagenet-7": (1000, 7), "birdsnap": (500, 1), "cifar10": (10, 18),
    "cifar100": (100, 18), "clevr_counts": (8, 1), "caltech101": (102, 34), "country211": (211, 5),
    "dtd": (47, 8), "eurosat": (10, 3), "fgvc_aircraft": (100, 2), "fer2013": (7, 6),
    "flowers": (102, 1), "food101": (101, 1), "gtsrb": (43, 3), "hateful_memes": (2, 1),
    "kitti": (4, 1), "kinetics700": (700, 28), "mnist": (10, 1), "pets": (37, 1),
    "voc2007": (20, 1), "pcam": (2, 1), "resisc45": (45, 18), "sst2": (2, 1), "stl10": (10, 2),
    "sun397": (397, 2), "cars": (196, 8), "ucf101": (101, 48),
}  # fmt: skip


def test_all_sets_are_there_in_full():
    sizes = {name: (len(s.classes), len(s.templates)) for name, s in prompt_sets().items()}
    assert sizes == SIZES
    for name, prompts in prompt_sets().items():
        assert all(template.count("{}") == 1 for template in prompts.templates), name
        assert all(label == label.strip() != "" for label in prompts.classes), name
        assert len(set(prompts.templates)) == len(prompts.templates), name
        same = 2 if name.startswith("imagenet") else 0  # "missile" and "sunglasses", twice each
        assert len(prompts.classes) - len(set(prompts.classes)) == same, name
    assert set(prompt_sets()["imagenet-7"].templates) < set(prompt_sets()["imagenet"].templates)
    assert all(json.loads(path.read_text())["source"] for path in FILES.glob("*.json"))


def test_imagenet_s_ids_are_in_order_and_its_names_are_openai_s():
    names = imagenet_names()
    assert list(names) == sorted(names) and len(names) == 1000
    assert (names["n01440764"], names["n02123045"]) == ("tench", "tabby cat")
    assert (names["n02012849"], names["n03126707"]) == ("crane bird", "construction crane")
    assert (names["n03710637"], names["n03710721"]) == ("tights", "one-piece bathing suit")
    assert names["n15075141"] == "toilet paper"


@pytest.mark.peers
def test_names_and_templates_are_what_the_peers_carry(peers):
    from open_clip import zero_shot_metadata as theirs

    imagenet = prompt_sets()["imagenet"]
    assert list(imagenet.classes) == list(theirs.IMAGENET_CLASSNAMES)
    assert list(imagenet.templates) == [t("{}") for t in theirs.OPENAI_IMAGENET_TEMPLATES]
    seven = prompt_sets()["imagenet-7"].templates
    assert list(seven) == [t("{}") for t in theirs.SIMPLE_IMAGENET_TEMPLATES]
    builder = pytest.importorskip("clip_benchmark.datasets.builder")
    assert list(imagenet_names()) == builder.all_imagenet_wordnet_ids
    folder = FILES.__class__(builder.__file__).parent
    classes = json.loads((folder / "en_classnames.json").read_text())
    for name in ("caltech101", "country211", "flowers", "gtsrb", "mnist", "pcam"):
        assert list(prompt_sets()[name].classes) == classes[name], name
    # The same names, in another order or in capitals.
    for name in ("eurosat", "fer2013", "pets"):
        ours = {label.lower() for label in prompt_sets()[name].classes}
        assert len(ours & {label.lower() for label in classes[name]}) >= 0.9 * len(ours), name
    templates = json.loads((folder / "en_zeroshot_classification_templates.json").read_text())
    for name in ("cifar100", "food101", "cars", "dtd", "caltech101", "country211", "sun397"):
        assert [t.replace("{}", "{c}") for t in prompt_sets()[name].templates] == templates[name]


def test_templates_come_by_name_from_a_file_or_as_they_are(tmp_path):
    file = tmp_path / "mine.txt"
    file.write_text("a {c}\n\n  ein Bild von {}\n", encoding="utf-8")
    assert templates_of(["a drawing of a {}", "the {c}"]) == ("a drawing of a {}", "the {}")
    assert templates_of([str(file), "food101"]) == (
        "a {}", "ein Bild von {}", "a photo of {}, a type of food.",
    )  # fmt: skip
    assert templates_of(["imagenet-7"]) == prompt_sets()["imagenet-7"].templates
    assert templates_of([]) == ()


@pytest.mark.parametrize("word", ["imagenet8", "", "a photo", "x" * 5000])
def test_templates_that_are_nothing_of_the_kind_are_a_sentence(word):
    with pytest.raises(LabError, match="neither a template"):
        templates_of([word])


def test_a_file_that_is_no_text_is_a_sentence(tmp_path):
    (tmp_path / "x.bin").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(LabError, match="neither a template"):
        templates_of([str(tmp_path / "x.bin")])
