"""Claim 11: on most tasks zero-shot beats a linear probe on a supervised tower's features."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from clip_lab.data.augment import on_white
from clip_lab.data.batch import Batch
from clip_lab.data.emoji_table import STYLES, TRAINED_STYLES, emoji_table, pictures
from clip_lab.data.scene import BACKGROUNDS, COLOURS, SHAPES, SIZES, TEXTURES, Scenes
from clip_lab.data.shape_captions import NUMBERS, with_article
from clip_lab.data.shape_drawing import draw
from clip_lab.data.shape_sampling import WORDS, sample_scenes, training_weights
from clip_lab.data.shapes import ShapesPairs, shapes_test
from clip_lab.dual_encoder import DualEncoder
from clip_lab.evaluation import linear_probe, zero_shot_accuracy
from clip_lab.experiments import cache as kept
from clip_lab.experiments import scene_tests
from clip_lab.experiments.drawing import canvas, finish, in_style
from clip_lab.experiments.emoji_world import (
    ENGLISH,
    SUPERVISED,
    UNSEEN_STYLE,
    Classifier,
    SharedEmoji,
    Supervised,
    names,
)
from clip_lab.experiments.experiment import Experiment
from clip_lab.experiments.learning import Plan, learn
from clip_lab.experiments.result import FAILS, HOLDS, IN_PART, Measured, Verdict, interval
from clip_lab.experiments.world import BASE, SIZE, Shared, new_model
from clip_lab.view.figures import GREY, INK, SERIES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIDES = ("left", "right", "above", "below")
GROUPS = {
    "smileys-emotion": "a face that shows a feeling",
    "people-body": "a person or a part of the body",
    "animals-nature": "an animal or a plant",
    "food-drink": "food or drink",
    "travel-places": "a place, a vehicle or the weather",
    "activities": "a sport, a game or a celebration",
    "objects": "a tool or another thing",
    "symbols": "a sign or a symbol",
    "flags": "a flag",
}
Labelled = tuple[Tensor, Tensor]  # pictures, class numbers


@dataclass(frozen=True)
class Config:
    shapes: Shared = BASE
    emoji: SharedEmoji = ENGLISH
    supervised: Supervised = SUPERVISED
    train: int = 1000  # labelled pictures of a task that the probe gets, where it has so many
    test: int = 1000


@dataclass(frozen=True)
class Task:
    """Classes by their captions, and labelled pictures: so many, of a seed, to train or to test."""

    captions: list[str]
    pictures: Callable[[int, int, bool], Labelled]


# -- shapes ----------------------------------------------------------------------------------------


def shape_tasks() -> dict[str, Task]:
    """What can be asked of drawn scenes."""
    singles = {
        "shape": [with_article(name) for name in SHAPES],
        "colour": [f"{with_article(name)} shape" for name in COLOURS],
        "size": [f"a {name} shape" for name in SIZES],
        "texture": [f"a {name} shape" for name in TEXTURES],
        "background": [f"a shape on {with_article(name)} background" for name in BACKGROUNDS],
    }
    tasks = {name: Task(texts, partial(_singles, name)) for name, texts in singles.items()}
    sides = [f"a circle {scene_tests.RELATIONS[side][0]} a star" for side in SIDES]
    return tasks | {
        "new combination": Task(shapes_test(1).captions, _combinations),
        "number": Task([f"{NUMBERS[n]} shapes" for n in scene_tests.COUNTS], _numbers),
        "relation": Task(sides, _relations),
        "written word": Task([f"the word {w.upper()} on a shape" for w in WORDS], _words),
    }


def _generator(seed: int, train: bool) -> Generator:
    return Generator().manual_seed(2 * (50_000 + seed) + train)


def _singles(attribute: str, count: int, seed: int, train: bool) -> Labelled:
    scenes = sample_scenes(count, _generator(seed, train), weights=training_weights())
    values = getattr(scenes, attribute)
    return draw(scenes, SIZE), values if values.ndim == 1 else values[:, 0]


def _combinations(count: int, seed: int, train: bool) -> Labelled:
    test = shapes_test(max(1, count // len(shapes_test(1).captions)), SIZE, 2 * seed + train)
    return test.pictures, test.targets


def _numbers(count: int, seed: int, train: bool) -> Labelled:
    scenes = scene_tests.alike(count, 2 * seed + train)
    return draw(scenes, SIZE), scenes.present.sum(dim=1) - min(scene_tests.COUNTS)


def _relations(count: int, seed: int, train: bool) -> Labelled:
    """Always a circle and a star: which is where?"""
    weights = training_weights()
    weights[[i for i, name in enumerate(SHAPES) if name not in ("circle", "star")]] = 0
    scenes = sample_scenes(count, _generator(seed, train), objects=(2, 2), weights=weights)
    return draw(scenes, SIZE), torch.tensor([_side(scenes, i) for i in range(count)])


def _side(scenes: Scenes, number: int) -> int:
    (things,) = scenes[number : number + 1].things()
    circle, star = sorted(things, key=lambda thing: thing.shape)
    return SIDES.index(scene_tests.relation(circle, star))


def _words(count: int, seed: int, train: bool) -> Labelled:
    scenes = sample_scenes(count, _generator(seed, train), written=True, weights=training_weights())
    return draw(scenes, SIZE), torch.tensor([WORDS.index(w.lower()) for w in scenes.words()])


def supervised_shapes(config: Config, seed: int) -> DualEncoder:
    """An image tower that learnt to name a single object's shape and colour, one of 132 classes."""

    def train() -> DualEncoder:
        plan: Plan = config.shapes.plan
        data = ShapesPairs(plan.batch, SIZE, seed, kinds={"single": 1.0})
        classifier = Classifier(new_model(seed=seed), len(SHAPES) * len(COLOURS)).train()

        def loss(step: int) -> Tensor:
            scenes = data.scenes(step)
            targets = scenes.shape[:, 0] * len(COLOURS) + scenes.colour[:, 0]
            return F.cross_entropy(classifier(Batch(draw(scenes, SIZE), [])), targets)

        learn(classifier, loss, plan)
        classifier.eval()
        return classifier.encoder

    return kept.model("shapes-supervised", kept.digest(config.shapes, seed), train)


