# %% [markdown]
# # Scale: large batches, many machines
#
# CLIP was trained with 32,768 pairs in a batch, on hundreds of GPUs. A contrastive loss can't simply
# be cut into pieces for that: each pair is judged against all the others. This chapter takes it
# apart all the same, exactly, and in a way that you can check on a laptop.
#
# Afterwards you can
#
# * say what a larger batch brings, and what it costs;
# * work out the memory of a training before you pay for it;
# * get the gradient of a large batch with the memory of a small one;
# * share a batch among many processes, and prove that nothing is lost;
# * recognise a gather without gradients, which raises no error and ruins the model.
#
# You need chapters 6 to 8.

# %%
import copy
import math

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

import clip_lab
from clip_lab.course import check, explain, hint
from clip_lab.course import predict_choice, predict_number, verdict
from clip_lab.data.shapes import ShapesPairs, shapes_test
from clip_lab.evaluation.accuracy import wilson
from clip_lab.experiments.report import results
from clip_lab.losses import info_nce
from clip_lab.model import CLIP, CONFIGS, CLIPConfig, TextConfig, ViTConfig
from clip_lab.training import gradients, schedule
from clip_lab.training.towers import Towers
from clip_lab.view.chapters import scale as figures
from clip_lab.view.widgets import MatrixWidget

torch.manual_seed(0)
torch.set_num_threads(1)  # small models gain nothing from more

# %% [markdown]
# ## Predict
#
# “Large batches help, for they hold more negatives.” The lab trained small models with the same
# 40,000 pairs, each seen once, in batches of 16, 128 and 1,024. For each size, the learning rate
# grew with the square root of the batch.

# %%
# <solution: guess = ...>
guess = "c"
# </solution>
batch_guess = predict_choice(
    "With as many pairs seen, which batch finds most of what was held out?",
    guess,
    {"a": "16", "b": "128", "c": "1,024"},
)
batch_guess

# %%
measured = results()["batch_size"].measured
by_batch = 100 * measured["by_batch"].mean(0)
told = ", ".join(
    f"{share:.0f} % with {int(size):,}"
    for size, share in zip(measured["batches"][0], by_batch, strict=True)
)
figures.show(
    figures.sweeps(
        measured["batches"][0],
        measured["by_batch"],
        measured["blocks"][0],
        measured["by_block"],
        chance=1 / 44,
    ),
    batch_guess.measured(told),
    verdict("batch_size"),
)

# %% [markdown]
# Two things change with the batch. Left: as many pairs in larger batches are fewer *steps*, and a
# small model that is far from done needs steps. Right: with the steps kept, more negatives do help.
# So a large batch pays where there are pairs enough for many steps as well: CLIP saw 12.8 billion.
#
# ## What a batch costs
#
# Training keeps what each layer computed until the way back has passed. PyTorch can be asked what it
# keeps; and on its device “meta”, tensors have shapes but no numbers, so that we can weigh models
# which no laptop could train.

# %%
def kept(tower: nn.Module, pictures: Tensor) -> int:
    """Bytes that the way back through the tower needs."""
    sizes = {}

    def weigh(tensor: Tensor) -> Tensor:
        sizes[id(tensor)] = tensor.numel() * tensor.element_size()
        alive.append(tensor)  # or its id might be given to another
        return tensor

    alive = []
    with torch.autograd.graph.saved_tensors_hooks(weigh, lambda t: t):
        tower(pictures)
    return sum(sizes.values())


per_picture, weights = {}, {}
for name in ("ViT-B-32", "ViT-L-14"):
    with torch.device("meta"):
        model = CLIP(CONFIGS[name])
        pair = torch.empty(2, 3, 224, 224)
    two, one = kept(model.visual, pair), kept(model.visual, pair[:1])
    per_picture[name] = two - one  # the weights, which are kept too, cancel
    weights[name] = sum(p.numel() for p in model.parameters())
    print(f"{name}: {weights[name] / 1e6:.0f} million weights,", end=" ")
    print(f"{per_picture[name] / 1e6:.0f} MB for each picture")

