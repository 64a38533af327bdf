"""Chapter 15: scale. What its build exercises look for (the next ones: `scale_processes`).

Gradients in pieces are worked out in float64 on chapter 8's toy CLIP; beside the right ones stands
what the likely mistakes give.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from clip_lab.course.chapters.training import Toy
from clip_lab.course.checks import Answer, Wrong, agrees, compare, exercise
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
        """The toy's; what autograd keeps of it is counted."""
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


ACCUMULATED = (
    "These are the gradients of small batches, added up: each picture met only the captions of its "
    "own piece. The loss has to see all vectors together."
)
STALE = (
    "Each piece's own rows went back, with the vectors of all others as fixed numbers: what the "
    "others' rows say of this piece is missing. One loss of all vectors first, and its gradients."
)


def _gradient_mistakes(images: Tensor, tokens: Tensor, right: Tensor) -> list[tuple[Tensor, str]]:
    cut = Toy(1.5).seen.numel()

    def times(seen: float, read: float, scale: float) -> Tensor:
        """The right gradient, its parts multiplied: image tower, text tower, temperature."""
        return torch.cat([seen * right[:cut], read * right[cut:-1], scale * right[-1:]])

    weights = (lambda n: 1 / PIECES, lambda n: n / 7, lambda n: 1.0)
    return [
        *((_added_up(images, tokens, weight, _of_its_own), ACCUMULATED) for weight in weights),
        *((_added_up(images, tokens, weight, _beside_fixed), STALE) for weight in weights),
        (times(0, 0, 0), "No gradient reaches the model: the way back ends at the vectors. A "
         "second pass has to carry it on."),
        (times(0, 0, 1), "The temperature has its gradient, the towers have none: the way back "
         "ends at the vectors. A second pass has to carry it on."),
        (times(1, 0, 1), "The image tower has its gradient, the text tower hasn't."),
        (times(0, 1, 1), "The text tower has its gradient, the image tower hasn't."),
        (times(1, 1, PIECES), f"The towers are right, but the temperature's gradient is counted "
         f"{PIECES} times, once a piece. It comes from the whole loss, once."),
        (times(1, 1, 0), "The towers are right, but the temperature gets no gradient."),
        (2 * right, "Everything is twice as large: is there a way back through both passes?"),
        (PIECES * right, f"Everything is {PIECES} times as large: is the whole gradient sent back "
         "once for each piece?"),
        (right / PIECES, "Divided by the number of pieces: nothing is averaged here, the loss was "
         "that of the whole batch."),
    ]  # fmt: skip


def _added_up(
    images: Tensor,
    tokens: Tensor,
    weight: Callable[[int], float],
    loss: Callable[[Encode, Encode, int, Tensor], Tensor],
) -> Tensor:
    """The gradient of the pieces' losses, each times the weight of its number of pairs."""

    def fill(model: Watched) -> None:
        everyone = [side.detach() for side in both(model, images, tokens)]
        first = 0
        for part in zip(images.chunk(PIECES), tokens.chunk(PIECES), strict=True):
            own = both(model, *part)
            value = loss(own, (everyone[0], everyone[1]), first, model.logit_scale)
            (weight(len(part[0])) * value).backward()
            first += len(part[0])

    return filled(fill)[0]


def _of_its_own(own: Encode, everyone: Encode, first: int, scale: Tensor) -> Tensor:
    """A piece's loss, if there were no others."""
    return info_nce(*own, scale)


def _beside_fixed(own: Encode, everyone: Encode, first: int, scale: Tensor) -> Tensor:
    """The loss of a piece's rows among all vectors, which are numbers."""
    place = torch.arange(len(own[0])) + first
    one = F.cross_entropy(scale.exp() * own[0] @ everyone[1].T, place)
    return (one + F.cross_entropy(scale.exp() * own[1] @ everyone[0].T, place)) / 2
