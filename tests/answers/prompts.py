"""Chapter 10: right answers in many forms, and wrong ones with words that their diagnosis holds."""

import torch
from torch.nn import functional as F


def fill(template, name):
    if "{}" not in template:
        raise ValueError(template)
    return template.replace("{}", name)


def fill_by_pieces(template, name):
    pieces = template.split("{}")
    assert len(pieces) > 1
    return name.join(pieces)


def stacked(encoder, names, templates):
    prompts = [fill(template, name) for name in names for template in templates]
    return encoder.encode_texts(prompts).unflatten(0, (len(names), len(templates)))


def ensemble(encoder, names, templates):
    return F.normalize(stacked(encoder, names, templates).mean(dim=1), dim=-1)


def one_class_at_a_time(encoder, names, templates):
    rows = []
    for name in names:
        row = encoder.encode_texts([fill(template, name) for template in templates]).sum(dim=0)
        rows.append(row / row.norm())
    return torch.stack(rows)


def template_by_template(encoder, names, templates):
    total = sum(encoder.encode_texts([fill(t, name) for name in names]) for t in templates)
    return total / total.norm(dim=1, keepdim=True)


def shares(images, texts, scale):
    return (scale * torch.einsum("nd,ctd->nct", images, texts)).softmax(1).mean(2)


def shares_by_loop(images, texts, scale):
    each = [(scale * images @ texts[:, t].T).softmax(-1) for t in range(texts.shape[1])]
    return sum(each) / len(each)


def accuracy(texts, pictures, targets, places):
    rows = F.normalize(texts[:, list(places)].mean(1), dim=-1)
    return ((pictures @ rows.T).argmax(1) == targets).float().mean().item()


def without_each(texts, pictures, targets):
    every = range(texts.shape[1])
    rest = [[u for u in every if u != t] for t in every]
    return torch.tensor([accuracy(texts, pictures, targets, of) for of in rest])


def without_by_sums(texts, pictures, targets):
    found = []
    for t in range(texts.shape[1]):
        rows = F.normalize(texts.sum(1) - texts[:, t], dim=-1)
        found.append(float(((pictures @ rows.T).argmax(1) == targets).double().mean()))
    return found


def next_template(texts, pictures, targets, chosen):
    rest = [t for t in range(texts.shape[1]) if t not in chosen]
    return max(rest, key=lambda t: accuracy(texts, pictures, targets, [*chosen, t]))


def next_by_loop(texts, pictures, targets, chosen):
    best, place = -1.0, None
    for t in set(range(texts.shape[1])) - set(chosen):
        found = accuracy(texts, pictures, targets, [*chosen, t])
        if found > best:
            best, place = found, t
    return torch.tensor(place)


def length(cosines):
    return cosines.mean().sqrt().item()


def length_by_hand(cosines):
    return torch.sqrt(cosines.sum()) / cosines.shape[0]


RIGHT = {
    "fill_gap": [fill, fill_by_pieces],
    "ensemble_weights": [ensemble, one_class_at_a_time, template_by_template],
    "average_shares": [shares, shares_by_loop],
    "without_each": [without_each, without_by_sums],
    "next_template": [next_template, next_by_loop],
    "mean_length": [length, length_by_hand],
}


def mixed(encoder, names, templates):
    prompts = [fill(template, name) for template in templates for name in names]
    vectors = encoder.encode_texts(prompts).unflatten(0, (len(names), len(templates)))
    return F.normalize(vectors.mean(1), dim=-1)


def crossed(encoder, names, templates):
    vectors = stacked(encoder, names, templates).flatten(0, 1)
    return F.normalize(vectors.view(len(templates), len(names), -1).mean(0), dim=-1)


def add(texts, pictures, targets, chosen, key, of=max):
    rest = [t for t in range(texts.shape[1]) if t not in chosen]
    return of(rest, key=lambda t: accuracy(texts, pictures, targets, key(t)))


def stop(*_):
    raise NotImplementedError


def only_one_gap(template, name):
    if "{}" not in template:
        raise ValueError(template)
    return template.replace("{}", name, 1)


def by_format(template, name):
    if "{}" not in template:
        raise ValueError(template)
    return template.format(*[name] * template.count("{}"))


def only_if_the_name_is_there(template, name):
    prompt = template.replace("{}", name)
    if name not in prompt:
        raise ValueError(template)
    return prompt


def whole_from_the_mean(texts, pictures, targets):
    found = []
    for t in range(texts.shape[1]):
        rows = F.normalize(texts.mean(1) - texts[:, t], dim=-1)
        found.append(float(((pictures @ rows.T).argmax(1) == targets).float().mean()))
    return found


def without_each_unscaled(texts, pictures, targets):
    found = []
    for t in range(texts.shape[1]):
        rows = (texts.sum(1) - texts[:, t]) / (texts.shape[1] - 1)
        found.append(float(((pictures @ rows.T).argmax(1) == targets).float().mean()))
    return found


def adds_it_too(texts, pictures, targets, chosen):
    chosen.append(next_template(texts, pictures, targets, chosen))
    return chosen[-1]


