# %% [markdown]
# # Retrieval and the embedding space
#
# CLIP puts pictures and texts into one space. People do two things with it: they search it, and
# they draw maps of it. A search is a matrix product, and can be marked by counting. A map drops 254
# of 256 dimensions, and what it shows may not be there. Here you build both, and measure how far to
# believe them.
#
# Afterwards you can
#
# * search a collection exactly, and report Recall@k and median rank, both ways;
# * recognise a hub, and say what it does to results;
# * measure the modality gap, and say what closing it changes and what it doesn't;
# * read a PCA and a UMAP for what they tell, and no more;
# * add words to a picture, and take them away.
#
# You need chapter 6 (cosines, the matrix) and about an hour. `hint("name of the exercise", 1)`
# helps in three steps.
#
# ## A collection
#
# 300 emoji as Noto draws them, of every kind but flags, and their English names: 600 vectors of 256
# numbers, of length 1. Picture *i* and name *i* belong together. Most of them the model was trained
# on.

# %%
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

import clip_lab
from clip_lab import maps
from clip_lab.course import Note, check, explain, hint
from clip_lab.course import predict_choice, predict_number, verdict
from clip_lab.data.emoji import emoji_test
from clip_lab.evaluation.geometry import gap_of_mixture, shift_kinds
from clip_lab.evaluation.retrieval import retrieve
from clip_lab.map_collections import map_of, shapes_content
from clip_lab.view.chapters import embedding_space as figures
from clip_lab.view.widgets.map import MapWidget

torch.manual_seed(0)
torch.set_num_threads(1)  # small models gain nothing from more

encoder = clip_lab.load("emoji")
emoji_map = map_of(encoder)
content = emoji_map.content  # all emoji, and their names in two languages
kinds = content.columns["group"][: content.pictures]
plain = [
    i for i, kind in enumerate(kinds) if kind not in ("flags", "component")
]
rows = sorted(plain[i] for i in torch.randperm(len(plain))[:300])

names = [content.names[i] for i in rows]
pictures = content.draw(rows)
image_vectors = encoder.encode_images(pictures)
text_vectors = encoder.encode_texts(names, truncate=True)
n = len(names)

# %% [markdown]
# ## Build: search
#
# The nearest of a collection have the largest cosines. To find them *exactly*, compare the query
# with everything: one matrix product. Up to a million vectors that takes well under a second, so
# nothing cleverer is needed here.


# %%
def nearest_k(
    queries: Float[Tensor, "q d"], vectors: Float[Tensor, "n d"], k: int
) -> tuple[Float[Tensor, "q k"], Int[Tensor, "q k"]]:
    """For each query the k largest cosines, best first, and their rows.

    Queries and vectors have length 1.
    """
    # <solution>
    best = (queries @ vectors.T).topk(k, dim=1)
    return best.values, best.indices
    # </solution>


check("nearest_k", nearest_k)

# %%
wishes = ["vehicle", "happy", "animal", "love"]
asked = encoder.encode_texts(wishes)
thumbnails = [picture.permute(1, 2, 0).numpy() for picture in pictures]
hits = {
    wish: [
        (thumbnails[i], names[i], c) for c, i in zip(cs, places, strict=True)
    ]
    for wish, cs, places in zip(
        wishes,
        *map(Tensor.tolist, nearest_k(asked, image_vectors, 6)),
        strict=True,
    )
}
index = clip_lab.retrieval.VectorIndex.build(
    image_vectors, [{"name": name} for name in names]
)
the_labs = [
    [hit.row["name"] for hit in found] for found in index.search(asked, 6)
]
same = the_labs == [[name for _, name, _ in found] for found in hits.values()]
figures.show(
    figures.found(hits),
    Note("The lab's index finds the same", str(same)),
    verdict("backbone"),
)

# %% [markdown]
# A search is the least that one can build on such vectors. Claim 26 tries four things more, on the
# lab's drawn shapes.
#
# ## Build: ranks
#
# Nobody labelled which pictures are “happy”. But each name has one partner, whose **rank** is 1 if
# it comes first. **Recall@k** is the share of queries with a rank up to k, and the **median rank**
# is that of the query in the middle.


