"""Claim 5: pulling matches together alone lets everything fall onto one point."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from jaxtyping import Float
from torch import Tensor

from clip_lab.data.batch import Batch
from clip_lab.data.shapes import ShapesPairs, shapes_test
from clip_lab.dual_encoder import DualEncoder
from clip_lab.evaluation.accuracy import zero_shot_accuracy
from clip_lab.evaluation.geometry import effective_rank, mean_cosine
from clip_lab.experiments.drawing import canvas, chance, curve, finish, in_style
from clip_lab.experiments.experiment import Experiment
from clip_lab.experiments.learning import Objective, Plan, contrast, train_clip
from clip_lab.experiments.result import FAILS, HOLDS, IN_PART, Measured, Verdict, interval
from clip_lab.experiments.world import SIZE, new_model
from clip_lab.training.towers import Features

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ONE_POINT = 0.9  # mean cosine of different pictures from which on we speak of one point
CLASSES = 44


@dataclass(frozen=True)
class Config:
    plan: Plan = Plan(steps=400)
    looks: tuple[int, ...] = (0, 5, 10, 25, 50, 100, 150, 200, 300, 400)
    copies: int = 8  # pictures of each held-out combination


def distance(features: Features, batch: Batch) -> Float[Tensor, ""]:
    """The mean squared distance of picture and caption: 2 − 2 cos, and nothing that keeps apart."""
    return (features.images - features.texts).square().sum(dim=1).mean()


def measure(config: Config, seed: int) -> dict[str, Any]:
    """Contrast and distance from the same untrained model; then distance from the contrast's end.

    An untrained model lies nearly on one point already, so only the third training shows whether
    distance alone also leads back there.
    """
    trained, untrained = new_model(seed=seed), new_model(seed=seed)
    runs = {
        "contrast": _train(trained, contrast, config, seed),
        "distance": _train(untrained, distance, config, seed),
        "after": _train(trained, distance, config, seed),
    }
    return {f"{name}_{what}": values for name, run in runs.items() for what, values in run.items()}


def _train(
    encoder: DualEncoder, objective: Objective, config: Config, seed: int
) -> dict[str, list[float]]:
    """Train in place; rank, cosine and accuracy on the way."""
    test = shapes_test(config.copies, SIZE, seed)
    seen: dict[str, list[float]] = {"rank": [], "cosine": [], "accuracy": []}

    def look(_step: int) -> None:
        vectors = encoder.encode_images(test.pictures, batch_size=256)
        seen["rank"].append(effective_rank(vectors))
        seen["cosine"].append(mean_cosine(vectors))
        right = zero_shot_accuracy(encoder, test.pictures, test.captions, test.targets)
        seen["accuracy"].append(right.top1)

    data = ShapesPairs(config.plan.batch, SIZE, seed)
    train_clip(encoder, data, config.plan, objective, look, config.looks)
    return seen


def judge(measured: Measured) -> Verdict:
    """Holds where distance alone ends on one point, and takes from a trained model what it knew.

    One point: the mean cosine of different pictures is above 0.9, its whole interval, and rank and
    accuracy are lower than the contrast's. In part where rank and accuracy are lower, but pictures
    still lie apart, or where the trained model loses no accuracy.
    """
    rank = interval(measured["contrast_rank"][:, -1] - measured["distance_rank"][:, -1])
    gain = interval(measured["contrast_accuracy"][:, -1] - measured["distance_accuracy"][:, -1])
    lost = interval(measured["after_accuracy"][:, -1] - measured["after_accuracy"][:, 0])
    ends = {name: interval(measured[name][:, -1]) for name in measured.runs[0]}
    lower = rank.above_zero and gain.above_zero
    collapsed = ends["distance_cosine"].low > ONE_POINT and lost.below_zero
    word = (HOLDS if collapsed else IN_PART) if lower else FAILS
    because = (
        f"Trained on distance alone, different pictures end at a mean cosine of "
        f"{ends['distance_cosine'].number(3)}, an effective rank of "
        f"{ends['distance_rank'].number(1)} out of 64 and an accuracy of "
        f"{ends['distance_accuracy'].percent()}. By contrast these are "
        f"{ends['contrast_cosine'].number(3)}, {ends['contrast_rank'].number(1)} and "
        f"{ends['contrast_accuracy'].percent()}; chance is {100 / CLASSES:.1f} %. Distance alone "
        f"after the contrast ends at a cosine of {ends['after_cosine'].number(3)}, "
        f"{lost.points()} in accuracy."
    )
    effects = {
        "effective rank, contrast less distance": rank,
        "accuracy, contrast less distance": gain,
        "accuracy, distance after contrast": lost,
    }
    return Verdict(word, because, effects)


@in_style
def draw_figure(measured: Measured) -> "Figure":
    figure, axes = canvas(3, width=11, height=4)
    names = {
        "contrast": "contrast",
        "distance": "distance alone",
        "after": "contrast, then distance",
    }
    panels = {
        "rank": ("effective rank of image vectors (of 64)", 1),
        "cosine": ("mean cosine of different pictures", 1),
        "accuracy": ("accuracy on unseen combinations (%)", 100),
    }
    for axis, (what, (label, times)) in zip(axes, panels.items(), strict=True):
        for series, (key, name) in enumerate(names.items()):
            steps = measured.config["looks"]
            curve(axis, steps, measured[f"{key}_{what}"], name, series, times)
        axis.set(xlabel="training steps", ylabel=label)
        axis.set_ylim(bottom=min(0, axis.get_ylim()[0]))
    axes[1].set_ylim(top=1.05)
    chance(axes[2], 100 / CLASSES)
    axes[1].set_title("Is it enough to pull matching pairs together?")
    axes[0].legend(loc="center right", fontsize=8)  # between the curves
    tested = f"{CLASSES * measured.config['copies']} pictures of unseen combinations"
    return finish(figure, measured, f"Curves. {judge(measured).because}", tested)


EXPERIMENT = Experiment(
    number=5,
    name="collapse",
    claim="Pulling matches together alone collapses; the contrast prevents it",
    source=(
        "note 000; Wang & Isola 2020 (arXiv 2005.10242) name the two parts alignment and uniformity"
    ),
    published="no figure in the notes",
    plain=(
        "One model is trained to bring each picture's vector near its caption's, by squared "
        "distance and nothing else; another, from the same start and on the same pairs, by CLIP's "
        "contrast. As untrained vectors lie nearly on one point anyway, the contrast's model is "
        "then trained on by distance alone. On pictures of unseen combinations we measure how many "
        "directions the image vectors use, how alike the vectors of different pictures are, and "
        "how often the right caption among 44 is the nearest; ties count as misses."
    ),
    quick=Config(plan=Plan(steps=150), looks=(0, 5, 10, 25, 50, 100, 150), copies=4),
    full=Config(),
    measure=measure,
    judge=judge,
    draw=draw_figure,
)
