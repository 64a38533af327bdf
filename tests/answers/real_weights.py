"""Chapter 17: right answers in many forms, and wrong ones with words that their diagnosis holds."""

import math

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from clip_lab.preprocess import Preprocess

MEAN, STD = torch.tensor(Preprocess.mean), torch.tensor(Preprocess.std)


def config(tensors):
    blocks = [name for name in tensors if name.endswith(".ln_1.weight")]
    seen = sum(name.startswith("visual.") for name in blocks)
    width, _, patch, _ = tensors["visual.conv1.weight"].shape
    side = math.isqrt(len(tensors["visual.positional_embedding"]) - 1)
    vocabulary, text_width = tensors["token_embedding.weight"].shape
    return {
        "image_size": side * patch, "patch": patch, "width": width, "layers": seen,
        "embed_dim": tensors["visual.proj"].shape[1], "text_width": text_width,
        "text_layers": len(blocks) - seen, "context": len(tensors["positional_embedding"]),
        "vocabulary": vocabulary,
    }  # fmt: skip


def config_by_numbers(tensors):
    def depth(start):
        return 1 + max(int(n[len(start) :].split(".")[0]) for n in tensors if n.startswith(start))

    shape = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    patch = shape["visual.conv1.weight"][-1]
    return {
        "vocabulary": shape["token_embedding.weight"][0],
        "context": shape["positional_embedding"][0],
        "text_layers": depth("transformer.resblocks."),
        "text_width": shape["ln_final.weight"][0],
        "embed_dim": shape["text_projection"][1],
        "layers": depth("visual.transformer.resblocks."),
        "width": shape["visual.class_embedding"][0],
        "patch": patch,
        "image_size": patch * round((shape["visual.positional_embedding"][0] - 1) ** 0.5),
    }


def config_with(**changed):
    return lambda tensors: config(tensors) | changed


def attend(q, k, v, heads, mask):
    q, k, v = (x.unflatten(-1, (heads, -1)).transpose(-3, -2) for x in (q, k, v))
    scores = q @ k.mT / q.shape[-1] ** 0.5
    if mask is not None:
        scores = scores.masked_fill(~mask, -torch.inf)
    return (scores.softmax(-1) @ v).transpose(-3, -2).flatten(-2)


def block(
    x, t, heads, mask, bend=None, order=(0, 1, 2), masked=True, bias=True, out=True, early=False
):
    def linear(h, name, sign="."):
        b = t[f"{name}{sign}bias"] if bias else None
        return F.linear(h, t[f"{name}{sign}weight"], b)

    def norm(h, name):
        return F.layer_norm(h, h.shape[-1:], t[f"{name}.weight"], t[f"{name}.bias"])

    thirds = linear(norm(x, "ln_1"), "attn.in_proj", "_").chunk(3, dim=-1)
    q, k, v = (thirds[place] for place in order)
    mixed = attend(q, k, v, heads, mask if masked else None)
    before, x = x, x + (linear(mixed, "attn.out_proj") if out else mixed)
    h = linear(norm(before if early else x, "ln_2"), "mlp.c_fc")
    h = bend(h) if bend else h * torch.sigmoid(1.702 * h)
    return x + linear(h, "mlp.c_proj")


def block_by_torch(x, t, heads, mask):
    width = x.shape[-1]
    y = F.layer_norm(x, (width,), t["ln_1.weight"], t["ln_1.bias"]).transpose(0, 1)
    hidden = None if mask is None else ~mask
    y, _ = F.multi_head_attention_forward(
        y, y, y, width, heads, t["attn.in_proj_weight"], t["attn.in_proj_bias"], None, None,
        False, 0.0, t["attn.out_proj.weight"], t["attn.out_proj.bias"], training=False,
        need_weights=False, attn_mask=hidden,
    )  # fmt: skip
    x = x + y.transpose(0, 1)
    y = F.layer_norm(x, (width,), t["ln_2.weight"], t["ln_2.bias"])
    y = y @ t["mlp.c_fc.weight"].T + t["mlp.c_fc.bias"]
    return x + F.silu(1.702 * y) / 1.702 @ t["mlp.c_proj.weight"].T + t["mlp.c_proj.bias"]


def pixels(picture, size, how=Image.Resampling.BICUBIC, start=round, scale=math.floor, values=None):
    short = min(picture.size)
    scaled = [scale(size * side / short) for side in picture.size]
    left, top = (start((side - size) / 2) for side in scaled)
    picture = picture.resize(scaled, how).crop((left, top, left + size, top + size))
    unit = torch.from_numpy(np.array(picture)).permute(2, 0, 1) / 255
    if values:
        return values(unit)
    return (unit - MEAN[:, None, None]) / STD[:, None, None]


def pixels_by_lab(picture, size):
    return Preprocess(size)(picture)


def exchanged(picture, size):
    short, (width, height) = min(picture.size), picture.size
    scaled = int(size * height / short), int(size * width / short)
    left, top = (round((side - size) / 2) for side in scaled)
    picture = picture.resize(scaled, Image.Resampling.BICUBIC)
    return Preprocess(size)(picture.crop((left, top, left + size, top + size)))


