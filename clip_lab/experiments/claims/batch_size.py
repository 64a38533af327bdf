"""Claim 7: large batches help, since they hold more negatives."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from clip_lab.experiments.batch_sweep import Sweep, accuracies
from clip_lab.experiments.drawing import canvas, chance, curve, finish, in_style
from clip_lab.experiments.experiment import Experiment
from clip_lab.experiments.result import FAILS, HOLDS, IN_PART, Measured, Verdict, interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

HELD_OUT = 44  # combinations


@dataclass(frozen=True)
class Config:
    sweep: Sweep = field(default_factory=Sweep)


def measure(config: Config, seed: int) -> dict[str, Any]:
    """InfoNCE's half of the sweep."""
    found = accuracies(config.sweep, seed)
    sweep = config.sweep
    return {
        "batches": list(sweep.batches),
        "by_batch": found["info_nce_batches"],
        "blocks": list(sweep.blocks),
        "by_block": found["info_nce_blocks"],
    }


def judge(measured: Measured) -> Verdict:
    """Holds where, with as many pairs seen, the largest batch beats the smallest.

    In part where it doesn't, but more negatives alone, with the steps kept, do help: then the
    reason given is right, and the fewer steps cost more than it brings.
    """
    batches, blocks = measured["by_batch"], measured["by_block"]
    larger = interval(batches[:, -1] - batches[:, 0])
    more = interval(blocks[:, -1] - blocks[:, 0])
    word = HOLDS if larger.above_zero else IN_PART if more.above_zero else FAILS
    small, large = measured["batches"][0][[0, -1]]
    few, many = measured["blocks"][0][[0, -1]]
    because = (
        f"With as many pairs seen, a batch of {large:,} finds "
        f"{interval(batches[:, -1]).percent()} of held-out combinations and one of {small} "
        f"{interval(batches[:, 0]).percent()}: {larger.points()}; it makes {large // small} times "
        f"fewer steps. With the steps kept, {many - 1} negatives instead of {few - 1} bring "
        f"{more.points()}. Chance is 2.3 %."
    )
    effects = {"largest less smallest batch": larger, "most less fewest negatives": more}
    return Verdict(word, because, effects)


@in_style
def draw_figure(measured: Measured) -> "Figure":
    figure, (left, right) = canvas(2, width=9.5, height=4.4)
    sweep = measured.config["sweep"]
    draw_sweep(left, measured["batches"][0], {"InfoNCE": measured["by_batch"]})
    draw_sweep(right, measured["blocks"][0], {"InfoNCE": measured["by_block"]})
    left.set(xlabel=f"batch size ({sweep['pairs']:,} pairs seen)", title="Do larger batches help?")
    right.set(
        xlabel=f"captions that each picture meets (batch {sweep['block_batch']})",
        title="And more negatives alone?",
        ylabel="",
    )
    words = f"Two charts. {judge(measured).because}"
    return finish(figure, measured, words, f"{HELD_OUT * sweep['copies']:,} pictures a point")


def draw_sweep(axis: "Axes", sizes, values: dict[str, Any]) -> None:
    """Accuracy against batch or block, on an axis where each step is a doubling."""
    for series, (name, numbers) in enumerate(values.items()):
        curve(axis, sizes, numbers, name, series)
    axis.set_xscale("log", base=2)
    axis.set_xticks(sizes, [f"{size:,}" for size in sizes])
    axis.minorticks_off()
    axis.set(ylabel=f"held-out combinations found (% of {HELD_OUT})", ylim=(0, 100))
    chance(axis, 100 / HELD_OUT)


EXPERIMENT = Experiment(
    number=7,
    name="batch_size",
    claim="Large batches help: they hold more negatives",
    source="note 002; paper 2.5",
    published="a batch of 32,768; no comparison with smaller ones",
    plain=(
        "Small models see the same pairs once, in batches of 16 to 1,024; the learning rate grows "
        "with the square root of the batch. A larger batch has more negatives but makes fewer "
        "steps, so a second sweep keeps batch and steps and lets each picture meet only the "
        "captions of its own block. Tested on combinations of shape, colour and size never shown."
    ),
    quick=Config(Sweep(16_000, (16, 128), 128, (2, 128), copies=8)),
    full=Config(),
    measure=measure,
    judge=judge,
    draw=draw_figure,
    seeds=5,
)
