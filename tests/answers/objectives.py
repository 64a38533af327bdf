"""Chapter 14: right answers in many forms, and wrong ones with words that their diagnosis holds."""

import math

import torch
from torch.nn import functional as F


def words(logits, bag):
    return -((bag / bag.sum(1, keepdim=True)) * logits.log_softmax(1)).sum(1).mean()


def words_one_by_one(logits, bag):
    rows = [
        -sum(row.log_softmax(0)[w] for w in of.nonzero()[:, 0]) / of.sum()
        for row, of in zip(logits, bag, strict=True)
    ]
    return torch.stack(rows).mean()


def words_of_torch(logits, bag):
    return F.cross_entropy(logits, bag / bag.sum(1, keepdim=True))


def logits_of(i, t, s, b):
    return s.exp() * i @ t.T + b


def signs(n):
    return 2 * torch.eye(n) - 1


def sigmoid(i, t, s, b):
    logits = logits_of(i, t, s, b)
    return -F.logsigmoid(signs(len(i)) * logits).sum() / len(i)


def sigmoid_of_torch(i, t, s, b):
    wanted = torch.eye(len(i), dtype=i.dtype)
    return F.binary_cross_entropy_with_logits(logits_of(i, t, s, b), wanted) * len(i)


def sigmoid_by_parts(i, t, s, b):
    logits = logits_of(i, t, s, b)
    off = logits[~torch.eye(len(i), dtype=torch.bool)]
    return (F.softplus(-logits.diagonal()).sum() + F.softplus(off).sum()) / len(i)


def rank(vectors):
    values = torch.linalg.svdvals(vectors)
    shares = values / values.sum()
    return torch.exp(-(shares * shares.clamp(min=1e-30).log()).sum())


def rank_of_entr(vectors):
    values = torch.linalg.svd(vectors, full_matrices=False).S
    return math.exp(torch.special.entr(values / values.sum()).sum())


def nan_where_zero(vectors):
    values = torch.linalg.svdvals(vectors)
    shares = values / values.sum()
    return torch.exp(-(shares * shares.log()).sum())


def chunk(i, t, first, s, b, own=None, over=None):
    z = -torch.ones(len(i), len(t))
    columns = torch.arange(len(t))
    z[(columns + first if own is None else own), columns] = 1
    return -F.logsigmoid(z * logits_of(i, t, s, b)).sum() / (over or len(i))


def chunk_of_eye(i, t, first, s, b):
    z = (2 * torch.eye(len(i)) - 1)[:, first : first + len(t)]
    return F.softplus(-z * logits_of(i, t, s, b)).sum() / len(i)


def chunk_all_no(i, t, first, s, b):
    return F.softplus(logits_of(i, t, s, b)).sum() / len(i)


def chunk_of_a_row(i, t, first, s, b):
    z = -torch.ones(len(i), len(t))
    z[first] = 1
    return -F.logsigmoid(z * logits_of(i, t, s, b)).sum() / len(i)


def chunk_of_its_own(i, t, first, s, b):
    z = 2 * torch.eye(len(t)) - 1
    return -F.logsigmoid(z * logits_of(i[first : first + len(t)], t, s, b)).sum() / len(i)


def hardest(cosines, groups, k):
    same = groups[:, None] == groups
    return cosines.masked_fill(same, -math.inf).topk(k, dim=1).indices


def hardest_sorted(cosines, groups, k):
    order = torch.where(groups[:, None] == groups, -9.0, cosines).argsort(dim=1, descending=True)
    return order[:, :k]


def only_the_diagonal(cosines, groups, k):
    own = torch.eye(len(cosines), dtype=torch.bool)
    return cosines.masked_fill(own, -math.inf).topk(k).indices


def zeroed(cosines, groups, k):
    return (cosines * (groups[:, None] != groups)).topk(k).indices


def spared(cosines, groups, value):
    return cosines.masked_fill(groups[:, None] == groups, value)


RIGHT = {
    "words_loss": [words, words_one_by_one, words_of_torch],
    "sigmoid_loss": [sigmoid, sigmoid_of_torch, sigmoid_by_parts],
    "effective_rank": [rank, rank_of_entr],
    "prior_bias": [lambda n: -math.log(n - 1), lambda n: torch.logit(torch.tensor(1 / n).double())],
    "chunk_loss": [chunk, chunk_of_eye],
    "hardest_negatives": [hardest, hardest_sorted],
}