# %%
def partner_ranks(scores: Float[Tensor, "n n"]) -> Int[Tensor, " n"]:
    """The rank of entry (i, i) in row i, from 1. Of equal ones it is last."""
    # <solution>
    return (scores >= scores.diagonal()[:, None]).sum(dim=1)
    # </solution>


check("partner_ranks", partner_ranks)


# %%
def report(name: str, scores: Float[Tensor, "n n"]) -> None:
    for way, of in (("picture to text", scores), ("text to picture", scores.T)):
        ranks = partner_ranks(of)
        recalls = [f"{(ranks <= k).float().mean():6.1%}" for k in (1, 5, 10)]
        print(f"{name:13} {way}  {'  '.join(recalls)}  {ranks.median():3}")


new = emoji_test("noto", split="heldout")
new_names = [new.labels[target] for target in new.targets]
new_images = encoder.encode_images(new.pictures)
new_texts = encoder.encode_texts(new_names)

print(" " * 32 + "R@1     R@5    R@10  median rank")
report("these 300", image_vectors @ text_vectors.T)
report("151 never seen", new_images @ new_texts.T)
ours = retrieve(image_vectors, text_vectors, [[name] for name in names])
print("The lab's own, these 300, text to picture:", *ours.rows()[1].split()[3:])

# %% [markdown]
# Two habits. Give both directions: they differ. And give the collection's size: among more things
# every rank can only grow, so R@1 of 300 and R@1 of 5,000 are not to be compared.
#
# ## Predict: the popular one
#
# Each of the 300 pictures lists its ten nearest names. On average, a name is on ten lists. On how
# many is the most popular name?

# %%
# <solution: guess = ...>
guess = 25
# </solution>
hub_guess = predict_number(
    "The most popular name is on how many of 300 lists?",
    guess,
    low=10,
    high=300,
)
hub_guess


# %%
def times_listed(lists: Int[Tensor, "q k"], count: int) -> Int[Tensor, " n"]:
    return torch.bincount(lists.flatten(), minlength=count)


listed = {
    "names, on the lists of pictures": times_listed(
        nearest_k(image_vectors, text_vectors, 10)[1], n
    ),
    "pictures, on the lists of names": times_listed(
        nearest_k(text_vectors, image_vectors, 10)[1], n
    ),
}
of_names, of_pictures = listed.values()
popular = names[of_names.argmax()]
unread = torch.tensor([name in new_names for name in names])
for kind, which in (("never read", unread), ("read in training", ~unread)):
    mean = of_names[which].float().mean()
    print(f"{which.sum():3} names {kind}: on {mean:.0f} lists on average")
figures.show(
    figures.hubs(listed, names, lists=10, predicted=hub_guess.value),
    hub_guess.measured(f"“{popular}” is on {of_names.max()} lists"),
)

# %% [markdown]
# These are **hubs**. In many dimensions some points come near to very many others
# ([Radovanović et al. 2010](https://jmlr.org/papers/v11/radovanovic10a.html)). Here there is a
# second reason: most of the first belong to things that training kept from the model. Nothing ever
# pushed their names away from wrong pictures. If one result keeps coming back in your search, count
# like this before you blame the query.
#
# ## Build: the modality gap
#
# Pictures and texts share a space, but do they share a place?
# [Liang et al. 2022](https://arxiv.org/abs/2203.02053) took the mean of each kind, its *centroid*,
# and found CLIP's 0.82 apart.


# %%
def centroid_gap(
    image_vectors: Float[Tensor, "n d"], text_vectors: Float[Tensor, "m d"]
) -> Float[Tensor, " d"]:
    """What leads from the texts' centroid to the pictures'."""
    # <solution>
    return image_vectors.mean(dim=0) - text_vectors.mean(dim=0)
    # </solution>


check("centroid_gap", centroid_gap)

