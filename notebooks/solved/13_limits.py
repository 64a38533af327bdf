# %% [markdown]
# # Limits, and how to measure one
#
# CLIP models are said to be bad at counting, at left and right, at what belongs to what; to be
# fooled by written words; to repeat the prejudices of their data. Which of it is true of a given
# model? One funny picture proves nothing. This chapter builds tests that do, and breaks two of them.
#
# Afterwards you can
#
# * test one ability at a time, by captions that differ in one thing;
# * say what guessing gets, and whether a score is better than that;
# * measure bias as a difference of rates, with its interval and a baseline;
# * find out whether a benchmark can be solved without looking at the pictures;
# * tell a limit of a model from a limit of CLIP.
#
# `hint("name of the exercise", 1)` helps, in three steps.

# %%
from collections import Counter
from random import Random

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

import clip_lab
from clip_lab.course import Note, check, explain, hint
from clip_lab.course import predict_choice, predict_number, verdict
from clip_lab.course.scene_builder import scene_builder
from clip_lab.data.augment import on_white
from clip_lab.data.emoji_table import emoji_table
from clip_lab.data.emoji_table import pictures as emoji_sheet
from clip_lab.data.shape_sampling import sample_scenes
from clip_lab.data.shapes import ShapesPairs
from clip_lab.evaluation.accuracy import wilson
from clip_lab.experiments import scene_tests
from clip_lab.experiments.claims.binding import exchanged
from clip_lab.experiments.report import results
from clip_lab.view.chapters import limits as figures

torch.manual_seed(0)
torch.set_num_threads(1)  # small models gain nothing from more

# %% [markdown]
# ## A world in which the truth is known
#
# What is in a photograph, one has to ask people. What is in a drawing by the lab is known: it was
# drawn from a list. The built-in model `shapes` was trained on such drawings and true captions:
# single objects, pairs (“a red circle left of a blue star”), several alike (“three red circles”),
# objects with words on them. Here are a thousand pairs that it has never seen.

# %%
encoder = clip_lab.load("shapes")
size = encoder.preprocess.size
scenes = scene_tests.pairs(1000)
pairs = scenes.things()  # for each picture its two objects, by name
pictures = scene_tests.drawn(scenes, size)
vectors = encoder.encode_images(pictures)
true = [f"{scene_tests.named(a)} and {scene_tests.named(b)}" for a, b in pairs]
large = scene_tests.drawn(scenes[:4], 96).permute(0, 2, 3, 1).numpy()
figures.show(figures.scenes(list(large), true[:4]))

# %% [markdown]
# ## Build: a caption that is wrong in one thing
#
# “A blue heart and a white circle” has the same words as the first caption above, so whoever only
# notes *which* words fit can't choose. That makes a test of **binding**: which colour belongs to
# which shape? Swap two words of a caption.

# %%
def exchange(caption: str, one: str, other: str) -> str:
    """The caption with the words `one` and `other` in each other's places."""
    # <solution>
    partner = {one: other, other: one}
    return " ".join(partner.get(word, word) for word in caption.split())
    # </solution>


check("exchange", exchange)

# %% [markdown]
# ## Build: an answer
#
# A model answers by which of two captions lies nearer to the picture: 1 if it is the true one, 0 if
# it is the false one. And if both are equally near? Then it doesn't know, and gets what a coin would
# get: ½. (You will see what happens otherwise.) All vectors have length 1.

# %%
def answers(
    images: Float[Tensor, "n d"],
    true: Float[Tensor, "n d"],
    false: Float[Tensor, "n d"],
) -> Float[Tensor, " n"]:
    """For each picture 1, 0, or 0.5 for a tie between its two captions."""
    # <solution>
    apart = torch.einsum("nd,nd->n", images, true - false)
    return (1 + apart.sign()) / 2
    # </solution>


check("answers", answers)

