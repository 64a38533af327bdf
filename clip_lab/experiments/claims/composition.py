"""Claim 13: what was never seen is read as a composition of what was."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor

from clip_lab import pretrained
from clip_lab.data.emoji import EmojiTest, emoji_test
from clip_lab.data.emoji_table import emoji_table, texts
from clip_lab.data.scene import COLOURS, SHAPES, SIZES, concatenate
from clip_lab.data.shape_captions import plain_caption
from clip_lab.data.shape_drawing import draw
from clip_lab.data.shape_sampling import combination_names, ninths, sample_scenes
from clip_lab.dual_encoder import DualEncoder
from clip_lab.evaluation.accuracy import rank_of_target
from clip_lab.evaluation.emoji import UNSEEN_STYLE
from clip_lab.experiments.drawing import bars, canvas, chance, finish, in_style
from clip_lab.experiments.experiment import Experiment
from clip_lab.experiments.result import FAILS, HOLDS, IN_PART, Measured, Verdict, interval
from clip_lab.experiments.world import BASE, SIZE, Shared

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CANDIDATES = 43  # the smallest of the nine sets has as many
CHANCE = 1 / CANDIDATES
ALL = len(SHAPES) * len(COLOURS) * len(SIZES)


@dataclass(frozen=True)
class Config:
    model: Shared = BASE
    copies: int = 8  # pictures of each combination
    draws: int = 20  # of candidates among the emoji


def measure(config: Config, seed: int) -> dict[str, Any]:
    """Shapes by a model trained for this seed; emoji by the built-in model, other candidates."""
    emoji, long = (pretrained.load(name, "cpu") for name in ("emoji", "shapes"))
    trained_long = {f"long_{name}": of for name, of in _shapes(long, config.copies, seed).items()}
    own = _shapes(config.model.encoder(seed), config.copies, seed)
    return own | trained_long | _emoji(emoji, config.draws, seed)


def _shapes(encoder: DualEncoder, copies: int, seed: int) -> dict[str, float]:
    """Every combination drawn some times; each ninth among itself, and among all."""
    every = torch.ones(len(SHAPES), len(COLOURS), len(SIZES), dtype=torch.bool)
    names = [plain_caption(*name) for name in combination_names(every)]
    images = encoder.encode_images(_pictures(copies, seed), batch_size=256)
    cosines = images @ encoder.encode_texts(names).T
    own = torch.arange(ALL).repeat_interleave(copies)
    nearest = rank_of_target(cosines, own) == 0
    new = (ninths().flatten() == 0)[own]
    generator = Generator().manual_seed(seed)
    parts = [_among(cosines, own, _some(ninth, generator)) for ninth in range(9)]
    return {
        "new": parts[0],
        "known": sum(parts[1:]) / 8,
        "new_of_all": nearest[new].double().mean().item(),
        "known_of_all": nearest[~new].double().mean().item(),
    }


def _pictures(copies: int, seed: int) -> Float[Tensor, "pictures 3 size size"]:
    """Single objects: the first combination's pictures, then the next one's."""
    generator = Generator().manual_seed(40_000 + seed)
    scenes = []
    for number in range(ALL):
        only_this = torch.zeros(ALL)
        only_this[number] = 1
        weights = only_this.reshape(len(SHAPES), len(COLOURS), len(SIZES))
        scenes.append(sample_scenes(copies, generator, weights=weights))
    return draw(concatenate(scenes), SIZE)


def _some(ninth: int, generator: Generator) -> Int[Tensor, " candidates"]:
    """The combinations of one of the nine sets, as many of each."""
    members = (ninths().flatten() == ninth).nonzero().flatten()
    return members[torch.randperm(len(members), generator=generator)[:CANDIDATES]]


def _among(
    cosines: Float[Tensor, "pictures classes"],
    own: Int[Tensor, " pictures"],
    chosen: Int[Tensor, " candidates"],
) -> float:
    """The accuracy on the pictures of the chosen classes, with these alone to choose from."""
    rows, targets = _of_these(own, chosen)
    ranks = rank_of_target(cosines[rows][:, chosen], targets)
    return (ranks == 0).double().mean().item()


def _of_these(
    own: Int[Tensor, " pictures"], chosen: Int[Tensor, " candidates"]
) -> tuple[Int[Tensor, " some"], Int[Tensor, " some"]]:
    """Which pictures are of the chosen classes, and of which of them each is."""
    where = own[:, None] == chosen  # (pictures, candidates)
    rows = where.any(dim=1).nonzero().flatten()
    return rows, where[rows].double().argmax(dim=1)


def _emoji(encoder: DualEncoder, draws: int, seed: int) -> dict[str, float]:
    """Concepts known and new in a style never seen, by name and by name and keywords."""
    generator = Generator().manual_seed(seed)
    measured = {}
    for kind, split in (("known", "seen"), ("new", "heldout")):
        test = emoji_test(UNSEEN_STYLE, split)
        ways = {"emoji": test.labels, "described": described(test)}
        hits: dict[str, list[Tensor]] = {name: [] for name in ways}
        for _ in range(draws):
            chosen = torch.randperm(len(test.labels), generator=generator)[:CANDIDATES]
            rows, own = _of_these(test.targets, chosen)
            images = encoder.encode_images(test.pictures[rows], batch_size=256)
            for name, labels in ways.items():
                texts = encoder.encode_texts([labels[i] for i in chosen.tolist()], truncate=True)
                hits[name].append(rank_of_target(images @ texts.T, own) == 0)
        for name, found in hits.items():
            measured[f"{name}_{kind}"] = torch.cat(found).double().mean().item()
    return measured


def described(test: EmojiTest) -> list[str]:
    """Each class by its name and first keywords, "zebra, animal, stripe"."""
    rows, said = emoji_table().rows, texts("en")
    row_of = dict(zip(test.targets.tolist(), test.rows, strict=True))
    return [", ".join(said[rows[row_of[i]].hexcode][:5]) for i in range(len(test.labels))]


def judge(measured: Measured) -> Verdict:
    """Holds where what is new is read more than half as well as what is known, in both worlds.

    In shapes and, by name and keywords, in emoji. In part where that is so in one of them, or where
    new combinations of shapes are at least read above chance.
    """
    above = interval(measured["new"] - CHANCE)
    kept = interval(measured["new"] / measured["known"].clip(1e-9))
    kept_emoji = interval(measured["described_new"] / measured["described_known"].clip(1e-9))
    halves = (kept.low > 0.5) + (kept_emoji.low > 0.5)
    word = HOLDS if halves == 2 else IN_PART if halves or above.above_zero else FAILS
    because = (
        f"Combinations never drawn in training are right in {measured.mean('new').percent()} among "
        f"{CANDIDATES}, known ones in {measured.mean('known').percent()}; chance is "
        f"{100 * CHANCE:.1f} %. Among all {ALL}: {measured.mean('new_of_all').percent()} and "
        f"{measured.mean('known_of_all').percent()}; by the built-in model, which was trained for "
        f"longer, {measured.mean('long_new_of_all').percent()} and "
        f"{measured.mean('long_known_of_all').percent()}. Emoji never seen: "
        f"{measured.mean('emoji_new').percent()} by name, "
        f"{measured.mean('described_new').percent()} with keywords; known ones in that style: "
        f"{measured.mean('emoji_known').percent()}."
    )
    effects = {"new combinations above chance": above, "share kept": kept}
    return Verdict(word, because, effects | {"share kept, emoji": kept_emoji})


@in_style
def draw_figure(measured: Measured) -> "Figure":
    figure, (axis,) = canvas(width=9)
    tests = ("{}", "{}_of_all", "long_{}_of_all", "emoji_{}", "described_{}")
    groups = {
        text: measured.columns(*(test.format(kind) for test in tests))
        for kind, text in (("known", "trained on"), ("new", "never trained on"))
    }
    names = (
        f"shape, colour, size\n(of {CANDIDATES})", f"… among all\n{ALL}",
        f"… trained longer,\namong all {ALL}",
        f"emoji by name\n(of {CANDIDATES})", "… by name and\nkeywords",
    )  # fmt: skip
    bars(axis, names, groups)
    chance(axis, 100 * CHANCE, "")
    axis.set(
        ylabel=f"right caption (%)\ndashed: chance among {CANDIDATES}",
        ylim=(0, 108),
        title="Is the unseen read by its parts?",
    )
    words = f"Bars. {judge(measured).because}"
    tested = (
        f"{measured.config['copies']} pictures a combination; emoji: {measured.config['draws']} "
        f"draws of {CANDIDATES}, OpenMoji's style"
    )
    return finish(figure, measured, words, tested)


EXPERIMENT = Experiment(
    number=13,
    name="composition",
    claim="Things never seen are read as compositions of known ones: zebra = horse + stripes",
    source="note 003",
    published="no figure in the notes",
    plain=(
        "Training leaves out one in nine combinations of shape, colour and size. Pictures of those "
        "find their caption among 43 such; so do pictures of known combinations, in eight sets of "
        "the same make. Then all among all 396, also by the built-in shapes model, which knows "
        "shapes better. Beside it, by the built-in emoji model: concepts "
        "held out of its training among 43, by name alone and with keywords (“zebra, animal, "
        "stripe”), in a style that it never saw; a seed draws other candidates."
    ),
    quick=Config(model=BASE.quick(), copies=4),
    full=Config(),
    measure=measure,
    judge=judge,
    draw=draw_figure,
)
