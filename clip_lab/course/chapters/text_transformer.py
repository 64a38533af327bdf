"""Chapter 5: the text transformer. What its build exercises look for.

Right values come from `clip_lab.model` or are worked out here, in float64, by a tower whose every
step can be left out: beside the right answer stands what the likely mistakes would give.
"""

import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from clip_lab.course.checks import Answer, Wrong, agrees, compare, exercise
from clip_lab.course.trial import Mistakes
from clip_lab.course.words import ANSWERS
from clip_lab.model.config import TextConfig
from clip_lab.model.text import TextTransformer
from clip_lab.model.transformer import Attention

ANSWERS["start token"] = """
    The mask decides it. The start token comes first, so it may look at nothing but itself: in every
    layer its state is made of the same embedding and the same position, whatever the caption says.
    All captions get one vector, and every comparison ends in a draw. BERT and the Vision
    Transformer have no mask, so there a first token can gather all the others. Under a causal mask
    only the last token of the text has seen everything, and that is the end token.
"""

NOT_A_TENSOR = "Return a tensor of shape (n, n); this is a {}."
FLOATING = (
    "This mask holds numbers ({}). True and False were asked for: True where a token may look. "
    "(Numbers, 0 and −inf, make a mask that is added to the scores, as in OpenAI's code.)"
)


@exercise(
    "causal_mask",
    hints=(
        "Row i is the token that looks, column j the token that is looked at. For which j may "
        "token 3 look at j? And for i = j?",
        "Count the places 0, 1, 2, ... once as a row and once as a column, and compare the two. "
        "A comparison of tensors gives True and False. Or: a triangle of ones, made boolean.",
        "True where the column's number is at most the row's. With `torch.arange(n)` called "
        "`place`, its column form is `place[:, None]`; which side of ≤ does it belong on?",
    ),
)
def _causal_mask(answer: Answer) -> str:
    mask = answer(5)
    if not isinstance(mask, Tensor):
        raise Wrong(NOT_A_TENSOR.format(type(mask).__name__))
    if mask.dtype != torch.bool:
        raise Wrong(FLOATING.format(str(mask.dtype).removeprefix("torch.")))
    value = answer.tensor(5, shape=(5, 5), means="a row for each token that looks")
    ahead = torch.tensor([[float(j > i) for j in range(5)] for i in range(5)]).double()
    itself = torch.eye(5).double()
    mistakes = [
        (ahead, "True marks what is hidden: the convention of nn.MultiheadAttention. Here, as in "
         "F.scaled_dot_product_attention, True means “may look”."),
        (ahead + itself, "The triangle is turned round: each token sees the future and not the "
         "past. Row i is the token that looks."),
        (1 - ahead - itself, "No token sees itself. The first one then sees nothing at all, and "
         "the softmax of an empty row is nan."),
        (torch.ones_like(ahead), "Everything is allowed: this is no mask. The tokens after the "
         "one that looks have to be False."),
        (itself, "Each token sees itself alone, so no word would ever hear of another."),
    ]  # fmt: skip
    compare(value, 1 - ahead, mistakes)
    answer.tensor(1, shape=(1, 1), means="a text of one token")
    return "Each token sees itself and what stands before it."


OWN_MASK = (
    "This hides the future, whatever mask is handed in. Use the one of the argument: it may be any "
    "mask."
)
LATE_DIVISION = (
    "The division came after the softmax, so the shares of a row no longer sum to 1. Divide the "
    "scores."
)


