"""Chapter 13: right answers in many forms, and wrong ones with words that their diagnosis holds."""

import math
import random

import torch
from torch.nn import functional as F


def exchange(caption, one, other):
    swap = {one: other, other: one}
    return " ".join(swap.get(word, word) for word in caption.split())


def exchange_by_hand(caption, one, other):
    words = caption.split(" ")
    for i, word in enumerate(words):
        if word == one:
            words[i] = other
        elif word == other:
            words[i] = one
    return " ".join(words)


def exchange_by_third(caption, one, other):
    padded = f" {caption} "
    for old, new in ((one, "\0"), (other, one), ("\0", other)):
        padded = padded.replace(f" {old} ", f" {new} ").replace(f" {old} ", f" {new} ")
    return padded.strip()


def marks(images, true, false):
    return ((images * true).sum(1) - (images * false).sum(1)).sign() / 2 + 0.5


def marks_by_cases(images, true, false):
    right, wrong = F.cosine_similarity(images, true), F.cosine_similarity(images, false)
    return torch.where(right == wrong, 0.5, (right > wrong).float())


def guessers(n, choices, draws):
    shares = (torch.randint(choices, (draws, n)) == 0).float().mean(1)
    return shares.quantile(0.025).item(), shares.quantile(0.975).item()


def guessers_in_python(n, choices, draws):
    dice = random.Random(n)
    shares = sorted(sum(dice.random() < 1 / choices for _ in range(n)) / n for _ in range(800))
    return shares[20], shares[-21]


def guessers_by_formula(n, choices, draws):
    p = 1 / choices
    reach = 1.96 * math.sqrt(p * (1 - p) / n)
    return p - reach, p + reach


def difference(first, second, z=1.96):
    p, q = first.float().mean(), second.float().mean()
    error = (p * (1 - p) / len(first) + q * (1 - q) / len(second)).sqrt()
    return (p - q).item(), (p - q - z * error).item(), (p - q + z * error).item()


def difference_by_var(first, second):
    a, b = first.double(), second.double()
    gap = a.mean() - b.mean()
    reach = 1.96 * torch.sqrt(a.var() / len(a) + b.var() / len(b))
    return torch.stack([gap, gap - reach, gap + reach])


def ceiling(pairs):
    return 1 - sum(sorted(a.split()) == sorted(b.split()) for a, b in pairs) / len(pairs) / 2


def ceiling_by_points(pairs):
    from collections import Counter

    points = [0.5 if Counter(a.split()) == Counter(b.split()) else 1.0 for a, b in pairs]
    return torch.tensor(points).mean()


def scores(c):
    text = (c[:, 0, 0] > c[:, 0, 1]) & (c[:, 1, 1] > c[:, 1, 0])
    image = (c[:, 0, 0] > c[:, 1, 0]) & (c[:, 1, 1] > c[:, 0, 1])
    return text, image, text & image


def winoground(c):
    return tuple(s.float().mean().item() for s in scores(c))


def winoground_one_by_one(c):
    text = image = group = 0
    for (aa, ab), (ba, bb) in c.tolist():
        t, i = aa > ab and bb > ba, aa > ba and bb > ab
        text, image, group = text + t, image + i, group + (t and i)
    return [text / len(c), image / len(c), group / len(c)]


def interval(values, cut=0.025):
    values = torch.as_tensor(values).float()
    return values.quantile(cut).item(), values.quantile(1 - cut).item()


def redrawn(gaps, draws):
    return gaps[torch.randint(len(gaps), (draws, len(gaps)))].flatten(1).mean(1)


def by_group(first, second, each, draws):
    return interval(redrawn((first.float() - second.float()).view(-1, each), draws))


def by_group_of_rates(first, second, each, draws):
    gaps = first.float().view(-1, each).mean(1) - second.float().view(-1, each).mean(1)
    return interval(redrawn(gaps, draws))


RIGHT = {
    "exchange": [exchange, exchange_by_hand, exchange_by_third],
    "answers": [marks, marks_by_cases,
                lambda i, t, f: torch.heaviside((i * (t - f)).sum(1), torch.tensor(0.5))],
    "guessers": [guessers, guessers_in_python, guessers_by_formula],
    "rate_difference": [difference, difference_by_var],
    "bag_ceiling": [ceiling, ceiling_by_points],
    "winoground": [winoground, winoground_one_by_one],
    "by_profession": [by_group, by_group_of_rates],
}  # fmt: skip


