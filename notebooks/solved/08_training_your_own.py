# %% [markdown]
# # Training your own
#
# Two towers and a loss are no model yet. Between them and a CLIP lies the training: which pairs,
# how fast, for how long, measured how. It is a dozen lines, and most of what goes wrong in them
# raises no error.
#
# Afterwards you can
#
# * write a training step of CLIP, and say what each line is for;
# * warm a learning rate up and let it fall, and say which weights may decay;
# * stop a run and go on with it as if nothing had happened;
# * tell learning from memorising, with a test that nothing leaked into;
# * say why float16 weights and Adam give `nan` after one step.
#
# You need chapters 3 to 7: both towers, and InfoNCE.

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
from clip_lab.losses import info_nce
from clip_lab.model import CLIP, CLIPConfig, TextConfig, ViTConfig
from clip_lab.pretrained import steps as kept_steps
from clip_lab.training import schedule
from clip_lab.view.chapters import training as figures
from clip_lab.view.widgets.scrubber import ScrubberWidget

torch.manual_seed(0)
torch.set_num_threads(1)  # small models gain nothing from more

# %% [markdown]
# ## Pairs, and pairs that nobody trains on
#
# The lab's shapes are drawn on the fly: endless pictures, each with a caption. 44 combinations of
# shape, colour and size are never drawn for training, in any batch. They are the test: each picture
# of such a thing has to find its caption among the 44. Nothing can be remembered there.

# %%
shapes = clip_lab.load("shapes")  # the built-in model; its tokenizer is used
drawn = ShapesPairs(batch_size=512, size=32, seed=8, kinds={"single": 1.0})
batches = [drawn.batch(number) for number in range(8)]
pictures = torch.cat([batch.images for batch in batches])
captions = [text for batch in batches for text in batch.captions]
test = shapes_test(copies=4, size=32)

seen = [picture.permute(1, 2, 0).numpy() for picture in pictures[:8]]
print(f"{len(captions):,} pairs to train on;", end=" ")
print(f"to test: {len(test.pictures)} pictures of {len(test.captions)} things")
figures.show(figures.contact_sheet(seen, captions[:8], columns=4))

# %% [markdown]
# ## Predict
#
# The built-in model started from nothing and saw 3,000 batches of 256 pairs, these and harder ones.

# %%
# <solution: guess = ...>
guess = 1000
# </solution>
half_guess = predict_number(
    "At which step did it first get half of the test right?",
    guess,
    low=0,
    high=3000,
)
half_guess

# %%
curve = shapes.card["curve"]  # what the run wrote down
held_out = [
    (line["step"], line["held_out_top1"])
    for line in curve
    if "held_out_top1" in line
]
half = next(step for step, share in held_out if share > 0.5)
figures.show(
    figures.learnt(
        held_out, chance=1 / 44, half=half, predicted=half_guess.value
    ),
    half_guess.measured(f"step {half}, measured every 100 steps"),
)

# %% [markdown]
# ## Play
#
# The weights of some of its steps come with the lab. Move through them (or press Play), and look at
# eight of the test's pairs.
#
# * The loss begins near ln 256 = 5.55. What is the first thing that the model gets right: colour,
#   shape or size? Look at which wrong captions it likes.
# * When half of the test is right, how much of the loss's way is still to go? What may it be
#   learning then? (The batches also hold pairs, counts and written words.)
# * The scale stands still at first, then grows. Why does a model that knows little want a flat
#   softmax?

# %%
kept = kept_steps("shapes")
moments = {step: clip_lab.load(f"shapes@{step}") for step in kept}
moments[3000] = shapes
some = range(1, 44, 6)  # eight of the 44 things
eight = test.pictures[[4 * thing for thing in some]]
names = [test.captions[thing] for thing in some]


def found(encoder) -> float:
    """The share of the test's pictures that find their caption."""
    rows = encoder.encode_images(test.pictures)
    best = (rows @ encoder.encode_texts(test.captions).T).argmax(dim=1)
    return (best == test.targets).float().mean().item()


matrices = torch.stack(
    [m.encode_images(eight) @ m.encode_texts(names).T for m in moments.values()]
)
curves = {
    key: [(line["step"], line[key]) for line in curve if key in line]
    for key in ("loss", "scale")
}
curves["accuracy"] = [(step, found(m)) for step, m in moments.items()]
eight_seen = [picture.permute(1, 2, 0).numpy() for picture in eight]
ScrubberWidget(
    list(moments), matrices.numpy(), eight_seen, names, curves, chance=1 / 44
)

