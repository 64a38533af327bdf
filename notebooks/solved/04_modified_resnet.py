# %% [markdown]
# # ModifiedResNet and attention pooling
#
# Five of the CLIP paper's nine models see with convolutions. Their image tower is a ResNet,
# changed in three places: three small convolutions as its stem, anti-aliased strides, and one
# layer of attention where others average ([section 2.4](https://arxiv.org/abs/2103.00020)). The
# lab's built-in models are ResNets too, and you will put parts of your own into one.
#
# Afterwards you can
#
# * write the bottleneck block and attention pooling from memory;
# * measure what a stride does to a picture that moves;
# * read off which places of a picture counted, head by head;
# * say which numbers of a “frozen” network still move.
#
# You need PyTorch's convolutions and BatchNorm, attention (chapter 3), and about an hour.
# `hint("name of the exercise", 1)` helps in three steps.

# %%
from copy import deepcopy

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

import clip_lab
from clip_lab.course import check, explain, hint, predict_number, verdict
from clip_lab.data.emoji import emoji_test
from clip_lab.evaluation.accuracy import wilson
from clip_lab.experiments.registry import experiment
from clip_lab.experiments.report import results
from clip_lab.interpret.attention import last_stage
from clip_lab.model.resnet import AttentionPool2d, Bottleneck
from clip_lab.view.chapters import modified_resnet as figures
from clip_lab.view.notebook_figures import show
from clip_lab.view.widgets.pooling import PoolingWidget

torch.manual_seed(0)
torch.set_num_threads(1)  # small models gain nothing from more

# %% [markdown]
# ## From pixels to places
#
# The stem leaves a quarter of the side; of the four stages of blocks behind it, all but the first
# halve it again. What is left is a small map. Each *place* of it is a vector that knows its region.

# %%
encoder = clip_lab.load("emoji")
tower = encoder.model.visual
emoji = emoji_test("noto", split="seen")
names = [emoji.labels[target] for target in emoji.targets]

x = encoder.preprocess(emoji.pictures[names.index("cat face")])[None]
for name, part in tower.named_children():
    x = part(x)  # without the ReLUs in between: only shapes count here
    print(f"{name:8} {tuple(x.shape)}")

# %% [markdown]
# Only 2 × 2 places: the lab's models are small. RN50 at 224 pixels ends with 7 × 7.
#
# ## Predict
#
# The cheap way to halve a map is a stride of 2: compute every second result, and never the
# others. Take stripes one pixel wide, black (0) and white (1), and keep every second pixel. Move
# the stripes by one pixel and keep the same positions again. By how much does the mean of what is
# kept change?

# %%
# <solution: guess = ...>
guess = 0.1
# </solution>
stripes_guess = predict_number(
    "Change of the mean when the stripes move by a pixel?", guess, low=0, high=1
)
stripes_guess

# %% [markdown]
# ## Build: a stride that aliases less
#
# CLIP's blocks compute the convolution everywhere, apply the ReLU, and let an average of 2 × 2
# results do the halving: the shortest of the blurs that Zhang (2019) tried.

# %%
def blurred_stride(
    x: Float[Tensor, "batch channels height width"],
    weight: Float[Tensor, "filters channels 3 3"],
) -> Float[Tensor, "batch filters half_height half_width"]:
    """A 3 × 3 convolution and a ReLU at every place, then half the side."""
    # <solution>
    everywhere = F.relu(F.conv2d(x, weight, padding=1))
    return F.avg_pool2d(everywhere, 2)
    # </solution>


check("blurred_stride", blurred_stride)

# %%
def jumping(x: Tensor, weight: Tensor) -> Tensor:
    """The usual way: the convolution itself takes two pixels a step."""
    return F.relu(F.conv2d(x, weight, stride=2, padding=1))


copies = torch.zeros(1, 1, 3, 3)
copies[..., 1, 1] = 1  # a filter that hands on the pixel in its middle
stripes = (torch.arange(8) % 2).float().expand(1, 1, 8, 8)


