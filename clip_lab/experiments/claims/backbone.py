"""Claim 26: CLIP's features carry other tasks: segmenting, captioning, filtering, recommending."""

from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Any

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from clip_lab.data.scene import COLOURS, SHAPES, TEXTURES, Scenes
from clip_lab.data.shape_captions import captions, plain_caption, with_article
from clip_lab.data.shape_drawing import draw, masks
from clip_lab.data.shape_sampling import sample_scenes, training_weights
from clip_lab.dual_encoder import DualEncoder
from clip_lab.experiments import scene_tests
from clip_lab.experiments.caption_head import says, text_tower, train_head
from clip_lab.experiments.drawing import bars, canvas, finish, in_style
from clip_lab.experiments.experiment import Experiment
from clip_lab.experiments.learning import Plan
from clip_lab.experiments.result import (
    FAILS,
    HOLDS,
    IN_PART,
    Interval,
    Measured,
    Verdict,
    interval,
)
from clip_lab.experiments.world import FINE, SIZE, Shared
from clip_lab.heads.saying import say
from clip_lab.interpret.heat_maps import raw_similarity, surgery
from clip_lab.interpret.segmentation import NOTHING, best_threshold, mean_iou, segment

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LABELS = {
    "colours": [with_article(f"{colour} shape") for colour in COLOURS],
    "shapes": [with_article(shape) for shape in SHAPES],
}
NAMES = [with_article(f"{colour} {shape}") for shape in SHAPES for colour in COLOURS]
LIKED = 5  # captions that a taste is told by
TOP = 10  # recommendations


@dataclass(frozen=True)
class Config:
    model: Shared = FINE
    head: Plan = Plan(steps=1500, learning_rate=4e-3, warmup=50)
    captioned: int = 8000  # pairs that the caption head learns from
    pictures: int = 600  # of each test, and as many others to find thresholds on


def measure(config: Config, seed: int) -> dict[str, Any]:
    """Four tasks on one model, whose weights stay as the contrast left them."""
    encoder = config.model.encoder(seed)
    return {
        **_segmentation(encoder, config.pictures, seed),
        **_captioning(encoder, config, seed),
        **_filtering(encoder, config.pictures, seed),
        **_recommending(encoder, config.pictures, seed),
    }


def _singles(count: int, seed: int, part: int) -> Scenes:
    """Single objects; each part of a seed holds others."""
    generator = Generator().manual_seed(100 * (seed + 1) + part)
    return sample_scenes(count, generator, weights=training_weights())


# -- segmentation by words ------------------------------------------------------------------------


def _segmentation(encoder: DualEncoder, count: int, seed: int) -> dict[str, float]:
    """Mean IoU over 11 colour words and over 12 shape words, in pictures of two objects.

    Chance: the same maps, each with the words dealt out anew.
    """
    scenes = scene_tests.pairs(2 * count, seed)
    drawn, generator = draw(scenes, SIZE), Generator().manual_seed(seed)
    measured = {}
    for kind, truth in (("colours", scenes.colour), ("shapes", scenes.shape)):
        labelled, labels = truth_of(scenes, truth), LABELS[kind]
        for name, method in (("raw", raw_similarity), ("surgery", surgery)):
            maps = method(encoder, drawn, labels)
            cut = best_threshold(maps[:count], labelled[:count])
            found = segment(maps[count:], SIZE, cut)
            measured[f"{kind}_{name}"] = mean_iou(found, labelled[count:], len(labels))
        deals = torch.stack([torch.randperm(len(labels), generator=generator) for _ in found])
        places = torch.arange(len(found))[:, None, None]
        dealt = torch.where(found == NOTHING, NOTHING, deals[places, found.clamp(min=0)])
        measured[f"{kind}_chance"] = mean_iou(dealt, labelled[count:], len(labels))
    return measured


def truth_of(scenes: Scenes, attribute: Tensor) -> Tensor:
    """Each pixel's true label: its object's colour or shape, or NOTHING."""
    outlines = masks(scenes, SIZE)  # (B, objects, S, S), at most one of them true
    values = (outlines * (attribute[:, :, None, None] + 1)).sum(dim=1)
    return values + NOTHING


# -- a caption head -------------------------------------------------------------------------------


