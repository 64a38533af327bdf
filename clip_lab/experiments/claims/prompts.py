"""Claim 2: a template beats the bare name, an ensemble of templates beats one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from clip_lab import pretrained
from clip_lab.data.augment import on_white
from clip_lab.data.captions import TEMPLATES
from clip_lab.data.emoji_table import STYLES, emoji_table, pictures
from clip_lab.data.prompts import prompt_sets
from clip_lab.data.scene import COLOURS, SHAPES
from clip_lab.data.shape_captions import ONE_FRAMES, with_article
from clip_lab.data.shape_drawing import draw
from clip_lab.data.shape_sampling import sample_scenes, training_weights
from clip_lab.dual_encoder import DualEncoder
from clip_lab.errors import LabError
from clip_lab.evaluation.public import open_public_set
from clip_lab.experiments.drawing import bars, canvas, chance, finish, in_style
from clip_lab.experiments.emoji_world import ENGLISH, UNSEEN_STYLE, WAYS, SharedEmoji, drawings
from clip_lab.experiments.emoji_world import share_right as share_of
from clip_lab.experiments.experiment import Experiment, Subject
from clip_lab.experiments.result import FAILS, HOLDS, IN_PART, Measured, Verdict, interval
from clip_lab.experiments.world import BASE, SIZE, Shared
from clip_lab.view.figures import INK
from clip_lab.zero_shot import ZeroShotClassifier

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PROMPTS = ("bare name", "one template", "ensemble")
# Of each world what the three are made of; the ensemble has the bare name and every template.
EMOJI = (("{}",), ("an emoji of {}",), ("{}", *TEMPLATES["en"]))
FRAMES = tuple(dict.fromkeys(ONE_FRAMES))
DRAWN = (("{}",), ("a picture of {}",), FRAMES)
PHOTOS = (("{}",), ("a photo of a {}.",))

# A word, and two emoji that bear it, each with words that say which is meant.
SENSES = (
    ("bat", ("1F987", "animal"), ("1F3CF", "sport")),
    ("mouse", ("1F401", "animal"), ("1F5B1", "computer")),
    ("orange", ("1F34A", "fruit"), ("1F7E0", "plain shape")),
    ("palm", ("1F334", "tree"), ("1FAF4", "hand")),
    ("cricket", ("1F997", "insect"), ("1F3CF", "sport")),
    ("keyboard", ("2328", "computer"), ("1F3B9", "music")),
    ("bell", ("1F514", "sound"), ("1FAD1", "vegetable")),
    ("drum", ("1F941", "music"), ("1F6E2", "oil")),
    ("glasses", ("1F453", "clothing"), ("1F942", "drink")),
    ("horse", ("1F40E", "animal"), ("1F3A0", "carousel")),
    ("balloon", ("1F388", "celebration"), ("1F4AC", "speech")),
    ("bone", ("1F9B4", "part of the body"), ("1F356", "food")),
    ("fountain", ("26F2", "place"), ("1F58B", "pen")),
    ("ring", ("1F48D", "clothing"), ("1F6DF", "buoy")),
    ("diamond", ("1F48E", "clothing"), ("1F537", "plain shape")),
    ("letter", ("1F48C", "love"), ("1F4E8", "mail")),
    ("bow", ("1F3F9", "tool"), ("1F647", "gesture")),
    ("spade", ("2660", "game"), ("1FA8F", "tool")),
    ("wave", ("1F30A", "water"), ("1F44B", "hand")),
    ("fly", ("1FAB0", "insect"), ("2708", "flying")),
    ("bear", ("1F43B", "animal"), ("1F9F8", "toy")),
    ("dog", ("1F415", "animal"), ("1F32D", "food")),
)


@dataclass(frozen=True)
class Config:
    emoji: SharedEmoji = ENGLISH
    shapes: Shared = BASE
    pictures: int = 1000  # of shapes, and for the built-in model


def measure(config: Config, seed: int) -> dict[str, Any]:
    """Models trained for this seed; of the built-in one, other pictures."""
    emoji, shapes = config.emoji.encoder(seed), config.shapes.encoder(seed)
    return {
        "worlds": ["emoji, style never seen", "shapes", "built-in emoji model"],
        "accuracies": [
            _emoji(emoji),
            _shapes(shapes, config.pictures, seed),
            _emoji(pretrained.load("emoji", "cpu"), config.pictures, seed),
        ],
        "ways": WAYS,
        "context": told_apart(emoji),
    }


def measure_model(config: Config, seed: int, subject: Subject) -> dict[str, Any]:
    """A published model on a labelled set, of which each seed takes another half of the pictures.

    The ensemble is the set's own templates, or ImageNet's 80 where it has none.
    """
    public = open_public_set(subject.folder())
    if public.task != "classification":
        raise LabError(f"“{public.name}” has captions, not classes. Give --data a set of classes.")
    samples = [sample for sample in public.samples() if isinstance(sample.target, int)]
    order = np.random.default_rng(seed).permutation(len(samples))
    chosen = [samples[i] for i in order[: max(1, len(samples) // 2)]]
    encoder = subject.encoder
    images = torch.cat(list(encoder.stream_images(sample.image for sample in chosen)))
    targets = torch.tensor([sample.target for sample in chosen])
    ensemble = public.templates or prompt_sets()["imagenet"].templates
    prompts = (*PHOTOS, ensemble)
    return {
        "worlds": [public.name],
        "accuracies": [
            _accuracies(encoder, images, public.classes, targets, prompts, len(public.classes))
        ],
        "ways": len(public.classes),
        "context": told_apart(encoder),
    }


def _accuracies(
    encoder: DualEncoder,
    images: Tensor,
    classes: Sequence[str],
    targets: Tensor,
    prompts: Sequence[Sequence[str]],
    ways: int,
) -> list[float]:
    weights = [ZeroShotClassifier(encoder, classes, templates).weights for templates in prompts]
    return [share_of(images, of_these, targets, ways) for of_these in weights]


def _emoji(encoder: DualEncoder, count: int | None = None, seed: int = 0) -> list[float]:
    """OpenMoji's drawings by name, among 50; all of them, or so many at random."""
    test = drawings(UNSEEN_STYLE)
    rows = np.random.default_rng(seed).permutation(len(test.targets))[:count]
    images = encoder.encode_images(test.pictures[rows], batch_size=256)
    return _accuracies(encoder, images, test.labels, test.targets[rows], EMOJI, WAYS)


