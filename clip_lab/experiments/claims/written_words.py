"""Claim 18: CLIP reads written words badly, and is fooled by them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from clip_lab.data.batch import Batch
from clip_lab.data.scene import COLOURS, SHAPES, Scenes
from clip_lab.data.shape_captions import captions
from clip_lab.data.shape_drawing import draw
from clip_lab.data.shapes import ShapesPairs, dice
from clip_lab.dual_encoder import DualEncoder
from clip_lab.experiments import scene_tests
from clip_lab.experiments.drawing import bars, canvas, chance, finish, in_style
from clip_lab.experiments.experiment import Experiment, Subject
from clip_lab.experiments.learning import Plan
from clip_lab.experiments.result import FAILS, HOLDS, IN_PART, Measured, Verdict
from clip_lab.experiments.scene_tests import Choice
from clip_lab.experiments.two_trainings import after_each, for_each
from clip_lab.experiments.world import SINGLES, Shared

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = {"single": 0.5, "word": 0.5}
CHANCE = 1 / len(COLOURS)
NEUTRAL = SHAPES  # the shape is the same in all captions, so these words favour none


@dataclass(frozen=True)
class Config:
    start: Shared = SINGLES
    plan: Plan = Plan(steps=800, learning_rate=3e-3)
    pictures: int = 1000  # of each test


class Unread(ShapesPairs):
    """The same pictures; no caption says which word is written on an object."""

    def batch(self, step: int) -> Batch:
        scenes = self.scenes(step)
        silent = scene_tests.without_words(scenes)
        return Batch(draw(scenes, self.size), captions(silent, dice(self.seed, step)[1]))


TRAININGS = {"read": ShapesPairs, "unread": Unread}


def measure(config: Config, seed: int) -> dict[str, Any]:
    """One model whose captions quote the written words, one whose captions don't."""
    return after_each(
        TRAININGS, KINDS, config.start, config.plan, seed, lambda e: _tests(e, config, seed)
    )


def measure_model(config: Config, seed: int, subject: Subject) -> dict[str, Any]:
    """The same tests of a published model; it stands for both trainings."""
    return for_each(TRAININGS, _tests(subject.encoder, config, seed))


def _tests(encoder: DualEncoder, config: Config, seed: int) -> dict[str, float]:
    """The same objects three times: bare, with a word that is no colour's, and attacked."""
    attacked = scene_tests.labelled(config.pictures, seed)
    size = encoder.preprocess.size
    test = scene_tests.which_colour(attacked, size)
    words = [NEUTRAL[(row + seed) % len(NEUTRAL)] for row in range(len(attacked))]
    neutral = scene_tests.relabelled(attacked, words)

    def shown(scenes: Scenes) -> Choice:
        return Choice(scene_tests.drawn(scenes, size), test.captions)

    chosen = scene_tests.cosines(encoder, test).argmax(dim=1)
    return {
        "bare": scene_tests.share_right(encoder, shown(scene_tests.without_words(attacked))),
        "neutral": scene_tests.share_right(encoder, shown(neutral)),
        "attacked": scene_tests.share_right(encoder, test),
        "obeyed": (chosen == 1).double().mean().item(),
        "reading": scene_tests.share_right(encoder, scene_tests.which_word(attacked, size)),
    }


def judge(measured: Measured) -> Verdict:
    """Two halves: fooled, and bad at reading; both must be shown for the claim to hold.

    Bad at reading: which word is written is told less often than which colour a bare object has.
    Fooled: with another colour's name on the object its own colour is found less often than with a
    neutral word, which covers as much of it. Both of the model whose captions quote words.
    """
    fooled = measured.difference("read_neutral", "read_attacked")
    poor = measured.difference("read_bare", "read_reading")
    blind = measured.difference("unread_neutral", "unread_attacked")
    shown = fooled.above_zero + poor.above_zero
    word = (FAILS, IN_PART, HOLDS)[shown]
    because = (
        f"The word is read in {measured.mean('read_reading').percent()}; chance is 9 %. The colour "
        f"is right in {measured.mean('read_bare').percent()} of bare objects, in "
        f"{measured.mean('read_neutral').percent()} with a neutral word on them and in "
        f"{measured.mean('read_attacked').percent()} with another colour's name, which is then "
        f"chosen in {measured.mean('read_obeyed').percent()}. To a model whose captions never "
        f"quote the words, that name costs {blind.points()}."
    )
    effects = {"colour less reading": poor, "neutral word less attack": fooled}
    return Verdict(word, because, effects | {"the same, never quoted": blind})


@in_style
def draw_figure(measured: Measured) -> "Figure":
    figure, (axis,) = canvas(width=8.5)
    tests = ("bare", "neutral", "attacked", "obeyed", "reading")
    groups = {
        "captions quote the words": measured.columns(*(f"read_{test}" for test in tests)),
        "captions don't": measured.columns(*(f"unread_{test}" for test in tests)),
    }
    names = (
        "colour right,\nno word", "… a neutral\nword on it", "… another\ncolour's name",
        "that name chosen\ninstead of colour", "word itself\nread",
    )  # fmt: skip
    bars(axis, names, groups)
    chance(axis, 100 * CHANCE, "")
    axis.set(
        ylabel="share of pictures (%)\ndashed: chance",
        ylim=(0, 108),
        title="What it says, or what it is?",
    )
    words = f"Bars. {judge(measured).because}"
    return finish(figure, measured, words, f"{measured.config['pictures']:,} pictures, 11 captions")


EXPERIMENT = Experiment(
    number=18,
    name="written_words",
    claim="CLIP reads written words badly, and is fooled by them",
    source="note 002; CLIP paper, section 6; Goh et al. 2021, “Multimodal neurons”",
    published="MNIST by zero-shot: 88 %",
    plain=(
        "A large object with the name of another colour written on it: which of eleven colours has "
        "it? The same object bare and with a shape's name on it, which covers as much and says "
        "nothing of colours. Then the word itself: which of eleven is written? One model learns "
        "from captions that quote written words, one from the same pictures without the quotes."
    ),
    quick=Config(plan=Plan(steps=300, learning_rate=3e-3)),
    full=Config(),
    measure=measure,
    measure_model=measure_model,
    judge=judge,
    draw=draw_figure,
    reservation=(
        "Pictures here have 32 pixels a side, and a letter three or four: a model that can't make "
        "the letters out can't be fooled by them. The attack needs a model that reads; try "
        "`--model` with a published one."
    ),
)