def extremes(n, choices, draws):
    shares = (torch.rand(draws, n) < 1 / choices).float().mean(1)
    return shares.min().item(), shares.max().item()


def one_deviation(n, choices, draws):
    shares = (torch.rand(draws, n) < 1 / choices).float().mean(1)
    return (shares.mean() - shares.std()).item(), (shares.mean() + shares.std()).item()


def as_if_of_1000(n, choices, draws):
    shares = (torch.rand(draws, n) < 1 / choices).float().mean(1).sort().values
    return shares[25].item(), shares[975].item()


def first_of_each(caption, one, other):
    words = caption.split()
    if one in words and other in words:
        first, second = words.index(one), words.index(other)
        words[first], words[second] = other, one
    else:
        words = exchange(caption, one, other).split()
    return " ".join(words)


def pooled(first, second):
    p, q = first.float().mean().item(), second.float().mean().item()
    n, m = len(first), len(second)
    rate = (p * n + q * m) / (n + m)
    reach = 1.96 * math.sqrt(rate * (1 - rate) * (1 / n + 1 / m))
    return p - q, p - q - reach, p - q + reach


def middle_90(n, choices, draws):
    return interval((torch.rand(draws, n) < 1 / choices).float().mean(1), 0.05)


def reach_of(combine):
    def wrong(first, second):
        p, q = first.double().mean().item(), second.double().mean().item()
        reach = combine(p * (1 - p), len(first), q * (1 - q), len(second))
        return p - q, p - q - reach, p - q + reach

    return wrong


def letters(pairs):
    return 1 - sum(sorted(a) == sorted(b) for a, b in pairs) / len(pairs) / 2


def sets(pairs):
    return 1 - sum(set(a.split()) == set(b.split()) for a, b in pairs) / len(pairs) / 2


def mean_scores(c):
    text, image, _ = scores(c)
    t, i = text.float().mean().item(), image.float().mean().item()
    return t, i, t * i


def loose(c):
    text = ((c[:, 0, 0] > c[:, 0, 1]).float() + (c[:, 1, 1] > c[:, 1, 0]).float()).mean() / 2
    image = ((c[:, 0, 0] > c[:, 1, 0]).float() + (c[:, 1, 1] > c[:, 0, 1]).float()).mean() / 2
    return text, image, winoground(c)[2]


def tied(c):
    text = (c[:, 0, 0] >= c[:, 0, 1]) & (c[:, 1, 1] >= c[:, 1, 0])
    image = (c[:, 0, 0] >= c[:, 1, 0]) & (c[:, 1, 1] >= c[:, 0, 1])
    return [s.float().mean().item() for s in (text, image, text & image)]


