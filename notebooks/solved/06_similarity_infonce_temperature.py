# %% [markdown]
# # Similarity matrix, InfoNCE, temperature
#
# CLIP learns from one matrix. Every picture of a batch is compared with every caption of the batch,
# and the loss asks for one thing: that the right pairs win. In this chapter you build that matrix,
# its temperature and its loss, in a dozen lines, and look at what a trained model makes of them.
#
# Afterwards you can
#
# * write the loss of CLIP from memory, and say what each line is for;
# * say what a cosine of 0.4 tells you, and what it doesn't;
# * set a temperature, knowing which way it works;
# * recognise three mistakes that real projects made here.
#
# You need Python, a little PyTorch (shapes, `softmax`), and about an hour.
# `hint("name of the exercise", 1)` helps in three steps.

# %%
import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

import clip_lab
from clip_lab.course import check, explain, hint
from clip_lab.course import predict_choice, predict_number
from clip_lab.data.emoji import emoji_test
from clip_lab.view import notebook_figures as figures
from clip_lab.view.widgets import MatrixWidget

torch.manual_seed(0)
torch.set_num_threads(1)  # small models gain nothing from more

# %% [markdown]
# ## Eight pictures, eight captions
#
# The lab's built-in model was trained on three artists' drawings of emoji and on their names. Below
# are eight of them. Picture *i* belongs to caption *i*, and nobody said which other captions are
# wrong: in a batch, everybody else's caption is a wrong answer, free of charge.

# %%
encoder = clip_lab.load("emoji")
emoji = emoji_test("noto", split="seen")
names = [emoji.labels[target] for target in emoji.targets]

captions = ["cat face", "dog face", "red apple", "green apple"]
captions += ["airplane", "sailboat", "violin", "snowman"]
pictures = [emoji.pictures[names.index(caption)] for caption in captions]
thumbnails = [picture.permute(1, 2, 0).numpy() for picture in pictures]
figures.show(figures.contact_sheet(thumbnails, captions, columns=4))

# %% [markdown]
# ## Predict
#
# A cosine lies between −1 and 1. Blog posts draw CLIP's matrix with 0.9 on the diagonal and 0
# elsewhere. Where will the cosines of *matching* pairs lie, on average, in this model? Write a
# number down before you read on. The plot will show it.

# %%
# <solution: guess = ...>
guess = 0.9
# </solution>
matched_guess = predict_number(
    "Mean cosine of a picture and its own name?", guess, low=-1, high=1
)
matched_guess

# %% [markdown]
# ## Build: length one
#
# The towers return vectors of any length. A bright picture must not win over a dark one because its
# vector is longer, so only directions may count: each row is scaled to length 1.

# %%
def normalize(vectors: Float[Tensor, "n d"]) -> Float[Tensor, "n d"]:
    """Each row scaled to length 1, pointing where it did."""
    # <solution>
    return vectors / vectors.norm(dim=-1, keepdim=True)
    # </solution>


check("normalize", normalize)

# %% [markdown]
# ## Build: the matrix
#
# Of vectors of length 1, the dot product is the cosine of the angle between them.

# %%
def similarity(
    image_vectors: Float[Tensor, "n d"], text_vectors: Float[Tensor, "m d"]
) -> Float[Tensor, "n m"]:
    """Entry (i, j): the cosine of picture i and caption j."""
    # <solution>
    return normalize(image_vectors) @ normalize(text_vectors).T
    # </solution>


check("similarity", similarity)

# %% [markdown]
# Now the measurement, on 512 emoji that the model was trained on, and on 151 things that were kept
# from it.

# %%
def vectors_of(test) -> tuple[Tensor, Tensor]:
    """Vectors of up to 512 pictures, chosen at random, and of their names."""
    some = torch.randperm(len(test.pictures))[:512]
    names = [test.labels[target] for target in test.targets[some]]
    pictures = encoder.encode_images(test.pictures[some])
    return pictures, encoder.encode_texts(names)


