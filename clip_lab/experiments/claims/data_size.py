"""Claim 8: accuracy grows with the logarithm of the data, without saturating."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from clip_lab.data.batch import Pairs
from clip_lab.data.shapes import ShapesPairs
from clip_lab.evaluation.shapes import held_out_retrieval
from clip_lab.experiments.drawing import canvas, chance, curve, finish, in_style, legend
from clip_lab.experiments.experiment import Experiment
from clip_lab.experiments.learning import Plan, train_clip
from clip_lab.experiments.pool import Pool, draw_pairs
from clip_lab.experiments.result import (
    FAILS,
    HOLDS,
    IN_PART,
    Interval,
    Measured,
    Verdict,
    interval,
)
from clip_lab.experiments.world import SIZE, new_model
from clip_lab.view.figures import GREY

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HELD_OUT = 44  # combinations


@dataclass(frozen=True)
class Config:
    sizes: tuple[int, ...] = (250, 1_000, 4_000, 16_000, 64_000)  # each four times the last
    plan: Plan = Plan(steps=500)
    copies: int = 32  # pictures of each held-out combination


def measure(config: Config, seed: int) -> dict[str, Any]:
    """Each number of distinct pairs, for as many steps and for one epoch; and pairs without end."""
    drawn = draw_pairs(max(config.sizes), SIZE, seed)
    measured: dict[str, Any] = {"sizes": list(config.sizes), "found": [], "found_once": []}
    for size in config.sizes:
        pool, once = Pool(drawn.first(size), config.plan.batch, seed), one_epoch(config.plan, size)
        found = accuracy(config, pool, config.plan, seed)
        measured["found"].append(found)
        same = once == config.plan  # then it would be the same training again
        measured["found_once"].append(found if same else accuracy(config, pool, once, seed))
    endless = ShapesPairs(config.plan.batch, SIZE, seed)
    return measured | {"endless": accuracy(config, endless, config.plan, seed)}


def one_epoch(plan: Plan, pairs: int) -> Plan:
    """As many steps as go through so many pairs once, with at most a fifth of them to warm up."""
    steps = pairs // plan.batch
    return replace(plan, steps=steps, warmup=min(plan.warmup, steps // 5))


def accuracy(config: Config, data: Pairs, plan: Plan, seed: int) -> float:
    """Of a model trained on this data: the share of held-out combinations found."""
    encoder = train_clip(new_model(seed=seed), data, plan)
    return held_out_retrieval(encoder, seed=seed, copies=config.copies).top1


def growth(measured: Measured) -> Interval:
    """Accuracy gained by ten times the pairs: the slope of each seed's line over log10(pairs)."""
    logs = np.log10(measured["sizes"][0])
    return interval([np.polyfit(logs, row, 1)[0] for row in measured["found"]])


def last_step(measured: Measured, name: str = "found") -> Interval:
    """The same between the two largest sizes alone."""
    logs, found = np.log10(measured["sizes"][0]), measured[name]
    return interval((found[:, -1] - found[:, -2]) / (logs[-1] - logs[-2]))


def judge(measured: Measured) -> Verdict:
    """Holds where, with as many steps, accuracy grows over all sizes and still does between the two
    largest. In part where it grows and then saturates: the last slope isn't above zero. What the
    last step brings where training grows with the data is reported with it.
    """
    overall, last = growth(measured), last_step(measured)
    together = last_step(measured, "found_once")
    word = (HOLDS if last.above_zero else IN_PART) if overall.above_zero else FAILS
    found, sizes = measured["found"], measured["sizes"][0]
    few, most = interval(found[:, 0]), interval(found[:, -1])
    because = (
        f"Ten times the pairs bring {overall.points()} over the whole range and {last.points()} "
        f"between {sizes[-2]:,} and {sizes[-1]:,}. {sizes[0]:,} pairs give {few.percent()}, "
        f"{sizes[-1]:,} give {most.percent()}, pairs without end "
        f"{measured.mean('endless').percent()}; chance is 2.3 %. Where training grows with the "
        f"data (each pair seen once), the last step brings {together.points()} per tenfold."
    )
    beyond = interval(measured["endless"] - found[:, -1])
    effects = {
        "gain per tenfold pairs": overall,
        "in the last step": last,
        "in the last step, each pair once": together,
        "endless less most": beyond,
    }
    return Verdict(word, because, effects)


@in_style
def draw_figure(measured: Measured) -> "Figure":
    figure, (axis,) = canvas(width=8)
    sizes = measured["sizes"][0]
    curve(axis, sizes, measured["found"], "as many steps for all", 0)
    curve(axis, sizes, measured["found_once"], "each pair seen once", 2)
    seen = measured.config["plan"]["steps"] * measured.config["plan"]["batch"]
    last = 4 * max(sizes[-1], seen)  # on the axis' next step
    curve(axis, [last], measured["endless"][:, None], "new pairs in every step", 1)
    axis.axvline(seen, color=GREY, linestyle=":", linewidth=1)
    axis.annotate(
        f"{seen:,} pairs seen", (seen, 0.98), (-4, 0), xycoords=("data", "axes fraction"),
        textcoords="offset points", fontsize=8, ha="right", va="top",
    )  # fmt: skip
    axis.set_xscale("log")
    axis.set_xticks([*sizes, last], [*(f"{size:,}" for size in sizes), "endless"])
    axis.minorticks_off()
    axis.set(
        xlabel="distinct pairs in the training data",
        ylabel=f"held-out combinations found (% of {HELD_OUT})",
        ylim=(0, 100),
        title="Does more data always help?",
    )
    chance(axis, 100 / HELD_OUT)
    legend(axis, 3, below=0.18)
    words = f"A curve. {judge(measured).because}"
    tested = f"{HELD_OUT * measured.config['copies']:,} pictures a point"
    return finish(figure, measured, words, tested)


EXPERIMENT = Experiment(
    number=8,
    name="data_size",
    claim="Accuracy grows with the logarithm of the data and doesn't saturate",
    source="note 000; scaling laws by Cherti et al. 2023 (arXiv 2212.07143)",
    published="no figure in the notes; 11.5 % on ImageNet in earlier work to CLIP's 76.2 % "
    "(paper, table 1)",
    plain=(
        "Small models train for as many steps on 250 to 64,000 distinct pairs, again and again, "
        "and on pairs that never come again; then once more for one epoch each, so that training "
        "grows with the data. All start from the same weights, and the smaller sets are part of "
        "the larger. Tested on combinations of shape, colour and size never shown."
    ),
    quick=Config((250, 4_000), Plan(steps=200, warmup=30), copies=8),
    full=Config(),
    measure=measure,
    judge=judge,
    draw=draw_figure,
)
