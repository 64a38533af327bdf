"""Chapter 8: right answers in many forms, and wrong ones with words that their diagnosis holds."""

import copy
import math
import random

import torch
from torch.nn import functional as F

from clip_lab.losses import info_nce

TOP = math.log(100)


def rate(peak, warmup, step, steps):
    return peak * min((step + 1) / warmup, 1) * math.cos(math.pi * step / steps / 2) ** 2


def rate_of_tensors(peak, warmup, step, steps):
    ramp = torch.tensor((step + 1) / warmup).clamp(max=1)
    return peak * ramp * 0.5 * (1 + torch.cos(torch.tensor(math.pi * step / steps)))


def fall(share):
    return (1 + math.cos(math.pi * share)) / 2


def by_dimensions(model):
    every = list(model.parameters())
    return [p for p in every if p.dim() >= 2], [p for p in every if p.dim() < 2]


def groups_by(decays):
    """A wrong answer: what `decays(name, parameter)` says."""

    def answer(model):
        named = list(model.named_parameters())
        return [p for n, p in named if decays(n, p)], [p for n, p in named if not decays(n, p)]

    return answer


def step(model, adamw, pictures, tokens, scale=None, loss=None, back=True):
    adamw.zero_grad(set_to_none=False)
    i = F.normalize(model.encode_image(pictures), dim=-1)
    t = F.normalize(model.encode_text(tokens), dim=-1)
    value = (loss or info_nce)(i, t, model.logit_scale if scale is None else scale)
    if back:
        value.backward()
    adamw.step()
    return value.detach()


def clamped(model, adamw, pictures, tokens):
    value = step(model, adamw, pictures, tokens)
    with torch.no_grad():
        model.logit_scale.copy_(model.logit_scale.clamp(0, TOP))
    return value.item()


def by_hand(model, adamw, pictures, tokens):
    i, t = model.encode_image(pictures), model.encode_text(tokens)
    i, t = i / i.norm(dim=1, keepdim=True), t / t.norm(dim=1, keepdim=True)
    logits = model.logit_scale.exp() * i @ t.T
    value = -(logits.log_softmax(0) + logits.log_softmax(1)).diagonal().mean() / 2
    for p in model.parameters():
        p.grad = None
    value.backward()
    adamw.step()
    model.logit_scale.data = model.logit_scale.data.clamp(min=0, max=TOP)
    return value.detach()


def clamp_after(work, low=0.0, high=TOP):
    """A wrong answer with a clamp behind it."""

    def answer(model, adamw, pictures, tokens):
        value = work(model, adamw, pictures, tokens)
        model.logit_scale.data.clamp_(low, high)
        return value

    return answer


def never_forgets(model, adamw, pictures, tokens):
    i = F.normalize(model.encode_image(pictures), dim=-1)
    t = F.normalize(model.encode_text(tokens), dim=-1)
    value = info_nce(i, t, model.logit_scale)
    value.backward()
    adamw.step()
    return value.item()


def forgets_too_late(model, adamw, pictures, tokens):
    i = F.normalize(model.encode_image(pictures), dim=-1)
    t = F.normalize(model.encode_text(tokens), dim=-1)
    value = info_nce(i, t, model.logit_scale)
    value.backward()
    adamw.zero_grad()
    adamw.step()
    return value.item()


def no_step(model, adamw, pictures, tokens):
    i = F.normalize(model.encode_image(pictures), dim=-1)
    t = F.normalize(model.encode_text(tokens), dim=-1)
    adamw.zero_grad()
    value = info_nce(i, t, model.logit_scale)
    value.backward()
    return value.item()


def long_vectors(model, adamw, pictures, tokens):
    adamw.zero_grad()
    value = info_nce(model.encode_image(pictures), model.encode_text(tokens), model.logit_scale)
    value.backward()
    adamw.step()
    return value.item()


def columns_of_length_1(model, adamw, pictures, tokens):
    i = F.normalize(model.encode_image(pictures), dim=0)
    t = F.normalize(model.encode_text(tokens), dim=0)
    value = info_nce(i, t, model.logit_scale)
    adamw.zero_grad()
    value.backward()
    adamw.step()
    model.logit_scale.data.clamp_(0, TOP)
    return value.item()


