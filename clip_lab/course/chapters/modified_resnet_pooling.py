"""Chapter 4: what its two exercises on attention pooling look for."""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from clip_lab.course.chapters.modified_resnet import unruly
from clip_lab.course.checks import Answer, compare, exercise
from clip_lab.course.trial import Mistakes, drawn
from clip_lab.model.resnet import AttentionPool2d


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
    pool, tokens = small_pool(), drawn(2, 5, 12, seed=6)
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
    places = by_head(pool.q_proj(tokens[:, 1:].mean(1, keepdim=True)), pool)
    split = [x.double().reshape(2, pool.heads, -1, per_head) for x in (asked[:, :1], offered)]
    whole = torch.einsum("bc,btc->bt", asked[:, 0].double(), offered.double()) / math.sqrt(width)
    return [
        (whole.softmax(-1)[:, None].expand(-1, pool.heads, -1), "Every head has the same shares: "
         "the whole width was compared at once. A head compares only its own numbers."),
        (_shares(*split), "The heads were made by re-reading the numbers: parts of several "
         "tokens became one head. Split the last axis: unflatten."),
        ((logits / math.sqrt(tokens.shape[1])).softmax(-1), "Divided by the root of the number of "
         "tokens; the root of the numbers a head has was meant."),
        ((logits / math.sqrt(per_head)).softmax(0), "The softmax runs along the pictures. Each "
         "head has 100 % of its own, in each picture, to give to the tokens."),
        (_shares(places, k), "A mean taken of the tokens asks. The right one stands first."),
        (logits.softmax(-1), "The dot products were not divided by anything: the longer the "
         "vectors, the harder the softmax. Divide by the root of the numbers a head has."),
        ((logits / math.sqrt(width)).softmax(-1), "Divided by the root of the whole width. A head "
         "compares only its own numbers: take the root of how many these are."),
        ((logits / per_head).softmax(-1), "Divided by a head's width; its root was meant."),
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
        (logits / math.sqrt(per_head), "These are the logits. They have to become shares yet."),
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
    pool, places = small_pool(), drawn(2, 12, 2, 2, seed=7)
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
    late = tokens.clone()  # positions first, then the mean of what came of that
    late[:, 0] = tokens[:, 1:].mean(1)
    jumbled = places.reshape(bare.shape[0], -1, bare.shape[2])
    jumbled = torch.cat([jumbled.mean(1, keepdim=True), jumbled], 1) + pool.positional_embedding
    return [
        (F.normalize(pool(places).double(), dim=1), "The vectors have length 1. That comes later, "
         "when pictures and texts are compared."),
        (out(late, pool.v_proj(late)), "The mean was taken of places that had their positions "
         "already. Take it first: its own position is the first one."),
        (out(jumbled, pool.v_proj(jumbled)), "The places were re-read (reshape), so that numbers "
         "of different channels make up a token. tokens_of moves the axes."),
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
