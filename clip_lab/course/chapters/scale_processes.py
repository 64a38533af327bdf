"""Chapter 15: scale. A batch shared by many processes: the loss of own rows, and the gather."""

import torch
from torch import Tensor
from torch.nn import functional as F

from clip_lab.course.chapters.similarity import vectors
from clip_lab.course.checks import Answer, Wrong, agrees, compare, exercise, need_gradient
from clip_lab.course.trial import unit
from clip_lab.losses import info_nce

# -- the loss of a process's own rows --------------------------------------------------------------

WORLD, OWN, RANK = 3, 2, 1


def _vectors() -> tuple[Tensor, Tensor]:
    pair = (unit(vectors(WORLD * OWN, 4, seed=seed)).float() for seed in (41, 42))
    images, texts = pair
    return images.requires_grad_(), texts.requires_grad_()


@exercise(
    "local_loss",
    hints=(
        "It is info_nce with fewer questions, but as many answers to choose from. How many rows "
        "has the matrix of process 1, how many columns, and where in them are the right answers?",
        "Own pictures against all captions gives (own, all). Process 0's captions come first, then "
        "those of process 1: the right column of process 1's first picture is not 0.",
        "The targets count up from rank times the number of own rows. Two cross entropies: own "
        "pictures against all captions, own captions against all pictures; their mean.",
    ),
)
def _local_loss(answer: Answer) -> str:
    images, texts = _vectors()
    scale = torch.tensor(1.3, requires_grad=True)
    rows = slice(RANK * OWN, (RANK + 1) * OWN)
    given = images[rows], texts[rows], images, texts, scale, RANK
    result = answer.tensor(*given, shape=(), means="one number for the process's rows")
    i, t, s = (value.detach().double() for value in (images, texts, scale))
    compare(result, _local(i, t, s, rows), _local_mistakes(i, t, s, rows))
    lost = {"the images": "the image tower would not learn",
            "the texts": "the text tower would not learn",
            "logit_scale": "the temperature would stay where it is"}  # fmt: skip
    need_gradient(result, dict(zip(lost, (images, texts, scale), strict=True)), lost)
    total = sum(
        answer(images[own], texts[own], images, texts, scale, rank)
        for rank, own in enumerate(slice(k, k + OWN) for k in range(0, WORLD * OWN, OWN))
    )
    if not agrees((torch.as_tensor(total) / WORLD).detach().double(), info_nce(i, t, s)):
        raise Wrong("Process 1 is right, but the mean over all processes isn't the whole loss.")
    return "The mean over processes is the loss of the whole batch."


def _local(i: Tensor, t: Tensor, s: Tensor, rows: slice, shift: int = RANK * OWN) -> Tensor:
    own = torch.arange(OWN) + shift
    one = F.cross_entropy(s.exp() * i[rows] @ t.T, own)
    return (one + F.cross_entropy(s.exp() * t[rows] @ i.T, own)) / 2


def _local_mistakes(i: Tensor, t: Tensor, s: Tensor, rows: slice) -> list[tuple[Tensor, str]]:
    own = torch.arange(OWN) + RANK * OWN
    one = F.cross_entropy(s.exp() * i[rows] @ t.T, own)
    other = F.cross_entropy(s.exp() * t[rows] @ i.T, own)
    right = (one + other) / 2
    log = s.log()  # what makes exp(log) the bare parameter
    return [
        (_local(i, t, s, rows, 0), "The targets begin at 0 in every process: process 1's first "
         "picture is told that process 0's first caption is its own."),
        (_local(i, t, s, rows, RANK), "The targets begin at the rank. Before process 1's rows lie "
         "all rows of process 0."),
        (one, "This is one direction only: pictures choose among captions. Add the captions."),
        (other, "This is one direction only: captions choose among pictures. Add the pictures."),
        (2 * right, "The two directions are added; their mean was asked for."),
        ((one + F.cross_entropy(s.exp() * t[rows] @ t.T, own)) / 2, "The second direction compares "
         "captions with captions. They choose among pictures."),
        (OWN * right, "The rows are summed; take their mean."),
        (right / WORLD, "Divided by the number of processes: DDP does that already."),
        (right * WORLD, "Multiplied by the number of processes."),
        (info_nce(i[rows], t[rows], s), "Each picture met only the captions of its own process: "
         "the gathered ones take no part."),
        (info_nce(i, t, s), "This is the loss of the whole batch, which every process would "
         "compute again. Only the own rows were asked for."),
        (_local(i, t, log, rows), "logit_scale is a logarithm: exponentiate it."),
        (_local(i, t, 0 * s, rows), "The scale takes no part: these logits are bare cosines."),
    ]  # fmt: skip


# -- the gather ------------------------------------------------------------------------------------


@exercise(
    "gather",
    hints=(
        "Three of the four cases are easy: with gradients, all stays as it is. Without, whose rows "
        "keep theirs?",
        "A tensor's detach() has the same numbers and no way back. The process's own rows never "
        "travelled: they keep theirs.",
        "Make a list of the shards, detached where no gradients are to flow; put the process's own "
        "back in its place, as it was; torch.cat in order of rank.",
    ),
)
def _gather(answer: Answer) -> str:
    for rank in (1, 0, 2):
        for flows in (True, False):
            _gathered(answer, rank, flows)
    return "All rows in the same order for everyone; gradients as far as they were asked for."


def _gathered(answer: Answer, rank: int, flows: bool) -> None:
    shards = [vectors(2, 3, seed=51 + k).requires_grad_() for k in range(3)]
    result = answer(list(shards), rank, flows)
    if not isinstance(result, Tensor):
        raise Wrong(f"Return one tensor of all rows; this is a {type(result).__name__}.")
    if tuple(result.shape) != (6, 3):
        raise Wrong(f"The shape is {tuple(result.shape)}; 3 processes of 2 rows make (6, 3).")
    ordered = torch.cat([rows.detach() for rows in shards])
    others = [*shards[:rank], *shards[rank + 1 :]]
    first = torch.cat([shards[rank], *others]).detach()
    compare(result.detach().double(), ordered.double(), [
        (first.double(), "The process's own rows come first. Every process must have the same "
         "order, that of the ranks, or the targets don't fit."),
    ])  # fmt: skip
    if not result.requires_grad:
        raise Wrong("No gradient reaches even the process's own rows: it would learn nothing.")
    found = torch.autograd.grad(result.sum(), shards, allow_unused=True)
    has = [slope is not None and bool((slope != 0).any()) for slope in found]
    if not has[rank]:
        raise Wrong(f"Process {rank}'s own rows get no gradient.")
    theirs = [has[k] for k in range(3) if k != rank]
    if flows and not all(theirs):
        raise Wrong("with_gradients is True, and the rows of the other processes get none.")
    if not flows and any(theirs):
        raise Wrong("with_gradients is False, and gradients reach the rows of other processes: "
                    "over the network only numbers came.")  # fmt: skip