@exercise(
    "masked_attention",
    hints=(
        "Three steps: a score for each pair of a query and a key, shares along each row, a mixture "
        "of the values. Where between them must the mask come in, so that the shares of what may "
        "be seen still sum to 1?",
        "Scores are dot products of rows, divided by the root of the head's width (the last axis). "
        "Put −inf where the mask is False, before the softmax: exp(−inf) is 0.",
        "`.mT` turns the last two axes of the keys; `masked_fill(where, value)` writes into the "
        "places where its first argument is True, so the mask has to be turned into its opposite. "
        "Softmax along the last axis, then one more matrix product.",
    ),
)
def _masked_attention(answer: Answer) -> str:
    random = torch.Generator().manual_seed(11)
    q, k, v = torch.randn(3, 2, 3, 5, 4, generator=random)  # each (batch, heads, tokens, width)
    mask = torch.arange(5)[None] <= torch.arange(5)[:, None]
    mask[1, 4], mask[4, 2] = True, False  # any mask; every query sees some key, and not all
    result = answer.tensor(q, k, v, mask, shape=(2, 3, 5, 4), means="a mixed value for each query")
    inputs = (q.double(), k.double(), v.double())
    wanted = F.scaled_dot_product_attention(*inputs, attn_mask=mask)
    compare(result, wanted, _attention_mistakes(*inputs, mask))
    large = answer.tensor(8 * q, 8 * k, v, mask, shape=(2, 3, 5, 4))
    wanted = F.scaled_dot_product_attention(8 * inputs[0], 8 * inputs[1], inputs[2], mask)
    if not torch.allclose(large, wanted, atol=1e-2):
        raise Wrong(
            "Right for small scores, wrong for large ones. What is hidden has to get exactly 0: "
            "does it have a score that is low enough, whatever the others are?"
        )
    return "Hidden keys get exactly 0, and every row of shares still sums to 1."


def _attention_mistakes(q: Tensor, k: Tensor, v: Tensor, mask: Tensor) -> Iterator:
    """Every wrong way to mask with every wrong scale of the scores, then some others."""
    hide, width = ~mask, q.shape[-1]
    scales = (
        (math.sqrt(width), ""),
        (1.0, "The scores are not divided by the root of the head's width. "),
        (float(width), "The scores are divided by the head's width; its root was meant. "),
        (math.sqrt(q.shape[-2]), "The scores are divided by the root of the number of tokens; it "
         "should be the head's width, the last axis. "),
    )  # fmt: skip
    scores = torch.einsum("bhid,bhjd->bhij", q, k)
    for scale, about_scale in scales:
        for shares, text in _wrong_shares(scores / scale, hide):
            yield shares @ v, (about_scale + text).strip()
    yield F.scaled_dot_product_attention(q, k, v, is_causal=True), OWN_MASK
    yield torch.where(hide, -1e30, scores).softmax(-1) @ v / math.sqrt(width), LATE_DIVISION


def _wrong_shares(scores: Tensor, hide: Tensor) -> Mistakes:
    open_shares, shown = scores.softmax(-1), (~hide).double()
    return [
        (torch.where(hide, -1e30, scores).softmax(-1), ""),
        (torch.where(hide, scores, -1e30).softmax(-1), "The mask is read the wrong way round: "
         "what it allows was hidden. True means “may look”."),
        (open_shares, "The mask takes no part: every query sees every key."),
        (open_shares * shown, "The mask came after the softmax: what is left of a row no longer "
         "sums to 1. Hide the scores, not the shares."),
        ((scores * shown).softmax(-1), "Hidden scores were set to 0. That is a score like any "
         "other: exp(0) is 1, so what is hidden still gets a share. It takes −inf."),
        ((scores + shown).softmax(-1), "The mask was added to the scores as 1 and 0. An additive "
         "mask has 0 where a token may look and −inf where it may not."),
        (torch.where(hide, -1e30, scores).softmax(-2), "The softmax runs over the queries. Each "
         "query shares 100 % among the keys: the last axis."),
        (torch.where(hide, 0.0, scores), "There is no softmax: scores are not yet shares."),
    ]  # fmt: skip