def _shapes(encoder: DualEncoder, count: int, seed: int) -> list[float]:
    """Single objects by shape and colour. A bare name has no article, a template has."""
    generator = torch.Generator().manual_seed(40_000 + seed)
    scenes = sample_scenes(count, generator, weights=training_weights())
    images = encoder.encode_images(draw(scenes, SIZE), batch_size=256)
    targets = scenes.shape[:, 0] * len(COLOURS) + scenes.colour[:, 0]
    bare = [f"{colour} {shape}" for shape in SHAPES for colour in COLOURS]
    named = [with_article(name) for name in bare]
    return [
        _accuracies(encoder, images, names, targets, [templates], WAYS)[0]
        for names, templates in zip((bare, named, named), DRAWN, strict=True)
    ]


# -- words with two senses -------------------------------------------------------------------------


def told_apart(encoder: DualEncoder) -> float:
    """How often "bat, animal" lies nearer to the animal than to the cricket bat, and so on.

    Over all words, both of their senses, and all styles that drew both. The bare word says the same
    of both, so one of the two is right and the other wrong: half, whatever the model.
    """
    right: list[bool] = []
    for word, *senses in SENSES:
        cells = [emoji_table().rows[emoji_table().number[code]].cells for code, _ in senses]
        texts = encoder.encode_texts([f"{word}, {context}" for _, context in senses])
        for style in STYLES:
            if all(style in drawn for drawn in cells):
                sheet = pictures(style)[[drawn[style] for drawn in cells]]
                cosines = texts @ encoder.encode_images(on_white(sheet)).T  # (sense, picture)
                right += [bool(row[i] > row[1 - i]) for i, row in enumerate(cosines)]
    return sum(right) / len(right)


# -- the verdict -----------------------------------------------------------------------------------


