"""Chapter 5: right answers in many forms, and wrong ones with words that their diagnosis holds."""

import math

import torch
from torch.nn import functional as F

from clip_lab.interpret.attention import mixed, queries_keys_values
from clip_lab.model.text import end_positions


def by_places(n):
    place = torch.arange(n)
    return place <= place[:, None]


def by_rows(n):
    return torch.stack([torch.arange(n) < i + 1 for i in range(n)])


def attend(q, k, v, mask):
    scores = (q @ k.mT / q.shape[-1] ** 0.5).masked_fill(~mask, -torch.inf)
    return scores.softmax(-1) @ v


def added(q, k, v, mask):
    low = torch.zeros(mask.shape).masked_fill(mask.logical_not(), torch.finfo(torch.float32).min)
    return F.softmax(torch.einsum("...id,...jd->...ij", q, k) * q.size(-1) ** -0.5 + low, -1) @ v


def renormalised(q, k, v, mask):
    shares = (q @ k.transpose(-2, -1) / math.sqrt(k.shape[-1])).double().softmax(-1) * mask
    return (shares / shares.sum(-1, keepdim=True)).to(v.dtype) @ v


def first_true(tokens, end):
    return (tokens == end).int().argmax(dim=1)


def by_loop(tokens, end):
    return torch.tensor([row.index(end) for row in tokens.tolist()])


def by_sum(tokens, end):
    return ((tokens == end).int().cumsum(dim=1) == 0).sum(1)


def states(tower, tokens, mask):
    x = tower.token_embedding(tokens) + tower.positional_embedding[: tokens.shape[1]]
    for block in tower.transformer.resblocks:
        q, k, v = queries_keys_values(block.attn, block.ln_1(x))
        x = x + block.attn.out_proj(attend(q, k, v, mask).transpose(1, 2).flatten(2))
        x = x + block.mlp(block.ln_2(x))
    return tower.ln_final(x)


def by_blocks(tower, tokens, mask):
    x = tower.token_embedding(tokens) + tower.positional_embedding[: tokens.shape[1]]
    return tower.ln_final(tower.transformer(x, mask))


def pieces(tower, tokens, mask, position=True, norms=(True, True), stay=(True, True), out=True,
           last=True, swap=True, blocks=None, network=True, post=False):  # fmt: skip
    x = tower.token_embedding(tokens)
    x = x + tower.positional_embedding[: tokens.shape[1]] * position
    for block in list(tower.transformer.resblocks)[:blocks]:
        q, k, v = queries_keys_values(block.attn, block.ln_1(x) if norms[0] else x)
        heads = attend(q, k, v, mask)
        heads = heads.transpose(1, 2).flatten(2) if swap else heads.reshape(x.shape)
        heads = block.attn.out_proj(heads) if out else heads
        x = x * stay[0] + heads
        x = block.ln_1(x) if post else x
        if network:
            x = x * stay[1] + block.mlp(block.ln_2(x) if norms[1] else x)
            x = block.ln_2(x) if post else x
    return tower.ln_final(x) if last else x


def wrong_tower(**steps):
    return lambda tower, tokens, mask: pieces(tower, tokens, mask, **steps)


def parallel(tower, tokens, mask):
    x = tower.token_embedding(tokens) + tower.positional_embedding[: tokens.shape[1]]
    for block in tower.transformer.resblocks:
        x = x + block.attn(block.ln_1(x), mask) + block.mlp(block.ln_2(x))
    return tower.ln_final(x)


def whole_table(tower, tokens, mask):
    return tower.ln_final(tower.token_embedding(tokens) + tower.positional_embedding)


def own_mask(tower, tokens, mask):
    return states(tower, tokens, by_places(tokens.shape[1]))


def one_norm(tower, tokens, mask):
    x = tower.token_embedding(tokens) + tower.positional_embedding[: tokens.shape[1]]
    for block in tower.transformer.resblocks:
        x = x + block.attn(block.ln_1(x), mask)
        x = x + block.mlp(block.ln_1(x))
    return tower.ln_final(x)


def no_attention(tower, tokens, mask):
    x = tower.token_embedding(tokens) + tower.positional_embedding[: tokens.shape[1]]
    for block in tower.transformer.resblocks:
        x = x + block.mlp(block.ln_2(x))
    return tower.ln_final(x)