@exercise(
    "end_places",
    hints=(
        "Which id are you looking for in each row, and what if it stands there more than once?",
        "Compare with the end token's id: True where it stands. Then ask each row for the place of "
        "its first True.",
        "argmax returns the place of the largest value, and of several equal ones the first. "
        "Booleans have to be made numbers before; and what it is asked of is the comparison, not "
        "the ids.",
    ),
)
def _end_places(answer: Answer) -> str:
    end = 7
    tokens = torch.tensor([
        [6, 1, 2, 7, 0, 0, 0, 0, 0],
        [6, 3, 9, 4, 2, 7, 0, 0, 0],  # 9: a word that was added above the end token
        [6, 0, 5, 0, 2, 0, 7, 7, 7],  # padded with the end token; 0 is a word too
        [6, 7, 0, 0, 0, 0, 0, 0, 0],  # an empty caption
    ])  # fmt: skip
    value = answer.tensor(tokens, end, shape=(4,), means="one place for each caption")
    is_end = (tokens == end).double()
    last = 8 - is_end.flip(1).max(dim=1).indices
    wanted = torch.tensor([3, 5, 6, 1]).double()
    mistakes = [
        (tokens.max(dim=1).indices.double(), "This is the place of the largest id. It is the end "
         "token's only as long as no token is added above it: row 1 holds a word with id 9, and "
         "the end token is 7."),
        (last.double(), "This is the last end token. Some tokenizers pad with end tokens (row 2); "
         "the text ends at the first."),
        ((tokens == 0).double().argmax(1).double() - 1, "This looks for the first 0 and steps "
         "back. But 0 is a word (in CLIP's vocabulary, “!”), and padding need not be 0."),
        ((tokens != 0).sum(1).double() - 1, "This counts the ids that aren't 0. But 0 is a word "
         "(in CLIP's vocabulary, “!”), and padding need not be 0."),
        (wanted - 1, "One too early: this is the last word. The end token itself is read."),
        (wanted + 1, "One too late: places count from 0."),
        (torch.full((4,), 8.0).double(), "The last position of the row is padding, mostly."),
        (torch.zeros(4).double(), "These are all 0, the start token: is the comparison with the "
         "end token's id?"),
    ]  # fmt: skip
    compare(value, wanted, mistakes)
    return "The first end token of each row, whatever its id and whatever follows it."


# -- the tower ------------------------------------------------------------------------------------


def small_tower(seed: int = 0) -> TextTransformer:
    """Two layers of random weights, all of them large enough to be missed."""
    config = TextConfig(vocab_size=20, context_length=9, width=8, layers=2, end_token=19,
                        head_width=4)  # fmt: skip
    tower = TextTransformer(config, 6, "gelu", 1e-5)
    random = torch.Generator().manual_seed(seed)
    for parameter in tower.parameters():
        parameter.data = 0.6 * torch.randn(parameter.shape, generator=random)
        parameter.requires_grad_(False)
    return tower


POST_NORM = (
    "The norm comes after the sum, as in the first transformer and in BERT (post-norm). CLIP "
    "follows GPT-2: each half reads a normalised copy, and the sum itself is never normalised."
)
STEPS = {
    "position": "The positions were not added: the tower can't tell “red on blue” from “blue on "
    "red” by them.",
    "norm 1": "The attention reads x itself. It should read a normalised copy, ln_1 of x "
    "(pre-norm: the sum stays as it is).",
    "norm 2": "The small network reads x itself. It should read a normalised copy, ln_2 of x.",
    "stay 1": "x is replaced by what the attention gives. It should be added to x.",
    "stay 2": "x is replaced by what the small network gives. It should be added to x.",
    "out": "The heads' mixture went into x as it is: the attention's own out_proj comes between.",
    "network": "The small network (mlp) of each block takes no part.",
    "attention": "The attention of each block takes no part: no token hears of another.",
    "mask": "The mask takes no part.",
    "last norm": "After the last block, ln_final is missing.",
    "blocks": "Only the first block was used: there are several, one after the other.",
    "heads": "The heads were brought together in the wrong order: each token's heads belong side "
    "by side, so the axes of heads and tokens change places before they are flattened.",
    "parallel": "The small network reads x from before the attention. It comes after: it reads "
    "the x that the attention has added to.",
    "one copy": "Both halves of a block read ln_1; the small network has a norm of its own, ln_2.",
}


