# %% [markdown]
# # The Vision Transformer
#
# A transformer reads a row of words. A Vision Transformer (ViT) reads a picture the same way: it
# cuts the picture into patches, and the patches are the words. CLIP's most used image towers are
# ViTs, and almost all of one fits on a screen. In this chapter you write it.
#
# Afterwards you can
#
# * turn a picture into tokens, and say why a strided convolution does the same;
# * write multi-head attention and a pre-norm block, and run a tower's weights through them;
# * say what a patch size costs, before you rent the GPU;
# * say what a ViT knows about space, and what it has to learn;
# * recognise five mistakes that real projects made here.
#
# You need Python, a little PyTorch (shapes, `softmax`), and about an hour.
# `hint("name of the exercise", 1)` helps in three steps.

# %%
import copy

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from clip_lab.course import check, explain, hint
from clip_lab.course import predict_choice, predict_number
from clip_lab.data.emoji import emoji_test
from clip_lab.data.scene import COLOURS
from clip_lab.data.shape_drawing import draw
from clip_lab.data.shape_sampling import sample_scenes
from clip_lab.evaluation.accuracy import wilson
from clip_lab.interpret.attention import first_tokens, trace
from clip_lab.model import ViTConfig
from clip_lab.model.vit import VisionTransformer
from clip_lab.pretrained.build import resize_positions
from clip_lab.view.chapters import vision_transformer as figures
from clip_lab.view.widgets.patches import PatchesWidget

torch.manual_seed(0)
torch.set_num_threads(1)  # small models gain nothing from more

# %% [markdown]
# ## A picture as a sentence
#
# A picture of 64 × 64 pixels, cut into patches of 16, is a sentence of 16 words. A text's words
# come from a list; a patch is 16 · 16 · 3 = 768 numbers, and one matrix, the same for all patches,
# turns them into a **token**, a vector of the tower's width. From then on nothing knows that it was
# a picture.

# %%
emoji = emoji_test("noto", split="seen")
names = [emoji.labels[target] for target in emoji.targets]
picture = emoji.pictures[names.index("cat face")]
figures.show(figures.sequence(picture.permute(1, 2, 0).numpy(), 16))

# %% [markdown]
# ## Predict
#
# ViT-B/32 is CLIP's small ViT: pictures of 224 pixels, patches of 32. ViT-B/16 is the same tower on
# patches half as wide, so it has four times as many. In attention, every token looks at every
# token: sixteen times as many pairs. By what factor does the work for a picture grow, counted in
# multiply-adds of the whole tower?

# %%
# <solution: guess = ...>
guess = 16
# </solution>
cost_guess = predict_number("How many times as much?", guess, low=1, high=64)
cost_guess

# %% [markdown]
# ## Build: cut
#
# Row by row, as one reads. Within a patch: all its reds, then its greens, then its blues, each row
# by row, since that is how a convolution's weights lie.

# %%
def cut(
    pictures: Float[Tensor, "batch 3 height width"], size: int
) -> Float[Tensor, "batch patches numbers"]:
    """Each picture's patches of size x size pixels, each as one row."""
    # <solution>
    columns = pictures.unflatten(3, (-1, size))
    grid = columns.unflatten(2, (-1, size))  # batch 3 down size across size
    return grid.permute(0, 2, 4, 1, 3, 5).flatten(3).flatten(1, 2)
    # </solution>


check("vit_patches", cut)

# %% [markdown]
# CLIP's code has a convolution instead, whose stride is as long as its side: each patch meets the
# weights once, none overlaps. That is a matrix product, as an untrained tower of the lab shows:

# %%
SIDE, PATCH, PLACES = 32, 4, 16
config = ViTConfig(SIDE, PATCH, width=32, layers=2, head_width=8)
tower = VisionTransformer(config, len(COLOURS) + PLACES, "quick_gelu", 1e-5)

noise = torch.randn(2, 3, SIDE, SIDE)
tokens = cut(noise, PATCH) @ tower.conv1.weight.flatten(1).T
by_convolution = tower.conv1(noise).flatten(2).transpose(1, 2)
print("tokens", tuple(tokens.shape))
print("largest difference", f"{(tokens - by_convolution).abs().max():.1e}")

