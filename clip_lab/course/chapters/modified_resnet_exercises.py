"""Chapter 4, the exercises at its end: average as a special case, one place alone, folding."""

from typing import Any

import torch
from torch import Tensor, nn

from clip_lab.course.chapters.modified_resnet import unruly
from clip_lab.course.chapters.modified_resnet_pooling import by_head, small_pool, tokens_for
from clip_lab.course.checks import Answer, Wrong, compare, exercise
from clip_lab.course.trial import Mistakes, drawn
from clip_lab.model.resnet import AttentionPool2d


@exercise(
    "as_average",
    hints=(
        "When does a softmax give everyone the same share?",
        "When all its logits are equal. A logit is a question times an offer: which question is "
        "answered alike by every token?",
        "The zero vector. q_proj is linear with a bias, and both parts have to vanish, in a deep "
        "copy: the pool that you are given is still in use.",
    ),
)
def _as_average(answer: Answer) -> str:
    pool, places = small_pool(8), drawn(2, 12, 2, 2, seed=9)
    before = {name: value.clone() for name, value in pool.state_dict().items()}
    made = answer(pool)
    if any(not torch.equal(value, before[name]) for name, value in pool.state_dict().items()):
        raise Wrong("The pool that was given has changed. Work on a copy (copy.deepcopy).")
    if not isinstance(made, nn.Module):
        raise Wrong(f"Return a pool, a module like the given one; this is a {type(made).__name__}.")
    with torch.no_grad():
        given, wanted = made(places), _averaged(places, pool)
    if not isinstance(given, Tensor) or given.shape != wanted.shape:
        raise Wrong("What you return isn't the pool any more: it should still turn places into one "
                    "vector a picture, as c_proj ends.")  # fmt: skip
    compare(given.double(), wanted, _average_mistakes(places, pool))
    return "All tokens weigh alike: average pooling is attention that asks nothing."


def _averaged(places: Tensor, pool: AttentionPool2d) -> Tensor:
    return pool.c_proj(pool.v_proj(tokens_for(places, pool)).mean(1)).double()


def _average_mistakes(places: Tensor, pool: AttentionPool2d) -> Mistakes:
    """What other parts of the pool give when they are set to zero."""
    zeroed: list[tuple[tuple[str, ...], str]] = [
        ((), "This pool does what the given one did. (Is it the keys' bias that you took away? It "
         "adds the same to all logits, which a softmax doesn't notice.)"),
        (("q_proj.weight",), "The question's weight is zero, but its bias still asks, and the same "
         "thing of every picture."),
        (("q_proj.bias",), "Only the question's bias is zero: its weight still asks."),
        (("v_proj.weight", "v_proj.bias"), "The values are zero: nothing of the picture is left. "
         "It is the question that should vanish."),
        (("positional_embedding",), "The positions are zero, but the mean still asks."),
    ]  # fmt: skip
    values = pool.v_proj(tokens_for(places, pool))
    found = [(pool.c_proj(values[:, 1:].mean(1)).double(), "The mean of the places alone: but the "
              "mean's own token is one of those that weigh alike.")]  # fmt: skip
    for names, words in zeroed:
        other, fresh = small_pool(8), pool.state_dict()
        other.load_state_dict({n: v * (n not in names) for n, v in fresh.items()})
        found.append((other(places).double(), words))
    return found


@exercise(
    "fold_batchnorm",
    hints=(
        "In evaluation BatchNorm does the same to every place: gain times value plus shift, a pair "
        "of numbers for each channel. A convolution followed by that is one convolution.",
        "The gain is bn.weight over the root of (variance + eps). What it multiplies is linear in "
        "the convolution's weights: which axis of these belongs to the output channel?",
        "The first axis: spread the gain over it, the other three axes of length 1. The bias is "
        "what BatchNorm makes of an input of zero: its own bias, less gain times running mean.",
    ),
)
def _fold(answer: Answer) -> str:
    conv: Any = unruly(nn.Conv2d(4, 4, 3, bias=False), 10)
    bn: Any = unruly(nn.BatchNorm2d(4, eps=0.1), 11)
    result = answer(conv, bn)
    if not isinstance(result, tuple | list) or len(result) != 2:
        raise Wrong("Return two tensors: the new weight, then the new bias.")
    for part, shape in zip(result, ((4, 4, 3, 3), (4,)), strict=True):
        if not isinstance(part, Tensor) or tuple(part.shape) != shape:
            found = tuple(part.shape) if isinstance(part, Tensor) else type(part).__name__
            raise Wrong(f"A weight of (4, 4, 3, 3) and a bias of (4,) were expected, not {found}.")
    weight, bias = (part.detach().double() for part in result)
    _compare_folded(weight, bias, conv, bn)
    return "One convolution with a bias does exactly what the two layers did."