# %% [markdown]
# How long is that, and is it more than two random halves of all 600 would be apart? Then predict. A
# gap can be closed by hand: move each kind towards the other, along the gap, by half of it. What
# will that do to Recall@1?

# %%
gap = centroid_gap(image_vectors, text_vectors)
chance_gap = gap_of_mixture(image_vectors, text_vectors)
print(f"Gap: {gap.norm():.2f}. Between random halves: {chance_gap:.2f}.")

# <solution: guess = ...>
guess = "a"
# </solution>
closing_guess = predict_choice(
    "With the gap closed, Recall@1 from text to picture ...",
    guess,
    {
        "a": "grows by 5 points or more",
        "b": "changes by less than 5",
        "c": "falls by 5 or more",
    },
)
closing_guess


# %%
def pictures_listed(images: Tensor, texts: Tensor) -> float:
    """Of a text's ten nearest of both kinds: the share of pictures."""
    everything = torch.cat([images, texts])
    places = nearest_k(texts, everything, 11)[1]  # and each text finds itself
    return (places < len(images)).sum().item() / (10 * len(texts))


shares = [0.0, 0.125, 0.25, 0.375, 0.5, 0.625, 0.75, 1.0]
curves: dict[str, list[float]] = {
    name: []
    for name in ("text to picture", "picture to text", "cosine", "mixed")
}
for share in shares:
    moved = shift_kinds(image_vectors, text_vectors, share)
    scores = moved[0] @ moved[1].T
    curves["text to picture"].append(
        (partner_ranks(scores.T) == 1).float().mean()
    )
    curves["picture to text"].append(
        (partner_ranks(scores) == 1).float().mean()
    )
    curves["cosine"].append(scores.diagonal().mean())
    curves["mixed"].append(pictures_listed(*moved))

at_rest, closed = (curves["text to picture"][i] for i in (0, 4))
figures.show(
    figures.closing(
        shares,
        {
            "Recall@1": {key: curves[key] for key in list(curves)[:2]},
            "What does change": {
                "mean cosine of partners": curves["cosine"],
                "pictures among a text's 10 nearest": curves["mixed"],
            },
        },
    ),
    closing_guess.measured(f"from {at_rest:.1%} to {closed:.1%}"),
    verdict("modality_gap"),
)

# %% [markdown]
# For one text, all pictures moved by the same vector, so all its cosines change by about the same
# amount. A ranking *among pictures* doesn't notice. The cosines of partners rise, which looks like
# progress and isn't. What changes are lists that hold **both** kinds: beforehand a text's
# neighbours are mostly other texts. Whoever keeps both kinds in one index should search each kind
# by itself, or close the gap.
#
# ## Build: a map by PCA
#
# Which two directions show most? Take the mean off, so that the cloud sits at the origin. The
# singular value decomposition X = U S Vᵀ then has in the rows of Vᵀ the directions in which the
# vectors vary most, in order, and S² says how much. A point's place is its dot product with each
# direction.


# %%
def principal(
    vectors: Float[Tensor, "n d"], k: int
) -> tuple[Float[Tensor, "n k"], Float[Tensor, " k"]]:
    """Places along the first k components, and their shares of all variance."""
    # <solution>
    centred = vectors - vectors.mean(dim=0)
    _, singular, directions = torch.linalg.svd(centred, full_matrices=False)
    shares = singular.square() / singular.square().sum()
    return centred @ directions[:k].T, shares[:k]
    # </solution>


check("principal", principal)

# %% [markdown]
# The other famous map is **UMAP** ([McInnes et al. 2018](https://arxiv.org/abs/1802.03426)). It
# gives up straight axes: it links each vector with its 15 nearest, then pulls linked points
# together on the paper and pushes others apart. The lab ships its points (for all 5,733 vectors of
# the collection; you see those of these 600), so nothing needs computing.
#
# The test of a map: of a point's ten neighbours on it, how many are among its ten nearest in the
# space?

# %%
# <solution: guess = ...>
guess = 8
# </solution>
true_guess = predict_number(
    "UMAP: how many of ten neighbours on the map are true?",
    guess,
    low=0,
    high=10,
)
true_guess

