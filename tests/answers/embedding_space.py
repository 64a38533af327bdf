"""Chapter 12: right answers in many forms, and wrong ones with words that their diagnosis holds."""

import numpy as np
import torch
from torch.nn import functional as F


def by_sort(queries, vectors, k):
    values, places = (queries @ vectors.T).sort(dim=1, descending=True)
    return values[:, :k], places[:, :k]


def by_distance(queries, vectors, k):
    places = torch.cdist(queries, vectors).argsort(dim=1)[:, :k]
    return torch.gather(queries @ vectors.T, 1, places), places


def one_by_one(queries, vectors, k):
    found = [torch.topk(vectors @ query, k) for query in queries]
    return [torch.stack([f.values for f in found]), torch.stack([f.indices for f in found])]


def ranks_by_loop(scores):
    return torch.tensor([int((row >= row[i]).sum()) for i, row in enumerate(scores)])


def ranks_by_count(scores):
    n = len(scores)
    return n - (scores < scores.diagonal().reshape(n, 1)).sum(1)


def by_covariance(x, k):
    centred = x - x.mean(0)
    values, axes = torch.linalg.eigh(centred.T @ centred)
    return centred @ axes.flip(1)[:, :k], (values.flip(0) / values.sum())[:k]


def by_u(x, k):
    u, s, _ = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    return (u * s)[:, :k], s[:k] ** 2 / (s**2).sum()


def negative(x, k):
    points, shares = by_u(x, k)
    return -points, shares


def kept(points, vectors, k, own=True):
    d, c = torch.cdist(points, points), vectors @ vectors.T
    if own:
        d.fill_diagonal_(torch.inf)
        c.fill_diagonal_(-torch.inf)
    near, true = d.argsort(1)[:, :k], c.argsort(1, descending=True)[:, :k]
    shared = [len(set(a) & set(b)) for a, b in zip(near.tolist(), true.tolist(), strict=True)]
    return sum(shared) / (len(points) * k)


def relieved(s, k):
    return 2 * s - s.topk(k, 1).values.mean(1, keepdim=True) - s.topk(k, 0).values.mean(0)


def relieved_by_sort(s, k):
    rows = s.sort(1).values[:, -k:].mean(1)
    columns = s.sort(0).values[-k:].mean(0)
    return (s - rows[:, None]) + (s - columns[None])


RIGHT = {
    "nearest_k": [by_sort, by_distance, one_by_one, lambda q, v, k: torch.topk(q @ v.T, k)],
    "partner_ranks": [ranks_by_loop, ranks_by_count,
                      lambda s: (s.diag() <= s.T).sum(0),
                      lambda s: ((s - s.diag()[:, None]) >= 0).sum(1).float()],
    "centroid_gap": [lambda i, t: i.mean(0) - t.mean(0),
                     lambda i, t: i.sum(0) / len(i) - t.sum(0) / len(t),
                     lambda i, t: (i[:, None] - t[None]).mean((0, 1))],
    "principal": [by_covariance, by_u, negative],
    "analogy": [lambda v, a, b: F.normalize(v - a + b),
                lambda v, a, b: (v + (b - a)) / (v + b - a).norm(dim=1, keepdim=True)],
    "neighbours_kept": [kept, lambda p, v, k: torch.tensor(kept(p, v, k)),
                        lambda p, v, k: np.float64(kept(p, v, k))],
    "csls": [relieved, relieved_by_sort],
}  # fmt: skip


def not_centred(x, k):
    _, s, vt = torch.linalg.svd(x, full_matrices=False)
    return x @ vt[:k].T, (s**2 / (s**2).sum())[:k]


def places_not_centred(x, k):
    _, s, vt = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    return x @ vt[:k].T, (s**2 / (s**2).sum())[:k]


def columns_of_vt(x, k):
    c = x - x.mean(0)
    _, s, vt = torch.linalg.svd(c, full_matrices=False)
    return c @ vt[:, :k], (s**2 / (s**2).sum())[:k]


def bare_u(x, k):
    u, s, _ = torch.linalg.svd(x - x.mean(0), full_matrices=False)
    return u[:, :k], (s**2 / (s**2).sum())[:k]