def _captioning(encoder: DualEncoder, config: Config, seed: int) -> dict[str, float]:
    """Captions by a head that sees the picture's vector, and by one that sees nothing.

    They learn one phrasing, "a small red circle", so that a few hundred steps are enough. What the
    vectors tell is seen beside it: the nearest of 132 names, chosen by CLIP's own text tower.
    """
    learnt, test = _singles(config.captioned, seed, 0), _singles(config.pictures, seed, 1)
    vectors = encoder.encode_images(draw(learnt, SIZE), batch_size=256)
    tokens = encoder.tokenizer(
        [plain_caption(thing.shape, thing.colour, thing.size) for (thing,) in learnt.things()]
    )
    seen = encoder.encode_images(draw(test, SIZE), batch_size=256)
    named = (seen @ encoder.encode_texts(NAMES).T).argmax(dim=1)
    true = test.shape[:, 0] * len(COLOURS) + test.colour[:, 0]
    measured = {"captions_nearest": (named == true).double().mean().item()}
    # Times √width, a unit vector's channels are of the size that a layer expects.
    for name, times in (("seeing", encoder.embed_dim**0.5), ("blind", 0.0)):
        head = train_head(encoder, times * vectors, tokens, config.head, seed)
        said = say(head, text_tower(encoder), times * seen[:, None], int(tokens[0, 0]))
        texts = [encoder.tokenizer.decode(row) for row in said.tolist()]
        right = [says(text, thing) for text, (thing,) in zip(texts, test.things(), strict=True)]
        measured[f"captions_{name}"] = sum(right) / len(right)
    return measured


# -- a filter and a recommender made of words -----------------------------------------------------


def _filtering(encoder: DualEncoder, count: int, seed: int) -> dict[str, float]:
    """Precision and recall of "is it striped?" and "is it red?", the threshold from elsewhere."""
    scenes = _singles(2 * count, seed, 2)
    vectors = encoder.encode_images(draw(scenes, SIZE), batch_size=256)
    measured = {}
    for word, column, names in (
        ("striped", scenes.texture, TEXTURES),
        ("red", scenes.colour, tuple(COLOURS)),
    ):
        likeness = vectors @ encoder.encode_texts([f"a {word} shape"])[0]
        true = column[:, 0] == names.index(word)
        cuts = likeness[:count].sort().values
        best = max(cuts, key=lambda cut: f1(likeness[:count] >= cut, true[:count])[2])
        precision, recall, score = f1(likeness[count:] >= best, true[count:])
        everything = f1(torch.ones(count, dtype=torch.bool), true[count:])
        measured |= {
            f"{word}_precision": precision,
            f"{word}_recall": recall,
            f"{word}_share": everything[0],
            f"{word}_f1": score,
            f"{word}_blind_f1": everything[2],
        }
    return measured


def f1(flagged: Tensor, true: Tensor) -> tuple[float, float, float]:
    """Precision, recall, and their harmonic mean; 0 where nothing is flagged or nothing is true."""
    hits = (flagged & true).sum().item()
    precision, recall = hits / max(flagged.sum().item(), 1), hits / max(true.sum().item(), 1)
    return precision, recall, 2 * hits / max(flagged.sum().item() + true.sum().item(), 1)


def _recommending(encoder: DualEncoder, count: int, seed: int) -> dict[str, float]:
    """Of the ten scenes nearest to the mean of a few liked captions, the share that is liked.

    A taste is one colour or one shape, which the captions needn't even name. No picture is needed
    to tell a taste: the profile is made of text alone.
    """
    read, offered = _singles(2 * count, seed, 3), _singles(count, seed, 4)
    texts = encoder.encode_texts(captions(read, Random(seed)))
    pictures = encoder.encode_images(draw(offered, SIZE), batch_size=256)
    shares, randoms = [], []
    for attribute in ("colour", "shape"):
        told, true = getattr(read, attribute)[:, 0], getattr(offered, attribute)[:, 0]
        for taste in told.unique():
            liked = (told == taste).nonzero()[:LIKED, 0]
            profile = F.normalize(texts[liked].mean(dim=0), dim=0)
            best = (pictures @ profile).topk(TOP).indices
            shares.append((true[best] == taste).double().mean().item())
            randoms.append((true == taste).double().mean().item())
    return {
        "recommended": sum(shares) / len(shares),
        "recommended_chance": sum(randoms) / len(randoms),
    }


