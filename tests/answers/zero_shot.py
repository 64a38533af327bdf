"""Chapter 9: right answers in many forms, and wrong ones with words that their diagnosis holds."""

import torch
from torch.nn import functional as F


def weights(encoder, names, template):
    return encoder.encode_texts([template.replace("{}", name) for name in names])


def one_by_one(encoder, names, template):
    rows = [encoder.encode_texts([template.format(name)])[0] for name in names]
    return F.normalize(torch.stack(rows), dim=-1)


def top_k(logits, targets, k):
    return (logits.topk(k).indices == targets[:, None]).any(dim=1).float().mean().item()


def by_rank(logits, targets, k):
    own = logits[torch.arange(len(targets)), targets]
    return ((logits > own[:, None]).sum(1) < k).double().mean()


def per_class(predicted, targets):
    shares = [(predicted[targets == c] == c).float().mean() for c in targets.unique()]
    return torch.stack(shares).mean()


def by_counts(predicted, targets):
    there = torch.bincount(targets)
    found = torch.bincount(targets[predicted == targets], minlength=len(there))
    return (found[there > 0] / there[there > 0]).mean().item()


def ece(shares, targets, bins):
    confidence, chosen = shares.max(1)
    right, place = chosen == targets, (confidence * bins).long()
    error = 0.0
    for b in place.unique():
        inside = place == b
        gap = right[inside].float().mean() - confidence[inside].mean()
        error += inside.float().mean() * gap.abs()
    return error


def ece_at_once(shares, targets, bins):
    confidence, chosen = shares.max(1)
    place = (confidence * bins).ceil().long() - 1
    gaps = torch.zeros(bins).index_add(0, place, (chosen == targets).float() - confidence)
    return gaps.abs().sum().item() / len(targets)


def or_none(cosines, least):
    best, place = cosines.max(1)
    return torch.where(best >= least, place, -1)


def or_none_by_loop(cosines, least):
    return [int(row.argmax()) if row.max() >= least else -1 for row in cosines]


def best_tau(cosines, targets, taus):
    return min(taus, key=lambda tau: F.cross_entropy(cosines / tau, targets).item())


def best_tau_by_hand(cosines, targets, taus):
    rows = torch.arange(len(targets))
    losses = [-(cosines / t).softmax(1)[rows, targets].log().mean() for t in taus]
    return taus[int(torch.stack(losses).argmin())]


def apart(known, unknown):
    gap = known[:, None] - unknown[None]
    return ((gap.sign() + 1) / 2).mean().item()


def apart_by_loop(known, unknown):
    wins = [1.0 if a > b else 0.5 if a == b else 0.0 for a in known for b in unknown]
    return sum(wins) / len(wins)


RIGHT = {
    "zero_shot_weights": [weights, one_by_one],
    "top_k_share": [top_k, by_rank],
    "mean_per_class": [per_class, by_counts],
    "calibration_error": [ece, ece_at_once],
    "or_none": [or_none, or_none_by_loop],
    "best_temperature": [best_tau, best_tau_by_hand],
    "tells_apart": [apart, apart_by_loop],
}


def precision(predicted, targets):
    hits = predicted == targets
    return torch.stack([hits[predicted == c].float().mean() for c in predicted.unique()]).mean()


def bin_gaps(shares, targets, bins, confidence=None):
    highest, chosen = shares.max(1)
    confidence = highest if confidence is None else confidence
    place = (confidence * bins).long().clamp(max=bins - 1)
    total = torch.bincount(place, (chosen == targets).float() - confidence, bins)
    return total, torch.bincount(place, minlength=bins)


def own_share(shares, targets, bins):
    own = shares.gather(1, targets[:, None])[:, 0]
    return bin_gaps(shares, targets, bins, own)[0].abs().sum() / len(targets)


def unweighted(shares, targets, bins):
    total, count = bin_gaps(shares, targets, bins)
    return (total[count > 0] / count[count > 0]).abs().mean()


def worst(shares, targets, bins):
    total, count = bin_gaps(shares, targets, bins)
    return (total / count.clamp(min=1)).abs().max()


def shifted(shares, targets, bins):
    confidence, chosen = shares.max(1)
    right, error = (chosen == targets).float(), 0.0
    for place in range(bins + 1):
        inside = (confidence * bins).round() == place
        if inside.any():
            error += (
                inside.float().mean() * (right[inside].mean() - confidence[inside].mean()).abs()
            )
    return error


