"""Claim 27: lock a good image tower, and the text tower alone learns what CLIP would."""

from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from clip_lab.data.batch import Batch
from clip_lab.data.scene import COLOURS, SHAPES, SIZES, Scenes
from clip_lab.data.shape_drawing import draw
from clip_lab.data.shapes import ShapesPairs, shapes_test
from clip_lab.dual_encoder import DualEncoder
from clip_lab.evaluation.accuracy import zero_shot_accuracy
from clip_lab.experiments.drawing import canvas, chance, curve, finish, in_style
from clip_lab.experiments.experiment import Experiment
from clip_lab.experiments.learning import Plan, learn, pixels, train_clip
from clip_lab.experiments.pool import Drawn, Pool, draw_pairs
from clip_lab.experiments.result import FAILS, HOLDS, IN_PART, Measured, Verdict, interval
from clip_lab.experiments.world import SIZE, new_model
from clip_lab.training.towers import lock

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLASSES = 44
NAMES = {
    "locked": "labels first, then locked (LiT)",
    "unlocked": "labels first, then trained on",
    "scratch": "from scratch",
}
LABELS = (len(SHAPES), len(COLOURS), len(SIZES))


@dataclass(frozen=True)
class Config:
    labels: Plan = Plan(steps=500)  # of the image tower, before
    plan: Plan = Plan(steps=300)
    pairs: int = 2000  # with captions
    looks: tuple[int, ...] = (25, 50, 100, 150, 200, 250, 300)
    copies: int = 8  # pictures of each held-out combination


class Labels(nn.Module):
    """An image tower with three linear classifiers: shape, colour and size of a single object."""

    def __init__(self, encoder: DualEncoder):
        super().__init__()
        self.visual = encoder.model.visual
        self.classify = nn.Linear(encoder.embed_dim, sum(LABELS))

    def forward(
        self, images: Float[Tensor, "batch 3 size size"]
    ) -> tuple[Float[Tensor, "batch _"], ...]:
        return self.classify(self.visual(images)).split(LABELS, dim=1)


def true_labels(scenes: Scenes) -> tuple[Int[Tensor, " batch"], ...]:
    """Of the scenes' first objects."""
    return scenes.shape[:, 0], scenes.colour[:, 0], scenes.size[:, 0]


def learn_labels(encoder: DualEncoder, plan: Plan, seed: int) -> None:
    """Ordinary supervised training of the image tower, in place; the classifiers are dropped."""
    encoder.model.to(memory_format=torch.channels_last)  # pyright: ignore
    labels = Labels(encoder).train()
    data = ShapesPairs(plan.batch, SIZE, 10_000 + seed, kinds={"single": 1.0})

    def loss(step: int) -> Tensor:
        scenes = data.scenes(step)
        guesses = labels(pixels(encoder, Batch(draw(scenes, SIZE), [])))
        answers = true_labels(scenes)
        return torch.stack(
            [F.cross_entropy(g, a) for g, a in zip(guesses, answers, strict=True)]
        ).sum()

    learn(labels, loss, plan)
    encoder.model.eval()


def measure(config: Config, seed: int) -> dict[str, Any]:
    """Three trainings on the same captioned pairs, with text towers that start alike."""
    taught = new_model(seed=seed)
    learn_labels(taught, config.labels, seed)
    drawn = draw_pairs(config.pairs, SIZE, seed)
    measured: dict[str, Any] = {}
    for name in NAMES:
        encoder = new_model(seed=seed)
        if name != "scratch":
            encoder.model.visual = deepcopy(taught.model.visual)
        if name == "locked":
            lock(encoder.model.visual)
        measured[name] = _curve(encoder, drawn, config, seed)
    return measured


def _curve(encoder: DualEncoder, drawn: Drawn, config: Config, seed: int) -> list[float]:
    """Contrastive training; accuracy on unseen combinations at each look."""
    test = shapes_test(config.copies, SIZE, seed)
    accuracies = []

    def look(_step: int) -> None:
        right = zero_shot_accuracy(encoder, test.pictures, test.captions, test.targets)
        accuracies.append(right.top1)

    data = Pool(drawn, config.plan.batch, seed)
    train_clip(encoder, data, config.plan, look=look, at=config.looks)
    return accuracies


def judge(measured: Measured) -> Verdict:
    """Holds where the locked tower ends above both others at the same captioned pairs.

    In part where it ends above the training from scratch, but not above the tower that was trained
    on.
    """
    last = {name: measured[name][:, -1] for name in NAMES}
    unlocked = interval(last["locked"] - last["unlocked"])
    scratch = interval(last["locked"] - last["scratch"])
    word = FAILS
    if scratch.above_zero:
        word = HOLDS if unlocked.above_zero else IN_PART
    because = (
        f"From {measured.config['pairs']:,} captioned pairs the text tower alone, on a locked "
        f"image tower, gets to {interval(last['locked']).percent()} on unseen combinations: "
        f"{unlocked.points()} against the same tower trained on, {scratch.points()} against both "
        f"from scratch; chance is {100 / CLASSES:.1f} %."
    )
    effects = {"locked less unlocked": unlocked, "locked less from scratch": scratch}
    return Verdict(word, because, effects)


@in_style
def draw_figure(measured: Measured) -> "Figure":
    figure, (axis,) = canvas(height=4.6)
    batch = measured.config["plan"]["batch"]
    seen = [step * batch / 1000 for step in measured.config["looks"]]
    for series, (key, name) in enumerate(NAMES.items()):
        curve(axis, seen, measured[key], name, series)
    chance(axis, 100 / CLASSES)
    axis.set(
        xlabel="captioned pictures seen (thousands)",
        ylabel="accuracy on unseen combinations (%)",
        ylim=(0, 100),
        title="Must the image tower learn from the captions?",
    )
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=3, fontsize=9)
    tested = (
        f"{measured.config['pairs']:,} captioned pairs; {CLASSES * measured.config['copies']} "
        f"pictures, {CLASSES} captions"
    )
    return finish(figure, measured, f"Curves. {judge(measured).because}", tested)


EXPERIMENT = Experiment(
    number=27,
    name="locked_tower",
    claim="Locking a good image tower and training only the text tower works",
    source="LiT, Zhai et al. 2022 (arXiv 2111.07991); note 000 names it",
    published="85.2 % zero-shot on ImageNet with a locked ViT-g/14 (abstract)",
    plain=(
        "An image tower first learns cheap labels: the shape, colour and size of single objects, "
        "none of a held-out combination. Then a few captioned pictures are all there is, and three "
        "models learn from them by contrast, over and over: one with that tower locked, one with "
        "that tower trained on, one from scratch. Each is asked which of 44 captions fits a "
        "picture of a combination that it never saw."
    ),
    quick=Config(labels=Plan(steps=300), plan=Plan(steps=150), looks=(25, 50, 100, 150), copies=4),
    full=Config(),
    measure=measure,
    judge=judge,
    draw=draw_figure,
)
