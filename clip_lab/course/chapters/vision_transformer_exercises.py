"""Chapter 3, the exercises at its end: a block's cost, positions for another size, how far heads
look."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from clip_lab.course.checks import Answer, Wrong, agrees, compare, exercise
from clip_lab.course.trial import Mistakes, drawn
from clip_lab.pretrained.build import resize_positions


@exercise(
    "vit_cost",
    hints=(
        "A matrix of a rows and b columns times a vector is a · b multiply-adds. How many vectors "
        "go through each matrix?",
        "Matrices that every token goes through: queries, keys, values, output, each d by d; the "
        "MLP's two, d by 4d and 4d by d. How many is that in units of d²?",
        "Then the products between tokens: every query with every key, d multiply-adds a pair "
        "(all heads together), and once more to mix the values.",
    ),
)
def _cost(answer: Answer) -> str:
    for n, d in ((50, 768), (197, 768), (10, 64)):
        value = answer(n, d)
        if isinstance(value, Tensor):
            value = value.item()
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise Wrong(f"One number is asked for; this is a {type(value).__name__}.")
        right, mistakes = _costs(n, d)
        if value == right:
            continue
        plain = f"For {n} tokens of width {d}: {value:,} where {right:,} is right."
        raise Wrong(next((text for mistaken, text in mistakes if value == mistaken), plain))
    return "12 n d² for the matrices, 2 n² d between tokens: even at n = 6 d, and far below before."


def _costs(n: int, d: int) -> tuple[int, list[tuple[int, str]]]:
    """What is right, and what each mistake gives."""
    maps, pairs = n * d**2, n**2 * d
    return 12 * maps + 2 * pairs, [
        (24 * maps + 4 * pairs, "These are operations, multiplications and additions counted "
         "apart. One multiply-add is both."),
        (12 * maps, "The products between tokens are missing: queries with keys, and shares "
         "with values."),
        (12 * maps + pairs, "Of the products between tokens, one of the two is missing: "
         "queries with keys, and shares with values."),
        (12 * maps + 2 * n**2, "Each pair of tokens costs more than one multiply-add: a dot "
         "product runs over the whole width, all heads together."),
        (2 * pairs, "These are the products between tokens only. Each token also goes through "
         "six matrices."),
        (11 * maps + 2 * pairs, "One of the four matrices of attention is missing: queries, "
         "keys, values, output."),
        (4 * maps + 2 * pairs, "The MLP is missing."),
        (8 * maps + 2 * pairs, "A third of the matrices is missing: attention has four of d by "
         "d, and the MLP two of d by 4d."),
        (8 * maps, "This is the MLP only."),
        (6 * maps + 2 * pairs, "Each of the MLP's matrices is d by 4d, not d by d."),
        (20 * maps + 2 * pairs, "The MLP's matrices are d by 4d and 4d by d: only one side is "
         "wider."),
        (12 * d**2 + 2 * pairs, "Every token goes through the matrices: multiply by n."),
        (12 * d**2, "This is one token's way through the matrices. There are n of them, and the "
         "products between them."),
        (12 * maps + 2 * pairs * d // 64, "All heads together make d multiply-adds a pair: a "
         "head has only its own width."),
    ]  # fmt: skip


@exercise(
    "vit_positions",
    hints=(
        "Which of the vectors have a place in the grid, and which has none?",
        "Set the class token's aside. F.interpolate resizes pictures, (batch, channels, height, "
        "width): make the others into one picture whose channels are the width.",
        "unflatten the tokens to a square, bring the channels forward, resize with mode='bicubic' "
        "and antialias=True, and go the same way back; the class token's in front again.",
    ),
)
def _positions(answer: Answer) -> str:
    positions = drawn(10, 4, seed=11)
    if isinstance(missing := answer(positions, 5), Tensor) and len(missing) == 25:
        raise Wrong("The class token's position is gone: it belongs in front, as it was.")
    result = answer.tensor(positions, 5, shape=(26, 4), means="the class token's, then 5 x 5")
    p = positions.double()
    right = resize_positions(p, 3, 5, 1)
    if agrees(result[1:], right[1:]) and not agrees(result[0], right[0]):
        raise Wrong("The grid is right, but the first row isn't the class token's: that stays as "
                    "it was.")  # fmt: skip
    compare(result, right, _position_mistakes(p))
    smaller = answer.tensor(positions, 2, shape=(5, 4), means="the class token's, then 2 x 2")
    compare(smaller, resize_positions(p, 3, 2, 1), [
        (_resized(p, 2, antialias=False), "For a smaller grid too: antialias=True, so that no old "
         "position is passed over."),
    ])  # fmt: skip
    return "The grid is resized as a picture, and the class token's vector is left alone."


def _resized(
    positions: Tensor, side: int, mode: str = "bicubic", antialias: bool = True,
    corners: bool | None = False,
) -> Tensor:  # fmt: skip
    """The grid resized in another way than the lab's."""
    picture = positions[1:].T.reshape(1, 4, 3, 3)
    larger = F.interpolate(
        picture, size=side, mode=mode, antialias=antialias, align_corners=corners
    )
    return torch.cat([positions[:1], larger[0].reshape(4, -1).T])