# %% [markdown]
# ## Build: what guessing gets
#
# Of two captions a guesser gets half right, but never *exactly* half. Before you call a score low,
# or good, see how far luck goes: let 1,000 guessers take the test, and take the middle 95 %.

# %%
def guessers(n: int, choices: int, draws: int = 1000) -> tuple[float, float]:
    """Between which shares the middle 95 % of guessers at n questions end."""
    # <solution>
    lucky = torch.rand(draws, n) < 1 / choices
    marks = lucky.float().mean(dim=1).sort().values
    return marks[int(0.025 * draws)].item(), marks[int(0.975 * draws)].item()
    # </solution>


check("guessers", guessers)

# %% [markdown]
# Three tests on the same pictures: a colour that no object has (“a *green* circle and a blue
# star”), the two colours swapped, and “left of” against “right of” (or above, below).

# %%
# <solution: guess = ...>
guess = 80
# </solution>
swap_guess = predict_number(
    "In what percentage is the true caption nearer than the swapped one?",
    guess,
    low=0,
    high=100,
)
swap_guess

# %%
swapped = [
    exchange(caption, a.colour, b.colour)
    for caption, (a, b) in zip(true, pairs, strict=True)
]


def marks(true_texts: list[str], false_texts: list[str]) -> Tensor:
    encoded = map(encoder.encode_texts, (true_texts, false_texts))
    return answers(vectors, *encoded)


def with_ends(marked: Tensor) -> tuple[float, float, float]:
    """A share and Wilson's interval (chapter 1)."""
    share = marked.float().mean().item()
    return share, *wilson(share, len(marked))


absent = scene_tests.other_colour(scenes, size).captions
sides = scene_tests.swapped_sides(scenes, size).captions
marked = {
    "a colour that isn't there": marks(*zip(*absent, strict=True)),
    "colours swapped": marks(true, swapped),
    "places swapped": marks(*zip(*sides, strict=True)),
}
tests = {name: with_ends(each) for name, each in marked.items()}
luck = guessers(1000, 2)
figures.show(
    figures.shares(
        tests,
        guessing=luck,
        predicted=swap_guess.value,
        title="1,000 pictures of two objects",
    ),
    swap_guess.measured(f"{tests['colours swapped'][0]:.1%}"),
)

# %% [markdown]
# The first bar shows that it reads the sentence and sees both objects. The others show that it knows
# *what* is there and next to nothing of how it belongs together: to it, a caption is nearly a **bag
# of words**. (Don't trust what the second bar has over guessing. Your test leaks: more below.)
# OpenAI's ViT-B/32 is like it: on the tests of Yuksekgonul et al. (2023,
# [ARO](https://arxiv.org/abs/2210.01936)) it gets 59.9 % of relations and 63.2 % of attributes
# ([measured by a user](https://github.com/mertyg/vision-language-models-are-bows/issues/33)), where
# guessing gets 50 %.
#
# ## Counting, and a misconception
#
# **“CLIP can't count.”** Two to six alike, five captions, “two red circles” to “six red circles”;
# guessing gets 20 %.

# %%
alike = scene_tests.alike(500)
number_test = scene_tests.other_numbers(alike, size)
there = alike.present.sum(dim=1)
chosen = scene_tests.cosines(encoder, number_test).argmax(dim=1)
numbers = range(2, 7)
offered = [[k, *(m for m in numbers if m != k)] for k in there.tolist()]
said = torch.tensor(
    [row[i] for row, i in zip(offered, chosen.tolist(), strict=True)]
)
shares_said = [F.one_hot(said[there == k] - 2, 5).float() for k in numbers]
table = torch.stack([each.mean(dim=0) for each in shares_said])
published = results()


figures.show(figures.counts(table, numbers), verdict("counting"))