# %% [markdown]
# ## Build: attention
#
# So far each token knows its own patch alone. Attention lets tokens ask each other. Each makes a
# **query** (what do I look for?), a **key** (what do I offer?) and a **value** (what do I tell?). A
# token's new content is a mixture of all values, in shares that a softmax makes of its query's dot
# products with the keys:
#
# $$ \text{attention}(Q, K, V) = \text{softmax}\left( \frac{Q K^\top}{\sqrt{h}} \right) V $$
#
# **Heads** do this side by side, each with a part of the width; *h* is that part, 64 in all of
# OpenAI's ViTs. Longer vectors have larger dot products; without the root, a wide head's softmax
# would pick one token.

# %%
def attend(
    q: Float[Tensor, "batch tokens width"],
    k: Float[Tensor, "batch tokens width"],
    v: Float[Tensor, "batch tokens width"],
    heads: int,
) -> Float[Tensor, "batch tokens width"]:
    """Each head mixes its part of the values; the heads side by side again."""
    # <solution>
    q, k, v = (x.unflatten(2, (heads, -1)).transpose(1, 2) for x in (q, k, v))
    scores = q @ k.mT / q.shape[-1] ** 0.5  # batch heads ask answer
    shares = scores.softmax(dim=-1)
    return (shares @ v).transpose(1, 2).flatten(2)
    # </solution>


check("vit_attention", attend)

# %% [markdown]
# ## Build: a block
#
# A block is attention, then a network of two layers (MLP) for each token alone. Each *adds* to what
# was there. CLIP's blocks are **pre-norm**: a part reads a normalised copy (LayerNorm: each token
# to mean 0 and spread 1, then a learned gain and shift), and the tokens themselves run straight
# through, so that gradients do too.

# %%
def block(
    x: Float[Tensor, "batch tokens width"], ln_1, attention, ln_2, mlp
) -> Float[Tensor, "batch tokens width"]:
    """A pre-norm block; ln_1, attention, ln_2 and mlp are its parts."""
    # <solution>
    asked = x + attention(ln_1(x))
    return asked + mlp(ln_2(asked))
    # </solution>


check("vit_block", block)

# %% [markdown]
# Your block with the weights of the lab's. One matrix makes queries, keys and values: its three
# thirds, in this order.

# %%
lab = tower.transformer.resblocks[0]


def attention(x: Tensor) -> Tensor:
    weights, bias = lab.attn.in_proj_weight, lab.attn.in_proj_bias
    q, k, v = F.linear(x, weights, bias).chunk(3, dim=2)
    return lab.attn.out_proj(attend(q, k, v, lab.attn.heads))


yours = block(tokens, lab.ln_1, attention, lab.ln_2, lab.mlp)
print("largest difference", f"{(yours - lab(tokens)).abs().max():.1e}")

# %% [markdown]
# The MLP is two matrices with a bend between them, where it is four times as wide. In OpenAI's
# weights the bend is **QuickGELU**, x · σ(1.702 x), a cheap imitation of GELU.
#
# ## Build: the vector
#
# Which of the tokens is the picture's vector? None. ViT puts one more in front, the **class
# token**: the same learned vector for every picture, which asks its way through the blocks. To all
# of them, learned **position** vectors are added, the class token's included. Then `ln_pre`, a
# LayerNorm which CLIP adds to the ViT of 2020 (paper, section 2.4). After the blocks, `ln_post` and
# one matrix, `proj`, lead from the class token into the space that pictures share with texts.

# %%
def read(
    tokens: Float[Tensor, "batch patches width"], tower: VisionTransformer
) -> Float[Tensor, "batch embed_dim"]:
    """From patches' tokens to vectors. `tower.transformer` runs all blocks."""
    # <solution>
    class_token = tower.class_embedding.expand(len(tokens), 1, -1)
    sentence = torch.cat([class_token, tokens], dim=1)
    sentence = tower.ln_pre(sentence + tower.positional_embedding)
    return tower.ln_post(tower.transformer(sentence)[:, 0]) @ tower.proj
    # </solution>


check("vit_vector", read)

# %% [markdown]
# Your tower against the lab's, with the same weights; then the bill of CLIP's ViT-B at 224 pixels.

# %%
difference = (read(tokens, tower) - tower(noise)).abs().max()
print("whole tower, largest difference", f"{difference:.1e}")

sizes = [32, 16, 8, 4]
work = [sum(figures.vit_cost(224, size, 768, 12).values()) for size in sizes]
growth = f"{work[1] / work[0]:.2f} times from ViT-B/32 to ViT-B/16."
figures.show(figures.cost_by_patch(sizes), cost_guess.measured(growth))

