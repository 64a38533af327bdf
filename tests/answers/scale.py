"""Chapter 15: right answers in many forms, and wrong ones with words that their diagnosis holds."""

import math
from typing import Any

import torch
from torch.nn import functional as F

from clip_lab.losses import info_nce


def encode(model, pictures, tokens):
    i, t = model.encode_image(pictures), model.encode_text(tokens)
    return i / i.norm(dim=1, keepdim=True), t / t.norm(dim=1, keepdim=True)


def parts_of(pictures, tokens, pieces):
    return list(zip(pictures.chunk(pieces), tokens.chunk(pieces), strict=True))


def cached(model, pictures, tokens, pieces, first: Any = torch.no_grad, sides=(0, 1), scale=True):
    parts = parts_of(pictures, tokens, pieces)
    with first():
        found = [encode(model, *part) for part in parts]
    leaves = [torch.cat([pair[k] for pair in found]).detach().requires_grad_() for k in (0, 1)]
    tau = model.logit_scale if scale else model.logit_scale.detach()
    loss = info_nce(leaves[0], leaves[1], tau)
    loss.backward()
    start = 0
    for part in parts:
        rows = slice(start, start + len(part[0]))
        start += len(part[0])
        pair = encode(model, *part)
        slopes = [leaf.grad[rows] for leaf in leaves if leaf.grad is not None]
        torch.stack([(pair[k] * slopes[k]).sum() for k in sides]).sum().backward()
    return loss.detach()


def recomputed(model, pictures, tokens, pieces, once=True):
    """As open_clip does it: the whole loss for each piece, with the others' vectors kept."""
    parts = parts_of(pictures, tokens, pieces)
    with torch.no_grad():
        found = [encode(model, *part) for part in parts]
    for k, part in enumerate(parts):
        live = [pair if j != k else encode(model, *part) for j, pair in enumerate(found)]
        sides = [torch.cat([pair[side] for pair in live]) for side in (0, 1)]
        scale = model.logit_scale.detach() if once and k else model.logit_scale
        loss = info_nce(sides[0], sides[1], scale)
        loss.backward()
    return loss.item()


def detached(model, pictures, tokens, pieces):
    """Without no_grad, but each piece's layers are gone before the next comes."""
    parts = parts_of(pictures, tokens, pieces)
    found = [[v.detach() for v in encode(model, *part)] for part in parts]
    i, t = (torch.cat([pair[k] for pair in found]).requires_grad_() for k in (0, 1))
    loss = info_nce(i, t, model.logit_scale)
    loss.backward()
    for k, part in enumerate(parts):
        slopes = [leaf.grad.chunk(pieces)[k] for leaf in (i, t) if leaf.grad is not None]
        torch.autograd.backward(encode(model, *part), slopes)
    return loss.item()


def at_once(model, pictures, tokens, pieces):
    loss = info_nce(*encode(model, pictures, tokens), model.logit_scale)
    loss.backward()
    return loss


def accumulated(model, pictures, tokens, pieces):
    for part in parts_of(pictures, tokens, pieces):
        loss = info_nce(*encode(model, *part), model.logit_scale) / pieces
        loss.backward()
    return loss * pieces


def beside_fixed(model, pictures, tokens, pieces):
    """Only a piece's own rows of the matrix go back."""
    parts = parts_of(pictures, tokens, pieces)
    with torch.no_grad():
        everyone = encode(model, pictures, tokens)
    first, total = 0, 0.0
    for part in parts:
        i, t = encode(model, *part)
        own = torch.arange(len(i)) + first
        first += len(i)
        one = F.cross_entropy(model.logit_scale.exp() * i @ everyone[1].T, own)
        other = F.cross_entropy(model.logit_scale.exp() * t @ everyone[0].T, own)
        loss = (one + other) / 2 / pieces
        loss.backward()
        total += loss.item()
    return total


def no_second_pass(model, pictures, tokens, pieces):
    with torch.no_grad():
        found = [encode(model, *part) for part in parts_of(pictures, tokens, pieces)]
    leaves = [torch.cat([pair[k] for pair in found]).requires_grad_() for k in (0, 1)]
    loss = info_nce(leaves[0], leaves[1], model.logit_scale)
    loss.backward()
    return loss.item()


def forgets(model, pictures, tokens, pieces):
    for parameter in model.parameters():
        parameter.grad = None
    return cached(model, pictures, tokens, pieces)


