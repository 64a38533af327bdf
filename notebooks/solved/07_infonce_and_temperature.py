# %% [markdown]
# # InfoNCE and temperature
#
# The similarity matrix is a quiz: which caption goes with which picture? This chapter turns it into
# the loss that trained CLIP, a dozen lines in all, and takes apart the one number in it that
# everybody mixes up: the temperature.
#
# Afterwards you can
#
# * write the loss of CLIP from memory, and say what each line is for;
# * set a temperature, knowing which way it works, and say what a share is not;
# * work out by hand which cells of the matrix push, and how hard;
# * say why the scale is learned, and why it is clamped at 100;
# * recognise three mistakes that real projects made here.
#
# You need the last chapter's matrix, Python, a little PyTorch, and about an hour.
# `hint("name of the exercise", 1)` helps in three steps.

# %%
import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

import clip_lab
from clip_lab.course import check, explain, hint
from clip_lab.course import predict_choice, verdict
from clip_lab.data.emoji import emoji_test
from clip_lab.experiments.report import results
from clip_lab.view.chapters import info_nce as figures
from clip_lab.view.widgets import MatrixWidget

torch.manual_seed(0)
torch.set_num_threads(1)  # small models gain nothing from more

# %% [markdown]
# ## The matrix again
#
# Eight pictures, eight captions, and the model of the last chapter. From here on the lab's encoder
# does what you built there: it returns vectors of length 1, so a product is a matrix of cosines.

# %%
encoder = clip_lab.load("emoji")
emoji = emoji_test("noto", split="seen")
names = [emoji.labels[target] for target in emoji.targets]

captions = ["cat face", "dog face", "red apple", "green apple"]
captions += ["airplane", "sailboat", "violin", "snowman"]
pictures = [emoji.pictures[names.index(caption)] for caption in captions]
thumbnails = [picture.permute(1, 2, 0).numpy() for picture in pictures]
of_captions = encoder.encode_texts(captions)
matrix = encoder.encode_images(pictures) @ of_captions.T
figures.show(figures.contact_sheet(thumbnails, captions, columns=8))

# %% [markdown]
# ## Temperature
#
# A softmax turns a row of the matrix into shares: which caption fits this picture? Cosines are at
# most 2 apart, too little for a decided softmax, so CLIP first divides them by a temperature τ:
#
# $$ p(\text{caption } j \mid \text{picture } i) =
# \frac{\exp(c_{ij} / \tau)}{\sum_k \exp(c_{ik} / \tau)} $$

# %%
# <solution: guess = ...>
guess = "a"
# </solution>
sharper_guess = predict_choice(
    "τ goes down from 0.07 to 0.01. The largest share in a row ...",
    guess,
    {"a": "grows", "b": "shrinks", "c": "stays as it is"},
)
sharper_guess

# %% [markdown]
# ## Build: shares
#
# One question a row, so the shares of each row sum to 1.

# %%
def probabilities(
    cosines: Float[Tensor, "n m"], tau: float
) -> Float[Tensor, "n m"]:
    """Each picture's shares of the captions at temperature τ."""
    # <solution>
    return (cosines / tau).softmax(dim=-1)
    # </solution>


check("probabilities", probabilities)

# %%
tau_learned = 1 / encoder.scale


def largest_share(tau: float) -> float:
    return probabilities(matrix, tau).amax(dim=1).mean().item()


taus = torch.logspace(-2, 0, 41).tolist()
largest = [largest_share(tau) for tau in taus]
start, lowest = largest_share(0.07), largest_share(0.01)
result = f"{start:.0%} at τ = 0.07, {lowest:.0%} at τ = 0.01."
curve = figures.share_by_tau(taus, largest, tau_learned, len(captions))
figures.show(curve, sharper_guess.measured(result))

