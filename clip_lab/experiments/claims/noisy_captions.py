"""Claim 29: noisy captions at scale still teach, and filtering them helps."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from clip_lab.dual_encoder import DualEncoder
from clip_lab.evaluation.shapes import held_out_retrieval
from clip_lab.experiments.drawing import bars, canvas, chance, curve, finish, in_style
from clip_lab.experiments.experiment import Experiment
from clip_lab.experiments.learning import Plan, train_clip
from clip_lab.experiments.pool import Drawn, Pool, draw_pairs
from clip_lab.experiments.result import FAILS, HOLDS, IN_PART, Measured, Verdict, interval
from clip_lab.experiments.world import SIZE, new_model

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLASSES = 44


@dataclass(frozen=True)
class Config:
    plan: Plan = Plan(steps=400)
    pairs: int = 8000
    shares: tuple[float, ...] = (0.0, 0.2, 0.4, 0.6, 0.8)  # of captions that are wrong
    noisy: int = 3  # which of them is filtered, and set against clean pairs
    few: int = 8  # the small clean set is this many times smaller


def with_wrong(drawn: Drawn, share: float, seed: int) -> tuple[Drawn, Bool[Tensor, " pairs"]]:
    """Captions exchanged among a share of the pairs, for good; and which pairs are still right.

    The same seed makes smaller shares part of larger ones.
    """
    order = np.random.default_rng([seed, 29]).permutation(len(drawn.captions))
    chosen = order[: round(share * len(order))]
    captions = list(drawn.captions)
    for row, other in zip(chosen, np.roll(chosen, 1), strict=True):
        captions[row] = drawn.captions[other]
    right = torch.ones(len(captions), dtype=torch.bool)
    right[torch.from_numpy(chosen)] = False
    return Drawn(drawn.pictures, captions), right


def chosen_pairs(drawn: Drawn, rows: Sequence[int]) -> Drawn:
    """Some of the pairs."""
    return Drawn(drawn.pictures[list(rows)], [drawn.captions[row] for row in rows])


def similarities(encoder: DualEncoder, drawn: Drawn) -> Float[Tensor, " pairs"]:
    """The cosine of each picture with its caption: how well they fit, as this model sees it.

    (The idea of BLIP's filter, Li et al. 2022, arXiv 2201.12086, section 3.3, without its
    captioner.)
    """
    images = encoder.encode_images(drawn.pictures, batch_size=256)
    return (images * encoder.encode_texts(drawn.captions)).sum(dim=1)


def measure(config: Config, seed: int) -> dict[str, Any]:
    """As many steps for all: more and more wrong captions, and the right ones sorted out."""
    clean = draw_pairs(config.pairs, SIZE, seed)
    curve, trained, marked = [], [], []
    for share in config.shares:
        noisy, right = with_wrong(clean, share, seed)
        encoder, accuracy = _train(noisy, config.plan, seed)
        curve.append(accuracy)
        trained.append(encoder)
        marked.append((noisy, right))
    noisy, right = marked[config.noisy]
    scores = similarities(trained[config.noisy], noisy)
    kept = scores.argsort(descending=True)[: int(right.sum())].sort().values
    sets = {
        "filtered": chosen_pairs(noisy, kept.tolist()),
        "right_only": chosen_pairs(clean, right.nonzero().flatten().tolist()),
        "few_clean": clean.first(config.pairs // config.few),
    }
    results = {name: _train(pairs, config.plan, seed)[1] for name, pairs in sets.items()}
    return results | {
        "curve": curve,
        "noisy": curve[config.noisy],
        "kept_right": right[kept].double().mean().item(),
    }


def _train(drawn: Drawn, plan: Plan, seed: int) -> tuple[DualEncoder, float]:
    encoder = train_clip(new_model(seed=seed), Pool(drawn, plan.batch, seed), plan)
    return encoder, held_out_retrieval(encoder, seed=seed).top1


def judge(measured: Measured) -> Verdict:
    """Holds where many noisy pairs teach more than a few clean ones, and filtering adds to it.

    In part where one of the two is so, and the noisy pairs teach at all (above chance).
    """
    scale = measured.difference("noisy", "few_clean")
    filtered = measured.difference("filtered", "noisy")
    taught = interval(measured["noisy"] - 1 / CLASSES).above_zero
    gains = [scale.above_zero, filtered.above_zero]
    word = HOLDS if taught and all(gains) else IN_PART if taught and any(gains) else FAILS
    wrong, few = _wrong(measured), _few(measured)
    because = (
        f"{measured.config['pairs']:,} pairs with {wrong:.0f} % wrong captions give "
        f"{measured.mean('noisy').percent()}, {scale.points()} against {few:,} clean pairs. "
        f"Filtered by that model's own similarity ({measured.mean('kept_right').percent()} of what "
        f"is kept is right): {filtered.points()}. Its right pairs alone give "
        f"{measured.mean('right_only').percent()}; chance is {100 / CLASSES:.1f} %."
    )
    effects = {"noisy at scale less few clean": scale, "gain by filtering": filtered}
    return Verdict(word, because, effects)


def _wrong(measured: Measured) -> float:
    return 100 * measured.config["shares"][measured.config["noisy"]]


def _few(measured: Measured) -> int:
    return measured.config["pairs"] // measured.config["few"]


@in_style
def draw_figure(measured: Measured) -> "Figure":
    figure, (left, right) = canvas(2, width=11, height=4.4)
    pairs, wrong, few = measured.config["pairs"], _wrong(measured), _few(measured)
    curve(left, [100 * s for s in measured.config["shares"]], measured["curve"], "", 0)
    left.set(
        xlabel=f"wrong captions among {pairs:,} pairs (%)",
        ylabel="accuracy on unseen combinations (%)",
        title="How much do wrong captions cost?",
    )
    names = (
        f"all {pairs:,},\n{wrong:.0f} % wrong",
        "kept by own\nsimilarity",
        "its right\npairs alone",
        f"{few:,} clean\npairs",
    )
    columns = measured.columns("noisy", "filtered", "right_only", "few_clean")
    bars(right, names, {"accuracy": columns})
    right.set_xlim(-0.6, 3.9)  # room for the word "chance"
    right.set_title("Filter them, or have fewer but clean ones?")
    for axis in (left, right):
        axis.set_ylim(0, 100)
        chance(axis, 100 / CLASSES)
    return finish(
        figure, measured, f"A curve and bars. {judge(measured).because}",
        f"{8 * CLASSES} pictures, {CLASSES} captions",
    )  # fmt: skip


EXPERIMENT = Experiment(
    number=29,
    name="noisy_captions",
    claim="Noisy captions at scale still teach; filtering them helps",
    source=(
        "ALIGN, Jia et al. 2021 (arXiv 2102.05918); BLIP, Li et al. 2022 (arXiv 2201.12086); "
        "notes 000, 001"
    ),
    published="76.4 % zero-shot on ImageNet from 1.8 billion unfiltered pairs (ALIGN, table 4)",
    plain=(
        "A fixed set of pairs, in which more and more captions are exchanged with each other's: "
        "they are wrong for good. One of these sets is set against its right pairs alone, against "
        "an eighth as many clean pairs, and against what the model trained on it keeps: the pairs "
        "that it finds most alike, as many as there are right ones. All train for as many steps, "
        "and are asked which of 44 captions fits a picture of a combination never seen."
    ),
    quick=Config(plan=Plan(steps=250), pairs=4000, shares=(0.0, 0.6), noisy=1),
    full=Config(),
    measure=measure,
    judge=judge,
    draw=draw_figure,
)