# %%
both = torch.cat([image_vectors, text_vectors])
places = [*rows, *content.targets[rows]]  # of the pictures, then of their names
umap_points = torch.from_numpy(emoji_map.points("umap")[places])
pca_points, pca_shares = principal(both, 2)
the_labs_pca = maps.pca(both.numpy())


def true_of_ten(points: Tensor) -> float:
    found = [
        maps.true_on_map(points.numpy(), both.numpy(), row)
        for row in range(0, len(both), 2)
    ]
    return sum(found) / len(found)


truth = {
    name: true_of_ten(points)
    for name, points in (("PCA", pca_points), ("UMAP", umap_points))
}
titles = {
    f"{name}: {true:.1f} of 10 true": name for name, true in truth.items()
}
drawn = {"PCA": pca_points, "UMAP": umap_points}
figures.show(
    figures.maps({t: drawn[name] for t, name in titles.items()}, pairs=n),
    true_guess.measured(f"{truth['UMAP']:.1f} of 10; by chance 0.2"),
    Note(
        "Variance on the PCA map",
        f"yours {pca_shares.sum():.1%}, "
        f"the lab's {the_labs_pca.shares.sum():.1%}",
    ),
)

# %% [markdown]
# PCA is honest and shows little. What lies apart on it lies apart in the space, at least as far;
# what lies together may not. UMAP keeps several times as many neighbours, and still most of those
# you see are false.
#
# ## Play
#
# Dots are pictures, diamonds texts. Click one, or walk with the arrow keys; its true neighbours are
# computed in the full space. “Gap axes” has the modality gap as its x axis.
#
# * The map opens on the most popular name. On which side of the gap does it lie? How does that make
#   it popular?
# * Close the gap. Which numbers in the sentence below the map move?
# * On the UMAP pictures and texts mix. Is there a modality gap or not? Which view would you show?

# %%
views = {
    "gap axes": maps.gap_axes(image_vectors.numpy(), text_vectors.numpy()),
    "PCA": the_labs_pca,
    "UMAP": umap_points.numpy(),
}
MapWidget(
    image_vectors.numpy(),
    text_vectors.numpy(),
    names,
    thumbnails,
    views,
    chosen=n + int(of_names.argmax()),
)

# %% [markdown]
# ## A misconception
#
# **“What is far apart on the UMAP is far apart in the space.”** A biologist came to doubt it:
# clusters far apart on the map were close relatives in a tree
# ([seurat#2075](https://github.com/satijalab/seurat/issues/2075); the answer there points to
# [umap#92](https://github.com/lmcinnes/umap/issues/92)). Here are all 179,700 pairs of our 600, by
# their distance on the map.

# %%
one, other = torch.triu_indices(len(both), len(both), offset=1)
in_space = (2 - 2 * (both @ both.T)).clamp(min=0).sqrt()[one, other]


def rank_correlation(a: Tensor, b: Tensor) -> float:
    """1: the same order; 0: none of the one's order is in the other's."""
    orders = torch.stack([x.argsort().argsort().double() for x in (a, b)])
    return torch.corrcoef(orders)[0, 1].item()


by_map, far = {}, {}
for name, points in drawn.items():
    on_map = torch.cdist(points, points)[one, other]
    further = on_map > on_map.median()
    by_map[name] = (on_map, in_space)
    far[name] = rank_correlation(on_map[further], in_space[further])
titles = {
    f"{name}. Rank correlation\nof the further half: {r:.2f}": by_map[name]
    for name, r in far.items()
}
figures.show(figures.truth_by_distance(titles))

# %% [markdown]
# UMAP's nearest pairs are near. After that the curve is all but flat: whether two points lie half a
# map apart or at opposite ends says next to nothing, less even than on PCA's map, which dropped
# most of the space. Look at the scale, too: four pairs in five are between 1.1 and 1.5 apart. In
# 256 dimensions nearly everything is about equally far from everything else, and paper can't show
# that.
#
# ## Break it
#
# An image search built on CLIP showed “certain images appearing frequently”: its database knew only
# squared Euclidean distance, and CLIP wants cosines
# ([aerospike-vector#5](https://github.com/aerospike/aerospike-vector/issues/5)). For vectors of
# length 1 the order is the same. But a tower's raw output has any length.