def by_the_lab(tower, tokens, mask):
    x = tower.token_embedding(tokens) + tower.positional_embedding[: tokens.shape[1]]
    for block in tower.transformer.resblocks:
        q, k, v = queries_keys_values(block.attn, block.ln_1(x))
        shares = (q @ k.mT / math.sqrt(q.shape[-1])).masked_fill(~mask, -math.inf).softmax(-1)
        x = x + mixed(block.attn, shares, v)
        x = x + block.mlp(block.ln_2(x))
    return tower.ln_final(x)


def cut(tokens, end):
    return tokens[:, : int(first_true(tokens, end).max()) + 1]


def norms_kept(tower, tokens, mask):
    x = tower.token_embedding(tokens) + tower.positional_embedding[: tokens.shape[1]]
    for block in tower.transformer.resblocks:
        x = block.ln_1(x)
        x = block.ln_2(x + block.attn(x, mask))
        x = x + block.mlp(x)
    return tower.ln_final(x)


def norms_often(tower, tokens, mask):
    x = tower.token_embedding(tokens) + tower.positional_embedding[: tokens.shape[1]]
    for block in tower.transformer.resblocks:
        x = x + block.attn(block.ln_1(x), mask)
        x = tower.ln_final(x + block.mlp(block.ln_2(x)))
    return x


def last_end(tokens, end):
    return tokens.shape[1] - 1 - (tokens == end).flip(1).int().argmax(1)


def joined(causal, real, dtype):
    see = causal[None] & real[:, None]
    return torch.zeros(see.shape, dtype=dtype).masked_fill(~see, torch.finfo(dtype).min)


def where(causal, real, dtype):
    low = torch.tensor(torch.finfo(dtype).min, dtype=dtype)
    return torch.where(torch.logical_and(causal, real.unsqueeze(1)), torch.zeros_like(low), low)


def summed(causal, real, dtype):
    low = torch.finfo(dtype).min
    return (~causal).to(dtype)[None] * low + (~real).to(dtype)[:, None] * low


def say_next(logits, tokens, end):
    real = torch.arange(tokens.shape[1]) <= first_true(tokens, end)[:, None]
    return F.cross_entropy(logits[:, :-1][real[:, 1:]], tokens[:, 1:][real[:, 1:]])


def ignoring(logits, tokens, end):
    later = torch.arange(tokens.shape[1]) > end_positions(tokens, end)[:, None]
    wanted = tokens.masked_fill(later, -100)[:, 1:]
    return F.cross_entropy(logits[:, :-1].transpose(1, 2), wanted, ignore_index=-100)


def say(logits, tokens, pairs, mean=True):
    losses = torch.stack([-logits[b, i].log_softmax(0)[tokens[b, t]] for b, i, t in pairs])
    return losses.mean() if mean else losses.sum()


def pairs(tokens, end, told=1, until=0):
    """(row, place that says, place that is said), up to the end token and `until` more."""
    ends = first_true(tokens, end).tolist()
    return [(b, i, i + told) for b, e in enumerate(ends) for i in range(max(0, -told), e + until)]


RIGHT = {
    "causal_mask": [by_places, by_rows, lambda n: torch.ones(n, n).tril().bool(),
                    lambda n: ~torch.triu(torch.ones(n, n, dtype=torch.bool), 1)],
    "masked_attention": [attend, added, renormalised,
                         lambda q, k, v, mask: F.scaled_dot_product_attention(q, k, v, mask)],
    "end_places": [first_true, by_loop, by_sum, end_positions,
                   lambda t, end: torch.argmax((t == end).to(torch.uint8), -1)],
    "token_states": [states, by_blocks, by_the_lab],
    "cut_to_longest": [cut, lambda t, end: t[:, : max(by_loop(t, end)) + 1].clone()],
    "additive_mask": [joined, where],
    "next_token_loss": [say_next, ignoring, lambda x, t, end: say(x, t, pairs(t, end))],
}  # fmt: skip


def scaled(q, k, v, mask, scale=1.0):
    return ((q @ k.mT) * scale).masked_fill(~mask, -torch.inf).softmax(-1) @ v


def scores(q, k):
    return q @ k.mT / q.shape[-1] ** 0.5


