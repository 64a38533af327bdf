# %% [markdown]
# # The similarity matrix
#
# Everything that CLIP does goes through one matrix: every picture of a batch against every caption
# of the batch. It is what training looks at, what search sorts and what a zero-shot classifier
# reads. In this chapter you build it, read it both ways, and look at a trained model's.
#
# Afterwards you can
#
# * turn two lists of vectors into a matrix of cosines, and say why lengths must go;
# * read it by row and by column, and measure recall@1 both ways;
# * say what a cosine of 0.4 tells you, and what it doesn't;
# * say why two towers can search millions of pictures;
# * recognise a mistake of many README files from its symptom.
#
# You need Python, a little PyTorch (shapes, axes), and about an hour.
# `hint("name of the exercise", 1)` helps in three steps.

# %%
import time

import torch
from jaxtyping import Float, Int
from torch import Tensor

import clip_lab
from clip_lab.course import check, explain, hint
from clip_lab.course import predict_choice, predict_number, verdict
from clip_lab.data.emoji import emoji_test
from clip_lab.evaluation.retrieval import retrieve
from clip_lab.experiments.report import results
from clip_lab.view.chapters import similarity as figures
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
# from it. `encoder.encode_images` and `encode_texts` normalise already; the bare towers,
# `encoder.model`, don't, so here your functions do it, and then meet the lab's.

# %%
@torch.inference_mode()
def raw_vectors(test) -> tuple[Tensor, Tensor, list[str]]:
    """Up to 512 pictures, chosen at random, and their names, as they come."""
    some = torch.randperm(len(test.pictures))[:512]
    own = [test.labels[target] for target in test.targets[some]]
    pixels = torch.stack([encoder.preprocess(p) for p in test.pictures[some]])
    of_texts = encoder.model.encode_text(encoder.tokenizer(own))
    return encoder.model.encode_image(pixels), of_texts, own


begun = time.perf_counter()
image_raw, text_raw, own_names = raw_vectors(emoji)
encoding = time.perf_counter() - begun
new_images, new_texts, new_names = raw_vectors(emoji_test("noto", "heldout"))
cosines = {
    "trained on": similarity(image_raw, text_raw),
    "never seen": similarity(new_images, new_texts),
}
apart = normalize(text_raw) - encoder.encode_texts(own_names)
print(f"yours and the lab's are {apart.abs().max():.0e} apart at most")
means = [f"{c.diagonal().mean():.2f} {name}" for name, c in cosines.items()]
figures.show(
    figures.cosine_panels(cosines, predicted=matched_guess.value),
    matched_guess.measured(", ".join(means)),
)

# %% [markdown]
# ## A misconception
#
# **“The value on the diagonal is a grade.”** This model has gone over the same 1,760 emoji hundreds
# of times, and on those its diagonal is high: that is memory. For things that it never saw, it is
# far lower. OpenAI's models, which label photographs well, give a match some 0.2 to 0.35. A user
# who found 0.25 for “vehicle” and 0.19 for “computer” asked whether that could be right
# ([openai/CLIP#405](https://github.com/openai/CLIP/issues/405)). It is.
#
# The lab took the claim “0.9 on the diagonal, 0 elsewhere” at its word, and trained one small model
# of drawn shapes with one setting changed, the temperature τ. (The next chapter builds it; here it
# is enough that it is a knob.) In the figure's last rows stand the built-in models; that of the
# emoji meets a fourth artist there, whom it never saw.

# %%
published = results()
matched, others, accuracy = (
    part.mean(axis=0)
    for part in (
        published["cosines"].measured["matched_mean"],
        published["cosines"].measured["unmatched_mean"],
        published["temperature"].measured["fixed_accuracy"],
    )
)
models = [str(name) for name in published["cosines"].measured["models"][0]]
fixed = published["temperature"].measured["fixed"][0]
for tau, share in zip(fixed, accuracy, strict=True):
    diagonal = matched[models.index(f"τ = {tau:g}")]
    print(f"τ = {tau:4g}: diagonal {diagonal:.2f}, right {share:.0%}")
figures.show(
    figures.published_means(models, matched, others),
    verdict("cosines"),
)

# %% [markdown]
# The highest diagonal belongs to the model that finds least. What counts is that a match stands
# *above* the other captions of its row, and the other pictures of its column.
#
# ## Build: two questions to one matrix
#
# Row *i* is a question: which caption fits picture *i*? Column *j* is another: which picture fits
# caption *j*? **Recall@1** is the share of questions whose best entry is on the diagonal, one
# figure for each direction.

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