def _compare_folded(weight: Tensor, bias: Tensor, conv: Any, bn: Any) -> None:
    w, gamma, beta, mean, var = (
        value.detach().double()
        for value in (conv.weight, bn.weight, bn.bias, bn.running_mean, bn.running_var)
    )
    gain = gamma / (var + 0.1).sqrt()

    def spread(values: Tensor) -> Tensor:
        return w * values[:, None, None, None]

    compare(weight, spread(gain), [
        (w * gain[None, :, None, None], "The gain runs along the *input* channels (axis 1). It "
         "belongs to what comes out: axis 0."),
        (spread(gamma / var.sqrt()), "bn.eps is missing under the root, or a fixed number stands "
         "in its place. It is small in practice; exact is exact."),
        (spread(gamma / (var + 0.1)), "Divided by the variance. BatchNorm divides by its root."),
        (spread(gamma / (var.sqrt() + 0.1)), "eps stands outside the root; it belongs inside."),
        (spread(1 / (var + 0.1).sqrt()), "bn.weight is missing from the gain."),
        (spread(gamma), "The variance takes no part."),
        (w, "The weight came back as it was."),
    ])  # fmt: skip
    compare(bias, beta - gain * mean, [
        (beta, "The weight is right. The bias forgets the running mean, which BatchNorm takes off "
         "first."),
        (beta - mean, "The weight is right. In the bias, the running mean is scaled by the gain "
         "too: it is taken off before."),
        (beta - gamma * mean, "The weight is right. In the bias, the running mean is scaled by all "
         "of the gain: not by bn.weight alone."),
        (beta + gain * mean, "The weight is right. The running mean is taken *off*: its sign is "
         "turned round in the bias."),
        (-gain * mean, "The weight is right. bn.bias is missing from the bias."),
        (gain * (beta - mean), "The weight is right. bn.bias is added after the gain, so it isn't "
         "scaled."),
    ])  # fmt: skip


@exercise(
    "each_place_alone",
    hints=(
        "If one token has the whole share, the mixture is that token's value: no softmax is left "
        "to compute.",
        "A place enters the attention with its position added, behind the mean. What becomes of it "
        "on the way to the output? Two layers of the pool.",
        "Make the tokens, leave out the first (the mean), and send the rest through v_proj and "
        "c_proj. All heads take the same place, so they need no splitting.",
    ),
)
def _each_alone(answer: Answer) -> str:
    pool, places = small_pool(12), drawn(2, 12, 2, 2, seed=13)
    means = "for each picture a vector a place, without the mean's"
    result = answer.tensor(places, pool, shape=(2, 4, 6), means=means)
    rows = tokens_for(places, pool)
    wanted = torch.stack([_pooled_from(rows, pool, taken) for taken in range(1, 5)], dim=1)
    compare(result, wanted, _alone_mistakes(rows, pool))
    return "Each place now has a vector in the space of the texts."


def _pooled_from(rows: Tensor, pool: AttentionPool2d, taken: int) -> Tensor:
    """The pool's way out, had one token the share 1 and the others 0."""
    shares = torch.zeros(rows.shape[1]).double()
    shares[taken] = 1
    mixed = torch.einsum("t,bhtc->bhc", shares, by_head(pool.v_proj(rows), pool))
    return pool.c_proj(mixed.flatten(1).float()).double()


def _alone_mistakes(rows: Tensor, pool: AttentionPool2d) -> Mistakes:
    bare, values = rows - pool.positional_embedding, pool.v_proj(rows)
    q, k, v = (by_head(layer(rows), pool) for layer in (pool.q_proj, pool.k_proj, pool.v_proj))
    shares = (torch.einsum("bhqc,bhtc->bhqt", q, k) / k.shape[-1] ** 0.5).softmax(-1)
    asking = torch.einsum("bhqt,bhtc->bhqc", shares, v).transpose(1, 2).flatten(2).float()
    weighted = (v * shares[:, :, :1].mT).transpose(1, 2).flatten(2).float()
    answered = pool.c_proj(asking[:, :1]).expand(-1, 4, -1)
    alone = pool.c_proj(values)[:, 1:]
    first_places = pool.positional_embedding[:-1] + bare[:, 1:]
    found = [
        (pool.c_proj(values)[:, :-1], "The last place was left out, and the mean kept. The mean is "
         "token 0."),
        (pool.c_proj(pool.v_proj(bare))[:, 1:], "The positions take no part. A place enters the "
         "attention with its position added."),
        (pool.c_proj(pool.v_proj(first_places)), "Each place got its neighbour's position: the "
         "first position belongs to the mean."),
        (pool.c_proj(rows)[:, 1:], "v_proj is missing: what a token hands over is its value."),
        (pool.c_proj(pool.k_proj(rows))[:, 1:], "Those are the keys (k_proj). What is handed over "
         "are the values."),
        (pool.c_proj(weighted)[:, 1:], "Each place still has only the share that the mean gave it. "
         "Here it has all of it: a share of 1."),
        (pool.c_proj(asking)[:, 1:], "Here every place asks, and gets a mixture. Asked for is what "
         "it says alone: no mixing."),
        (answered, "Every place got the answer for the whole picture."),
        (alone / alone.norm(dim=2, keepdim=True), "The vectors have length 1. That comes later, "
         "when they are compared with texts."),
    ]  # fmt: skip
    return [(value.double(), words) for value, words in found]