# %% [markdown]
# High temperature, flat; low temperature, sharp. One of the notes that this lab started from says
# the reverse, because it calls another number the temperature. There are three:
#
# | name | where it starts | what it does |
# |---|---|---|
# | τ, the temperature | 0.07 | divides the cosines |
# | scale, 1/τ | 14.3 | multiplies the cosines |
# | `logit_scale`, ln(1/τ) | 2.66 | the parameter that is *learned* |
#
# The temperature belongs to inference too. Someone who rebuilt a photo search left it out, and
# every share came out close to 1/n
# ([Queryable#30](https://github.com/mazzzystar/Queryable/issues/30)). Look at the curve's right
# end: that is τ = 1.
#
# ## A misconception
#
# **“The share is the probability that the thing is there.”** Ask about the cat with captions that
# are all wrong:

# %%
absent = ["a bicycle", "a mountain", "a hammer"]
row = encoder.encode_images(pictures[:1]) @ encoder.encode_texts(absent).T
shares = probabilities(row, tau_learned)[0]
for caption, share in zip(absent, shares, strict=True):
    print(f"{share:6.1%}  {caption}")

# %% [markdown]
# They sum to 100 % because a softmax always does. It compares captions with each other; it can't
# say “none of these”. Whoever needs that has to look at the cosines, or add captions for the rest.
#
# ## Build: the loss
#
# InfoNCE asks in two directions. Each picture picks its caption among the N of the batch (the rows
# of the matrix), each caption picks its picture (the columns). The right answers lie on the
# diagonal, and the loss is the mean surprise, −log of the right answer's share:
#
# $$ L = \frac{1}{2N} \sum_{i=1}^{N} \left[ -\log\, p(\text{caption } i \mid \text{picture } i)
# - \log\, p(\text{picture } i \mid \text{caption } i) \right] $$
#
# (Figure 3 of [the paper](https://arxiv.org/abs/2103.00020) is this, encoders and all, in nine lines
# like NumPy's.) `F.cross_entropy(logits, targets)` does one direction.

# %%
def info_nce(
    image_vectors: Float[Tensor, "n d"],
    text_vectors: Float[Tensor, "n d"],
    logit_scale: Float[Tensor, ""],
) -> Float[Tensor, ""]:
    """Symmetric InfoNCE of rows of length 1; `logit_scale` is ln(1/τ)."""
    # <solution>
    logits = logit_scale.exp() * image_vectors @ text_vectors.T
    targets = torch.arange(len(logits))
    rows = F.cross_entropy(logits, targets)
    columns = F.cross_entropy(logits.T, targets)
    return (rows + columns) / 2
    # </solution>


check("info_nce", info_nce)

# %% [markdown]
# Yours against the lab's, and against a model that knows nothing, for which every answer has the
# share 1/N. So ln N is where every training starts, and a loss without its N says little.

# %%
some = torch.randperm(len(names))[:512]
image_vectors = encoder.encode_images(emoji.pictures[some])
text_vectors = encoder.encode_texts([names[k] for k in some])
learned = torch.tensor(math.log(encoder.scale))
nothing = F.normalize(torch.randn_like(image_vectors), dim=-1)
losses = {
    "yours": info_nce(image_vectors, text_vectors, learned),
    "the lab's": clip_lab.losses.info_nce(image_vectors, text_vectors, learned),
    "random vectors, τ = 1": info_nce(nothing, text_vectors, torch.tensor(0.0)),
    "ln 512": math.log(512),
}
for name, loss in losses.items():
    print(f"{name:22} {loss:.4f} nats")

# %% [markdown]
# ## Build: what pushes
#
# Training follows the gradient. Work out on paper how fast the loss grows with each *cosine*, all
# N² of them, and write it without autograd. Start with one row: the derivative of −log softmax is a
# sentence that you can say aloud.

# %%
def loss_gradient(
    cosines: Float[Tensor, "n n"], logit_scale: Float[Tensor, ""]
) -> Float[Tensor, "n n"]:
    """How fast the symmetric InfoNCE loss grows with each cosine."""
    # <solution>
    scale, n = logit_scale.exp(), len(cosines)
    surplus_rows = (scale * cosines).softmax(dim=1) - torch.eye(n)
    surplus_columns = (scale * cosines).softmax(dim=0) - torch.eye(n)
    return scale * (surplus_rows + surplus_columns) / (2 * n)
    # </solution>