# %%
for name, (images, texts, own) in {
    "trained on": (image_raw, text_raw, own_names),
    "never seen": (new_images, new_texts, new_names),
}.items():
    rows, columns = recall_at_1(similarity(images, texts))
    ours = retrieve(normalize(images), normalize(texts), [[n] for n in own])
    print(f"{name}, {len(own)} pairs: rows {rows:.1%}, columns {columns:.1%};")
    print(f"  the lab's: {ours.image_to_text[0]:.1%}", end=", ")
    print(f"{ours.text_to_image[0]:.1%}")

# %% [markdown]
# One matrix, two figures: a caption that is near to everything takes many rows, and costs its own
# column nothing. Papers report both, as “image to text” and “text to image”.
#
# ## Play
#
# Stay with “cosine” for now. Walk over the cells with the mouse or the arrow keys.
#
# * Which cell off the diagonal is highest? Would you have called it wrong?
# * Find a row in which the runner-up is close, and the column of that runner-up. Is it close there?
# * Try the other views and the slider. Which of them changes who comes first in a row? Keep the
#   answer for the next chapter.

# %%
matrix = similarity(
    encoder.encode_images(pictures), encoder.encode_texts(captions)
)
MatrixWidget(matrix.numpy(), thumbnails, captions)

# %% [markdown]
# ## What it costs
#
# 512 pictures and 512 names are 1,024 passes through a tower, and 262,144 cosines.

# %%
# <solution: guess = ...>
guess = "a"
# </solution>
cost_guess = predict_choice(
    "Which takes longer on this machine?",
    guess,
    {
        "a": "the 1,024 passes, over a hundred times longer",
        "b": "about the same",
        "c": "the 262,144 cosines",
    },
)
cost_guess

# %%
begun = time.perf_counter()
for _ in range(20):
    similarity(image_raw, text_raw)
product = (time.perf_counter() - begun) / 20
one_pair = encoding / 512  # a picture and a caption
cost_guess.measured(
    f"passes {encoding:.2f} s, cosines {1000 * product:.2f} ms. One pass for "
    f"each of 512² pairs would take {512**2 * one_pair / 60:.0f} minutes."
)

# %% [markdown]
# That is why CLIP has *two* towers. A model that reads picture and caption together can compare
# them more closely, but it needs a pass for each pair: N² passes. Two towers need 2N, and what is
# squared is only a product of matrices. The N pictures of a collection are encoded once, before
# anybody asks.
#
# ## Duplicates
#
# The diagonal is right only if captions differ. Take the eight things by all three artists of the
# training: 24 pictures, and each caption three times.

# %%
tests = [emoji_test(style, "seen") for style in ("noto", "twemoji", "fluent")]
drawn = [
    test.pictures[test.labels.index(caption)]
    for caption in captions
    for test in tests
]
repeated = torch.arange(len(captions)).repeat_interleave(3)
blocks = similarity(
    encoder.encode_images(drawn),
    encoder.encode_texts([captions[number] for number in repeated]),
)
rows, columns = recall_at_1(blocks)
print(f"on the diagonal: rows {rows:.0%}, columns {columns:.0%}")
figures.show(figures.blocks(blocks, captions))

# %% [markdown]
# Blocks of three, and a recall that looks like a failure. Of three equal captions `argmax` takes
# the first, so two in three rows *must* be wrong; and three equal columns have the same best
# picture, so two in three of those are, too. A real data set has such twins as well: with five
# captions a picture, as in MS-COCO, a batch can hold one picture twice
# ([vsepp#6](https://github.com/fartashf/vsepp/issues/6); at that size, says its author, it doesn't
# hurt the training). The second exercise below counts fairly; the next chapter gives twins a fair
# loss.
#
# ## Break it
#
# Forget to normalise. Users noticed it in the READMEs of open_clip
# ([#68](https://github.com/mlfoundations/open_clip/issues/68)) and FG-CLIP
# ([#5](https://github.com/360CVGroup/FG-CLIP/issues/5)); in fashion-clip one side of the two is
# left out ([#31](https://github.com/patrickjohncyh/fashion-clip/issues/31)). Nothing raises an
# error, and a demo with three captions looks fine. What does it cost?

# %%
# <solution: guess = ...>
guess = "b"
# </solution>
length_guess = predict_choice(
    "Captions are normalised, pictures are not. Whose recall falls?",
    guess,
    {
        "a": "rows: pictures find fewer captions",
        "b": "columns: captions find fewer pictures",
        "c": "both",
        "d": "neither",
    },
)
length_guess

