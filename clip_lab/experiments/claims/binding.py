"""Claim 17: CLIP knows which attributes are there, but not which belongs to what."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import torch

from clip_lab.data.batch import Batch
from clip_lab.data.scene import Scenes
from clip_lab.data.shapes import ShapesPairs
from clip_lab.dual_encoder import DualEncoder
from clip_lab.experiments import scene_tests
from clip_lab.experiments.drawing import bars, canvas, chance, finish, in_style
from clip_lab.experiments.experiment import Experiment, Subject
from clip_lab.experiments.learning import Plan
from clip_lab.experiments.result import FAILS, HOLDS, IN_PART, Measured, Verdict
from clip_lab.experiments.two_trainings import after_each, for_each, with_twins
from clip_lab.experiments.world import SINGLES, Shared

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = {"single": 0.4, "pair": 0.6}


@dataclass(frozen=True)
class Config:
    start: Shared = SINGLES
    plan: Plan = Plan(steps=800, learning_rate=3e-3)
    pictures: int = 1000  # of each test


class WithSwaps(ShapesPairs):
    """Every second picture is the one before it with its two objects' colours exchanged.

    So each batch holds, for every pair of objects, the very mistake that the test asks about, as
    a picture and as a caption (hard negatives, as in NegCLIP, Yuksekgonul et al. 2023, arXiv
    2210.01936, section 5).
    """

    def batch(self, step: int) -> Batch:
        half = self.scenes(step)[: self.batch_size // 2]
        return with_twins(half, exchanged(half), self.size, f"{self.seed} {step}")


def exchanged(scenes: Scenes) -> Scenes:
    """The two objects' colours exchanged; scenes of one object stay as they are."""
    two = scenes.present[:, 1:2]
    return replace(scenes, colour=torch.where(two, scenes.colour.flip(1), scenes.colour))


TRAININGS = {"plain": ShapesPairs, "with_swaps": WithSwaps}


def measure(config: Config, seed: int) -> dict[str, Any]:
    """One model trained on ordinary batches, one on batches with swaps, at as many pictures."""
    return after_each(
        TRAININGS, KINDS, config.start, config.plan, seed, lambda e: _tests(e, config, seed)
    )


def measure_model(config: Config, seed: int, subject: Subject) -> dict[str, Any]:
    """The same two tests of a published model; it stands for both trainings."""
    return for_each(TRAININGS, _tests(subject.encoder, config, seed))


def _tests(encoder: DualEncoder, config: Config, seed: int) -> dict[str, float]:
    scenes = scene_tests.pairs(config.pictures, seed)
    size = encoder.preprocess.size
    return {
        "swapped": scene_tests.share_right(encoder, scene_tests.swapped_colours(scenes, size)),
        "other": scene_tests.share_right(encoder, scene_tests.other_colour(scenes, size)),
    }


def judge(measured: Measured) -> Verdict:
    """Holds where swaps are confused more than colours that aren't there are.

    In part where batches with swaps in them cure it: then it is the training that was weak, not
    the architecture.
    """
    weak = measured.difference("plain_other", "plain_swapped")
    cured = measured.difference("with_swaps_swapped", "plain_swapped")
    swapped, healed = measured.mean("plain_swapped"), measured.mean("with_swaps_swapped")
    word = FAILS
    if weak.above_zero:
        word = IN_PART if cured.above_zero else HOLDS
    because = (
        f"Swapped colours are told apart in {swapped.percent()} of pictures, a colour that isn't "
        f"there in {measured.mean('plain_other').percent()}; chance is 50 %. With swapped twins in "
        f"every batch: {healed.percent()}, {cured.points()}."
    )
    return Verdict(word, because, {"other colour less swap": weak, "gain by twins": cured})


@in_style
def draw_figure(measured: Measured) -> "Figure":
    figure, (axis,) = canvas()
    groups = {
        "ordinary batches": measured.columns("plain_other", "plain_swapped"),
        "with swapped twins": measured.columns("with_swaps_other", "with_swaps_swapped"),
    }
    bars(axis, ("a colour that isn't there", "the two colours swapped"), groups)
    chance(axis, 50)
    axis.set(
        ylabel="right caption chosen (%)",
        ylim=(0, 105),
        title="Which colour belongs to which shape?",
    )
    words = f"Bars. {judge(measured).because}"
    return finish(
        figure, measured, words, f"{measured.config['pictures']:,} pictures of two objects a bar"
    )


EXPERIMENT = Experiment(
    number=17,
    name="binding",
    claim="CLIP is weak at binding: “red cube and blue sphere” is to it “blue cube and red sphere”",
    source="note 002; measured on real models by Yuksekgonul et al. 2023 (arXiv 2210.01936)",
    published="no figure in the notes",
    plain=(
        "Pictures of two objects, each with its true caption and one whose colours are exchanged: "
        "the same words, so that who only notes which words fit can't choose. (A little leaks: "
        "combinations are kept from training, so some colours of a shape are rarer in captions. "
        "Chapter 13 measures how much.) For comparison, a caption with a colour that isn't in the "
        "picture at all. One model is trained on ordinary batches, one on batches in which every "
        "picture has a twin with exchanged colours."
    ),
    quick=Config(plan=Plan(steps=300, learning_rate=3e-3)),
    full=Config(),
    measure=measure,
    measure_model=measure_model,
    judge=judge,
    draw=draw_figure,
)
