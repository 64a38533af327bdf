"""Chapter 1: right answers in many forms, and wrong ones with words that their diagnosis holds."""

import random

import torch
from torch.nn import functional as F


def unit(rows):
    return rows / rows.norm(dim=-1, keepdim=True)


def means(vectors, targets, classes):
    return torch.stack([vectors[targets == k].mean(0) for k in range(classes)])


def by_matrix(vectors, targets, classes):
    return F.normalize(F.one_hot(targets, classes).float().T @ vectors, dim=1)


def by_index_add(vectors, targets, classes):
    return unit(torch.zeros(classes, vectors.shape[1]).index_add(0, targets, vectors))


def said(encoder, pictures, names):
    found = nearest(encoder.encode_images(pictures), encoder.encode_texts(names))
    return [names[i] for i in found]


def one_by_one(encoder, pictures, names):
    answers = []
    for k in range(len(pictures)):
        picture = encoder.encode_images(pictures[k : k + 1])[0]
        cosines = {name: float(picture @ encoder.encode_texts([name])[0]) for name in names}
        answers.append(max(cosines, key=cosines.get))
    return answers


def nearest(vectors, classes):
    return (vectors @ classes.T).argmax(1)


def interval(shares, cut=0.025):
    shares = torch.as_tensor(shares).float()
    return shares.quantile(cut).item(), shares.quantile(1 - cut).item()


def drawn(right, draws, size=None):
    size = size or len(right)
    return right.float()[torch.randint(len(right), (draws, size))].mean(1)


def bootstrap(right, draws, cut=0.025):
    return interval(drawn(right, draws), cut)


def in_plain_python(right, draws):
    dice, values = random.Random(0), right.tolist()
    shares = sorted(sum(dice.choices(values, k=len(values))) / len(values) for _ in range(draws))
    return shares[int(0.025 * draws)], shares[int(0.975 * draws) - 1]


def by_multinomial(right, draws):
    counts = torch.distributions.Multinomial(len(right), torch.ones(len(right))).sample((draws,))
    return torch.quantile(counts @ right.float() / len(right), torch.tensor([0.025, 0.975]))


def reachable(names, targets):
    return sum(names.index(names[t]) == t for t in targets.tolist()) / len(targets)


def by_seen(names, targets):
    first = {}
    for k, name in enumerate(names):
        first.setdefault(name, k)
    return torch.isin(targets, torch.tensor(list(first.values()))).float().mean()


def polyglot(encoder, names):
    return unit(torch.stack([encoder.encode_texts(spoken) for spoken in names]).mean(0))


def by_class(encoder, names):
    rows = [encoder.encode_texts(list(tongues)).sum(0) for tongues in zip(*names, strict=True)]
    return F.normalize(torch.stack(rows), dim=-1)


def paired(a, b, draws):
    picks = torch.randint(len(a), (draws, len(a)))
    return interval(a[picks].float().mean(1) - b[picks].float().mean(1))


def paired_by_difference(a, b, draws):
    return bootstrap(a.float() - b.float(), draws)


RIGHT = {
    "class_means": [lambda v, t, n: unit(means(v, t, n)), by_matrix, by_index_add],
    "nearest_class": [nearest, lambda v, c: (unit(v) @ unit(c).T).max(1).indices,
                      lambda v, c: torch.cdist(v, c).argmin(1),
                      lambda v, c: [int((c @ row).argmax()) for row in v]],
    "name_pictures": [said, one_by_one, lambda e, p, n: tuple(said(e, p, n))],
    "bootstrap_interval": [bootstrap, in_plain_python, by_multinomial],
    "best_possible": [reachable, by_seen],
    "polyglot_classes": [polyglot, by_class],
    "paired_interval": [paired, paired_by_difference],
}  # fmt: skip


def first_seen(v, t, n):
    return unit(torch.stack([v[t == k].mean(0) for k in dict.fromkeys(t.tolist())]))


def sorted_by_mistake(encoder, pictures, names):
    found = nearest(encoder.encode_images(pictures), encoder.encode_texts(sorted(names)))
    return [names[i] for i in found]


def read_off_sorted(encoder, pictures, names):
    found = nearest(encoder.encode_images(pictures), encoder.encode_texts(names))
    return [sorted(names)[i] for i in found]


def positions(encoder, pictures, names):
    return nearest(encoder.encode_images(pictures), encoder.encode_texts(names))


def per_name(encoder, pictures, names):
    found = nearest(encoder.encode_texts(names), encoder.encode_images(pictures))
    return [names[i % 4] for i in found]


def without_replacement(right, draws):
    return interval([right[torch.randperm(len(right))].float().mean() for _ in range(draws)])


def extremes(right, draws):
    shares = drawn(right, draws)
    return shares.min().item(), shares.max().item()


def standard_error(right, draws):
    shares = drawn(right, draws)
    return (shares.mean() - shares.std()).item(), (shares.mean() + shares.std()).item()


def mixed_up(encoder, names):
    flat = encoder.encode_texts([name for spoken in names for name in spoken])
    return unit(flat.view(len(names[0]), len(names), -1).mean(1))


def apart(a, b, draws):
    return interval(drawn(a, draws) - drawn(b, draws))


def joined(encoder, names):
    return unit(encoder.encode_texts([" ".join(tongues) for tongues in zip(*names, strict=True)]))


