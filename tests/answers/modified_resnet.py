"""Chapter 4: right answers in many forms, and wrong ones with words that their diagnosis holds."""

import copy

import torch
from torch import nn
from torch.nn import functional as F


def blurred(x, w):
    y = F.relu(F.conv2d(x, w, padding=1))
    return F.avg_pool2d(y, 2)


def blurred_by_slices(x, w):
    y = torch.conv2d(x, w, padding="same").clamp(min=0)
    corners = [y[..., i::2, j::2] for i in (0, 1) for j in (0, 1)]
    return sum(corners) / 4


def blurred_by_modules(x, w):
    conv = nn.Conv2d(w.shape[1], w.shape[0], 3, padding=1, bias=False)
    conv.weight = nn.Parameter(w)
    return nn.Sequential(conv, nn.ReLU(), nn.AvgPool2d(2))(x)


def strided(x, w):
    return F.relu(F.conv2d(x, w, stride=2, padding=1))


def around(x, b):
    return x if b.downsample is None else b.downsample(x)


def block(x, b):
    y = F.relu(b.bn1(b.conv1(x)))
    y = b.pool(F.relu(b.bn2(b.conv2(y))))
    return F.relu(b.bn3(b.conv3(y)) + around(x, b))


def block_pooled_late(x, b):  # a mean and a 1 x 1 convolution can change places
    y = b.bn1(b.conv1(x)).relu()
    y = b.bn2(b.conv2(y)).relu()
    return (around(x, b) + b.pool(b.bn3(b.conv3(y)))).relu()


def main_way(x, b, first=F.relu, second=F.relu):
    y = first(b.bn1(b.conv1(x)))
    return b.bn3(b.conv3(b.pool(second(b.bn2(b.conv2(y))))))


def same(x):
    return x


def early_pool(x, b):
    y = b.pool(F.relu(b.bn1(b.conv1(x))))
    return F.relu(b.bn3(b.conv3(F.relu(b.bn2(b.conv2(y))))) + around(x, b))


def shortcut_in_bn3(x, b):
    y = b.pool(F.relu(b.bn2(b.conv2(F.relu(b.bn1(b.conv1(x)))))))
    return F.relu(b.bn3(b.conv3(y) + around(x, b)))


def no_norms(x, b):
    y = b.pool(F.relu(b.conv2(F.relu(b.conv1(x)))))
    return F.relu(b.conv3(y) + around(x, b))


def no_bn3(x, b):
    y = b.pool(F.relu(b.bn2(b.conv2(F.relu(b.bn1(b.conv1(x)))))))
    return F.relu(b.conv3(y) + around(x, b))


def forgot_pool(x, b):
    y = F.relu(b.bn2(b.conv2(F.relu(b.bn1(b.conv1(x))))))
    return F.relu(b.bn3(b.conv3(y)) + around(x, b))


def normed_late(x, b):
    y = b.bn2(F.relu(b.conv2(b.bn1(F.relu(b.conv1(x))))))
    return F.relu(b.bn3(b.conv3(b.pool(y))) + around(x, b))


def always_halved(x, b):
    y = F.relu(b.bn2(b.conv2(F.relu(b.bn1(b.conv1(x))))))
    return F.relu(b.bn3(b.conv3(F.avg_pool2d(y, 2))) + around(x, b))


def shortcut_only_pooled(x, b):
    return F.relu(main_way(x, b) + b.pool(x))


def heads(x, pool):
    return x.unflatten(2, (pool.heads, -1)).transpose(1, 2)


def logits(tokens, pool):
    q, k = heads(pool.q_proj(tokens), pool)[:, :, :1], heads(pool.k_proj(tokens), pool)
    return (q @ k.mT)[:, :, 0]