# (exercise, a plausible wrong answer, words that its diagnosis must hold)
WRONG = [
    ("fill_gap", lambda t, n: t.format(n), "stops with IndexError"),
    ("fill_gap", by_format, "an instruction to str.format"),
    ("fill_gap", lambda t, n: t.replace("{}", n), "has no gap"),
    ("fill_gap", only_one_gap, "Only the first gap"),
    ("fill_gap", lambda t, n: t + " " + n, "still open"),
    ("fill_gap", lambda t, n: t.replace("{}", ""), "the name isn't in it"),
    ("fill_gap", lambda t, n: t.replace("{}", n + " "), "to the letter"),
    ("fill_gap", lambda t, n: [t, n], "A prompt is a string"),
    ("fill_gap", lambda t, n: fill(t, n) if t.find("{}") else 1 / 0, "at the very start"),
    ("fill_gap", lambda t, n: fill(t, n) if t.count("{}") == 1 else 1 / 0, "and twice"),
    ("fill_gap", only_if_the_name_is_there, "“a bat” has no gap"),
    ("fill_gap", stop, "still to be written"),
    ("ensemble_weights", lambda e, n, t: stacked(e, n, t).mean(1), "shorter than 1"),
    ("ensemble_weights", lambda e, n, t: stacked(e, n, t).sum(1), "sums"),
    ("ensemble_weights", mixed, "mix classes"),
    ("ensemble_weights", crossed, "mix classes"),
    ("ensemble_weights", lambda e, n, t: F.normalize(stacked(e, n, t)[:, 0], dim=-1), "first"),
    ("ensemble_weights", lambda e, n, t: e.encode_texts([fill(t[0], x) for x in n]),
     "one prompt a class"),
    ("ensemble_weights", lambda e, n, t: stacked(e, n, t), "one row a class"),
    ("ensemble_weights", lambda e, n, t: F.normalize(stacked(e, n, t).mean(1), dim=0), "columns"),
    ("average_shares", lambda i, t, s: (s * torch.einsum("nd,ctd->nct", i, t)).mean(2).softmax(1),
     "logits were averaged"),
    ("average_shares", lambda i, t, s: (s * i @ F.normalize(t.mean(1), dim=-1).T).softmax(1),
     "ensemble of vectors"),
    ("average_shares", lambda i, t, s: (s * torch.einsum("nd,ctd->nct", i, t)).softmax(2).mean(2),
     "templates compete"),
    ("average_shares", lambda i, t, s: (s * torch.einsum("nd,ctd->nct", i, t)).softmax(1).sum(2),
     "Take the mean"),
    ("average_shares", lambda i, t, s: torch.einsum("nd,ctd->nct", i, t).softmax(1).mean(2),
     "scale takes no part"),
    ("average_shares", lambda i, t, s: (s * torch.einsum("nd,ctd->nct", i, t)).flatten(1)
     .softmax(1).unflatten(1, t.shape[:2]).sum(2), "One softmax over all prompts"),
    ("average_shares", lambda i, t, s: (s * torch.einsum("nd,ctd->nct", i, t)).softmax(1),
     "a share for each picture"),
    ("average_shares", lambda i, t, s: (torch.einsum("nd,ctd->nct", i, t) / s).softmax(1).mean(2),
     "1/τ already"),
    ("average_shares", lambda i, t, s: (s * torch.einsum("nd,ctd->nct", i, t)).softmax(0).mean(2),
     "pictures compete"),
    ("average_shares", lambda i, t, s: (s * torch.einsum("nd,ctd->nct", i, t)).softmax(1).amax(2),
     "best share of any template"),
    ("average_shares", lambda i, t, s: F.one_hot(torch.einsum("nd,ctd->nct", i, t).argmax(1),
                                                 len(t)).float().mean(1), "one vote"),
    ("without_each", whole_from_the_mean, "taken from the *mean*"),
    ("without_each", without_each_unscaled, "aren't of length 1"),
    ("without_each", lambda x, p, t: [accuracy(x, p, t, [u]) for u in range(4)], "template alone"),
    ("without_each", lambda x, p, t: [accuracy(x, p, t, range(4))] * 4, "Nothing is left out"),
    ("without_each", lambda x, p, t: accuracy(x, p, t, range(4)) - without_each(x, p, t),
     "losses"),
    ("without_each", lambda x, p, t: without_each(x, p, t) - accuracy(x, p, t, range(4)),
     "changes"),
    ("without_each", lambda x, p, t: 100 * without_each(x, p, t), "per cent"),
    ("without_each", lambda x, p, t: [accuracy(x, p, t, list(range(u)) or [0]) for u in range(4)],
     "before each one"),
    ("without_each", lambda x, p, t: accuracy(x, p, t, [0]), "one accuracy for each"),
    ("next_template", lambda x, p, t, c: add(x, p, t, c, lambda u: [u]), "best *alone*"),
    ("next_template", lambda x, p, t, c: add(x, p, t, c, lambda u: [*c, u], min), "worst to add"),
    ("next_template", lambda x, p, t, c: c[0], "in the ensemble already"),
    ("next_template", lambda x, p, t, c: add(x, p, t, [], lambda u: [u]), "already"),
    ("next_template", lambda x, p, t, c: accuracy(x, p, t, [*c, 1]), "an accuracy"),
    ("next_template", lambda x, p, t, c: 4, "another does better"),
    ("next_template", adds_it_too, "Leave it as it is"),
    ("mean_length", lambda c: c.norm() / len(c), "cosines were squared"),
    ("mean_length", lambda c: c.mean(), "a root is missing"),
    ("mean_length", lambda c: (c.sum() - len(c)) / (c.numel() - len(c)), "as well; then a root"),
    ("mean_length", lambda c: ((c.sum() - len(c)) / (c.numel() - len(c))).sqrt(),
     "The diagonal was left out"),
    ("mean_length", lambda c: c.sum().sqrt(), "length of the sum"),
    ("mean_length", lambda c: c.clamp(min=0).sqrt().mean(), "root comes last"),
    ("mean_length", lambda c: torch.tensor(1.0), "shorter than 1"),
]  # fmt: skip