def judge(measured: Measured) -> Verdict:
    """Holds where all four tasks do better than the same without the picture or the text.

    Segmentation by surgery's maps, both kinds of words, against words dealt out at random;
    captions against a head that sees nothing; F1 of both filters against flagging everything;
    recommendations against random ones. In part where some do; not where none does.
    """

    def gain(ours: tuple[str, ...], chance: tuple[str, ...]) -> Interval:
        return interval((measured.columns(*ours) - measured.columns(*chance)).mean(axis=1))

    effects = {
        "segmentation": gain(
            ("colours_surgery", "shapes_surgery"), ("colours_chance", "shapes_chance")
        ),
        "captions": gain(("captions_seeing",), ("captions_blind",)),
        "filter": gain(("striped_f1", "red_f1"), ("striped_blind_f1", "red_blind_f1")),
        "recommender": gain(("recommended",), ("recommended_chance",)),
    }
    better = [effect.above_zero for effect in effects.values()]
    word = HOLDS if all(better) else IN_PART if any(better) else FAILS
    because = (
        f"Above chance by: segmentation {effects['segmentation'].points()} of mean IoU; captions "
        f"with the right colour and shape {effects['captions'].points()}; filters "
        f"{effects['filter'].points()} of F1; precision of ten recommendations "
        f"{effects['recommender'].points()}."
    )
    return Verdict(word, because, effects)


@in_style
def draw_figure(measured: Measured) -> "Figure":
    figure, (one, two, three, four) = canvas(4, width=13.5, height=4.4)
    kinds = tuple(LABELS)
    groups = {
        name: measured.columns(*(f"{kind}_{key}" for kind in kinds))
        for name, key in (("raw", "raw"), ("surgery", "surgery"), ("words shuffled", "chance"))
    }
    bars(one, [f"11 {kinds[0]}", f"12 {kinds[1]}"], groups)
    one.set(ylabel="mean IoU (%)", title="Segmenting by words")
    shares = measured.columns("captions_seeing", "captions_blind", "captions_nearest")
    bars(two, ("head sees\npicture", "head sees\nnothing", "nearest\nof 132"), {"": shares})
    two.set(ylabel="right colour and shape (%)", title="Captions, both towers frozen")
    filters = {
        name: measured.columns(*(f"{word}_{name}" for word in ("striped", "red")))
        for name in ("precision", "recall", "share")
    }
    filters["share of all"] = filters.pop("share")
    bars(three, ("“a striped shape”", "“a red shape”"), filters)
    three.set(ylabel="of flagged, of true, of all (%)", title="A filter told in words")
    shares = measured.columns("recommended", "recommended_chance")
    bars(four, (f"by {LIKED} liked captions", "at random"), {"": shares})
    four.set(ylabel=f"liked among {TOP} shown (%)", title="Recommending from text")
    for axis in (one, two, three, four):
        axis.set_ylim(0, 109)
    words = f"Four panels of bars. {judge(measured).because}"
    return finish(figure, measured, words, f"{measured.config['pictures']:,} pictures a test")


EXPERIMENT = Experiment(
    number=26,
    name="backbone",
    claim="CLIP's features serve as a backbone: open-vocabulary segmentation, captions, retrieval, "
    "moderation, recommendation",
    source="notes 002, 003, 004; LSeg (arXiv 2201.03546), BLIP-2 (arXiv 2301.12597), LLaVA "
    "(arXiv 2304.08485)",
    published="no figure in the notes",
    plain=(
        "One small CLIP, left as the contrast made it, does four other jobs. Every pixel gets the "
        "word whose heat map is highest there. A projector and one block between the frozen towers "
        "learn to write captions. A sentence and a threshold found on other pictures make a "
        "filter. The mean vector of five liked captions recommends pictures. Each is compared with "
        "the same job done without the picture, or without the words."
    ),
    quick=Config(
        model=FINE.quick(),
        head=Plan(steps=600, learning_rate=4e-3, warmup=50),
        captioned=4000,
        pictures=300,
    ),
    full=Config(),
    measure=measure,
    judge=judge,
    draw=draw_figure,
)