# %% [markdown]
# ## Build: how fast
#
# The first steps are taken by a model that knows nothing, with Adam's averages still empty; the
# last ones should settle. So the learning rate is a product of three: its peak, a **ramp**, and a
# **half cosine**. With a warm-up of w steps, the ramp is 1/w at step 0, 2/w at step 1, and stays 1
# from step w − 1 on. The half cosine falls from 1 at step 0, and would reach 0 at the step after
# the last.

# %%
def warmup_cosine(peak: float, warmup: int, step: int, steps: int) -> float:
    """The learning rate of step 0, 1, ..., steps - 1."""
    # <solution>
    climbed = min(1.0, (step + 1) / warmup)
    return peak * climbed * (math.cos(math.pi * step / steps) + 1) / 2
    # </solution>


check("warmup_cosine", warmup_cosine)

# %%
steps = 3000
ours = [warmup_cosine(5e-3, 200, step, steps) for step in range(steps)]
lab = [
    schedule.learning_rate(5e-3, 200, step, step / steps)
    for step in range(steps)
]
gap = max(abs(a - b) for a, b in zip(ours, lab, strict=True))
print(f"Largest difference to the lab's: {gap:.1g}")
figures.show(figures.rates({"of the run above": ours}))

# %% [markdown]
# ## Build: what may decay
#
# Apart from the gradient, AdamW shrinks weights by lr · decay of themselves in each step. For
# matrices that is a brake on needless growth. A LayerNorm's gain is different: it starts at 1, and
# pulled to 0 it would switch its channel off. The paper spares “gains or biases” (section 2.5). So
# is the temperature spared, here and in open_clip. All of these are tensors of fewer than two
# dimensions.

# %%
def decay_groups(
    model: nn.Module,
) -> tuple[list[nn.Parameter], list[nn.Parameter]]:
    """The parameters that may decay, and those that may not."""
    # <solution>
    matrices = [p for p in model.parameters() if p.ndim > 1]
    return matrices, [p for p in model.parameters() if p.ndim < 2]
    # </solution>


check("decay_groups", decay_groups)

# %%
decaying, spared = decay_groups(shapes.model)
theirs = schedule.adamw(shapes.model, lr=1e-3, weight_decay=0.1).param_groups
same = {id(p) for g in theirs if g["weight_decay"] for p in g["params"]}
print("The lab's choice:", same == {id(p) for p in decaying})
print(f"{sum(p.numel() for p in decaying):,} weights decay,", end=" ")
print(f"{sum(p.numel() for p in spared):,} don't")
left = math.prod(1 - rate * 0.1 for rate in ours)
print(f"Decay alone would leave {left:.0%} of a gain in those 3,000 steps.")

# %% [markdown]
# The temperature is learned as a logarithm, ln(1/τ). AdamW moves a number by about the learning
# rate in a step, whatever its size. From ln 14.3 to ln 100 that is 2 in the logarithm, some 390
# steps at 0.005; from 14.3 to 100 itself, 17,000.
#
# ## Build: a step
#
# Vectors of both towers, scaled to length 1; the symmetric loss; old gradients away, new ones in, a
# step of the optimiser. Then, as the paper found necessary, the *parameter* is brought back into
# [0, ln 100]. OpenAI's published code leaves this out, since it doesn't train
# ([openai/CLIP#46](https://github.com/openai/CLIP/issues/46)): who copies it has to add it.
#
# (Two pictures of a batch may have the same caption. Here they count as wrong for each other; the
# lab's own loop lets both be right, as chapter 7's last exercise does.)

# %%
def training_step(
    model,
    adamw: torch.optim.Optimizer,
    pictures: Float[Tensor, "n 3 size size"],
    tokens: Int[Tensor, "n context"],
) -> float:
    """Learn from one batch; gives its loss, as it was before the step."""
    # <solution>
    seen_vectors = F.normalize(model.encode_image(pictures), dim=-1)
    read_vectors = F.normalize(model.encode_text(tokens), dim=-1)
    surprise = info_nce(seen_vectors, read_vectors, model.logit_scale)
    adamw.zero_grad()
    surprise.backward()
    adamw.step()
    model.logit_scale.data.clamp_(0, math.log(100))
    return surprise.item()
    # </solution>


check("training_step", training_step)

# %% [markdown]
# ## Three runs
#
# Now a CLIP of your own: a small ViT (chapter 3) and a small text transformer (chapter 5), 240
# steps of 64 pairs, three times.
#
# * **4,096 pairs**: all of them, in random order.
# * **128 pairs**: the same number of steps, but always from the first 128 pairs.
# * **no warm-up**: all pairs, full speed from the first step.