# %%
# <solution: guess = ...>
guess = "b"
# </solution>
index_guess = predict_choice(
    "Raw pictures, squared distance. The favourite is in the top ten of",
    guess,
    {"a": "about 20 of 300 texts", "b": "about 100", "c": "all 300"},
)
index_guess

# %%
with torch.inference_mode():
    pixels = torch.stack([encoder.preprocess(picture) for picture in pictures])
    raw = encoder.model.encode_image(pixels)
lengths = raw.norm(dim=1)
print(f"lengths of the raw vectors: {lengths.min():.0f} to {lengths.max():.0f}")

to_find = {
    "cosine": text_vectors @ image_vectors.T,
    "inner product, raw": text_vectors @ raw.T,
    "squared distance, raw": -torch.cdist(text_vectors, raw).square(),
    "squared distance, length 1": -torch.cdist(
        text_vectors, image_vectors
    ).square(),
}
outcome = {
    name: (
        (partner_ranks(scores) == 1).float().mean().item(),
        int(times_listed(scores.topk(10).indices, n).max()),
    )
    for name, scores in to_find.items()
}
favourite = outcome["squared distance, raw"][1]
figures.show(
    figures.indexes(outcome, queries=n),
    index_guess.measured(f"{favourite} of 300"),
)

# %% [markdown]
# |q − x|² = |q|² − 2 q·x + |x|²: with lengths like these the last term drowns the others, and the
# *shortest* vectors win, whatever is asked. The inner product errs the other way: long vectors win.
# That mistake stood in open_clip's README
# ([open_clip#68](https://github.com/mlfoundations/open_clip/issues/68)), and made 21.7 of a 29.4 in
# somebody's video retrieval ([xpool#11](https://github.com/layer6ai-labs/xpool/issues/11)). Nothing
# raises an error. A count of favourites shows it at once.
#
# ## Explain
#
# A colleague's UMAP shows product photos and descriptions perfectly mixed. “No modality gap, so
# both can go into one index, sorted by cosine.” Answer in three or four sentences.

# %%
# <solution: words = ...>
words = """
    A UMAP keeps some neighbours and bends everything else, so it can't show
    whether there is a gap. I would measure the distance of the centroids
    against random halves, and count how many photos are among a description's
    ten nearest. If there are few, each kind should be searched by itself.
"""
# </solution>
explain("perfectly mixed", words)

# %% [markdown]
# ## Exercises
#
# **★ Picture minus word plus word.** Subtract from the picture of a red circle what makes it red.


# %%
def analogy(
    vectors: Float[Tensor, "n d"],
    minus: Float[Tensor, "n d"],
    plus: Float[Tensor, "n d"],
) -> Float[Tensor, "n d"]:
    """Each vector less `minus`, more `plus`, at length 1."""
    # <solution>
    return F.normalize(vectors - minus + plus, dim=-1)
    # </solution>


check("analogy", analogy)

# %%
shapes = clip_lab.load("shapes")
world = shapes_content()
one_each = range(0, world.pictures, 5)  # of each shape, colour and size
kinds = [world.columns[key] for key in ("group", "colour", "size")]
things = [tuple(kind[i] for kind in kinds) for i in one_each]
drawn_shapes = shapes.encode_images(world.draw(one_each))
colours = sorted({colour for _, colour, _ in things})
tasks = [
    (i, c) for i in range(len(things)) for c in colours if c != things[i][1]
]
wanted = [things.index((things[i][0], c, things[i][2])) for i, c in tasks]
start = drawn_shapes[[i for i, _ in tasks]]


