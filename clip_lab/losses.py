"""What CLIP minimises: of all pairings in a batch, the right ones should score highest.

Every loss takes vectors of length 1, row i of both inputs belonging together, and the *logarithm*
of the scale (1/τ), the parameter that CLIP learns. Values are in nats. With the logits
ℓ = exp(logit_scale) · I Tᵀ, an N × N matrix, plain InfoNCE is N-way classification, twice:

    L = ½ [ mean_i −log softmax_j(ℓ_ij)_{j=i}  +  mean_j −log softmax_i(ℓ_ij)_{i=j} ]
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

Vectors = Float[Tensor, "batch embed_dim"]
Groups = Int[Tensor, " batch"]


def info_nce(
    image_vectors: Vectors, text_vectors: Vectors, logit_scale: Float[Tensor, ""]
) -> Float[Tensor, ""]:
    """Symmetric InfoNCE, the paper's figure 3 line by line.

    "Which caption belongs to this picture?" and "which picture to this caption?": the right
    answers lie on the diagonal. log N for a model that knows nothing, 0 for one that is sure and
    right.
    """
    logits = logit_scale.exp() * image_vectors @ text_vectors.T  # (N, N)
    answers = torch.arange(len(logits), device=logits.device)
    captions_of_pictures = F.cross_entropy(logits, answers)
    pictures_of_captions = F.cross_entropy(logits.T, answers)
    return (captions_of_pictures + pictures_of_captions) / 2


def info_nce_of_groups(
    image_vectors: Vectors, text_vectors: Vectors, logit_scale: Float[Tensor, ""], groups: Groups
) -> Float[Tensor, ""]:
    """InfoNCE with several right answers: rows of one group all belong together.

    A caption that occurs twice in a batch fits both pictures, and plain InfoNCE would punish the
    model for seeing that. Here the right answers share the target evenly (UniCL, Yang et al. 2022,
    arXiv 2204.03610, equations 3 to 5); where every group has one member it is plain InfoNCE.
    """
    logits = logit_scale.exp() * image_vectors @ text_vectors.T  # (N, N)
    right = (groups[:, None] == groups).to(logits.dtype)
    targets = right / right.sum(dim=1, keepdim=True)  # each row sums to 1, and so each column
    return (F.cross_entropy(logits, targets) + F.cross_entropy(logits.T, targets)) / 2


def sigmoid_loss(
    image_vectors: Vectors,
    text_vectors: Float[Tensor, "texts embed_dim"],
    logit_scale: Float[Tensor, ""],
    logit_bias: Float[Tensor, ""],
    groups: Groups,
    text_groups: Int[Tensor, " texts"],
) -> Float[Tensor, ""]:
    """SigLIP: N² questions with a yes or a no, "does this caption fit this picture?".

        L = −1/N Σ_i Σ_j log σ(z_ij (ℓ_ij + b)),   z_ij = 1 where the groups are the same, else −1

    No softmax, so no cell of the matrix depends on another, and a part of the captions will do. Of
    N² answers nearly all are no: the bias b, which starts at −10, says so, and the first steps
    needn't (Zhai et al. 2023, arXiv 2303.15343, equation 1 and section 3.1).
    """
    logits = logit_scale.exp() * image_vectors @ text_vectors.T + logit_bias  # (N, texts)
    signs = 2.0 * (groups[:, None] == text_groups) - 1
    return -F.logsigmoid(signs * logits).sum() / len(logits)


# -- the same InfoNCE without the matrix ----------------------------------------------------------


def tiled_info_nce(
    image_vectors: Vectors,
    text_vectors: Vectors,
    logit_scale: Float[Tensor, ""],
    groups: Groups | None = None,
    tile: int = 1024,
) -> Float[Tensor, ""]:
    """`info_nce`, or with groups `info_nce_of_groups`, that never holds the N × N matrix.

    A row's loss is log Σ_j exp ℓ_ij minus the mean logit of its right answers. The second part is
    a product with the mean vector of the row's group. The sums are gathered tile by tile and the
    tiles computed again for the gradient: memory grows with N, not with N² (as in Inf-CL, Cheng et
    al. 2024, arXiv 2410.17243).
    """
    rows, columns, right = _LogSums.apply(image_vectors, text_vectors, logit_scale, tile)
    if groups is not None:
        right = own_cosines(image_vectors, text_vectors, groups, groups)
    return (rows.mean() + columns.mean()) / 2 - logit_scale.exp() * right.mean()


def one_way(
    queries: Float[Tensor, "queries embed_dim"],
    candidates: Float[Tensor, "candidates embed_dim"],
    logit_scale: Float[Tensor, ""],
    own: Int[Tensor, " queries"],
    groups: Int[Tensor, " candidates"],
    tile: int = 1024,
) -> Float[Tensor, " queries"]:
    """Each query's half of InfoNCE: which of all candidates belong to it?

    `own` is the group of each query. It is what one process of many computes, for the rows that it
    holds against everyone's.
    """
    rows, _, _ = _LogSums.apply(queries, candidates, logit_scale, tile, False)
    return rows - logit_scale.exp() * own_cosines(queries, candidates, own, groups)


def own_cosines(
    queries: Float[Tensor, "queries embed_dim"],
    candidates: Float[Tensor, "candidates embed_dim"],
    own: Int[Tensor, " queries"],
    groups: Int[Tensor, " candidates"],
) -> Float[Tensor, " queries"]:
    """The mean cosine of each query with the candidates of its group: that with their mean."""
    numbers, members, counts = groups.unique(return_inverse=True, return_counts=True)
    sums = candidates.new_zeros(len(numbers), candidates.shape[1])
    means = sums.index_add(0, members, candidates) / counts[:, None]
    return torch.einsum("nd,nd->n", queries, means[torch.searchsorted(numbers, own)])


class _LogSums(torch.autograd.Function):
    """log Σ exp of every row and every column of ℓ = exp(logit_scale) · Q Cᵀ, tile by tile.

    The derivative of a log-sum-exp is its softmax: from the sums that `forward` keeps, any tile of
    the softmax can be computed again, and its share of the gradients added up. With `both`, also
    the cosine of each query with the candidate of its own row, so that nothing as large as the
    vectors is held for that alone.
    """

    @staticmethod
    def forward(
        ctx: Any, queries: Tensor, candidates: Tensor, logit_scale: Tensor, tile: int, both=True
    ) -> tuple[Tensor, Tensor | None, Tensor | None]:
        rows = queries.new_full((len(queries),), -torch.inf)
        columns = queries.new_full((len(candidates),), -torch.inf) if both else None
        for i, j, logits in _tiles(queries, candidates, logit_scale, tile):
            rows[i] = torch.logaddexp(rows[i], logits.logsumexp(dim=1))
            if columns is not None:
                columns[j] = torch.logaddexp(columns[j], logits.logsumexp(dim=0))
        ctx.save_for_backward(queries, candidates, logit_scale, rows, columns)
        ctx.tile = tile
        ctx.set_materialize_grads(False)
        return rows, columns, torch.einsum("nd,nd->n", queries, candidates) if both else None

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> tuple[Tensor | None, ...]:
        for_rows, for_columns, for_pairs = gradients
        queries, candidates, logit_scale, rows, columns = ctx.saved_tensors
        for_queries, for_candidates = torch.zeros_like(queries), torch.zeros_like(candidates)
        for_scale = torch.zeros_like(logit_scale)
        for i, j, logits in _tiles(queries, candidates, logit_scale, ctx.tile):
            share = (logits - rows[i, None]).exp_().mul_(for_rows[i, None])  # ∂L/∂ℓ of this tile
            if columns is not None:
                share.addcmul_((logits - columns[j]).exp_(), for_columns[j])
            for_queries[i].addmm_(share, candidates[j])
            for_candidates[j].addmm_(share.T, queries[i])
            for_scale += (share.mul_(logits)).sum()
        for_queries.mul_(logit_scale.exp())
        for_candidates.mul_(logit_scale.exp())
        if for_pairs is not None:
            for_queries.addcmul_(candidates, for_pairs[:, None])
            for_candidates.addcmul_(queries, for_pairs[:, None])
        return for_queries, for_candidates, for_scale, None, None


def _tiles(queries: Tensor, candidates: Tensor, logit_scale: Tensor, tile: int):
    """Row slice, column slice and logits of each tile × tile piece of the matrix."""
    for i in range(0, len(queries), tile):
        rows = slice(i, i + tile)
        scaled = queries[rows] * logit_scale.exp()
        for j in range(0, len(candidates), tile):
            columns = slice(j, j + tile)
            yield rows, columns, scaled @ candidates[columns].T
