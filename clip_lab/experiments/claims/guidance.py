"""Claim 25: CLIP can guide generation."""

from dataclasses import dataclass, replace
from random import Random
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Generator, Tensor, nn
from torch.nn import functional as F

from clip_lab.data.scene import COLOURS, SHAPES, SIZES, Scenes, concatenate
from clip_lab.data.shape_captions import captions, plain_caption
from clip_lab.data.shape_drawing import draw, paint
from clip_lab.data.shape_sampling import combination_names, sample_scenes, training_weights
from clip_lab.dual_encoder import DualEncoder
from clip_lab.experiments.drawing import bars, finish, in_style
from clip_lab.experiments.experiment import Experiment
from clip_lab.experiments.learning import Plan, learn
from clip_lab.experiments.result import FAILS, HOLDS, IN_PART, Measured, Verdict
from clip_lab.experiments.world import BASE, SIZE, Shared
from clip_lab.interpret.ascent import Drawings, ascend, sketch_of
from clip_lab.view.figures import empty_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

EVERYTHING = combination_names(torch.ones(len(SHAPES), len(COLOURS), len(SIZES), dtype=torch.bool))
CAPTIONS = [plain_caption(*combination) for combination in EVERYTHING]  # all 396
EXAMPLES = 6


@dataclass(frozen=True)
class Config:
    model: Shared = BASE
    wished: int = 40  # captions to draw
    steps: int = 80
    starts: int = 2
    pairs: int = 15_000  # that the prior learns from
    prior: Plan = Plan(steps=2000, batch=256, learning_rate=2e-3, warmup=100)


def measure(config: Config, seed: int) -> dict[str, Any]:
    """Draw by one model's gradient, and let the next seed's model say what was drawn."""
    guide, other = config.model.encoder(seed), config.model.encoder(seed + 1)
    return {**_guidance(guide, other, config, seed), **_prior(guide, config, seed)}


# -- uphill through the drawing -------------------------------------------------------------------


def _guidance(guide: DualEncoder, other: DualEncoder, config: Config, seed: int) -> dict[str, Any]:
    """Drawings moved uphill, and for comparison the best of those that they started from."""
    wished = torch.randperm(len(CAPTIONS), generator=Generator().manual_seed(seed))[: config.wished]
    texts = [CAPTIONS[i] for i in wished]
    every = other.encode_texts(CAPTIONS)
    measured: dict[str, Any] = {"texts": texts[:EXAMPLES]}
    for name, steps in (("chosen", 0), ("guided", config.steps)):
        dice = Generator().manual_seed(seed)  # the same starts
        drawings = ascend(guide, texts, dice, config.starts, steps)
        seen = other.encode_images(paint(drawings.sketch(), SIZE), batch_size=256)
        named = (seen @ every.T).argmax(dim=1)
        true = zip(drawings.attributes(), (EVERYTHING[i] for i in wished), strict=True)
        right = torch.tensor([[a == b for a, b in zip(*both, strict=True)] for both in true])
        measured |= {
            f"{name}_named": (named == wished).double().mean().item(),
            f"{name}_attributes": right.double().mean(dim=0).tolist(),
            f"{name}_all": right.all(dim=1).double().mean().item(),
            f"{name}_cosine": drawings.cosines.double().mean().item(),
            f"{name}_examples": _examples(drawings),
        }
    return measured


def _examples(drawings: Drawings) -> list[list[float]]:
    """The first drawings' numbers, then their two choices: enough to paint them again."""
    rows = torch.cat([drawings.numbers, drawings.choices], dim=1)[:EXAMPLES]
    return [[round(number, 3) for number in row] for row in rows.tolist()]


# -- a prior: from a text's vector to a picture's -------------------------------------------------


class Prior(nn.Module):
    """Text vectors to the picture vectors that belong to them.

    DALL-E 2's second stage (Ramesh et al. 2022, arXiv 2204.06125, 2.2) predicts the picture's
    vector itself with squared error, through a transformer and in many denoising steps. Here it is
    one step of a two-layer network, so it gives the mean of the pictures that a text allows.
    """

    def __init__(self, width: int):
        super().__init__()
        self.change = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, texts: Float[Tensor, "texts width"]) -> Float[Tensor, "texts width"]:
        return texts + self.change(texts)


def _prior(encoder: DualEncoder, config: Config, seed: int) -> dict[str, float]:
    """Which finds the picture of a combination among all 396: the text's vector or the prior's?"""
    dice = Generator().manual_seed(seed)
    scenes = sample_scenes(config.pairs, dice, weights=training_weights())
    texts = encoder.encode_texts(captions(scenes, Random(seed)))
    pictures = encoder.encode_images(draw(scenes, SIZE), batch_size=256)
    torch.manual_seed(seed)
    prior = Prior(encoder.embed_dim)

    def loss(step: int) -> Tensor:
        rows = torch.randint(len(texts), (config.prior.batch,), generator=dice)
        return F.mse_loss(prior(texts[rows]), pictures[rows]) * encoder.embed_dim

    learn(prior, loss, config.prior)
    gallery = encoder.encode_images(draw(one_of_each(dice), SIZE), batch_size=256)
    asked = encoder.encode_texts(CAPTIONS)
    with torch.no_grad():
        imagined = F.normalize(prior(asked), dim=-1)
    measured = {}
    for name, vectors in (("text", asked), ("prior", imagined)):
        cosines = vectors @ gallery.T
        found = cosines.argmax(dim=1) == torch.arange(len(gallery))
        measured[f"{name}_cosine"] = cosines.diagonal().double().mean().item()
        measured[f"{name}_found"] = found.double().mean().item()
    return measured