def halved(picture: Tensor) -> dict[str, Tensor]:
    """The picture, and the two maps of half its side."""
    return {
        "stripes": picture[0, 0],
        "every second": jumping(picture, copies)[0, 0],
        "means of four": blurred_stride(picture, copies)[0, 0],
    }


before, after = halved(stripes), halved(stripes.roll(1, dims=3))
rows = {"as it is": before, "moved by 1": after}
change = {
    kind: float((after[kind].mean() - before[kind].mean()).abs())
    for kind in ("every second", "means of four")
}
result = ", ".join(f"{by:.2f} {kind}" for kind, by in change.items())
show(figures.grey_maps(rows), stripes_guess.measured(result))

# %% [markdown]
# **A misconception: “convolutions don't mind a shift.”** A convolution alone doesn't: move the
# picture, and its results move along. The *stride* does. It samples, and what is finer than its
# grid comes out as something else: black or white, where grey is true. That is aliasing.
#
# Stripes are the worst case. Here are emoji and 32 random filters. A shift by two pixels should move
# the map by one place, a shift by one by half a place: to the mean of two neighbours. How far off is
# it? On the right, the trained tower's vector against its own before the picture moved, and against
# the other emoji's.

# %%
@torch.no_grad()
def vectors_of(tower: nn.Module, pixels: Tensor) -> Tensor:
    """Vectors of length 1, so that a dot product is the cosine."""
    return F.normalize(tower(pixels), dim=1)


def off_by(way, pixels: Tensor, filters: Tensor, by: int) -> float:
    """How far moved pictures' map is from the moved map, by its spread."""
    start, step = way(pixels, filters)[..., 6:-6], by // 2
    due = start.roll(step, 3)
    if by % 2:
        due = (due + start.roll(step + 1, 3)) / 2
    miss = way(pixels.roll(by, 3), filters)[..., 6:-6] - due
    spread = start - start.mean(dim=(2, 3), keepdim=True)
    return float(miss.norm() / spread.norm())


some = torch.randperm(len(names))[:96]
pixels = encoder.preprocess.normalize(emoji.pictures[some])
small = F.interpolate(emoji.pictures[some[:24]], 48, mode="area")
wide = F.pad(small, (24, 24, 8, 8), value=1.0)  # on white, with room to move
wide = encoder.preprocess.normalize(wide)

filters, shifts = torch.randn(32, 3, 3, 3), list(range(9))
ways = {"jumping": jumping, "blurred": blurred_stride}
misses = {
    name: [off_by(way, wide, filters, by) for by in shifts]
    for name, way in ways.items()
}
views = [vectors_of(tower, wide[..., 20 - by : 84 - by]) for by in shifts]
cosines = [float((view * views[0]).sum(dim=1).mean()) for view in views]
others = (views[0] @ views[0].T)[~torch.eye(24, dtype=torch.bool)]
others = float(others.mean())
show(figures.misses_by_shift(shifts, misses, cosines, others))

# %% [markdown]
# After an odd shift the map that jumps is off by a fifth, the blurred one by a ninth: less, not
# nothing. The blur is short, and the tower's first convolution still jumps. That the whole tower
# hardly minds is its training's doing too, which moved pictures about. (Others change their mind
# over one pixel: [Azulay and Weiss 2018](https://arxiv.org/abs/1805.12177).)
#
# ## Build: the bottleneck
#
# A block has two ways from its input to its output. The main way is a 1 × 1 convolution to a quarter
# of the output's channels, a 3 × 3, and a 1 × 1 up again. A BatchNorm follows each, then a ReLU the
# first two. The shortcut goes around. The two ways are added, and a ReLU ends the block, which so
# has only to learn what to *change* ([He et al. 2015](https://arxiv.org/abs/1512.03385)).
#
# Blocks that halve the side have a `pool` before `conv3`, and a shortcut, `downsample`, that pools
# too; elsewhere `pool` does nothing, and where the channels stay as well `downsample` is None.

