"""Chapter 11: right answers in many forms, and wrong ones with words that their diagnosis holds."""

import math

import numpy as np
import torch
from torch.nn import functional as F


def logits(w, b, x):
    return x @ w.T + b


def probe(w, b, x, y, s):
    return F.cross_entropy(x @ w.T + b, y, reduction="sum") + 0.5 * s * (w**2).sum()


def probe_by_hand(w, b, x, y, s):
    shares = F.linear(x, w, b).log_softmax(1)
    return -shares[range(len(y)), y].sum() + s * w.norm() ** 2 / 2


def repeated(s, c, r):
    return torch.cat((s, c.unsqueeze(0).repeat(len(s), 1, 1), r), dim=1)


def stacked(s, c, r):
    return torch.stack([torch.cat([a, c, b]) for a, b in zip(s, r, strict=True)])


def tip(z, c, y, a, b):
    return z + a * (-b * (1 - c)).exp() @ y


def tip_loop(z, c, y, a, b):
    out = z.clone()
    for m in range(len(y)):
        out = out + a * torch.exp(b * c[:, m : m + 1] - b) * y[m]
    return out


def worth(accuracy, shots, accuracies):
    for i in range(1, len(shots)):
        if accuracies[i] >= accuracy:
            w = (accuracy - accuracies[i - 1]) / (accuracies[i] - accuracies[i - 1])
            logs = math.log(shots[i - 1]), math.log(shots[i])
            return math.exp(logs[0] + w * (logs[1] - logs[0]))
    return float("inf")


def worth_by_interp(accuracy, shots, accuracies):
    above = [i for i, value in enumerate(accuracies) if value >= accuracy]
    if not above:
        return math.inf
    i = above[0]
    return 2 ** np.interp(accuracy, accuracies[i - 1 : i + 1], np.log2(shots[i - 1 : i + 1]))


def search(accuracy, last=1 / 8, start=2.0):
    known = {}

    def look(e):
        if e not in known and -6 <= e <= 6:
            known[e] = accuracy(10**e)

    for e in (-6.0, -4.0, -2.0, 0.0, 2.0, 4.0, 6.0):
        look(e)
    while start > last:
        start /= 2
        top = sorted(known, key=lambda e: known[e])[-1]
        look(top - start)
        look(top + start)
    return max(known, key=lambda e: known[e])


RIGHT = {
    "probe_loss": [probe, probe_by_hand,
                   lambda w, b, x, y, s: len(y) * F.cross_entropy(logits(w, b, x), y)
                   + s / 2 * w.pow(2).sum()],
    "with_context": [repeated, stacked],
    "tip_adapter": [tip, tip_loop],
    "conditional_context": [lambda c, s: c + s[:, None], lambda c, s: s.unsqueeze(1) + c,
                            lambda c, s: torch.stack([c + one for one in s])],
    "shots_worth": [worth, worth_by_interp],
    "search_strength": [search, lambda accuracy: torch.tensor(search(accuracy))],
}  # fmt: skip


def every_strength(accuracy):
    tried = [e / 8 for e in range(-48, 49)]
    return max(tried, key=lambda e: accuracy(10**e))


def no_edges(accuracy):
    tried = {float(e): accuracy(10.0**e) for e in range(-6, 7, 2)}
    step = 2.0
    while step > 1 / 8:
        step /= 2
        top = max(tried, key=lambda e: tried[e])
        for e in (top - step, top + step):
            tried[e] = accuracy(10.0**e)
    return max(tried, key=lambda e: tried[e])


def same_peak(accuracy):
    tried = {float(e): accuracy(10.0**e) for e in range(-6, 7, 2)}
    top = max(tried, key=lambda e: tried[e])
    for step in (1, 0.5, 0.25, 0.125):
        for e in (top - step, top + step):
            tried[e] = accuracy(10.0**e)
    return max(tried, key=lambda e: tried[e])


def last_crossing(accuracy, shots, accuracies):
    for i in range(len(shots) - 1, 0, -1):
        if accuracies[i - 1] <= accuracy <= accuracies[i]:
            return worth(accuracy, shots[i - 1 : i + 1], accuracies[i - 1 : i + 1])
    return math.inf


def first_only(c, s):
    rows = c.expand(len(s), -1, -1).clone()
    rows[:, 0] = rows[:, 0] + s
    return rows


