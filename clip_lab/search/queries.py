"""What is looked for: words, pictures, or several of both, added and subtracted."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from clip_lab.dual_encoder import DualEncoder
from clip_lab.errors import LabError
from clip_lab.preprocess import ImageSource

TINY = 1e-4  # a sum as short as this points nowhere: what is left of it is rounding


@dataclass(frozen=True)
class Term:
    """Words or a picture, and how much it counts: negative to lead away from it."""

    content: str | ImageSource
    weight: float = 1.0
    is_picture: bool = False  # a str may be words or the path of a picture


def query_vector(encoder: DualEncoder, terms: Sequence[Term]) -> Float[Tensor, " embed_dim"]:
    """The unit vector of “this picture, plus *at night*, minus *people*”.

    Raises LabError for no terms, empty words, and what cancels out.
    """
    texts = [term for term in terms if not term.is_picture]
    pictures = [term for term in terms if term.is_picture]
    if not all(isinstance(term.content, str) and term.content.strip() for term in texts):
        raise LabError("Write what to look for: there are no words in one of the query's parts.")
    vectors = torch.cat(
        [
            encoder.encode_texts([str(term.content) for term in texts]),
            encoder.encode_images([term.content for term in pictures]),
        ]
    )
    return combine(vectors, [term.weight for term in texts + pictures])


def combine(
    vectors: Float[Tensor, "terms embed_dim"], weights: Sequence[float]
) -> Float[Tensor, " embed_dim"]:
    """The weighted sum of unit vectors, made unit again.

    Raises LabError for no vectors, a weight that is no number, and a sum of zero.
    """
    if len(vectors) != len(weights):
        raise LabError(f"{len(vectors)} vectors need as many weights, not {len(weights)}.")
    if len(vectors) == 0:
        raise LabError("Nothing to look for: give words, a picture, or both.")
    total = torch.tensor(weights, dtype=torch.float32) @ vectors.float()
    length = total.norm()
    if not length.isfinite():
        raise LabError("A weight or a vector of the query is no finite number. Give others.")
    if length <= TINY * max(map(abs, weights)):
        raise LabError("The parts of the query cancel out: what is left points nowhere. Change it.")
    return F.normalize(total, dim=0)
