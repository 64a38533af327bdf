"""Chapter 16: right answers in many forms, and wrong ones with words that their diagnosis holds."""

import torch
from torch.nn import functional as F


def cosine_maps(places, texts):
    side = int(len(places) ** 0.5)
    return (F.normalize(texts) @ F.normalize(places).T).view(len(texts), side, side)


def by_cosine_similarity(places, texts):
    maps = F.cosine_similarity(texts[:, None], places[None], dim=-1)
    side = round(places.shape[0] ** 0.5)
    return maps.unflatten(1, (side, side))


def hits(maps, masks):
    return masks.flatten(1).gather(1, maps.flatten(1).argmax(1)[:, None])[:, 0]


def hits_in_a_loop(maps, masks):
    found = []
    for heat, mask in zip(maps, masks, strict=True):
        row, column = divmod(int(heat.argmax()), heat.shape[1])
        found.append(bool(mask[row, column]))
    return torch.tensor(found)


def covered(picture, masks, score, colour=None):
    colour = picture.mean((1, 2), keepdim=True) if colour is None else colour
    return score(torch.where(masks[:, None], colour, picture))


def occlusion(picture, masks, score, colour=None):
    lost = score(picture[None]) - covered(picture, masks, score, colour)
    return (lost[:, None, None] * masks).sum(0) / masks.sum(0)


def occlusion_in_a_loop(picture, masks, score):
    total, counts = torch.zeros(masks.shape[1:]), torch.zeros(masks.shape[1:])
    for mask in masks:
        hidden = picture.clone()
        hidden[:, mask] = picture.mean((1, 2))[:, None]
        total[mask] += score(picture[None])[0] - score(hidden[None])[0]
        counts[mask] += 1
    return total / counts


def uphill(numbers, score, rate):
    free = numbers.clone().requires_grad_()
    (slope,) = torch.autograd.grad(score(free).sum(), free)
    return numbers + rate * slope


def uphill_backward(numbers, score, rate):
    free = numbers.detach().clone().requires_grad_()
    score(free).sum().backward()
    return (free + rate * free.grad).detach()


def slope(numbers, score):
    return uphill(numbers, score, 1.0) - numbers


def attached(numbers, score, rate):
    free = numbers.clone().requires_grad_()
    (slope,) = torch.autograd.grad(score(free).sum(), free)
    return free + rate * slope


def iou(marked, true):
    return (marked & true).flatten(1).sum(1) / (marked | true).flatten(1).sum(1)


def deletion(picture, heat, score, steps, descending=True, colour=None, keep=True):
    order = heat.flatten().argsort(descending=descending)
    mean = picture.mean((1, 2))[:, None] if colour is None else colour
    rows, pixels = [], len(order)
    for k in range(steps + 1):
        row = picture.clone().flatten(1)
        first = 0 if keep else round((k - 1) * pixels / steps) if k else 0
        row[:, order[first : round(k * pixels / steps)]] = mean
        rows.append(row.unflatten(1, heat.shape))
    return score(torch.stack(rows))


def insertion(picture, heat, score, steps):
    order, rows = heat.flatten().argsort(descending=True), []
    for k in range(steps + 1):
        row = picture.mean((1, 2))[:, None].repeat(1, len(order))
        seen = order[: round(k * len(order) / steps)]
        row[:, seen] = picture.flatten(1)[:, seen]
        rows.append(row.unflatten(1, heat.shape))
    return score(torch.stack(rows))


def stub(*_):
    raise NotImplementedError


RIGHT = {
    "place_cosines": [cosine_maps, by_cosine_similarity],
    "points_at": [hits, hits_in_a_loop,
                  lambda maps, masks: ((maps == maps.amax((1, 2), keepdim=True)) & masks)
                  .any(2).any(1)],
    "occlusion_map": [occlusion, occlusion_in_a_loop],
    "step_uphill": [uphill, uphill_backward],
    "mask_iou": [iou, lambda a, b: [((x & y).sum() / (x | y).sum()).item()
                                    for x, y in zip(a, b, strict=True)]],
    "less_shared": [lambda m: m - m.mean(0), lambda m: m - m.mean(dim=0, keepdim=True),
                    lambda m: torch.stack([one - m.mean(0) for one in m])],
    "deletion_curve": [deletion, lambda *given: deletion(*given).tolist()],
}  # fmt: skip