@exercise(
    "token_states",
    hints=(
        "Ids become vectors, positions are added, then every block in turn: what is x after the "
        "attention, in terms of x before it?",
        "Twice per block: take a normalised copy of x, work on it, add the result to x. First the "
        "attention (queries, keys and values; your mixture; out_proj), then mlp. At the very end "
        "one more norm.",
        "There are as many positions in the table as the model can read; take the first n. Your "
        "mixture is (batch, heads, n, width of a head): swap axes 1 and 2, flatten the last two, "
        "and it is (batch, n, width) again, ready for out_proj.",
    ),
)
def _token_states(answer: Answer) -> str:
    tower = small_tower()
    tokens = torch.randint(0, 19, (2, 6), generator=torch.Generator().manual_seed(5))
    place = torch.arange(6)
    mask = place[None] <= place[:, None]
    with torch.no_grad():
        result = answer.tensor(tower, tokens, mask, shape=(2, 6, 8), means="a state a token")
        double = small_tower().double()
        wanted = walk(double, tokens, mask)
        mistakes = [(walk(double, tokens, mask, step), text) for step, text in STEPS.items()]
        compare(result, wanted, [*mistakes, *_norms_elsewhere(double, tokens, mask)])
        open_mask = torch.ones(6, 6, dtype=torch.bool)
        other = answer.tensor(tower, tokens, open_mask, shape=(2, 6, 8))
        if not agrees(other, walk(double, tokens, open_mask)):
            raise Wrong("Right with a causal mask, but with another mask the result doesn't "
                        "follow: is the mask that is handed in the one that is used?")  # fmt: skip
    return "Every state of every token, as clip_lab's own tower has them."


def walk(tower: TextTransformer, tokens: Tensor, mask: Tensor, left_out: str = "") -> Tensor:
    """The tower's states, step by step, with one step left out or done wrongly."""

    def unless(step: str, done: Tensor, otherwise: Tensor) -> Tensor:
        return otherwise if step == left_out else done

    x = F.embedding(tokens, tower.token_embedding.weight)
    x = unless("position", x + tower.positional_embedding[None, : x.shape[1]], x)
    blocks = list(tower.transformer.resblocks)
    for block in blocks[:1] if left_out == "blocks" else blocks:
        seen = torch.ones_like(mask) if left_out == "mask" else mask
        before = x
        mixture = _mixture(block.attn, unless("norm 1", block.ln_1(x), x), seen, left_out)
        stays = unless("stay 1", x, torch.zeros_like(x))
        x = unless("attention", stays + mixture, x)
        copy = unless("parallel", block.ln_2(x), block.ln_2(before))
        copy = unless("one copy", unless("norm 2", copy, x), block.ln_1(x))
        stays = unless("stay 2", x, torch.zeros_like(x))
        x = unless("network", stays + block.mlp(copy), x)
    return unless("last norm", tower.ln_final(x), x)


def _mixture(attention: Attention, x: Tensor, mask: Tensor, left_out: str) -> Tensor:
    """What the attention adds to x, by einsum."""
    heads, (batch, n, width) = attention.heads, x.shape
    thirds = (x @ attention.in_proj_weight.T + attention.in_proj_bias).chunk(3, dim=-1)
    q, k, v = (third.view(batch, n, heads, -1) for third in thirds)
    scores = torch.einsum("bihd,bjhd->bhij", q, k) / math.sqrt(width // heads)
    shares = torch.where(mask, scores, -1e30).softmax(-1)
    pattern = "bhij,bjhd->bhid" if left_out == "heads" else "bhij,bjhd->bihd"
    mixed = torch.einsum(pattern, shares, v).reshape(batch, n, width)
    return mixed if left_out == "out" else attention.out_proj(mixed)


def _norms_elsewhere(tower: TextTransformer, tokens: Tensor, mask: Tensor) -> Mistakes:
    """Every step is taken, but the norms stand in other places."""
    x = F.embedding(tokens, tower.token_embedding.weight)
    post = kept = often = x + tower.positional_embedding[None, : x.shape[1]]
    for layer in list(tower.transformer.resblocks):
        post = layer.ln_1(post + _mixture(layer.attn, post, mask, ""))
        post = layer.ln_2(post + layer.mlp(post))
        kept = layer.ln_1(kept)
        kept = layer.ln_2(kept + _mixture(layer.attn, kept, mask, ""))
        kept = kept + layer.mlp(kept)
        often = often + _mixture(layer.attn, layer.ln_1(often), mask, "")
        often = tower.ln_final(often + layer.mlp(layer.ln_2(often)))
    return [
        *((state, POST_NORM) for state in (post, tower.ln_final(post))),
        (tower.ln_final(kept), "x itself was normalised, and the results were added to that. "
         "Attention and mlp read a normalised copy; what they give is added to x as it was."),
        (often, "ln_final came after every block. It comes once, after the last."),
    ]  # fmt: skip