# %%
rows = [2**k for k in range(4, 17)]
layers = per_picture["ViT-B-32"]
memory = {
    "layers, the batch at once": [n * layers / 1e9 for n in rows],
    "layers, in pieces of 64": [min(n, 64) * layers / 1e9 for n in rows],
    "the N × N matrix and its gradient": [8 * n * n / 1e9 for n in rows],
}
title = "The image tower of ViT-B/32, in float32"
figures.show(figures.memory(rows, memory, {"a GPU of 80 GB": 80}, title=title))

# %% [markdown]
# The image tower of CLIP's *smallest* ViT, at CLIP's batch, keeps a thousand gigabytes. (In float32;
# 16 bits halve it, and GPUs have attention that keeps less. Gradient checkpointing keeps each
# block's input only, and computes the rest again, in a third more time.) Weights, their gradients
# and Adam's two averages are small beside it. So is what the loss needs of each pair: two vectors.
# That is the way out.
#
# ## Build: the gradient of a large batch, piece by piece
#
# “Gradient accumulation” runs small batches through and adds up their gradients. For a contrastive
# loss this is *another loss*: each picture meets only its own small batch. But the loss depends on
# the pictures only through their vectors. So
# ([GradCache](https://arxiv.org/abs/2101.06983), section 3):
#
# 1. encode each piece *without* keeping layers, only vectors;
# 2. the loss of all vectors together, and its gradient for every vector;
# 3. encode each piece again, with layers, and send its vectors' gradients back through it.
#
# The price is a second forward pass, which has to draw the same random numbers (dropout) as the
# first.
#
# `torch.autograd.backward([a, b], [grad_a, grad_b])` starts the way back from given gradients.