# %%
def bottleneck(
    x: Float[Tensor, "batch channels height width"], block: Bottleneck
) -> Float[Tensor, "batch _ _ _"]:
    """What the block computes, from its layers."""
    # <solution>
    around = x if block.downsample is None else block.downsample(x)
    x = F.relu(block.bn1(block.conv1(x)))
    x = F.relu(block.bn2(block.conv2(x)))
    x = block.bn3(block.conv3(block.pool(x)))
    return F.relu(x + around)
    # </solution>


check("bottleneck", bottleneck)

# %% [markdown]
# Why does the pool stand before `conv3`? A mean and a 1 × 1 convolution can change places, but this
# way round the convolution has a quarter of the work. Now yours for all eleven blocks of the tower:

# %%
@torch.no_grad()
def places_of(tower: nn.Module, pixels: Tensor) -> Tensor:
    """The last feature map: the lab's stem, your blocks."""
    x = F.relu(tower.bn1(tower.conv1(pixels)))
    x = F.relu(tower.bn2(tower.conv2(x)))
    x = tower.avgpool(F.relu(tower.bn3(tower.conv3(x))))
    for stage in (tower.layer1, tower.layer2, tower.layer3, tower.layer4):
        for block in stage:
            x = bottleneck(x, block)
    return x


places = places_of(tower, pixels)
with torch.no_grad():
    theirs = last_stage(tower, pixels)
print("places:", tuple(places.shape))
print(f"furthest from the lab's: {(places - theirs).abs().max():.1e}")

# %% [markdown]
# ## Attention pooling
#
# A usual ResNet ends with the mean of its places. Of a ball on a meadow, that is mostly meadow. CLIP
# lets the picture decide. The mean $m$ makes the *query*, each token $x_t$ a *key*, and
# the better they fit, the more of the token's *value* is taken. The tokens are the mean itself and
# then all places, each with a learned position. Every head does this with its own $h$ numbers, 64
# in all of CLIP's ResNets:
#
# $$ w_t = \frac{\exp(q(m) \cdot k(x_t) / \sqrt{h})}{\sum_u \exp(q(m) \cdot k(x_u) / \sqrt{h})} $$
#
# $$ \text{pooled} = \sum_t w_t\, v(x_t) $$
#
# It is the attention of chapter 3 with a single query.

# %%
def tokens_of(places: Tensor, positions: Tensor) -> Tensor:
    """The mean of all places, then the places row by row; positions added."""
    rows = places.flatten(2).transpose(1, 2)  # (batch, places, channels)
    mean = rows.mean(dim=1, keepdim=True)
    return torch.cat([mean, rows], dim=1) + positions


def pool_weights(
    tokens: Float[Tensor, "batch tokens width"], pool: AttentionPool2d
) -> Float[Tensor, "batch heads tokens"]:
    """The share of each token in each head, by pool.q_proj and pool.k_proj."""
    # <solution>
    query = pool.q_proj(tokens[:, :1]).unflatten(2, (pool.heads, -1))
    keys = pool.k_proj(tokens).unflatten(2, (pool.heads, -1))
    fits = (query * keys).sum(dim=3)  # (batch, tokens, heads)
    shares = (fits / keys.shape[3] ** 0.5).softmax(dim=1)
    return shares.transpose(1, 2)
    # </solution>


check("pool_weights", pool_weights)

# %% [markdown]
# Shares in hand, mix the values, head by head; then `c_proj` takes all heads' answers together into
# the space that pictures share with texts.

# %%
def attention_pool(
    places: Float[Tensor, "batch width side side"], pool: AttentionPool2d
) -> Float[Tensor, "batch embed_dim"]:
    """A vector a picture, by pool.v_proj and pool.c_proj."""
    # <solution>
    tokens = tokens_of(places, pool.positional_embedding)
    values = pool.v_proj(tokens).unflatten(2, (pool.heads, -1))
    shares = pool_weights(tokens, pool)
    answers = torch.einsum("bht,bthd->bhd", shares, values)
    return pool.c_proj(answers.flatten(1))
    # </solution>


