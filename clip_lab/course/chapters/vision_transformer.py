"""Chapter 3: the Vision Transformer. What its build exercises look for.

Right values come from `clip_lab.model` or are written out entry by entry; beside each stands what
the likely mistakes would give on the same input.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from clip_lab.course.checks import Answer, Wrong, compare, exercise, need_gradient
from clip_lab.course.trial import Mistakes, drawn
from clip_lab.course.words import ANSWERS
from clip_lab.model import ViTConfig
from clip_lab.model.vit import VisionTransformer

ANSWERS["patches in disorder"] = """
    The tower never uses that two tokens stand next to each other in the sequence: attention is a
    sum over all of them, and everything else is done to each alone. What it knows of places it
    reads from the position vectors, and those are learnt. With one fixed order for all pictures,
    token 5 still always comes from the same spot, so its vector learns that spot, and which other
    tokens are near. A ResNet's convolutions take it for granted that neighbours belong together,
    the same at every place; filters that are alike everywhere can't put each patch back.
"""


@exercise(
    "vit_patches",
    hints=(
        "One long row of pixels has to be regrouped. Give rows and columns two axes each: which "
        "patch, and where inside it.",
        "After that split the axes are batch, colour, patch row, row inside, patch column, column "
        "inside. Which three belong to one patch, and which two count the patches?",
        "Bring the axes into the order batch, patch row, patch column, colour, row inside, column "
        "inside (permute), then melt the two that count and the three inside. A reshape alone "
        "never moves a number: it only re-reads them in the order in which they lie.",
    ),
)
def _patches(answer: Answer) -> str:
    pictures, p = drawn(2, 3, 8, 12, seed=1), 4  # 2 x 3 patches: rows and columns differ
    given = answer(pictures, p)
    if isinstance(given, Tensor) and tuple(given.shape) == (2, 48, 6):
        raise Wrong("Each patch is a column here (so F.unfold gives them). A token is a row: turn "
                    "the last two axes round.")  # fmt: skip
    result = answer.tensor(pictures, p, shape=(2, 6, 48), means="batch, patches, numbers in each")
    # (batch, colour, patch row, row inside, patch column, column inside)
    parts = pictures.double().unflatten(3, (3, p)).unflatten(2, (2, p))

    def ordered(*axes: int) -> Tensor:
        return parts.permute(0, *axes).reshape(2, 6, 48)

    shuffled = "The patches are right, but the numbers in each come in the order "
    wanted = "; a convolution's weights lie as colour, row, column."
    compare(result, ordered(2, 4, 1, 3, 5), [
        (pictures.double().reshape(2, 6, 48), "This only re-reads the picture's numbers in the "
         "order in which they lie: a “patch” is then some rows of one colour. The axes have to be "
         "moved (permute) before they are melted."),
        (ordered(1, 2, 4, 3, 5), "Rows and columns are split rightly, but colour stands before the "
         "patches' axes, so a “patch” takes its numbers from one colour of several patches."),
        (ordered(1, 2, 3, 4, 5), "The axes were split and melted again without being moved: this "
         "is the picture as it was. Bring those that count patches together first."),
        (ordered(2, 4, 3, 5, 1), shuffled + "row, column, colour" + wanted),
        (ordered(2, 4, 1, 5, 3), shuffled + "colour, column, row" + wanted),
        (ordered(2, 4, 5, 3, 1), shuffled + "column, row, colour" + wanted),
        (ordered(4, 2, 1, 3, 5), "The patches come column by column. CLIP reads them like a page: "
         "along the top row first."),
        (ordered(4, 2, 1, 5, 3), "Rows and columns are exchanged, of the patches and inside them."),
        (pictures.double().reshape(2, 3, 2, 3, p, p).permute(0, 2, 3, 1, 4, 5).reshape(2, 6, 48),
         "A row of pixels is patches times pixels inside, in that order: split the height into its "
         "own two axes and the width into its own two, not both at once."),
        (F.unfold(pictures.double(), p, stride=p).reshape(2, 6, 48), "F.unfold's columns were only "
         "re-read as rows. Turn its last two axes round (transpose)."),
        (ordered(3, 5, 1, 2, 4), "Each “patch” takes every fourth pixel: which patch, and where "
         "inside it, are exchanged. The outer axis of the split counts the patches."),
    ])  # fmt: skip
    return "Patches row by row, the numbers in each as a convolution's weights lie."


@exercise(
    "vit_attention",
    hints=(
        "Split the width into heads first; each head then does the same on its own: dot products, "
        "softmax, mixture.",
        "unflatten turns the last axis into (heads, width of a head); the heads' axis must then "
        "stand before the tokens', so that a matrix product runs over tokens. Divide the dot "
        "products by the root of a head's width.",
        "Of the scores, axis -2 is who asks and axis -1 who answers; each asker's shares sum to 1. "
        "After mixing the values, put the heads back behind the tokens and melt them together.",
    ),
)
def _attention(answer: Answer) -> str:
    q, k, v = (drawn(2, 5, 12, seed=seed).requires_grad_() for seed in (2, 3, 4))
    result = answer.tensor(q, k, v, 3, shape=(2, 5, 12), means="a vector for each token, as before")
    right = _attend(q.detach().double(), k.detach().double(), v.detach().double())
    compare(result, right, _attention_mistakes(q, k, v))
    lost = {name: "that part of the block would not learn" for name in ("q", "k", "v")}
    need_gradient(result, dict(zip("qkv", (q, k, v), strict=True)), lost)
    return "Every head mixes the values by its own shares, and the heads stand side by side again."


def _attend(
    q: Tensor, k: Tensor, v: Tensor, heads: int = 3, root: float = 4**0.5, axis: int = 3,
    strided: bool = False, joined: str = "bthc", hidden: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Attention written out, with a place for each mistake. `axis` is the one that sums to 1."""

    def split(x: Tensor) -> Tensor:
        width = x.shape[2] // heads
        if strided:
            return x.reshape(*x.shape[:2], width, heads).permute(0, 3, 1, 2)
        return torch.stack(x.split(width, dim=2), dim=1)

    scores = torch.einsum("bhqc,bhkc->bhqk", split(q), split(k)) / root
    scores = scores if hidden is None else scores.masked_fill(hidden, -torch.inf)
    mixed = torch.einsum("bhqk,bhkc->bhqc", scores.softmax(dim=axis), split(v))
    return torch.einsum(f"bhtc->{joined}", mixed).reshape(q.shape)