# -- emoji -----------------------------------------------------------------------------------------


def emoji_tasks() -> dict[str, Task]:
    """Groups and flags are learnt from three artists and tested on the fourth, OpenMoji."""
    table = emoji_table()
    flags = [row for row in _rows() if table.rows[row].group == "flags"]
    groups = [list(GROUPS).index(table.rows[row].group) for row in _rows()]
    styles = [f"an emoji drawn by {style}" for style in STYLES]
    return {
        "emoji group": Task(list(GROUPS.values()), partial(_emoji, _rows(), groups)),
        "emoji flag": Task(names(flags), partial(_emoji, flags, list(range(len(flags))))),
        "emoji artist": Task(styles, _artists),
    }


def _rows() -> list[int]:
    """Trained concepts that all four artists drew, in one of the nine groups."""
    rows = emoji_table().rows
    return [
        row
        for row in emoji_table().bases("train")
        if len(rows[row].cells) == len(STYLES) and rows[row].group in GROUPS
    ]


def _emoji(rows: list[int], targets: list[int], count: int, seed: int, train: bool) -> Labelled:
    """Few classes of many emoji are thinned to `count` pictures; the flags are all taken."""
    styles = TRAINED_STYLES if train else (UNSEEN_STYLE,)
    choice = [(row, target, style) for row, target in zip(rows, targets, strict=True)
              for style in styles]  # fmt: skip
    if len(set(targets)) < len(rows):
        choice = [choice[i] for i in np.random.default_rng(seed).permutation(len(choice))[:count]]
    return _drawn([(row, style) for row, _, style in choice]), torch.tensor(
        [target for _, target, _ in choice]
    )


