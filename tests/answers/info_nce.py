"""Chapter 7: right answers in many forms, and wrong ones with words that their diagnosis holds."""

import math

import torch
from torch.nn import functional as F

from answers.similarity import unit


def log_shares(logits, axis):
    return logits.log_softmax(axis).diagonal()


def by_hand(i, t, scale):
    logits = i @ t.T * torch.exp(scale)
    return -(log_shares(logits, 0) + log_shares(logits, 1)).mean() / 2


def two_calls(i, t, scale):
    logits = i @ t.T * scale.exp()
    own = torch.arange(i.shape[0])
    return 0.5 * F.cross_entropy(logits, own) + 0.5 * F.cross_entropy(logits.T, own)


def one_hot(i, t, scale):
    logits = unit(i) @ unit(t).T * scale.exp()
    yes = torch.eye(len(i))
    return (F.cross_entropy(logits, yes) + F.cross_entropy(logits.mT, yes)).div(2)


def loop(i, t, scale):
    total = 0
    for k in range(len(i)):
        row, column = scale.exp() * (t @ i[k]), scale.exp() * (i @ t[k])
        total = total + row.logsumexp(0) + column.logsumexp(0) - 2 * row[k]
    return total / (2 * len(i))


def gradient(c, scale):
    logits, n = scale.exp() * c, len(c)
    return scale.exp() * (logits.softmax(1) + logits.softmax(0) - 2 * torch.eye(n)) / (2 * n)


def by_autograd(c, scale):
    c = c.clone().requires_grad_()
    logits, own = scale.exp() * c, torch.arange(len(c))
    loss = (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
    return torch.autograd.grad(loss, c)[0]


def shared(i, t, scale, names):
    logits = scale.exp() * i @ t.T
    targets = (names[:, None] == names[None]).float()
    targets = targets / targets.sum(1, keepdim=True)
    return (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets.T)) / 2


def shared_by_hand(i, t, scale, names):
    logits, same = scale.exp() * i @ t.T, names[:, None].eq(names)
    weight = same / same.sum(1, keepdim=True)
    return -((logits.log_softmax(1) + logits.log_softmax(0)) * weight).sum() / (2 * len(i))


def lead(share, n, tau):
    return tau * (math.log(share) - math.log(1 - share) + math.log(n - 1))


def slope(c, scale):
    return (c * gradient(c, scale)).sum()


def slope_by_autograd(c, scale):
    scale = scale.clone().requires_grad_()
    return torch.autograd.grad(ce(scale.exp() * c), scale)[0]


RIGHT = {
    "probabilities": [lambda c, tau: (c / tau).softmax(-1),
                      lambda c, tau: F.softmax(c * (1 / tau), dim=1),
                      lambda c, tau: ((c - c.max(1, keepdim=True).values) / tau).exp()
                      / ((c - c.max(1, keepdim=True).values) / tau).exp().sum(1, keepdim=True)],
    "info_nce": [by_hand, two_calls, one_hot, loop],
    "loss_gradient": [gradient, by_autograd],
    "info_nce_shared": [shared, shared_by_hand],
    "lead_needed": [lead, lambda p, n, tau: tau * math.log(p * (n - 1) / (1 - p)),
                    lambda p, n, tau: tau * torch.logit(torch.tensor(p)) + tau * math.log(n - 1)],
    "scale_gradient": [slope, slope_by_autograd],
}  # fmt: skip


def ce(logits, transpose=True):
    own = torch.arange(len(logits))
    rows, columns = F.cross_entropy(logits, own), F.cross_entropy(logits.T, own)
    return (rows + columns) / 2 if transpose else rows


def all_targets_zero(i, t, s):
    logits, zero = s.exp() * i @ t.T, torch.zeros(len(i), dtype=torch.long)
    return (F.cross_entropy(logits, zero) + F.cross_entropy(logits.T, zero)) / 2


def naive(i, t, s):
    powers = (s.exp() * i @ t.T).exp()
    shares = powers / powers.sum(1, keepdim=True), powers / powers.sum(0, keepdim=True)
    return -sum(share.diagonal().log().mean() for share in shares) / 2


def twins_masked(i, t, s, names):
    twins = (names[:, None] == names) & ~torch.eye(len(i), dtype=torch.bool)
    return ce((s.exp() * i @ t.T).masked_fill(twins, -1e9))


def any_of_the_name(i, t, s, names):
    logits, same = s.exp() * i @ t.T, (names[:, None] == names).float()
    return -sum(((logits.softmax(d) * same).sum(d)).log().mean() for d in (0, 1)) / 2