# %% [markdown]
# This one counts, with slips to the neighbouring number. The note tells why: the lab trained one
# model twice on the same pictures. Where captions said how many, it learnt to count; where they
# said “red circles”, it guessed. The limit was in the *captions*, not in the method, and people
# rarely write “four dogs”. Don't turn this round, though: many captions here say “left of”, and
# that was not enough.
#
# ## Written words
#
# A note that says “iPod” on an apple turns it into an iPod (Goh et al. 2021,
# [Multimodal neurons](https://distill.pub/2021/multimodal-neurons/)). It happens unasked as well: a
# picture of a person came out as a hot dog, by what was written in it
# ([openai/CLIP#416](https://github.com/openai/CLIP/issues/416)). This is the **typographic attack**.
# Ours: a large object with another colour's name on it, 11 captions.

# %%
# <solution: guess = ...>
guess = "b"
# </solution>
attack_guess = predict_choice(
    "A yellow circle says BLUE. This small model calls it ...",
    guess,
    {
        "a": "yellow, nearly always",
        "b": "blue, mostly",
        "c": "now this, now that",
    },
)
attack_guess

# %%
attacked = scene_tests.labelled(300)
colour_test = scene_tests.which_colour(attacked, size)
taken = scene_tests.cosines(encoder, colour_test).argmax(dim=1)
reading = scene_tests.right(encoder, scene_tests.which_word(attacked, size))
fooled = {
    "takes its own colour": with_ends(taken == 0),
    "takes the written colour": with_ends(taken == 1),
    "reads the word, if asked": with_ends(reading),
}
figures.show(
    figures.shares(
        fooled,
        guessing=guessers(300, 11),
        title="300 objects with another colour's name",
        axis_name="of pictures (%)",
    ),
    attack_guess.measured(
        f"its own colour, {fooled['takes its own colour'][0]:.0%}"
    ),
)

# %% [markdown]
# It can't be fooled because it can't read: in a picture of 32 pixels a letter is three or four wide.
# A limit that doesn't show may be hidden by another one. Whoever makes this model sharper-eyed should repeat the
# attack.
#
# ## Play
#
# Build a scene; each question has a true and a false caption. (In JupyterLab you can write captions
# of your own, too.)
#
# * Start: which question fails? Make the circle red and the square blue. Is the answer about *this*
#   picture at all?
# * Swap “left of” for “right of”. How far do the two cosines move?
# * Write words on single shapes. Why does “Which shape?” suffer, and the colour not?
# * Find a scene with everything right, then open the table below. What did your one scene prove?

# %%
scene_builder(encoder)

# %% [markdown]
# ## Break it: ties
#
# Now a model that *is* a bag of words: a caption is the sum of its words' vectors. The same words,
# the same vector, so it can't tell swapped captions apart. What does it score? That depends on one
# character. A harness for language models counted an answer as right if its score *equalled* the
# best ([helm#737](https://github.com/stanford-crfm/helm/issues/737)).

# %%
words = sorted({word for caption in true for word in caption.split()})
of_word = dict(zip(words, encoder.encode_texts(words), strict=True))


def bag(captions: list[str]) -> Float[Tensor, "n d"]:
    """Sorted first: numbers added in another order can differ in a digit."""
    sums = [sum(of_word[w] for w in sorted(c.split())) for c in captions]
    return F.normalize(torch.stack(sums), dim=-1)


of_true, of_false = (
    (vectors * bag(each)).sum(dim=-1) for each in (true, swapped)
)
counted = {
    "true >= false": with_ends(of_true >= of_false),
    "true > false": with_ends(of_true > of_false),
    "a tie is half": with_ends(answers(vectors, bag(true), bag(swapped))),
}
figures.show(
    figures.shares(counted, chance=0.5, title="A bag of words at the swap test")
)

