"""Words written in a picture: a white label with black capitals, five dots by seven.

They are there to mislead: CLIP reads well enough that a label saying IPOD makes an apple an iPod
(Goh et al. 2021, "Multimodal neurons", the typographic attack). The font is a table, so that the
same word gives the same pixels everywhere.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from clip_lab.data.scene import ALPHABET

# Seven rows a letter, top to bottom; each is five bits, the leftmost dot the highest.
FONT = {
    "A": "0E 11 11 1F 11 11 11", "B": "1E 11 11 1E 11 11 1E", "C": "0E 11 10 10 10 11 0E",
    "D": "1E 11 11 11 11 11 1E", "E": "1F 10 10 1E 10 10 1F", "F": "1F 10 10 1E 10 10 10",
    "G": "0E 11 10 17 11 11 0E", "H": "11 11 11 1F 11 11 11", "I": "0E 04 04 04 04 04 0E",
    "J": "07 02 02 02 02 12 0C", "K": "11 12 14 18 14 12 11", "L": "10 10 10 10 10 10 1F",
    "M": "11 1B 15 15 11 11 11", "N": "11 19 19 15 13 13 11", "O": "0E 11 11 11 11 11 0E",
    "P": "1E 11 11 1E 10 10 10", "Q": "0E 11 11 11 15 12 0D", "R": "1E 11 11 1E 14 12 11",
    "S": "0F 10 10 0E 01 01 1E", "T": "1F 04 04 04 04 04 04", "U": "11 11 11 11 11 11 0E",
    "V": "11 11 11 11 11 0A 04", "W": "11 11 11 15 15 1B 11", "X": "11 11 0A 04 0A 11 11",
    "Y": "11 11 0A 04 04 04 04", "Z": "1F 01 02 04 08 10 1F",
}  # fmt: skip
ROWS, COLUMNS = 7, 6  # a letter is five dots wide and followed by an empty column
LARGEST_DOT = 0.021  # a dot's side, as a fraction of the picture's
WIDEST_LABEL = 0.86
PAPER, INK = 1.0, 0.05


def _glyphs() -> Float[Tensor, "letter rows columns"]:
    """The font as pictures; the first is the empty place."""
    rows = [[0] * ROWS, *([int(row, 16) for row in FONT[c].split()] for c in ALPHABET)]
    bits = [[[row >> bit & 1 for bit in (4, 3, 2, 1, 0)] + [0] for row in glyph] for glyph in rows]
    return torch.tensor(bits, dtype=torch.float32)


GLYPHS = _glyphs()


def label_size(
    letters: Int[Tensor, "batch places"],
) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"], Float[Tensor, " batch"]]:
    """The side of one dot, and half the label's width and height, as fractions of the picture.

    Short words are written in larger letters, up to a limit.
    """
    dots = COLUMNS * (letters > 0).sum(1) + 1.0  # one empty column in front
    dot = (WIDEST_LABEL / dots).clamp(max=LARGEST_DOT)
    return dot, dots * dot / 2, (ROWS + 2) * dot / 2


def write_words(
    pictures: Float[Tensor, "batch 3 size size"],
    letters: Int[Tensor, "batch places"],
    word_centre: Float[Tensor, "batch 2"],
) -> Float[Tensor, "batch 3 size size"]:
    """The pictures with each scene's word, if it has one, on a label around its centre."""
    rows = (letters > 0).any(1).nonzero().flatten()
    if len(rows) == 0:
        return pictures
    paper, ink = _label(letters[rows], word_centre[rows], pictures.shape[-1])
    below = pictures[rows]
    labelled = below + paper[:, None] * (PAPER - below)
    labelled = labelled + ink[:, None] * (INK - labelled)
    return pictures.index_copy(0, rows, labelled)


def _label(
    letters: Int[Tensor, "word places"], centre: Float[Tensor, "word 2"], size: int
) -> tuple[Float[Tensor, "word size size"], Float[Tensor, "word size size"]]:
    """How much of each pixel is covered by paper, and by ink."""
    dot, half_width, half_height = label_size(letters)
    pixels = (torch.arange(size, device=letters.device) + 0.5) / size
    x = (pixels - centre[:, :1])[:, None, :].expand(-1, size, -1)  # (W, S, S)
    y = (pixels - centre[:, 1:])[:, :, None].expand(-1, -1, size)
    over_x, over_y = x.abs() - half_width[:, None, None], y.abs() - half_height[:, None, None]
    paper = (0.5 - size * over_x).clamp(0, 1) * (0.5 - size * over_y).clamp(0, 1)

    text = GLYPHS.to(letters.device)[letters].transpose(1, 2).flatten(2)  # (W, 7, 6 letters)
    # grid_sample's coordinates run from -1 to 1 over the whole strip of text.
    left = half_width - dot  # from the label's middle to the first letter's edge
    u = 2 * (x + left[:, None, None]) / (dot[:, None, None] * text.shape[2]) - 1
    v = 2 * y / (dot[:, None, None] * ROWS)
    ink = F.grid_sample(text[:, None], torch.stack([u, v], -1), align_corners=False)[:, 0]
    return paper, ink * paper
