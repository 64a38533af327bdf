"""The matrix at the heart of CLIP: every picture against every text (paper, figure 3)."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from clip_lab.dual_encoder import DualEncoder
from clip_lab.errors import LabError
from clip_lab.preprocess import ImageSources


class Similarity(NamedTuple):
    """Cosines, and how long the vectors were before they were made unit.

    A product of two lengths and a cosine is the dot product that CLIP doesn't use.
    """

    cosines: Float[Tensor, "pictures texts"]
    picture_lengths: Float[Tensor, " pictures"]
    text_lengths: Float[Tensor, " texts"]


@torch.inference_mode()
def similarity_matrix(
    encoder: DualEncoder, pictures: ImageSources, texts: Sequence[str]
) -> Similarity:
    """Of a few pictures and texts, in one batch each, float32, on the CPU.

    Raises LabError where there is none of either, or one can't be read.
    """
    if not len(pictures) or not texts:
        raise LabError("A matrix needs at least one picture and one caption.")
    pixels = torch.stack([encoder.preprocess(picture) for picture in pictures])
    tokens = encoder.tokenizer(list(texts))
    images = encoder.model.encode_image(pixels.to(encoder.device)).float().cpu()
    words = encoder.model.encode_text(tokens.to(encoder.device)).float().cpu()
    cosines = F.normalize(images, dim=-1) @ F.normalize(words, dim=-1).T
    return Similarity(cosines, images.norm(dim=-1), words.norm(dim=-1))
