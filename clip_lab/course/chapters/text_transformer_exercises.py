"""Chapter 5, the exercises at its end: cutting a batch, masks to add, and the task of a GPT."""

import torch
from torch import Tensor

from clip_lab.course.checks import Answer, Wrong, compare, exercise, need_gradient

Places = list[tuple[int, int, int]]
END = 9
ROWS = torch.tensor([
    [8, 3, 9, 0, 0, 0, 0],
    [8, 0, 4, 0, 9, 0, 0],  # 0 is a word too
    [8, 1, 2, 9, 9, 9, 9],  # padded with end tokens
])  # fmt: skip
ENDS = (2, 4, 3)  # where each of them ends


@exercise(
    "cut_to_longest",
    hints=(
        "Nothing after a caption's end token can reach its vector. Which columns does no caption "
        "of the batch need?",
        "You have a function that says where each caption ends. The longest one decides.",
        "Keep the columns up to and including the largest of the end places. A slice stops before "
        "the number at its end.",
    ),
)
def _cut(answer: Answer) -> str:
    result = answer(ROWS, END)
    if not isinstance(result, Tensor):
        raise Wrong(f"Return a tensor of ids; this is a {type(result).__name__}.")
    widths = {
        4: "The longest caption lost its end token: a slice stops before its last number.",
        3: "This is cut where the shortest caption ends. The longest has to fit.",
        7: "Nothing was cut: the last column that any caption needs is column 4. (Padding may be "
        "end tokens: what counts is the first in each row.)",
        6: "One column too many: the slice ends one after the largest end place.",
    }
    if result.ndim == 2 and result.shape[0] == 3 and result.shape[1] in widths:
        raise Wrong(widths[result.shape[1]])
    value = answer.tensor(ROWS, END, shape=(3, 5), means="up to the last end token of the batch")
    compare(value, ROWS[:, :5].double(), [(ROWS[:, 2:].double(), "The columns at the start went; "
                                           "padding stands at the end.")])  # fmt: skip
    return "As many columns as the longest caption needs, and the same vectors."


@exercise(
    "additive_mask",
    hints=(
        "First one question with a yes or no for each pair: may token i look at token j? Two "
        "conditions have to hold at once.",
        "Join the two masks while they are still True and False (&), with the axes set so that "
        "`real` speaks of the token that is looked at. Make numbers of the result only once.",
        "`real[:, None, :]` has a row for every token that looks. For the numbers, torch.where "
        "or masked_fill on zeros of the right dtype, with torch.finfo(dtype).min where the answer "
        "is no. Never add two such masks.",
    ),
)
def _additive(answer: Answer) -> str:
    causal = torch.arange(4)[None] <= torch.arange(4)[:, None]
    real = torch.tensor([[True, True, True, False], [False, True, True, True]])
    result = answer(causal, real, torch.float16)
    if isinstance(result, Tensor) and result.dtype != torch.float16:
        raise Wrong(f"The mask should have the dtype that was asked for; this is {result.dtype}.")
    if isinstance(result, Tensor) and result.isinf().any():
        raise Wrong(
            "There is −inf in it. Either it was written in, or two masks were added, or the lowest "
            "number of another dtype was taken: both are more than float16 holds. A row that may "
            "look at nothing (a caption padded on its left has one) then has a softmax of nan."
        )
    value = answer.tensor(causal, real, torch.float16, shape=(2, 4, 4), means="batch, who, whom")
    yes = torch.einsum("ij,bj->bij", causal.double(), real.double())
    mistakes = _additive_mistakes(causal.double(), real.double(), yes)
    compare(value, (1 - yes) * torch.finfo(torch.float16).min, mistakes)
    return "One mask, joined before it became numbers: nothing can overflow."