def judge(measured: Measured) -> Verdict:
    """Holds where, in the first world, the template beats the name and the ensemble the template.

    In part where only one step of the two is a gain, or the ensemble beats the bare name, or where
    context tells apart what an ambiguous word means.
    """
    bare, template, ensemble = measured["accuracies"][:, 0].T
    steps = interval(template - bare), interval(ensemble - template)
    whole, context = interval(ensemble - bare), interval(measured["context"] - 0.5)
    word = FAILS
    if any(gain.above_zero for gain in (*steps, whole, context)):
        word = HOLDS if all(step.above_zero for step in steps) else IN_PART
    names = measured.runs[0]["worlds"]
    gains = measured["accuracies"][:, :, 2] - measured["accuracies"][:, :, 0]
    others = "; ".join(
        f"{name}: {interval(gains[:, i]).points()}" for i, name in enumerate(names) if i
    )
    because = (
        f"{names[0].capitalize()}: bare name {interval(bare).percent()}, one template "
        f"{steps[0].points()}, from there to the ensemble {steps[1].points()}. "
        + (f"Ensemble less bare name elsewhere: {others}. " if others else "")
        + f"Of a word's two senses context picks the right one in "
        f"{measured.mean('context').percent()}; the bare word cannot, 50 %."
    )
    effects = {
        "ensemble less bare name": whole,
        "template less bare name": steps[0],
        "ensemble less template": steps[1],
        "context, above chance": context,
    }
    return Verdict(word, because, effects)


@in_style
def draw_figure(measured: Measured) -> "Figure":
    worlds = measured.runs[0]["worlds"]
    figure, (axis, beside) = canvas(2, width=9.8, height=4.4)
    grid = axis.get_gridspec()
    assert grid is not None
    grid.set_width_ratios([len(worlds) + 0.5, 1.5])
    accuracies = measured["accuracies"]  # (seeds, worlds, prompts)
    gains = accuracies - accuracies[:, :, :1]
    levels = [f"bare name: {share:.1f} %" for share in 100 * accuracies[:, :, 0].mean(axis=0)]
    labels = [f"{name}\n({level})" for name, level in zip(worlds, levels, strict=True)]
    bars(axis, labels, {PROMPTS[i]: gains[:, :, i] for i in (1, 2)}, form="{:+.1f}")
    axis.axhline(0, color=INK, linewidth=1)
    axis.tick_params(axis="x", labelsize=8.5)
    axis.set(
        ylabel="right, less bare name (points)", title="Does a prompt help to find the right name?"
    )
    context = np.stack([np.full(len(measured.seeds), 0.5), measured["context"]], axis=1)
    bars(beside, ("“bat”", "“bat, animal”\n“bat, sport”"), {"": context})
    chance(beside, 50)
    beside.set_xlim(-0.55, 2.0)  # room for the word "chance"
    beside.set(ylabel="right picture of two (%)", ylim=(0, 105), title="Words with two senses")
    ways = measured.runs[0]["ways"]
    words = f"Bars in two panels. {judge(measured).because}"
    tested = f"left: {ways:,} names, chance {100 / ways:.1f} %; right: {len(SENSES)} words"
    return finish(figure, measured, words, tested)


EXPERIMENT = Experiment(
    number=2,
    name="prompts",
    claim="A template beats the bare name, and an ensemble of templates beats one",
    source="paper 3.1.4, figure 4; notes 001 and 002",
    published="ImageNet: +1.3 points by a template, +3.5 more by an ensemble of 80",
    plain=(
        "Classes are given as a bare name, in one template, and as the mean of several prompts: "
        "emoji in OpenMoji's style, which no training shows, and coloured shapes. Names must be "
        "found among 50. A built-in, larger emoji model is asked as well; for it a seed draws "
        "other pictures. Then words with two senses, such as bat: does “bat, animal” lie nearer "
        "to the animal than to the cricket bat? In this lab's training captions bare names are "
        "frequent; on the web they were rare."
    ),
    quick=Config(ENGLISH.quick(), BASE.quick(), pictures=300),
    full=Config(),
    measure=measure,
    measure_model=measure_model,
    judge=judge,
    draw=draw_figure,
    seeds=5,
)
