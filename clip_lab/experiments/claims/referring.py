"""Claim 30: CLIP's features serve referring expressions and questions about pictures."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Int
from torch import Generator, Tensor

from clip_lab.data.scene import Scenes
from clip_lab.data.shape_captions import RELATIONS
from clip_lab.data.shape_sampling import sample_scenes, training_weights
from clip_lab.dual_encoder import DualEncoder
from clip_lab.experiments import scene_tests
from clip_lab.experiments.drawing import bars, canvas, chance, finish, in_style
from clip_lab.experiments.experiment import Experiment
from clip_lab.experiments.result import (
    FAILS,
    HOLDS,
    IN_PART,
    Interval,
    Measured,
    Verdict,
    interval,
)
from clip_lab.experiments.world import FINE, Shared
from clip_lab.interpret.referring import by_crop, by_map, by_rule

if TYPE_CHECKING:
    from matplotlib.figure import Figure

QUESTIONS = ("colour", "binding", "side")


@dataclass(frozen=True)
class Config:
    model: Shared = FINE
    pictures: int = 500  # of each test


def measure(config: Config, seed: int) -> dict[str, float]:
    """Objects picked by their name, twins picked by where they stand, and questions."""
    encoder, count = config.model.encoder(seed), config.pictures
    return {
        **_by_name(encoder, count, seed),
        **_by_place(encoder, count, seed),
        **_questions(encoder, count, seed),
    }


def _by_name(encoder: DualEncoder, count: int, seed: int) -> dict[str, float]:
    """ "a red circle" among three objects: each in turn is meant."""
    generator = Generator().manual_seed(50_000 + seed)
    scenes = sample_scenes(count, generator, objects=(3, 3), weights=training_weights())
    meant = torch.arange(count) % 3
    things = zip(scenes.things(), meant.tolist(), strict=True)
    texts = [scene_tests.named(scene[place]) for scene, place in things]
    picks = {
        "crop": by_crop(encoder, scenes, texts).argmax(dim=1),
        "map": by_map(encoder, scenes, texts).argmax(dim=1),
    }
    return {f"name_{name}": _share(pick == meant) for name, pick in picks.items()}


def _by_place(encoder: DualEncoder, count: int, seed: int) -> dict[str, float]:
    """ "a red circle left of a blue star" between two red circles, on different sides of the star.

    With a rule: crops find the star, and its place decides (as ReCLIP does, Subramanian et al.
    2022, arXiv 2204.05991, 3.2).
    """
    scenes, meant = twins(count, seed)
    texts, places, anchors = [], [], []
    for things, own in zip(scenes.things(), meant.tolist(), strict=True):
        place = scene_tests.relation(things[own], things[2])
        anchor = scene_tests.named(things[2])
        texts.append(f"{scene_tests.named(things[own])} {RELATIONS[place][0]} {anchor}")
        places.append(place)
        anchors.append(anchor)
    picks = {
        "crop": by_crop(encoder, scenes, texts)[:, :2].argmax(dim=1),
        "map": by_map(encoder, scenes, texts)[:, :2].argmax(dim=1),
        "rule": by_rule(scenes, by_crop(encoder, scenes, anchors).argmax(dim=1), places),
    }
    return {f"place_{name}": _share(pick == meant) for name, pick in picks.items()}


def _questions(encoder: DualEncoder, count: int, seed: int) -> dict[str, float]:
    """Yes or no: the answer whose caption lies nearer to the picture.

    "Is the circle red?": "a red circle and a blue star" against the same with a colour that isn't
    there; with the star's colour (binding); "Is it left of the star?": against its right.
    """
    scenes, size = scene_tests.pairs(count, seed), encoder.preprocess.size
    tests = (scene_tests.other_colour, scene_tests.swapped_colours, scene_tests.swapped_sides)
    return {
        f"ask_{name}": scene_tests.share_right(encoder, test(scenes, size))
        for name, test in zip(QUESTIONS, tests, strict=True)
    }


def _share(right: Bool[Tensor, " pictures"]) -> float:
    return right.double().mean().item()


def twins(count: int, seed: int) -> tuple[Scenes, Int[Tensor, " pictures"]]:
    """Three objects of which the first two are alike, and which of these two is meant.

    The one that is meant stands, above all, left of (right of, above, below) the third; the other
    is on the opposite side of it.
    """
    generator = Generator().manual_seed(60_000 + seed)
    scenes = sample_scenes(16 * count, generator, objects=(3, 3), weights=training_weights())
    away = scenes.centre[:, :2] - scenes.centre[:, 2:]  # (B, 2 twins, x and y)
    rows = torch.arange(len(away))
    meant = rows % 2  # by turns: the first object of a scene tends to be the larger
    axis = away[rows, meant].abs().argmax(dim=1)  # along which it is further from the third
    chosen = (away[rows, :, axis].prod(dim=1) < 0).nonzero()[:count, 0]
    assert len(chosen) == count
    scenes, copied = scenes[chosen], torch.tensor([0, 0, 2])
    # Sizes stay as they are: a larger copy might not fit where the smaller object stood.
    same = {name: getattr(scenes, name)[:, copied] for name in ("shape", "colour", "texture")}
    return replace(scenes, **same), meant[chosen]


# -- the verdict ----------------------------------------------------------------------------------


def judge(measured: Measured) -> Verdict:
    """Holds where every part is above chance.

    The parts: an object picked by its name, by crop and by heat map (chance a third); a twin picked
    by where it stands, by heat map (a crop shows little of that; chance a half); the three kinds of
    questions (a half). In part where some of them are; not where none is.
    """

    def above(name: str, guess: float) -> Interval:
        return interval(measured[name] - guess)

    effects = {
        "named, by crop": above("name_crop", 1 / 3),
        "named, by map": above("name_map", 1 / 3),
        "twin, by map": above("place_map", 1 / 2),
        **{f"question: {name}": above(f"ask_{name}", 1 / 2) for name in QUESTIONS},
    }
    better = [effect.above_zero for effect in effects.values()]
    word = HOLDS if all(better) else IN_PART if any(better) else FAILS
    because = (
        f"Of three objects the named one is picked by its crop in "
        f"{measured.mean('name_crop').percent()} and by heat map in "
        f"{measured.mean('name_map').percent()} (chance 33.3 %). Of two twins the one on the said "
        f"side: by heat map {measured.mean('place_map').percent()}, by crops and a rule "
        f"{measured.mean('place_rule').percent()} (50 %). Questions of colour are answered rightly "
        f"in {measured.mean('ask_colour').percent()}, of binding in "
        f"{measured.mean('ask_binding').percent()}, of side in "
        f"{measured.mean('ask_side').percent()} (50 %)."
    )
    return Verdict(word, because, effects)


@in_style
def draw_figure(measured: Measured) -> "Figure":
    figure, (left, middle, right) = canvas(3, width=12, height=4.4)
    bars(left, ("its crop", "heat map"), {"": measured.columns("name_crop", "name_map")})
    left.set(ylabel="right object picked (%)", title="“a red circle”, of 3")
    bars(
        middle,
        ("its crop", "heat map", "crops and\na rule"),
        {"": measured.columns("place_crop", "place_map", "place_rule")},
    )
    middle.set(ylabel="right twin picked (%)", title="“… left of a blue star”, of 2 twins")
    bars(
        right,
        ("is it red\nor green?", "red or the\nother's colour?", "left of it\nor right?"),
        {"": measured.columns(*(f"ask_{name}" for name in QUESTIONS))},
    )
    right.set(ylabel="right answer (%)", title="Questions")
    for axis, level in ((left, 100 / 3), (middle, 50), (right, 50)):
        chance(axis, level)
        axis.set(ylim=(0, 107), xlim=(-0.6, axis.get_xlim()[1] + 0.45))  # room for the word
    words = f"Three panels of bars. {judge(measured).because}"
    return finish(figure, measured, words, f"{measured.config['pictures']:,} pictures a bar")


EXPERIMENT = Experiment(
    number=30,
    name="referring",
    claim="CLIP's features serve referring expressions and visual question answering",
    source="note 004; ReCLIP (Subramanian et al. 2022, arXiv 2204.05991) for the former",
    published="no figure in the notes",
    plain=(
        "Three objects and a phrase that means one: it is picked by the similarity of its crop, or "
        "by the mean of the phrase's heat map on it. Then two objects that look alike, on opposite "
        "sides of a third, so that only “left of” and the like say which is meant: a crop "
        "knows of that no more than the margin that it shows; a rule on top of crops knows it. "
        "Then questions with two answers, each put as a caption: the one nearer to the picture is "
        "the answer."
    ),
    quick=Config(model=FINE.quick(), pictures=300),
    full=Config(),
    measure=measure,
    judge=judge,
    draw=draw_figure,
)
