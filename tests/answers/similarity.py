"""Chapter 6: right answers in many forms, and wrong ones with words that their diagnosis holds."""

import torch
from torch.nn import functional as F


def unit(rows):
    return rows / rows.norm(dim=-1, keepdim=True)


def recall(c):
    own = torch.arange(len(c))
    return (c.argmax(1) == own).float().mean(), (c.argmax(0) == own).float().mean()


def leads(c):
    rivals = c.masked_fill(torch.eye(len(c), dtype=torch.bool), -9).amax(1)
    return c.diagonal() - rivals


def leads_by_sorting(c):
    n = len(c)
    rest = torch.stack([torch.cat([c[k, :k], c[k, k + 1 :]]) for k in range(n)])
    return c.diag() - rest.sort(dim=1).values[:, -1]


def second(c):
    return c.diag() - c.sort(1).values[:, -2]


def zeroed(c):
    return c.diag() - (c * (1 - torch.eye(len(c)))).amax(1)


def by_name(c, numbers):
    rows, columns = numbers[c.argmax(1)] == numbers, numbers[c.argmax(0)] == numbers
    return rows.float().mean(), columns.float().mean()


def by_name_in_a_loop(c, numbers):
    n = len(c)
    rows = sum(int(numbers[c[k].argmax()] == numbers[k]) for k in range(n)) / n
    columns = sum(int(numbers[c[:, k].argmax()] == numbers[k]) for k in range(n)) / n
    return [rows, columns]


def pieces(i, t, piece, start_at=-2.0, shift=True, keep=True):
    best, where = torch.full((len(i),), start_at), torch.zeros(len(i), dtype=torch.long)
    for start in range(0, len(t), piece):
        value, place = (i @ t[start : start + piece].T).max(1)
        better = value > best if keep else torch.ones(len(i), dtype=torch.bool)
        best, where = (
            torch.where(better, value, best),
            torch.where(better, place + start * shift, where),
        )
    return where


def whole(i, t, piece):
    return (i @ t.T).argmax(1)