# %% [markdown]
# About four, not sixteen. Most of the work is in the matrices, through which each token goes alone.
# Only two products are between tokens, and at this width they outweigh the matrices beyond 4,608
# tokens. Attention is quadratic; CLIP's sentences are short. Whether a ViT is worth its bill,
# chapter 4 asks.
#
# ## A tower that knows something
#
# Nothing in the tower says that patch 9 lies below patch 1. So let it learn: from 4,000 drawn
# shapes, a tower of 30,000 weights is to name an object's colour (11) and its place on a 4 × 4
# board. Its vector *is* the answer: 11 scores, then 16. Positions start near zero, so that what
# they learn shows. Three shapes in four lie on the board's four middle places, so guessing is not
# one in sixteen: who always says the commonest place finds a fifth.

# %%
scenes = sample_scenes(5000, torch.Generator().manual_seed(0))
starts = range(0, 5000, 500)
drawn = torch.cat([draw(scenes[k : k + 500], SIDE) for k in starts])
pictures = 2 * drawn - 1  # from -1 to 1
colours = scenes.colour[:, 0]
column, row = (4 * scenes.centre[:, 0]).long().clamp(0, 3).unbind(1)
spots = 4 * row + column
fresh = slice(4000, 5000)  # not trained on
examples = drawn[:6].permute(0, 2, 3, 1).numpy()
answers = [
    f"{list(COLOURS)[c]}, place {s + 1}"
    for c, s in zip(colours[:6], spots[:6], strict=True)
]
figures.show(figures.contact_sheet(examples, answers, columns=6))

# %%
nn.init.normal_(tower.positional_embedding, std=0.02)
untrained = tower.positional_embedding.detach().clone()
optimizer = torch.optim.AdamW(tower.parameters(), lr=3e-3)
steps = 300
schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, steps)
for _ in range(steps):
    some = torch.randint(4000, (64,))
    scores = tower(pictures[some]).split([len(COLOURS), PLACES], dim=1)
    loss = F.cross_entropy(scores[0], colours[some])
    loss = loss + F.cross_entropy(scores[1], spots[some])
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step()


def found(vectors: Float[Tensor, "n 27"]) -> tuple[float, float]:
    """The shares of colours and of places found in 1,000 fresh pictures."""
    colour, spot = vectors.split([len(COLOURS), PLACES], dim=1)
    known = (colour.argmax(dim=1) == colours[fresh]).float().mean()
    placed = (spot.argmax(dim=1) == spots[fresh]).float().mean()
    return known.item(), placed.item()


with torch.no_grad():
    vectors = tower(pictures[fresh])
guessed = [a[fresh].bincount().max().item() / 1000 for a in (colours, spots)]
for what, share, base in zip(
    ("colour", "place"), found(vectors), guessed, strict=True
):
    low, high = wilson(share, 1000)
    print(f"{what:6} found {share:.0%} ({low:.0%} to {high:.0%}),", end=" ")
    print(f"always the commonest {base:.0%}")

# %% [markdown]
# ## A misconception
#
# “A ViT sees neighbouring patches as neighbours.” Shuffle the tokens of a picture and let each
# position vector travel along with its patch. The picture is in pieces. What happens to its vector?

# %%
# <solution: guess = ...>
guess = "b"
# </solution>
shuffle_guess = predict_choice(
    "Patches shuffled together with their positions: the vector ...",
    guess,
    {"a": "stays the same", "b": "changes a little", "c": "becomes useless"},
)
shuffle_guess

# %%
order = torch.randperm(len(untrained) - 1)
moved, placeless = copy.deepcopy(tower), copy.deepcopy(tower)
places = tower.positional_embedding.detach()
moved.positional_embedding.data[1:] = places[1:][order]
placeless.positional_embedding.data[1:] = 0

with torch.no_grad():
    tokens = tower.conv1(pictures[fresh]).flatten(2).transpose(1, 2)
    shuffled = {
        "with their positions": read(tokens[:, order], moved) - vectors,
        "positions stay": read(tokens[:, order], tower) - vectors,
        "without positions": read(tokens[:, order], placeless)
        - read(tokens, placeless),
    }
changes = {name: c.abs().max().item() for name, c in shuffled.items()}
text = ", ".join(f"{change:.2g} {name}" for name, change in changes.items())

trained = places.numpy()
figures.show(
    figures.places(untrained.numpy(), trained, token=28),
    shuffle_guess.measured(f"largest change: {text}."),
)

