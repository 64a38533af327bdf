"""Claim 21: prompts can be learnt, and ones that look at the picture transfer to new classes."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from clip_lab.data.scene import COLOURS, SHAPES, SIZES, concatenate
from clip_lab.data.shape_drawing import draw
from clip_lab.data.shape_sampling import sample_scenes
from clip_lab.dual_encoder import DualEncoder
from clip_lab.evaluation.accuracy import rank_of_target
from clip_lab.experiments.drawing import bars, canvas, chance, finish, in_style
from clip_lab.experiments.experiment import Experiment
from clip_lab.experiments.learning import Plan, learn
from clip_lab.experiments.result import FAILS, HOLDS, IN_PART, Measured, Verdict
from clip_lab.experiments.world import BASE, SIZE, Shared
from clip_lab.training.prompt_learning import ConditionalPrompts, FrozenText, LearnedPrompts

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KINDS = {"coop": LearnedPrompts, "cocoop": ConditionalPrompts}
METHODS = ("written", *KINDS)
NAMES = {"written": "written by hand", "coop": "CoOp", "cocoop": "CoCoOp"}
CLASSES = len(SHAPES) // 2
WRITTEN = "a picture of a"  # what stands before a name, and what learning begins with


@dataclass(frozen=True)
class Config:
    base: Shared = BASE
    shots: int = 16  # labelled pictures of each base class
    copies: int = 150  # test pictures of each class
    splits: int = 6  # into base and new classes, of each seed
    plan: Plan = field(
        default_factory=lambda: Plan(400, 16, learning_rate=5e-3, warmup=20, weight_decay=0.0)
    )


@dataclass(frozen=True)
class Split:
    """Half of the classes to learn prompts on, the other half to see whether they transfer."""

    names: dict[str, list[str]]  # of "base" and "new"
    train: tuple[Tensor, Tensor]  # unit vectors of the base classes' shots, class numbers
    tests: dict[str, tuple[Tensor, Tensor]]


def measure(config: Config, seed: int) -> dict[str, Any]:
    """Both methods and the written prompt, on base and on new classes; the mean over splits."""
    encoder = config.base.encoder(seed)
    runs = [_one_split(encoder, config, split) for split in _splits(encoder, config, seed)]
    return {name: sum(run[name] for run in runs) / len(runs) for name in runs[0]}


def _one_split(encoder: DualEncoder, config: Config, split: Split) -> dict[str, float]:
    text = FrozenText(encoder)
    begin = text.words(WRITTEN)
    written = LearnedPrompts(text, split.names["base"], begin, encoder.scale)
    learned = {"written": written}
    for method, kind in KINDS.items():
        learned[method] = kind(text, split.names["base"], begin, encoder.scale)
        _learn(learned[method], split.train, config.plan)
    return {
        f"{method}_{part}": _share_right(prompts, split.names[part], *split.tests[part])
        for method, prompts in learned.items()
        for part in ("base", "new")
    }


def _learn(prompts: LearnedPrompts, train: tuple[Tensor, Tensor], plan: Plan) -> None:
    """The same batches in the same order for every method."""
    generator = torch.Generator().manual_seed(0)
    vectors, targets = train

    def loss(_step: int) -> Tensor:
        rows = torch.randint(len(targets), (plan.batch,), generator=generator)
        return F.cross_entropy(prompts(vectors[rows]), targets[rows])

    learn(prompts, loss, plan)


@torch.no_grad()
def _share_right(
    prompts: LearnedPrompts, names: list[str], vectors: Tensor, targets: Tensor
) -> float:
    prompts.name(names)
    logits = torch.cat([prompts(part) for part in vectors.split(64)])
    return (rank_of_target(logits, targets) == 0).double().mean().item()


def _splits(encoder: DualEncoder, config: Config, seed: int) -> list[Split]:
    """The twelve shapes, halved at random."""
    vectors = {
        "train": _drawn(encoder, config.shots, 2 * seed),
        "test": _drawn(encoder, config.copies, 2 * seed + 1),
    }
    generator = torch.Generator().manual_seed(seed)
    splits = []
    for _ in range(config.splits):
        order = torch.randperm(len(SHAPES), generator=generator)
        halves = dict(zip(("base", "new"), order.chunk(2), strict=True))

        def part(pool: str, classes: Tensor) -> tuple[Tensor, Tensor]:
            mine = vectors[pool][classes]  # (classes, pictures, embed_dim)
            return mine.flatten(0, 1), torch.arange(len(mine)).repeat_interleave(mine.shape[1])

        splits.append(
            Split(
                {name: [SHAPES[i] for i in half.tolist()] for name, half in halves.items()},
                part("train", halves["base"]),
                {name: part("test", half) for name, half in halves.items()},
            )
        )
    return splits


def _drawn(encoder: DualEncoder, count: int, seed: int) -> Tensor:
    """Unit vectors (shapes, pictures, embed_dim) of each shape in any colour and size."""
    generator = torch.Generator().manual_seed(1_000_000 + seed)
    parts = []
    for shape in range(len(SHAPES)):
        only_this = torch.zeros(len(SHAPES), len(COLOURS), len(SIZES))
        only_this[shape] = 1
        parts.append(sample_scenes(count, generator, weights=only_this))
    pictures = draw(concatenate(parts), SIZE)
    return encoder.encode_images(pictures, 256).unflatten(0, (len(SHAPES), count))


def judge(measured: Measured) -> Verdict:
    """Holds where CoOp beats the written prompt on base classes, and CoCoOp beats CoOp on new ones.

    In part where only one of the two does.
    """
    transfer = measured.difference("cocoop_new", "coop_new")
    learnt = measured.difference("coop_base", "written_base")
    kept = measured.difference("coop_new", "written_new")
    both = learnt.above_zero and transfer.above_zero
    word = HOLDS if both else IN_PART if learnt.above_zero or transfer.above_zero else FAILS
    shares = {name: measured.mean(name).percent() for name in measured.runs[0]}
    because = (
        f"Base classes: written prompt {shares['written_base']}, CoOp {shares['coop_base']}, "
        f"CoCoOp {shares['cocoop_base']}. New classes: {shares['written_new']}, "
        f"{shares['coop_new']}, {shares['cocoop_new']}; chance is 16.7 %. CoCoOp less CoOp on new "
        f"classes: {transfer.points()}."
    )
    effects = {
        "CoCoOp less CoOp, new classes": transfer,
        "CoOp less written, base classes": learnt,
        "CoOp less written, new classes": kept,
    }
    return Verdict(word, because, effects)


@in_style
def draw_figure(measured: Measured) -> "Figure":
    figure, (axis,) = canvas()
    groups = {
        NAMES[method]: measured.columns(f"{method}_base", f"{method}_new") for method in METHODS
    }
    bars(axis, ("base classes (learnt on)", "new classes"), groups, form="{:.1f}")
    chance(axis, 100 / CLASSES)
    axis.set_xlim(-0.55, 1.75)  # room for the word "chance"
    axis.set(
        ylabel="right of six classes (%)",
        ylim=(0, 105),
        title="Do learned prompts help, and do they transfer to new classes?",
    )
    words = f"Bars. {judge(measured).because}"
    config = measured.config
    tested = (
        f"{CLASSES * config['copies']} pictures a bar and split of the classes, "
        f"{config['splits']} split(s) a seed, {config['shots']} shots a class"
    )
    return finish(figure, measured, words, tested)


EXPERIMENT = Experiment(
    number=21,
    name="prompt_learning",
    claim="Prompts can be learnt (CoOp), and ones that look at the picture transfer better "
    "(CoCoOp)",
    source="note 001; Zhou et al. 2022 (arXiv 2109.01134) and Zhou et al. 2022 (arXiv 2203.05557)",
    published=(
        "means over 11 data sets (2203.05557, table 1), base / new classes: CLIP 69.3 / 74.2 %, "
        "CoOp 82.7 / 63.2 %, CoCoOp 80.5 / 71.7 %"
    ),
    plain=(
        "The twelve shapes, in any colour and size, are halved at random; a class's name is the "
        "shape's alone. On one half, the base classes, with 16 pictures each, the vectors before "
        "the name are learnt, both towers locked: the same ones for all pictures (CoOp), or with "
        "a shift that a small network makes from the picture (CoCoOp). Both begin with “a picture "
        "of a”, and see the same pictures in the same order. Then both halves are tested."
    ),
    quick=Config(splits=1),  # a third of BASE leaves shapes unlearnt
    full=Config(),
    measure=measure,
    judge=judge,
    draw=draw_figure,
    seeds=5,
)