check("loss_gradient", loss_gradient)

# %%
# <solution: guess = ...>
guess = "c"
# </solution>
push_guess = predict_choice(
    "τ falls from 0.5 to 0.02. Of all the push on a picture's wrong captions, "
    "the hardest one's part ...",
    guess,
    {"a": "stays 1/7", "b": "falls", "c": "grows to more than half"},
)
push_guess


# %%
def by_autograd(cosines: Tensor, logit_scale: Tensor) -> Tensor:
    """The same gradient, from the lab's loss; identity for text vectors."""
    cosines = cosines.clone().requires_grad_()
    loss = clip_lab.losses.info_nce(cosines, torch.eye(8), logit_scale)
    return torch.autograd.grad(loss, cosines)[0]


wrong = ~torch.eye(8, dtype=torch.bool)
pushes, hardest = {}, {}
for tau in (0.5, 0.07, 0.02):
    log_scale = torch.tensor(math.log(1 / tau))
    pushes[tau] = loss_gradient(matrix, log_scale)
    torch.testing.assert_close(pushes[tau], by_autograd(matrix, log_scale))
    others = probabilities(matrix.masked_fill(~wrong, -torch.inf), tau)
    hardest[tau] = others.amax(dim=1).mean().item()
told = ", ".join(f"{part:.0%} at τ = {tau}" for tau, part in hardest.items())
figures.show(figures.pushes(pushes, captions), push_guess.measured(told))

# %% [markdown]
# Blue cells are pulled up, red ones pushed down. A match is pulled by what its share lacks; a wrong
# pair is pushed by the share that it took, and no more. Over the whole matrix, push and pull cancel
# out. At a high τ the push is spread over all wrong captions. At a low one nearly all of it goes to
# the **hard negatives**, cat and dog, one apple and the other, and the snowman is left in peace. So
# τ is not only a matter of display: it decides what training works on.
#
# ## Play
#
# Move τ, switch between rows and columns, walk over the cells with the mouse or the arrow keys.
#
# * At which τ is the loss of these eight pairs smallest? Why did the model, which plays against
#   hundreds of wrong captions at a time, learn another?
# * Find a cell off the diagonal that stays visible for long as τ falls. Why that one?
# * Is “softmax over captions” the same as “softmax over pictures”? Find a row in which it isn't.

# %%
MatrixWidget(
    matrix.numpy(), thumbnails, captions, tau=tau_learned, show="captions"
)

# %% [markdown]
# ## A temperature that is learned
#
# Which τ is best? CLIP lets the gradient say: `logit_scale` is a parameter like any other. Its
# logarithm keeps the scale positive, and equal steps change it by equal factors. What came of it
# when the lab trained one small model with six fixed temperatures, and once with a learned one:

# %%
published = results()


measured = published["temperature"].measured
figures.show(
    figures.learned_temperature(
        measured["steps"][0],
        measured["temperature_along"],
        measured["fixed"][0],
        measured["fixed_accuracy"],
        measured["learned_temperature"],
        measured["learned_accuracy"],
        chance=1 / 44,
    ),
    verdict("temperature"),
)

# %% [markdown]
# Learning τ saves a search, and that is all that it does here. It has no natural end, though. Once
# every match leads its row and its column, a larger scale always lowers the loss:

# %%
for tau in (0.2, 0.07, 0.04):
    log_scale = torch.tensor(math.log(1 / tau), requires_grad=True)
    loss = info_nce(torch.eye(8) * 0.5, torch.eye(8), log_scale)
    (slope,) = torch.autograd.grad(loss, log_scale)
    print(f"τ = {tau:4}: loss {loss:.1e}, its slope by logit_scale {slope:.1e}")