def clamped_first(model, adamw, pictures, tokens):
    i = F.normalize(model.encode_image(pictures), dim=-1)
    t = F.normalize(model.encode_text(tokens), dim=-1)
    value = info_nce(i, t, model.logit_scale)
    adamw.zero_grad()
    value.backward()
    model.logit_scale.data.clamp_(0, TOP)
    adamw.step()
    return value.item()


def loss_after_the_step(model, adamw, pictures, tokens):
    clamped(model, adamw, pictures, tokens)
    i = F.normalize(model.encode_image(pictures), dim=-1)
    t = F.normalize(model.encode_text(tokens), dim=-1)
    return info_nce(i, t, model.logit_scale).item()


def rows_only(i, t, s):
    return F.cross_entropy(s.exp() * i @ t.T, torch.arange(len(i)))


def inside(model, adamw, pictures, tokens):
    return step(model, adamw, pictures, tokens, scale=model.logit_scale.clamp(0, TOP))


def all_of_it(model, adamw, step):
    return {
        "step": step,
        "model": {name: t.clone() for name, t in model.state_dict().items()},
        "optimizer": copy.deepcopy(adamw.state_dict()),
    }


def living(model, adamw, step):
    return {"model": model.state_dict(), "optimizer": adamw.state_dict(), "step": step}


def half_living(model, adamw, step):
    kept = living(model, adamw, step)
    return kept | {"model": copy.deepcopy(kept["model"])}


def without(part):
    def answer(model, adamw, step):
        kept = copy.deepcopy(living(model, adamw, step))
        del kept[part]
        return kept

    return answer


def with_a_history(model, adamw, step):
    """A right answer: clones that still know where they came from."""
    state = {name: p.clone() for name, p in model.named_parameters()}
    return {"model": state, "optimizer": copy.deepcopy(adamw.state_dict()), "step": step}


def split(captions, share, seed=0):
    names = sorted(set(captions))
    kept = set(random.Random(seed).sample(names, round(share * len(names))))
    train = [k for k, text in enumerate(captions) if text not in kept]
    return train, [k for k, text in enumerate(captions) if text in kept]


def split_of_pairs(captions, share, seed=0):
    order = torch.randperm(len(captions), generator=torch.Generator().manual_seed(seed)).tolist()
    cut = round(share * len(captions))
    return order[cut:], order[:cut]


def split_in_order(captions, share, seed=0):
    kept = set(sorted(set(captions))[: round(share * len(set(captions)))])
    train = [k for k, text in enumerate(captions) if text not in kept]
    return train, [k for k, text in enumerate(captions) if text in kept]


def clip(model, longest):
    slopes = [p.grad for p in model.parameters() if p.grad is not None]
    length = torch.cat([slope.flatten() for slope in slopes]).norm()
    if length > longest:
        for slope in slopes:
            slope *= longest / length
    return length


def clip_of_torch(model, longest):
    return torch.nn.utils.clip_grad_norm_(model.parameters(), longest)


def scale_all(factor):
    """A wrong answer: every gradient times factor(length, longest)."""

    def answer(model, longest):
        slopes = [p.grad for p in model.parameters() if p.grad is not None]
        length = math.sqrt(sum(float(slope.square().sum()) for slope in slopes))
        for slope in slopes:
            slope.mul_(factor(length, longest))
        return length

    return answer


def each_entry(model, longest):
    torch.nn.utils.clip_grad_value_(model.parameters(), longest)
    return 7.0


def each_tensor(model, longest):
    for p in model.parameters():
        if p.grad is not None:
            p.grad.mul_(min(1, longest / (float(p.grad.norm()) + 1e-9)))
    return 7.0


def adamw(w, g, m, s, step, lr, decay, betas=(0.9, 0.98), eps=1e-6):
    m, s = torch.lerp(m, g, 1 - betas[0]), torch.lerp(s, g * g, 1 - betas[1])
    step_size = lr / (1 - betas[0] ** step)
    below = s.sqrt() / math.sqrt(1 - betas[1] ** step) + eps
    return w - lr * decay * w - step_size * m / below, m, s


def l2(w, g, m, s, step, lr, decay, betas=(0.9, 0.98), eps=1e-6):
    return adamw(w, g + decay * w, m, s, step, lr, 0.0, betas, eps)


