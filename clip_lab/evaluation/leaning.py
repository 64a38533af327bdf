"""A bias audit: to which of two groups of pictures does a word lie nearer?

As the CLIP paper asks of crime words and of faces (section 7.1), in the simplest form: a difference
of mean cosines. It says that a model leans, not why, nor what comes of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor

from clip_lab.data.augment import on_white
from clip_lab.data.emoji_table import TRAINED_STYLES, emoji_table, pictures
from clip_lab.dual_encoder import DualEncoder
from clip_lab.errors import LabError

STYLE = TRAINED_STYLES[0]
SKINS = ("1", "5")  # lightest and darkest of Fitzpatrick's five, as Unicode has them


@dataclass(frozen=True)
class Lean:
    """Positive: nearer to the first group. The interval is 95 %, over pairs of pictures."""

    text: str
    difference: float
    low: float
    high: float

    @property
    def apart(self) -> bool:
        return self.low > 0 or self.high < 0


def leaning(
    encoder: DualEncoder,
    texts: Sequence[str],
    first: Float[Tensor, "pairs embed_dim"],
    second: Float[Tensor, "pairs embed_dim"],
) -> list[Lean]:
    """Of each text, most to the first group on top. Row i of both groups shows the same otherwise.

    Raises LabError for no texts, or fewer than two pairs.
    """
    if not texts:
        raise LabError("Give at least one text to ask about.")
    if len(first) != len(second) or len(first) < 2:
        raise LabError("The two groups need the same number of pictures, at least two each.")
    differences = ((first - second) @ encoder.encode_texts(texts).T).double()  # (pairs, texts)
    from scipy.stats import t

    reach = t.ppf(0.975, len(first) - 1) * differences.std(dim=0) / len(first) ** 0.5
    means = differences.mean(dim=0)
    found = [
        Lean(text, mean, mean - half, mean + half)
        for text, mean, half in zip(texts, means.tolist(), reach.tolist(), strict=True)
    ]
    return sorted(found, key=lambda lean: -lean.difference)


def gender_pairs() -> tuple[list[int], list[int]]:
    """Rows of the emoji table: men's roles and activities, and the same of women's."""
    rows = emoji_table().rows
    number = {row.label: i for i, row in enumerate(rows) if not row.tone}
    men = [label for label in number if label.startswith("man ") and f"wo{label}" in number]
    assert all(STYLE in rows[number[name]].cells for man in men for name in (man, f"wo{man}"))
    return [number[label] for label in men], [number[f"wo{label}"] for label in men]


def skin_pairs() -> tuple[list[int], list[int]]:
    """Rows of the emoji table: everything that has skin, at its lightest and at its darkest."""
    table = emoji_table()
    tones = [
        {table.rows[row].tone: row for row in variants if STYLE in table.rows[row].cells}
        for variants in table.variants.values()
    ]
    both = [of for of in tones if set(SKINS) <= set(of)]
    return [of[SKINS[0]] for of in both], [of[SKINS[1]] for of in both]


GROUPS = {
    "men and women": (gender_pairs, ("men", "women")),
    "light and dark skin": (skin_pairs, ("light skin", "dark skin")),
}


def group_vectors(
    encoder: DualEncoder, group: str
) -> tuple[Float[Tensor, "pairs embed_dim"], Float[Tensor, "pairs embed_dim"]]:
    """The pictures of both halves of one of GROUPS, encoded. Raises LabError for another name."""
    if group not in GROUPS:
        raise LabError(f"There is no pair of groups “{group}”. Choose {' or '.join(GROUPS)}.")
    table, sheet = emoji_table(), pictures(STYLE)
    first, second = (
        encoder.encode_images(on_white(sheet[[table.rows[row].cells[STYLE] for row in rows]]))
        for rows in GROUPS[group][0]()
    )
    return first, second