check("attention_pool", attention_pool)

# %%
pool = tower.attnpool
with torch.no_grad():
    yours = F.normalize(attention_pool(places, pool), dim=1)
vectors = vectors_of(tower, pixels)
print(f"yours against the lab's: {(yours - vectors).abs().max():.1e} at most")

# %% [markdown]
# ## Predict: isn't pooling just averaging?
#
# Put average pooling into the trained tower: all tokens weigh alike, the rest stays. As a measure,
# each picture gets the nearest of all emoji names (as in chapter 1). With attention,
# nearly nine of ten are right.
#
# Then the same emoji in a white margin, 128 × 128 pixels in all: 4 × 4 places, twelve of them white.
# (Four positions are interpolated to sixteen; nothing was trained at this size.) How many will
# averaging get right?

# %%
# <solution: guess = ...>
guess = 40
# </solution>
average_guess = predict_number(
    "Names right by averaging, in a margin (%)?", guess, low=0, high=100
)
average_guess

# %%
name_vectors = encoder.encode_texts(emoji.labels)
targets = emoji.targets[some]


def right(vectors: Tensor, targets: Tensor) -> tuple[int, int]:
    """How many pictures' own name is the nearest of all, and of how many."""
    nearest = (vectors @ name_vectors.T).argmax(dim=1)
    return int((nearest == targets).sum()), len(targets)


@torch.no_grad()
def averaged(tower: nn.Module, pixels: Tensor, over=slice(None)) -> Tensor:
    """The tower's vectors, had its pool given these tokens the same share."""
    pool = tower.attnpool
    tokens = tokens_of(last_stage(tower, pixels), pool.positional_embedding)
    return F.normalize(pool.c_proj(pool.v_proj(tokens)[:, over].mean(1)), dim=1)


large = clip_lab.load("emoji", image_size=128).model.visual
framed = F.pad(emoji.pictures[some], (32, 32, 32, 32), value=1.0)
framed = encoder.preprocess.normalize(framed)
middle = [6, 7, 10, 11]  # behind the mean's token: the places of the emoji
found = {
    "attention, as trained": right(vectors_of(tower, pixels), targets),
    "averaging": right(averaged(tower, pixels), targets),
    "attention, in a margin": right(vectors_of(large, framed), targets),
    "averaging, in a margin": right(averaged(large, framed), targets),
    "… its four middle places": right(averaged(large, framed, middle), targets),
}
bars = figures.share_bars(
    found,
    wilson,
    chance=1 / len(emoji.labels),
    odd=[name for name in found if "attention" not in name],
    predicted=average_guess.value,
)
hits, n = found["averaging, in a margin"]
show(bars, average_guess.measured(f"{hits / n:.0%}"))

# %% [markdown]
# **A second misconception, then: “pooling is just averaging.”** At its own size the tower loses some
# names to averaging. In the margin it loses nearly all: twelve white places outvote four. Average
# these four alone, and a third of the names come back. (No fair race: a tower *trained* with
# averages would cope better.)
#
# ## Play
#
# Choose a picture, a head, a place. (The mean answers too. It is an even mixture of all places, so
# its share is dealt out among them.)
#
# * Find a head that takes nearly all from one place. What does it know of the others?
# * Stay at that head and change the picture. Does it follow a thing, or keep to a corner?
# * On the violin in its margin: what do the white places get from averaging, what from the heads?

# %%
def sheet(*shown: str) -> Tensor:
    """Four emoji as one picture of 128 × 128 pixels."""
    a, b, c, d = (emoji.pictures[names.index(name)] for name in shown)
    rows = [torch.cat([a, b], dim=2), torch.cat([c, d], dim=2)]
    return torch.cat(rows, dim=1)


on_sheets = [
    ("cat face", "red apple", "airplane", "snowman"),
    ("dog face", "violin", "sailboat", "strawberry"),
]
violin = emoji.pictures[names.index("violin")]
looked_at = [sheet(*four) for four in on_sheets]
looked_at.append(F.pad(violin, (32, 32, 32, 32), value=1.0))
titles = [", ".join(four) for four in on_sheets] + ["a violin in a margin"]