def uncorrected(w, g, m, s, step, lr, decay, betas=(0.9, 0.98), eps=1e-6):
    m, s = torch.lerp(m, g, 1 - betas[0]), torch.lerp(s, g * g, 1 - betas[1])
    return w * (1 - lr * decay) - lr * m / (s.sqrt() + eps), m, s


def hands_on_corrected(w, g, m, s, step, lr, decay, betas=(0.9, 0.98), eps=1e-6):
    new, m, s = adamw(w, g, m, s, step, lr, decay, betas, eps)
    return new, m / (1 - betas[0] ** step), s


def by_line(correct=(True, True), keep=lambda b: b):
    """A wrong answer: not both corrected, or averages that keep another share."""

    def answer(w, g, m, s, step, lr, decay, betas, eps):
        m = keep(betas[0]) * m + (1 - keep(betas[0])) * g
        s = keep(betas[1]) * s + (1 - keep(betas[1])) * g * g
        mean = m / (1 - betas[0] ** step) if correct[0] else m
        square = s / (1 - betas[1] ** step) if correct[1] else s
        return w * (1 - lr * decay) - lr * mean / (square.sqrt() + eps), m, s

    return answer


def of_torch(w, g, m, s, step, lr, decay, betas=(0.9, 0.98), eps=1e-6):
    weight = torch.nn.Parameter(w.clone())
    weight.grad = g.clone()
    descent = torch.optim.AdamW([weight], lr=lr, betas=betas, eps=eps, weight_decay=decay)
    descent.state[weight] = {"step": torch.tensor(step - 1.0), "exp_avg": m.clone(),
                             "exp_avg_sq": s.clone()}  # fmt: skip
    descent.step()
    state = descent.state[weight]
    return weight.detach(), state["exp_avg"], state["exp_avg_sq"]


RIGHT = {
    "warmup_cosine": [rate, rate_of_tensors],
    "decay_groups": [by_dimensions, lambda model: tuple(map(tuple, by_dimensions(model)))],
    "training_step": [clamped, by_hand],
    "checkpoint": [all_of_it, with_a_history, lambda m, a, step: copy.deepcopy(living(m, a, step))],
    "split_by_caption": [split],
    "clip_gradients": [clip, clip_of_torch],
    "adamw_step": [adamw, of_torch],
}