# %%
# <solution: guess = ...>
guess = "b"
# </solution>
lowest_guess = predict_choice(
    "Which run ends with the LOWEST loss on its own batches?",
    guess,
    {"a": "4,096 pairs", "b": "128 pairs", "c": "no warm-up"},
)
lowest_guess


# %%
def new_model() -> CLIP:
    """Two small towers with the same weights each time."""
    torch.manual_seed(0)
    vision = ViTConfig(32, patch_size=8, width=96, layers=1, head_width=32)
    words = shapes.tokenizer
    text = TextConfig(len(words), 32, 64, 1, words.end, head_width=32)
    return CLIP(CLIPConfig(64, vision, text, "gelu"))


def new_adamw(model: CLIP) -> torch.optim.AdamW:
    decaying, spared = decay_groups(model)
    groups = [{"params": decaying, "weight_decay": 0.1}]
    groups += [{"params": spared, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, betas=(0.9, 0.98), eps=1e-6)


scaled = shapes.preprocess.normalize(pictures)
tokens = shapes.tokenizer(captions)
test_scaled = shapes.preprocess.normalize(test.pictures)
test_tokens = shapes.tokenizer(test.captions)


def batch(step: int, of: int) -> tuple[Tensor, Tensor]:
    """64 of the first `of` pairs, the same whenever step is asked for."""
    dice = torch.Generator().manual_seed(step)
    chosen = torch.randperm(of, generator=dice)[:64]
    return scaled[chosen], tokens[chosen]


@torch.no_grad()
def tested(model: CLIP) -> float:
    rows = F.normalize(model.encode_image(test_scaled), dim=-1)
    columns = F.normalize(model.encode_text(test_tokens), dim=-1)
    right = (rows @ columns.T).argmax(dim=1) == test.targets
    return right.float().mean().item()


def go_on(model, adamw, first, last, of=4096, warmup=50, behind=0) -> list:
    """Steps first, ..., last - 1 of a run of 240: the loss of each."""
    losses = []
    for step in range(first, last):
        for group in adamw.param_groups:
            group["lr"] = warmup_cosine(3e-3, warmup, step - behind, 240)
        losses.append(training_step(model, adamw, *batch(step, of)))
    return losses


settings = {
    "4,096 pairs": {},
    "128 pairs": {"of": 128},
    "no warm-up": {"warmup": 1},
}
losses, accuracy, models = {}, {}, {}
for name, setting in settings.items():
    model = new_model()
    adamw = new_adamw(model)
    losses[name], accuracy[name] = [], [(0, tested(model))]
    for done in range(20, 241, 20):
        part = go_on(model, adamw, done - 20, done, **setting)
        losses[name].append((done, sum(part) / 20))
        accuracy[name].append((done, tested(model)))
    models[name] = model

print(f"{sum(p.numel() for p in model.parameters()):,} weights each")
for name, model in models.items():
    with torch.no_grad():
        rows = F.normalize(model.encode_image(test_scaled), dim=-1)
    alike = (rows @ rows.T).mean()
    print(f"{name:12} mean cosine between two pictures {alike:.3f}")
last = [f"{name}: {points[-1][1]:.2f}" for name, points in losses.items()]
figures.show(
    figures.runs(losses, accuracy, nothing=math.log(64), chance=1 / 44),
    lowest_guess.measured("; ".join(last)),
    *map(verdict, ["data_size", "noisy_captions", "locked_tower"]),
)

# %% [markdown]
# **A misconception: “the loss falls, so it learns.”** On 128 pairs the loss falls to nearly
# nothing: so many weights can learn 128 pairs by heart. On the test, the model that recites them
# stays near chance; the one whose loss is hundreds of times higher is far better. Only pairs that
# were kept back tell memory from knowledge.
#
# Without warm-up the loss ends at ln 64, that of a model which knows nothing. The first large steps
# have driven all vectors of a tower together (see the cosines), and from there hardly a gradient
# leads out. If *your* loss stands at the logarithm of your batch, look there first.
#
# **More pairs, or better ones?** The notes tell of longer measurements: ever more pairs; captions
# most of which are wrong; and a good image tower that is *locked* while a text tower learns to match
# it ([LiT](https://arxiv.org/abs/2111.07991)). Pairs help until something else limits, here the
# length of the training. Wrong captions are not free, at least not at this size. And whoever has a
# good image tower needs far fewer captions.
#
# ## Build: stop and go on
#
# Runs get interrupted. To go on *exactly*, the weights aren't enough: AdamW keeps two averages for
# each weight, and the schedule needs the step. (So does the order of the pairs: above, `batch`
# makes it from the step.) In [the_well#77](https://github.com/PolymathicAI/the_well/issues/77) the
# schedule's state had been forgotten, and resumed runs went another way.

# %%
def checkpoint(model: nn.Module, adamw: torch.optim.Optimizer, step: int):
    """All that going on needs, under "model", "optimizer" and "step".

    It stays as it is while the training goes on.
    """
    # <solution>
    now = {"model": model.state_dict(), "optimizer": adamw.state_dict()}
    return copy.deepcopy(now) | {"step": step}
    # </solution>


check("checkpoint", checkpoint)

# %% [markdown]
# Thirty steps without a break, against a stop after 20: with all of it, without Adam's averages,
# without the step.

# %%
model = new_model()
adamw = new_adamw(model)
go_on(model, adamw, 0, 20)
stopped = checkpoint(model, adamw, 20)
unbroken = go_on(model, adamw, 20, 30)


def resumed(averages: bool = True, behind: int = 0) -> float:
    """How far the loss of the 30th step is from the unbroken run's."""
    model = new_model()
    adamw, state = new_adamw(model), copy.deepcopy(stopped)
    model.load_state_dict(state["model"])
    if averages:
        adamw.load_state_dict(state["optimizer"])
    step = state["step"]
    losses = go_on(model, adamw, step, step + 10, behind=behind)
    return abs(losses[-1] - unbroken[-1])


apart = {
    "all of it": resumed(),
    "without the averages": resumed(averages=False),
    "without the step": resumed(behind=20),
}
for name, difference in apart.items():
    print(f"{name:22} {difference:.6f} nats from the unbroken run")

# %% [markdown]
# ## Break it
#
# OpenAI's weights come in float16 on a GPU. Who trains them with Adam, as they are, has `nan`
# everywhere after **one** step ([openai/CLIP#40](https://github.com/openai/CLIP/issues/40),
# [#57](https://github.com/openai/CLIP/issues/57)). Adam divides by √v + ε, where v is an average of
# squared gradients and ε = 10⁻⁸ keeps it from dividing by 0. Take your first model, and do the
# same.

# %%
# <solution: guess = ...>
guess = 10
# </solution>
lost_guess = predict_number(
    "What percentage of its weights is nan or infinite after one step?",
    guess,
    low=0,
    high=100,
)
lost_guess

# %%
def after_one_step(dtype, autocast=False, **options) -> Tensor:
    """How far each weight has moved."""
    model = copy.deepcopy(models["4,096 pairs"]).to(dtype)
    before = nn.utils.parameters_to_vector(model.parameters()).detach().clone()
    adam = torch.optim.Adam(model.parameters(), lr=1e-5, **options)
    seen, read = batch(500, 4096)
    with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
        training_step(model, adam, seen.to(dtype), read)
    after = nn.utils.parameters_to_vector(model.parameters()).detach()
    return (after - before).float()


moves = {
    "float16, ε = 1e-8": after_one_step(torch.float16),
    "float16, ε = 1e-4": after_one_step(torch.float16, eps=1e-4),
    "float32": after_one_step(torch.float32),
    "float32 weights, bfloat16 products": after_one_step(
        torch.float32, autocast=True
    ),
}
for name, move in moves.items():
    gone = (~move.isfinite()).float().mean()
    still = (move == 0).float().mean()
    print(f"{name:35} lost {gone:5.1%}, stood still {still:5.1%}")

# %%
model = copy.deepcopy(models["4,096 pairs"])
idle = torch.optim.SGD(model.parameters(), lr=0.0)
training_step(model, idle, *batch(500, 4096))  # leaves the gradients
gradients = torch.cat([p.grad.flatten() for p in model.parameters()])
smallest = 2.0**-24  # below half of it, float16 has 0
squares = math.sqrt(smallest / 2 / 0.001)  # Adam: v = 0.001 · g² at first
gone = (~moves["float16, ε = 1e-8"].isfinite()).float().mean()
figures.show(
    figures.gradient_sizes(gradients.numpy(), smallest, squares),
    lost_guess.measured(f"{gone:.0%}"),
)

# %% [markdown]
# Float16 has no number as small as 10⁻⁸: ε *is* 0. Nor has it one for the squares of most
# gradients, so v is 0 too. Where the gradient isn't 0, the step is infinite; where it is 0 (as for
# all tokens that this batch doesn't contain), 0/0 is `nan`. The same hole was found in Optax, JAX's
# library of optimisers ([optax#1755](https://github.com/google-deepmind/optax/pull/1755)).
#
# A larger ε, a common remedy, gives numbers again, but nearly twice as many weights stand still as
# in float32: their step is too small to change a float16. The sound way is the last line: weights
# and averages in float32, only products of matrices in 16 bits (“mixed precision”, section 2.5 of
# the paper). bfloat16 has float32's range. With float16, one also multiplies the loss before going
# back and divides the gradients afterwards, so that small ones don't become 0
# (`clip_lab/training/precision.py`).
#
# ## Explain
#
# A friend has trained on 500 pairs of their own. “The loss is at 0.01, down from 5. Can I publish?”
# Answer in three or four sentences.

# %%
# <solution: words = ...>
words = """
    A loss of 0.01 on 500 pairs says that the model can recite them. I would
    ask for pairs that were never trained on and share no caption or picture
    with the rest, and for accuracy there beside chance, with its interval.
"""
# </solution>
explain("five hundred pairs", words)

# %% [markdown]
# ## Exercises
#
# **★ A split that doesn't leak.** In a set of medical scans, different volumes had the very same
# report; split by scan, reports of the test had been trained on
# ([M3D#67](https://github.com/BAAI-DCAI/M3D/issues/67)). Split by caption: whatever shares one goes
# to one side.

# %%
def split_by_caption(
    captions: list[str], share: float, seed: int = 0
) -> tuple[list[int], list[int]]:
    """Places of the pairs to train on, and of the test's: a `share` of the
    different captions, drawn at random, with all pairs that have them."""
    # <solution>
    different = sorted(set(captions))
    dice = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(different), generator=dice).tolist()
    kept = {different[k] for k in order[: round(share * len(different))]}
    places = range(len(captions))
    to_train = [k for k in places if captions[k] not in kept]
    return to_train, [k for k in places if captions[k] in kept]
    # </solution>


