"""The README's and the model card's figures, drawn from the real data, model and training log.

    python scripts/figures.py [--model emoji] [--log runs/emoji/log.jsonl] [--out docs]

Writes emoji_styles.png (the pictures), classification.png (cosine, logit, softmax of one picture
that the model never saw) and, where a log is given, training.png.
"""

import argparse
import json
import math
from pathlib import Path

import numpy as np

import clip_lab
from apps.samples import CHOSEN, DISTRACTORS, STYLE_NAMES, emoji_samples
from clip_lab import ZeroShotClassifier
from clip_lab.data.emoji_table import emoji_table, pictures
from clip_lab.preprocess import open_image
from clip_lab.view import figures

SHOWN = ("cat face", "rocket", "zebra", "guitar", "banana", "rainbow", "snake", "bicycle")


def styles(out: Path) -> None:
    """One row a style: the same things by four artists."""
    table = emoji_table()
    row_of = {row.label: row for row in table.rows}
    images, captions = [], []
    for style, name in STYLE_NAMES.items():
        for label in SHOWN:
            rgba = pictures(style)[row_of[label].cells[style]].permute(1, 2, 0).numpy()
            alpha = rgba[..., 3:] / 255.0  # on white
            images.append((rgba[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8))
            captions.append(f"{label} ({name})")
    figures.save(figures.contact_sheet(images, captions, columns=len(SHOWN)), out, dpi=96)


def classification(model: str, out: Path, sample: str = "rocket") -> None:
    """The way from cosine to probability for one of the app's samples."""
    encoder = clip_lab.load(model)
    image = next(open_image(s.picture) for s in emoji_samples() if s.name == sample)
    prediction = ZeroShotClassifier(encoder, [*CHOSEN, *DISTRACTORS])([image])
    figure = figures.classification(
        prediction.labels, prediction.cosines[0], prediction.scale, picture=np.asarray(image)
    )
    figures.save(figure, out)


def training(log: Path, out: Path, batch: int) -> None:
    """Loss and scale at every logged step, and whatever was measured now and then."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    steps = [line for line in lines if "loss" in line]
    tests = [line for line in lines if "loss" not in line]
    names = [name for name in (tests[0] if tests else {}) if name not in ("step", "seconds")]
    accuracy = {
        name.replace("_", " "): (
            np.array([line["step"] for line in tests]),
            np.array([line[name] for line in tests]),
        )
        for name in names
    }
    columns = [np.array([line[key] for line in steps]) for key in ("step", "loss", "scale")]
    figure = figures.training_curve(*columns, accuracy, chance_loss=math.log(batch))
    figures.save(figure, out)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="emoji", help="a built-in name or a model's folder")
    parser.add_argument("--log", type=Path, help="a training run's log.jsonl")
    parser.add_argument("--batch", type=int, default=256, help="the run's batch size")
    parser.add_argument("--out", type=Path, default=Path("docs"))
    options = parser.parse_args()
    styles(options.out / "emoji_styles.png")
    classification(options.model, options.out / "classification.png")
    if options.log:
        training(options.log, options.out / "training.png", options.batch)


if __name__ == "__main__":
    main()
