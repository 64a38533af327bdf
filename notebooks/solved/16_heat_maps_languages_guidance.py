# %% [markdown]
# # Heat maps, languages, guidance
#
# CLIP gives one number for a picture and a text. People want to know more: *where* is it, what if I
# ask in Turkish, and what would the model like to see best? Each question has a method with pretty
# results. Here you build the methods, and hold each result against something known: true outlines,
# chance, a model with random weights.
#
# Afterwards you can
#
# * make two kinds of heat map, and say why a raw one may point at nothing;
# * mark a map by the pointing game and by IoU, beside chance;
# * tell by two checks whether a map says anything of the model;
# * say what a language gets that the model never read;
# * draw by following the similarity uphill, and say why the winner may look like nothing.
#
# You need chapters 3, 4 and 6, and about an hour.

# %%
import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

import clip_lab
from clip_lab.course import Note, check, explain, hint
from clip_lab.course import predict_choice, predict_number, verdict
from clip_lab.data.emoji import emoji_test
from clip_lab.data.emoji_table import emoji_table, languages, texts
from clip_lab.data.shape_captions import with_article
from clip_lab.data.shape_drawing import draw, masks, paint
from clip_lab.experiments.claims.heat_maps import LABELS, SHORT, asked
from clip_lab.experiments.claims.heat_maps import names as names_of
from clip_lab.experiments.report import results
from clip_lab.interpret import ascent, localisation, occlusion
from clip_lab.interpret.heat_maps import METHODS, patch_vectors
from clip_lab.interpret.heat_maps import raw_similarity
from clip_lab.view.chapters import looking_in as figures
from clip_lab.view.widgets.heat import HeatWidget

torch.manual_seed(0)
torch.set_num_threads(1)  # small models gain nothing from more

emoji, shapes = clip_lab.load("emoji"), clip_lab.load("shapes")


def as_shown(pictures: Float[Tensor, "n 3 h w"]) -> list:
    return list(pictures.permute(0, 2, 3, 1).numpy())


# %% [markdown]
# ## The raw map
#
# An image tower ends in a grid of places: a ViT's patches (chapter 3), or the places before a
# ResNet's attention pooling (chapter 4). Give each place the way out that the pooled vector has,
# and it too gets a vector in the space of the texts. `patch_vectors` does that.
#
# **Build** the map: one cosine a place.


# %%
def place_cosines(
    places: Float[Tensor, "places d"], texts: Float[Tensor, "t d"]
) -> Float[Tensor, "t side side"]:
    """Each text's cosine with each place, laid out as the square grid."""
    # <solution>
    cosines = F.normalize(texts, dim=-1) @ F.normalize(places, dim=-1).T
    side = round(len(places) ** 0.5)
    return cosines.unflatten(1, (side, side))
    # </solution>


check("place_cosines", place_cosines)

# %% [markdown]
# The `emoji` model's last stage has 2 × 2 places. So: four emoji to a picture, one in each quarter,
# and each is asked for by its name. In how many of 100 cases is its own quarter the brightest of
# the four? Guessing would give 25.

# %%
# <solution: guess = ...>
guess = 60
# </solution>
raw_guess = predict_number(
    "Own quarter brightest, in % of cases?", guess, low=0, high=100
)
raw_guess