def _attention_mistakes(*given: Tensor) -> Mistakes:
    q, k, v = (part.detach().double() for part in given)
    queries, keys, values = (x.reshape(2, 3, 5, 4) for x in (q, k, v))
    unmoved = F.scaled_dot_product_attention(queries, keys, values)
    plain = torch.einsum("bqc,bkc->bqk", q, k) / 12**0.5
    a, b, c = (x.unflatten(2, (3, 4)) for x in (q, k, v))  # tokens before heads
    later = torch.ones(5, 5).triu(1).bool()
    return [
        (F.scaled_dot_product_attention(a, b, c).flatten(2), "The heads of one token attended to "
         "each other. Move the heads' axis before the tokens', so that tokens meet."),
        (_attend(q, k, v, hidden=later), "Each token sees only itself and those before it: a "
         "causal mask. Pictures have no before; here every token sees all."),
        *((_attend(q, k, v, root=n**0.5), f"You divided by the root of the number of {of}, not "
           "of a head's width.") for n, of in ((5, "tokens"), (3, "heads"))),
        (_attend(q, k, v, root=1), "The scores are not scaled: divide by the root of a head's "
         "width, or a softmax over long vectors sees one token only."),
        (_attend(q, k, v, root=12**0.5), "You divided by the root of the whole width. The dot "
         "products run over one head's width."),
        (_attend(q, k, v, root=4), "You divided by a head's width; its root is asked for."),
        (_attend(q, k, v, axis=2), "Your softmax runs over those who ask. Each asker shares 100 % "
         "among the tokens that answer: the last axis."),
        (_attend(q, k, v, axis=1), "Your softmax runs over the heads. Heads don't compete; tokens "
         "do."),
        (_attend(q, k, v, heads=1, root=12**0.5), "This is one head of the full width. Split it "
         "into `heads` parts, each with a softmax of its own."),
        (_attend(q, k, v, heads=1), "This is one head of the full width, only scaled as three."),
        (plain.softmax(2), "These are the shares; they still have to mix the values."),
        (_attend(k, q, v), "Queries and keys are exchanged: row i must be what token i asks."),
        (_attend(q, k, k), "The keys are mixed. Keys are compared, values are mixed."),
        (_attend(q, k, q), "The queries are mixed. Queries are compared, values are mixed."),
        *((_attend(q, k, v, strided=True, joined=axes), "Head 0 got every third number of each "
           "vector. A head is a run of neighbouring numbers: unflatten to (heads, width of a "
           "head).") for axes in ("bthc", "btch")),
        (_attend(q, k, v, joined="bhtc"), "The heads are mixed rightly and put together wrongly: "
         "melting them while they stand before the tokens scatters each token's numbers."),
        *((x.reshape(2, 5, 12), "The width was split by re-reading the numbers: parts of different "
           "tokens became one head. Split the last axis, then move the heads forward.")
          for x in (unmoved, unmoved.transpose(1, 2))),
    ]  # fmt: skip