# (exercise, a plausible wrong answer, words that its diagnosis must hold)
WRONG = [
    ("probe_loss", lambda w, b, x, y, s: F.cross_entropy(logits(w, b, x), y)
     + s / 2 * w.pow(2).sum(), "averaged over the pictures"),
    ("probe_loss", lambda w, b, x, y, s: probe(w, b, x, y, 2 * s), "lacks its half"),
    ("probe_loss", lambda w, b, x, y, s: probe(w, b, x, y, 0), "no penalty"),
    ("probe_loss", lambda w, b, x, y, s: probe(w, b, x, y, 0) + s / 2 * w.norm(), "length of W"),
    ("probe_loss", lambda w, b, x, y, s: probe(w, b, x, y, 0) + s / 2 * w.abs().sum(), "L1"),
    ("probe_loss", lambda w, b, x, y, s: probe(w, b, x, y, s) + s / 2 * b.pow(2).sum(), "bias is"),
    ("probe_loss", lambda w, b, x, y, s: probe(w, 0 * b, x, y, s), "no part in the logits"),
    ("probe_loss", lambda w, b, x, y, s: probe(w, b, x, y, 1 / s), "scikit-learn's C"),
    ("probe_loss", lambda w, b, x, y, s: probe(w, b, x, y, -s), "rewarded"),
    ("probe_loss", lambda w, b, x, y, s: probe(w, b, x, y, s).item(), "not a tensor"),
    ("probe_loss", lambda w, b, x, y, s: probe(w.detach(), b, x, y, s), "would not learn"),
    ("probe_loss", lambda w, b, x, y, s: probe(w, b, x, y, 0) + s * w.norm(), "Half its square"),
    ("probe_loss", lambda w, b, x, y, s: probe(w, b, x, y, 0) + s / 2 * w.sum() ** 2, "before"),
    ("probe_loss", lambda w, b, x, y, s: probe(w, b, x, y, s / len(y)), "number of pictures"),
    ("probe_loss", lambda w, b, x, y, s: F.cross_entropy(
        logits(w, b, x).softmax(1), y, reduction="sum") + s / 2 * w.pow(2).sum(), "taken twice"),
    ("probe_loss", lambda w, b, x, y, s: s / 2 * w.pow(2).sum()
     - logits(w, b, x).softmax(1)[range(len(y)), y].sum(), "shares themselves"),
    ("with_context", lambda s, c, r: repeated(s, c, r)[:, [1, 2, 3, 4, 0, 5, 6]], "start token"),
    ("with_context", lambda s, c, r: torch.cat([s, r, c.expand(3, -1, -1)], 1), "never read"),
    ("with_context", lambda s, c, r: torch.cat([r, c.expand(3, -1, -1), s], 1), "turned round"),
    ("with_context", lambda s, c, r: repeated(s, c.flip(0), r), "reverse order"),
    ("with_context", lambda s, c, r: torch.cat([s, c, r], 1), "stopped with"),
    ("with_context", lambda s, c, r: torch.cat([s, c.expand(3, -1, -1)], 1), "(3, 7, 5)"),
    ("with_context", lambda s, c, r: repeated(s, c.detach(), r), "cut off"),
    ("tip_adapter", lambda z, c, y, a, b: tip(0 * z, c, y, a, b), "Zero-shot takes no part"),
    ("tip_adapter", lambda z, c, y, a, b: tip(z, c, y, 1, b), "α takes no part"),
    ("tip_adapter", lambda z, c, y, a, b: tip(z, c, y, a, 1), "β takes no part"),
    ("tip_adapter", lambda z, c, y, a, b: tip(z, c, y, b, a), "exchanged"),
    ("tip_adapter", lambda z, c, y, a, b: tip(z, c, y, a, -b), "turned round"),
    ("tip_adapter", lambda z, c, y, a, b: z + a * torch.exp(b * c) @ y, "1 is missing"),
    ("tip_adapter", lambda z, c, y, a, b: z + a * c @ y, "no exponential"),
    ("tip_adapter", lambda z, c, y, a, b: a * (z + torch.exp(-b * (1 - c)) @ y), "the sum"),
    ("tip_adapter", lambda z, c, y, a, b: tip((1 - a) * z, c, y, a, b), "full weight"),
    ("tip_adapter", lambda z, c, y, a, b: z - a * torch.exp(-b * (1 - c)) @ y, "taken off"),
    ("tip_adapter", lambda z, c, y, a, b: z + a * torch.exp(-b * (1 - c)) @ y / len(y),
     "averaged"),
    ("conditional_context", lambda c, s: c.expand(len(s), -1, -1), "pictures take no part"),
    ("conditional_context", lambda c, s: s[:, None].expand(-1, len(c), -1), "shared context"),
    ("conditional_context", first_only, "Only the first"),
    ("conditional_context", lambda c, s: c - s[:, None], "subtracted"),
    ("conditional_context", lambda c, s: c * s[:, None], "multiplied"),
    ("conditional_context", lambda c, s: c[:, None] + s, "(4, 2, 3)"),
    ("shots_worth", lambda a, k, v: float(np.interp(a, v, k)), "over their logarithms"),
    ("shots_worth", lambda a, k, v: math.log2(worth(a, k, v)), "Turn it back"),
    ("shots_worth", lambda a, k, v: next(n for n, x in zip(k, v, strict=True) if x >= a),
     "Read off the line between"),
    ("shots_worth", lambda a, k, v: 2 ** np.interp(a, v, np.log2(k)), "infinity"),
    ("shots_worth", last_crossing, "*first* crossing"),
    ("shots_worth", lambda a, k, v: [k, v], "Return one number"),
    ("search_strength", every_strength, "15 at most"),
    ("search_strength", lambda accuracy: 10 ** search(accuracy), "This is λ"),
    ("search_strength", lambda accuracy: search(accuracy, last=2.0), "first seven"),
    ("search_strength", lambda accuracy: search(accuracy, last=1.0), "first round"),
    ("search_strength", lambda accuracy: search(accuracy, last=0.5), "a half of a decade"),
    ("search_strength", lambda accuracy: search(accuracy, last=0.25), "quarter"),
    ("search_strength", lambda accuracy: accuracy(1e7), "beyond 10^±6"),
    ("search_strength", no_edges, "nothing beyond"),
    ("search_strength", same_peak, "Take the best so far anew"),
    ("search_strength", lambda accuracy: 0.0, "never called"),
]  # fmt: skip