# (exercise, a plausible wrong answer, words that its diagnosis must hold)
WRONG = [
    ("place_cosines", lambda p, t: cosine_maps(p, t).mT, "exchanged"),
    ("place_cosines", lambda p, t: (t @ p.T).view(2, 3, 3), "dot products"),
    ("place_cosines", lambda p, t: (F.normalize(t) @ p.T).view(2, 3, 3), "the places do not"),
    ("place_cosines", lambda p, t: (t @ F.normalize(p).T).view(2, 3, 3), "the texts do not"),
    ("place_cosines", lambda p, t: (F.normalize(p) @ F.normalize(t).T).reshape(2, 3, 3),
     "Texts come first"),
    ("place_cosines", lambda p, t: F.normalize(t) @ F.normalize(p).T, "texts, rows, columns"),
    ("place_cosines", lambda p, t: cosine_maps(p, t).flatten(1).softmax(1).view(2, 3, 3),
     "softmax"),
    ("place_cosines", lambda p, t: (t @ p.T / (t.norm() * p.norm())).view(2, 3, 3), "Each row has"),
    ("place_cosines", lambda p, t: (F.normalize(t, dim=0) @ F.normalize(p, dim=0).T).view(2, 3, 3),
     "A vector is a row"),
    ("place_cosines", stub, "still to be written"),
    ("points_at", lambda a, b: hits(-a, b), "lowest"),
    ("points_at", lambda a, b: b.flatten(1)[:, a.flatten(1).argmax() % 36], "whole batch"),
    ("points_at", lambda a, b: ((a == a.max()) & b).flatten(1).any(1), "Each map has its own"),
    ("points_at", lambda a, b: b.flatten()[a.flatten(1).argmax(1)], "first mask"),
    ("points_at", lambda a, b: (a * b).flatten(1).argmax(1) == a.flatten(1).argmax(1), "zeros"),
    ("points_at", lambda a, b: hits(a, b.mT), "exchanged"),
    ("points_at", lambda a, b: ~hits(a, b), "exchanged"),
    ("points_at", lambda a, b: hits(a, b).float().mean(), "yes or no for each map"),
    ("points_at", lambda a, b: a.flatten(1).argmax(1), "These are the places"),
    ("points_at", lambda a, b: ((a > (a.amin((1, 2), True) + a.amax((1, 2), True)) / 2) & b)
     .flatten(1).any(1), "Only the single highest"),
    ("occlusion_map", lambda p, m, s: -occlusion(p, m, s), "sign"),
    ("occlusion_map", lambda p, m, s: occlusion(p, m, s) * m.sum(0), "three times"),
    ("occlusion_map", lambda p, m, s: occlusion(p, m, s) * m.sum(0) / len(m), "all covers"),
    ("occlusion_map", lambda p, m, s: occlusion(p, m, s, torch.tensor(0.0)), "black"),
    ("occlusion_map", lambda p, m, s: occlusion(p, m, s, p.mean()), "grey"),
    ("occlusion_map", lambda p, m, s: (-covered(p, m, s)[:, None, None] * m).sum(0) / m.sum(0),
     "what is left"),
    ("occlusion_map", lambda p, m, s: ((s(p[None]) - covered(p, ~m, s))[:, None, None] * m).sum(0)
     / m.sum(0), "can be *seen*"),
    ("occlusion_map", lambda p, m, s: s(p), "a batch of one"),
    ("step_uphill", lambda x, s, r: x, "Nothing moved"),
    ("step_uphill", lambda x, s, r: uphill(x, s, -r), "step *down*"),
    ("step_uphill", lambda x, s, r: uphill(x, s, r / len(x)), "take the sum"),
    ("step_uphill", lambda x, s, r: uphill(x, s, 1.0), "rate takes no part"),
    ("step_uphill", lambda x, s, r: x + r * slope(x, s).sign(), "sign"),
    ("step_uphill", lambda x, s, r: x + r * F.normalize(slope(x, s)), "length 1"),
    ("step_uphill", lambda x, s, r: r * slope(x, s), "This is the step"),
    ("step_uphill", lambda x, s, r: slope(x, s), "This is the slope"),
    ("step_uphill", attached, "Detach"),
    ("mask_iou", lambda a, b: 2 * (a & b).sum((1, 2)) / (a.sum((1, 2)) + b.sum((1, 2))), "Dice"),
    ("mask_iou", lambda a, b: (a & b).sum((1, 2)) / (a.sum((1, 2)) + b.sum((1, 2))), "twice"),
    ("mask_iou", lambda a, b: (a & b).sum((1, 2)) / b.sum((1, 2)), "marks everything"),
    ("mask_iou", lambda a, b: (a & b).sum((1, 2)) / a.sum((1, 2)), "one pixel"),
    ("mask_iou", lambda a, b: (a & b).sum((1, 2)) / torch.maximum(a.sum((1, 2)), b.sum((1, 2))),
     "larger"),
    ("mask_iou", lambda a, b: (a & b).sum((1, 2)) / torch.minimum(a.sum((1, 2)), b.sum((1, 2))),
     "smaller"),
    ("mask_iou", lambda a, b: (a ^ b).sum((1, 2)) / (a | b).sum((1, 2)), "one minus"),
    ("mask_iou", lambda a, b: (a & b).float().mean((1, 2)), "whole picture"),
    ("mask_iou", lambda a, b: (a == b).float().mean((1, 2)), "outside both"),
    ("mask_iou", lambda a, b: (a & b).sum() / (a | b).sum(), "one number for each"),
    ("less_shared", lambda m: m - m.mean((1, 2), keepdim=True), "over *places*"),
    ("less_shared", lambda m: m - m.mean(), "no map changed"),
    ("less_shared", lambda m: m - (m.sum(0) - m) / (len(m) - 1), "5/4"),
    ("less_shared", lambda m: m.softmax(0), "shares"),
    ("less_shared", lambda m: m - m.amax(0), "largest"),
    ("less_shared", lambda m: (m - m.mean(0)) / m.std(0), "spread"),
    ("less_shared", lambda m: m / m.mean(0), "divided by their mean"),
    ("less_shared", lambda m: (m - m.mean(0)).relu(), "Leave it negative"),
    ("less_shared", lambda m: m.mean(0), "(5, 3, 4) was expected"),
    ("deletion_curve", lambda *g: deletion(*g, descending=False), "coldest"),
    ("deletion_curve", lambda *g: deletion(*g, keep=False), "stays covered"),
    ("deletion_curve", lambda *g: deletion(*g, colour=0.0), "black"),
    ("deletion_curve", lambda *g: deletion(*g, colour=g[0].mean()), "grey"),
    ("deletion_curve", lambda *g: deletion(*g).flip(0), "backwards"),
    ("deletion_curve", lambda *g: deletion(*g)[0] - deletion(*g), "lost"),
    ("deletion_curve", insertion, "insertion"),
    ("deletion_curve", lambda *g: deletion(*g)[1:], "steps + 1"),
]  # fmt: skip