# %% [markdown]
# With their positions, nothing changes but rounding: attention sums over a *set*, and a sum has no
# order. Without positions, every order of the patches gives one and the same vector. All that a ViT
# knows of where its patches lie stands in its position vectors. Untrained, a neighbour's is no more
# alike than any other's; the figure shows what 300 steps made of them. (Opposite edges come out
# alike too, presumably since no shape's centre ever lies there.) A ViT does not see neighbours. It
# learns who they are.
#
# ## Play
#
# The tower's own positions, on the cat. Click a patch; move the slider.
#
# * Which patches have positions most like that of a corner? Like that of the middle?
# * Halve the patch. What becomes four times as much, what sixteen times, and which of them matters?
# * At patch 16, what can one token know about the cat's eyes? At patch 2?

# %%
cat = F.avg_pool2d(picture, 2).permute(1, 2, 0).numpy()
PatchesWidget(cat, trained, layers=config.layers, token=28)

# %% [markdown]
# ## Break it
#
# Weights fit into a tower that isn't theirs, and nothing complains.
#
# 1. **GELU for QuickGELU.** open_clip's `ViT-B-32` has GELU, `ViT-B-32-quickgelu` what OpenAI's
#    weights need, and both loaded them. Someone evaluated a fine-tuned model with the wrong one,
#    and found signs of it in two papers
#    ([open_clip#771](https://github.com/mlfoundations/open_clip/issues/771); by now it warns).
# 2. **No `ln_pre`.** It looks redundant before pre-norm blocks; a reader took it out, and CLIP
#    guided pictures to stripes ([CLIP#152](https://github.com/openai/CLIP/issues/152)).
# 3. **Patches by `reshape` alone**, which re-reads the picture and cuts nothing
#    ([Transformer-Implementations#5](https://github.com/UdbhavPrasad072300/Transformer-Implementations/issues/5)).
# 4. **One position for all**: `positions[n]` where `positions[:n]` was meant, in a well-read
#    tutorial ([labml#133](https://github.com/labmlai/annotated_deep_learning_paper_implementations/issues/133)).
# 5. **Zeros for positions.** For larger pictures a project resized CLIP's positions, stored them
#    where nobody read them, and ran with zeros. Its paper reported ViT features as poor for
#    captions ([CLIP-ViL#13](https://github.com/clip-vil/CLIP-ViL/issues/13)); an author confirmed
#    it ([#20](https://github.com/clip-vil/CLIP-ViL/issues/20)). Here at 48 pixels.

# %%
# <solution: guess = ...>
guess = "b"
# </solution>
broken_guess = predict_choice(
    "Which of these costs the tower the least?",
    guess,
    {"a": "GELU", "b": "no ln_pre", "c": "one position for all"},
)
broken_guess

# %%
def changed(change) -> VisionTransformer:
    """A copy of the tower with something done to it."""
    broken = copy.deepcopy(tower)
    change(broken)
    return broken


def put(positions: Tensor):
    """The change that gives a tower other positions."""
    given = nn.Parameter(positions)
    return lambda tower: setattr(tower, "positional_embedding", given)


def use_gelu(broken: VisionTransformer) -> None:
    for one in broken.transformer.resblocks:
        one.mlp.act = nn.GELU()


starts = range(4000, 5000, 250)
big = torch.cat([draw(scenes[k : k + 250], 48) for k in starts])
small, large = pictures[fresh], 2 * big - 1
one_place = places[-1:].expand(len(places), -1)
wider = resize_positions(places, 8, 12, 1)
no_norm = changed(lambda t: setattr(t, "ln_pre", nn.Identity()))
with torch.no_grad():
    mixed = small.reshape(1000, 64, -1) @ tower.conv1.weight.flatten(1).T
    broken = {
        "as it should be": vectors,
        "GELU": changed(use_gelu)(small),
        "no ln_pre": no_norm(small),
        "reshape alone": read(mixed, tower),
        "one position": changed(put(one_place))(small),
        "48 px, resized": changed(put(wider))(large),
        "48 px, zeros": changed(put(torch.zeros(145, 32)))(large),
    }
measured = {
    name: (*found(v), F.cosine_similarity(v, vectors).mean().item())
    for name, v in broken.items()
}
text = "; ".join(
    "{}: colour {:.0%}, place {:.0%}".format(name, *measured[name])
    for name in ("GELU", "no ln_pre", "one position")
)
figures.show(
    figures.accuracy_bars(measured, guessed, n=1000, interval=wilson),
    broken_guess.measured(text),
)

