"""Claim 1: to learn what to call things, contrast needs fewer pairs than predicting the caption."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clip_lab.data.batch import Batch
from clip_lab.data.shapes import ShapesPairs, shapes_test
from clip_lab.dual_encoder import DualEncoder
from clip_lab.evaluation.accuracy import Accuracy, rank_of_target
from clip_lab.experiments.drawing import canvas, chance, curve, finish, in_style
from clip_lab.experiments.experiment import Experiment
from clip_lab.experiments.learning import Plan, contrast, learn, pixels
from clip_lab.experiments.result import (
    FAILS,
    HOLDS,
    IN_PART,
    Interval,
    Measured,
    Verdict,
    interval,
)
from clip_lab.experiments.world import SIZE, new_model, vocabulary
from clip_lab.heads import (
    Captioner,
    WordsHead,
    bag_of_words,
    caption_scores,
    nats_per_token,
    words_loss,
    words_scores,
)
from clip_lab.training.towers import Towers

if TYPE_CHECKING:
    from matplotlib.figure import Figure

NAMES = {"contrast": "contrast (CLIP)", "words": "bag of words", "captions": "caption model"}
CLASSES = 44  # held-out combinations
# Of the lesser final accuracy: the levels at which two curves are compared. None is near the end,
# where the falling learning rate lifts all curves at once.
LEVELS = (0.25, 0.5, 0.75)
ABOVE_CHANCE = 3  # times chance: a lower level says nothing


@dataclass(frozen=True)
class Config:
    plan: Plan = Plan(steps=600)
    looks: tuple[int, ...] = (25, 50, 75, 100, 150, 200, 250, 300, 400, 500, 600)
    copies: int = 8  # pictures of each held-out combination


@dataclass(frozen=True)
class Learner:
    """A way to learn from captions: what it minimises, and how it scores texts for pictures."""

    module: nn.Module  # all that is trained; its image tower is the encoder's
    loss: Callable[[Batch], Tensor]
    scores: Callable[[Tensor, Tensor], Tensor]  # image vectors, tokens -> (pictures, texts)


def contrast_learner(encoder: DualEncoder) -> Learner:
    """CLIP: the cosine of picture and text."""
    towers = Towers(encoder.model)

    def loss(batch: Batch) -> Tensor:
        tokens = encoder.tokenizer(batch.captions)
        return contrast(towers(pixels(encoder, batch), tokens), batch)

    def scores(vectors: Tensor, tokens: Tensor) -> Tensor:
        texts = encoder.model.encode_text(tokens)
        return F.normalize(vectors, dim=-1) @ F.normalize(texts, dim=-1).T

    return Learner(towers, loss, scores)


def words_learner(encoder: DualEncoder) -> Learner:
    """Bag of words: the sum of the logarithms of the words' probabilities."""
    tokenizer, model = vocabulary(), encoder.model
    head = WordsHead(encoder.embed_dim, len(tokenizer))

    def bag(tokens: Tensor) -> Tensor:
        return bag_of_words(tokens, len(tokenizer), tokenizer.start, tokenizer.end)

    def loss(batch: Batch) -> Tensor:
        vectors = model.encode_image(pixels(encoder, batch))
        return words_loss(head(vectors), bag(tokenizer(batch.captions)))

    module = nn.ModuleDict({"visual": model.visual, "head": head})
    return Learner(module, loss, lambda vectors, tokens: words_scores(head(vectors), bag(tokens)))


def captions_learner(encoder: DualEncoder) -> Learner:
    """A caption model: the logarithm of the caption's probability, word after word."""
    captioner = Captioner(encoder.model)

    def loss(batch: Batch) -> Tensor:
        tokens = encoder.tokenizer(batch.captions)
        logits = captioner(pixels(encoder, batch), tokens).logits
        return nats_per_token(logits, tokens, captioner.text.config.end_token)

    def scores(vectors: Tensor, tokens: Tensor) -> Tensor:
        return caption_scores(captioner, vectors, tokens)

    return Learner(captioner, loss, scores)


LEARNERS = {"contrast": contrast_learner, "words": words_learner, "captions": captions_learner}


def measure(config: Config, seed: int) -> dict[str, Any]:
    """Three heads on the same untrained image tower, on the same batches in the same order."""
    curves = {}
    for name, make in LEARNERS.items():
        encoder = new_model(seed=seed)
        encoder.model.to(memory_format=torch.channels_last).train()  # pyright: ignore
        curves[name] = _curve(encoder, make(encoder), config, seed)
    return curves | {"pairs": [step * config.plan.batch for step in config.looks]}


def _curve(encoder: DualEncoder, learner: Learner, config: Config, seed: int) -> list[float]:
    """Train, and measure zero-shot accuracy on unseen combinations at each look."""
    data = ShapesPairs(config.plan.batch, SIZE, seed)
    test = shapes_test(config.copies, SIZE, seed)
    pictures = pixels(encoder, Batch(test.pictures, test.captions))
    tokens = encoder.tokenizer(test.captions)
    accuracies = []

    @torch.inference_mode()
    def look(_step: int) -> None:
        scores = learner.scores(encoder.model.encode_image(pictures), tokens)
        ranks = rank_of_target(scores, test.targets)
        accuracies.append(Accuracy.of_ranks(ranks, len(test.captions)).top1)

    learn(
        learner.module, lambda step: learner.loss(data.batch(step)), config.plan, look, config.looks
    )
    return accuracies