# %%
def encode(model, pictures: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors of length 1, of both towers."""
    seen, read = model.encode_image(pictures), model.encode_text(tokens)
    return F.normalize(seen, dim=-1), F.normalize(read, dim=-1)


# %%
def cached_gradients(
    model,
    pictures: Float[Tensor, "n 3 size size"],
    tokens: Int[Tensor, "n context"],
    pieces: int,
) -> float:
    """Adds the whole batch's gradient to the parameters'; gives its loss."""
    # <solution>
    parts = list(zip(pictures.chunk(pieces), tokens.chunk(pieces), strict=True))
    bare = torch.no_grad()(encode)
    vectors = [bare(model, *part) for part in parts]
    images, texts = map(torch.cat, zip(*vectors, strict=True))
    whole = info_nce(
        images.requires_grad_(), texts.requires_grad_(), model.logit_scale
    )
    whole.backward()
    slopes = images.grad.chunk(pieces), texts.grad.chunk(pieces)
    for part, *back in zip(parts, *slopes, strict=True):
        torch.autograd.backward(encode(model, *part), back)
    return whole.item()
    # </solution>


check("cached_gradients", cached_gradients)

# %% [markdown]
# Take a small model after some training, in float64, and 64 pairs at once, in 8 pieces by your
# function, and in 8 small batches whose gradients are averaged.

# %%
# <solution: guess = ...>
guess = 0.9
# </solution>
angle_guess = predict_number(
    "Cosine of the averaged gradient of 8 small batches and the true one?",
    guess,
    low=-1,
    high=1,
)
angle_guess

# %%
shapes = clip_lab.load("shapes")  # for its tokenizer
drawn = ShapesPairs(batch_size=512, size=32, seed=8, kinds={"single": 1.0})
batches = [drawn.batch(number) for number in range(8)]
pictures = shapes.preprocess.normalize(torch.cat([b.images for b in batches]))
tokens = shapes.tokenizer([text for b in batches for text in b.captions])


def new_model() -> CLIP:
    """Chapter 8's: two small towers, the same weights each time."""
    torch.manual_seed(0)
    vision = ViTConfig(32, patch_size=8, width=96, layers=1, head_width=32)
    words = shapes.tokenizer
    text = TextConfig(len(words), 32, 64, 1, words.end, head_width=32)
    return CLIP(CLIPConfig(64, vision, text, "gelu"))


def train(loss_of, steps: int) -> CLIP:
    """Chapter 8's loop, with a loss of (images, texts, logit_scale)."""
    model = new_model()
    adamw = schedule.adamw(model, lr=3e-3, weight_decay=0.1)
    for step in range(steps):
        rate = schedule.learning_rate(3e-3, 50, step, step / 240)
        schedule.set_learning_rate(adamw, rate)
        dice = torch.Generator().manual_seed(step)
        chosen = torch.randperm(len(pictures), generator=dice)[:64]
        vectors = encode(model, pictures[chosen], tokens[chosen])
        adamw.zero_grad()
        loss_of(*vectors, model.logit_scale).backward()
        adamw.step()
    return model


learner = train(info_nce, steps=40).double()
batch = pictures[:64].double(), tokens[:64]


def gradient_of(fill) -> Tensor:
    """What `fill(model)` leaves as gradients, in a row."""
    model = copy.deepcopy(learner)
    model.zero_grad()
    fill(model)
    return torch.cat([p.grad.flatten() for p in model.parameters()])


def at_once(model):
    info_nce(*encode(model, *batch), model.logit_scale).backward()


def averaged(model):
    for part in zip(*(side.chunk(8) for side in batch), strict=True):
        (info_nce(*encode(model, *part), model.logit_scale) / 8).backward()


def by_the_lab(model):
    def loss(found):
        return info_nce(found.images, found.texts, found.scale)

    gradients.gradients_in_pieces(
        Towers(model), *batch, loss, Tensor.backward, pieces=8
    )


truth = gradient_of(at_once)
ways = {
    "yours": lambda model: cached_gradients(model, *batch, 8),
    "the lab's": by_the_lab,
    "8 small batches": averaged,
}
angles = {}
for name, fill in ways.items():
    found = gradient_of(fill)
    angles[name] = F.cosine_similarity(found, truth, dim=0).item()
    off = (found - truth).norm() / truth.norm()
    print(f"{name:16} cosine {angles[name]:.4f}, relative error {off:.1g}")
angle_guess.measured(f"{angles['8 small batches']:.2f}")

# %% [markdown]
# **A misconception: “accumulating gradients is a large batch.”** For classification it is. For a
# contrastive loss it points elsewhere, and nothing says so. When somebody wanted to add it to
# sentence-transformers, the maintainer objected for this reason
# ([#1822](https://github.com/huggingface/sentence-transformers/pull/1822)). Open_clip's
# `--accum-freq` is no such thing: it keeps vectors, as you did
# ([#267](https://github.com/mlfoundations/open_clip/pull/267)).
#
# ## Build: many processes
#
# With many GPUs, each process has a copy of the model and its own rows of the batch. It encodes
# them; then everyone's vectors are **gathered**, so that each has all. DDP averages the weights'
# gradients in the end.
#
# Each process needs only the *rows* of the matrix that are its own: its pictures against all
# captions, its captions against all pictures. That is the **local loss**. In process `rank`, its
# picture 0 belongs to a caption further on in the gathered ones.

# %%
def local_loss(
    images: Float[Tensor, "own d"],
    texts: Float[Tensor, "own d"],
    all_images: Float[Tensor, "all d"],
    all_texts: Float[Tensor, "all d"],
    logit_scale: Float[Tensor, ""],
    rank: int,
) -> Float[Tensor, ""]:
    """InfoNCE of a process's own rows, both ways; all have as many rows."""
    # <solution>
    own = torch.arange(len(images)) + rank * len(images)
    sharp = logit_scale.exp()
    captions = F.cross_entropy(sharp * images @ all_texts.T, own)
    partners = F.cross_entropy(sharp * texts @ all_images.T, own)
    return (captions + partners) / 2
    # </solution>


check("local_loss", local_loss)

# %% [markdown]
# ## Build: the gather
#
# Here the processes are copies of one model, and `shards` holds the vectors of each. A real gather
# goes over the network (`torch.distributed.all_gather`), and what arrives is bare numbers: gradients
# reach a process's *own* rows only. With care (`_Gather` in `clip_lab/training/distributed.py`),
# they are sent back to where the rows came from. Write both.

# %%
def gather(
    shards: list[Float[Tensor, "own d"]], rank: int, with_gradients: bool
) -> Float[Tensor, "all d"]:
    """Everyone's rows in order, as process `rank` sees them."""
    # <solution>
    arrived = [rows if with_gradients else rows.detach() for rows in shards]
    arrived[rank] = shards[rank]
    return torch.cat(arrived)
    # </solution>


check("gather", gather)

# %%
def in_processes(world: int, local: bool, with_gradients: bool):
    """Fills a model's gradients as `world` processes and DDP would."""

    def fill(model):
        copies = [copy.deepcopy(model) for _ in range(world)]
        parts = zip(*(side.chunk(world) for side in batch), strict=True)
        vectors = [encode(m, *p) for m, p in zip(copies, parts, strict=True)]
        images, texts = map(list, zip(*vectors, strict=True))
        total = 0.0
        for rank, own in enumerate(copies):
            sides = images, texts
            everyone = [gather(s, rank, with_gradients) for s in sides]
            args = [*everyone, own.logit_scale]
            if local:
                own_rows = images[rank], texts[rank]
                total = total + local_loss(*own_rows, *args, rank)
            else:  # each process computes the whole matrix
                total = total + info_nce(*args)
        total.backward()
        everyones = zip(*(m.parameters() for m in copies), strict=True)
        for weight, own in zip(model.parameters(), everyones, strict=True):
            weight.grad = torch.stack([p.grad for p in own]).mean(dim=0)  # DDP

    return fill


# %% [markdown]
# ## Break it
#
# Do the gathered rows need gradients? “Since the loss is local, we need none for other ranks, right?”
# asked a user of [LIFT#4](https://github.com/Jingfeng0705/LIFT/issues/4), and was told yes. The
# library lightly had a gather that should have sent them back, and dropped those of the other
# processes, until somebody compared one GPU with two
# ([lightly#1528](https://github.com/lightly-ai/lightly/issues/1528)). In open_clip the two are two
# switches, and one of their four combinations is wrong
# ([open_clip#616](https://github.com/mlfoundations/open_clip/issues/616)).

# %%
# <solution: guess = ...>
guess = "b"
# </solution>
switch_guess = predict_choice(
    "Which combination has a gradient of the wrong DIRECTION?",
    guess,
    {
        "a": "whole loss in each process, gather without gradients",
        "b": "local loss, gather without gradients",
        "c": "both of these",
    },
)
switch_guess

# %%
switches = {
    "local, with gradients": in_processes(8, True, True),
    "local, without": in_processes(8, True, False),
    "whole, with gradients": in_processes(8, False, True),
    "whole, without": in_processes(8, False, False),
}
of_towers = torch.cat(  # the temperature's own gradient is whole everywhere
    [
        torch.full((p.numel(),), name != "logit_scale")
        for name, p in learner.named_parameters()
    ]
)
wanted = truth[of_towers]
found = {}
for name, fill in switches.items():
    theirs = gradient_of(fill)[of_towers]
    cosine = F.cosine_similarity(theirs, wanted, dim=0).item()
    found[name] = cosine, (theirs.norm() / wanted.norm()).item()
for name, (cosine, length) in found.items():
    print(f"{name:22} cosine {cosine:6.3f}, length × {length:.3f}")
switch_guess.measured(f"cosine {found['local, without'][0]:.2f} for b")

# %% [markdown]
# With gradients, both are exact. The whole loss without them has the right direction for both
# towers, but an eighth of the length: each process's share is counted once, then divided by 8.
# AdamW cancels that; plain SGD would not.
#
# The local loss without them is another loss. Each row still pulls at its own caption. But the
# captions of other processes don't learn from it that they were wrong answers: of the push between
# processes, half is missing. What does that cost? The same, for 64 pairs in 8 processes, as one
# function:

# %%
def without_gradients(images: Tensor, texts: Tensor, logit_scale: Tensor):
    """The mean over 8 processes of the local loss, gathered bare."""
    sides = list(images.chunk(8)), list(texts.chunk(8))
    losses = []
    for rank in range(8):
        bare = [gather(side, rank, with_gradients=False) for side in sides]
        own = sides[0][rank], sides[1][rank]
        losses.append(local_loss(*own, *bare, logit_scale, rank))
    return torch.stack(losses).mean()


def never_gathered(images: Tensor, texts: Tensor, logit_scale: Tensor):
    """The mean loss of 8 processes that know nothing of each other."""
    sides = zip(images.chunk(8), texts.chunk(8), strict=True)
    return sum(info_nce(*own, logit_scale) for own in sides) / 8


test = shapes_test(copies=4, size=32)
test_batch = (
    shapes.preprocess.normalize(test.pictures),
    shapes.tokenizer(test.captions),
)


@torch.no_grad()
def right(model: CLIP) -> tuple[int, int]:
    """How many held-out pictures find their caption among 44; of how many."""
    rows, columns = encode(model, *test_batch)
    hits = (rows @ columns.T).argmax(dim=1) == test.targets
    return int(hits.sum()), len(hits)


@torch.no_grad()
def alike(model: CLIP) -> float:
    """The mean cosine of two pictures."""
    rows = encode(model, *test_batch)[0]
    return (rows @ rows.T).mean().item()


trained = {
    "one process of 64": train(info_nce, 240),
    "8 of 8, gathered without gradients": train(without_gradients, 240),
    "8 of 8, never gathered": train(never_gathered, 240),
}
counts = {name: right(model) for name, model in trained.items()}
for name, model in trained.items():
    print(f"{name:34} cosine of two pictures {alike(model):.3f}")
figures.show(
    figures.shares(
        counts, wilson, chance=1 / 44, title="Held-out pictures, 240 steps"
    )
)

# %% [markdown]
# All vectors have fallen together, as under “pull only” in chapter 7, and no error was raised. Where
# somebody's gather passed no gradients, it showed as a loss that would not go down, and stayed above
# that of one GPU ([open_clip#1047](https://github.com/mlfoundations/open_clip/issues/1047)). Not to
# gather at all would have been better: seven wrong captions instead of 63 cost little in this small
# world. **Compare one process with two before you rent 200.**
#
# ## Play
#
# Twelve pairs, as three processes of four hold them: rows 1 to 4, 5 to 8, 9 to 12.
#
# * Choose “softmax over captions”. Which of these shares would change if nothing were gathered?
#   Would they become larger or smaller, and what of the loss?
# * Find the hardest wrong caption of a row. Does it lie in the row's own process? Of 32,768 pairs on
#   256 GPUs, how large a share of its wrong captions would a picture meet without a gather?
# * At τ = 0.01, most rows are decided. What does a twelve times larger batch add for them?

# %%
some = range(0, 36, 3)  # twelve of the test's things
shown = test.pictures[[4 * thing for thing in some]]
spoken = [test.captions[thing] for thing in some]
cosines = shapes.encode_images(shown) @ shapes.encode_texts(spoken).T
thumbnails = [picture.permute(1, 2, 0).numpy() for picture in shown]
MatrixWidget(cosines.numpy(), thumbnails, spoken, tau=1 / shapes.scale)

# %% [markdown]
# ## Sixteen bits, once more
#
# Chapter 8 kept weights in float32 and let products be taken in 16 bits. One product is an
# exception: the matrix of logits. bfloat16 has float32's range and 8 significant bits.

# %%
for dtype in (torch.float32, torch.bfloat16, torch.float16):
    kind = torch.finfo(dtype)
    print(f"{kind.dtype:9} up to {kind.max:.0e},", end=" ")
    print(f"next after 1: 1 + {kind.eps:.0e}")

images, texts = (side.float() for side in encode(learner, *batch))
sharp = torch.tensor(math.log(100))
exact = info_nce(images, texts, sharp)
for dtype in (torch.bfloat16, torch.float16):
    rounded = info_nce(images.to(dtype), texts.to(dtype), sharp.to(dtype))
    print(f"loss {exact:.4f}; all in {dtype}: {rounded.float():.4f}")

# %% [markdown]
# Near 30 (a cosine of 0.3 times 100), neighbouring bfloat16 numbers are 0.125 apart: of two captions
# with cosines of 0.3 and 0.3005, neither is better. The lab turns vectors into float32 before they meet
# (`_float32` in `clip_lab/training/towers.py`).
#
# ## Explain
#
# “We have 8 GPUs with 64 pairs each, so our batch is 512,” says a colleague. Answer in three or four
# sentences.

# %%
# <solution: words = ...>
words = """
    Only if the vectors are gathered before the loss, else it is 8 batches of
    64. And the gathered ones need gradients if the loss is local; I would
    compare the gradient with that of one process on a tiny batch.
"""
# </solution>
explain("eight times 64", words)

# %% [markdown]
# ## Exercises
#
# **★ Will it fit?** Weights, their gradients and two averages, 4 bytes each; what the layers keep for
# the pairs of the largest piece; and the matrix of the whole batch with its gradient, in float32.

# %%
def training_bytes(
    weights: int, per_pair: int, batch: int, pieces: int = 1
) -> int:
    """Bytes of a training; `per_pair`: what the layers keep for one pair."""
    # <solution>
    largest = math.ceil(batch / pieces)
    return 16 * weights + per_pair * largest + 8 * batch**2
    # </solution>


check("training_bytes", training_bytes)

# %%
for pieces in (1, 16, 256):  # the text tower comes on top
    size = training_bytes(
        weights["ViT-L-14"], per_picture["ViT-L-14"], 4096, pieces
    )
    print(f"ViT-L-14, a batch of 4,096 in {pieces:3}: {size / 1e9:,.0f} GB")

# %% [markdown]
# **★★ The way back of the gather.** What lightly's gather lacked. `slopes[r]` is the gradient that
# process r's loss has for *all* gathered rows. `counts` says how many rows each process gave. What
# belongs to the rows of process `rank`?

# %%
def gather_backward(
    slopes: list[Float[Tensor, "all d"]], counts: list[int], rank: int
) -> Float[Tensor, "own d"]:
    """The gradient of the summed losses for the rows that `rank` gave."""
    # <solution>
    first = sum(counts[:rank])
    everyones = torch.stack(slopes).sum(dim=0)
    return everyones[first : first + counts[rank]]
    # </solution>


check("gather_backward", gather_backward)

# %% [markdown]
# **★★★ No matrix at all.** At 32,768 the matrix has a billion entries. A row's loss needs only its
# log Σ exp and one cosine. Gather the first tile by tile, at most `tile` captions at a time, and let
# nothing overflow at a scale of 100. (With its gradient: `tiled_info_nce` in `clip_lab/losses.py`,
# after [Inf-CL](https://arxiv.org/abs/2410.17243).)

# %%
def streamed_rows(
    images: Float[Tensor, "n d"],
    texts: Float[Tensor, "n d"],
    logit_scale: Float[Tensor, ""],
    tile: int,
) -> Float[Tensor, ""]:
    """The mean loss of the rows: picture i among all captions."""
    # <solution>
    so_far = torch.full_like(images[:, 0], -math.inf)
    for some in texts.split(tile):
        logits = logit_scale.exp() * images @ some.T
        so_far = torch.logaddexp(so_far, logits.logsumexp(dim=1))
    own = logit_scale.exp() * (images * texts).sum(dim=1)
    return (so_far - own).mean()
    # </solution>


check("streamed_rows", streamed_rows)

# %% [markdown]
# ## Read on
#
# * [The CLIP paper](https://arxiv.org/abs/2103.00020), section 2.5: how many GPUs, how many days,
#   and which savings.
# * Gao et al., [Scaling Deep Contrastive Learning Batch Size under Memory Limited
#   Setup](https://arxiv.org/abs/2101.06983), section 3: the two passes.
# * Cherti et al., [Reproducible scaling laws](https://arxiv.org/abs/2212.07143): what more data,
#   model and compute brought open_clip.
# * `clip_lab/training/gradients.py`, `distributed.py`; `tests/ddp_worker.py` compares real processes
#   with one.