# (exercise, a plausible wrong answer, words that its diagnosis must hold)
WRONG = [
    ("exchange", lambda c, a, b: c.replace(a, b).replace(b, a), "undid the first"),
    ("exchange", first_of_each, "more than once"),
    ("exchange", lambda c, a, b: c.replace(a, b), "undid the first"),
    ("exchange", lambda c, a, b: c.replace(b, a), "undid the first"),
    ("exchange", lambda c, a, b: c, "Nothing has changed"),
    ("exchange", lambda c, a, b: c.replace(a, "#").replace(b, a).replace("#", b),
     "whole words"),
    ("exchange", lambda c, a, b: exchange(c, a, b).split(), "a list"),
    ("exchange", lambda c, a, b: " ".join(c.split()[::-1]), "keep the order"),
    ("exchange", lambda c, a, b: exchange(c, a, b).replace(" ", ""), "spaces differ"),
    ("answers", lambda i, t, f: (marks(i, t, f) >= 0.5).float(), "counts as right"),
    ("answers", lambda i, t, f: (marks(i, t, f) > 0.5).float(), "counts as wrong"),
    ("answers", lambda i, t, f: (i * t).sum(1) > (i * f).sum(1), "no room for a tie"),
    ("answers", lambda i, t, f: 1 - marks(i, t, f), "Turned round"),
    ("answers", lambda i, t, f: 2 * marks(i, t, f) - 1, "1, 0 and −1"),
    ("answers", lambda i, t, f: (i * (t - f)).sum(1), "gaps between the cosines"),
    ("answers", lambda i, t, f: ((i @ t.T).argmax(1) == torch.arange(len(i))).float(),
     "everybody's captions"),
    ("answers", lambda i, t, f: marks(i, t, f).mean(), "(6,) was expected"),
    ("guessers", extremes, "the unluckiest"),
    ("guessers", one_deviation, "one standard deviation"),
    ("guessers", as_if_of_1000, "use `draws`"),
    ("guessers", middle_90, "middle 90 %"),
    ("guessers", lambda n, k, d: guessers(n, 2, d), "hit half"),
    ("guessers", lambda n, k, d: tuple(n * x for x in guessers(n, k, d)), "These are counts"),
    ("guessers", lambda n, k, d: tuple(100 * x for x in guessers(n, k, d)), "per cent"),
    ("guessers", lambda n, k, d: tuple(1 - x for x in guessers(n, k, d)[::-1]), "miss"),
    ("guessers", lambda n, k, d: guessers(n, k, d)[::-1], "lower end comes first"),
    ("guessers", lambda n, k, d: 1 / k, "Return 2 numbers"),
    ("guessers", lambda n, k, d: (1 / k, 1 / k), "the same share"),
    ("rate_difference", lambda a, b: difference(b, a), "sign is turned round"),
    ("rate_difference", lambda a, b: difference(a, b, 1), "One standard error"),
    ("rate_difference", lambda a, b: difference(a, b, 0.98), "each* way"),
    ("rate_difference", pooled, "share one rate"),
    ("rate_difference", reach_of(lambda v, n, w, m: 1.96 * (math.sqrt(v / n) + math.sqrt(w / m))),
     "Variances add"),
    ("rate_difference", reach_of(lambda v, n, w, m: 1.96 * math.sqrt(v + w)), "takes no part"),
    ("rate_difference", reach_of(lambda v, n, w, m: 1.96 * (v / n + w / m)), "Its root"),
    ("rate_difference", reach_of(lambda v, n, w, m: 1.96 * math.sqrt((v + w) / (n + m))),
     "its own n"),
    ("rate_difference", lambda a, b: [100 * x for x in difference(a, b)], "points of a hundred"),
    ("rate_difference", lambda a, b: difference(a, b)[1:], "Return 3 numbers"),
    ("rate_difference", lambda a, b: (28.0, 20.0, 36.0), "These are counts"),
    ("bag_ceiling", lambda p: 2 * (1 - ceiling(p)), "can't be told apart"),
    ("bag_ceiling", lambda p: 2 * ceiling(p) - 1, "count as lost"),
    ("bag_ceiling", lambda p: 1 - ceiling(p), "what is lost"),
    ("bag_ceiling", sets, "how often a word occurs"),
    ("bag_ceiling", letters, "different words"),
    ("bag_ceiling", lambda p: 100 * ceiling(p), "per cent"),
    ("bag_ceiling", lambda p: 1 - sum(a == b for a, b in p) / len(p), "the same bag"),
    ("bag_ceiling", lambda p: len(p) * ceiling(p), "a count"),
    ("bag_ceiling", lambda p: [a == b for a, b in p], "One share"),
    ("winoground", lambda c: winoground(c.mT), "are exchanged"),
    ("winoground", loose, "Both must hold"),
    ("winoground", mean_scores, "multiplied"),
    ("winoground", tied, "Ties pass"),
    ("winoground", lambda c: winoground(c)[:2], "three numbers"),
    ("winoground", lambda c: [100 * x for x in winoground(c)], "per cent"),
    ("winoground", lambda c: [s.sum().item() for s in scores(c)], "These are counts"),
    ("winoground", lambda c: (*winoground(c)[:2], min(winoground(c)[:2])), "smaller of two"),
    ("by_profession", lambda a, b, k, n: by_group(a, b, 1, n), "single pictures"),
    ("by_profession", lambda a, b, k, n: by_group(b, a, k, n), "sign is turned round"),
    ("by_profession", lambda a, b, k, n: difference(a, b)[1:], "single pictures"),
    ("by_profession", lambda a, b, k, n:
        interval(redrawn((a.float() - b.float()).view(k, -1).T, n)), "cut wrongly"),
    ("by_profession", lambda a, b, k, n:
        interval(redrawn((a.float() - b.float()).view(-1, k), n), 0.05), "middle 90 %"),
    ("by_profession", lambda a, b, k, n: interval(redrawn(a.float().view(-1, k), n)),
     "not around it"),
    ("by_profession", lambda a, b, k, n: by_group(a, b, k, n)[::-1], "lower end comes first"),
]  # fmt: skip