# %% [markdown]
# A perfect score for knowing nothing. An `argmax` with the true caption first does the same. And ties
# do happen: half precision rounds small differences away.
#
# ## Break it: blind
#
# In many benchmarks the false captions are odd in themselves: shuffled words, say. Then language
# alone gives them away, and Hsieh et al. (2023, [SugarCrepe](https://arxiv.org/abs/2306.14610)) found
# models that never see a picture ahead of the best that do. It may still happen: a user of a new
# video benchmark reports 68 % for a model trained without visual tokens, more than any number in its
# paper ([DSR_Suite#9](https://github.com/TencentARC/DSR_Suite/issues/9); the authors ask back). So
# here is a blind one. It counts which word followed which in 4,000 captions, and takes the more
# usual caption.

# %%
data = ShapesPairs(1000, size=8, seed=5)
corpus = [text for step in range(4) for text in data.batch(step).captions]
follows = Counter(
    pair for text in corpus for pair in zip(text.split(), text.split()[1:])
)


def usual(caption: str) -> float:
    """How usual the caption's words are, one after the other (a log)."""
    words = caption.split()
    seen = torch.tensor([follows[pair] + 0.1 for pair in zip(words, words[1:])])
    return seen.log().sum().item()


def blind(true_texts, false_texts) -> Tensor:
    gaps = [usual(t) - usual(f) for t, f in zip(true_texts, false_texts)]
    return (1 + torch.tensor(gaps).sign()) / 2


random = Random(0)
shuffled = [" ".join(random.sample(c.split(), len(c.split()))) for c in true]
labs = [row[1] for row in scene_tests.swapped_colours(scenes, size).captions]
any_pair = sample_scenes(2000, torch.Generator().manual_seed(0), objects=(2, 2))
even = scene_tests.swapped_colours(any_pair, size)
sightless = {
    "shuffled words": with_ends(blind(true, shuffled)),
    "swapped by you": with_ends(blind(true, swapped)),
    "swapped by the lab": with_ends(blind(true, labs)),
    "... all pairs as often": with_ends(blind(*zip(*even.captions))),
}
with_eyes = {
    "swapped by the lab": with_ends(marks(true, labs)),
    "all pairs as often": with_ends(scene_tests.right(encoder, even)),
}
looked = "{}: {:.1%} ({:.1%} to {:.1%})".format
figures.show(
    figures.shares(
        sightless, guessing=luck, title="Without looking at a picture"
    ),
    Note("With eyes", "\n".join(looked(k, *v) for k, v in with_eyes.items())),
)

# %% [markdown]
# Your own test leaks! Look for “orange” among your captions: “*an* red circle and *a* orange star”.
# The lab's test mends the article and still leaks a little: one combination in nine is kept out of
# training, so some colours of a shape are rarer, and the true caption names the commoner. The blind
# model does as well there as ours with eyes, whose score therefore shows no binding at all. Only
# where all pairs are drawn as often is the blind one left with luck; there, eyes are worth a few
# points. **Every benchmark of captions needs a blind baseline.**
#
# ## Bias
#
# The CLIP paper (section 7.1) classified faces with a list of labels, some of them degrading, and
# compared how often each group of people got those: a *difference of rates*. Here: 20 professions,
# drawn as a man and as a woman, in six skin tones, and the model `emoji`.

# %%
def rate_difference(
    first: Bool[Tensor, " n"], second: Bool[Tensor, " m"]
) -> tuple[float, float, float]:
    """The first rate less the second, and the ends of its 95 % interval."""
    # <solution>
    p, q = first.double().mean(), second.double().mean()
    error = (p * (1 - p) / len(first) + q * (1 - q) / len(second)).sqrt()
    gap, reach = (p - q).item(), 1.96 * error.item()
    return gap, gap - reach, gap + reach
    # </solution>


check("rate_difference", rate_difference)

# %%
people, rows = clip_lab.load("emoji"), emoji_table().rows
row_of = {row.label: i for i, row in enumerate(rows) if not row.tone}
jobs = [
    row.label for row in rows
    if row.subgroup == "person-role" and not row.tone
    and {f"man {row.label}", f"woman {row.label}"} <= set(row_of)
]  # fmt: skip