# (exercise, a plausible wrong answer, words that its diagnosis must hold)
WRONG = [
    ("class_means", means, "shorter than 1"),
    ("class_means", lambda v, t, n: F.one_hot(t, n).float().T @ v, "These are sums"),
    ("class_means", lambda v, t, n: F.normalize(means(v, t, n), dim=0), "columns have length 1"),
    ("class_means", lambda v, t, n: means(v, t, n) / means(v, t, n).norm(), "one number"),
    ("class_means", lambda v, t, n: torch.stack([v[t == k][0] for k in range(n)]), "first picture"),
    ("class_means", lambda v, t, n: torch.stack([v[t == k][-1] for k in range(n)]), "overwrote"),
    ("class_means", lambda v, t, n: unit(v.mean(0, keepdim=True)).expand(n, -1), "take no part"),
    ("class_means", first_seen, "in which they first occur"),
    ("class_means", lambda v, t, n: unit(v), "(3, 4) was expected"),
    ("class_means", lambda v, t, n: [v[t == k].mean(0) for k in range(n)], "not a tensor"),
    ("nearest_class", lambda v, c: (v @ c.T).amax(1), "largest cosines"),
    ("nearest_class", lambda v, c: (v @ c.T).max(1), "A pair came back"),
    ("nearest_class", lambda v, c: (v @ c.T).argmin(1), "the farthest class"),
    ("nearest_class", lambda v, c: torch.cdist(v, c).argmax(1), "the farthest class"),
    ("nearest_class", lambda v, c: (v @ c.T).abs().argmax(1), "its sign counts"),
    ("nearest_class", lambda v, c: (v @ c.T).argmax(0), "one class number for each picture"),
    ("nearest_class", lambda v, c: (v @ c.T).softmax(1).amax(1), "These are shares"),
    ("nearest_class", lambda v, c: v @ c, "columns of the left"),
    ("nearest_class", lambda v, c: (v @ c.T).argmax(1).squeeze(), "a batch of one stays"),
    ("name_pictures", positions, "this is numbers"),
    ("name_pictures", lambda e, p, n: positions(e, p, n).tolist(), "positions in the list"),
    ("name_pictures", sorted_by_mistake, "in one order"),
    ("name_pictures", read_off_sorted, "in one order"),
    ("name_pictures", per_name, "5 pictures and 4 answers"),
    ("name_pictures", lambda e, p, n: said(e, p, [f"a {x}" for x in n]), "'a violin'"),
    ("name_pictures", lambda e, p, n: said(e, n, n), "it got others"),
    ("name_pictures", lambda e, p, n: [n[0]] * len(p), "do the pictures take part"),
    ("name_pictures", lambda e, p, n: [n[n.index(x) - 3] for x in said(e, p, n)], "one place off"),
    ("name_pictures", lambda e, p, n: [e.encode_texts(x) for x in n], "one string"),
    ("bootstrap_interval", without_replacement, "with replacement"),
    ("bootstrap_interval", extremes, "the smallest and the largest"),
    ("bootstrap_interval", standard_error, "one standard error"),
    ("bootstrap_interval", lambda r, n: bootstrap(r, n, 0.05), "the middle 90 %"),
    ("bootstrap_interval", lambda r, n: bootstrap(~r, n), "share of wrong answers"),
    ("bootstrap_interval", lambda r, n: interval(drawn(r, n, 50)), "fewer pictures"),
    ("bootstrap_interval", lambda r, n: bootstrap(100 * r, n), "per cent"),
    ("bootstrap_interval", lambda r, n: bootstrap(r, n)[::-1], "lower end comes first"),
    ("bootstrap_interval", lambda r, n: drawn(r, n).mean().item(), "Return 2 numbers"),
    ("best_possible", lambda n, t: 1 - reachable(n, t), "can't be right"),
    ("best_possible", lambda n, t: len(set(n)) / len(n), "a share of classes"),
    ("best_possible", lambda n, t: 100 * reachable(n, t), "per cent"),
    ("best_possible", lambda n, t: len(t) * reachable(n, t), "a count"),
    ("best_possible", lambda n, t: sum(n.count(n[k]) == 1 for k in t) / len(t), "still found"),
    ("best_possible", lambda n, t: 0.5, "On a small example"),
    ("best_possible", lambda n, t: reachable(n[::-1], 5 - t), "the last of two namesakes"),
    ("best_possible", lambda n, t: 1.0, "never answered"),
    ("best_possible", lambda n, t: t == t, "One share"),
    ("polyglot_classes", lambda e, n: polyglot(e, n) * 0.9, "small example"),
    ("polyglot_classes", lambda e, n: torch.stack([e.encode_texts(x) for x in n]).mean(0),
     "shorter than 1"),
    ("polyglot_classes", lambda e, n: sum(e.encode_texts(x) for x in n), "These are sums"),
    ("polyglot_classes", lambda e, n: e.encode_texts(n[0]), "Only the first"),
    ("polyglot_classes", lambda e, n: e.encode_texts(n[-1]), "Only the last"),
    ("polyglot_classes", mixed_up, "different classes were averaged"),
    ("polyglot_classes", joined, "none of the names"),
    ("polyglot_classes", lambda e, n: torch.stack([e.encode_texts(x) for x in n]),
     "(2, 5) was expected"),
    ("paired_interval", lambda a, b, n: paired(b, a, n), "sign is turned round"),
    ("paired_interval", apart, "each was drawn for alone"),
    ("paired_interval", lambda a, b, n: interval(drawn(a.float() - b.float(), n), 0.05),
     "the middle 90 %"),
    ("paired_interval", lambda a, b, n: extremes(a.float() - b.float(), n),
     "the smallest and the largest"),
    ("paired_interval", lambda a, b, n: [100 * x for x in paired(a, b, n)], "per cent"),
    ("paired_interval", lambda a, b, n: without_replacement(a.float() - b.float(), n),
     "with replacement"),
    ("paired_interval", lambda a, b, n: bootstrap(a, n), "not around it"),
]  # fmt: skip