image_vectors, text_vectors = vectors_of(emoji)
cosines = {
    "trained on": similarity(image_vectors, text_vectors),
    "never seen": similarity(*vectors_of(emoji_test("noto", split="heldout"))),
}
means = [f"{c.diagonal().mean():.2f} {name}" for name, c in cosines.items()]
figures.show(
    figures.cosine_panels(cosines, predicted=matched_guess.value),
    matched_guess.measured(", ".join(means)),
)

# %% [markdown]
# **A misconception.** The value on the diagonal is not a grade. This model has gone over the same
# 1,760 emoji hundreds of times, and on those its diagonal is high: that is memory. For things that
# it never saw, it is far lower. OpenAI's models, which label photographs well, give 0.2 to 0.35 to
# a match ([openai/CLIP#405](https://github.com/openai/CLIP/issues/405)). What counts is that a
# match stands *above* the other captions, and by how much compared with the temperature.

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
matrix = similarity(
    encoder.encode_images(pictures), encoder.encode_texts(captions)
)
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
# Learning the logarithm keeps the scale positive, and equal steps change it by equal factors. After
# each training step CLIP clamps the parameter to [0, ln 100], so τ never leaves [0.01, 1].
#
# The temperature belongs to inference too. Someone who rebuilt a photo search left it out, and
# every share came out close to 1/n
# ([Queryable#30](https://github.com/mazzzystar/Queryable/issues/30)). Move the curve above to τ = 1
# in your mind: that is the same mistake.
#
# **A second misconception**: that a share is the probability that the thing is there. Ask about
# the cat with captions that are all wrong:

# %%
absent = ["a bicycle", "a mountain", "a hammer"]
cat = encoder.encode_images(pictures[:1])
row = similarity(cat, encoder.encode_texts(absent))
shares = probabilities(row, tau_learned)[0]
for caption, share in zip(absent, shares, strict=True):
    print(f"{share:6.1%}  {caption}")

# %% [markdown]
# They sum to 100 % because a softmax always does. It compares captions with each other; it can't
# say “none of these”. Whoever needs that has to look at the cosines, or add captions for the rest.
#
# ## Build: the loss
#
# InfoNCE is a quiz in two directions. Each picture picks its caption among the N of the batch (the
# rows of the matrix), each caption picks its picture (the columns). The right answers lie on the
# diagonal, and the loss is the mean surprise, −log of the right answer's share:
#
# $$ L = \frac{1}{2N} \sum_{i=1}^{N} \left[ -\log\, p(\text{caption } i \mid \text{picture } i)
# - \log\, p(\text{picture } i \mid \text{caption } i) \right] $$
#
# (Figure 3 of [the paper](https://arxiv.org/abs/2103.00020) is this in six lines of NumPy.)
# `F.cross_entropy(logits, targets)` does one direction.

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
# share 1/N:

# %%
learned = torch.tensor(math.log(encoder.scale))
knows_nothing = normalize(torch.randn_like(image_vectors))
losses = {
    "yours": info_nce(image_vectors, text_vectors, learned),
    "the lab's": clip_lab.losses.info_nce(image_vectors, text_vectors, learned),
    "random vectors": info_nce(knows_nothing, text_vectors, torch.tensor(0.0)),
    "ln 512": math.log(512),
}
for name, loss in losses.items():
    print(f"{name:15} {loss:.4f} nats")

# %% [markdown]
# ## Play
#
# Move τ, switch between rows and columns, walk over the cells with the mouse or the arrow keys.
#
# * At which τ is the loss of these eight pairs smallest? Why did the model, which plays against
#   255 wrong captions at a time, learn another?
# * Find a cell off the diagonal that stays visible for long as τ falls. Why that one?
# * Is “softmax over captions” the same as “softmax over pictures”? Find a row in which it isn't.