check("split_by_caption", split_by_caption)

# %%
known, tenth = set(captions[:3686]), captions[3686:]
leaked = sum(text in known for text in tenth) / len(tenth)
print(f"The last tenth of the pairs: {leaked:.0%} have a caption of the rest.")

# %% [markdown]
# **★★ Never too far.** One odd batch can throw a model off. The lab cuts the gradient of *all*
# weights together to a length of at most 1: shorter, in the same direction.

# %%
def clip_gradients(model: nn.Module, longest: float) -> float:
    """Cut all gradients together to a length of `longest` at most, in place;
    gives the length that they had."""
    # <solution>
    slopes = [p.grad for p in model.parameters() if p.grad is not None]
    reached = math.sqrt(sum(s.square().sum().item() for s in slopes))
    for slope in slopes:
        slope.mul_(min(1.0, longest / (reached + 1e-12)))
    return reached
    # </solution>


check("clip_gradients", clip_gradients)

# %% [markdown]
# **★★★ AdamW by hand.** One step for one tensor: both averages, their correction for having started
# at 0 (step counts from 1), the division, and decay *apart* from the gradient: lr · decay of the
# old weight. (Algorithm 2 of [Loshchilov and Hutter](https://arxiv.org/abs/1711.05101); ε stands
# outside of the root.)

