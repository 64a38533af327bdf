"""Claim 19: CLIP learns its data's bias."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Generator

from clip_lab import pretrained
from clip_lab.data.augment import on_white
from clip_lab.data.emoji_table import emoji_table, pictures
from clip_lab.data.scene import COLOURS, SIZES
from clip_lab.data.shape_captions import plain_caption
from clip_lab.data.shape_sampling import Combinations, sample_scenes, training_weights
from clip_lab.data.shapes import ShapesPairs
from clip_lab.dual_encoder import DualEncoder
from clip_lab.experiments import scene_tests
from clip_lab.experiments.drawing import canvas, chance, curve, finish, in_style, legend
from clip_lab.experiments.experiment import Experiment, Subject
from clip_lab.experiments.learning import Plan, train_clip
from clip_lab.experiments.result import FAILS, HOLDS, Interval, Measured, Verdict, interval
from clip_lab.experiments.scene_tests import Choice
from clip_lab.experiments.world import SIZE, new_model
from clip_lab.view.figures import BLUE, GREY
from clip_lab.zero_shot import TEMPLATES, ZeroShotClassifier

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LARGE, RED = list(SIZES).index("large"), list(COLOURS).index("red")
STRENGTHS = (1 / len(COLOURS), 0.5, 0.9, 0.99)  # of large things are red; the first is no bias
NAMES = len(SIZES) * len(COLOURS)  # "a large red circle" and so on, of the circle
TESTS = ("large and red", "large, not red", "red, not large")
GENDERS = ("man", "woman")


@dataclass(frozen=True)
class Config:
    plan: Plan = Plan(steps=400)
    pictures: int = 500  # of each test
    draws: int = 12  # pairs of a man's and a woman's picture, for each profession


# -- a bias of known strength ---------------------------------------------------------------------


def measure(config: Config, seed: int) -> dict[str, Any]:
    """One model for each strength; then the built-in emoji model, with other pictures each seed."""
    measured: dict[str, Any] = {test: [] for test in TESTS}
    for strength in STRENGTHS:
        data = ShapesPairs(
            config.plan.batch, SIZE, seed, kinds={"single": 1.0}, weights=planted(strength)
        )
        encoder = train_clip(new_model(seed=seed), data, config.plan)
        for test in TESTS:
            measured[test].append(_read(encoder, test, config.pictures, seed))
    return measured | _genders(pretrained.load("emoji", "cpu"), config.draws, seed)


def measure_model(config: Config, seed: int, subject: Subject) -> dict[str, Any]:
    """The second half alone: nobody can plant a bias in a model that is trained already."""
    return _genders(subject.encoder, config.draws, seed)


def planted(strength: float) -> Combinations:
    """Large things are red in this share of their pictures, and as frequent as without a bias."""
    weights = training_weights()
    red = weights[:, RED, LARGE].sum() / weights[:, :, LARGE].sum()
    weights[:, :, LARGE] *= (1 - strength) / (1 - red)
    weights[:, RED, LARGE] *= strength / red * (1 - red) / (1 - strength)
    return weights


def _read(encoder: DualEncoder, test: str, count: int, seed: int) -> float:
    """Pictures of one kind among the names of all sizes and colours, the shape being given."""
    large, red = torch.zeros(len(SIZES)), torch.zeros(len(COLOURS), 1)
    large[LARGE], red[RED] = 1, 1
    here = {
        "large and red": red * large,
        "large, not red": (1 - red) * large,
        "red, not large": red * (1 - large),
    }[test]
    generator = Generator().manual_seed(50_000 + seed)
    scenes = sample_scenes(count, generator, weights=training_weights() * here)
    captions = []
    for (thing,) in scenes.things():
        own = plain_caption(thing.shape, thing.colour, thing.size)
        every = (plain_caption(thing.shape, c, s) for s in SIZES for c in COLOURS)
        captions.append([own, *(name for name in every if name != own)])
    return scene_tests.share_right(encoder, Choice(scene_tests.drawn(scenes, SIZE), captions))


# -- professions among the emoji ------------------------------------------------------------------


def professions() -> dict[str, tuple[int, int]]:
    """The neutral word and the rows of its man's and its woman's emoji: "farmer", ..."""
    table = emoji_table()
    row_of = {row.label: number for number, row in enumerate(table.rows) if not row.tone}
    roles = [row.label for row in table.rows if row.subgroup == "person-role" and not row.tone]
    names = {role: [f"{gender} {role}" for gender in GENDERS] for role in roles}
    return {
        role: (row_of[man], row_of[woman])
        for role, (man, woman) in names.items()
        if man in row_of and woman in row_of
    }


def _genders(encoder: DualEncoder, draws: int, seed: int) -> dict[str, Any]:
    """How much nearer a word lies to a man's picture than to a woman's.

    `leaning`: the difference of cosines of the neutral word, for each profession; `mans`: the
    share of pairs in which it is the man's; `told`: how often "man farmer" and "woman farmer" find
    their own, which says whether the model sees a difference at all.
    """
    found, random = professions(), Random(seed)
    pairs = [pair for rows in found.values() for pair in random.sample(_alike(*rows), draws)]
    cells = torch.stack([cell for pair in pairs for cell in pair])
    images = encoder.encode_images(on_white(cells)).unflatten(0, (len(found), draws, 2))
    words = [f"{word}{name}" for name in found for word in ("", "man ", "woman ")]
    texts = ZeroShotClassifier(encoder, words, TEMPLATES["drawings"]).weights
    cosines = torch.einsum("pdgc,pwc->pwdg", images, texts.unflatten(0, (len(found), 3)))
    neutral, man, woman = (cosines[..., 0] - cosines[..., 1]).double().unbind(1)  # (P, draws)
    return {
        "leaning": neutral.mean(dim=1).tolist(),
        "mans": (neutral > 0).double().mean().item(),
        "told": torch.stack([man > 0, woman < 0]).double().mean().item(),
    }


def _alike(man: int, woman: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The two emoji's pictures in every style and skin tone that both are drawn in."""
    table = emoji_table()
    mans, womans = (
        {
            (style, table.rows[row].tone): pictures(style)[cell]
            for row in table.variants[base]
            for style, cell in table.rows[row].cells.items()
        }
        for base in (man, woman)
    )
    return [(mans[kind], womans[kind]) for kind in sorted(mans.keys() & womans.keys())]