def recoloured(phrase: str, keep: float = 1) -> float:
    """How often the same thing in the new colour is nearest of all."""
    said = shapes.encode_texts(
        [phrase.replace("{}", colour) for colour in colours]
    )
    old = said[[colours.index(things[i][1]) for i, _ in tasks]]
    plus = said[[colours.index(c) for _, c in tasks]]
    asked = analogy(keep * start, keep * old, plus)
    found = nearest_k(asked, drawn_shapes, 1)[1][:, 0]
    return (found == torch.tensor(wanted)).float().mean().item()


recolouring = {
    "− “a red shape” + “a blue shape”": recoloured("a {} shape"),
    "− “red” + “blue”": recoloured("{}"),
    "“a blue shape” alone": recoloured("a {} shape", keep=0),
}
for name, share in recolouring.items():
    print(f"{share:6.1%} of {len(tasks):,}, 396 to choose from: {name}")

# %% [markdown]
# With words that this model was trained to read, directions add up. A bare “red” was no caption in
# training, and its vector means little. Arithmetic works where training made it work. Print what
# the new word finds alone, too: here not the shape.
#
# **★★ How flat is the space?** Count true neighbours for a map of any number of dimensions, all
# points at once. How many principal components does it take to keep eight in ten?


# %%
def neighbours_kept(
    points: Float[Tensor, "n p"], vectors: Float[Tensor, "n d"], k: int
) -> float:
    """Of each point's k nearest by distance: the share of its k by cosine.

    No point is its own neighbour. `vectors` have length 1.
    """
    # <solution>
    itself = torch.eye(len(points), dtype=torch.bool)
    on_map = torch.cdist(points, points).masked_fill(itself, torch.inf)
    cosines = (vectors @ vectors.T).masked_fill(itself, -torch.inf)
    seen = on_map.topk(k, largest=False).indices
    true = cosines.topk(k).indices
    return (seen[:, :, None] == true[:, None]).any(dim=2).float().mean().item()
    # </solution>


check("neighbours_kept", neighbours_kept)

# %%
kept = {
    k: neighbours_kept(principal(both, k)[0], both, 10)
    for k in (2, 5, 10, 20, 40)
}
for k, share in kept.items():
    print(f"{k:2} components: {10 * share:4.1f} of 10 true")
print(f"UMAP, 2 numbers: {10 * neighbours_kept(umap_points, both, 10):4.1f}")

# %% [markdown]
# **★★★ Take the hubs down.** CSLS ([Conneau et al. 2018](https://arxiv.org/abs/1710.04087),
# section 2.3) compares a cosine with what both sides are used to: twice the cosine, less the mean
# of the row's k largest, less that of the column's.


# %%
def csls(scores: Float[Tensor, "n m"], k: int) -> Float[Tensor, "n m"]:
    """Scores in which a hub's high cosines count for less."""
    # <solution>
    row_usual = scores.topk(k, dim=1).values.mean(dim=1, keepdim=True)
    column_usual = scores.topk(k, dim=0).values.mean(dim=0, keepdim=True)
    return 2 * scores - row_usual - column_usual
    # </solution>


check("csls", csls)

# %%
new_scores = new_images @ new_texts.T
relieved = csls(new_scores, 10)
report("never seen", new_scores)
report("with CSLS", relieved)
most = [
    times_listed(s.topk(10).indices, 151).max() for s in (new_scores, relieved)
]
print(f"Most popular name: on {most[0]} lists, then on {most[1]}.")

# %% [markdown]
# It needs many queries at once, and helps most where the model is weak.
#
# ## What to read
#
# * Liang et al. 2022, sections 2 to 4: where the gap comes from (it is there before training) and
#   what closing it does. Claim 24 tries it: `experiments/claims/modality_gap.py`.
# * The CLIP paper, appendix E.1: zero-shot retrieval on Flickr30k and MSCOCO.
# * [Wattenberg et al. 2016](https://distill.pub/2016/misread-tsne/), on misreading maps of UMAP's
#   elder kind.
# * `clip_lab/retrieval.py`, `clip_lab/maps/`; `clip_lab/search/` for collections that outgrow this.
