"""Claim 23: CLIP Surgery finds things in a picture better than raw similarity does."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor

from clip_lab.data.scene import COLOURS, SHAPES, Scenes
from clip_lab.data.shape_captions import with_article
from clip_lab.data.shape_drawing import draw, masks
from clip_lab.dual_encoder import DualEncoder
from clip_lab.experiments import scene_tests
from clip_lab.experiments.drawing import bars, chance, finish, heat, in_style
from clip_lab.experiments.experiment import Experiment, Subject
from clip_lab.experiments.result import FAILS, HOLDS, IN_PART, Measured, Verdict
from clip_lab.experiments.world import FINE, SIZE, Shared
from clip_lab.interpret.heat_maps import METHODS
from clip_lab.interpret.localisation import near, overlap, points_inside
from clip_lab.view.figures import empty_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LABELS = [with_article(f"{colour} {shape}") for shape in SHAPES for colour in COLOURS]
PER_TEXT = "gradient relevance"  # costs a backward pass a text: asked for the one text only
TOLERANCE = 1 / 16  # of the side: half a patch of the lab's own model
EXAMPLES = 3
SHORT = ("raw", "rollout", "relevance", "surgery")  # METHODS, in the measurements' names


@dataclass(frozen=True)
class Config:
    model: Shared = FINE
    pictures: int = 500


def measure(config: Config, seed: int) -> dict[str, Any]:
    """All methods on the same pictures of the seed's own model."""
    return _localise(config.model.encoder(seed), config.pictures, seed)


def measure_model(config: Config, seed: int, subject: Subject) -> dict[str, Any]:
    """The same of a published model, the scenes drawn at its size."""
    return _localise(subject.encoder, config.pictures, seed)


def _localise(encoder: DualEncoder, count: int, seed: int) -> dict[str, Any]:
    scenes, own = asked(count, seed)
    size, rows = encoder.preprocess.size, torch.arange(count)
    drawn, outlines = draw(scenes, size), masks(scenes, size)
    named, other = outlines[rows, own], outlines[rows, 1 - own]
    reach = round(TOLERANCE * size)
    measured: dict[str, Any] = {
        "guess_pointing": near(named, reach).double().mean().item(),
        "guess_overlap": named.double().mean().item(),  # who marks everything
        "examples": [],
    }
    for short, method in zip(SHORT, METHODS, strict=True):
        maps = maps_of(method, encoder, drawn, names(scenes, own))
        measured[f"{short}_pointing"] = points_inside(maps, named, reach).double().mean().item()
        measured[f"{short}_other"] = points_inside(maps, other, reach).double().mean().item()
        measured[f"{short}_overlap"] = overlap(maps, named).double().mean().item()
        measured["examples"].append([_hundredths(map) for map in maps[:EXAMPLES]])
    return measured


def asked(count: int, seed: int) -> tuple[Scenes, Tensor]:
    """Scenes of two objects, and which of them is asked for: the first and the second by turns."""
    return scene_tests.pairs(count, seed), torch.arange(count) % 2


def names(scenes: Scenes, own: Tensor) -> list[str]:
    """ "a red circle": the objects that are asked for."""
    things = zip(scenes.things(), own.tolist(), strict=True)
    return [scene_tests.named(scene[place]) for scene, place in things]


def maps_of(
    method: str, encoder: DualEncoder, pictures: Tensor, texts: Sequence[str]
) -> Float[Tensor, "pictures rows columns"]:
    """Each picture's map for its own text.

    The labels that surgery compares it with are all 132 pairs of a colour and a shape.
    """
    if method == PER_TEXT:
        places = {text: [i for i, t in enumerate(texts) if t == text] for text in set(texts)}
        found: dict[int, Tensor] = {}
        for text, rows in places.items():
            maps = METHODS[method](encoder, pictures[rows], [text])[:, 0]
            found |= dict(zip(rows, maps, strict=True))
        return torch.stack([found[i] for i in range(len(texts))])
    maps = METHODS[method](encoder, pictures, LABELS)
    return maps[torch.arange(len(texts)), torch.tensor([LABELS.index(text) for text in texts])]


def _hundredths(map: Tensor) -> list[list[int]]:
    """From 0, the map's lowest, to 100: enough to draw it."""
    span = (map.max() - map.min()).clamp(min=1e-12)
    return ((map - map.min()) / span * 100).round().int().tolist()