with torch.no_grad():
    pictures = encoder.preprocess.normalize(torch.stack(looked_at))
    places = last_stage(large, pictures)
    tokens = tokens_of(places, large.attnpool.positional_embedding)
    weights = pool_weights(tokens, large.attnpool)
thumbnails = [picture.permute(1, 2, 0).numpy() for picture in looked_at]
PoolingWidget(weights.numpy(), thumbnails, titles, picture=1, head=5, place=3)

# %% [markdown]
# ## Break it: left in training mode
#
# In training, BatchNorm scales each channel by the mean and variance of *the batch*; in evaluation,
# by running averages of these. `train()` and `eval()` switch. A public benchmark of CLIP models did
# not call `eval()` ([CLIP_benchmark#73](https://github.com/LAION-AI/CLIP_benchmark/issues/73)), so
# a ResNet's figures could depend on which pictures shared a batch. Elsewhere someone proposed to
# take `eval()` *out*, as AudioCLIP seemed better without
# ([executors#315](https://github.com/jina-ai/executors/pull/315); a reviewer objected).
#
# Of 96 flags, the tower names nearly all. Left in training mode, with all 96 in one batch, it will
# get how many per cent?

# %%
# <solution: guess = ...>
guess = 90
# </solution>
flags_guess = predict_number(
    "Flags named right in training mode (%)?", guess, low=0, high=100
)
flags_guess

# %%
def left_in_training(*batches: Tensor) -> Tensor:
    """Vectors of each batch, by a copy of the tower that nobody switched."""
    forgotten = deepcopy(tower).train()
    return torch.cat([vectors_of(forgotten, batch) for batch in batches])


is_flag = [k for k, name in enumerate(names) if name.startswith("flag: ")][:96]
flags = encoder.preprocess.normalize(emoji.pictures[is_flag])
flag_targets = emoji.targets[is_flag]

drifted = deepcopy(tower).train()
for _ in range(20):
    vectors_of(drifted, flags[torch.randperm(96)[:32]])  # under no_grad()
drifted.eval()
by_two = pixels.split(2)
modes = {
    "eval(), all kinds": right(vectors_of(tower, pixels), targets),
    "train(), all kinds": right(left_in_training(pixels), targets),
    "train(), by two": right(left_in_training(*by_two), targets),
    "eval(), flags": right(vectors_of(tower, flags), flag_targets),
    "train(), flags": right(left_in_training(flags), flag_targets),
    "eval(), drifted": right(vectors_of(drifted, pixels), targets),
}
odd = [name for name in modes if "train" in name or "drift" in name]
bars = figures.share_bars(
    modes,
    wilson,
    chance=1 / len(emoji.labels),
    odd=odd,
    predicted=flags_guess.value,
)
hits, n = modes["train(), flags"]
show(bars, flags_guess.measured(f"{hits / n:.0%}"))

# %% [markdown]
# A large mixed batch hides the mistake: its statistics are close to those of training. Of two
# pictures they are noise. And among flags, BatchNorm takes off what all of them share: that they
# are flags. So a test suffers where its batches are sorted by class, as folders are.
#
# The last bar is a tower that is back in `eval()` after twenty batches of flags in training mode. No
# optimiser ran, and `torch.no_grad()` was on.
#
# ## Explain
#
# A colleague trains a classifier on top of a CLIP ResNet: “The backbone is frozen, with
# `requires_grad = False` on every parameter, and none has changed. Yet the vectors of my test
# pictures differ after each epoch.” (It happened:
# [virtex#16](https://github.com/kdexd/virtex/issues/16).) What is going on, and what would you
# change? Three or four sentences.

# %%
# <solution: words = ...>
words = """
    Parameters are not all that a BatchNorm layer holds. In training mode each
    forward pass also moves its running mean and variance towards the batch it
    has just seen, with or without gradients, and the test uses those. I would
    put the backbone into eval mode, again after every call of train().
"""
# </solution>
explain("frozen, but moving", words)