def squashed(picture, size):
    return Preprocess(size, resize="squash")(picture)


def held(ours, theirs):
    ours, theirs = ours.float(), theirs.float()
    cosine = F.cosine_similarity(ours, theirs, dim=-1).min().item()
    return (ours - theirs).abs().max().item(), cosine


def held_by_hand(ours, theirs):
    a, b = ours.double(), theirs.double()
    cosines = (a * b).sum(1) / (a.norm(dim=1) * b.norm(dim=1))
    return float((a - b).abs().amax()), float(cosines.amin())


def split(weight, bias):
    named = {}
    for name, w, b in zip("qkv", weight.chunk(3), bias.chunk(3), strict=True):
        named |= {f"{name}_proj.weight": w, f"{name}_proj.bias": b}
    return named


def split_by_place(weight, bias):
    d = weight.shape[1]
    rows = {"q_proj": slice(0, d), "k_proj": slice(d, 2 * d), "v_proj": slice(2 * d, None)}
    weights = {f"{name}.weight": weight[r] for name, r in rows.items()}
    return weights | {f"{name}.bias": bias[r] for name, r in rows.items()}


def split_as(names, cut=lambda t: t.chunk(3), turn=lambda t: t):
    def wrong(weight, bias):
        parts = zip(names, cut(weight), cut(bias), strict=True)
        made = [(f"{n}_proj.weight", turn(w), f"{n}_proj.bias", b) for n, w, b in parts]
        return {k: v for a, w, c, b in made for k, v in ((a, w), (c, b))}

    return wrong


def first(ours, theirs, tolerance):
    for name, known in theirs.items():
        if (ours[name] - known).abs().max() > tolerance * known.abs().max():
            return name
    return "none"


def first_by_list(ours, theirs, tolerance):
    off = [(ours[k] - t).abs().amax() / t.abs().amax() > tolerance for k, t in theirs.items()]
    return next((k for k, far in zip(theirs, off, strict=True) if far), "none")


def fold(weight, mean, std):
    new = weight / std[:, None, None]
    return new, -(new * mean[:, None, None]).sum(dim=(1, 2, 3))


def fold_by_conv(weight, mean, std):
    new = torch.einsum("wcij,c->wcij", weight, 1 / std)
    plain = mean[None, :, None, None].expand(1, 3, *weight.shape[2:])
    return new, -F.conv2d(plain.contiguous(), new).flatten()


RIGHT = {
    "config_from_shapes": [config, config_by_numbers],
    "block_from_tensors": [block, block_by_torch],
    "clip_pixels": [pixels, pixels_by_lab],
    "held_against": [held, held_by_hand],
    "split_in_proj": [split, split_by_place],
    "first_difference": [first, first_by_list],
    "fold_means": [fold, fold_by_conv],
}

