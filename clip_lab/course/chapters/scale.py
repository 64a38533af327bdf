"""Chapter 15: scale. What its build exercises look for.

Gradients in pieces and among processes are worked out in float64 on chapter 8's toy CLIP; beside
the right ones stands what the likely mistakes give.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from clip_lab.course.chapters.similarity import unit, vectors
from clip_lab.course.chapters.training import Toy
from clip_lab.course.checks import Answer, Wrong, agrees, compare, exercise, need_gradient
from clip_lab.course.words import ANSWERS
from clip_lab.losses import info_nce

ANSWERS["eight times 64"] = """
    It depends on what happens between encoding and loss. Where each GPU computes the loss of its
    own 64 pairs, averaging the gradients gives the mean of eight small losses: every picture still
    meets 63 wrong captions, not 511. Where the vectors are gathered first, it is a batch of 512,
    provided that gradients flow back through the gather if each GPU computes only its own rows. The
    proof is cheap: the gradient of one process on a small batch must be that of two on its halves.
"""

Encode = tuple[Tensor, Tensor]


# -- the gradient of a large batch, piece by piece -------------------------------------------------


class Watched(Toy):
    """The toy CLIP, taking down how many pictures' layers are kept at a time for the way back."""

    def __init__(self, scale: float) -> None:
        super().__init__(scale)
        self.kept = self.most = self.largest = 0

    def encode_image(self, images: Tensor) -> Tensor:
        if torch.is_grad_enabled():
            self.largest = max(self.largest, len(images))
        with torch.autograd.graph.saved_tensors_hooks(lambda t: _Held(t, self), lambda h: h.tensor):
            return super().encode_image(images)

    def gradients(self) -> Tensor:
        """All in a row; 0 where there is none."""
        every = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.parameters()]
        return torch.cat([gradient.flatten() for gradient in every])


class _Held:
    """A tensor that autograd keeps, counted for as long as it does."""

    def __init__(self, tensor: Tensor, model: Watched) -> None:
        self.tensor, self.model = tensor, model
        model.kept += len(tensor)
        model.most = max(model.most, model.kept)

    def __del__(self) -> None:
        self.model.kept -= len(self.tensor)


def seven_pairs() -> tuple[Tensor, Tensor]:
    """A batch that no number of pieces divides."""
    random = torch.Generator().manual_seed(31)
    images = torch.rand(7, 3, 2, 2, generator=random, dtype=torch.float64)
    return images, torch.randint(0, 9, (7, 5), generator=random)


def both(model: Toy, images: Tensor, tokens: Tensor) -> Encode:
    """Unit vectors of the toy's two towers."""
    return (F.normalize(model.encode_image(images), dim=-1),
            F.normalize(model.encode_text(tokens), dim=-1))  # fmt: skip


def filled(fill: Callable[[Watched], Any], before: float = 0.0) -> tuple[Tensor, Watched]:
    """The gradients that `fill` leaves in a toy CLIP, which may hold some already."""
    model = Watched(1.5)
    if before:
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, before)
    fill(model)
    return model.gradients(), model


PIECES = 3


@exercise(
    "cached_gradients",
    hints=(
        "Which numbers of the first pass does the loss need? Only the vectors. So what may be "
        "forgotten while they are computed, and from where does the loss's way back have to start?",
        "torch.no_grad() in the first pass. Then the vectors of all pieces in one tensor a side, "
        "told to want a gradient (requires_grad_): after the loss's backward, its .grad says for "
        "each row where to go. In the second pass, each piece starts from its own rows of that.",
        "Cut pictures and tokens by .chunk(pieces); encode each part in no_grad; torch.cat the "
        "sides; loss, backward; cut both .grad by .chunk as well; for each part encode again and "
        "call torch.autograd.backward on its two outputs with its two pieces of gradient.",
    ),
)
def _cached_gradients(answer: Answer) -> str:
    images, tokens = seven_pairs()
    losses: list[Any] = []
    own, model = filled(lambda m: losses.append(answer(m, images, tokens, PIECES)))
    right, _ = filled(lambda m: info_nce(*both(m, images, tokens), m.logit_scale).backward())
    compare(own, right, _gradient_mistakes(images, tokens, right))
    _watch(model)
    again, _ = filled(lambda m: answer(m, images, tokens, PIECES), before=1.0)
    if not agrees(again, right + 1):
        raise Wrong("Gradients that were there before are lost: they should be added to.")
    with torch.no_grad():
        loss = info_nce(*both(Watched(1.5), images, tokens), torch.tensor(1.5).double())
    compare(torch.tensor(_number(losses[0]), dtype=torch.float64), loss, [])
    return "The gradient of the whole batch, with the layers of a piece."


def _number(loss: Any) -> float:
    try:
        return float(loss.detach() if isinstance(loss, Tensor) else loss)
    except (TypeError, ValueError, RuntimeError):
        raise Wrong(f"Return the loss, one number; this is a {type(loss).__name__}.") from None


def _watch(model: Watched) -> None:
    """Whether ever more than a piece went through with its layers kept."""
    if model.largest > PIECES:
        raise Wrong(
            f"The gradient is right, but {model.largest} of 7 pictures went through the tower at "
            f"once with their layers kept: in {PIECES} pieces, at most {PIECES} should. That is "
            "the memory to be saved."
        )
    if model.most > PIECES:
        raise Wrong(
            "The gradient is right, but the layers of several pieces are kept at a time. Encode "
            "without gradients in the first pass: the vectors are all that it is for."
        )


def _gradient_mistakes(images: Tensor, tokens: Tensor, right: Tensor) -> list[tuple[Tensor, str]]:
    parts = list(zip(images.chunk(PIECES), tokens.chunk(PIECES), strict=True))

    def small(weight: Callable[[int], float]) -> Tensor:
        def fill(model: Watched) -> None:
            for part in parts:
                loss = info_nce(*both(model, *part), model.logit_scale)
                (weight(len(part[0])) * loss).backward()

        return filled(fill)[0]

    accumulated = (
        "These are the gradients of small batches, added up: each picture met only the captions of "
        "its own piece. The loss has to see all vectors together."
    )
    scale = torch.zeros_like(right)
    scale[-1] = right[-1]
    images_only, texts_only = scale.clone(), scale.clone()
    cut = Toy(1.5).seen.numel()
    images_only[:cut] = right[:cut]
    texts_only[cut:] = right[cut:]
    scaled = right.clone()
    scaled[-1] = PIECES * right[-1]
    without = right.clone()
    without[-1] = 0
    return [
        (small(lambda n: 1 / PIECES), accumulated),
        (small(lambda n: n / 7), accumulated),
        (small(lambda n: 1.0), accumulated),
        (0 * right, "No gradient reaches the model: the way back ends at the vectors. A second "
         "pass has to carry it on."),
        (scale, "The temperature has its gradient, the towers have none: the way back ends at the "
         "vectors. A second pass has to carry it on."),
        (images_only, "The image tower has its gradient, the text tower hasn't."),
        (texts_only, "The text tower has its gradient, the image tower hasn't."),
        (scaled, f"The towers are right, but the temperature's gradient is counted {PIECES} times, "
         "once a piece. It comes from the whole loss, once."),
        (without, "The towers are right, but the temperature gets no gradient."),
        (2 * right, "Everything is twice as large: is there a way back through both passes?"),
        (PIECES * right, f"Everything is {PIECES} times as large: is the whole gradient sent back "
         "once for each piece?"),
        (right / PIECES, "Divided by the number of pieces: nothing is averaged here, the loss was "
         "that of the whole batch."),
    ]  # fmt: skip


# -- many processes ----------------------------------------------------------------------

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