def weigh(tokens, pool):
    return (logits(tokens, pool) / (tokens.shape[2] // pool.heads) ** 0.5).softmax(-1)


def weigh_by_sum(tokens, pool):
    q = pool.q_proj(tokens[:, :1]).unflatten(2, (pool.heads, -1))
    k = pool.k_proj(tokens).unflatten(2, (pool.heads, -1))
    return ((q * k).sum(3) * k.shape[3] ** -0.5).softmax(1).mT


def weigh_in_a_loop(tokens, pool):
    q, k = pool.q_proj(tokens[:, 0]), pool.k_proj(tokens)
    size = q.shape[1] // pool.heads
    parts = [slice(h * size, (h + 1) * size) for h in range(pool.heads)]
    rows = [torch.einsum("bc,btc->bt", q[:, p], k[:, :, p]) / size**0.5 for p in parts]
    return torch.stack(rows, 1).softmax(2)


def asked_by(tokens, pool, q):
    k = heads(pool.k_proj(tokens), pool)
    return (q @ k.mT / k.shape[-1] ** 0.5).softmax(-1)[:, :, 0]


def dealt(tokens, pool):
    def cards(x):
        return x.unflatten(2, (-1, pool.heads)).permute(0, 3, 1, 2)

    q, k = cards(pool.q_proj(tokens[:, :1])), cards(pool.k_proj(tokens))
    return (q @ k.mT / k.shape[-1] ** 0.5).softmax(-1)[:, :, 0]


def exchanged(tokens, pool):
    q, k = heads(pool.k_proj(tokens[:, :1]), pool), heads(pool.q_proj(tokens), pool)
    return (q @ k.mT / k.shape[-1] ** 0.5).softmax(-1)[:, :, 0]


def offered_by_values(tokens, pool):
    q, k = heads(pool.q_proj(tokens[:, :1]), pool), heads(pool.v_proj(tokens), pool)
    return (q @ k.mT / k.shape[-1] ** 0.5).softmax(-1)[:, :, 0]


def all_ask(tokens, pool):
    q, k = heads(pool.q_proj(tokens), pool), heads(pool.k_proj(tokens), pool)
    return (q @ k.mT / k.shape[-1] ** 0.5).softmax(-1)


def tokens_of(places, pool, mean_first=True, positions=True):
    rows = places.flatten(2).transpose(1, 2)
    parts = [rows.mean(1, keepdim=True), rows]
    tokens = torch.cat(parts if mean_first else parts[::-1], 1)
    return tokens + pool.positional_embedding if positions else tokens


def leave(shares, values, pool):
    return pool.c_proj((shares[:, :, None] @ values)[:, :, 0].flatten(1))


def pooled(places, pool, **how):
    tokens = tokens_of(places, pool, **how)
    return leave(weigh(tokens, pool), heads(pool.v_proj(tokens), pool), pool)


def pooled_by_einsum(places, pool):
    tokens = tokens_of(places, pool)
    values = pool.v_proj(tokens).unflatten(2, (pool.heads, -1))
    mixed = torch.einsum("bht,bthc->bhc", weigh(tokens, pool), values)
    return pool.c_proj(mixed.reshape(len(places), -1))


def mixes(places, pool, layer):
    tokens = tokens_of(places, pool)
    return leave(weigh(tokens, pool), heads(layer(tokens), pool), pool)


def positions_first(places, pool):
    rows = places.flatten(2).mT + pool.positional_embedding[1:]
    tokens = torch.cat([rows.mean(1, keepdim=True), rows], 1)
    return leave(weigh(tokens, pool), heads(pool.v_proj(tokens), pool), pool)


def averaged(places, pool):
    return pool.c_proj(pool.v_proj(tokens_of(places, pool)).mean(1))


def interleaved(places, pool):
    tokens = tokens_of(places, pool)
    values = pool.v_proj(tokens).unflatten(2, (pool.heads, -1))
    mixed = torch.einsum("bht,bthc->bch", weigh(tokens, pool), values)
    return pool.c_proj(mixed.flatten(1))


def without_the_mean(places, pool):
    tokens = tokens_of(places, pool)
    shares, values = weigh(tokens, pool), heads(pool.v_proj(tokens), pool)
    return leave(shares[..., 1:], values[:, :, 1:], pool)


def no_way_out(places, pool):
    tokens = tokens_of(places, pool)
    return (weigh(tokens, pool)[:, :, None] @ heads(pool.v_proj(tokens), pool)).flatten(1)


def with_zeros(*names):
    def make(pool):
        made = copy.deepcopy(pool)
        for name, value in made.state_dict().items():
            if name in names:
                value.zero_()
        return made

    return make


def rebuilt(pool):
    made = type(pool)(2, pool.q_proj.in_features, pool.heads, pool.c_proj.out_features)
    made.load_state_dict({n: v * (not n.startswith("q_")) for n, v in pool.state_dict().items()})
    return made


def places_only(pool):
    made = copy.deepcopy(pool)
    made.forward = lambda x: made.c_proj(made.v_proj(tokens_of(x, made)[:, 1:]).mean(1))
    return made


def in_place(pool):
    pool.q_proj.weight.data.zero_()
    pool.q_proj.bias.data.zero_()
    return pool


def fold(conv, bn):
    gain = bn.weight / torch.sqrt(bn.running_var + bn.eps)
    return conv.weight * gain.view(-1, 1, 1, 1), bn.bias - bn.running_mean * gain


def fold_by_trying(conv, bn):
    channels = len(bn.weight)
    shift = bn(torch.zeros(1, channels, 1, 1)).flatten()
    gain = bn(torch.ones(1, channels, 1, 1)).flatten() - shift
    return torch.einsum("oihw,o->oihw", conv.weight, gain), shift


def folded(conv, bn, gain=None, bias=None):
    right = bn.weight / (bn.running_var + bn.eps).sqrt()
    gain = right if gain is None else gain(bn)
    shift = bn.bias - right * bn.running_mean if bias is None else bias(bn, right)
    return gain[:, None, None, None] * conv.weight, shift


def alone(places, pool):
    return pool.c_proj(pool.v_proj(tokens_of(places, pool)[:, 1:]))


def alone_one_by_one(places, pool):
    rows = [places.flatten(2)[:, :, k] + pool.positional_embedding[k + 1] for k in range(4)]
    return torch.stack([pool.c_proj(pool.v_proj(row)) for row in rows], 1)


def own_share_only(places, pool):
    tokens = tokens_of(places, pool)
    shares, values = weigh(tokens, pool), heads(pool.v_proj(tokens), pool)
    return pool.c_proj((shares[..., None] * values).transpose(1, 2).flatten(2))[:, 1:]


def every_place_asks(places, pool):
    tokens = tokens_of(places, pool)
    q, k, v = (heads(layer(tokens), pool) for layer in (pool.q_proj, pool.k_proj, pool.v_proj))
    answers = F.scaled_dot_product_attention(q, k, v)
    return pool.c_proj(answers.transpose(1, 2).flatten(2))[:, 1:]


def wrong_positions(places, pool):
    rows = places.flatten(2).mT + pool.positional_embedding[:-1]
    return pool.c_proj(pool.v_proj(rows))


def means_answer(places, pool):
    answer = pool(places)
    return answer[:, None].expand(-1, places[0, 0].numel(), -1).clone()


RIGHT = {
    "blurred_stride": [blurred, blurred_by_slices, blurred_by_modules],
    "bottleneck": [block, block_pooled_late, lambda x, b: b(x)],
    "pool_weights": [weigh, weigh_by_sum, weigh_in_a_loop,
                     lambda tokens, pool: all_ask(tokens, pool)[:, :, 0]],
    "attention_pool": [pooled, pooled_by_einsum, lambda places, pool: pool(places)],
    "as_average": [with_zeros("q_proj.weight", "q_proj.bias"), with_zeros("k_proj.weight"),
                   rebuilt],
    "fold_batchnorm": [fold, fold_by_trying, lambda conv, bn: list(fold(conv, bn))],
    "each_place_alone": [alone, alone_one_by_one],
}  # fmt: skip

# (exercise, a plausible wrong answer, words that its diagnosis must hold)
WRONG = [
    ("blurred_stride", strided, "Three of four results are thrown away"),
    ("blurred_stride", lambda x, w: F.conv2d(x, w, stride=2, padding=1), "ReLU is missing"),
    ("blurred_stride", lambda x, w: F.relu(F.conv2d(F.avg_pool2d(x, 2), w, padding=1)),
     "saw a blurred picture"),
    ("blurred_stride", lambda x, w: F.conv2d(F.avg_pool2d(x, 2), w, padding=1),
     "The average came first, and"),
    ("blurred_stride", lambda x, w: F.avg_pool2d(F.conv2d(x, w, padding=1), 2),
     "between the convolution and the average"),
    ("blurred_stride", lambda x, w: F.relu(F.avg_pool2d(F.conv2d(x, w, padding=1), 2)),
     "The ReLU came after the average"),
    ("blurred_stride", lambda x, w: F.max_pool2d(F.relu(F.conv2d(x, w, padding=1)), 2),
     "largest of four"),
    ("blurred_stride", lambda x, w: 4 * blurred(x, w), "sum of four"),
    ("blurred_stride", lambda x, w: F.avg_pool2d(F.relu(F.conv2d(x, w, padding=1)), 3, 2, 1),
     "three wide"),
    ("blurred_stride", lambda x, w: F.avg_pool2d(F.relu(F.conv2d(x, w)), 2), "a border of 1"),
    ("blurred_stride", lambda x, w: F.relu(F.conv2d(x, w, padding=1)), "half the side"),
    ("blurred_stride", lambda x, w: ..., "still to be written"),
    ("bottleneck", lambda x, b: main_way(x, b) + around(x, b), "The last ReLU is missing"),
    ("bottleneck", lambda x, b: F.relu(main_way(x, b)) + around(x, b), "before the sum. So"),
    ("bottleneck", lambda x, b: F.relu(F.relu(main_way(x, b)) + around(x, b)),
     "before the sum as well"),
    ("bottleneck", lambda x, b: F.relu(main_way(x, b)), "The shortcut is missing"),
    ("bottleneck", lambda x, b: F.relu(main_way(x, b, same) + around(x, b)), "ReLU after bn1"),
    ("bottleneck", lambda x, b: F.relu(main_way(x, b, second=same) + around(x, b)),
     "ReLU after bn2"),
    ("bottleneck", lambda x, b: F.relu(main_way(x, b, same, same) + around(x, b)),
     "one linear map"),
    ("bottleneck", lambda x, b: F.relu(main_way(x, b) + F.relu(around(x, b))), "ReLU of its own"),
    ("bottleneck", normed_late, "before the BatchNorm"),
    ("bottleneck", always_halved, "keeps the side"),
    ("bottleneck", shortcut_only_pooled, "only pooled"),
    ("bottleneck", no_norms, "The BatchNorms are missing"),
    ("bottleneck", no_bn3, "bn3 is missing"),
    ("bottleneck", shortcut_in_bn3, "added before bn3"),
    ("bottleneck", early_pool, "The pool came before conv2"),
    ("bottleneck", forgot_pool, "don't end in the same shape"),
    ("bottleneck", lambda x, b: F.relu(main_way(x, b) + x), "don't end in the same shape"),
    ("bottleneck", lambda x, b: F.relu(main_way(x, b) + b.downsample(x)), "downsample is None"),
    ("pool_weights", lambda t, p: logits(t, p).softmax(-1), "not divided by anything"),
    ("pool_weights", lambda t, p: (logits(t, p) / 12**0.5).softmax(-1), "the whole width"),
    ("pool_weights", lambda t, p: (logits(t, p) / 4).softmax(-1), "its root was meant"),
    ("pool_weights", lambda t, p: asked_by(t, p, heads(p.q_proj(t), p)[:, :, 1:2]),
     "first *place* asks"),
    ("pool_weights", lambda t, p: asked_by(t, p, heads(p.q_proj(t), p)[:, :, -1:]), "last token"),
    ("pool_weights", lambda t, p: asked_by(t, p, heads(p.q_proj(t), p).mean(2, keepdim=True)),
     "All tokens ask"),
    ("pool_weights", exchanged, "exchanged"),
    ("pool_weights", lambda t, p: (logits(t, p) / 5**0.5).softmax(-1), "number of tokens"),
    ("pool_weights", lambda t, p: (logits(t, p) / 2).softmax(0), "along the pictures"),
    ("pool_weights", lambda t, p: asked_by(t, p, heads(p.q_proj(t[:, 1:].mean(1, True)), p)),
     "mean taken of the tokens"),
    ("pool_weights", offered_by_values, "made by v_proj"),
    ("pool_weights", dealt, "dealt like cards"),
    ("pool_weights", lambda t, p: (logits(t, p) / 2).softmax(1), "along the heads"),
    ("pool_weights", lambda t, p: logits(t, p) / 2, "These are the logits"),
    ("pool_weights", all_ask, "(2, 3, 5) was expected"),
    ("pool_weights", lambda t, p: weigh(t, p)[..., 1:], "a share of each token"),
    ("attention_pool", lambda x, p: pooled(x, p, positions=False), "positions take no part"),
    ("attention_pool", lambda x, p: mixes(x, p, p.k_proj), "are the keys"),
    ("attention_pool", lambda x, p: mixes(x, p, same), "the tokens themselves"),
    ("attention_pool", averaged, "average pooling"),
    ("attention_pool", positions_first, "had their positions"),
    ("attention_pool", lambda x, p: F.normalize(pooled(x, p), dim=1), "have length 1"),
    ("attention_pool", without_the_mean, "own value was left out"),
    ("attention_pool", interleaved, "interleaved"),
    ("attention_pool", lambda x, p: pooled(x, p, mean_first=False), "It comes first"),
    ("attention_pool", no_way_out, "(2, 6) was expected"),
    ("as_average", copy.deepcopy, "does what the given one did"),
    ("as_average", with_zeros("q_proj.weight"), "its bias still asks"),
    ("as_average", with_zeros("q_proj.bias"), "its weight still asks"),
    ("as_average", with_zeros("k_proj.bias"), "doesn't notice"),
    ("as_average", with_zeros("v_proj.weight", "v_proj.bias"), "The values are zero"),
    ("as_average", with_zeros("positional_embedding"), "the mean still asks"),
    ("as_average", in_place, "has changed"),
    ("as_average", lambda pool: torch.zeros(2), "Return a pool"),
    ("as_average", lambda pool: nn.AdaptiveAvgPool2d(1), "isn't the pool any more"),
    ("as_average", places_only, "The mean of the places alone"),
    ("fold_batchnorm", lambda c, b: (fold(c, b)[0].detach() / 2, fold(c, b)[1]), "is right."),
    ("fold_batchnorm", lambda c, b: (c.weight * (b.weight / (b.running_var + b.eps).sqrt())
     [None, :, None, None], fold(c, b)[1]), "*input* channels"),
    ("fold_batchnorm", lambda c, b: folded(c, b, lambda b: b.weight / b.running_var.sqrt()),
     "bn.eps is missing"),
    ("fold_batchnorm", lambda c, b: folded(c, b, bias=lambda b, g: b.bias - b.weight
     * b.running_mean), "by bn.weight alone"),
    ("fold_batchnorm", lambda c, b: folded(c, b, lambda b: b.weight / (b.running_var + b.eps)),
     "divides by its root"),
    ("fold_batchnorm", lambda c, b: folded(c, b, lambda b: b.weight
     / (b.running_var.sqrt() + b.eps)), "inside"),
    ("fold_batchnorm", lambda c, b: folded(c, b, lambda b: (b.running_var + b.eps).rsqrt()),
     "bn.weight is missing"),
    ("fold_batchnorm", lambda c, b: folded(c, b, lambda b: b.weight), "variance takes no part"),
    ("fold_batchnorm", lambda c, b: (c.weight, fold(c, b)[1]), "came back as it was"),
    ("fold_batchnorm", lambda c, b: folded(c, b, bias=lambda b, g: b.bias), "forgets the running"),
    ("fold_batchnorm", lambda c, b: folded(c, b, bias=lambda b, g: b.bias - b.running_mean),
     "scaled by the gain too"),
    ("fold_batchnorm", lambda c, b: folded(c, b, bias=lambda b, g: b.bias + g * b.running_mean),
     "taken *off*"),
    ("fold_batchnorm", lambda c, b: folded(c, b, bias=lambda b, g: -g * b.running_mean),
     "bn.bias is missing"),
    ("fold_batchnorm", lambda c, b: folded(c, b, bias=lambda b, g: g * (b.bias - b.running_mean)),
     "isn't scaled"),
    ("fold_batchnorm", lambda c, b: (c.weight * b.weight, b.bias), "don't line up"),
    ("fold_batchnorm", lambda c, b: fold(c, b)[0], "Return two tensors"),
    ("fold_batchnorm", lambda c, b: fold(c, b)[::-1], "were expected"),
    ("each_place_alone", lambda x, p: p.c_proj(p.v_proj(tokens_of(x, p)[:, :-1])),
     "last place was left"),
    ("each_place_alone", lambda x, p: p.c_proj(p.v_proj(x.flatten(2).mT)), "positions take no"),
    ("each_place_alone", wrong_positions, "its neighbour's position"),
    ("each_place_alone", lambda x, p: p.c_proj(tokens_of(x, p)[:, 1:]), "v_proj is missing"),
    ("each_place_alone", lambda x, p: p.c_proj(p.k_proj(tokens_of(x, p)[:, 1:])), "the keys"),
    ("each_place_alone", own_share_only, "a share of 1"),
    ("each_place_alone", every_place_asks, "no mixing"),
    ("each_place_alone", means_answer, "whole picture"),
    ("each_place_alone", lambda x, p: p.c_proj(p.v_proj(tokens_of(x, p))), "without the mean's"),
]  # fmt: skip