WRONG = [
    ("config_from_shapes", lambda t: list(config(t).values()), "dictionary"),
    ("config_from_shapes", config_with(image_size=6), "grid, in patches"),
    ("config_from_shapes", config_with(patch=3), "number of colours"),
    ("config_from_shapes", config_with(layers=5), "Both towers"),
    ("config_from_shapes", config_with(layers=2), "count from 0"),
    ("config_from_shapes", config_with(embed_dim=128), "proj maps from"),
    ("config_from_shapes", config_with(vocabulary=64, text_width=600), "a row a token"),
    ("config_from_shapes", config_with(context=37), "image tower's positions"),
    ("config_from_shapes", lambda t: {"width": 128}, "is missing"),
    ("block_from_tensors", lambda *a: block(*a, bend=F.gelu), "This is GELU"),
    ("block_from_tensors", lambda *a: block(*a, bend=F.silu), "1.702"),
    ("block_from_tensors", lambda *a: block(*a, bend=F.relu), "ReLU"),
    ("block_from_tensors", lambda *a: block(*a, order=(1, 0, 2)), "exchanged"),
    ("block_from_tensors", lambda *a: block(*a, order=(0, 2, 1)), "Keys and values"),
    ("block_from_tensors", lambda *a: block(*a, masked=False), "mask takes no part"),
    ("block_from_tensors", lambda *a: block(*a, bias=False), "biases are missing"),
    ("block_from_tensors", lambda *a: block(*a, out=False), "out_proj is missing"),
    ("block_from_tensors", lambda x, t, h, m: block(x, t, 1, m), "one head"),
    ("block_from_tensors", lambda x, t, h, m: block(x, t, 64, m), "how many"),
    ("block_from_tensors", lambda *a: block(*a, early=True), "before attention's answer"),
    ("clip_pixels", lambda p, s: pixels(p, s, Image.Resampling.BILINEAR), "bilinear"),
    ("clip_pixels", squashed, "squashed"),
    ("clip_pixels", exchanged, "(width, height)"),
    ("clip_pixels", lambda p, s: pixels(p, s, values=lambda u: (
        u - u.mean((1, 2), keepdim=True)) / u.std((1, 2), keepdim=True)), "picture's own"),
    ("clip_pixels", lambda p, s: pixels(p, s, start=math.floor), "half a pixel"),
    ("clip_pixels", lambda p, s: pixels(p, s, start=int), "half a pixel"),
    ("clip_pixels", lambda p, s: pixels(p, s, scale=round), "rounded *down*"),
    ("clip_pixels", lambda p, s: pixels(p, s, start=lambda m: 0), "corner"),
    ("clip_pixels", lambda p, s: pixels(p, s, values=lambda u: u), "are missing"),
    ("clip_pixels", lambda p, s: pixels(p, s, values=lambda u: 2 * u - 1), "SigLIP"),
    ("clip_pixels", lambda p, s: pixels(p, s).transpose(1, 2), "exchanged"),
    ("clip_pixels", lambda p, s: pixels(p, s, values=lambda u: (
        u.flip(0) - MEAN[:, None, None]) / STD[:, None, None]), "blue"),
    ("clip_pixels", lambda p, s: pixels(p, s, values=lambda u: (
        255 * u - MEAN[:, None, None]) / STD[:, None, None]), "run to 255"),
    ("clip_pixels", lambda p, s: pixels(p, s, values=lambda u: (
        u / 255 - MEAN[:, None, None]) / STD[:, None, None]), "255 twice"),
    ("held_against", lambda a, b: held(a, b)[::-1], "exchanged"),
    ("held_against", lambda a, b: ((a - b).abs().mean().item(), held(a, b)[1]), "mean difference"),
    ("held_against", lambda a, b: ((a - b).max().item(), held(a, b)[1]), "downwards"),
    ("held_against", lambda a, b: (held(a, b)[0], F.cosine_similarity(
        a.float(), b.float(), dim=-1).mean().item()), "mean cosine"),
    ("held_against", lambda a, b: (held(a, b)[0], F.cosine_similarity(
        a.float(), b.float(), dim=0).min().item()), "columns"),
    ("held_against", lambda a, b: (held(a, b)[0], F.cosine_similarity(
        a.float().flatten(), b.float().flatten(), dim=0).item()), "one long vector"),
    ("held_against", lambda a, b: held(a, b)[0], "Two numbers"),
    ("held_against", lambda a, b: ((a - b).abs().max().item(), F.cosine_similarity(
        a, b, dim=-1).min().item()), "float16"),
    ("split_in_proj", split_as("kqv"), "another third"),
    ("split_in_proj", split_as("qvk"), "another third"),
    ("split_in_proj", split_as("qkv", cut=lambda t: [t[k::3] for k in range(3)]), "every third"),
    ("split_in_proj", split_as("qkv", turn=lambda t: t.T), "transposed"),
    ("split_in_proj", lambda w, b: split(w, b) | {"k_proj.weight": w[:, 1:2]}, "has shape"),
    ("split_in_proj", lambda w, b: {"q_proj.weight": w[:4]}, "was asked for"),
    ("first_difference", lambda a, b, tol: next(
        (k for k in b if (a[k] - b[k]).abs().max() > tol), "none"), "relative to theirs"),
    ("first_difference", lambda a, b, tol: max(
        b, key=lambda k: (a[k] - b[k]).abs().max() / b[k].abs().max()), "inherits"),
    ("first_difference", lambda a, b, tol: next(
        (k for k in b if (a[k] - b[k]).max() > tol * b[k].abs().max()), "none"), "block 1"),
    ("first_difference", lambda a, b, tol: next(
        (k for k in b if ((a[k] - b[k]) / b[k]).abs().max() > tol), "none"), "near 0"),
    ("first_difference", lambda a, b, tol: next(
        (k for k in b if (a[k] - b[k]).abs().mean() > tol * b[k].abs().mean()), "none"),
     "on average"),
    ("first_difference", lambda a, b, tol: "none", "found none"),
    ("first_difference", lambda a, b, tol: next(
        (k for k in b if (a[k] - b[k]).abs().max() <= tol * b[k].abs().max()), "none"),
     "are equal"),
    ("first_difference", lambda a, b, tol: next(
        (k for k in b if (a[k] - b[k]).abs().max() > tol * b[k].abs().max()), "vector"),
     "the answer is"),
    ("fold_means", lambda w, m, s: fold(w, m, s)[0], "Two tensors"),
    ("fold_means", lambda w, m, s: (w * s[:, None, None], fold(w, m, s)[1]), "multiplied"),
    ("fold_means", lambda w, m, s: (w, fold(w, m, s)[1]), "stayed as it was"),
    ("fold_means", lambda w, m, s: (fold(w, m, s)[0], -fold(w, m, s)[1]), "wrong sign"),
    ("fold_means", lambda w, m, s: (
        fold(w, m, s)[0], -(w * m[:, None, None]).sum(dim=(1, 2, 3))), "old weight"),
    ("fold_means", lambda w, m, s: (
        fold(w, m, s)[0], fold(w, m, s)[1] / 16), "It is a sum"),
]  # fmt: skip
