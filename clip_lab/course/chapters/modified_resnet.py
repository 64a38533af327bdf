"""Chapter 4: ModifiedResNet and attention pooling. What its build exercises look for.

Right values come from `clip_lab.model.resnet` or from sums written out; beside each stands what the
likely mistakes would give on the same input. Its last exercises: `modified_resnet_exercises`.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clip_lab.course.checks import Answer, Wrong, compare, exercise
from clip_lab.course.words import ANSWERS
from clip_lab.model.resnet import AttentionPool2d, Bottleneck

Mistakes = list[tuple[Tensor, str]]

ANSWERS["frozen, but moving"] = """
    `requires_grad=False` keeps the optimiser away from the weights, and nothing else. A BatchNorm
    layer also has a running mean and variance. They aren't weights: every forward pass in training
    mode overwrites a part of them with the statistics of its batch, without any gradient. So the
    vectors drift with whatever pictures come by. Call `eval()` on the frozen part, and again after
    every `train()` on the whole model, which switches it back.
"""


def randomly(shape: tuple[int, ...], seed: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


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
    x, weight = randomly((2, 3, 6, 6), 1), randomly((4, 3, 3, 3), 2)
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
        _one_bottleneck(answer, block, randomly((2, 8, 6, 6), seed + 10))
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
            raise Wrong(
                "The two ways don't end in the same shape. This block halves the side: the main "
                "way by block.pool (before conv3), the shortcut by block.downsample."
            ) from None
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
        (relu(bare + around), "The BatchNorms are missing: each convolution has its own."),
        (relu(b.conv3(b.pool(relu(two))) + around), "bn3 is missing: the last convolution has a "
         "BatchNorm too."),
        (relu(b.bn3(b.conv3(b.pool(relu(two))) + around)), "The shortcut was added before bn3. It "
         "joins after it, so that nothing rescales what came round."),
    ]  # fmt: skip
    if b.downsample is not None:
        early = b.bn3(b.conv3(relu(b.bn2(b.conv2(b.pool(relu(one)))))))
        found.append((relu(early + around), "The pool came before conv2. The 3 × 3 convolution is "
                      "to see the map at its full size; shrink after it."))  # fmt: skip
    return [(value.double(), words) for value, words in found]


# -- attention pooling ----------------------------------------------------------------------------


def small_pool(seed: int = 5) -> AttentionPool2d:
    """Three heads of four numbers each over 2 × 2 places, every weight and bias drawn anew."""
    pool: Any = unruly(AttentionPool2d(side=2, width=12, heads=3, embed_dim=6), seed)
    return pool


def tokens_for(places: Tensor, pool: AttentionPool2d) -> Tensor:
    """The mean of all places, then the places row by row; positions added."""
    rows = places.flatten(2).mT
    return torch.cat([rows.mean(1, keepdim=True), rows], dim=1) + pool.positional_embedding


def by_head(x: Tensor, pool: AttentionPool2d) -> Tensor:
    """(batch, tokens, width) as (batch, heads, tokens, width / heads), in float64."""
    return x.double().unflatten(2, (pool.heads, -1)).transpose(1, 2)


@exercise(
    "pool_weights",
    hints=(
        "One token asks, all of them answer. Which one asks? It stands first.",
        "The question comes from q_proj, the offers from k_proj. Split both into heads: unflatten "
        "turns the last axis, 12 say, into (heads, 4). A dot product a token and head follows.",
        "Divide the dot products by the square root of the numbers a head has, take the softmax "
        "along the tokens, and put the heads' axis before the tokens'.",
    ),
)
def _pool_weights(answer: Answer) -> str:
    pool, tokens = small_pool(), randomly((2, 5, 12), 6)
    means = "for each picture and head a share of each token: the mean's, then the places'"
    result = answer.tensor(tokens, pool, shape=(2, 3, 5), means=means)
    q, k = by_head(pool.q_proj(tokens), pool), by_head(pool.k_proj(tokens), pool)
    compare(result, _shares(q[:, :, :1], k), _weight_mistakes(tokens, pool))
    return "Each head's shares sum to 1, and the mean alone has asked."


def _logits(q: Tensor, k: Tensor) -> Tensor:
    return torch.einsum("bhqc,bhtc->bhqt", q, k)[:, :, 0]


def _shares(q: Tensor, k: Tensor) -> Tensor:
    return (_logits(q, k) / math.sqrt(k.shape[-1])).softmax(-1)


def _weight_mistakes(tokens: Tensor, pool: AttentionPool2d) -> Mistakes:
    asked, offered = pool.q_proj(tokens), pool.k_proj(tokens)
    q, k, v = (by_head(x, pool) for x in (asked, offered, pool.v_proj(tokens)))
    mean, logits = q[:, :, :1], _logits(q[:, :, :1], k)
    mixed = [
        x.double().unflatten(2, (-1, pool.heads)).permute(0, 3, 1, 2) for x in (asked, offered)
    ]
    per_head, width = k.shape[-1], tokens.shape[-1]
    return [
        (logits.softmax(-1), "The dot products were not divided by anything: the longer the "
         "vectors, the harder the softmax. Divide by the root of the numbers a head has."),
        ((logits / math.sqrt(width)).softmax(-1), "Divided by the root of the whole width. A head "
         "compares only its own numbers: take the root of how many these are."),
        ((logits / per_head).softmax(-1), "Divided by the numbers a head has; the root of that "
         "was meant."),
        (_shares(q[:, :, 1:2], k), "The first *place* asks here. The mean is token 0."),
        (_shares(q[:, :, -1:], k), "The last token asks here. The mean is token 0."),
        (_shares(q.mean(2, keepdim=True), k), "All tokens ask, on average. The mean stands in the "
         "tokens already, as the first; it alone asks."),
        (_shares(k[:, :, :1], q), "Question and offers are exchanged: the mean goes through "
         "q_proj, all tokens through k_proj."),
        (_shares(mean, v), "The offers were made by v_proj. That is for what is mixed later; "
         "k_proj says where to look."),
        (_shares(mixed[0][:, :, :1], mixed[1]), "The heads are dealt like cards: each has every "
         "third number. A head owns a run of neighbours: unflatten into (heads, rest)."),
        ((logits / math.sqrt(per_head)).softmax(1), "The softmax runs along the heads, which so "
         "compete with each other. Each head has 100 % of its own to give to the tokens."),
        (logits / math.sqrt(per_head), "These are the logits. They still have to become shares "
         "that sum to 1."),
    ]  # fmt: skip


@exercise(
    "attention_pool",
    hints=(
        "tokens_of makes the tokens, pool_weights says how much of each: what is still missing is "
        "what each token hands over, and the way out.",
        "Each token's value comes from v_proj, split into heads as before. A head's answer is the "
        "sum of the values, each times its share.",
        "Sum over the tokens (einsum does it in one line: b heads tokens, b tokens heads numbers). "
        "Flatten heads and numbers into one row again; c_proj takes it into the shared space.",
    ),
)
def _attention_pool(answer: Answer) -> str:
    pool, places = small_pool(), randomly((2, 12, 2, 2), 7)
    result = answer.tensor(places, pool, shape=(2, 6), means="one vector a picture, as c_proj ends")
    compare(result, pool(places).double(), _pool_mistakes(places, pool))
    return "Your pooling and the lab's give the same vectors."


def _pool_mistakes(places: Tensor, pool: AttentionPool2d) -> Mistakes:
    tokens = tokens_for(places, pool)
    bare = tokens - pool.positional_embedding
    last = bare.roll(-1, 1) + pool.positional_embedding

    def out(tokens: Tensor, values: Tensor) -> Tensor:
        return _leave(_weights(tokens, pool), by_head(values, pool), pool)

    shares, v = _weights(tokens, pool), by_head(pool.v_proj(tokens), pool)
    shuffled = torch.einsum("bht,bhtc->bch", shares, v).flatten(1)
    even = torch.full_like(shares, 1 / shares.shape[-1])
    return [
        (out(bare, pool.v_proj(bare)), "The positions take no part: tokens_of wants "
         "pool.positional_embedding as well."),
        (out(tokens, pool.k_proj(tokens)), "What is mixed are the keys (k_proj): they only say "
         "where to look. The values come from v_proj."),
        (out(tokens, tokens), "What is mixed are the tokens themselves. They pass through v_proj "
         "first."),
        (_leave(even, v, pool), "All tokens weigh alike: that is average pooling. pool_weights "
         "says what each head takes of each."),
        (_leave(shares[..., 1:], v[:, :, 1:], pool), "The mean's own value was left out, and the "
         "shares no longer sum to 1. It asks, and it answers as well."),
        (_leave(shares.mean(1, keepdim=True).expand_as(shares), v, pool), "The heads' shares were "
         "averaged. Each head mixes its own part of the values by its own shares."),
        (pool.c_proj(shuffled.float()).double(), "The heads' numbers were interleaved before "
         "c_proj: flatten (heads, numbers), in this order."),
        (out(last, pool.v_proj(last)), "The mean stands last here, so the positions are shifted "
         "by one and another token asks. It comes first."),
    ]  # fmt: skip


def _weights(tokens: Tensor, pool: AttentionPool2d) -> Tensor:
    q, k = by_head(pool.q_proj(tokens), pool), by_head(pool.k_proj(tokens), pool)
    return _shares(q[:, :, :1], k)


def _leave(shares: Tensor, values: Tensor, pool: AttentionPool2d) -> Tensor:
    mixed = torch.einsum("bht,bhtc->bhc", shares, values).flatten(1)
    return pool.c_proj(mixed.float()).double()