def unscaled_targets(i, t, s, names):
    logits, same = s.exp() * i @ t.T, (names[:, None] == names).float()
    return (F.cross_entropy(logits, same) + F.cross_entropy(logits.T, same)) / 2


def matches_over(i, t, s, names, count):
    logits, same = s.exp() * i @ t.T, (names[:, None] == names).float()
    return -((logits.log_softmax(1) + logits.log_softmax(0)) * same).sum() / (2 * len(i) * count)


def first_of_the_name(i, t, s, names):
    logits, first = s.exp() * i @ t.T, (names[:, None] == names).int().argmax(1)
    return (F.cross_entropy(logits, first) + F.cross_entropy(logits.T, first)) / 2


# (exercise, a plausible wrong answer, words that its diagnosis must hold)
WRONG = [
    ("probabilities", lambda c, tau: (c * tau).softmax(1), "multiplied by the temperature"),
    ("probabilities", lambda c, tau: c.softmax(1), "takes no part"),
    ("probabilities", lambda c, tau: (c / tau).softmax(0), "Your columns sum to 1"),
    ("probabilities", lambda c, tau: (c / tau).flatten().softmax(0).view_as(c), "whole matrix"),
    ("probabilities", lambda c, tau: c.softmax(1) / tau, "came after the softmax"),
    ("probabilities", lambda c, tau: (c / tau).log_softmax(1), "logarithms"),
    ("probabilities", lambda c, tau: (c / tau).sigmoid(), "each pair alone"),
    ("probabilities", lambda c, tau: (c / tau).softmax(1).softmax(1), "two softmaxes"),
    ("probabilities", lambda c, tau: c / c.sum(1, keepdim=True), "without exp"),
    ("probabilities", lambda c, tau: c / tau, "logits"),
    ("probabilities", lambda c, tau: (c / tau).exp() / (c / tau).exp().sum(1, True), "float32"),
    ("info_nce", lambda i, t, s: ce(s.exp() * i @ t.T, False), "one direction only: rows"),
    ("info_nce", lambda i, t, s: ce(s.exp() * t @ i.T, False), "one direction only: columns"),
    ("info_nce", lambda i, t, s: 2 * ce(s.exp() * i @ t.T), "directions are added"),
    ("info_nce", lambda i, t, s: len(i) * ce(s.exp() * i @ t.T), "losses of the batch are summed"),
    ("info_nce", lambda i, t, s: 10 * ce(s.exp() * i @ t.T), "over both directions"),
    ("info_nce", lambda i, t, s: ce(s * i @ t.T), "logit_scale is a logarithm"),
    ("info_nce", lambda i, t, s: ce(i @ t.T / s.exp()), "multiplied by the temperature"),
    ("info_nce", lambda i, t, s: ce(i @ t.T), "bare cosines"),
    ("info_nce", lambda i, t, s: ce(i @ t.T / s), "divided by logit_scale"),
    ("info_nce", lambda i, t, s: ce(s * i @ t.T, False), "exponentiate it. This is the mean over"),
    ("info_nce", lambda i, t, s: -ce(s.exp() * i @ t.T), "sign is turned round"),
    ("info_nce", lambda i, t, s: -(log_shares(s.exp() * i @ t.T, 0).exp()
                                   + log_shares(s.exp() * i @ t.T, 1).exp()).mean() / 2,
     "logarithm is missing"),
    ("info_nce", lambda i, t, s: -(s.exp() * (i * t).sum(1)).mean(), "no negatives"),
    ("info_nce", all_targets_zero, "caption 0"),
    ("info_nce", lambda i, t, s: sum(ce((s.exp() * x).softmax(1), False)
                                     for x in (i @ t.T, t @ i.T)) / 2, "two softmaxes"),
    ("info_nce", lambda i, t, s: F.binary_cross_entropy_with_logits(
        s.exp() * i @ t.T, torch.eye(len(i))), "SigLIP"),
    ("info_nce", naive, "exp(95)"),
    ("info_nce", lambda i, t, s: ce(s.exp() * i @ t.T).item(), "not a tensor"),
    ("info_nce", lambda i, t, s: ce(s.exp() * i @ t.T).detach(), "cut off from its inputs"),
    ("info_nce", lambda i, t, s: ce(math.exp(s.item()) * i @ t.T), "the temperature would stay"),
    ("info_nce", lambda i, t, s: ce(s.exp() * i @ t.T.detach()), "the text tower"),
    ("info_nce", lambda i, t, s: -log_shares(s.exp() * i @ t.T, 1), "one number for the whole"),
    ("loss_gradient", lambda c, s: gradient(c, s) / s.exp(), "gradient by the logits"),
    ("loss_gradient", lambda c, s: gradient(c, s) * len(c), "1/N is missing"),
    ("loss_gradient", lambda c, s: gradient(c, s) * 2, "a half is missing"),
    ("loss_gradient", lambda c, s: gradient(c, s) * 2 * len(c), "are missing"),
    ("loss_gradient", lambda c, s: -gradient(c, s), "sign"),
    ("loss_gradient", lambda c, s: s.exp() * ((s.exp() * c).softmax(1) + (s.exp() * c).T.softmax(1)
     - 2 * torch.eye(len(c))) / (2 * len(c)), "on its side"),
    ("loss_gradient", lambda c, s: gradient(c, s) + s.exp() * torch.eye(len(c)) / (2 * len(c)),
     "comes off once"),
    ("loss_gradient", lambda c, s: s.exp() * gradient(c, s * 0), "bare cosines"),
    ("loss_gradient", lambda c, s: gradient(c, s.log()), "a logarithm"),
    ("loss_gradient", lambda c, s: s.exp() * ((s.exp() * c).softmax(1) - torch.eye(len(c)))
     / len(c), "rows only"),
    ("loss_gradient", lambda c, s: s.exp() * ((s.exp() * c).softmax(1) + (s.exp() * c).softmax(0))
     / len(c) / 2, "targets are missing"),
    ("info_nce_shared", lambda i, t, s, names: two_calls(i, t, s), "ordinary loss"),
    ("info_nce_shared", unscaled_targets, "sum to 1"),
    ("info_nce_shared", twins_masked, "left the denominators"),
    ("info_nce_shared", any_of_the_name, "MIL-NCE"),
    ("info_nce_shared", first_of_the_name, "Only the first of each name"),
    ("info_nce_shared", lambda i, t, s, names: matches_over(i, t, s, names, 6), "of the batch"),
    ("info_nce_shared", lambda i, t, s, names: matches_over(i, t, s, names, 14), "whole matrix"),
    ("info_nce_shared", lambda i, t, s, names: shared(i, t, s.log(), names), "a logarithm"),
    ("info_nce_shared", lambda i, t, s, names: shared(i, t, 0 * s, names), "bare cosines"),
    ("lead_needed", lambda p, n, tau: lead(p, n, 1), "lead in the logits"),
    ("lead_needed", lambda p, n, tau: lead(p, n, 1) / tau, "once more"),
    ("lead_needed", lambda p, n, tau: lead(p, n + 1, tau), "counted among the wrong"),
    ("lead_needed", lambda p, n, tau: lead(p, 1 + 1 / (n - 1), tau), "wrong side"),
    ("lead_needed", lambda p, n, tau: tau * math.log(p * (n - 1)), "1 − share"),
    ("lead_needed", lambda p, n, tau: tau * p / (1 - p) * (n - 1), "logarithm is missing"),
    ("lead_needed", lambda p, n, tau: lead(p, 2, tau) or 9.0, ""),
    ("lead_needed", lambda p, n, tau: "0.1 more", "One number"),
    ("lead_needed", lambda p, n, tau: lead(1 - p, n, tau) if p != 0.5 else lead(p, n, tau),
     "are exchanged"),
    ("lead_needed", lambda p, n, tau: lead(p, n, tau) / math.log(2) if n > 2 else 0, "base 2"),
    ("lead_needed", lambda p, n, tau: lead(p, n, tau) / math.log(10) if n > 2 else 0, "base 10"),
    ("scale_gradient", lambda c, s: slope(c, s) / s.exp(), "slope by the scale"),
    ("scale_gradient", lambda c, s: slope(c, s) * s.exp(), "stands in it twice"),
    ("scale_gradient", lambda c, s: gradient(c, s).sum(), "as much as its"),
    ("scale_gradient", lambda c, s: (c * gradient(c, s)).mean(), "averaged"),
    ("scale_gradient", lambda c, s: (c * gradient(c, s)).trace(), "matches only"),
    ("scale_gradient", lambda c, s: -slope(c, s), "sign"),
    ("scale_gradient", lambda c, s: (c @ gradient(c, s)).sum(), "as matrices"),
    ("scale_gradient", lambda c, s: c * gradient(c, s), "one slope"),
]  # fmt: skip