# %%
def adamw_step(
    weight: Tensor,
    gradient: Tensor,
    mean: Tensor,
    square: Tensor,
    step: int,
    lr: float,
    decay: float,
    betas: tuple[float, float] = (0.9, 0.98),
    eps: float = 1e-6,
) -> tuple[Tensor, Tensor, Tensor]:
    """The new weight, and the new averages of gradient and square."""
    # <solution>
    mean = betas[0] * mean + (1 - betas[0]) * gradient
    square = betas[1] * square + (1 - betas[1]) * gradient**2
    unbiased = mean / (1 - betas[0] ** step)
    spread = (square / (1 - betas[1] ** step)).sqrt()
    shrunk = weight * (1 - lr * decay)
    return shrunk - lr * unbiased / (spread + eps), mean, square
    # </solution>


check("adamw_step", adamw_step)

# %% [markdown]
# ## What to read
#
# * [The CLIP paper](https://arxiv.org/abs/2103.00020), section 2.5 and table 18: optimiser,
#   schedule, a batch of 32,768, the clamp, mixed precision.
# * [Micikevicius et al.](https://arxiv.org/abs/1710.03740): mixed precision, and why weights are
#   kept in 32 bits.
# * `clip_lab/training/loop.py`, `schedule.py`, `checkpoint.py`: this chapter, made safe to stop.
# * `clip-lab train --data shapes --minutes 2` trains one on your machine; `--help` says the rest.