# (exercise, a plausible wrong answer, words that its diagnosis must hold)
WRONG = [
    ("causal_mask", lambda n: ~by_places(n), "nn.MultiheadAttention"),
    ("causal_mask", lambda n: by_places(n).T, "turned round"),
    ("causal_mask", lambda n: torch.ones(n, n).tril(-1).bool(), "No token sees itself"),
    ("causal_mask", lambda n: torch.ones(n, n, dtype=torch.bool), "no mask"),
    ("causal_mask", lambda n: torch.eye(n).bool(), "itself alone"),
    ("causal_mask", lambda n: torch.full((n, n), -math.inf).triu(1), "mask holds numbers"),
    ("causal_mask", lambda n: torch.ones(n, n).tril(), "mask holds numbers"),
    ("causal_mask", lambda n: [[j <= i for j in range(n)] for i in range(n)], "this is a list"),
    ("causal_mask", lambda n: by_places(n)[None], "(5, 5) was expected"),
    ("masked_attention", lambda q, k, v, m: attend(q, k, v, ~m), "wrong way round"),
    ("masked_attention", lambda q, k, v, m: scores(q, k).softmax(-1) @ v, "takes no part"),
    ("masked_attention", lambda q, k, v, m: (scores(q, k).softmax(-1) * m) @ v, "sums to 1"),
    ("masked_attention", lambda q, k, v, m: (scores(q, k) * m).softmax(-1) @ v, "exp(0) is 1"),
    ("masked_attention", lambda q, k, v, m: (scores(q, k) + m).softmax(-1) @ v, "added to the"),
    ("masked_attention", lambda q, k, v, m: scaled(q, k, v, m), "not divided by the root"),
    ("masked_attention", lambda q, k, v, m: scaled(q, k, v, m, 0.25), "its root was meant"),
    ("masked_attention", lambda q, k, v, m: scores(q, k).masked_fill(~m, -1e30).softmax(-2) @ v,
     "runs over the queries"),
    ("masked_attention", lambda q, k, v, m: scores(q, k).masked_fill(~m, 0) @ v, "no softmax"),
    ("masked_attention", lambda q, k, v, m: scores(q, k).masked_fill(~m, -30.0).softmax(-1) @ v,
     "low enough"),
    ("masked_attention", lambda q, k, v, m: q @ k @ v, "stopped with RuntimeError"),
    ("masked_attention", lambda q, k, v, m: scaled(q, k, v, m, q.shape[-2] ** -0.5), "of tokens"),
    ("masked_attention", lambda q, k, v, m: F.scaled_dot_product_attention(q, k, v, is_causal=True),
     "whatever mask is handed in"),
    ("masked_attention", lambda q, k, v, m: scaled(q, k, v, m) / q.shape[-1] ** 0.5,
     "came after the softmax, so the shares"),
    ("end_places", lambda t, end: t.argmax(1), "largest id"),
    ("end_places", last_end, "last end token"),
    ("end_places", lambda t, end: (t != 0).sum(1) - 1, "“!”"),
    ("end_places", lambda t, end: (t == 0).int().argmax(1) - 1, "first 0 and steps back"),
    ("end_places", lambda t, end: first_true(t, end) - 1, "One too early"),
    ("end_places", lambda t, end: first_true(t, end) + 1, "One too late"),
    ("end_places", lambda t, end: torch.full((len(t),), t.shape[1] - 1), "padding, mostly"),
    ("end_places", lambda t, end: torch.zeros(len(t)), "the start token"),
    ("end_places", lambda t, end: (t == end).nonzero()[:, 1], "(4,) was expected"),
    ("end_places", lambda t, end: by_loop(t, end).tolist(), "not a tensor"),
    ("token_states", wrong_tower(position=False), "positions were not added"),
    ("token_states", wrong_tower(norms=(False, True)), "ln_1"),
    ("token_states", wrong_tower(norms=(True, False)), "ln_2"),
    ("token_states", wrong_tower(stay=(False, True)), "what the attention gives"),
    ("token_states", wrong_tower(stay=(True, False)), "what the small network gives"),
    ("token_states", wrong_tower(out=False), "out_proj"),
    ("token_states", wrong_tower(network=False), "small network (mlp)"),
    ("token_states", wrong_tower(last=False), "ln_final is missing"),
    ("token_states", wrong_tower(swap=False), "wrong order"),
    ("token_states", wrong_tower(blocks=1), "Only the first block"),
    ("token_states", wrong_tower(post=True, norms=(False, False)), "post-norm"),
    ("token_states", parallel, "before the attention"),
    ("token_states", one_norm, "a norm of its own"),
    ("token_states", no_attention, "no token hears of another"),
    ("token_states", norms_kept, "x itself was normalised"),
    ("token_states", norms_often, "ln_final came after every block"),
    ("token_states", whole_table, "Two shapes don't line up"),
    ("token_states", own_mask, "the mask that is handed in"),
    ("token_states", lambda tower, t, mask: by_blocks(tower, t, None), "The mask takes no part"),
    ("cut_to_longest", lambda t, end: cut(t, end)[:, :-1], "lost its end token"),
    ("cut_to_longest", lambda t, end: t[:, : int(first_true(t, end).min()) + 1], "shortest"),
    ("cut_to_longest", lambda t, end: t[:, : int(last_end(t, end).max()) + 1], "Nothing was cut"),
    ("cut_to_longest", lambda t, end: t[:, : int(first_true(t, end).max()) + 2], "One column too"),
    ("cut_to_longest", lambda t, end: t[:, -5:], "at the start went"),
    ("cut_to_longest", lambda t, end: cut(t, end).tolist(), "this is a list"),
    ("additive_mask", summed, "two masks were added"),
    ("additive_mask", lambda c, r, d: joined(c, r, d).masked_fill(~c, -math.inf), "softmax of nan"),
    ("additive_mask", lambda c, r, d: joined(c, r, torch.float32), "dtype that was asked for"),
    ("additive_mask", lambda c, r, d: joined(c, r, torch.float32).to(d), "another dtype was taken"),
    ("additive_mask", lambda c, r, d: (~(c & r[:, None] & r[:, :, None])).to(d)
     * torch.finfo(d).min, "padding may not look either"),
    ("additive_mask", lambda c, r, d: (c[None] & r[:, None]).to(d), "1 and 0"),
    ("additive_mask", lambda c, r, d: (c[None] & r[:, None]).to(d) * torch.finfo(d).min, "signs"),
    ("additive_mask", lambda c, r, d: joined(c, torch.ones_like(r), d), "still be looked at: `re"),
    ("additive_mask", lambda c, r, d: joined(torch.ones_like(c), r, d), "the causal mask takes no"),
    ("additive_mask", lambda c, r, d: (~(c[None] & r[:, :, None])).to(d) * torch.finfo(d).min,
     "token that looks"),
    ("additive_mask", lambda c, r, d: (~(c[None] & r[:, None])).to(d) * -1e4, "−10,000"),
    ("additive_mask", lambda c, r, d: (~(c[None] | r[:, None])).to(d) * torch.finfo(d).min,
     "Both have to"),
    ("next_token_loss", lambda x, t, end: F.cross_entropy(x[:, :-1].flatten(0, 1),
                                                          t[:, 1:].flatten()), "padding counts"),
    ("next_token_loss", lambda x, t, end: say(x, t, pairs(t, end, 0, 1)), "its own token"),
    ("next_token_loss", lambda x, t, end: say(x, t, pairs(t, end, -1, 1)), "the wrong way"),
    ("next_token_loss", lambda x, t, end: say(x, t, pairs(t, end, 1, -1)), "ever end"),
    ("next_token_loss", lambda x, t, end: say(x, t, pairs(t, end, 1, 1)), "what comes after it"),
    ("next_token_loss", lambda x, t, end: torch.stack(
        [say_next(x[b: b + 1], t[b: b + 1], end) for b in range(3)]).mean(), "captions' means"),
    ("next_token_loss", lambda x, t, end: say(x, t, pairs(t, end), mean=False), "summed"),
    ("next_token_loss", lambda x, t, end: say(x, t, pairs(t, end), mean=False) / t[:, 1:].numel(),
     "below the line"),
    ("next_token_loss", lambda x, t, end: F.cross_entropy(
        x[:, :-1].flatten(0, 1), t[:, 1:].flatten(), ignore_index=0), "Id 0 was left out"),
    ("next_token_loss", lambda x, t, end: say_next(x, t, end).detach(), "cut off from its inputs"),
    ("next_token_loss", lambda x, t, end: say_next(x, t, end).item(), "not a tensor"),
]  # fmt: skip