# %%
image_unit, text_unit = normalize(image_raw), normalize(text_raw)
broken = {
    "both of length 1": image_unit @ text_unit.T,
    "pictures only": image_unit @ text_raw.T,
    "captions only": image_raw @ text_unit.T,
    "neither": image_raw @ text_raw.T,
}
recalls = {name: recall_at_1(products) for name, products in broken.items()}
both_ways = "rows {:.1%}, columns {:.1%}".format(*recalls["captions only"])
figures.show(
    figures.both_recalls(recalls, chance=1 / 512),
    length_guess.measured(both_ways),
)

# %% [markdown]
# A picture's length multiplies its whole *row* by one number, which changes no order within the
# row. Down a column it decides: pictures with long vectors win captions that aren't theirs. So a
# zero-shot test (rows) shows nothing, and the photo search built on the same vectors (columns) is
# broken. With fashion-clip's mistake it is the other way round; it costs less here only because
# this model's captions happen to be of similar length:

# %%
for name, raw in {"pictures": image_raw, "captions": text_raw}.items():
    lengths = raw.norm(dim=1)
    print(f"{name}: lengths {lengths.min():.0f} to {lengths.max():.0f}")

# %% [markdown]
# ## Explain
#
# A colleague shows you a model's similarity matrix and says: “Our matches have a cosine of only
# 0.4. The training must have failed.” Answer in your own words, in three or four sentences.

# %%
# <solution: words = ...>
words = """
    A cosine by itself is no grade. A match only has to stand above the other
    captions of its row and the other pictures of its column, so I would ask
    how far the wrong ones lie below 0.4 and how often the right one comes
    first. A collapsed model would show 0.99 everywhere.
"""
# </solution>
explain("only 0.4", words)

# %% [markdown]
# ## Exercises
#
# **★ The lead.** By how much does each picture's own caption stand above the best of the others?
# Negative where it isn't first.

# %%
def leads(cosines: Float[Tensor, "n n"]) -> Float[Tensor, " n"]:
    """For each row: its diagonal entry less the largest of the others."""
    # <solution>
    matches = torch.eye(len(cosines), dtype=torch.bool)
    rivals = cosines.masked_fill(matches, -torch.inf).amax(dim=1)
    return cosines.diagonal() - rivals
    # </solution>


check("leads", leads)

# %%
for name, matrix_of in cosines.items():
    lead = leads(matrix_of)
    print(f"{name}: median lead {lead.median():+.2f}, ", end="")
    print(f"{(lead > 0).float().mean():.0%} of rows lead")

# %% [markdown]
# **★★ Twins.** Count a row as right if its best caption has the right *name*, and a column if its
# best picture has.

# %%
def recall_by_name(
    cosines: Float[Tensor, "n n"], numbers: Int[Tensor, " n"]
) -> tuple[float, float]:
    """Recall@1 both ways; i and j match wherever numbers[i] == numbers[j]."""
    # <solution>
    best_captions, best_pictures = cosines.argmax(dim=1), cosines.argmax(dim=0)
    pictures_right = (numbers[best_captions] == numbers).float().mean()
    captions_right = (numbers[best_pictures] == numbers).float().mean()
    return pictures_right.item(), captions_right.item()
    # </solution>


check("recall_by_name", recall_by_name)

# %%
by_name = recall_by_name(blocks, repeated)
print("by name: rows {:.0%}, columns {:.0%}".format(*by_name))

# %% [markdown]
# **★★★ In pieces.** A million pictures against a million captions are 4 TB of float32. But whoever
# wants only the best caption of each picture needs no more than a piece of the matrix at a time.

# %%
def best_in_pieces(
    image_vectors: Float[Tensor, "n d"],
    text_vectors: Float[Tensor, "m d"],
    piece: int,
) -> Int[Tensor, " n"]:
    """Row of each picture's best caption (unit vectors), `piece` at a time."""
    # <solution>
    best = torch.full((len(image_vectors),), -torch.inf)
    where = torch.zeros(len(image_vectors), dtype=torch.long)
    for start in range(0, len(text_vectors), piece):
        block = image_vectors @ text_vectors[start : start + piece].T
        value, place = block.max(dim=1)
        better = value > best
        best = torch.where(better, value, best)
        where = torch.where(better, start + place, where)
    return where
    # </solution>


check("best_in_pieces", best_in_pieces)

# %% [markdown]
# ## What to read
#
# * [The CLIP paper](https://arxiv.org/abs/2103.00020), section 2.3 and figure 3: the matrix, and
#   what is asked of it. That is the next chapter.
# * Karpathy and Fei-Fei, [Deep Visual-Semantic Alignments](https://arxiv.org/abs/1412.2306),
#   section 4: recall@K both ways, before CLIP.
# * `clip_lab/dual_encoder.py`: where the lab normalises; `clip_lab/evaluation/retrieval.py`: recall
#   in pieces, with twins and intervals; `clip_lab/retrieval.py`: a collection encoded once.