def only_full_pieces(i, t, piece):
    return (i @ t[: max(piece, len(t) // piece * piece)].T).argmax(1)


RIGHT = {
    "normalize": [unit, lambda x: F.normalize(x), lambda x: (x.T / x.norm(dim=1)).T,
                  lambda x: x * x.pow(2).sum(-1, keepdim=True).rsqrt(),
                  lambda x: torch.stack([row / row.norm() for row in x])],
    "similarity": [lambda i, t: unit(i) @ unit(t).T,
                   lambda i, t: F.cosine_similarity(i[:, None], t[None], dim=-1),
                   lambda i, t: torch.einsum("id,jd->ij", F.normalize(i), F.normalize(t)),
                   lambda i, t: i @ t.T / i.norm(dim=1)[:, None] / t.norm(dim=1)],
    "recall_at_1": [recall, lambda c: torch.stack(recall(c)),
                    lambda c: [share.item() for share in recall(c)],
                    lambda c: ((c.diag() == c.amax(1)).double().mean(),
                               (c.diag() == c.amax(0)).double().mean())],
    "leads": [leads, leads_by_sorting],
    "recall_by_name": [by_name, by_name_in_a_loop],
    "best_in_pieces": [pieces, whole, lambda i, t, piece: pieces(i, t, piece).tolist()],
}  # fmt: skip


def in_place(x):
    x /= x.norm(dim=1, keepdim=True)
    return x


def no_return(x):
    unit(x)


def stub(x):
    raise NotImplementedError


def breaks(x):
    return x.no_such_thing


# (exercise, a plausible wrong answer, words that its diagnosis must hold)
WRONG = [
    ("normalize", lambda x: x / x.norm(dim=0, keepdim=True), "Your columns have length 1"),
    ("normalize", lambda x: F.normalize(x, dim=0), "Your columns have length 1"),
    ("normalize", lambda x: x / x.norm(), "divided by one number"),
    ("normalize", lambda x: F.normalize(x, p=1), "L1 length"),
    ("normalize", lambda x: x / x.pow(2).sum(1, keepdim=True), "a root is missing"),
    ("normalize", lambda x: x / x.max(1, keepdim=True).values, "largest entry"),
    ("normalize", lambda x: x / x.pow(2).mean(1, keepdim=True).sqrt(), "RMSNorm"),
    ("normalize", lambda x: x.softmax(1), "A softmax changes the direction"),
    ("normalize", lambda x: unit(x - x.mean(1, keepdim=True)), "mean was taken off"),
    ("normalize", lambda x: F.layer_norm(x, x.shape[-1:], eps=0), "LayerNorm"),
    ("normalize", lambda x: x, "came back as they went in"),
    ("normalize", lambda x: x * 0 + 1, "On a small example at ["),
    ("normalize", lambda x: x / x.norm(dim=1), "was the reduced axis kept"),
    ("normalize", lambda x: unit(x).squeeze(), "a batch of one stays a batch"),
    ("normalize", lambda x: unit(x).detach(), "cut off from its inputs"),
    ("normalize", lambda x: unit(x).detach().numpy(), "not a tensor"),
    ("normalize", lambda x: x.norm(dim=1), "(5, 3) was expected"),
    ("normalize", lambda x: x / (x - x), "nan or inf"),
    ("normalize", lambda x: in_place(x.data), "changes the tensor it is given"),
    ("normalize", no_return, "returned None"),
    ("normalize", lambda x: ..., "still to be written"),
    ("normalize", stub, "still to be written"),
    ("normalize", breaks, "return x.no_such_thing"),
    ("normalize", lambda: None, "called with 1 argument"),
    ("normalize", torch.zeros(2, 2), "pass the function's name"),
    ("similarity", lambda i, t: i @ t.T, "dot products"),
    ("similarity", lambda i, t: unit(i) @ t.T, "the captions do not"),
    ("similarity", lambda i, t: i @ unit(t).T, "the pictures do not"),
    ("similarity", lambda i, t: unit(t) @ unit(i).T, "Rows are captions"),
    ("similarity", lambda i, t: unit(i) @ unit(t), "turned on its side"),
    ("similarity", lambda i, t: F.cosine_similarity(i, t), "its own caption only"),
    ("similarity", lambda i, t: unit(i @ t.T), "before the product"),
    ("similarity", lambda i, t: i @ t.T / i.norm() / t.norm(), "a length of its own"),
    ("similarity", lambda i, t: (unit(i) @ unit(t).T).softmax(-1), "shares that sum to 1"),
    ("similarity", lambda i, t: torch.cdist(unit(i), unit(t)), "distances"),
    ("similarity", lambda i, t: torch.cdist(i, t), "distances"),
    ("similarity", lambda i, t: unit(i) @ unit(i).T, "captions take no part"),
    ("similarity", lambda i, t: (unit(i) @ unit(t).T)[:, : len(i)], "need not be equal"),
    ("recall_at_1", lambda c: recall(c)[::-1], "exchanged"),
    ("recall_at_1", lambda c: [4 * share for share in recall(c)], "counts"),
    ("recall_at_1", lambda c: [100 * share for share in recall(c)], "per cent"),
    ("recall_at_1", lambda c: recall(c)[:1] * 2, "the same direction: rows"),
    ("recall_at_1", lambda c: recall(c)[1:] * 2, "the same direction: columns"),
    ("recall_at_1", lambda c: [1 - share for share in recall(c)], "that fail"),
    ("recall_at_1", lambda c: recall(c)[0], "Return two shares"),
    ("recall_at_1", lambda c: [sum(recall(c)) / 2] * 2, "were averaged"),
    ("recall_at_1", lambda c: [c.diag().mean()] * 2, "mean of the diagonal"),
    ("recall_at_1", lambda c: [c.argmax(d) == torch.arange(4) for d in (1, 0)], "a yes or no"),
    ("leads", lambda c: c.diag() - c.amax(1), "in its own race"),
    ("leads", lambda c: -leads(c), "sign is turned round"),
    ("leads", lambda c: leads(c.T), "down the columns"),
    ("leads", lambda c: c.diag() - (c.sum(1) - c.diag()) / (len(c) - 1), "over the mean"),
    ("leads", zeroed, "set to 0"),
    ("leads", second, "second-best"),
    ("leads", lambda c: c.diag() - leads(c), "best rivals"),
    ("leads", lambda c: c.sort(1).values[:, -1] - c.sort(1).values[:, -2], "whichever caption"),
    ("leads", lambda c: c.diag() - (c - 9 * torch.eye(len(c))).max(), "of the whole matrix"),
    ("leads", lambda c: leads(c).mean(), "one lead for each picture"),
    ("recall_by_name", lambda c, numbers: recall(c), "diagonal itself"),
    ("recall_by_name", lambda c, numbers: by_name(c, numbers)[::-1], "exchanged"),
    ("recall_by_name", lambda c, numbers: by_name(c, numbers)[:1] * 2, "same direction: rows"),
    ("recall_by_name", lambda c, numbers: by_name(c, numbers)[1:] * 2, "same direction: columns"),
    ("recall_by_name", lambda c, n: [8 * share for share in by_name(c, n)], "counts"),
    ("recall_by_name", lambda c, n: [1 - share for share in by_name(c, n)], "that fail"),
    ("recall_by_name", lambda c, n: by_name(c, n)[0].item(), "Return two shares"),
    ("recall_by_name", lambda c, n: by_name(c, n)[0], "Return two shares"),
    ("recall_by_name", lambda c, n: (n[c.argmax(1)] == n, n[c.argmax(0)] == n), "a yes or no"),
    ("best_in_pieces", lambda i, t, p: pieces(i, t, p, shift=False), "within a piece"),
    ("best_in_pieces", only_full_pieces, "never looked at"),
    ("best_in_pieces", lambda i, t, p: (i @ t[:p].T).argmax(1), "Only the first piece"),
    ("best_in_pieces", lambda i, t, p: pieces(i, t, p, keep=False), "overwrites"),
    ("best_in_pieces", lambda i, t, p: pieces(i, t, p, shift=p), "counts captions already"),
    ("best_in_pieces", lambda i, t, p: pieces(i, t, p, start_at=0.0), "all cosines are negative"),
    ("best_in_pieces", lambda i, t, p: (i @ t.T).amax(1), "best cosines"),
    ("best_in_pieces", lambda i, t, p: (i @ t.T).max(1), "values and positions"),
    ("best_in_pieces", lambda i, t, p: (i @ t.T).argmax(0), "(9,) was expected"),
]  # fmt: skip