def one_of_each(generator: Generator) -> Scenes:
    """A scene of every combination, in EVERYTHING's order; one in nine was never trained on.

    Where an object fits and on what it stands out depends on colour and size alone: the shapes of
    one colour and size are sampled together.
    """
    parts, every = [], torch.arange(len(SHAPES))
    for place in range(len(COLOURS) * len(SIZES)):
        only = torch.zeros(len(COLOURS) * len(SIZES))
        only[place] = 1
        weights = only.reshape(1, len(COLOURS), len(SIZES)).expand(len(SHAPES), -1, -1)
        alike = sample_scenes(len(SHAPES), generator, weights=weights)
        parts.append(replace(alike, shape=every[:, None]))
    order = torch.arange(len(EVERYTHING)).unflatten(0, (-1, len(SHAPES))).T.flatten()
    return concatenate(parts)[order]


def judge(measured: Measured) -> Verdict:
    """Holds where the gradient and the prior both help.

    The gradient: more drawings are named rightly by another model, and more have all three true
    attributes, than of the random drawings that the same model chose best. The prior: its vector
    lies nearer to the picture's than the text's does. In part where only one of them helps.
    """
    named = measured.difference("guided_named", "chosen_named")
    true = measured.difference("guided_all", "chosen_all")
    nearer = measured.difference("prior_cosine", "text_cosine")
    found = measured.difference("prior_found", "text_found")
    helps = [named.above_zero and true.above_zero, nearer.above_zero]
    word = HOLDS if all(helps) else IN_PART if any(helps) else FAILS
    because = (
        f"Another model gives {measured.mean('guided_named').percent()} of the guided drawings the "
        f"wished caption of 396, and {measured.mean('chosen_named').percent()} of the best random "
        f"ones: {named.points()}. Shape, colour and size are all true in "
        f"{measured.mean('guided_all').percent()}, {true.points()}. The prior's cosine with the "
        f"picture is {measured.mean('prior_cosine').number()}, the text's "
        f"{measured.mean('text_cosine').number()}; it finds {found.points()} more pictures."
    )
    effects = {"named, guided less chosen": named, "true": true, "cosine": nearer, "found": found}
    return Verdict(word, because, effects)


@in_style
def draw_figure(measured: Measured) -> "Figure":
    figure = empty_figure((11, 7.6))
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(1, 1.05))[:, 0]
    rows = (("best of\nrandom", "chosen"), ("moved\nuphill", "guided"))
    grid = above.subplots(2, EXAMPLES, squeeze=False)
    for row, (name, key) in enumerate(rows):
        pictures = _painted(measured[f"{key}_examples"][0])
        grid[row][0].set_ylabel(name)
        for axis, picture in zip(grid[row], pictures, strict=True):
            axis.imshow(picture)
            axis.set(xticks=[], yticks=[])
    for axis, text in zip(grid[0], measured["texts"][0], strict=True):
        size, thing = text.rsplit(" ", 2)[0], text.split(" ", 2)[2]
        axis.set_title(f"{size}\n{thing}", fontsize=9, fontweight="normal")
    above.suptitle("Can CLIP's gradient draw what a caption says? (first seed)", size=11)
    left, middle, right = below.subplots(1, 3, width_ratios=(2.2, 1, 1))
    groups = {
        label: np.hstack(
            [measured[f"{key}_attributes"], measured.columns(f"{key}_all", f"{key}_named")]
        )
        for label, key in (("best of random", "chosen"), ("moved uphill", "guided"))
    }
    bars(left, ("shape", "colour", "size", "all three", "another\nmodel agrees"), groups)
    left.set(ylabel="as wished (%)", ylim=(0, 109), title="Is it what the text says?")
    cosines = measured.columns("text_cosine", "prior_cosine")
    bars(middle, ("text", "prior"), {"": cosines}, times=1, form="{:.2f}")
    middle.set(ylabel="cosine with the picture", ylim=(0, 1.08), title="The prior: how near")
    bars(right, ("text", "prior"), {"": measured.columns("text_found", "prior_found")})
    right.set(ylabel="right picture of 396 found (%)", ylim=(0, 109), title="What it finds")
    words = f"Drawings before and after, and bars. {judge(measured).because}"
    wished = measured.config["wished"]
    tested = f"{wished} captions drawn; chance: shape 8, colour 9, size 33, one of 396 0.3 %"
    return finish(figure, measured, words, tested)


def _painted(rows: list[list[float]]) -> Any:
    numbers = torch.tensor(rows)
    sketch = sketch_of(numbers[:, :-2], numbers[:, -2:].long())
    return paint(sketch, 4 * SIZE).permute(0, 2, 3, 1).numpy()


EXPERIMENT = Experiment(
    number=25,
    name="guidance",
    claim="CLIP can guide generation",
    source="notes 002, 003, 004; DALL-E 2 (Ramesh et al. 2022, arXiv 2204.06125)",
    published="no figure in the notes",
    plain=(
        "Random drawings of one shape are moved uphill on their similarity with a caption such as "
        "“a large red circle”: place, size, tilt and colour follow the gradient through the "
        "drawing, the shape is found by trying all twelve. They are compared with the best of the "
        "random drawings as they were, by their true attributes and by the caption that a model of "
        "another seed chooses among all 396. Then a prior: a small network learns to turn a text's "
        "vector into its picture's. No picture is generated from it, and no generator conditioned "
        "on the text's token states is trained here."
    ),
    quick=Config(
        model=BASE,  # a third of its training leaves shapes unlearnt, and nothing to be guided by
        wished=16,
        steps=60,
        pairs=5000,
        prior=Plan(steps=800, batch=256, learning_rate=2e-3, warmup=100),
    ),
    full=Config(),
    measure=measure,
    judge=judge,
    draw=draw_figure,
)