# %% [markdown]
# ## Exercises
#
# **★ Average as a special case.** Turn an attention pool into one that gives all tokens the same
# share, whatever the picture.

# %%
def as_average(pool: AttentionPool2d) -> AttentionPool2d:
    """A copy of the pool in which all tokens weigh alike."""
    # <solution>
    even = deepcopy(pool)
    nn.init.zeros_(even.q_proj.weight)
    nn.init.zeros_(even.q_proj.bias)
    return even
    # </solution>


check("as_average", as_average)

# %% [markdown]
# **★★ One place alone.** What would the pool answer if every head gave all its weight to one place?
# That is a vector for each place, in the space of the texts. Nobody trained it. Does it know what
# lies where on the sheets?

# %%
def each_place_alone(
    places: Float[Tensor, "batch width side side"], pool: AttentionPool2d
) -> Float[Tensor, "batch places embed_dim"]:
    """The pool's answer if it took one place and nothing else, for each."""
    # <solution>
    alone = tokens_of(places, pool.positional_embedding)[:, 1:]
    return pool.c_proj(pool.v_proj(alone))
    # </solution>


check("each_place_alone", each_place_alone)

# %%
with torch.no_grad():
    alone = F.normalize(each_place_alone(places, large.attnpool), dim=2)
for four, each in zip(on_sheets, alone[:2], strict=True):
    best = (each @ encoder.encode_texts(four).T).argmax(dim=1).view(4, 4)
    for row in best.tolist():
        print("  ".join(f"{four[k]:10}" for k in row))
    print()

# %% [markdown]
# Mostly it does; chapter 16 makes heat maps of it.
#
# **★★★ Fold it.** In evaluation, BatchNorm makes of a channel's $x$, at every place,
# $\gamma (x - \mu) / \sqrt{\sigma^2 + \epsilon} + \beta$: `weight`, `running_mean`, `running_var`,
# `eps`, `bias`. The convolution before it can do that too, exactly. Find its new weight and bias.

# %%
def fold_batchnorm(
    conv: nn.Conv2d, bn: nn.BatchNorm2d
) -> tuple[Tensor, Tensor]:
    """Weight and bias of one convolution that does what conv and bn did."""
    # <solution>
    gain = bn.weight / (bn.running_var + bn.eps).sqrt()
    weight = conv.weight * gain[:, None, None, None]
    return weight, bn.bias - gain * bn.running_mean
    # </solution>


check("fold_batchnorm", fold_batchnorm)

# %% [markdown]
# ## Which tower?
#
# To test a claim of the paper, the lab trained a small tower of each kind on drawn shapes, with the
# same pairs and steps, three times over. How many multiply-adds does each need to the accuracy that
# both reach?

# %%
towers = results()["towers"]
show(experiment("towers").draw(towers.measured), verdict("towers"))

# %% [markdown]
# With 2,000 pairs nobody can tell; with endless ones the ResNet is the better bargain. The likely
# reason: a convolution is born knowing that neighbours belong together, a transformer has to learn
# it. The paper's models do thousands of times the work a picture and saw 400 million pairs. Its
# claim is one about scale, and a miniature can't refute it.
#
# ## Read on
#
# * Radford et al., [the CLIP paper](https://arxiv.org/abs/2103.00020), section 2.4 for the towers,
#   3.2 and figure 10 for their efficiency.
# * He et al., [Bag of Tricks](https://arxiv.org/abs/1812.01187), section 4: the stem and the pooled
#   shortcut come from there (ResNet-D).
# * Zhang, [Making Convolutional Networks Shift-Invariant
#   Again](https://arxiv.org/abs/1904.11486), section 3: the blur.
# * Zhou et al., [MaskCLIP](https://arxiv.org/abs/2112.01071), section 3: each place alone.
# * `clip_lab/model/resnet.py`, all of this chapter; `clip_lab/interpret/attention.py`, the widget's
#   weights for any ResNet.