def drawn(title: str) -> Tensor:
    """The title's emoji in its six skin tones, by an artist never seen."""
    tones = emoji_table().variants[row_of[title]]
    cells = [rows[tone].cells["openmoji"] for tone in tones]
    return people.encode_images(on_white(emoji_sheet("openmoji")[cells]))


men, women = (
    torch.cat([drawn(f"{gender} {job}") for job in jobs])
    for gender in ("man", "woman")
)
titles = [f"{gender}{job}" for gender in ("", "man ", "woman ") for job in jobs]
of_titles = people.encode_texts(titles)
title_of_men, title_of_women = (
    (each @ of_titles.T).argmax(dim=1) // len(jobs) for each in (men, women)
)  # 0: neutral, 1: a man's, 2: a woman's
as_other = title_of_women == 1, title_of_men == 2
coin = torch.rand(len(men)) < 0.5  # a pair exchanges its answers, or not
mixed = torch.where(coin, *as_other), torch.where(coin, *as_other[::-1])
misnamed = {
    "a man's title on a woman's picture": with_ends(as_other[0]),
    "a woman's title on a man's picture": with_ends(as_other[1]),
}
gaps = {
    "the difference": rate_difference(*as_other),
    "baseline: pairs mixed": rate_difference(*mixed),
}
figures.show(
    figures.rates(
        misnamed,
        gaps,
        title="60 titles to choose from",
        gap_name="first rate less second (points)",
    ),
    verdict("bias"),
)

# %% [markdown]
# The baseline exchanges the answers in half of the pairs, by a coin: it says what the method finds
# where there is nothing to find. And the *list* is part of the result: without gendered titles nobody
# *can* be misnamed; the paper saw a harmful rate of the young fall sharply when a label “child” was
# added. Report the list with the rate.
#
# ## What the lab found
#
# Each claim got a test that could have gone either way:

# %%
limits = {  # an experiment, right without the limit, right with it, choices
    "a new combination": ("composition", "known", "new", 43),
    "which flag": ("fine_grained", "flags_coarse_unseen", "flags_unseen", 10),
    "which time": ("fine_grained", "clocks_coarse_unseen", "clocks_unseen", 10),
    "how many": ("counting", "told_colour", "told_number", 5),
    "which place": ("relations", "plain_other", "plain_relation", 2),
    "which colour where": ("binding", "plain_other", "plain_swapped", 2),
    "reading a word": ("written_words", "read_bare", "read_reading", 11),
    "a word's attack": ("written_words", "read_neutral", "read_attacked", 11),
}


def lab_mean(name: str, key: str) -> float:
    return published[name].measured.mean(key).mean


at_a_glance = {
    limit: (lab_mean(name, without), lab_mean(name, with_it), 1 / choices)
    for limit, (name, without, with_it, choices) in limits.items()
}
figures.show(
    figures.overview(at_a_glance),
    *map(verdict, ["composition", "fine_grained", "relations", "binding"]),
    verdict("written_words"),
)

# %% [markdown]
# Flags are even easier than coarse groups. Relations and binding fail although captions carry them,
# and even where every batch holds the swapped twin. At full size that cure helped (NegCLIP in the
# [same table](https://github.com/mertyg/vision-language-models-are-bows/issues/33): 80.2 % of
# relations), though by less than it seemed, says SugarCrepe: more data and patience might do more
# here, too. Binding (claim 17) was asked by the swap that leaks. That can only flatter, so weak it
# is; but what it has over 50 % proves nothing.
#
# ## Explain
#
# A blog reports: “We asked CLIP 40 left-or-right questions, and it got 58 %. So it has begun to
# understand space.” Answer in three or four sentences.

# %%
# <solution: words = ...>
words = """
    Of 40 questions with two answers each, a guesser may well get 58 percent,
    so this shows nothing yet. I would ask a thousand, count ties as half, and
    let a model without pictures answer too, since captions can give the answer
    away. Only then would I speak of space.
"""
# </solution>
explain("forty questions", words)