@exercise(
    "vit_block",
    hints=(
        "Two halves of the same form. In each, what is the thing that is added to?",
        "Attention reads a normalised copy of x; its answer is added to x itself, as it came. The "
        "second half does the same to what the first half made.",
        "Each half: the old value plus a part applied to a norm of the old value. Nothing is "
        "normalised on the straight way through.",
    ),
)
def _block(answer: Answer) -> str:
    parts = _parts()
    one, attention, two, network = parts
    x = drawn(2, 4, 6, seed=5)
    result = answer.tensor(x, *parts, shape=(2, 4, 6), means="a block changes no shape")
    x = x.double()
    half = x + attention(one(x))
    compare(result, half + network(two(half)), [
        (two(one(x + attention(x)) + network(one(x + attention(x)))), "This is the block of the "
         "first transformers: the norm comes after each sum. In CLIP the norm stands before each "
         "part, and the way straight through is left alone (pre-norm)."),
        (attention(one(x)) + network(two(attention(one(x)))), "The first sum is missing: "
         "attention's answer has to be added to x."),
        (network(two(half)), "The second sum is missing: the network's answer has to be added to "
         "what it read."),
        (network(two(attention(one(x)))), "Both sums are missing: each part's answer is added to "
         "what came in."),
        (one(x) + attention(one(x)) + network(two(one(x) + attention(one(x)))), "You add to the "
         "normalised copy. The norm is only for the part to read; the sum takes x as it came."),
        (two(half) + network(two(half)), "In the second half you add to the normalised copy. The "
         "norm is only for the network to read."),
        (x + attention(one(x)) + network(two(x)), "Both halves read the x that came in. The second "
         "reads what the first made."),
        (x + network(two(half)), "The second half adds to the x that came in: attention's answer "
         "is lost from the straight way."),
        (x + one(attention(x)) + two(network(x + one(attention(x)))), "The norms stand behind the "
         "parts. In a pre-norm block each part reads a normalised copy; its answer is added as "
         "it is."),
        (half + network(two(attention(one(x)))), "The network reads attention's answer alone. It "
         "reads the whole: what came in, and the answer added."),
        (half + network(one(half)), "The first norm is used twice: each half has its own."),
        (half + network(half), "The network reads a copy that isn't normalised."),
        (x + attention(x) + network(x + attention(x)), "No norm is used."),
        (x + attention(x) + network(two(x + attention(x))), "Attention reads a copy that isn't "
         "normalised."),
        (half, "The second half, with the network, is missing."),
        (x + network(two(x)) + attention(one(x + network(two(x)))), "The halves are exchanged: "
         "attention comes first."),
    ])  # fmt: skip
    return "Two sums: each part reads a normalised copy, and x itself runs straight through."


def _parts() -> tuple[Callable[[Tensor], Tensor], ...]:
    """Stand-ins for the parts of a block; small enough to tell every mistake from every other."""

    def norm(shift: float) -> Callable[[Tensor], Tensor]:
        return lambda x: (1 + shift) * (x - x.mean(2, keepdim=True)) + shift

    return norm(0.3), lambda x: x.cumsum(dim=1) / 3, norm(-0.4), lambda x: x.tanh() * 2


@exercise(
    "vit_vector",
    hints=(
        "Follow one token: the class token starts as the same vector for every picture. What is "
        "done to it before the blocks, and what after?",
        "Put it in front of each picture's patches (expand it over the batch, torch.cat along the "
        "tokens), add the positions, normalise with ln_pre; then the blocks.",
        "After tower.transformer only token 0 counts: normalise it with ln_post, then multiply it "
        "by the matrix tower.proj from the right.",
    ),
)
def _vector(answer: Answer) -> str:
    tower = small_tower()
    patches = drawn(2, 4, 8, seed=6)
    result = answer.tensor(patches, tower, shape=(2, 5), means="one vector a picture, of the "
                           "width that proj maps to")  # fmt: skip
    with torch.no_grad():
        compare(result, _read(patches, tower), _vector_mistakes(patches, tower))
    lost = {
        "the class token": "it would stay as it was drawn",
        "the positions": "no place would ever be learnt",
        "the projection": "the way into the shared space would not learn",
    }
    weights = (tower.class_embedding, tower.positional_embedding, tower.proj)
    need_gradient(result, dict(zip(lost, weights, strict=True)), lost)
    return "Class token in front, positions, ln_pre, the blocks; then token 0, ln_post, proj."