# %% [markdown]
# The slope is never positive; it only fades. At a scale of 1,000 one wrong label, half a cosine
# behind, costs 500 nats. CLIP's authors found it necessary, for stability, to keep the scale at 100
# or below (paper, 2.5), so that τ never falls below 0.01. Commonly the parameter is clamped to ln 100
# after each step. The clamp isn't in OpenAI's published model, which holds no training code
# ([openai/CLIP#46](https://github.com/openai/CLIP/issues/46)); whoever fine-tunes has to put it
# back. In the lab it is one line of `clip_lab/training/loop.py`.
#
# ## How many wrong answers?
#
# A larger batch makes a harder quiz, of more negatives. CLIP used 32,768 pairs. Do large batches
# help? In this miniature, with as many pairs seen, they hurt: they make fewer steps. The negatives
# themselves help:

# %%
verdict("batch_size")

# %% [markdown]
# ## Break it
#
# Three losses for the same small model: two linear maps, one from pixels and one from the letters
# of the names, trained for 300 steps on 1,536 pairs.
#
# 1. **Pull only**: the squared distance of matching vectors. Why bother with wrong answers?
# 2. **InfoNCE**, as you wrote it.
# 3. **InfoNCE without the exponential**: `logit_scale` times the cosines. A published medical model
#    was trained like this; told of it, its authors agreed that `exp` belongs there, and expected
#    little practical difference ([M3D#52](https://github.com/BAAI-DCAI/M3D/issues/52)).

# %%
# <solution: guess = ...>
guess = "b"
# </solution>
diagonal_guess = predict_choice(
    "Which loss ends with the HIGHEST cosines on the diagonal?",
    guess,
    {"a": "pull only", "b": "InfoNCE", "c": "InfoNCE without exp"},
)
diagonal_guess

# %%
def letters(name: str, width: int = 512) -> Tensor:
    """How often each three letters in a row occur, in `width` places."""
    counts = torch.zeros(width)
    for a, b, c in zip(name, name[1:], name[2:], strict=False):
        counts[(ord(a) * 961 + ord(b) * 31 + ord(c)) % width] += 1
    return counts


pixels = F.avg_pool2d(emoji.pictures[:1536], 4).flatten(1) - 0.5  # 16 x 16 x 3
spellings = torch.stack([letters(name) for name in names[:1536]])


def train(loss, steps: int = 300) -> Float[Tensor, "n n"]:
    """Two linear maps into 32 numbers, trained by `loss`; all their cosines."""
    torch.manual_seed(0)
    from_pixels, from_names = nn.Linear(768, 32), nn.Linear(512, 32)
    logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
    weights = [*from_pixels.parameters(), *from_names.parameters()]
    optimizer = torch.optim.Adam([*weights, logit_scale], lr=3e-3)
    for _ in range(steps):
        batch = torch.randperm(len(pixels))[:256]
        image_vectors = F.normalize(from_pixels(pixels[batch]))
        text_vectors = F.normalize(from_names(spellings[batch]))
        optimizer.zero_grad()
        loss(image_vectors, text_vectors, logit_scale).backward()
        optimizer.step()
    with torch.no_grad():
        of_pixels = F.normalize(from_pixels(pixels))
        return of_pixels @ F.normalize(from_names(spellings)).T


trained = {
    "pull only": train(lambda i, t, s: (i - t).square().sum(dim=1).mean()),
    "InfoNCE": train(info_nce),
    # exp(log s) is s.
    "InfoNCE without exp": train(lambda i, t, s: info_nce(i, t, s.log())),
}
means = [f"{c.diagonal().mean():.3f} {name}" for name, c in trained.items()]
figures.show(
    figures.cosine_panels(trained),
    diagonal_guess.measured(", ".join(means)),
)

# %% [markdown]
# The order on the diagonal is the reverse of the order of use. Pulling alone has a perfect
# solution: give everything the *same* vector. The cosines all go to 1, and what can still be told
# apart lies in their last digits. This is collapse, and the wrong answers in the denominator are
# what prevents it. Without the exponential, logits stay within ±2.66 at the start: among 256
# captions even a perfect match, a 1 among zeros, gets a share of about 5 %. The gradient keeps
# pulling at pairs that are fine, until the scale has crept up, and meanwhile fewer are told apart.
#
# Two more of the kind. The loss of an early DALL·E reimplementation's CLIP went one way only
# ([DALLE-pytorch#32](https://github.com/lucidrains/DALLE-pytorch/issues/32)). Hugging Face's CLIP
# started `logit_scale` at 1 in place of 2.66
# ([transformers#13430](https://github.com/huggingface/transformers/issues/13430)). None of the
# three raised an error; each was found by a reader who held the code against the original.
#
# ## Explain
#
# “I turned the temperature up,” says a colleague, “now the model is surer of itself, and so more
# often right.” What may have happened, and what is wrong? Three or four sentences.