# %% [markdown]
# Without positions the tower still knows colours, and the place no better than who always says the
# commonest. `reshape` alone fills nearly every patch from one colour channel, and the colour is
# gone. The blocks learnt behind `ln_pre`, and can't do without. Positions resized as a grid serve
# even a size that the tower never saw.
#
# GELU is the worst, because it costs so little *here*. The two bends differ by 0.02 at most, and
# two blocks don't show it. In deep towers it adds up: a project that put it right saw its deviation
# from the original fall from 7 % to 0.1 %
# ([mindone#225](https://github.com/mindspore-lab/mindone/pull/225)). None of the five raised an
# error. Test against vectors that somebody else computed.
#
# ## Explain
#
# A colleague shuffles the patches of every training picture, always in the same order. Her ViT
# learns as well as before, her ResNet badly. Why? Three or four sentences.

# %%
# <solution: words = ...>
words = """
    Attention is a sum over all tokens, so a ViT has no idea of order to lose.
    Each place has its own position vector, and as the order is the same for
    all pictures, that vector can learn where its patch really belongs. A
    convolution assumes that neighbours in the picture belong together.
"""
# </solution>
explain("patches in disorder", words)

# %% [markdown]
# ## Exercises
#
# **★ The bill.** Multiply-adds of one block for *n* tokens of width *d*: four matrices of
# attention, an MLP four times as wide inside, and the two products between tokens. From which *n*
# do these weigh more?

# %%
def block_cost(n: int, d: int) -> int:
    """Multiply-adds of one block."""
    # <solution>
    matrices = n * (4 * d * d + 2 * d * 4 * d)
    return matrices + 2 * n * n * d
    # </solution>


check("vit_cost", block_cost)

# %% [markdown]
# **★★ Another size.** Resize positions for a grid of `grid` × `grid` patches, bicubic and
# antialiased, as the lab and open_clip do when they load a model for larger pictures.

# %%
def resize(
    positions: Float[Tensor, "tokens width"], grid: int
) -> Float[Tensor, "new_tokens width"]:
    """The class token's vector as it was, then the resized grid's."""
    # <solution>
    side = round((len(positions) - 1) ** 0.5)
    board = positions[1:].T.unflatten(1, (side, side))[None]
    smooth = {"mode": "bicubic", "antialias": True}
    board = F.interpolate(board, (grid, grid), **smooth)[0]
    return torch.cat([positions[:1], board.flatten(1).T])
    # </solution>


check("vit_positions", resize)

# %% [markdown]
# **★★★ How far does a head look?** The distance between a patch that asks and those that answer,
# weighted by its shares, averaged over all that ask; the class token left out. (Dosovitskiy et al.,
# figure 7: in a large trained ViT's first blocks some heads look near, others far. In ours?)

# %%
def distance(
    shares: Float[Tensor, "heads tokens tokens"], grid: int
) -> Float[Tensor, " heads"]:
    """Each head's mean distance, in patches. Row i: what token i takes."""
    # <solution>
    numbers = torch.arange(grid * grid)
    spots = torch.stack([numbers // grid, numbers % grid], dim=1).float()
    shares = shares[:, 1:, 1:]
    shares = shares / shares.sum(dim=2, keepdim=True)
    return (shares * torch.cdist(spots, spots)).sum(2).mean(1)
    # </solution>


verdict = check("vit_distance", distance)

with torch.no_grad():
    first = first_tokens(tower, pictures[4000:4064])
    first_block = trace(tower, first).weights[0]
far = torch.stack([distance(one, 8) for one in first_block]).mean(0)
even = distance(torch.ones(1, 65, 65), 8).item()
print("first block's heads:", [round(x, 1) for x in far.tolist()])
print("all patches alike: ", round(even, 1))
verdict

# %% [markdown]
# In ours every head of the first block looks about as far as one to which all patches are alike.
#
# ## Read on
#
# * Radford et al., [the CLIP paper](https://arxiv.org/abs/2103.00020), section 2.4; sizes in its
#   appendix.
# * Dosovitskiy et al., [An Image is Worth 16x16 Words](https://arxiv.org/abs/2010.11929), sections
#   3.1 and 4.5.
# * Beyer et al., [FlexiViT](https://arxiv.org/abs/2212.08013): one tower for all patch sizes.
# * `clip_lab/model/vit.py` and `transformer.py`: the tower and its block.