def middles(shares, targets, bins):
    highest, chosen = shares.max(1)
    place = (highest * bins).long().clamp(max=bins - 1)
    gaps = (chosen == targets).float() - (place + 0.5) / bins
    return torch.bincount(place, gaps, bins).abs().sum() / len(targets)


def all_shares(shares, targets, bins):
    each = F.one_hot(targets, shares.shape[1]).flatten().float()
    place = (shares.flatten() * bins).long().clamp(max=bins - 1)
    return torch.bincount(place, each - shares.flatten(), bins).abs().sum() / len(each)


def cancelled(shares, targets, bins):
    return shares.max(1).values.mean() - (shares.argmax(1) == targets).float().mean()


def stop(*_):
    raise NotImplementedError


# (exercise, a plausible wrong answer, words that its diagnosis must hold)
WRONG = [
    ("zero_shot_weights", lambda e, n, t: e.encode_texts(n), "template takes no part"),
    ("zero_shot_weights", lambda e, n, t: e.encode_texts([t] * len(n)), "{} still stands"),
    ("zero_shot_weights", lambda e, n, t: e.encode_texts([t + name for name in n]),
     "{} still stands"),
    ("zero_shot_weights", lambda e, n, t: e.encode_texts([t.replace("{}", n[0]) for _ in n]),
     "The encoder got"),
    ("zero_shot_weights", lambda e, n, t: e.encode_texts([t.replace("{}", f"{x} ") for x in n]),
     "with this template it should be"),
    ("zero_shot_weights", lambda e, n, t: e.encode_texts(t.replace("{}", n[0])), "list of strings"),
    ("zero_shot_weights", lambda e, n, t: weights(e, n[::-1], t), "another order"),
    ("zero_shot_weights", lambda e, n, t: weights(e, sorted(n), t), "another order"),
    ("zero_shot_weights", lambda e, n, t: weights(e, n, t).T, "one row a class"),
    ("zero_shot_weights", lambda e, n, t: F.normalize(weights(e, n, t), dim=0), "columns"),
    ("zero_shot_weights", stop, "still to be written"),
    ("top_k_share", lambda x, t, k: top_k(x, t, 1), "whatever k is"),
    ("top_k_share", lambda x, t, k: top_k(-x, t, k), "lowest"),
    ("top_k_share", lambda x, t, k: 100 * top_k(x, t, k), "per cent"),
    ("top_k_share", lambda x, t, k: len(t) * top_k(x, t, k), "a count"),
    ("top_k_share", lambda x, t, k: (x.topk(k).indices == t[:, None]).float().mean(),
     "counts once"),
    ("top_k_share", lambda x, t, k: 1 - top_k(x, t, k), "fails"),
    ("top_k_share", lambda x, t, k: top_k(x, t, k + 1), "One place too many"),
    ("top_k_share", lambda x, t, k: (x.topk(k).indices[:, -1] == t).float().mean(), "exactly"),
    ("top_k_share", lambda x, t, k: (x.topk(k).indices == t[:, None]).any(1), "One number"),
    ("top_k_share", lambda x, t, k: (x.topk(k).indices == t[:, None]).all(1).float().mean(),
     "Nothing counts as found"),
    ("top_k_share", lambda x, t, k: (x.topk(k).values == t[:, None]).any(1).float().mean(),
     "Nothing counts as found"),
    ("top_k_share", lambda x, t, k: (x.topk(k).indices == t[:, None]).any().float(),
     "Everything counts as found"),
    ("mean_per_class", lambda p, t: (p == t).float().mean(), "speaks loudest"),
    ("mean_per_class", precision, "precision"),
    ("mean_per_class", lambda p, t: 0.6 * per_class(p, t), "Classes without pictures"),
    ("mean_per_class", lambda p, t: 3 * per_class(p, t), "added up"),
    ("mean_per_class", lambda p, t: 100 * per_class(p, t), "per cent"),
    ("mean_per_class", lambda p, t: 1 - per_class(p, t), "fails"),
    ("mean_per_class", lambda p, t: torch.stack([(p[t == c] == c).float().mean()
                                                 for c in range(5)]).mean(), "nan"),
    ("mean_per_class", lambda p, t: 3 * per_class(p, t) / len(t), "divided by the number of pict"),
    ("mean_per_class", lambda p, t: torch.stack([((p == c) & (t == c)).float().mean()
                                                 for c in t.unique()]).mean(), "by *all* pictures"),
    ("calibration_error", cancelled, "cancel"),
    ("calibration_error", lambda p, t, b: -cancelled(p, t, b), "cancel"),
    ("calibration_error", unweighted, "weigh by pictures"),
    ("calibration_error", worst, "worst bin"),
    ("calibration_error", own_share, "from the right class"),
    ("calibration_error", shifted, "rounded down"),
    ("calibration_error", lambda p, t, b: (p.amax(1) - (p.argmax(1) == t).float()).abs().mean(),
     "without bins"),
    ("calibration_error", all_shares, "All shares of all classes"),
    ("calibration_error", middles, "middle of the bin"),
    ("calibration_error", lambda p, t, b: 100 * ece(p, t, b), "per cent"),
    ("calibration_error", lambda p, t, b: len(t) * ece(p, t, b), "divide by their number"),
    ("or_none", lambda c, least: c.argmax(1), "bar takes no part"),
    ("or_none", lambda c, least: torch.where(c.amax(1) < least, c.argmax(1), -1),
     "wrong ones are refused"),
    ("or_none", lambda c, least: torch.where(c.amax(1) >= least, c.argmax(1), 3), "−1, not"),
    ("or_none", lambda c, least: c.amax(1) >= least, "who is answered"),
    ("or_none", lambda c, least: c.amax(1), "best cosines"),
    ("or_none", lambda c, least: torch.where(c.amax(1) >= least, c.amax(1), -1),
     "Who is refused is right"),
    ("or_none", lambda c, least: torch.where(c.argmax(1) >= least, c.argmax(1), -1),
     "against the class's number"),
    ("or_none", lambda c, least: torch.where(c.softmax(1).amax(1) >= least, c.argmax(1), -1),
     "against shares"),
    ("or_none", lambda c, least: c.argmax(1)[c.amax(1) >= least], "one answer for each"),
    ("best_temperature", lambda c, t, taus: taus.index(best_tau(c, t, taus)), "place in the list"),
    ("best_temperature", lambda c, t, taus: min(F.cross_entropy(c / x, t) for x in taus),
     "smallest loss"),
    ("best_temperature", lambda c, t, taus: max(taus, key=lambda x: top_k(c / x, t, 1)),
     "Accuracy can't choose"),
    ("best_temperature", lambda c, t, taus: max(taus, key=lambda x: (c / x).softmax(1).max()),
     "surest"),
    ("best_temperature", lambda c, t, taus: best_tau(c * 1e-3, t, [1 / x for x in taus]),
     "On a small example"),
    ("best_temperature", lambda c, t, taus: min(taus, key=lambda x: F.cross_entropy(c * x, t)),
     "multiplied by τ"),
    ("best_temperature", lambda c, t, taus: max(taus, key=lambda x: (c / x).softmax(1)[
        torch.arange(len(t)), t].mean()), "highest mean *share*"),
    ("best_temperature", lambda c, t, taus: min(
        taus, key=lambda x: F.cross_entropy((c / x).softmax(1), t)), "softmax of a softmax"),
    ("tells_apart", lambda a, b: len(b) * apart(a, b), "known ones only"),
    ("tells_apart", lambda a, b: len(a) * apart(a, b), "unknown ones only"),
    ("tells_apart", lambda a, b: apart(b, a), "other way round"),
    ("tells_apart", lambda a, b: (a[:, None] > b).float().mean(), "count as lost"),
    ("tells_apart", lambda a, b: (a[:, None] >= b).float().mean(), "count as won"),
    ("tells_apart", lambda a, b: a.mean() - b.mean(), "difference of the means"),
    ("tells_apart", lambda a, b: (a > b.mean()).float().mean(), "the *mean* of the unknown"),
    ("tells_apart", lambda a, b: len(a) * len(b) * apart(a, b), "count of pairs"),
    ("tells_apart", lambda a, b: (a[: len(b)] > b).float().mean(), "met one unknown"),
]  # fmt: skip
