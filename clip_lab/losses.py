"""What CLIP minimises: of all pairings in a batch, the right ones should score highest."""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def info_nce(
    image_vectors: Float[Tensor, "batch embed_dim"],
    text_vectors: Float[Tensor, "batch embed_dim"],
    logit_scale: Float[Tensor, ""],
) -> Float[Tensor, ""]:
    """Symmetric InfoNCE, the paper's figure 3 line by line.

    Row i of both inputs belongs together; rows have length 1. `logit_scale` is the *logarithm* of
    the scale (1/τ), the parameter that CLIP learns. With logits ℓ = exp(logit_scale) · I Tᵀ:

        L = ½ [ mean_i −log softmax_j(ℓ_ij)_{j=i}  +  mean_j −log softmax_i(ℓ_ij)_{i=j} ]

    "Which caption belongs to this picture?" and "which picture to this caption?", as two
    N-way classifications whose right answers lie on the diagonal. The value is in nats: log N for
    a model that knows nothing, 0 for one that is sure and right.
    """
    logits = logit_scale.exp() * image_vectors @ text_vectors.T  # (N, N)
    answers = torch.arange(len(logits), device=logits.device)
    captions_of_pictures = F.cross_entropy(logits, answers)
    pictures_of_captions = F.cross_entropy(logits.T, answers)
    return (captions_of_pictures + pictures_of_captions) / 2
