"""What each token looks at: a transformer's attention, layer by layer and head by head.

The model never forms these weights (a fused kernel mixes the values at once), so they are computed
here a second time, from the same matrices.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F

from clip_lab.dual_encoder import DualEncoder
from clip_lab.errors import LabError
from clip_lab.model.resnet import ModifiedResNet
from clip_lab.model.text import TextTransformer, end_positions
from clip_lab.model.transformer import Attention
from clip_lab.model.vit import VisionTransformer
from clip_lab.preprocess import ImageSources

BATCH = 16  # pictures at a time: a layer's weights are heads × tokens² numbers a picture


def attention_maps(
    encoder: DualEncoder, pictures: ImageSources
) -> Float[Tensor, "pictures layers heads tokens tokens"]:
    """Who looks at whom: row i holds what token i takes from each token, and sums to one.

    Token 0 is the class token, the others are patches, row by row from the top left. Raises
    LabError for a model whose image tower is no Vision Transformer with a class token.
    """
    tower = class_vit(encoder, "Attention by layer and head")

    @torch.no_grad()
    def of(images: Tensor) -> Tensor:
        return torch.stack(trace(tower, first_tokens(tower, images)).weights, dim=1)

    return in_batches(encoder, pictures, of)


@torch.no_grad()
def caption_attention(
    encoder: DualEncoder, text: str
) -> Float[Tensor, "layers heads tokens tokens"]:
    """Who looks at whom in a text, from its start token to its end token; a row sums to one.

    The mask is causal: what a token takes from those after it is zero. Raises LabError for a text
    tower of another kind (SigLIP's, BERT), and for a text that is too long.
    """
    tower = encoder.model.text
    if not isinstance(tower, TextTransformer) or tower.config.pooling != "end":
        raise LabError(
            f"The text tower of “{encoder.name}” isn't CLIP's own, causal and read at its end "
            "token. Take a model whose is, such as “shapes”."
        )
    tokens = encoder.tokenizer([text]).to(encoder.device)
    tokens = tokens[:, : int(end_positions(tokens, tower.config.end_token)) + 1]
    place = torch.arange(tokens.shape[1], device=tokens.device)
    x = tower.token_embedding(tokens) + tower.positional_embedding[place]
    return torch.cat(trace(tower, x, place <= place[:, None]).weights).cpu()


def pool_attention(
    encoder: DualEncoder, pictures: ImageSources
) -> Float[Tensor, "pictures heads rows columns"]:
    """Where a ResNet's attention pooling looks: each head's shares in the places (paper 2.4).

    The mean of all places asks. What it takes from itself is left out, so shares add up to less
    than one. Raises LabError for a tower that isn't a ResNet.
    """
    tower = encoder.model.visual
    if not isinstance(tower, ModifiedResNet):
        raise LabError(f"“{encoder.name}” has no attention pooling over places: it is no ResNet.")
    pool = tower.attnpool

    @torch.no_grad()
    def of(images: Tensor) -> Tensor:
        places = last_stage(tower, images)
        x = places.flatten(2).transpose(1, 2)
        x = torch.cat([x.mean(dim=1, keepdim=True), x], dim=1) + pool.positional_embedding
        asking, answering = (
            layer(part).unflatten(2, (pool.heads, -1)).transpose(1, 2)
            for layer, part in ((pool.q_proj, x[:, :1]), (pool.k_proj, x))
        )
        return attention_weights(asking, answering)[:, :, 0, 1:].unflatten(2, places.shape[2:])

    return in_batches(encoder, pictures, of)


def last_stage(
    tower: ModifiedResNet, images: Float[Tensor, "pictures 3 size size"]
) -> Float[Tensor, "pictures width side side"]:
    """What a ResNet's pooling is given."""
    kept: list[Tensor] = []
    hook = tower.attnpool.register_forward_pre_hook(lambda _, given: kept.append(given[0]))
    try:
        tower(images)
    finally:
        hook.remove()
    return kept[0]


@dataclass(frozen=True)
class Trace:
    """A way through the tower, with all that usually stays inside."""

    weights: list[Float[Tensor, "pictures heads tokens tokens"]]  # of each block
    tokens: Float[Tensor, "pictures tokens width"]  # after the last block


def trace(
    tower: VisionTransformer | TextTransformer,
    x: Float[Tensor, "pictures tokens width"],
    mask: Bool[Tensor, "tokens tokens"] | None = None,
) -> Trace:
    """From the first block's tokens to the last's, attention written out.

    Attention(Q, K, V) = softmax(QKᵀ/√d)V (Vaswani et al. 2017, arXiv 1706.03762, equation 1).
    """
    kept = []
    for block in tower.transformer.resblocks:
        q, k, v = queries_keys_values(block.attn, block.ln_1(x))
        kept.append(attention_weights(q, k, mask))
        x = x + mixed(block.attn, kept[-1], v)
        x = x + block.mlp(block.ln_2(x))
    return Trace(kept, x)


def queries_keys_values(
    attention: Attention, x: Float[Tensor, "pictures tokens width"]
) -> Float[Tensor, "3 pictures heads tokens _"]:
    """The three thirds of the input projection, head by head."""
    out = F.linear(x, attention.in_proj_weight, attention.in_proj_bias)
    return out.unflatten(2, (3, attention.heads, -1)).permute(2, 0, 3, 1, 4)


def attention_weights(
    asking: Float[Tensor, "pictures heads queries per_head"],
    answering: Float[Tensor, "pictures heads keys per_head"],
    mask: Bool[Tensor, "queries keys"] | None = None,
) -> Float[Tensor, "pictures heads queries keys"]:
    """Each query's shares in the keys, or in those that `mask` lets it see."""
    scores = asking @ answering.mT / math.sqrt(asking.shape[-1])
    return (scores if mask is None else scores.masked_fill(~mask, -math.inf)).softmax(dim=-1)


def mixed(
    attention: Attention,
    weights: Float[Tensor, "pictures heads queries keys"],
    values: Float[Tensor, "pictures heads keys per_head"],
) -> Float[Tensor, "pictures queries width"]:
    """The values, mixed by the weights, and the heads brought together."""
    return attention.out_proj((weights @ values).transpose(1, 2).flatten(2))


def first_tokens(
    tower: VisionTransformer, images: Float[Tensor, "pictures 3 size size"]
) -> Float[Tensor, "pictures tokens width"]:
    """What the first block reads: class token and patches, positions added."""
    patches = tower.conv1(images).flatten(2).transpose(1, 2)
    if not tower.has_class:
        return patches + tower.positional_embedding
    first = tower.class_embedding.expand(len(images), 1, -1)
    return tower.ln_pre(torch.cat([first, patches], dim=1) + tower.positional_embedding)


def class_vit(encoder: DualEncoder, method: str) -> VisionTransformer:
    """The image tower, if it is a Vision Transformer with a class token; else LabError."""
    tower = encoder.model.visual
    if isinstance(tower, VisionTransformer) and tower.has_class:
        return tower
    kind = "SigLIP's attention pooling" if isinstance(tower, VisionTransformer) else "a ResNet"
    raise LabError(
        f"{method} needs a Vision Transformer with a class token, and “{encoder.name}” ends in "
        f"{kind}. Take a ViT of CLIP's own form, or ask for raw similarity, which every tower has."
    )


def in_batches(
    encoder: DualEncoder, pictures: ImageSources, compute: Callable[[Tensor], Tensor]
) -> Tensor:
    """`compute` on the prepared pictures, some at a time; results one after the other, on the CPU.

    Raises LabError where there are no pictures, or one can't be read.
    """
    if not len(pictures):
        raise LabError("There is no picture to look into. Give at least one.")
    dtype = encoder.model.visual.conv1.weight.dtype
    parts = []
    for start in range(0, len(pictures), BATCH):
        prepared = [encoder.preprocess(picture) for picture in pictures[start : start + BATCH]]
        parts.append(compute(torch.stack(prepared).to(encoder.device, dtype)).cpu())
    return torch.cat(parts)