def local(i, t, everyone_i, everyone_t, s, rank, shift=None, both=True):
    own = torch.arange(len(i)) + (rank * len(i) if shift is None else shift)
    one = F.cross_entropy(s.exp() * i @ everyone_t.T, own)
    other = F.cross_entropy(s.exp() * t @ everyone_i.T, own)
    return (one + other) / 2 if both else one


def local_by_hand(i, t, everyone_i, everyone_t, s, rank):
    n = len(i)
    a, b = s.exp() * i @ everyone_t.T, s.exp() * t @ everyone_i.T
    rows = torch.arange(n)
    right = a[rows, rows + rank * n]
    return (a.logsumexp(1) + b.logsumexp(1) - 2 * right).mean() / 2


def captions_twice(i, t, everyone_i, everyone_t, s, rank):
    own = torch.arange(len(i)) + rank * len(i)
    one = F.cross_entropy(s.exp() * i @ everyone_t.T, own)
    return (one + F.cross_entropy(s.exp() * t @ everyone_t.T, own)) / 2


def gathered(shards, rank, with_gradients):
    keep = [with_gradients or k == rank for k in range(len(shards))]
    return torch.cat([s if k else s.detach() for s, k in zip(shards, keep, strict=True)])


def own_first(shards, rank, with_gradients):
    return torch.cat([shards[rank], *(s for k, s in enumerate(shards) if k != rank)])


