"""Chapter 15, the exercises at its end: bytes, the gather's way back, a loss without its matrix."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from clip_lab.course.chapters.similarity import vectors
from clip_lab.course.checks import Answer, Wrong, compare, exercise
from clip_lab.course.trial import unit

# -- will it fit? ----------------------------------------------------------------------

WEIGHTS, PER_PAIR, BATCH, PARTS = 1000, 70, 50, 4


@exercise(
    "training_bytes",
    hints=(
        "Three sums of bytes, and only one of them depends on the pieces. Which?",
        "Four numbers of 4 bytes for each weight. The largest of 4 pieces of 50 pairs has 13. The "
        "matrix has batch × batch entries, and its gradient as many.",
        "16 bytes a weight; per_pair times the batch divided by the pieces and rounded up "
        "(math.ceil); 8 bytes for each entry of the matrix, whatever the pieces.",
    ),
)
def _training_bytes(answer: Answer) -> str:
    for parts in (1, PARTS):
        found = torch.tensor(_bytes(answer(WEIGHTS, PER_PAIR, BATCH, parts)), dtype=torch.float64)
        layers, fixed, matrix = PER_PAIR * math.ceil(BATCH / parts), 16 * WEIGHTS, 8 * BATCH**2
        right = layers + fixed + matrix
        mistakes = [
            (fixed + matrix + PER_PAIR * BATCH, "The pieces take no part: at any time, the layers "
             "of one piece are kept."),
            (fixed + matrix + PER_PAIR * (BATCH // parts), "50 pairs in 4 pieces: the largest has "
             "13, not 12. Round up."),
            (fixed + matrix + PER_PAIR * BATCH / parts, "50 pairs in 4 pieces: the largest has 13. "
             "Round up."),
            (right - fixed + 4 * WEIGHTS, "Each weight has its gradient and two averages as well: "
             "four numbers."),
            (right - fixed + 8 * WEIGHTS, "Weights and gradients are counted; Adam's two averages "
             "are missing."),
            (right - fixed + 12 * WEIGHTS, "Three numbers a weight are counted. There are four: "
             "weight, gradient, two averages."),
            (right - matrix + 4 * BATCH**2, "The matrix is there; its gradient, as large, isn't."),
            (right - matrix, "The matrix of the batch is missing."),
            (right - matrix + 8 * math.ceil(BATCH / parts) ** 2, "The matrix is that of the whole "
             "batch, however many pieces there are."),
            (right - matrix + 8 * BATCH, "The matrix has batch × batch entries."),
            (right / 4, "These are numbers; a float32 has 4 bytes."),
        ]  # fmt: skip
        told = [(torch.tensor(float(value), dtype=torch.float64), text) for value, text in mistakes]
        compare(found, torch.tensor(float(right), dtype=torch.float64), told)
    return "Only the layers shrink with the pieces."


def _bytes(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise Wrong(f"Return a number of bytes, not a {type(value).__name__}.") from None


# -- the way back of the gather --------------------------------------------------------------------


@exercise(
    "gather_backward",
    hints=(
        "A row that was gathered is used in every process's loss. By how many ways do gradients "
        "come back to it?",
        "First add what all processes say; then cut out the rows of this process. Where do they "
        "begin, if processes may have given different numbers of rows?",
        "The sum of the slopes over processes; its rows from sum(counts[:rank]) on, as many as "
        "counts[rank]. Adding and cutting may change places.",
    ),
)
def _gather_backward(answer: Answer) -> str:
    counts = [2, 3, 1]
    random = torch.Generator().manual_seed(61)
    slopes = list(torch.randn(3, 6, 4, generator=random, dtype=torch.float64))
    for rank, first in ((1, 2), (0, 0), (2, 5)):
        rows = slice(first, first + counts[rank])
        total = torch.stack(slopes).sum(0)
        result = answer.tensor(
            list(slopes), list(counts), rank, shape=(counts[rank], 4),
            means=f"as many rows as process {rank} gave",
        )  # fmt: skip
        others = total - slopes[rank]
        compare(result, total[rows], [
            (slopes[rank][rows], "This is what the process's own loss says of its rows. What the "
             "others' losses say of them is dropped: lightly's mistake."),
            (total[rows] / 3, "This is the mean over processes; the sum was asked for. (DDP "
             "averages the weights' gradients, later.)"),
            (others[rows], "The process's own loss is left out."),
            (total[: counts[rank]], "These are the first rows, which process 0 gave."),
            (total[rank : rank + counts[rank]], "The rows begin where those of the processes "
             "before end, not at the rank."),
            (total[-counts[rank] :], "These are the last rows."),
        ])  # fmt: skip
    return "Every process's word on the rows, added up, to where they came from."


# -- no matrix at all ----------------------------------------------------------------------


class _Largest(TorchDispatchMode):
    """How many numbers the largest tensor has that any operation makes."""

    def __init__(self) -> None:
        super().__init__()
        self.numbers = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        made = func(*args, **(kwargs or {}))
        for value in made if isinstance(made, tuple | list) else [made]:
            if isinstance(value, Tensor):
                self.numbers = max(self.numbers, value.numel())
        return made


ROWS, TILE = 96, 8


@exercise(
    "streamed_rows",
    hints=(
        "log Σ exp over all captions, when you know it for the first 8 and for the next 8: how do "
        "two such numbers become one? (Not by adding them.)",
        "torch.logaddexp(a, b) is log(exp a + exp b), and can't overflow. Begin with −∞, the "
        "logarithm of an empty sum; tensor.split(tile) cuts the captions.",
        "For each tile of captions: logits, their logsumexp along the row, logaddexp with what "
        "there is so far. Then take off each picture's logit with its own caption, a sum of "
        "products row by row, and average.",
    ),
)
def _streamed(answer: Answer) -> str:
    images, texts = (unit(vectors(ROWS, 4, seed=seed)).float() for seed in (71, 72))
    sharp = torch.tensor(math.log(100))
    extreme = answer(images, images, sharp, TILE)
    if isinstance(extreme, Tensor) and not extreme.isfinite().all():
        raise Wrong(
            "At a scale of 100 the result is nan or inf: exp(100) is more than float32 holds. Keep "
            "logarithms: logsumexp in a tile, logaddexp between tiles."
        )
    scale = torch.tensor(1.7)
    with _Largest() as watch:
        result = answer.tensor(images, texts, scale, TILE, shape=(), means="the mean of all rows")
    i, t, s = images.double(), texts.double(), scale.double()
    compare(result, _rows(i, t, s), _row_mistakes(i, t, s))
    if watch.numbers > 2 * ROWS * TILE:
        raise Wrong(
            f"The loss is right, but a tensor of {watch.numbers:,} numbers was made: with {ROWS} "
            f"pictures and tiles of {TILE}, {ROWS * TILE:,} are enough."
        )
    odd = answer.tensor(images[:7], texts[:7], scale, 4, shape=(), means="the mean of all rows")
    compare(odd, _rows(i[:7], t[:7], s), [])
    return "The row's loss, without ever having the row."


def _rows(i: Tensor, t: Tensor, s: Tensor) -> Tensor:
    return F.cross_entropy(s.exp() * i @ t.T, torch.arange(len(i)))


def _row_mistakes(i: Tensor, t: Tensor, s: Tensor) -> list[tuple[Tensor, str]]:
    logits = s.exp() * i @ t.T
    own, right = logits.diagonal(), _rows(i, t, s)
    sums = torch.stack([part.logsumexp(1) for part in logits.split(TILE, dim=1)])
    apart = [_rows(a, b, s) for a, b in zip(i.split(TILE), t.split(TILE), strict=True)]
    return [
        (torch.stack(apart).mean(), "Each picture met only the captions of its own tile. Every "
         "picture meets every caption, tile after tile."),
        ((sums.sum(0) - own).mean(), "Logarithms of sums are added. log Σ exp of two tiles is "
         "log(exp a + exp b): logaddexp."),
        ((sums.amax(0) - own).mean(), "Only the largest tile counts: logaddexp adds them."),
        ((sums[-1] - own).mean(), "Only the last tile counts: each takes the place of the one "
         "before."),
        ((sums.mean(0) - own).mean(), "The tiles are averaged; their sums belong together."),
        ((logits.logsumexp(1)).mean(), "This is log Σ exp alone; the own caption's logit has to be "
         "taken off."),
        (((sums.exp().sum(0) + 1).log() - own).mean(), "There is a 1 too much in every sum: begin "
         "with −∞, the logarithm of 0, not with 0."),
        ((logits.logsumexp(1) - own).sum(), "The rows are summed; take their mean."),
        (F.cross_entropy(logits.T, torch.arange(len(i))), "These are the columns: captions choose "
         "among pictures."),
        (_rows(i, t, s.log()), "logit_scale is a logarithm: exponentiate it."),
        (_rows(i, t, 0 * s), "The scale takes no part."),
        ((logits.logsumexp(1) - own / s.exp()).mean(), "The own logit lacks the scale."),
        (-right, "The sign is turned round."),
    ]  # fmt: skip
