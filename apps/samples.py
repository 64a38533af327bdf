"""Pictures and lists of labels to start from, so that one click shows something."""

from dataclasses import dataclass
from functools import cache

from PIL import Image

from clip_lab.data.emoji_table import CELL, FILES, TRAINED_STYLES, emoji_table, texts
from clip_lab.data.photos import photo_classes
from clip_lab.data.shapes import ShapesPairs, shapes_test
from clip_lab.preprocess import open_image

STYLE_NAMES = {
    "noto": "Noto",
    "twemoji": "Twemoji",
    "fluent": "Fluent 3D",
    "openmoji": "OpenMoji",
}
# Emoji name -> style. Of each kind a few: seen, style never seen, concept never seen, neither.
CHOSEN = {
    "dog face": "twemoji",
    "rainbow": "fluent",
    "cat face": "openmoji",
    "bicycle": "openmoji",
    "mushroom": "openmoji",
    "rocket": "openmoji",
    "banana": "noto",
    "dolphin": "twemoji",
    "guitar": "fluent",
    "zebra": "fluent",
    "snake": "openmoji",
    "watch": "openmoji",
}
DISTRACTORS = ("tiger face", "horse", "spouting whale", "pizza", "airplane", "automobile",
               "evergreen tree", "violin")  # fmt: skip


@dataclass(frozen=True)
class Sample:
    """A picture to click. `mark` says in what way it is new to the built-in model, if it is."""

    picture: Image.Image
    name: str
    style: str
    mark: str = ""


def emoji_samples(marked: bool = True) -> list[Sample]:
    """A dozen emoji in four styles; `marked` tells which the built-in emoji model never saw."""
    table, pictures = emoji_table(), _pictures()
    held_out = {row.label: table.held_out(i) for i, row in enumerate(table.rows)}
    return [
        Sample(
            pictures[name],
            name,
            STYLE_NAMES[style],
            _mark(style not in TRAINED_STYLES, held_out[name]) if marked else "",
        )
        for name, style in CHOSEN.items()
    ]


@cache
def _pictures() -> dict[str, Image.Image]:
    """The chosen cells alone, cut from each sheet; the sheets themselves would hold 65 MB each."""
    row_of = {row.label: row for row in emoji_table().rows}
    pictures = {}
    for style in STYLE_NAMES:
        with Image.open(FILES / f"{style}.webp") as sheet:
            columns = sheet.width // CELL
            for name in (name for name, of in CHOSEN.items() if of == style):
                row, column = divmod(row_of[name].cells[style], columns)
                left, top = column * CELL, row * CELL
                pictures[name] = sheet.crop((left, top, left + CELL, top + CELL))
    return pictures


def _mark(new_style: bool, new_concept: bool) -> str:
    if new_style and new_concept:
        return "neither ever seen"
    return "style never seen" if new_style else "thing never seen" if new_concept else ""


def emoji_labels() -> dict[str, str]:
    """Lists of labels by name, one label a line."""
    table = emoji_table()
    bases = [table.rows[i] for i in table.bases()]
    animals = [row for row in bases if row.subgroup.startswith("animal-")]
    chinese = texts("zh")
    return {
        "a mixed bag": "\n".join([*CHOSEN, *DISTRACTORS]),
        "animals": "\n".join(row.label for row in animals),
        "动物 (animals in Chinese)": "\n".join(chinese[row.hexcode][0] for row in animals),
        "every emoji": "\n".join(row.label for row in bases),
    }


def shape_samples() -> list[Sample]:
    """Half of them shapes of a kind, colour and size that were never trained on together."""
    new = shapes_test(copies=1)
    steps = range(0, len(new.captions), len(new.captions) // 6)
    fresh = [(new.pictures[i], new.captions[i], "mix never seen") for i in list(steps)[:6]]
    pictures, captions, *_ = ShapesPairs(6, kinds={"single": 1.0, "pair": 1.0}).batch(0)
    seen = [(picture, caption, "") for picture, caption in zip(pictures, captions, strict=True)]
    return [Sample(open_image(p), caption, "shapes", mark) for p, caption, mark in seen + fresh]


def shape_labels() -> dict[str, str]:
    """The samples' own captions; or every shape in every colour and size."""
    return {
        "these twelve": "\n".join(sample.name for sample in shape_samples()),
        "every combination": "\n".join(shapes_test(copies=1, everything=True).captions),
    }


def photo_labels() -> dict[str, str]:
    """Things that the photos model was trained on, their kinds, and things that it never saw."""
    trained = [entry for entry in photo_classes() if not entry.held_out]
    kinds = dict.fromkeys(entry.at("kind")[0] for entry in trained)
    return {
        "kinds of things": "\n".join(kinds),
        "everything trained on": "\n".join(entry.name for entry in trained),
        "never trained on": "\n".join(e.name for e in photo_classes() if e.held_out),
    }


@dataclass(frozen=True)
class Start:
    """What a page shows before anything is chosen: samples, and lists of labels by name."""

    samples: list[Sample]
    lists: dict[str, str]

    @property
    def labels(self) -> str:
        return next(iter(self.lists.values()))


@cache
def starting_point(model_name: str) -> Start:
    """Samples and lists of labels of the kind that a model was trained on."""
    if model_name.startswith("shapes"):
        return Start(shape_samples(), shape_labels())
    if model_name == "photos":  # no photograph comes with the lab: bring your own
        return Start(emoji_samples(marked=False), photo_labels())
    return Start(emoji_samples(marked=model_name == "emoji"), emoji_labels())