def _position_mistakes(p: Tensor) -> Mistakes:
    line = F.interpolate(p.T[None], 26, mode="linear")[0].T
    rest = F.interpolate(p[1:].T[None], 25, mode="linear")[0].T
    scattered = p[1:].reshape(1, 4, 3, 3)  # re-read, not moved
    scattered = F.interpolate(scattered, (5, 5), mode="bicubic", antialias=True)
    right = resize_positions(p, 3, 5, 1)
    turned = right[1:].reshape(5, 5, 4).transpose(0, 1).reshape(25, 4)
    return [
        (line, "The sequence was stretched as a line, class token and all. Positions lie on a "
         "grid, and the class token has no place in it."),
        (torch.cat([p[:1], rest]), "The patches were stretched as one line, so that the end of a "
         "row runs into the start of the next. They lie on a grid."),
        (_resized(p, 5, "bilinear"), "That is bilinear. Bicubic is asked for, as open_clip and the "
         "lab read checkpoints."),
        (_resized(p, 5, antialias=False), "Nearly: plain bicubic bends its curve a little "
         "differently. Add antialias=True, as open_clip and the lab do."),
        (_resized(p, 5, antialias=False, corners=True), "align_corners=True moves the outer "
         "patches' centres to the picture's edge. Leave it out."),
        (_resized(p, 5, "bilinear", False, True), "align_corners=True moves the outer patches' "
         "centres to the picture's edge. Leave it out; and bicubic is asked for."),
        (_resized(p, 5, "nearest", False, None), "Each old position was repeated. Places between "
         "two old ones need something between the two."),
        (torch.cat([p[:1], scattered[0].reshape(4, 25).T]), "The grid was made by re-reading the "
         "numbers, which scatters each vector over several. Move the channels' axis forward."),
        (torch.cat([p[:1], scattered[0].reshape(25, 4)]), "The grid was made by re-reading the "
         "numbers, which scatters each vector over several. Move the channels' axis forward."),
        (torch.cat([p[:1], right[1:].T.reshape(25, 4)]), "The grid is resized rightly, and then "
         "re-read: move the channels' axis to the end again before you flatten."),
        (torch.cat([p[:1], turned]), "Rows and columns of the grid are exchanged."),
        (torch.cat([right[1:], p[:1]]), "The class token's position stands last; it comes first."),
        (torch.cat([p, torch.zeros(16, 4).double()]), "The new places got zeros, and the old ones "
         "another place in the picture than before."),
    ]  # fmt: skip


@exercise(
    "vit_distance",
    hints=(
        "For one asker: the distances to all patches, averaged with its shares as weights. Then "
        "the mean over askers.",
        "The class token has no place: leave its row and its column out. The shares that are left "
        "no longer sum to 1: divide by their sum.",
        "Row and column of patch k are k // grid and k % grid; torch.cdist of those (as float) "
        "with themselves gives all distances. Multiply by the shares, sum, mean.",
    ),
)
def _distance(answer: Answer) -> str:
    shares = drawn(2, 10, 10, seed=12).softmax(dim=2)
    result = answer.tensor(shares, 3, shape=(2,), means="one mean distance for each head")
    places = torch.tensor([[k // 3, k % 3] for k in range(9)]).double()
    gap = (places[:, None] - places[None]).abs()
    apart = gap.square().sum(2).sqrt()
    kept = shares.double()[:, 1:, 1:]
    fair = kept / kept.sum(2, keepdim=True)
    by_column = kept / kept.sum(1, keepdim=True)
    far = torch.einsum("hqk,qk->h", fair, apart) / 9
    others = kept * (1 - torch.eye(9))
    front = shares.double()[:, :9, :9]
    compare(result, far, [
        (_mean_distance(others, apart), "A patch's share for itself counts too, at distance 0."),
        (_mean_distance(front, apart), "The last patch was left out, and the class token kept: it "
         "is token 0."),
        (torch.einsum("hqk,qk->h", kept.softmax(2), apart) / 9, "The shares are shares already: "
         "another softmax makes them nearly alike. Divide by their sum."),
        (torch.einsum("hqk,qk->h", kept, apart) / 9, "Without the class token's column the shares "
         "no longer sum to 1: divide each row by its sum."),
        (far * 9, "This is a sum over those who ask; take their mean."),
        (torch.einsum("hqk,qk->h", fair, apart.square()) / 9, "These are squared distances."),
        (torch.einsum("hqk,qk->h", fair, gap.sum(2)) / 9, "This is the way along rows and columns. "
         "The straight distance is asked for."),
        (apart.mean().expand(2), "All patches count alike here: weight them by the shares."),
        (torch.einsum("hqk,qk->h", by_column, apart) / 9, "You divided by the sums of columns. An "
         "asker's shares are a row."),
        (far / 3, "This is in widths of the picture. It is asked for in patches."),
        (far / (3 * math.sqrt(2)), "This is in diagonals of the picture. It is asked for in "
         "patches."),
        (torch.einsum("hqk,qk->h", fair, apart) / 81, "The shares are weights already: over those "
         "who answer, sum; only over those who ask, take the mean."),
    ])  # fmt: skip
    return "Near for a head that looks around itself, far for one that looks everywhere."


def _mean_distance(shares: Tensor, apart: Tensor) -> Tensor:
    """Each row's shares made to sum to 1, then the mean over those who ask."""
    return torch.einsum("hqk,qk->h", shares / shares.sum(2, keepdim=True), apart) / len(apart)