def pairs_to_reach(level: float, pairs: Sequence[float], accuracies: Sequence[float]) -> float:
    """How many pairs it took to get to `level` for the first time; linear between two looks.

    All pairs where it never did: then it is a lower bound. Before the first pair accuracy is 0.
    """
    seen, was = 0.0, 0.0
    for now, accuracy in zip(pairs, accuracies, strict=True):
        if accuracy >= level:
            return seen + (now - seen) * (level - was) / (accuracy - was)
        seen, was = now, accuracy
    return pairs[-1]


def times_as_many(measured: Measured, one: str, other: str) -> Interval:
    """Of the logarithm of the pairs that `one` needs for each pair that `other` needs.

    To get to a quarter, a half and three quarters of the lesser final accuracy of the two, each
    seed its own: the mean of the three logarithms.
    """
    logs = []
    for pairs, a, b in zip(measured["pairs"], measured[one], measured[other], strict=True):
        levels = [max(part * min(a[-1], b[-1]), ABOVE_CHANCE / CLASSES) for part in LEVELS]
        ratios = [pairs_to_reach(x, pairs, a) / pairs_to_reach(x, pairs, b) for x in levels]
        logs.append(float(np.log(ratios).mean()))
    return interval(logs)


def judge(measured: Measured) -> Verdict:
    """Holds where the caption model needs more pairs than the contrast, and words lie between.

    In part where only the first is so. A head that never gets to three times chance counts with
    all pairs it saw, which is a lower bound.
    """
    effects = {
        "log pairs, caption model to contrast": times_as_many(measured, "captions", "contrast"),
        "log pairs, bag of words to contrast": times_as_many(measured, "words", "contrast"),
        "log pairs, caption model to bag of words": times_as_many(measured, "captions", "words"),
    }
    slower = [effect.above_zero for effect in effects.values()]
    word = (HOLDS if all(slower) else IN_PART) if slower[0] else FAILS
    captions, words, _ = effects.values()
    finals = ", ".join(
        f"{name} {interval(measured[key][:, -1]).percent()}" for key, name in NAMES.items()
    )
    bound = " (at least: it never got far enough)" if _never(measured) else ""
    because = (
        f"To equal accuracy on unseen combinations the caption model needs {_times(captions)} as "
        f"many pairs as the contrast{bound}, the bag of words {_times(words)}. After all pairs: "
        f"{finals}; chance is {100 / CLASSES:.1f} %."
    )
    return Verdict(word, because, effects)


def _never(measured: Measured) -> bool:
    return bool((measured["captions"].max(axis=1) < ABOVE_CHANCE / CLASSES).any())


def _times(log: Interval) -> str:
    """ "×3.10 (2.50 to 3.90)"."""
    mean, low, high = (math.exp(min(x, 700)) for x in (log.mean, log.low, log.high))
    reach = "one seed" if log.seeds == 1 else f"{low:.2f} to {high:.2f}"
    return f"×{mean:.2f} ({reach})"


@in_style
def draw_figure(measured: Measured) -> "Figure":
    figure, (axis,) = canvas()
    pairs = measured["pairs"][0]
    for series, (key, name) in enumerate(NAMES.items()):
        curve(axis, pairs, measured[key], name, series)
    axis.set_xscale("log")
    _thousands(axis, pairs)
    chance(axis, 100 / CLASSES)
    axis.set(
        xlabel="pairs seen",
        ylabel="accuracy on unseen combinations (%)",
        ylim=(0, 100),
        title="Which objective learns names from the fewest pairs?",
    )
    axis.legend(loc="upper left", fontsize=9)
    tested = f"{CLASSES * measured.config['copies']} pictures, {CLASSES} captions"
    return finish(figure, measured, f"Curves. {judge(measured).because}", tested)


def _thousands(axis: Any, pairs: np.ndarray) -> None:
    """Ticks at doublings, in plain numbers."""
    ticks = [pairs[0] * 2**i for i in range(int(math.log2(pairs[-1] / pairs[0])) + 1)]
    axis.set_xticks(ticks, [f"{tick:,.0f}" for tick in ticks])
    axis.minorticks_off()


EXPERIMENT = Experiment(
    number=1,
    name="objectives",
    claim=(
        "Contrast learns names from fewer pairs than predicting the words, and that from fewer "
        "than predicting the caption"
    ),
    source="CLIP paper (arXiv 2103.00020), section 2.3 and figure 2; note 001",
    published="12x (contrast), 3x (bag of words), 1x (caption model) to equal ImageNet accuracy",
    plain=(
        "Three small heads learn on the same untrained image tower, from the same pairs in the "
        "same order: CLIP's contrast with a text tower, a softmax over the caption's words, and a "
        "decoder that says the caption word by word (the same text tower with a layer on top that "
        "sees the picture). On the way each is asked which of 44 captions fits a picture of a "
        "combination that it never saw. Compared are the pairs that two of them need to get to a "
        "quarter, a half and three quarters of the accuracy at which the worse of them ends, read "
        "along one training each (a geometric mean)."
    ),
    quick=Config(plan=Plan(steps=250), looks=(25, 50, 75, 100, 150, 200, 250), copies=4),
    full=Config(),
    measure=measure,
    judge=judge,
    draw=draw_figure,
)