def judge(measured: Measured) -> Verdict:
    """Holds where surgery points better than raw similarity and overlaps no worse.

    In part where it is better by one of the two measures alone.
    """
    pointing = measured.difference("surgery_pointing", "raw_pointing")
    overlaps = measured.difference("surgery_overlap", "raw_overlap")
    if pointing.above_zero and not overlaps.below_zero:
        word = HOLDS
    else:
        word = IN_PART if pointing.above_zero or overlaps.above_zero else FAILS
    because = (
        f"Surgery's highest point lies on the named object in "
        f"{measured.mean('surgery_pointing').percent()} of pictures, raw similarity's in "
        f"{measured.mean('raw_pointing').percent()}: {pointing.points()}; a guess hits in "
        f"{100 * measured['guess_pointing'].mean():.1f} %. IoU: "
        f"{measured.mean('surgery_overlap').percent()} against "
        f"{measured.mean('raw_overlap').percent()}, {overlaps.points()}. Gradient relevance points "
        f"right in {measured.mean('relevance_pointing').percent()}."
    )
    return Verdict(word, because, {"pointing, surgery less raw": pointing, "IoU": overlaps})


@in_style
def draw_figure(measured: Measured) -> "Figure":
    figure = empty_figure((9.5, 8.6))
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(1.35, 1))[:, 0]
    grid = above.subplots(EXAMPLES, 1 + len(METHODS), squeeze=False)
    scenes, own = asked(measured.config["pictures"], measured.seeds[0])
    outlines = masks(scenes[:EXAMPLES], 8 * SIZE)[range(EXAMPLES), own[:EXAMPLES]].numpy()
    pictures = draw(scenes[:EXAMPLES], 8 * SIZE).permute(0, 2, 3, 1).numpy()
    for row, text in enumerate(names(scenes, own)[:EXAMPLES]):
        grid[row][0].imshow(pictures[row])
        grid[row][0].axis("off")
        grid[row][0].set_title(f"“{text}”", fontsize=9, fontweight="normal")
        for column, method in enumerate(METHODS):
            map = measured["examples"][0][column][row]
            heat(grid[row][1 + column], map, outlines[row], method if row == 0 else "")
    above.suptitle("Where in the picture is what the text names? (white: its outline)", size=11)
    left, right = below.subplots(1, 2)
    groups = {
        kind: measured.columns(*(f"{short}_{key}" for short in SHORT))
        for kind, key in (("the named object", "pointing"), ("the other one", "other"))
    }
    bars(left, [method.replace(" ", "\n") for method in METHODS], groups)
    chance(left, 100 * measured["guess_pointing"].mean(), "a guess")
    left.legend(loc="upper left", fontsize=8, ncols=2)
    left.set(ylabel="highest point lies on it (%)", ylim=(0, 118), title="Pointing game")
    overlaps = measured.columns(*(f"{short}_overlap" for short in SHORT))
    bars(right, [method.replace(" ", "\n") for method in METHODS], {"": overlaps})
    chance(right, 100 * measured["guess_overlap"].mean(), "all marked")
    right.set(ylabel="IoU with its true mask (%)", title="Overlap")
    for axis in (left, right):
        axis.set_xlim(-0.6, len(METHODS) + 0.15)  # room for the name of the dashed line
    words = f"Pictures, heat maps, and bars of two scores. {judge(measured).because}"
    tested = f"{measured.config['pictures']:,} pictures of two objects a bar; maps: the first seed"
    return finish(figure, measured, words, tested)


EXPERIMENT = Experiment(
    number=23,
    name="heat_maps",
    claim="CLIP Surgery localises better than raw similarity between patches and text",
    source="note 002; Li et al. 2023 (arXiv 2304.05653)",
    published="no figure in the notes; the paper: 8.74 points of mIoU over the best method before "
    "it in open-vocabulary segmentation of Cityscapes (abstract)",
    plain=(
        "Pictures of two objects; the text names one of them. Four methods mark where it is: the "
        "similarity of each patch with the text; attention rollout, which does not read the text; "
        "attention weighed by its gradient; CLIP Surgery. Scored against the true mask: does the "
        "highest point lie on the object (two pixels beside it count), and the IoU of the mask "
        "with the part of the map that is above half its range."
    ),
    quick=Config(model=FINE.quick(), pictures=300),
    full=Config(),
    measure=measure,
    measure_model=measure_model,
    judge=judge,
    draw=draw_figure,
)
