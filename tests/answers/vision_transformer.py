"""Chapter 3: right answers in many forms, and wrong ones with words that their diagnosis holds."""

import torch
from torch.nn import functional as F

from clip_lab.pretrained.build import resize_positions


def cut(x, p):
    b, c, h, w = x.shape
    return x.reshape(b, c, h // p, p, w // p, p).permute(0, 2, 4, 1, 3, 5).reshape(b, -1, c * p * p)


def by_loop(x, p):
    rows, columns = range(0, x.shape[2], p), range(0, x.shape[3], p)
    return torch.stack(
        [x[:, :, i : i + p, j : j + p].flatten(1) for i in rows for j in columns], dim=1
    )


def by_windows(x, p):
    return x.unfold(2, p, p).unfold(3, p, p).permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)


def split_of(order):
    def wrong(x, p):
        b, c, h, w = x.shape
        parts = x.reshape(b, c, h // p, p, w // p, p)
        return parts.permute(0, *order).reshape(b, h * w // p**2, c * p * p)

    return wrong


def attend(q, k, v, heads):
    q, k, v = (x.unflatten(2, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def attend_by_hand(q, k, v, heads, root=2.0, axis=-1, values=None):
    width = q.shape[2] // heads
    out = []
    for h in range(heads):
        mine = slice(h * width, (h + 1) * width)
        shares = (q[..., mine] @ k[..., mine].mT / root).softmax(axis)
        out.append(shares @ (v if values is None else values)[..., mine])
    return torch.cat(out, dim=2)


def strided(q, k, v, heads):
    q, k, v = (x.unflatten(2, (-1, heads)).permute(0, 3, 1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


def not_moved_back(q, k, v, heads):
    q, k, v = (x.unflatten(2, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).reshape(2, 5, 12)


def re_read(q, k, v, heads):
    q, k, v = (x.reshape(2, heads, 5, -1) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).reshape(2, 5, 12)


def over_heads(q, k, v, heads):
    q, k, v = (x.unflatten(2, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    return ((q @ k.mT / 2).softmax(1) @ v).transpose(1, 2).flatten(2)


def heads_with_heads(q, k, v, heads):
    q, k, v = (x.unflatten(2, (heads, -1)) for x in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).flatten(2)


def causal(q, k, v, heads):
    q, k, v = (x.unflatten(2, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    return mixed.transpose(1, 2).flatten(2)


def block(x, ln_1, attention, ln_2, mlp):
    x = x + attention(ln_1(x))
    return x + mlp(ln_2(x))


def block_in_steps(x, ln_1, attention, ln_2, mlp):
    first = attention(ln_1(x))
    stream = first + x
    return stream + mlp(ln_2(stream))


def post_norm(x, ln_1, attention, ln_2, mlp):
    x = ln_1(x + attention(x))
    return ln_2(x + mlp(x))


def norms_behind(x, ln_1, attention, ln_2, mlp):
    x = x + ln_1(attention(x))
    return x + ln_2(mlp(x))


def on_the_copy(x, ln_1, attention, ln_2, mlp):
    x = ln_1(x)
    x = x + attention(x)
    return x + mlp(ln_2(x))


def on_the_copy_twice(x, ln_1, attention, ln_2, mlp):
    x = ln_1(x)
    x = x + attention(x)
    x = ln_2(x)
    return x + mlp(x)


def read(patches, tower, pre=True, post=True, places=True, pick=0, blocks=True, mean=False):
    x = torch.cat([tower.class_embedding.expand(len(patches), 1, -1), patches], 1)
    x = x + places * tower.positional_embedding
    x = tower.ln_pre(x) if pre else x
    x = tower.transformer(x) if blocks else x
    x = x.mean(1) if mean else x[:, pick]
    return (tower.ln_post(x) if post else x) @ tower.proj


def read_by_steps(patches, tower):
    first = tower.class_embedding[None, None].repeat(patches.shape[0], 1, 1)
    x = tower.ln_pre(torch.cat((first, patches), dim=-2) + tower.positional_embedding[None])
    for one in tower.transformer.resblocks:
        x = one(x)
    return torch.einsum("bc,ce->be", tower.ln_post(x)[:, 0], tower.proj)


def read_without_a_place_for_class(patches, tower):
    x = patches + tower.positional_embedding[1:]
    x = torch.cat([tower.class_embedding.expand(len(patches), 1, -1), x], 1)
    return tower.ln_post(tower.transformer(tower.ln_pre(x))[:, 0]) @ tower.proj


def read_late(patches, tower):
    x = torch.cat([tower.class_embedding.expand(len(patches), 1, -1), patches], 1)
    x = tower.ln_pre(x) + tower.positional_embedding
    return tower.ln_post(tower.transformer(x)[:, 0]) @ tower.proj


def read_behind(patches, tower, pick=-1):
    x = torch.cat([patches, tower.class_embedding.expand(len(patches), 1, -1)], 1)
    x = tower.transformer(tower.ln_pre(x + tower.positional_embedding))
    return tower.ln_post(x[:, pick]) @ tower.proj


def read_without_class(patches, tower):
    x = tower.transformer(tower.ln_pre(patches + tower.positional_embedding[1:]))
    return tower.ln_post(x.mean(1)) @ tower.proj


def norms_exchanged(patches, tower):
    x = torch.cat([tower.class_embedding.expand(len(patches), 1, -1), patches], 1)
    x = tower.transformer(tower.ln_post(x + tower.positional_embedding))
    return tower.ln_pre(x[:, 0]) @ tower.proj


def resize(positions, grid, **options):
    options = {"mode": "bicubic", "antialias": True, **options}
    old = round((len(positions) - 1) ** 0.5)
    picture = positions[1:].T.unflatten(1, (old, old))[None]
    return torch.cat(
        [positions[:1], F.interpolate(picture, (grid, grid), **options)[0].flatten(1).T]
    )


def as_a_line(positions, grid):
    return F.interpolate(positions.T[None], grid**2 + 1, mode="linear")[0].T


def patches_as_a_line(positions, grid):
    rest = F.interpolate(positions[1:].T[None], grid**2, mode="linear")[0].T
    return torch.cat([positions[:1], rest])


def scattered(positions, grid):
    old = round((len(positions) - 1) ** 0.5)
    picture = positions[1:].reshape(1, -1, old, old)
    larger = F.interpolate(picture, (grid, grid), mode="bicubic", antialias=True)
    return torch.cat([positions[:1], larger.reshape(grid**2, -1)])


def padded(positions, grid):
    return torch.cat(
        [positions, torch.zeros(grid**2 + 1 - len(positions), positions.shape[1])]
    ) if grid**2 + 1 > len(positions) else positions[: grid**2 + 1]  # fmt: skip


def places(grid):
    k = torch.arange(grid**2)
    return torch.stack([k // grid, k % grid], 1).float()


def distance(shares, grid, fair=True, squared=False, city=False):
    apart = torch.cdist(places(grid), places(grid), p=1 if city else 2)
    apart = apart.square() if squared else apart
    kept = shares[:, 1:, 1:]
    kept = kept / kept.sum(-1, keepdim=True) if fair else kept
    return (kept * apart).sum(-1).mean(-1)


def softmax_again(shares, grid):
    kept = shares[:, 1:, 1:].softmax(-1)
    return (kept * torch.cdist(places(grid), places(grid))).sum(-1).mean(-1)


def distance_by_head(shares, grid):
    out = []
    for head in shares:
        kept = head[1:, 1:] / head[1:, 1:].sum(1, keepdim=True)
        apart = (places(grid)[:, None] - places(grid)).norm(dim=-1)
        out.append((kept * apart).sum() / grid**2)
    return torch.stack(out)


RIGHT = {
    "vit_patches": [cut, by_loop, by_windows, lambda x, p: F.unfold(x, p, stride=p).mT],
    "vit_attention": [attend, attend_by_hand],
    "vit_block": [block, block_in_steps,
                  lambda x, n, a, m, f: x + a(n(x)) + f(m(x + a(n(x))))],
    "vit_vector": [read, read_by_steps],
    "vit_cost": [lambda n, d: 12 * n * d**2 + 2 * n**2 * d,
                 lambda n, d: float(4 * n * d * d + n * (d * 4 * d + 4 * d * d) + n * d * n * 2),
                 lambda n, d: torch.tensor(2 * n * d * (6 * d + n))],
    "vit_positions": [resize, lambda p, g: resize_positions(p, 3, g, 1)],
    "vit_distance": [distance, distance_by_head],
}  # fmt: skip

# (exercise, a plausible wrong answer, words that its diagnosis must hold)
WRONG = [
    ("vit_patches", lambda x, p: x.reshape(2, 6, -1), "re-reads the picture's numbers"),
    ("vit_patches", lambda x, p: x.view(2, 6, 48), "re-reads the picture's numbers"),
    ("vit_patches", lambda x, p: x.unfold(2, p, p).unfold(3, p, p).reshape(2, 6, -1),
     "from one colour of several patches"),
    ("vit_patches", split_of((2, 4, 3, 5, 1)), "row, column, colour;"),
    ("vit_patches", split_of((2, 4, 1, 5, 3)), "colour, column, row;"),
    ("vit_patches", split_of((4, 2, 1, 3, 5)), "column by column"),
    ("vit_patches", split_of((4, 2, 1, 5, 3)), "Rows and columns are exchanged"),
    ("vit_patches", lambda x, p: F.unfold(x, p, stride=p), "Each patch is a column"),
    ("vit_patches", lambda x, p: cut(x, p).flatten(0, 1), "batch, patches, numbers"),
    ("vit_patches", lambda x, p: F.conv2d(x, x[:, :, :p, :p], stride=p), "(2, 6, 48) was expected"),
    ("vit_attention", lambda q, k, v, h: attend_by_hand(q, k, v, h, 1), "not scaled"),
    ("vit_attention", lambda q, k, v, h: attend_by_hand(q, k, v, h, 12**0.5), "the whole width"),
    ("vit_attention", lambda q, k, v, h: attend_by_hand(q, k, v, h, 4), "its root is asked"),
    ("vit_attention", lambda q, k, v, h: attend_by_hand(q, k, v, h, 3**0.5), "number of heads"),
    ("vit_attention", lambda q, k, v, h: attend_by_hand(q, k, v, h, 2, -2), "those who ask"),
    ("vit_attention", over_heads, "Heads don't compete"),
    ("vit_attention", lambda q, k, v, h: attend(q, k, v, 1), "one head of the full width"),
    ("vit_attention", lambda q, k, v, h: attend(k, q, v, h), "Queries and keys are exchanged"),
    ("vit_attention", lambda q, k, v, h: attend(q, k, k, h), "Keys are compared"),
    ("vit_attention", heads_with_heads, "heads of one token"),
    ("vit_attention", causal, "a causal mask"),
    ("vit_attention", lambda q, k, v, h: attend_by_hand(q, k, v, h, 5**0.5), "number of tokens"),
    ("vit_attention", strided, "every third number"),
    ("vit_attention", not_moved_back, "put together wrongly"),
    ("vit_attention", re_read, "re-reading the numbers"),
    ("vit_attention", lambda q, k, v, h: attend(q, k, v.detach(), h), "no gradient reaches v"),
    ("vit_attention", lambda q, k, v, h: attend(q, k, v, h).unflatten(2, (h, -1)), "(2, 5, 12)"),
    ("vit_block", post_norm, "the first transformers"),
    ("vit_block", norms_behind, "norms stand behind"),
    ("vit_block", lambda x, n, a, m, f: x + a(n(x)) + f(m(a(n(x)))), "answer alone"),
    ("vit_block", on_the_copy, "add to the normalised copy"),
    ("vit_block", lambda x, n, a, m, f: f(m(x + a(n(x)))), "second sum is missing"),
    ("vit_block", lambda x, n, a, m, f: a(n(x)) + f(m(a(n(x)))), "first sum is missing"),
    ("vit_block", lambda x, n, a, m, f: f(m(a(n(x)))), "Both sums are missing"),
    ("vit_block", lambda x, n, a, m, f: x + a(n(x)) + f(m(x)), "Both halves read"),
    ("vit_block", lambda x, n, a, m, f: block(x, n, a, n, f), "first norm is used twice"),
    ("vit_block", lambda x, n, a, m, f: block(x, lambda y: y, a, m, f), "Attention reads a copy"),
    ("vit_block", lambda x, n, a, m, f: x + a(n(x)), "second half"),
    ("vit_block", lambda x, n, a, m, f: block(x, m, f, n, a), "halves are exchanged"),
    ("vit_block", lambda x, n, a, m, f: block(x, n, a, lambda y: y, f), "network reads a copy"),
    ("vit_vector", read_without_class, "There is no class token"),
    ("vit_vector", norms_exchanged, "are exchanged"),
    ("vit_vector", lambda x, t: read(x, t, pre=False), "ln_pre is missing"),
    ("vit_vector", lambda x, t: read(x, t, post=False), "ln_post is missing"),
    ("vit_vector", lambda x, t: read(x, t, pre=False, post=False), "Both norms"),
    ("vit_vector", lambda x, t: read(x, t, places=False), "positions are missing"),
    ("vit_vector", read_without_a_place_for_class, "class token got no position"),
    ("vit_vector", read_late, "added after ln_pre"),
    ("vit_vector", lambda x, t: read(x, t, mean=True), "mean of all tokens"),
    ("vit_vector", lambda x, t: read(x, t, pick=1), "first patch"),
    ("vit_vector", lambda x, t: read(x, t, pick=-1), "last patch"),
    ("vit_vector", read_behind, "behind the patches"),
    ("vit_vector", lambda x, t: read(x, t, blocks=False), "blocks, tower.transformer"),
    ("vit_vector", lambda x, t: F.normalize(read(x, t)), "have length 1"),
    ("vit_vector", lambda x, t: read(x, t) @ t.proj.T, "one vector a picture"),
    ("vit_vector", lambda x, t: read(x, t).detach(), "cut off from its inputs"),
    ("vit_vector", lambda x, t: t.transformer(x + t.positional_embedding), "must match the size"),
    ("vit_cost", lambda n, d: 12 * n * d**2, "products between tokens are missing"),
    ("vit_cost", lambda n, d: 12 * n * d**2 + 2 * n**2, "over the whole width"),
    ("vit_cost", lambda n, d: 12 * d**2, "one token's way"),
    ("vit_cost", lambda n, d: 20 * n * d**2 + 2 * n**2 * d, "only one side"),
    ("vit_cost", lambda n, d: 12 * n * d**2 + n**2 * d, "one of the two"),
    ("vit_cost", lambda n, d: 24 * n * d**2 + 4 * n**2 * d, "One multiply-add is both"),
    ("vit_cost", lambda n, d: 8 * n * d**2 + 2 * n**2 * d, "A third of the matrices"),
    ("vit_cost", lambda n, d: 6 * n * d**2 + 2 * n**2 * d, "d by 4d, not d by d"),
    ("vit_cost", lambda n, d: 12 * d**2 + 2 * n**2 * d, "multiply by n"),
    ("vit_cost", lambda n, d: 2 * n**2 * d, "between tokens only"),
    ("vit_cost", lambda n, d: (n, d), "One number is asked for"),
    ("vit_cost", lambda n, d: n**3, "where"),
    ("vit_positions", as_a_line, "class token and all"),
    ("vit_positions", patches_as_a_line, "stretched as one line"),
    ("vit_positions", lambda p, g: resize(p, g, mode="bilinear"), "That is bilinear"),
    ("vit_positions", lambda p, g: resize(p, g, antialias=False), "plain bicubic"),
    ("vit_positions", lambda p, g: resize(p, g, antialias=False, align_corners=True),
     "outer patches"),
    ("vit_positions", lambda p, g: resize(p, g, mode="nearest", antialias=False),
     "old position was repeated"),
    ("vit_positions", scattered, "scatters each vector"),
    ("vit_positions", lambda p, g: torch.cat([p[:1], resize(p, g)[1:].T.reshape(-1, 4)]),
     "then re-read"),
    ("vit_positions", lambda p, g: torch.cat([p[:1] * 0, resize(p, g)[1:]]), "The grid is right"),
    ("vit_positions", lambda p, g: resize(p, g)[1:], "class token's position is gone"),
    ("vit_positions", lambda p, g: torch.cat([resize(p, g)[1:], p[:1]]), "stands last"),
    ("vit_positions", padded, "The new places got zeros"),
    ("vit_distance", lambda s, g: distance(s, g, fair=False), "divide each row by its sum"),
    ("vit_distance", softmax_again, "another softmax"),
    ("vit_distance", lambda s, g: distance(s.roll((1, 1), (1, 2)), g), "The last patch was left"),
    ("vit_distance", lambda s, g: distance(s, g) * g**2, "a sum over those who ask"),
    ("vit_distance", lambda s, g: distance(s, g, squared=True), "squared distances"),
    ("vit_distance", lambda s, g: distance(s, g, city=True), "along rows and columns"),
    ("vit_distance", lambda s, g: distance(s * 0 + 1, g), "count alike"),
    ("vit_distance", lambda s, g: distance(s, g).mean(), "one mean distance for each head"),
    ("vit_distance", lambda s, g: distance(s, g) / g, "widths of the picture"),
    ("vit_distance", lambda s, g: (s * torch.cdist(places(g), places(g))).sum(-1), "must match"),
]  # fmt: skip
