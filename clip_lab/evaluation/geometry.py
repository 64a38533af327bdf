"""How picture and text vectors lie on the sphere: right and wrong cosines, sharpness, the gap.

An accuracy asks only which caption comes first. These figures say how: how near the right ones
are, how far the others, how sure a softmax over them is, in how many directions the vectors lie,
and whether the two kinds of them mix.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor
from torch.nn import functional as F


class Paired(NamedTuple):
    """Unit vectors of pictures and of their captions, row by row."""

    images: Float[Tensor, "pairs embed_dim"]
    texts: Float[Tensor, "pairs embed_dim"]
    right: Bool[Tensor, "pairs pairs"]  # whether the column's caption is true of the row's picture

    def matched(self) -> Float[Tensor, " pairs"]:
        """The cosine of each picture with its own caption."""
        return torch.einsum("nd,nd->n", self.images, self.texts)

    def unmatched(self) -> Float[Tensor, " wrong"]:
        """The cosines of all pictures with captions of others, where those aren't true as well."""
        return (self.images @ self.texts.T)[~self.right]

    def found(self) -> float:
        """The share of pictures with a right caption nearer than every wrong one; a tie is a miss.

        Guessing gives about one in as many as there are different captions.
        """
        cosines = self.images @ self.texts.T
        right = cosines.masked_fill(~self.right, -torch.inf).amax(dim=1)
        wrong = cosines.masked_fill(self.right, -torch.inf).amax(dim=1)
        return (right > wrong).double().mean().item()


def row_entropy(cosines: Float[Tensor, "pictures texts"], temperature: float) -> float:
    """How unsure softmax(cosines / τ) is of each picture's caption: the mean entropy, in nats.

    0 where all of a row's probability lies on one text, ln(texts) where all are as likely.
    """
    logs = (cosines.double() / temperature).log_softmax(dim=1)
    return -(logs.exp() * logs).sum(dim=1).mean().item()


def modality_gap(
    images: Float[Tensor, "images embed_dim"], texts: Float[Tensor, "texts embed_dim"]
) -> Float[Tensor, " embed_dim"]:
    """Δ: the pictures' centroid less the texts'. Its length, 0 to 2, is how far apart they sit.

    As in Liang et al. 2022, "Mind the gap" (arXiv 2203.02053). Vectors of length 1 are expected.
    """
    return images.mean(dim=0) - texts.mean(dim=0)


def gap_of_mixture(
    images: Float[Tensor, "pairs embed_dim"], texts: Float[Tensor, "pairs embed_dim"], seed: int = 0
) -> float:
    """The gap between two random halves of all vectors: what there is without modalities."""
    both = torch.cat([images, texts])
    order = torch.randperm(len(both), generator=Generator().manual_seed(seed))
    one, other = both[order].tensor_split(2)
    return modality_gap(one, other).norm().item()


def shift_gap(paired: Paired, share: float) -> Paired:
    """`shift_kinds` for pairs: which captions are right stays as it was."""
    images, texts = shift_kinds(paired.images, paired.texts, share)
    return Paired(images, texts, paired.right)


def shift_kinds(
    images: Float[Tensor, "images embed_dim"],
    texts: Float[Tensor, "texts embed_dim"],
    share: float,
) -> tuple[Float[Tensor, "images embed_dim"], Float[Tensor, "texts embed_dim"]]:
    """Move both kinds of vectors along Δ by `share` of it, each to the other, then to length 1.

    x' = unit(x − λ Δ), y' = unit(y + λ Δ): at λ = ½ the centroids meet (but for the length), above
    it they change sides, below 0 they move apart (Liang et al. 2022).
    """
    step = share * modality_gap(images, texts)
    return F.normalize(images - step, dim=-1), F.normalize(texts + step, dim=-1)


def effective_rank(vectors: Float[Tensor, "vectors dim"]) -> float:
    """In how many directions the vectors lie, counted with their weight.

    exp(−Σ p log p) of the singular values, made to sum to 1 (Roy & Vetterli 2007, "The effective
    rank", definition 1). 1 where all lie on one line; the dimension where all directions count the
    same. Not centred: a cloud far from the origin is nearly one direction.
    """
    singular = torch.linalg.svdvals(vectors.double())
    shares = singular / singular.sum()
    return torch.special.entr(shares).sum().exp().item()


def mean_cosine(vectors: Float[Tensor, "vectors dim"]) -> float:
    """Of unit vectors with each other, none with itself."""
    number = len(vectors)
    return ((vectors.sum(dim=0).square().sum() - number) / (number * (number - 1))).item()
