"""Claim 28: one model can contrast and caption; what each of the two losses costs the other."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from clip_lab.data.batch import Batch
from clip_lab.data.shapes import ShapesPairs, shapes_test
from clip_lab.dual_encoder import DualEncoder
from clip_lab.evaluation.accuracy import Accuracy, rank_of_target
from clip_lab.experiments.drawing import bars, canvas, chance, finish, in_style
from clip_lab.experiments.experiment import Experiment
from clip_lab.experiments.learning import Plan, contrast, learn, pixels
from clip_lab.experiments.result import FAILS, HOLDS, IN_PART, Measured, Verdict
from clip_lab.experiments.world import SIZE, new_model
from clip_lab.heads import Captioner, caption_scores, nats_per_token
from clip_lab.training.towers import Features

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLASSES = 44
COST = 0.05  # more than that, in accuracy or in nats a token, one loss must not cost the other


@dataclass(frozen=True)
class Config:
    plan: Plan = Plan(steps=600)
    # Of the contrast and of the captions: CoCa's own are 1 and 2 (arXiv 2205.01917, section 4).
    weights: tuple[float, float] = (1.0, 2.0)
    copies: int = 8  # pictures of each held-out combination
    unseen: int = 1000  # pairs on which the captioning loss is measured


def measure(config: Config, seed: int) -> dict[str, Any]:
    """One model with each loss alone and one with both, on the same pairs from the same start."""
    both = config.weights
    runs = {"contrast": (both[0], 0.0), "captions": (0.0, both[1]), "both": both}
    measured = {}
    for name, weights in runs.items():
        encoder = new_model(seed=seed)
        captioner = _train(encoder, weights, config.plan, seed)
        measured |= {f"{name}_{key}": value for key, value in _tests(
            encoder, captioner, config, seed
        ).items()}  # fmt: skip
    return measured


def _train(encoder: DualEncoder, weights: tuple[float, float], plan: Plan, seed: int) -> Captioner:
    captioner = Captioner(encoder.model.to(memory_format=torch.channels_last))  # pyright: ignore
    captioner.train()
    data = ShapesPairs(plan.batch, SIZE, seed)

    def loss(step: int) -> Tensor:
        return two_losses(encoder, captioner, data.batch(step), weights)

    learn(captioner, loss, plan)
    captioner.eval()
    return captioner


def two_losses(
    encoder: DualEncoder, captioner: Captioner, batch: Batch, weights: tuple[float, float]
) -> Tensor:
    """λ_con · contrast + λ_cap · nats per token (CoCa, equation 4); one pass of each tower."""
    tokens = encoder.tokenizer(batch.captions)
    captioned = captioner(pixels(encoder, batch), tokens)
    features = Features(
        F.normalize(captioned.images, dim=-1),
        F.normalize(captioned.texts, dim=-1),
        captioner.model.logit_scale,
    )
    spoken = nats_per_token(captioned.logits, tokens, captioner.text.config.end_token)
    return weights[0] * contrast(features, batch) + weights[1] * spoken


@torch.inference_mode()
def _tests(
    encoder: DualEncoder, captioner: Captioner, config: Config, seed: int
) -> dict[str, float]:
    """Accuracy by cosine and by the captions' probability, and the captioning loss."""
    test = shapes_test(config.copies, SIZE, seed)
    tokens = encoder.tokenizer(test.captions)
    vectors = encoder.model.encode_image(pixels(encoder, Batch(test.pictures, test.captions)))
    texts = F.normalize(encoder.model.encode_text(tokens), dim=-1)
    by_cosine = rank_of_target(F.normalize(vectors, dim=-1) @ texts.T, test.targets)
    by_words = rank_of_target(caption_scores(captioner, vectors, tokens), test.targets)
    unseen = ShapesPairs(config.unseen, SIZE, seed=10_000 + seed).batch(0)
    said = encoder.tokenizer(unseen.captions)
    logits = captioner(pixels(encoder, unseen), said).logits
    return {
        "cosine": Accuracy.of_ranks(by_cosine, len(tokens)).top1,
        "likelihood": Accuracy.of_ranks(by_words, len(tokens)).top1,
        "nats": nats_per_token(logits, said, captioner.text.config.end_token).item(),
    }


def judge(measured: Measured) -> Verdict:
    """Holds where the model with both losses is as good at each as the one with that loss alone.

    As good: at most 5 points less accurate by cosine, and at most 0.05 nats a token worse at
    captions, the whole interval of each. In part where only one of the two is so.
    """
    accuracy = measured.difference("both_cosine", "contrast_cosine")
    nats = measured.difference("both_nats", "captions_nats")
    kept = [accuracy.low >= -COST, nats.high <= COST]
    word = HOLDS if all(kept) else IN_PART if any(kept) else FAILS
    because = (
        f"With both losses {measured.mean('both_cosine').percent()} are right by cosine, "
        f"{accuracy.points()} against the contrast alone; chance is {100 / CLASSES:.1f} %. A token "
        f"of an unseen caption costs {measured.mean('both_nats').number(3)} nats, "
        f"{nats.number(3)} more than with captions alone."
    )
    effects = {"accuracy, both less contrast": accuracy, "nats, both less captions": nats}
    return Verdict(word, because, effects)


@in_style
def draw_figure(measured: Measured) -> "Figure":
    figure, axes = canvas(2, width=9.5, height=4.4)
    columns = {
        "one loss alone": measured.columns("contrast_cosine", "captions_likelihood"),
        "both losses": measured.columns("both_cosine", "both_likelihood"),
    }
    bars(axes[0], ("contrast: by cosine", "captions: by log p"), columns)
    chance(axes[0], 100 / CLASSES)
    axes[0].set(
        ylabel="accuracy on unseen combinations (%)",
        xlim=(-0.6, 1.85),  # room for the word "chance"
        ylim=(0, 105),
        title="What do two losses cost each other?",
    )
    nats = {
        "captions alone": measured.columns("captions_nats"),
        "both losses": measured.columns("both_nats"),
    }
    bars(axes[1], ("captioning",), nats, times=1, form="{:.2f}")
    axes[1].set(ylabel="nats per token (lower is better)", title="Loss on unseen captions")
    axes[1].margins(y=0.15)
    tested = (
        f"{CLASSES * measured.config['copies']} pictures, {CLASSES} captions; "
        f"{measured.config['unseen']:,} unseen pairs"
    )
    return finish(figure, measured, f"Bars. {judge(measured).because}", tested)


EXPERIMENT = Experiment(
    number=28,
    name="contrast_and_caption",
    claim="One model can contrast and caption",
    source="CoCa, Yu et al. 2022 (arXiv 2205.01917), section 3.2; note 000",
    published="86.3 % zero-shot on ImageNet, with captions from the same model (abstract)",
    plain=(
        "Three models start alike and see the same pairs: one is trained by CLIP's contrast, one "
        "to predict captions word by word, one by both losses at once with CoCa's weights, 1 and "
        "2. The text tower reads the words for both; a layer above it sees the picture's vector. "
        "Each is then asked for the right one of 44 captions, by cosine and by the caption's "
        "probability, and for the loss on unseen captions."
    ),
    quick=Config(plan=Plan(steps=250), copies=4, unseen=500),
    full=Config(),
    measure=measure,
    judge=judge,
    draw=draw_figure,
)
