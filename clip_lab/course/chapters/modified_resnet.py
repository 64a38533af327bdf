"""Chapter 4: ModifiedResNet and attention pooling. What its first two exercises look for.

Right values come from `clip_lab.model.resnet` or from sums written out; beside each stands what the
likely mistakes would give on the same input. Attention pooling: `modified_resnet_pooling`; the last
exercises: `modified_resnet_exercises`.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clip_lab.course.checks import Answer, Wrong, compare, exercise
from clip_lab.course.trial import Mistakes, drawn
from clip_lab.course.words import ANSWERS
from clip_lab.model.resnet import Bottleneck

ANSWERS["frozen, but moving"] = """
    requires_grad=False keeps the optimiser away from the weights, and nothing else. A BatchNorm
    layer also has a running mean and variance. They aren't weights: every forward pass in training
    mode overwrites a part of them with the statistics of its batch, without any gradient. So the
    vectors drift with whatever pictures come by. Call eval() on the frozen part, and again after
    every train() on the whole model, which switches it back.
"""


def unruly(module: nn.Module, seed: int) -> nn.Module:
    """Every weight and statistic drawn anew: none is 0 or 1, as many are in a fresh layer."""
    random = torch.Generator().manual_seed(seed)
    for name, value in module.state_dict().items():
        if value.is_floating_point():
            drawn = torch.randn(value.shape, generator=random)
            value.copy_(drawn.abs() + 0.3 if name.endswith("running_var") else 0.6 * drawn)
    return module.eval().requires_grad_(False)


# -- a stride that doesn't alias ------------------------------------------------------------------


@exercise(
    "blurred_stride",
    hints=(
        "Two steps. First the convolution sees every place; only then does the map shrink.",
        "F.conv2d with its stride left at 1 keeps the side, if a border is added: how wide, for a "
        "filter of 3 × 3? The ReLU belongs to the convolution.",
        "Convolve (one pixel of padding), apply the ReLU, then let F.avg_pool2d take means of two "
        "by two: its default stride is the size of its window.",
    ),
)
def _blurred_stride(answer: Answer) -> str:
    x, weight = drawn(2, 3, 6, 6, seed=1), drawn(4, 3, 3, 3, seed=2)
    means = "as many channels as filters, half the side; a border of 1 keeps the convolution's side"
    result = answer.tensor(x, weight, shape=(2, 4, 3, 3), means=means)
    x, weight = x.double(), weight.double()
    seen = F.relu(F.conv2d(x, weight, padding=1))
    compare(result, _mean_of_four(seen), _blurred_mistakes(x, weight))
    return "Every place is computed, and each of them counts in the smaller map."


def _mean_of_four(x: Tensor) -> Tensor:
    return x.unflatten(2, (-1, 2)).unflatten(4, (-1, 2)).mean(dim=(3, 5))


def _blurred_mistakes(x: Tensor, weight: Tensor) -> Mistakes:
    plain = F.conv2d(x, weight, padding=1)
    seen, first = F.relu(plain), F.conv2d(_mean_of_four(x), weight, padding=1)
    corner = "the convolution itself jumps (a stride of 2), or every second result is taken"
    return [
        (seen[..., ::2, ::2], f"Three of four results are thrown away: {corner}. That is the "
         "aliasing which the average is to prevent."),
        (plain[..., ::2, ::2], f"Three of four results are thrown away: {corner}. And the ReLU is "
         "missing."),
        (F.relu(first), "The average came first, so the convolution saw a blurred picture. Let it "
         "see every pixel, and average what it found."),
        (first, "The average came first, and there is no ReLU. Convolve, apply the ReLU, then "
         "average."),
        (_mean_of_four(plain), "The ReLU is missing: it stands between the convolution and the "
         "average."),
        (F.relu(_mean_of_four(plain)), "The ReLU came after the average. What four places found "
         "can cancel out then; cut off below 0 first."),
        (F.avg_pool2d(seen, 3, 2, 1), "The windows are three wide and overlap. Two by two are "
         "asked for."),
        (F.max_pool2d(seen, 2), "That is the largest of four places. A maximum jumps when the "
         "picture moves; a mean blurs."),
        (4 * _mean_of_four(seen), "That is the sum of four places. Take their mean."),
    ]  # fmt: skip


# -- the bottleneck -------------------------------------------------------------------------------


@exercise(
    "bottleneck",
    hints=(
        "Two ways from x to the end: through three convolutions, and around them. At the end they "
        "are added.",
        "Each convolution is followed by its own BatchNorm: conv1 with bn1, and so on. ReLU comes "
        "after the first, after the second, and once more at the very end, after the sum.",
        "The way round is block.downsample of x, or x itself where that is None. The pool stands "
        "before conv3. No ReLU between bn3 and the sum: the block may also take something away.",
    ),
)
def _bottleneck(answer: Answer) -> str:
    for stride, seed in ((2, 3), (1, 4)):
        block: Any = unruly(Bottleneck(8, 2, stride), seed)
        _one_bottleneck(answer, block, drawn(2, 8, 6, 6, seed=seed + 10))
    return "Where the shape changes and where it doesn't, the block and its shortcut agree."


def _one_bottleneck(answer: Answer, block: Any, x: Tensor) -> None:
    wanted = block(x).double()
    try:
        result = answer.tensor(x, block, shape=tuple(wanted.shape), means="what block(x) has")
    except Wrong as wrong:
        if "NoneType" in str(wrong) and block.downsample is None:
            raise Wrong(
                "Where a block keeps side and channels, block.downsample is None: the shortcut is "
                "x as it came."
            ) from None
        if "must match the size" in str(wrong):
            what = (
                "keeps the side: leave that to block.pool, which then does nothing"
                if block.downsample is None
                else "halves the side: the main way by block.pool (before conv3), the shortcut by "
                "block.downsample"
            )
            raise Wrong(f"The two ways don't end in the same shape. This block {what}.") from None
        raise
    compare(result, wanted, _bottleneck_mistakes(x, block))


def _bottleneck_mistakes(x: Tensor, b: Any) -> Mistakes:
    around = x if b.downsample is None else b.downsample(x)
    one, relu = b.bn1(b.conv1(x)), F.relu

    def end(two: Tensor) -> Tensor:
        return b.bn3(b.conv3(b.pool(two)))

    two = b.bn2(b.conv2(relu(one)))
    way = end(relu(two))
    bare = b.conv3(b.pool(relu(b.conv2(relu(b.conv1(x))))))
    folded = end(b.bn2(relu(b.conv2(b.bn1(relu(b.conv1(x)))))))
    found = [
        (way + around, "The last ReLU is missing: it comes after the sum."),
        (relu(way) + around, "The ReLU came before the sum. So the block could only ever add to "
         "its shortcut, never take away. Add first."),
        (relu(relu(way) + around), "There is a ReLU before the sum as well as after it. Without "
         "the first, the block may also take away."),
        (relu(way), "The shortcut is missing. It is what lets a hundred of these learn."),
        (relu(end(relu(b.bn2(b.conv2(one)))) + around), "There is no ReLU after bn1: two linear "
         "maps in a row are no more than one."),
        (relu(end(two) + around), "There is no ReLU after bn2: two linear maps in a row are no "
         "more than one."),
        (relu(end(b.bn2(b.conv2(one))) + around), "The ReLUs after bn1 and bn2 are missing: "
         "without them all three convolutions are one linear map."),
        (relu(way + relu(around)), "The shortcut has a ReLU of its own. It goes around as it "
         "is; the one ReLU after the sum is enough."),
        (relu(folded + around), "The ReLU stands before the BatchNorm. It comes after: "
         "convolution, BatchNorm, ReLU."),
        (relu(bare + around), "The BatchNorms are missing: each convolution has its own."),
        (relu(b.conv3(b.pool(relu(two))) + around), "bn3 is missing: the last convolution has a "
         "BatchNorm too."),
        (relu(b.bn3(b.conv3(b.pool(relu(two))) + around)), "The shortcut was added before bn3. It "
         "joins after it, so that nothing rescales what came round."),
    ]  # fmt: skip
    found += [] if b.downsample is None else _shrinking_mistakes(x, b, around, way)
    return [(value.double(), words) for value, words in found]


def _shrinking_mistakes(x: Tensor, b: Any, around: Tensor, way: Tensor) -> Mistakes:
    """Those that only a block can show in which the side is halved."""
    pooled = b.pool(F.relu(b.bn1(b.conv1(x)))), F.relu(b.bn1(b.conv1(b.pool(x))))
    early = [F.relu(b.bn3(b.conv3(F.relu(b.bn2(b.conv2(y))))) + around) for y in pooled]
    return [
        *((value, "The pool came before conv2. The 3 × 3 convolution is to see the map at its full "
           "size; shrink after it.") for value in early),
        (F.relu(way + b.pool(x)), "The shortcut is only pooled. block.downsample has a convolution "
         "and a BatchNorm besides."),
    ]  # fmt: skip