# %%
# <solution: words = ...>
words = """
    A higher τ flattens the shares, so what went up was probably the scale,
    often called the temperature as well. That makes every row more decided
    without changing the order in it, so at inference not one more picture is
    named rightly. Only training at another τ could change that.
"""
# </solution>
explain("turned up", words)

# %% [markdown]
# ## Exercises
#
# **★ How far ahead?** All n − 1 wrong captions have the same cosine. How much higher must the right
# one's be, to get a given share?

# %%
def lead_needed(share: float, n: int, tau: float) -> float:
    """The lead in cosine that gives the right one of n captions this share."""
    # <solution>
    return tau * math.log(share * (n - 1) / (1 - share))
    # </solution>


check("lead_needed", lead_needed)

# %%
for n, tau in ((8, 0.07), (256, 0.07), (32_768, 0.07), (32_768, 0.01)):
    lead = lead_needed(0.5, n, tau)
    print(f"half a share of {n:6,} at τ = {tau}: lead {lead:.2f}")

# %% [markdown]
# So a model at τ = 0.01 needs a lead of a tenth among 32,768. Why should it bother to reach 0.9?
# This is half of the answer to the last chapter's riddle of 0.2 to 0.35. (The other half is the
# modality gap of chapter 12.)
#
# **★★ Which way will the scale go?** From `loss_gradient`, in one line: the slope of the loss by
# `logit_scale`. Then try it at τ from 0.2 to 0.01, on `matrix` and on the 512 pairs above
# (`image_vectors @ text_vectors.T`). One of the two changes its sign. Why that one?

# %%
def scale_gradient(
    cosines: Float[Tensor, "n n"], logit_scale: Float[Tensor, ""]
) -> Float[Tensor, ""]:
    """How fast the symmetric InfoNCE loss grows with logit_scale."""
    # <solution>
    return (cosines * loss_gradient(cosines, logit_scale)).sum()
    # </solution>


check("scale_gradient", scale_gradient)

# %% [markdown]
# **★★★ Twins.** Two artists' cats in one batch have the same caption, and the loss punishes the
# model for finding both. Give all captions of the same name an equal share of the target, both
# ways.

# %%
def info_nce_shared(
    image_vectors: Float[Tensor, "n d"],
    text_vectors: Float[Tensor, "n d"],
    logit_scale: Float[Tensor, ""],
    names: Tensor,
) -> Float[Tensor, ""]:
    """Symmetric InfoNCE; i and j match wherever names[i] == names[j]."""
    # <solution>
    logits = logit_scale.exp() * image_vectors @ text_vectors.T
    same = (names[:, None] == names[None, :]).float()
    targets = same / same.sum(dim=1, keepdim=True)
    rows = F.cross_entropy(logits, targets)
    columns = F.cross_entropy(logits.T, targets)
    return (rows + columns) / 2
    # </solution>


check("info_nce_shared", info_nce_shared)

# %% [markdown]
# ## What to read
#
# * [The CLIP paper](https://arxiv.org/abs/2103.00020), sections 2.3 to 2.5: the loss, its
#   temperature, and why it is clamped.
# * van den Oord et al., [Representation Learning with Contrastive Predictive
#   Coding](https://arxiv.org/abs/1807.03748), section 2.3: where InfoNCE comes from.
# * Wang and Liu, [Understanding the Behaviour of Contrastive
#   Loss](https://arxiv.org/abs/2012.09740), section 3: temperature and hard negatives.
# * `clip_lab/losses.py`: your loss, with twins, and without ever holding the matrix.