# %%
MatrixWidget(matrix.numpy(), thumbnails, captions, tau=tau_learned)

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
        image_vectors = normalize(from_pixels(pixels[batch]))
        text_vectors = normalize(from_names(spellings[batch]))
        optimizer.zero_grad()
        loss(image_vectors, text_vectors, logit_scale).backward()
        optimizer.step()
    with torch.no_grad():
        return similarity(from_pixels(pixels), from_names(spellings))


trained = {
    "pull only": train(lambda i, t, s: (i - t).square().sum(dim=1).mean()),
    "InfoNCE": train(info_nce),
    "InfoNCE without exp": train(lambda i, t, s: info_nce(i, t, s.log())),
}
means = [f"{c.diagonal().mean():.3f} {name}" for name, c in trained.items()]
figures.show(
    figures.cosine_panels(trained),
    diagonal_guess.measured(", ".join(means)),
)

# %% [markdown]
# The order on the diagonal is the reverse of the order of use. Pulling alone has a perfect
# solution: give everything the *same* vector. The cosines all go to 1 and nothing can be told
# apart. This is collapse, and the wrong answers in the denominator are what prevents it. Without
# the exponential, logits stay within ±2.66 at the start: among 256 captions even a perfect match
# gets a share of about 5 %. The gradient keeps pushing pairs together that are fine already, until
# the scale has crept up, and meanwhile fewer pairs are told apart.
#
# Two more of the kind, both found by readers of the code. The loss of an early DALL·E
# reimplementation's CLIP took the rows only
# ([DALLE-pytorch#32](https://github.com/lucidrains/DALLE-pytorch/issues/32)). A video retrieval
# model normalised over its tokens, not inside each vector
# ([mmt#1](https://github.com/gabeur/mmt/issues/1)). None of these raised an error, and all of them
# trained: a loss that falls proves little.
#
# ## Explain
#
# A colleague shows you a model's similarity matrix and says: “Our matches have a cosine of only
# 0.4. The training must have failed.” Answer in your own words, in three or four sentences.

# %%
# <solution: words = ...>
words = """
    A cosine by itself is no grade. The loss only compares a match with the
    other captions of the batch, at the scale that was learned, so I would ask
    how far the wrong captions lie below 0.4 and how often the right one comes
    first. A collapsed model would show 0.99 everywhere.
"""
# </solution>
explain("only 0.4", words)

# %% [markdown]
# ## Exercises
#
# **★ Who finds whom?** Recall@1 is the share of rows whose best entry is on the diagonal, and the
# same for columns. Why do the two differ, on one matrix?

# %%
def recall_at_1(cosines: Float[Tensor, "n n"]) -> tuple[float, float]:
    """Shares of pictures, and of captions, that rank their partner first."""
    # <solution>
    own = torch.arange(len(cosines))
    pictures_right = (cosines.argmax(dim=1) == own).float().mean().item()
    captions_right = (cosines.argmax(dim=0) == own).float().mean().item()
    return pictures_right, captions_right
    # </solution>


check("recall_at_1", recall_at_1)

# %% [markdown]
# **★★ What pushes?** Work out, on paper, the gradient of the loss by each *cosine*, and write it
# without autograd. Then read it: which wrong pairs are pushed apart hardest? What becomes of it as
# τ falls?

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
# ## Read on
#
# * Radford et al., [Learning Transferable Visual Models From Natural Language
#   Supervision](https://arxiv.org/abs/2103.00020), sections 2.3 to 2.5: the loss, its temperature,
#   and why it is clamped.
# * van den Oord et al., [Representation Learning with Contrastive Predictive
#   Coding](https://arxiv.org/abs/1807.03748): where InfoNCE comes from.
# * Wang and Isola, [Alignment and Uniformity on the Hypersphere](https://arxiv.org/abs/2005.10242):
#   the pull and the push of this loss, taken apart.
# * Zhai et al., [SigLIP](https://arxiv.org/abs/2303.15343): each pair judged alone, no softmax.