# %% [markdown]
# ## Exercises
#
# **★ The ceiling.** In SugarCrepe's two swap sets, 572 of 911 pairs hold the same words in another
# order ([sugar-crepe#10](https://github.com/RAIVNLab/sugar-crepe/issues/10)). What is the best that
# a bag of words can be expected to score on a list of pairs?

# %%
def bag_ceiling(pairs: list[tuple[str, str]]) -> float:
    """The best expected share for a model that ignores the order of words."""
    # <solution>
    tied = sum(sorted(a.split()) == sorted(b.split()) for a, b in pairs)
    return 1 - tied / len(pairs) / 2
    # </solution>


check("bag_ceiling", bag_ceiling)

# %% [markdown]
# **★★ Winoground.** Thrush et al. (2022, [2204.03162](https://arxiv.org/abs/2204.03162)) pair two
# pictures with two captions. *Text* score: each picture prefers its own caption. *Image* score: each
# caption prefers its own picture. *Group*: both. What would guessing get?

# %%
def winoground(
    cosines: Float[Tensor, "n 2 2"],
) -> tuple[float, float, float]:
    """Text, image and group score; cosines[i, p, c]: picture p, caption c."""
    # <solution>
    (aa, ab), (ba, bb) = cosines.permute(1, 2, 0)
    text = (aa > ab) & (bb > ba)
    image = (aa > ba) & (bb > ab)
    return tuple(s.double().mean().item() for s in (text, image, text & image))
    # </solution>


check("winoground", winoground)

# %%
twins = encoder.encode_images(scene_tests.drawn(exchanged(scenes), size))
both = torch.stack([vectors, twins], dim=1)  # (n, 2, d)
texts = torch.stack(tuple(map(encoder.encode_texts, (true, labs))), dim=1)
scores = winoground(both @ texts.mT)
by_luck = winoground(torch.rand(100_000, 2, 2))
for name, score, lucky in zip(("text", "image", "group"), scores, by_luck):
    print(f"{name:6} {score:.1%}; guessing {lucky:.1%}")

# %% [markdown]
# The image score lies *below* guessing. Often one twin is a little nearer to both captions, so one
# caption must be wrong: errors that go together, not knowledge turned round.
#
# **★★★ How many are 120?** Six skin tones of one drawing are nearly one picture, so 120 pictures
# tell less than 120 different people would. Redraw whole *professions* with replacement.

# %%
def by_profession(
    first: Bool[Tensor, " n"],
    second: Bool[Tensor, " n"],
    each: int,
    draws: int = 1000,
) -> tuple[float, float]:
    """95 % interval of the difference; `each` neighbours are one profession."""
    # <solution>
    gaps = (first.float() - second.float()).view(-1, each).mean(dim=1)
    redrawn = gaps[torch.randint(len(gaps), (draws, len(gaps)))].mean(dim=1)
    ends = redrawn.quantile(torch.tensor([0.025, 0.975]))
    return ends[0].item(), ends[1].item()
    # </solution>


check("by_profession", by_profession)

# %%
_, low, high = gaps["the difference"]
wide = by_profession(*as_other, each=len(men) // len(jobs))
print("as if 120 people:   {:+.1%} to {:+.1%}".format(low, high))
print("as 20 professions:  {:+.1%} to {:+.1%}".format(*wide))

# %% [markdown]
# ## What to read
#
# * [The CLIP paper](https://arxiv.org/abs/2103.00020), sections 6 (limitations) and 7.1 (bias).
# * [ARO](https://arxiv.org/abs/2210.01936): the tests, and NegCLIP, the cure;
#   [SugarCrepe](https://arxiv.org/abs/2306.14610): how the blind won, and what is left of cures.
# * `clip_lab/experiments/scene_tests.py`: all the tests; `claims/binding.py`, `counting.py`, `bias.py`.