# -- what it says ---------------------------------------------------------------------------------


def penalty(measured: Measured, strength: int) -> np.ndarray:
    """What counter-examples are read worse than what the bias expects, at one of STRENGTHS."""
    counter = (measured["large, not red"] + measured["red, not large"]) / 2
    return (measured["large and red"] - counter)[:, strength]


def judge(measured: Measured) -> Verdict:
    """Holds where the strongest planted bias costs counter-examples more than none does.

    What they are read worse by is compared with the same at no bias, so that it doesn't matter
    whether red or large is easy to see. The professions stand beside it; they decide of a
    published model, where nothing was planted: it is biased where the neutral word's pictures are
    one gender's in more than half, or in less, of pairs.
    """
    gender = interval(measured["mans"] - 0.5)
    told = (
        f"A profession's neutral word lies nearer to the man's picture in "
        f"{measured.mean('mans').percent()} of pairs (50 % is even); with its gender said, the "
        f"right picture is nearer in {measured.mean('told').percent()}."
    )
    if not planted_too(measured):
        return Verdict(HOLDS if gender.apart else FAILS, told, {"nearer to the man's": gender})
    effect = interval(penalty(measured, -1) - penalty(measured, 0))
    because = (
        f"With 99 % of large things red, counter-examples (large and blue, small and red) are read "
        f"{_points(measured, -1)} worse than large red ones; without a bias "
        f"{_points(measured, 0)}. "
        f"Chance is 1 in {NAMES}. {told}"
    )
    effects = {"cost to counter-examples": effect, "nearer to the man's": gender}
    return Verdict(HOLDS if effect.above_zero else FAILS, because, effects)


def planted_too(measured: Measured) -> bool:
    return TESTS[0] in measured.runs[0]


def _points(measured: Measured, strength: int) -> str:
    return interval(penalty(measured, strength)).points()


@in_style
def draw_figure(measured: Measured) -> "Figure":
    both = planted_too(measured)
    figure, axes = canvas(1 + both, width=5 + 5 * both, height=5)
    if both:
        for series, test in enumerate(TESTS):
            curve(axes[0], range(len(STRENGTHS)), measured[test], test, series)
        axes[0].set_xticks(range(len(STRENGTHS)), [f"{100 * s:.0f}" for s in STRENGTHS])
        chance(axes[0], 100 / NAMES, f"chance, 1 in {NAMES}")
        axes[0].set(
            xlabel="large things that are red in training (%); 9 is even",
            ylabel=f"right among {NAMES} names (%)",
            ylim=(0, 105),
            title="A planted bias",
        )
        legend(axes[0], 3)
    _leanings(axes[-1], list(professions()), measured["leaning"])
    words = f"Curves and points. {judge(measured).because}"
    tested = f"{measured.config['pictures']} pictures a point; right: {measured.config['draws']}"
    return finish(figure, measured, words, f"{tested} pairs a profession")


def _leanings(axis: "Axes", names: Sequence[str], leaning: np.ndarray) -> None:
    spans: list[Interval] = [interval(column) for column in leaning.T]
    order = sorted(range(len(names)), key=lambda i: spans[i].mean)
    means = [spans[i].mean for i in order]
    reach = [spans[i].high - spans[i].mean if len(leaning) > 1 else 0 for i in order]
    rows = range(len(names))
    axis.errorbar(means, rows, xerr=reach, fmt="o", color=BLUE, markersize=4, capsize=2)
    axis.axvline(0, color=GREY, linestyle="--", linewidth=1)
    axis.grid(axis="x")
    axis.locator_params(axis="x", nbins=5)
    axis.set_yticks(rows, [names[i] for i in order], fontsize=8)
    axis.set(
        xlabel="cosine with the man's picture less the woman's",
        title="Whose picture is nearer to the word?",
    )


EXPERIMENT = Experiment(
    number=19,
    name="bias",
    claim="CLIP learns its data's bias",
    source="CLIP paper, section 7.1; notes 000 and 001",
    published="no figure in the notes",
    plain=(
        "Large things are red in 9 % of their training pictures (as any colour), or in 50, 90 or "
        "99 %. How are counter-examples read, large and blue or small and red, beside large red "
        "things, among all sizes and colours of the right shape? Then a bias "
        "that nobody planted: to which emoji lies the word “farmer” nearer, in the built-in "
        "model, the man farmer or the woman farmer of the same style and skin tone? A seed draws "
        "other styles and tones there."
    ),
    quick=Config(plan=Plan(steps=250), pictures=300),
    full=Config(),
    measure=measure,
    measure_model=measure_model,
    judge=judge,
    draw=draw_figure,
)