# (exercise, a plausible wrong answer, words that its diagnosis must hold)
WRONG = [
    ("warmup_cosine", lambda p, w, t, n: p * min(1, t / w) * fall(t / n), "Step 0 has a rate of 0"),
    ("warmup_cosine", lambda p, w, t, n: p * min(1, (t + 1) / w) * math.cos(math.pi * t / n),
     "negative"),
    ("warmup_cosine", lambda p, w, t, n: p * min(1, (t + 1) / w) * math.cos(math.pi * t / n / 2),
     "quarter of a cosine"),
    ("warmup_cosine", lambda p, w, t, n: p * min(1, (t + 1) / w) * fall(2 * t / n), "whole wave"),
    ("warmup_cosine", lambda p, w, t, n: p * min(1, (t + 1) / w) * 2 * fall(t / n), "twice too"),
    ("warmup_cosine", lambda p, w, t, n: p * fall(t / n), "no warm-up"),
    ("warmup_cosine", lambda p, w, t, n: p * min(1, (t + 1) / w), "no cosine"),
    ("warmup_cosine", lambda p, w, t, n: p * (t + 1) / w * fall(t / n), "past the peak"),
    ("warmup_cosine", lambda p, w, t, n: p * ((t + 1) / w if t < w else fall((t - w) / (n - w))),
     "begins after the warm-up"),
    ("warmup_cosine", lambda p, w, t, n: min(1, (t + 1) / w) * fall(t / n), "peak takes no part"),
    ("warmup_cosine", lambda p, w, t, n: p * min(1, (t + 1) / w) * (1 - t / n), "straight line"),
    ("warmup_cosine", lambda p, w, t, n: p * min(1, (t + 1) / w) * (1 + math.cos(180 * t / n)) / 2,
     "degrees"),
    ("warmup_cosine", lambda p, w, t, n: p * min(1, (t + 1) / (w + 1)) * fall(t / n),
     "a step too slow"),
    ("warmup_cosine", lambda p, w, t, n: p * min(1, (t + 1) // w) * fall(t / n), "rounds down"),
    ("warmup_cosine", lambda p, w, t, n: p * max(1, (t + 1) / w) * fall(t / n), "never below 1"),
    ("warmup_cosine", lambda p, w, t, n: p * min((t + 1) / w, fall(t / n)), "the smaller of"),
    ("warmup_cosine", lambda p, w, t, n: p * ((t + 1) / w if t < w else fall(t / n)),
     "the cosine takes no part"),
    ("warmup_cosine", lambda p, w, t, n: p * min(1, (t + 1) / w) * (1 - fall(t / n)),
     "rises to the end"),
    ("warmup_cosine", lambda p, w, t, n: 0.9 * rate(p, w, t, n),
     "With a peak of 0.4, a warm-up of 5 and 20 steps, step 4 has"),
    ("warmup_cosine", lambda p, w, t, n: [p], "one number"),
    ("decay_groups", lambda model: by_dimensions(model)[::-1], "exchanged"),
    ("decay_groups", groups_by(lambda n, p: "bias" not in n and n != "logit_scale"),
     "ln_1.weight (a LayerNorm's gain, which starts at 1) decays"),
    ("decay_groups", groups_by(lambda n, p: p.ndim > 1 or p.ndim == 0), "temperature"),
    ("decay_groups", groups_by(lambda n, p: "bias" not in n and "ln" not in n and "logit" not in n),
     "second.weight (a BatchNorm's gain"),
    ("decay_groups", groups_by(lambda n, p: p.ndim == 2), "four dimensions) is spared"),
    ("decay_groups", groups_by(lambda n, p: "first.weight" in n or "patches" in n),
     "positions (the positions, a matrix) is spared"),
    ("decay_groups", lambda model: (by_dimensions(model)[0], []), "neither list"),
    ("decay_groups", lambda model: (list(model.parameters()), by_dimensions(model)[1]), "twice"),
    ("decay_groups", lambda model: by_dimensions(model)[0], "Return two lists"),
    ("decay_groups", lambda model: tuple(map(iter, by_dimensions(model))), "make a list of it"),
    ("decay_groups", lambda model: (list(model.named_parameters()), []), "pair of name"),
    ("training_step", clamp_after(never_forgets), "add up"),
    ("training_step", clamp_after(forgets_too_late), "wiped out again before it"),
    ("training_step", clamp_after(no_step), "no step follows"),
    ("training_step", clamp_after(long_vectors), "as long as the towers made them"),
    ("training_step", clamp_after(lambda *a: step(*a, loss=rows_only)), "one direction only"),
    ("training_step", step, "its bound is ln 100"),
    ("training_step", clamp_after(step, 0, 100), "its bound is ln 100"),
    ("training_step", inside, "the parameter isn't"),
    ("training_step", clamp_after(step, -10, TOP), "should come up to 0"),
    ("training_step", clamp_after(step, 0, 4.0), "come down to ln 100"),
    ("training_step", clamp_after(lambda *a: step(*a, back=False)), "finds no gradients"),
    ("training_step", clamp_after(lambda *a: step(*a, loss=lambda i, t, s: info_nce(i, t, 0 * s))),
     "The first batch's loss should be"),
    ("training_step", clamp_after(lambda *a: step(*a, scale=a[0].logit_scale.exp())),
     "went through exp"),
    ("training_step", clamp_after(lambda *a: step(*a, scale=a[0].logit_scale.detach())),
     "gets no gradient"),
    ("training_step", clamp_after(
        lambda *a: step(*a, loss=lambda i, t, s: info_nce(i * 0.9, t * 0.9, s))),
     "Look at what info_nce is given"),
    ("training_step", columns_of_length_1, "normalise along the last axis"),
    ("training_step", clamped_first, "Clamp last"),
    ("training_step", loss_after_the_step, "before the step"),
    ("training_step", lambda *a: (clamped(*a), a[1].step())[0], "steps more than once"),
    ("checkpoint", living, "the model's own tensors"),
    ("checkpoint", half_living, "averages in the checkpoint change"),
    ("checkpoint", without("optimizer"), "begin at 0 again"),
    ("checkpoint", without("step"), "warm up again"),
    ("checkpoint", lambda m, a, k: {"model": m, "optimizer": a, "step": k}, "living thing"),
    ("checkpoint", lambda m, a, k: all_of_it(m, a, k + 1), "The step was 3"),
    ("checkpoint", lambda m, a, k: all_of_it(m, a, k) | {"model": list(m.parameters())},
     "The model can't read what is under 'model'"),
    ("checkpoint", lambda m, a, k: all_of_it(m, a, k) | {"optimizer": a.param_groups},
     "The optimiser can't read what is under 'optimizer'"),
    ("checkpoint", lambda m, a, k: m.state_dict(), "There is no 'model'"),
    ("checkpoint", lambda m, a, k: all_of_it(m, torch.optim.AdamW(m.parameters(), lr=0.05), k),
     "takes another way"),
    ("checkpoint", lambda m, a, k: (m.state_dict(), a.state_dict(), k), "dictionary"),
    ("split_by_caption", split_of_pairs, "pairs were drawn, not captions"),
    ("split_by_caption", lambda c, share, seed: split(c, share, seed)[::-1], "exchanged"),
    ("split_by_caption", split_in_order, "Every seed gives this split"),
    ("split_by_caption", lambda c, share, seed: split(c, share, random.randrange(10**6)),
     "another split"),
    ("split_by_caption", lambda c, share, seed: (list(range(len(c))), split(c, share, seed)[1]),
     "on both sides"),
    ("split_by_caption", lambda c, share, seed: ([], split(c, share, seed)[1]), "every pair"),
    ("split_by_caption", lambda c, share, seed: split(c, 0.5, seed), "A quarter of 40"),
    ("split_by_caption", lambda c, share, seed: split(c, share, seed)[0], "two lists"),
    ("clip_gradients", each_entry, "Each entry was cut by itself"),
    ("clip_gradients", each_tensor, "Each tensor was cut by itself"),
    ("clip_gradients", scale_all(lambda length, most: 1), "what they were"),
    ("clip_gradients", scale_all(lambda length, most: most / 6), "largest entry"),
    ("clip_gradients", scale_all(lambda length, most: 1 / (length + 1e-9)), "The length is 1 now"),
    ("clip_gradients", scale_all(lambda length, most: most / (length**2 + 1e-9)),
     "a root is missing"),
    ("clip_gradients", scale_all(lambda length, most: most / (length + 1e-9)), "short ones stay"),
    ("clip_gradients", lambda model, most: float(clip(model, most)) * 0 + most, "length before"),
    ("clip_gradients", lambda model, most: scale_all(
        lambda length, most: min(1, most / length) if length else float("nan"))(model, most),
     "0/0"),
    ("adamw_step", l2, "Adam with L2"),
    ("adamw_step", uncorrected, "aren't corrected"),
    ("adamw_step", lambda w, g, m, s, k, lr, d, b, e: adamw(w, g, m, s, k, lr, 0.0, b, e),
     "Decay takes no part"),
    ("adamw_step", lambda w, g, m, s, k, lr, d, b, e: adamw(w, g, m, s, k, lr, d / lr, b, e),
     "lr · decay of it"),
    ("adamw_step", lambda w, g, m, s, k, lr, d, b, e: adamw(w, g, m, s, k + 1, lr, d, b, e),
     "counts from 1 already"),
    ("adamw_step", hands_on_corrected, "correct it again"),
    ("adamw_step", lambda *a: (adamw(*a)[0], *adamw(*a)[:0:-1]), "exchanged"),
    ("adamw_step", lambda w, g, m, s, k, lr, d, b, e: (w * (1 - lr * d) - lr * g, m, s),
     "plain gradient descent"),
    ("adamw_step", lambda *a: adamw(*a)[0], "Return three tensors"),
    ("adamw_step", lambda w, g, m, s, k, lr, d, b, e: adamw(w, g, m, s, k, lr, d, b[::-1], e),
     "two β are exchanged"),
    ("adamw_step", lambda w, g, m, s, k, lr, d, b, e: (
        (1 - lr * d) * adamw(w, g, m, s, k, lr, 0.0, b, e)[0], m, s), "shrinks after it has moved"),
    ("adamw_step", by_line(correct=(True, False)), "average of squares isn't corrected"),
    ("adamw_step", by_line(correct=(False, True)), "average of gradients isn't corrected"),
    ("adamw_step", by_line(keep=lambda b: 1.0), "with the old averages"),
    ("adamw_step", by_line(keep=lambda b: 1 - b), "β and 1 − β are exchanged"),
]  # fmt: skip