def _artists(count: int, seed: int, train: bool) -> Labelled:
    """Who drew it? The probe is tested on emoji that it wasn't trained on."""
    order = np.random.default_rng(seed).permutation(_rows())
    half = order[: len(order) // 2] if train else order[len(order) // 2 :]
    shown = half[: max(1, count // len(STYLES))].tolist()
    targets = torch.arange(len(STYLES)).repeat_interleave(len(shown))
    return _drawn([(row, style) for style in STYLES for row in shown]), targets


def _drawn(chosen: list[tuple[int, str]]) -> Tensor:
    rows = emoji_table().rows
    return on_white(torch.stack([pictures(style)[rows[row].cells[style]] for row, style in chosen]))


# -- the comparison --------------------------------------------------------------------------------


def measure(config: Config, seed: int) -> dict[str, Any]:
    """Every task, zero-shot by its captions and by a probe on as many labelled pictures as allowed.

    The probe reads the vector that the supervised tower ends in.
    """
    worlds = (
        (shape_tasks(), config.shapes.encoder(seed), supervised_shapes(config, seed)),
        (emoji_tasks(), config.emoji.encoder(seed), config.supervised.encoder(seed)),
    )
    measured: dict[str, Any] = {"tasks": [], "zero_shot": [], "probe": [], "chance": []}
    for tasks, clip, supervised in worlds:
        for name, task in tasks.items():
            shown, targets = task.pictures(config.test, seed, False)
            own = zero_shot_accuracy(clip, shown, task.captions, targets)
            measured["tasks"].append(name)
            measured["zero_shot"].append(own.top1)
            measured["probe"].append(_probe(supervised, task, (shown, targets), config, seed))
            measured["chance"].append(own.chance)
    return measured


def _probe(tower: DualEncoder, task: Task, test: Labelled, config: Config, seed: int) -> float:
    shown, targets = task.pictures(config.train, seed, True)
    vectors = [tower.encode_images(part, batch_size=256) for part in (shown, test[0])]
    return linear_probe(vectors[0], targets, vectors[1], test[1], seed).accuracy.top1


def judge(measured: Measured) -> Verdict:
    """Holds where zero-shot is ahead, by its interval, on more than half of the tasks.

    In part where it is ahead on one at least.
    """
    gains = [interval(column) for column in (measured["zero_shot"] - measured["probe"]).T]
    names_ = measured.runs[0]["tasks"]
    won = [name for name, gain in zip(names_, gains, strict=True) if gain.above_zero]
    lost = [name for name, gain in zip(names_, gains, strict=True) if gain.below_zero]
    word = FAILS
    if won:
        word = HOLDS if 2 * len(won) > len(gains) else IN_PART
    whole = interval((measured["zero_shot"] - measured["probe"]).mean(axis=1))
    because = (
        f"Zero-shot is ahead on {len(won)} of {len(gains)} tasks ({', '.join(won) or 'none'}), the "
        f"probe on {len(lost)} ({', '.join(lost) or 'none'}); the rest can't be told apart. The "
        f"mean difference is {whole.points()}. Chance differs by task, from "
        f"{100 * min(measured['chance'][0]):.1f} to {100 * max(measured['chance'][0]):.0f} %."
    )
    return Verdict(word, because, {"zero-shot less probe, mean over tasks": whole})


@in_style
def draw_figure(measured: Measured) -> "Figure":
    figure, (axis,) = canvas(width=7.5, height=5.4)
    axis.grid(visible=False, axis="y")
    axis.grid(axis="x")
    differences = 100 * (measured["zero_shot"] - measured["probe"])  # (seeds, tasks)
    order = np.argsort(differences.mean(axis=0), kind="stable")
    spans = [interval(differences[:, i]) for i in order]
    means = np.array([span.mean for span in spans])
    places = np.arange(len(order))
    ahead = means > 0
    for which, colour, hatch in ((ahead, SERIES[0], ""), (~ahead, SERIES[1], "///")):
        axis.barh(places[which], means[which], 0.7, color=colour, hatch=hatch, edgecolor="white")
    if spans[0].seeds > 1:
        reach = [span.high - span.mean for span in spans]
        axis.errorbar(means, places, xerr=reach, fmt="none", ecolor=INK, capsize=3, linewidth=1)
    axis.axvline(0, color=GREY, linewidth=1)
    axis.set_yticks(places, [_label(measured, int(task)) for task in order])
    axis.set(
        xlabel="zero-shot less probe (percentage points)",
        ylabel="task  (zero-shot / probe / chance, in %)",
        title="Zero-shot, or a probe on supervised features?",
    )
    words = f"Horizontal bars, a task each. {judge(measured).because}"
    tested = (
        f"up to {measured.config['train']:,} labelled pictures for each probe, "
        f"{measured.config['test']:,} to test"
    )
    return finish(figure, measured, words, tested)


def _label(measured: Measured, task: int) -> str:
    parts = ("zero_shot", "probe", "chance")
    shares = (f"{100 * measured[part][:, task].mean():.0f}" for part in parts)
    return f"{measured.runs[0]['tasks'][task]}  ({' / '.join(shares)})"


EXPERIMENT = Experiment(
    number=11,
    name="tasks",
    claim="Zero-shot beats a linear probe on a supervised ResNet's features on most tasks",
    source="paper 3.1.5, figure 5; note 001",
    published="ahead on 16 of 27 data sets of a supervised ResNet-50's features",
    plain=(
        "Nine tasks of drawn shapes and three of emoji. CLIP gets captions of the classes. The "
        "other side is an image tower of the same shape that learnt classes instead of captions "
        "(shape and colour of a single object; which emoji), and on its vectors a linear probe "
        "trained on up to 1,000 labelled pictures of the task."
    ),
    quick=Config(BASE.quick(), ENGLISH.quick(), SUPERVISED.quick(), train=400, test=400),
    full=Config(),
    measure=measure,
    judge=judge,
    draw=draw_figure,
)