def smallest_first(x, k):
    c = x - x.mean(0)
    values, axes = torch.linalg.eigh(c.T @ c)
    return (c @ axes)[:, :k].flip(1), values[:k]


def shares(which):
    def principal(x, k):
        u, s, _ = torch.linalg.svd(x - x.mean(0), full_matrices=False)
        return (u * s)[:, :k], which(s, k)

    return principal


def reversed_pair(function):
    return lambda *inputs: tuple(function(*inputs))[::-1]


def by_svd(rows, k):
    _, s, vt = torch.linalg.svd(rows, full_matrices=False)
    return rows @ vt[:k].T, (s**2 / (s**2).sum())[:k]


def place_by_place(points, vectors, k):
    seen = torch.cdist(points, points).topk(k + 1, largest=False).indices[:, 1:]
    true = (vectors @ vectors.T).topk(k + 1).indices[:, 1:]
    return (seen == true).float().mean().item()


WRONG = [
    ("nearest_k", reversed_pair(by_sort), "exchanged"),
    ("nearest_k", lambda q, v, k: (q @ v.T).topk(k).indices, "two tensors"),
    ("nearest_k", lambda q, v, k: (q @ v.T).topk(k, dim=0), "(4, 7)"),
    ("nearest_k", lambda q, v, k: (q @ v.T).topk(k, largest=False), "least"),
    ("nearest_k", lambda q, v, k: torch.cdist(q, v).topk(k, largest=False), "distances"),
    ("nearest_k", lambda q, v, k: (torch.cdist(q, v) ** 2).topk(k, largest=False), "squared"),
    ("nearest_k", lambda q, v, k: (1 - q @ v.T).topk(k, largest=False), "1 − cosine"),
    ("nearest_k", lambda q, v, k: torch.cdist(q, v).topk(k), "least"),
    ("nearest_k", lambda q, v, k: [x.flip(1) for x in by_sort(q, v, k)], "best comes last"),
    ("nearest_k", lambda q, v, k: ((q @ v.T)[:, :k], by_sort(q, v, k)[1]), "first four"),
    ("nearest_k", lambda q, v, k: (q @ v).topk(k), "turned on its side"),
    ("nearest_k", lambda q, v, k: (q @ v.T).abs().topk(k), "sign was dropped"),
    ("nearest_k", lambda q, v, k: (q @ v.T).softmax(1).topk(k), "shares of a softmax"),
    ("partner_ranks", lambda s: (s > s.diag()[:, None]).sum(1), "start at 0"),
    ("partner_ranks", lambda s: (s >= s.diag()[:, None]).sum(0), "counted down the columns"),
    ("partner_ranks", lambda s: (s > s.diag()[:, None]).sum(1) + 1, "same score"),
    ("partner_ranks", lambda s: (s >= s.diag()).sum(0), "within columns"),
    ("partner_ranks", lambda s: (s >= s.diag()).sum(1), "make the diagonal a column"),
    ("partner_ranks", lambda s: (s <= s.diag()[:, None]).sum(1), "from the worst"),
    ("partner_ranks", lambda s: (s < s.diag()[:, None]).sum(1), "*worse*"),
    ("partner_ranks", lambda s: s.argsort(1, descending=True).diag(), "*who* stands"),
    ("partner_ranks", lambda s: s.argsort(1, descending=True).diag() + 1, "*who* stands"),
    ("partner_ranks", lambda s: s.argmax(1), "who comes first"),
    ("partner_ranks", lambda s: (s.argmax(1) == torch.arange(len(s))).float().mean(),
     "one rank for each"),
    ("centroid_gap", lambda i, t: t.mean(0) - i.mean(0), "turn it round"),
    ("centroid_gap", lambda i, t: (i.mean(0) - t.mean(0)).norm(), "That is one number"),
    ("centroid_gap", lambda i, t: (i.mean(0) - t.mean(0)).norm().item(), "That is one number"),
    ("centroid_gap", lambda i, t: F.normalize(i.mean(0) - t.mean(0), dim=0), "very thing"),
    ("centroid_gap", lambda i, t: F.normalize(i.mean(0), dim=0) - F.normalize(t.mean(0), dim=0),
     "length 1 first"),
    ("centroid_gap", lambda i, t: i.sum(0) - t.sum(0), "sums"),
    ("centroid_gap", lambda i, t: i.mean(1) - t.mean(1), "inside each vector"),
    ("centroid_gap", lambda i, t: (i.mean(0) + t.mean(0)) / 2, "the middle"),
    ("centroid_gap", lambda i, t: i.mean() - t.mean(), "That is one number"),
    ("principal", not_centred, "was not taken off"),
    ("principal", places_not_centred, "directions are right"),
    ("principal", lambda x, k: by_svd(x - x.mean(1, keepdim=True), k), "mean *vector*"),
    ("principal", lambda x, k: by_svd((x - x.mean(0)) / x.std(0), k), "its own spread"),
    ("principal", columns_of_vt, "*rows*"),
    ("principal", bare_u, "spread taken out"),
    ("principal", smallest_first, "least varies"),
    ("principal", shares(lambda s, k: s[:k] / s.sum()), "with their squares"),
    ("principal", shares(lambda s, k: s[:k] ** 2 / (s[:k] ** 2).sum()), "over the k"),
    ("principal", shares(lambda s, k: s[:k] ** 2), "divide by the sum of all"),
    ("principal", shares(lambda s, k: s[:k]), "not shares"),
    ("principal", shares(lambda s, k: s**2 / (s**2).sum()), "The shapes are"),
    ("principal", lambda x, k: by_u(x, k)[0], "two tensors"),
    ("analogy", lambda v, a, b: v - a + b, "length is not 1"),
    ("analogy", lambda v, a, b: F.normalize(v + a - b), "exchanged"),
    ("analogy", lambda v, a, b: (v - a + b) / (v - a + b).norm(), "one number"),
    ("analogy", lambda v, a, b: F.normalize(v - a + b, dim=0), "columns"),
    ("analogy", lambda v, a, b: F.normalize(v + b), "never taken off"),
    ("analogy", lambda v, a, b: F.normalize(b - a), "takes no part"),
    ("analogy", lambda v, a, b: F.normalize(v + F.normalize(b - a)), "its own length counts"),
    ("analogy", lambda v, a, b: F.normalize(F.normalize(v - a) + b), "Scale once"),
    ("neighbours_kept", lambda p, v, k: kept(p, v, k, own=False), "flatters"),
    ("neighbours_kept", place_by_place, "place by place"),
    ("neighbours_kept", lambda p, v, k: kept(p, v, k + 1, own=False) * (k + 1) / k,
     "counts itself"),
    ("neighbours_kept", lambda p, v, k: k * kept(p, v, k), "how many are kept"),
    ("neighbours_kept", lambda p, v, k: 1 - kept(p, v, k), "got wrong"),
    ("neighbours_kept", lambda p, v, k: len(p) * k * kept(p, v, k), "divide by n k"),
    ("neighbours_kept", lambda p, v, k: torch.full((len(p),), kept(p, v, k)), "One share"),
    ("csls", lambda s, k: relieved(s, k) - s, "counts once"),
    ("csls", lambda s, k: 2 * s - s.topk(k, 1).values.mean(1, keepdim=True), "Only the rows'"),
    ("csls", lambda s, k: 2 * s - s.topk(k, 0).values.mean(0), "Only the columns'"),
    ("csls", lambda s, k: 2 * s - s.topk(k, 1).values.sum(1, keepdim=True)
     - s.topk(k, 0).values.sum(0), "sums"),
    ("csls", lambda s, k: 2 * s - s.mean(1, keepdim=True) - s.mean(0), "of *all*"),
    ("csls", lambda s, k: 4 * s - relieved(s, k), "hubs would gain"),
    ("csls", lambda s, k: 2 * s - s.topk(k, 1).values.mean() - s.topk(k, 0).values.mean(),
     "changes no order"),
    ("csls", lambda s, k: 2 * s - s.topk(k, 1).values.mean(1) - s.topk(k, 0).values.mean(0),
     "don't line up"),
]  # fmt: skip