def small_tower() -> VisionTransformer:
    """Two blocks of width 8 on 2 x 2 patches, every weight at random."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(7)
        tower = VisionTransformer(ViTConfig(4, 2, 8, 2, head_width=4), 5, "quick_gelu", 1e-5)
        for weights in tower.parameters():
            nn.init.normal_(weights, std=0.6)
    return tower


def _read(
    patches: Tensor, tower: VisionTransformer, places: Tensor | None = None, last: bool = False,
    skip: tuple[str, ...] = (), pick: Callable[[Tensor], Tensor] = lambda x: x[:, 0],
    swap: bool = False,
) -> Tensor:  # fmt: skip
    """The lab's way from patches to a vector, with a place for each mistake."""

    def step(name: str, x: Tensor) -> Tensor:
        if swap and name != "transformer":
            name = {"ln_pre": "ln_post", "ln_post": "ln_pre"}[name]
        return x if name in skip else getattr(tower, name)(x)

    token = tower.class_embedding.repeat(len(patches), 1, 1)
    x = torch.cat([patches, token] if last else [token, patches], dim=1)
    places = tower.positional_embedding if places is None else places
    x = step("ln_pre", x + places) if "late" not in skip else step("ln_pre", x) + places
    x = step("ln_post", pick(step("transformer", x)))
    return (x @ tower.proj).double()


def _vector_mistakes(patches: Tensor, tower: VisionTransformer) -> Mistakes:
    places = tower.positional_embedding
    none, blank = torch.zeros_like(places), places.clone()
    blank[0] = 0
    alone = tower.transformer(tower.ln_pre(patches + places[1:]))
    ends = [(tower.ln_post(x) @ tower.proj).double() for x in (alone[:, 0], alone.mean(dim=1))]
    return [
        *((end, "There is no class token: tower.class_embedding goes in front of the patches, and "
           "the vector is read from there.") for end in ends),
        (_read(patches, tower, swap=True), "ln_pre and ln_post are exchanged."),
        (_read(patches, tower, skip=("ln_pre",)), "ln_pre is missing: CLIP normalises the sum of "
         "tokens and positions before the first block."),
        (_read(patches, tower, skip=("ln_post",)), "ln_post is missing: the class token's last "
         "state is normalised before the projection."),
        (_read(patches, tower, skip=("ln_pre", "ln_post")), "Both norms, ln_pre and ln_post, are "
         "missing."),
        (_read(patches, tower, none), "The positions are missing: without them the order of the "
         "patches could not matter."),
        (_read(patches, tower, blank), "The class token got no position. It has one as well, the "
         "first."),
        (_read(patches, tower, skip=("late",)), "The positions were added after ln_pre. It "
         "normalises the sum."),
        (_read(patches, tower, pick=lambda x: x.mean(dim=1)), "This is the mean of all tokens. "
         "CLIP takes the class token's last state alone."),
        (_read(patches, tower, pick=lambda x: x[:, 1:].mean(dim=1)), "This is the mean of the "
         "patches. CLIP takes the class token's last state alone."),
        (_read(patches, tower, pick=lambda x: x[:, 1]), "Token 1 is the first patch. The class "
         "token is token 0."),
        (_read(patches, tower, pick=lambda x: x[:, -1]), "The last token is the last patch. The "
         "class token is token 0."),
        (_read(patches, tower, last=True, pick=lambda x: x[:, -1]), "The class token stands behind "
         "the patches, so that every token gets its neighbour's position. It comes first."),
        (_read(patches, tower, last=True), "The class token stands behind the patches. It comes "
         "first."),
        (_read(patches, tower, skip=("transformer",)), "The blocks, tower.transformer, are "
         "missing."),
        (_length_one(_read(patches, tower)), "The vectors have length 1. That comes later, when "
         "pictures and texts are compared."),
    ]  # fmt: skip


def _length_one(vectors: Tensor) -> Tensor:
    return vectors / vectors.square().sum(1, keepdim=True).sqrt()