def bytes_of(weights, per_pair, batch, pieces=1):
    return 4 * 4 * weights + per_pair * -(-batch // pieces) + 2 * 4 * batch * batch


def back(slopes, counts, rank):
    start = sum(counts[:rank])
    return sum(slope[start : start + counts[rank]] for slope in slopes)


def streamed(i, t, s, tile, start=-math.inf, join=torch.logaddexp):
    total = torch.full((len(i),), start, dtype=i.dtype)
    for k in range(0, len(t), tile):
        total = join(total, (s.exp() * i @ t[k : k + tile].T).logsumexp(1))
    return (total - s.exp() * torch.einsum("nd,nd->n", i, t)).mean()


def streamed_by_maximum(i, t, s, tile):
    """The online softmax: a running maximum, and a running sum beside it."""
    top, total = torch.full((len(i),), -math.inf), torch.zeros(len(i))
    for part in t.split(tile):
        logits = s.exp() * i @ part.T
        new = torch.maximum(top, logits.amax(1))
        total = total * (top - new).exp() + (logits - new[:, None]).exp().sum(1)
        top = new
    return (top + total.log() - s.exp() * (i * t).sum(1)).mean()


def overflows(i, t, s, tile):
    total = torch.zeros(len(i))
    for part in t.split(tile):
        total = total + (s.exp() * i @ part.T).exp().sum(1)
    return (total.log() - s.exp() * (i * t).sum(1)).mean()


def tiles_apart(i, t, s, tile):
    pairs = list(zip(i.split(tile), t.split(tile), strict=True))
    return torch.stack(
        [F.cross_entropy(s.exp() * a @ b.T, torch.arange(len(a))) for a, b in pairs]
    ).mean()


def whole(i, t, s, tile):
    return F.cross_entropy(s.exp() * i @ t.T, torch.arange(len(i)))


RIGHT = {
    "cached_gradients": [cached, recomputed, detached],
    "local_loss": [local, local_by_hand],
    "gather": [gathered, lambda s, r, g: torch.cat(
        [*(x if g else x.detach() for x in s[:r]), s[r],
         *(x if g else x.detach() for x in s[r + 1 :])])],
    "training_bytes": [bytes_of, lambda w, p, b, k=1: float(bytes_of(w, p, b, k))],
    "gather_backward": [back, lambda s, c, r: torch.stack(s).sum(0).split(c)[r]],
    "streamed_rows": [streamed, streamed_by_maximum],
}  # fmt: skip

# (exercise, a plausible wrong answer, words that its diagnosis must hold)
WRONG = [
    ("cached_gradients", at_once, "7 of 7 pictures went through"),
    ("cached_gradients", accumulated, "gradients of small batches"),
    ("cached_gradients", beside_fixed, "as fixed numbers"),
    ("cached_gradients", no_second_pass, "A second pass has to carry it on"),
    ("cached_gradients", lambda *a: cached(*a, first=torch.enable_grad), "several pieces are kept"),
    ("cached_gradients", lambda *a: cached(*a, sides=(0,)), "the text tower hasn't"),
    ("cached_gradients", lambda *a: cached(*a, sides=(1,)), "the image tower hasn't"),
    ("cached_gradients", lambda *a: recomputed(*a, once=False), "counted 3 times"),
    ("cached_gradients", lambda *a: cached(*a, scale=False), "temperature gets no gradient"),
    ("cached_gradients", forgets, "should be added to"),
    ("cached_gradients", lambda *a: cached(*a) * 0, "On a small example"),
    ("local_loss", lambda i, t, a, b, s, r: local(i, t, a, b, s, r, 0), "begin at 0 in every"),
    ("local_loss", lambda i, t, a, b, s, r: local(i, t, a, b, s, r, r), "begin at the rank"),
    ("local_loss", lambda i, t, a, b, s, r: local(i, t, a, b, s, r, both=False), "one direction"),
    ("local_loss", captions_twice, "captions with captions"),
    ("local_loss", lambda i, t, a, b, s, r: 2 * local(i, t, a, b, s, r), "their mean"),
    ("local_loss", lambda i, t, a, b, s, r: local(i, t, a, b, s, r) * len(i) / len(a),
     "DDP does that"),
    ("local_loss", lambda i, t, a, b, s, r: info_nce(i, t, s), "gathered ones take no part"),
    ("local_loss", lambda i, t, a, b, s, r: info_nce(a, b, s), "compute again"),
    ("local_loss", lambda i, t, a, b, s, r: local(i, t, a, b, s.log(), r), "a logarithm"),
    ("local_loss", lambda i, t, a, b, s, r: local(i, t, a, b, s.detach(), r), "temperature would"),
    ("gather", own_first, "come first"),
    ("gather", lambda s, r, g: torch.cat(s), "over the network only numbers came"),
    ("gather", lambda s, r, g: torch.cat([x.detach() for x in s]), "even the process's own"),
    ("gather", lambda s, r, g: gathered(s, r, False), "the other processes get none"),
    ("gather", lambda s, r, g: gathered(s, 0, g), "own rows get no gradient"),
    ("gather", lambda s, r, g: s, "Return one tensor"),
    ("gather", lambda s, r, g: torch.stack(s), "make (6, 3)"),
    ("training_bytes", lambda w, p, b, k: bytes_of(w, p, b, 1), "pieces take no part"),
    ("training_bytes", lambda w, p, b, k: 16 * w + p * (b // k) + 8 * b * b, "Round up"),
    ("training_bytes", lambda w, p, b, k: 16 * w + p * b / k + 8 * b * b, "Round up"),
    ("training_bytes", lambda w, p, b, k: bytes_of(w, p, b, k) - 12 * w, "two averages as well"),
    ("training_bytes", lambda w, p, b, k: bytes_of(w, p, b, k) - 8 * w, "averages are missing"),
    ("training_bytes", lambda w, p, b, k: bytes_of(w, p, b, k) - 4 * b * b, "its gradient"),
    ("training_bytes", lambda w, p, b, k: bytes_of(w, p, b, k) - 8 * b * b, "is missing"),
    ("training_bytes", lambda w, p, b, k: bytes_of(w, p, b, k) / 4, "has 4 bytes"),
    ("gather_backward", lambda s, c, r: s[r].split(c)[r], "lightly's mistake"),
    ("gather_backward", lambda s, c, r: torch.stack(s).mean(0).split(c)[r], "the sum was asked"),
    ("gather_backward", lambda s, c, r: (torch.stack(s).sum(0) - s[r]).split(c)[r],
     "own loss is left out"),
    ("gather_backward", lambda s, c, r: torch.stack(s).sum(0)[: c[r]], "process 0 gave"),
    ("gather_backward", lambda s, c, r: torch.stack(s).sum(0)[r : r + c[r]], "not at the rank"),
    ("gather_backward", lambda s, c, r: sum(s), "as many rows as process 1 gave"),
    ("streamed_rows", whole, "a tensor of 9,216 numbers"),
    ("streamed_rows", tiles_apart, "its own tile"),
    ("streamed_rows", overflows, "nan or inf"),
    ("streamed_rows", lambda *a: streamed(*a, start=0.0, join=torch.add), "Logarithms of sums"),
    ("streamed_rows", lambda *a: streamed(*a, join=torch.maximum), "Only the largest tile"),
    ("streamed_rows", lambda *a: streamed(*a, join=lambda old, new: new), "Only the last tile"),
    ("streamed_rows", lambda *a: streamed(*a, start=0.0), "a 1 too much"),
    ("streamed_rows", lambda i, t, s, tile: streamed(t, i, s, tile), "These are the columns"),
    ("streamed_rows", lambda i, t, s, tile: streamed(i, t, s.log(), tile), "a logarithm"),
]  # fmt: skip
