"""Test sets as ImageNet comes: a folder of pictures for each class."""

import re
from collections.abc import Iterator
from pathlib import Path

from clip_lab.data.prompts import imagenet_names, prompt_sets
from clip_lab.data.public_set import CLASS_NAMES, PublicSet, Sample, class_names
from clip_lab.data.webdataset import read_text
from clip_lab.errors import LabError
from clip_lab.retrieval import find_pictures

WORDNET_ID = re.compile(r"n\d{8}")
SPLITS = {"train", "val", "valid", "validation", "test"}


def open_image_folder(root: Path) -> PublicSet:
    """The set in `root`: classes are its folders, in order of name.

    What the classes are called: what `classnames.txt` in `root` says, a line a folder; else, where
    all folders bear WordNet ids, ImageNet's name for each, with ImageNet's 80 templates (a set of
    fewer than the 1,000 classes, such as ImageNet-R, is classified among its own); else the
    folders' own names. Raises LabError for a folder without classes or pictures.
    """
    folders = sorted(
        path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")
    )
    if not folders:
        raise LabError(
            f"“{root}” is no data set: it holds neither test/nshards.txt (the WebDataset layout) "
            "nor a folder for each class."
        )
    if {folder.name for folder in folders} <= SPLITS:
        raise LabError(
            f"“{root}” holds parts of a data set, not classes. Choose one: “{folders[-1]}”."
        )
    pictures = [(number, path) for number, f in enumerate(folders) for path in find_pictures(f)]
    if not pictures:
        raise LabError(f"“{root}” holds no pictures in its {len(folders)} folders.")

    def samples() -> Iterator[Sample]:
        for number, path in pictures:
            yield Sample(str(path.relative_to(root)), path, number)

    names, templates = _names(root, [folder.name for folder in folders])
    name = root.resolve().name
    return PublicSet(name, "classification", samples, names, templates, len(pictures))


def _names(root: Path, folders: list[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The classes' names, and the templates that go with them, if any do."""
    text = read_text(str(root), CLASS_NAMES)
    if text is not None:
        names = class_names(text, CLASS_NAMES)
        if len(names) != len(folders):
            raise LabError(
                f"{CLASS_NAMES} in “{root}” names {len(names)} classes; there are {len(folders)} "
                "folders."
            )
        return names, ()
    if not all(WORDNET_ID.fullmatch(folder) for folder in folders):
        return tuple(folder.replace("_", " ") for folder in folders), ()
    strange = [folder for folder in folders if folder not in imagenet_names()]
    if strange:
        raise LabError(
            f"“{strange[0]}” is none of ImageNet's 1,000 classes. Put a {CLASS_NAMES} into "
            f"“{root}” that names every folder, one a line, in order of the folders' names."
        )
    return tuple(imagenet_names()[folder] for folder in folders), prompt_sets()[
        "imagenet"
    ].templates