def _additive_mistakes(causal: Tensor, real: Tensor, yes: Tensor) -> list[tuple[Tensor, str]]:
    """All are 1 where the answer is yes; `yes` is the right one of the joined masks."""
    low, by_row = torch.finfo(torch.float16).min, torch.einsum("ij,bi->bij", causal, real)
    return [
        ((1 - yes * real[:, :, None]) * low, "Here padding may not look either. `real` "
         "says who may be looked at; what padding sees reaches nobody."),
        (yes * low, "The signs are exchanged: 0 where a token may look, the lowest number where "
         "it may not."),
        (yes, "This mask is 1 and 0. It is added to the scores: what may be seen adds 0, what may "
         "not adds the lowest number there is."),
        ((1 - by_row) * low, "`real` speaks of the token that looks. It should speak of the one "
         "that is looked at, the columns."),
        ((1 - causal).expand(2, 4, 4) * low, "The padding can still be looked at: `real` "
         "takes no part."),
        ((1 - real)[:, None].expand(2, 4, 4) * low, "The future can still be looked at: "
         "the causal mask takes no part."),
        ((1 - yes) * -1e4, "−10,000 hides well enough while scores are small; take the lowest "
         "number of the dtype."),
        ((1 - torch.maximum(causal[None], real[:, None])) * low, "A token may "
         "look where *either* mask says yes. Both have to."),
    ]  # fmt: skip


@exercise(
    "next_token_loss",
    hints=(
        "The state at place i has seen the tokens up to i. Which token should it say? And which "
        "place has nothing left to say?",
        "The logits of all places but the last go with the tokens of all places but the first. "
        "Then leave out every pair whose token is padding; the end token itself is to be said.",
        "A pair counts if the token that is said stands at or before its row's end place. Pick "
        "those logits and tokens with a boolean mask of shape (batch, n − 1), and one "
        "F.cross_entropy takes their mean.",
    ),
)
def _next_token(answer: Answer) -> str:
    random = torch.Generator().manual_seed(4)
    logits = torch.randn(3, 7, 10, generator=random).requires_grad_()
    result = answer.tensor(logits, ROWS, END, shape=(), means="one number, the mean")
    surprise = -logits.detach().double().log_softmax(-1)
    told = [(b, i, int(ROWS[b, i + 1])) for b, end in enumerate(ENDS) for i in range(end)]
    wanted = torch.stack([surprise[place] for place in told]).mean()
    compare(result, wanted, _next_token_mistakes(surprise, told))
    need_gradient(result, {"logits": logits}, {"logits": "the tower would not learn"})
    return "Each state says the next token, up to the end token, and padding says nothing."


def _next_token_mistakes(surprise: Tensor, told: Places) -> list[tuple[Tensor, str]]:
    """`told`: the right places; a place is a row, the token that says, and the id that is said."""

    def mean(places: Places) -> Tensor:
        return torch.stack([surprise[place] for place in places]).mean()

    everything = [(b, i, int(ROWS[b, i + 1])) for b in range(3) for i in range(6)]
    own = [(b, i, int(ROWS[b, i])) for b, end in enumerate(ENDS) for i in range(end + 1)]
    back = [(b, i + 1, int(ROWS[b, i])) for b, end in enumerate(ENDS) for i in range(end)]
    no_end = [(b, i, token) for b, i, token in told if i + 1 != ENDS[b]]
    beyond = told + [(b, end, int(ROWS[b, end + 1])) for b, end in enumerate(ENDS)]
    not_0 = [place for place in everything if place[2] != 0]
    each = [mean([place for place in told if place[0] == b]) for b in range(3)]
    return [
        (mean(everything), "The padding counts too: the tower would learn above all to say "
         "padding after padding."),
        (mean(not_0), "Id 0 was left out as padding. It is a word as well, and padding may be "
         "another id. What counts is where the end token stands."),
        (mean(own), "Each state is asked for its own token, which it has been given. It should "
         "say the one that comes next."),
        (mean(back), "The shift goes the wrong way: each state is asked for the token before it."),
        (mean(no_end), "The end token is to be said too: how else would a text ever end?"),
        (mean(beyond), "The end token is asked what comes after it. Nothing does but padding."),
        (torch.stack(each).mean(), "This is a mean of the captions' means, in which a short "
         "caption weighs as much as a long one. Take the mean over all tokens."),
        (mean(told) * len(told), "The surprises are summed. Take their mean."),
        (mean(told) * len(told) / len(everything), "The right surprises, divided by the number of "
         "all places. Padding says nothing: it doesn't count below the line either."),
    ]  # fmt: skip