# %%
noto = emoji_test("noto", "seen")
groups = [emoji_table().rows[row].group for row in noto.rows]
things = [
    i for i, g in enumerate(groups) if g in ("animals-nature", "food-drink")
]
shuffled = torch.tensor(things)[torch.randperm(len(things))]
fours = shuffled[: len(things) // 4 * 4].reshape(-1, 4)


def collage(rows: Tensor) -> Float[Tensor, "3 64 64"]:
    """Four emoji at half size: two above, two below."""
    a, b, c, d = F.avg_pool2d(noto.pictures[rows], 2)
    return torch.cat([torch.cat([a, b], dim=2), torch.cat([c, d], dim=2)], 1)


QUARTERS = ("above left", "above right", "below left", "below right")
collages = torch.stack([collage(rows) for rows in fours])
said = [[noto.labels[noto.targets[i]] for i in rows] for rows in fours]
with torch.inference_mode():
    pixels = torch.stack([emoji.preprocess(picture) for picture in collages])
    places = patch_vectors(emoji, pixels)
names = [name for four in said for name in four]
named = emoji.encode_texts(names, truncate=True).unflatten(0, (-1, 4))
raw = torch.stack(list(map(place_cosines, places, named)))
own = torch.arange(4)
raw_share = (raw.flatten(2).argmax(dim=2) == own).float().mean().item()

labs = raw_similarity(emoji, collages[:3], said[0])[0]
same = torch.allclose(labs, raw[0], atol=1e-5)
pick = [0, 1, 2]
figures.show(
    figures.overlays(
        as_shown(collages[pick]),
        [f"{said[i][0]}, …" for i in pick],
        {
            f"asked: {quarter}": [raw[i, k] for i in pick]
            for k, quarter in enumerate(QUARTERS)
        },
    ),
    raw_guess.measured(f"{raw_share:.0%}, where a guess has 25 %"),
    Note("The lab's own gives the same", str(same)),
)

# %% [markdown]
# Each row is one collage, each column asks for what its quarter holds. The bright quarter is no
# better than a guess. Nothing in training ever asked a *place* to match a text: only the pooled
# vector was compared, and on the way there the layers had carried everything everywhere.
#
# ## The background, of all places
#
# A finer grid doesn't cure it. In the real CLIP,
# [Li et al. 2023](https://arxiv.org/abs/2304.05653) found raw maps that prefer the background to
# the thing. They blame two causes: attention by queries and keys gathers from places *unlike* the
# one that asks ([an author's words](https://github.com/xmed-lab/CLIP_Surgery/issues/13)), and all
# texts share a common part. **CLIP Surgery** lets a place gather from its like, and takes the
# common part off.
#
# That needs a ViT, and the models used here are ResNets. So look at what the lab published with
# claim 23: maps of the first of five small ViTs, scores of all five. Two more methods stand beside:
# attention rollout, and attention weighed by its gradient.
#
# **Build** the marking. In the *pointing game*
# ([Zhang et al. 2016](https://arxiv.org/abs/1608.00507), 4.1) a map scores if its highest point
# lies on the thing. Maps come enlarged to pixels.


# %%
def points_at(
    maps: Float[Tensor, "n size size"], masks: Bool[Tensor, "n size size"]
) -> Bool[Tensor, " n"]:
    """Does the highest point of each map lie in its mask?"""
    # <solution>
    highest = maps.flatten(1).argmax(dim=1)
    return masks.flatten(1)[torch.arange(len(maps)), highest]
    # </solution>


check("points_at", points_at)

# %%
# <solution: guess = ...>
guess = "c"
# </solution>
vit_guess = predict_choice(
    "Two shapes in a picture, one is named. The raw map's highest point",
    guess,
    {
        "a": "lies on the named one far more often than chance",
        "b": "lies on one of the two, but on either",
        "c": "is about as good as a blind guess",
    },
)
vit_guess

# %%
trials = results()["heat_maps"].measured
scenes, which = asked(trials.config["pictures"], trials.seeds[0])
three = torch.arange(3)
vit_outlines = masks(scenes[:3], 64)[three, which[:3]]
kept = torch.tensor(trials.runs[0]["examples"]).float()  # method, 3, 8, 8
by_method = dict(zip(METHODS, kept, strict=True))
scores = {
    name: (trials[f"{s}_pointing"].mean(), trials[f"{s}_other"].mean())
    for name, s in zip(METHODS, SHORT, strict=True)
}
blind = trials["guess_pointing"].mean()
agree = all(
    torch.equal(
        points_at(localisation.enlarged(maps, 64), vit_outlines),
        localisation.points_inside(maps, vit_outlines, 0),
    )
    for maps in kept
)
raw_named, raw_other = scores["raw similarity"]
figures.show(
    figures.overlays(
        as_shown(draw(scenes[:3], 128)),
        names_of(scenes, which)[:3],
        by_method,
        vit_outlines,
    ),
    figures.show(figures.pointing(scores, blind)),
    vit_guess.measured(
        f"{raw_named:.0%} on the named, {raw_other:.0%} on the other, "
        f"{blind:.0%} by chance (2,500 pictures)"
    ),
    Note("Your marking agrees with the lab's", str(agree)),
    verdict("heat_maps"),
    verdict("referring"),
)

# %% [markdown]
# In the first and the third row the raw map is *colder* on the thing named than around it. Over
# all pictures it points half the time at the background, and more often at the wrong shape than at
# the right one. Rollout doesn't read the text, so it can't tell one from the other. A map that
# finds just any object looks good, until you count hits on *the other* one, and a blind guess's.
# (Claim 30 used maps and crops to find what was named.)
#
# ## Ask from outside
#
# The `shapes` model ends in a single place: no raw map at all. The oldest method needs none
# ([Zeiler & Fergus 2014](https://arxiv.org/abs/1311.2901), 4.2): cover a part, and see how far the
# text's score falls.
#
# **Build** it. `masks` says what each cover hides; `score` takes a batch of pictures.
#
# Then predict, for 100 new scenes of two shapes, the sanity check of
# [Adebayo et al. 2018](https://arxiv.org/abs/1810.03292): the same method on the same architecture
# with *random weights*, which knows nothing.


# %%
def occlusion_map(
    picture: Float[Tensor, "3 size size"],
    masks: Bool[Tensor, "k size size"],
    score,
) -> Float[Tensor, "size size"]:
    """Each pixel: the mean fall over the covers that hide it.

    Covers have the picture's mean colour, channel by channel.
    """
    # <solution>
    colour = picture.mean(dim=(1, 2), keepdim=True)
    covered = torch.where(masks[:, None], colour, picture)
    fall = score(picture[None]) - score(covered)
    return (fall[:, None, None] * masks).sum(dim=0) / masks.sum(dim=0)
    # </solution>


check("occlusion_map", occlusion_map)

# %%
# <solution: guess = ...>
guess = "b"
# </solution>
random_guess = predict_choice(
    "Random weights: how often does it point at the named shape?",
    guess,
    {
        "a": "less than a blind guess",
        "b": "about as often as at the other shape",
        "c": "nearly as often as the trained model",
    },
)
random_guess


# %%
def scorer(encoder, text: str):
    """The score of a text: pictures to cosines."""
    words = encoder.encode_texts([text])[0]

    def score(pictures: Float[Tensor, "n 3 h w"]) -> Float[Tensor, " n"]:
        ready = encoder.preprocess.normalize(pictures)
        vectors = encoder.model.encode_image(ready)
        return F.normalize(vectors, dim=-1) @ words

    return score


def randomised(name: str):
    """A built-in model whose image tower was never trained."""
    encoder = clip_lab.load(name)
    for layer in encoder.model.visual.modules():
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()
    return encoder


scenes, which = asked(100, seed=7)
rows, size = torch.arange(len(scenes)), shapes.preprocess.size
pictures, outlines = draw(scenes, size), masks(scenes, size)
mine, other = outlines[rows, which], outlines[rows, 1 - which]
prompts = names_of(scenes, which)
covers = occlusion.covers(size)


@torch.inference_mode()
def occluded(encoder, wanted: list[str]) -> Float[Tensor, "n size size"]:
    return torch.stack([
        occlusion_map(picture, covers, scorer(encoder, text))
        for picture, text in zip(pictures, wanted, strict=True)
    ])  # fmt: skip


def both(maps: Tensor) -> tuple[float, float]:
    """How often a map points at the named shape, and at the other."""
    shares = [points_at(maps, m).float().mean() for m in (mine, other)]
    return shares[0].item(), shares[1].item()


untrained = randomised("shapes")
heat = {
    "trained": occluded(shapes, prompts),
    "random weights": occluded(untrained, prompts),
}
hits = {name: both(maps) for name, maps in heat.items()}
chance = mine.float().mean().item()
labs = occlusion.occlusion(shapes, pictures[:1], prompts[:1])[0, 0]
same = torch.allclose(labs, heat["trained"][0, 2::4, 2::4], atol=5e-3)
figures.show(
    figures.overlays(
        as_shown(draw(scenes[:3], 128)), prompts[:3], heat, mine[:3]
    ),
    figures.show(figures.pointing(hits, chance)),
    random_guess.measured(
        f"{hits['random weights'][0]:.0%} named, "
        f"{hits['random weights'][1]:.0%} other"
    ),
    Note("The lab's own, from 8-bit pixels, gives the same", str(same)),
)

# %% [markdown]
# A model that knows nothing still gets a map, as colourful as any; it only can't follow the text.
# So a heat map is an **estimate**, by one method, with one kind and size of cover. Before you
# believe it, change the text, and change the weights.
#
# ## Play
#
# Six of the scenes; the map is drawn over the picture, yellow is hot. Walk over the cells with the
# mouse or the arrow keys: each has its number. With a kernel you can ask for something of your own.
#
# * Ask for one shape, then for the other. Does the bright place move? And with random weights?
# * Ask for a shape that another picture holds, with this map's own range; then with that of all
#   prompts. What had you believed?
# * Take small covers. What do they miss? Where does a cover *help* the text, and why may it?

# %%
first = list(range(6))
cells = torch.eye(64).reshape(64, 8, 8).bool()
small = cells.repeat_interleave(4, dim=1).repeat_interleave(4, dim=2)
six = scenes.things()[:6]
holds = [" and ".join(f"{t.colour} {t.shape}" for t in here) for here in six]
asks = [with_article(name) for both in holds for name in both.split(" and ")]
asks = list(dict.fromkeys(asks))


@torch.inference_mode()
def three_maps(wanted: list[str]) -> dict:
    own_masks = [
        [
            occlusion_map(pictures[i], small, scorer(shapes, text))[2::4, 2::4]
            for text in wanted
        ]
        for i in first
    ]
    return {
        "occlusion": occlusion.occlusion(shapes, pictures[first], wanted),
        "small covers": torch.stack([torch.stack(row) for row in own_masks]),
        "random weights": occlusion.occlusion(
            untrained, pictures[first], wanted
        ),
    }


HeatWidget(
    {name: maps.numpy() for name, maps in three_maps(asks).items()},
    as_shown(draw(scenes[:6], 256)),
    holds,
    asks,
    about={
        "occlusion": "How far the cosine falls when covers hide the cell.",
        "small covers": "The same, with covers of just one cell.",
        "random weights": "Occlusion, on a model that was never trained.",
    },
    ask=lambda text: {
        name: maps[:, 0].numpy() for name, maps in three_maps([text]).items()
    },
)

# %% [markdown]
# ## A misconception
#
# **“There is a bright spot, so it is there.”** Maps are shown from their own lowest to their own
# highest value. Some tools hand out nothing else: keras-vis scaled every map from 0 to 1, and a
# user asked for the bare numbers, as what had been zero was lost
# ([keras-vis#222](https://github.com/raghakot/keras-vis/issues/222)). Ask every scene for a shape
# and colour that it doesn't hold:

# %%
things = scenes.things()
missing = []
for here in things:
    words = {thing.shape for thing in here} | {thing.colour for thing in here}
    free = [one for one in LABELS if not words & set(one.split())]
    missing.append(free[len(missing) * 37 % len(free)])
heat["absent"] = occluded(shapes, missing)


def scaled(maps: Float[Tensor, "n h w"]) -> Float[Tensor, "n h w"]:
    """Each map from its own lowest (0) to its own highest value (1)."""
    low, high = maps.amin((1, 2), True), maps.amax((1, 2), True)
    return (maps - low) / (high - low)


both_kinds = torch.cat([heat["trained"], heat["absent"]])
ones = int((scaled(both_kinds).amax((1, 2)) == 1).sum())
there, gone = both_kinds.amax((1, 2)).split(len(scenes))
apart = (there[:, None] > gone).float().mean().item()
figures.show(
    figures.absent(
        {"named, and there": there, "absent": gone},
        "highest fall of the cosine in a map",
    ),
    Note("Scaled by itself, it peaks at 1", f"{ones} of {len(both_kinds)}"),
    Note("Unscaled, what is there peaks higher", f"in {apart:.0%} of pairs"),
)

# %% [markdown]
# The scaling threw away the only thing that could have told. Even unscaled, the peaks overlap:
# keep the number beside the colours.
#
# ## Break it
#
# A viewer for the attention of vision-language models drew its maps transposed, rows for columns,
# until a user wrote that they looked more right the other way round
# ([VLM-Visualizer#1](https://github.com/zjysteven/VLM-Visualizer/issues/1)). The author had put the
# transposition there, and no longer knew why. A square grid raises no error.

# %%
middle = scenes.centre[rows, which]
off = (middle[:, 0] - middle[:, 1]).abs()
near = off < off.median()  # near the diagonal from top left to bottom right
right, turned = (
    points_at(maps, mine).float()
    for maps in (heat["trained"], heat["trained"].mT)
)
for name, part in (("near the diagonal", near), ("far from it", ~near)):
    print(f"{name:18} right {right[part].mean():.0%},", end=" ")
    print(f"transposed {turned[part].mean():.0%}")
print(f"all: {right.mean():.0%} and {turned.mean():.0%}, chance {chance:.0%}")

# %% [markdown]
# Near the diagonal, and so in the middle, where photographs keep their subject, about half of the
# hits survive the mistake. Test a map with a thing in the corner above right or below left.
#
# ## Languages
#
# The `emoji` model read captions in 28 languages and variants. Here are sixteen things, each drawn
# by Noto, and a word for each: how often is the own word nearest of sixteen? In the 28 these very
# drawings and words were trained on. Then come four languages that it never read: Catalan, Czech,
# Turkish, Greek. What does Greek get?

# %%
# <solution: guess = ...>
guess = 20
# </solution>
greek_guess = predict_number(
    "Greek: own word nearest, in % (chance: 6)?", guess, low=0, high=100
)
greek_guess

# %%
SIXTEEN = (
    "dog, cat, fish, bird, sun, crescent moon, glowing star, deciduous tree, "
    "red apple, house, automobile, train, open book, red heart, fire, old key"
).split(", ")
NEW = {
    "ca": "gos gat peix ocell sol lluna estrella arbre poma casa cotxe tren "
    "llibre cor foc clau",
    "cs": "pes kočka ryba pták slunce měsíc hvězda strom jablko dům auto "
    "vlak kniha srdce oheň klíč",
    "tr": "köpek kedi balık kuş güneş ay yıldız ağaç elma ev araba tren kitap "
    "kalp ateş anahtar",
    "el": "σκύλος γάτα ψάρι πουλί ήλιος φεγγάρι αστέρι δέντρο μήλο σπίτι "
    "αυτοκίνητο τρένο βιβλίο καρδιά φωτιά κλειδί",
}
row_of = {noto.labels[t]: i for i, t in enumerate(noto.targets.tolist())}
rows_16 = [row_of[name] for name in SIXTEEN]
codes = [emoji_table().rows[noto.rows[i]].hexcode for i in rows_16]
sixteen = emoji.encode_images(noto.pictures[rows_16])


def found(words: list[str]) -> float:
    cosines = sixteen @ emoji.encode_texts(words, truncate=True).T
    return (cosines.argmax(dim=1) == torch.arange(16)).float().mean().item()


trained = {k: found([texts(k)[code][0] for code in codes]) for k in languages()}
never = {language: found(words.split()) for language, words in NEW.items()}
heard = {
    t.casefold() for k in trained for row in texts(k).values() for t in row
}
known = {k: len(heard & set(words.split())) for k, words in NEW.items()}
print("Words of 16 that are a caption in some other language:", known)
print("σκύλος, dog, in tokens:", len(emoji.tokenizer.encode("σκύλος")))
figures.show(
    figures.spoken(
        {"in training": trained, "never read": never},
        1 / 16,
        predicted=greek_guess.value,
    ),
    greek_guess.measured(f"{never['el']:.0%}; Catalan {never['ca']:.0%}"),
    verdict("languages"),
)

# %% [markdown]
# A language without data gets what its neighbours left it. Catalan shares whole words with
# Spanish and French (*sol*, *arbre*), and stems, and so byte pairs (chapter 2); some mislead, for
# *gat* is a hole in Dutch. Greek letters stand in no caption: σκύλος falls to twelve single
# bytes. The text tower can't know that σκύλος and dog are one thing; only pairs can tell it. Claim
# 22 is the fair comparison: same pictures, two sets of captions. More languages at
# equal cost meant less English. [Chinese CLIP](https://arxiv.org/abs/2211.01335) kept to one
# language: some 200 million Chinese pairs, and an image tower that began as CLIP's.
#
# ## Guidance
#
# Turn it round: keep the text, and move the *picture*. In the shapes world a drawing is seven
# numbers (place, radius, tilt, colour), and `paint` is differentiable.
#
# **Build** the step. Then we ask for “a large red star”, twice. Once the seven numbers climb, from
# random drawings of stars. Once all 3,072 values of a 32 × 32 picture climb, from noise. Beside
# them stand 300 *true* drawings of large red stars.


# %%
def step_uphill(
    numbers: Float[Tensor, "n d"], score, rate: float
) -> Float[Tensor, "n d"]:
    """`numbers`, each row moved by rate · slope of its own score.

    `score` gives one number a row. The result carries no graph.
    """
    # <solution>
    moving = numbers.detach().requires_grad_()
    (gradient,) = torch.autograd.grad(score(moving).sum(), moving)
    return (moving + rate * gradient).detach()
    # </solution>


check("step_uphill", step_uphill)

# %%
# <solution: guess = ...>
guess = "c"
# </solution>
noise_guess = predict_choice(
    "Of 300 true large red stars, the climbing noise beats",
    guess,
    {"a": "none: it isn't a star", "b": "about half", "c": "nearly all"},
)
noise_guess

# %%
wish = "a large red star"
likes = scorer(shapes, wish)
dice = torch.Generator().manual_seed(0)
choices = torch.zeros(8, 2, dtype=torch.long)
choices[:, 0] = 3  # a star; on white
low, high = ascent.LEAST, ascent.MOST
numbers = low + (high - low) * torch.rand(8, 7, generator=dice)
free = torch.rand(2, 3 * size * size, generator=dice)


def of_drawing(values: Tensor) -> Tensor:
    return likes(paint(ascent.sketch_of(values, choices), size))


def of_pixels(values: Tensor) -> Tensor:
    return likes(values.unflatten(1, (3, size, size)))


climbs: dict[str, list[float]] = {"seven numbers": [], "free pixels": []}
for step in range(121):
    if step % 5 == 0:
        with torch.no_grad():
            climbs["seven numbers"].append(of_drawing(numbers).max().item())
            climbs["free pixels"].append(of_pixels(free).max().item())
    moved = step_uphill(numbers, of_drawing, 0.02)
    numbers = torch.minimum(torch.maximum(moved, low), high)
    free = step_uphill(free, of_pixels, 3.0).clamp(0, 1)

stars = low + (high - low) * torch.rand(300, 7, generator=dice)
stars[:, 2], stars[:, 4:] = 0.29, torch.tensor([0.86, 0.14, 0.19])
real = ascent.sketch_of(stars, choices[:1].expand(300, -1))
with torch.no_grad():
    true_stars = likes(paint(real, size))
    drawn = paint(ascent.sketch_of(numbers, choices), 128)
    best = int(of_drawing(numbers).argmax())
    winner = F.interpolate(free.unflatten(1, (3, size, size))[:1], (128, 128))
    real_one = paint(ascent.sketch_of(stars[:1], choices[:1]), 128)
ends = {name: values[-1] for name, values in climbs.items()}
beaten = int((true_stars < ends["free pixels"]).sum())
usual = true_stars.median().item()
labs = ascent.ascend(shapes, [wish], dice, starts=1, steps=20)
shape, colour, how_large = labs.attributes()[0]
titles = [
    f"seven numbers {ends['seven numbers']:.2f}",
    f"a true star {true_stars[0]:.2f}",
    f"free pixels {ends['free pixels']:.2f}",
]
figures.show(
    figures.contact_sheet(
        as_shown(torch.cat([drawn[best : best + 1], real_one, winner])), titles
    ),
    figures.show(
        figures.curves(
            climbs, "step", "cosine", ("median of 300 true stars", usual), 5
        )
    ),
    noise_guess.measured(f"{beaten} of 300"),
    Note(
        "The lab's own, all shapes tried, ends at",
        f"{labs.cosines.item():.2f}: a {how_large} {colour} {shape}",
    ),
    verdict("guidance"),
)

# %% [markdown]
# What the model finds closest need not look like it: in 3,072 dimensions there is nearly always a
# way uphill that no training picture ever blocked. Seven numbers leave no room for that; whatever
# they become, it is a drawing. [VQGAN-CLIP](https://arxiv.org/abs/2204.08583) likewise climbs
# only among what its generator can draw. DALL·E 2 doesn't climb: a **prior** guesses the
# picture's vector from the text's, and a decoder paints it; claim 25 tries such a prior
# too. And the judge must not be the guide: there a *second* model says what was drawn.
#
# ## Explain
#
# A hospital shows you a chest scan with a red blotch over the tumour: “So CLIP saw the tumour.”
# What would you ask to see? Three or four sentences.

# %%
# <solution: words = ...>
words = """
    The blotch is scaled to its own highest value, so some place is always red.
    I would ask how far the score falls there, against words that don't fit,
    and for the same map from random weights. Then for many scans with true
    outlines: how often is the highest point inside, and how often by chance?
"""
# </solution>
explain("the heat map as proof", words)

# %% [markdown]
# ## Exercises
#
# **★ Overlap.** Pointing looks at one pixel. Intersection over union looks at the area: here, what
# lies above half of the map's range.


# %%
def mask_iou(
    marked: Bool[Tensor, "n size size"], true: Bool[Tensor, "n size size"]
) -> Float[Tensor, " n"]:
    """Pixels in both, divided by pixels in at least one."""
    # <solution>
    shared = (marked & true).flatten(1).sum(dim=1)
    return shared / (marked | true).flatten(1).sum(dim=1)
    # </solution>


check("mask_iou", mask_iou)

# %%
for name, maps in heat.items():
    iou = mask_iou(scaled(maps) > 0.5, mine).mean()
    labs_iou = localisation.overlap(maps, mine).mean()
    print(f"{name:15} IoU {iou:.1%}, the lab's {labs_iou:.1%}")
print(f"all marked      IoU {chance:.1%}")

# %% [markdown]
# **★★ Half of Surgery.** Take off what all texts share. On the `emoji` model's raw maps, the four
# names of a collage are the texts.


# %%
def less_shared(
    maps: Float[Tensor, "texts rows columns"],
) -> Float[Tensor, "texts rows columns"]:
    """Each map less the mean map of all texts."""
    # <solution>
    return maps - maps.mean(dim=0, keepdim=True)
    # </solution>


check("less_shared", less_shared)

# %%
less = torch.stack([less_shared(maps) for maps in raw])
less_share = (less.flatten(2).argmax(dim=2) == own).float().mean().item()
print(f"own quarter: {raw_share:.1%} before, {less_share:.1%} after")

# %% [markdown]
# Next to nothing: where a place holds no trace of its own thing, there is none to uncover. The
# other half of Surgery, from whom a place gathers, has to come first.
#
# **★★★ Deletion.** No outline at hand? Then let the model judge: cover the hottest pixels first. If
# the map knows what matters, the cosine falls fast
# ([RISE, Petsiuk et al. 2018](https://arxiv.org/abs/1806.07421)).


# %%
def deletion_curve(
    picture: Float[Tensor, "3 size size"],
    heat: Float[Tensor, "size size"],
    score,
    steps: int,
) -> Float[Tensor, " k"]:
    """Scores after 0, 1, ..., `steps` equal parts are covered, hottest first.

    Covered pixels have the picture's mean colour. k = steps + 1.
    """
    # <solution>
    hottest = heat.flatten().argsort(descending=True)
    mean = picture.mean(dim=(1, 2))[:, None]
    batch = []
    for step in range(steps + 1):
        less = picture.flatten(1).clone()
        less[:, hottest[: round(step * len(hottest) / steps)]] = mean
        batch.append(less.unflatten(1, heat.shape))
    return score(torch.stack(batch))
    # </solution>


check("deletion_curve", deletion_curve)

# %%
orders = {name: heat[name] for name in ("trained", "random weights")}
orders["any order"] = torch.rand(heat["trained"].shape)
with torch.inference_mode():
    falls = {
        name: torch.stack([
            deletion_curve(pictures[i], maps[i], scorer(shapes, prompts[i]), 20)
            for i in range(30)
        ]).mean(dim=0).tolist()
        for name, maps in orders.items()
    }  # fmt: skip
figures.show(
    figures.curves(
        falls, "% of pixels covered, hottest first", "mean cosine", None, 5
    )
)

# %% [markdown]
# All three end at the same blank picture. What counts is how soon they fall.
#
# ## What to read
#
# * Li et al., [CLIP Surgery](https://arxiv.org/abs/2304.05653); Chefer et al.,
#   [Generic attention-model explainability](https://arxiv.org/abs/2103.15679), equations 5 and 6.
# * Adebayo et al., [Sanity checks for saliency maps](https://arxiv.org/abs/1810.03292).
# * Ramesh et al., [DALL·E 2](https://arxiv.org/abs/2204.06125), section 2.2: the prior.
# * `clip_lab/interpret/heat_maps.py` (all four methods, about 250 lines), `occlusion.py`,
#   `ascent.py`; the dashboard's “Inside” tab.
#
# One chapter is left: your own code, with the real weights.