# (exercise, a plausible wrong answer, words that its diagnosis must hold)
WRONG = [
    ("words_loss", lambda x, bag: -(bag * x.log_softmax(1)).sum(1).mean(), "counts six times"),
    ("words_loss", F.binary_cross_entropy_with_logits, "judged alone"),
    ("words_loss", lambda x, bag: F.cross_entropy(x.T, (bag / bag.sum(1, keepdim=True)).T)
     * bag.shape[1] / len(bag), "down the batch"),
    ("words_loss", lambda x, bag: words(x, bag) * len(x), "are summed"),
    ("words_loss", lambda x, bag: words(x, bag) / bag.shape[1], "over pictures and words"),
    ("words_loss", lambda x, bag: words(x.log_softmax(1).exp(), bag), "two softmaxes"),
    ("words_loss", lambda x, bag: -words(x, bag), "turned round"),
    ("words_loss", lambda x, bag: F.cross_entropy(x, bag.argmax(1)), "first word"),
    ("words_loss", lambda x, bag: -(bag * x.log_softmax(1)).sum() / bag.sum(), "long captions"),
    ("words_loss", lambda x, bag: -((bag / bag.sum(1, keepdim=True)) * x.softmax(1).log())
     .sum(1).mean(), "nan or inf"),
    ("words_loss", lambda x, bag: -((bag / bag.sum(1, keepdim=True)) * x).sum(1).mean(),
     "softmax is missing"),
    ("words_loss", lambda x, bag: words(x.detach(), bag), "no gradient"),
    ("words_loss", lambda x, bag: -(bag * x.softmax(1)).sum(1).log().mean(), "before the log"),
    ("sigmoid_loss", lambda i, t, s, b: sigmoid(i, t, s, b) / len(i), "N² cells"),
    ("sigmoid_loss", lambda i, t, s, b: sigmoid(i, t, s, b) / len(i) ** 2, "N³"),
    ("sigmoid_loss", lambda i, t, s, b: sigmoid(i, t, s, b) * len(i), "not divided"),
    ("sigmoid_loss", lambda i, t, s, b: sigmoid(i, t, s, b) / 2, "each cell is asked once"),
    ("sigmoid_loss", lambda i, t, s, b: sigmoid(i, t, s, 0 * b), "The bias takes no part"),
    ("sigmoid_loss", lambda i, t, s, b: sigmoid(i, t, s, 0 * b) / len(i),
     "The bias takes no part. The mean is over all"),
    ("sigmoid_loss", lambda i, t, s, b: sigmoid(i, t, s.log(), b), "is a logarithm"),
    ("sigmoid_loss", lambda i, t, s, b: sigmoid(i, t, 0 * s, b), "bare cosines"),
    ("sigmoid_loss", lambda i, t, s, b: sigmoid(i, t, s, -b), "subtracted"),
    ("sigmoid_loss", lambda i, t, s, b: sigmoid(i, t, s, b * s.exp()), "added after"),
    ("sigmoid_loss", lambda i, t, s, b: -F.logsigmoid(torch.eye(len(i)) * logits_of(i, t, s, b))
     .sum() / len(i), "1 and 0, not 1 and −1"),
    ("sigmoid_loss", lambda i, t, s, b: -F.logsigmoid(logits_of(i, t, s, b).diagonal()).mean(),
     "Only the diagonal"),
    ("sigmoid_loss", lambda i, t, s, b: -F.logsigmoid(-signs(len(i)) * logits_of(i, t, s, b))
     .sum() / len(i), "exchanged"),
    ("sigmoid_loss", lambda i, t, s, b: F.cross_entropy(logits_of(i, t, s, b),
     torch.arange(len(i))), "softmax over each row"),
    ("sigmoid_loss", lambda i, t, s, b: -(signs(len(i)) * logits_of(i, t, s, b)).sigmoid().log()
     .sum() / len(i), "nan or inf"),
    ("sigmoid_loss", lambda i, t, s, b: sigmoid(i, t, s.detach(), b), "logit_scale"),
    ("effective_rank", lambda x: torch.log(rank(x)), "That is the entropy"),
    ("effective_rank", lambda x: torch.linalg.matrix_rank(x), "plain rank"),
    ("effective_rank", lambda x: rank(x - x.mean(0)), "mean was taken off"),
    ("effective_rank", lambda x: rank(x.T @ x), "squares"),
    ("effective_rank", lambda x: torch.special.entr(torch.linalg.svdvals(x)).sum().exp(),
     "have to become shares"),
    ("effective_rank", lambda x: 1 / rank(x), "1 over the rank"),
    ("effective_rank", lambda x: 2 ** torch.log(rank(x)), "your power has base 2"),
    ("effective_rank", lambda x: torch.special.entr(F.normalize(torch.linalg.svdvals(x), dim=0))
     .sum().exp(), "not by the norm"),
    ("effective_rank", nan_where_zero, "0 · log 0"),
    ("prior_bias", lambda n: math.log(n - 1), "turned round"),
    ("prior_bias", lambda n: -math.log(n), "logarithm of the probability"),
    ("prior_bias", lambda n: 1 / n, "probability itself"),
    ("prior_bias", lambda n: 1 / (n - 1), "odds"),
    ("prior_bias", lambda n: -10, "paper's start"),
    ("prior_bias", lambda n: -math.log(n * n - 1), "whole matrix"),
    ("prior_bias", lambda n: -math.log10(n - 1), "base 10"),
    ("chunk_loss", lambda i, t, k, s, b: chunk(i, t, k, s, b, own=torch.arange(len(t))),
     "column j for picture j"),
    ("chunk_loss", lambda i, t, k, s, b: chunk(i, t, k, s, b, over=len(t)), "don't add up"),
    ("chunk_loss", lambda i, t, k, s, b: chunk(i, t, k, s, b) / len(t), "how you cut"),
    ("chunk_loss", lambda i, t, k, s, b: chunk(i, t, k, s, b, over=1), "not divided"),
    ("chunk_loss", chunk_all_no, "asked for a no"),
    ("chunk_loss", chunk_of_a_row, "whole row"),
    ("chunk_loss", chunk_of_its_own, "meet all pictures"),
    ("hardest_negatives", only_the_diagonal, "false negative"),
    ("hardest_negatives", lambda c, g, k: c.topk(k).indices, "still in the running"),
    ("hardest_negatives", zeroed, "no cosine can beat"),
    ("hardest_negatives", lambda c, g, k: c.topk(k + 1).indices[:, 1:], "is left out"),
    ("hardest_negatives", lambda c, g, k: spared(c, g, 9.0).topk(k, largest=False).indices,
     "easiest"),
    ("hardest_negatives", lambda c, g, k: spared(c, g, -9.0).topk(k, dim=0).indices.T, "columns"),
    ("hardest_negatives", lambda c, g, k: spared(c, g, -9.0).topk(k).indices.flip(1),
     "hardest comes first"),
    ("hardest_negatives", lambda c, g, k: spared(c, g, -9.0).topk(k).values, "places"),
]  # fmt: skip
