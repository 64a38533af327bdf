"""Where in a picture is what a text says? Four answers, each one call.

Every method takes (encoder, pictures, texts) and gives maps (pictures, texts, rows, columns), one
number a patch; the higher, the more the patch has to do with the text. Their scales differ: within
one map, only the order and the proportions mean something.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from clip_lab.dual_encoder import DualEncoder
from clip_lab.errors import LabError
from clip_lab.interpret.attention import (
    attention_weights,
    class_vit,
    first_tokens,
    in_batches,
    last_stage,
    mixed,
    queries_keys_values,
    trace,
)
from clip_lab.model.resnet import AttentionPool2d, ModifiedResNet
from clip_lab.model.vit import AttentionPool, VisionTransformer
from clip_lab.preprocess import ImageSources

Maps = Float[Tensor, "pictures texts rows columns"]
CONTRAST = 2.0  # what CLIP Surgery multiplies the cosines by before its softmax over texts


# -- raw similarity -------------------------------------------------------------------------------


def raw_similarity(encoder: DualEncoder, pictures: ImageSources, texts: Sequence[str]) -> Maps:
    """The cosine of each patch's own last state with each text.

    Only the class token was trained to match texts; that patches match them too is a by-product.
    In a ResNet every place asks the attention pool, not their mean alone. In SigLIP's pooling a
    patch's vector is what the pool would give if it saw that patch alone (as MaskCLIP reads CLIP,
    Zhou et al. 2022, arXiv 2112.01071, 3.2).
    """
    vectors = _text_vectors(encoder, texts)

    @torch.no_grad()
    def of(images: Tensor) -> Tensor:
        return _as_maps(patch_vectors(encoder, images) @ vectors.T)

    return in_batches(encoder, pictures, of)


def patch_vectors(
    encoder: DualEncoder, images: Float[Tensor, "pictures 3 size size"]
) -> Float[Tensor, "pictures patches embed_dim"]:
    """A unit vector a patch, in the space of the texts. `images` as the model takes them."""
    tower = encoder.model.visual
    if isinstance(tower, ModifiedResNet):
        return F.normalize(_all_places_ask(tower.attnpool, last_stage(tower, images)), dim=-1)
    states = tower.transformer(first_tokens(tower, images))
    if tower.has_class:
        return F.normalize(projected(tower, states[:, 1:]), dim=-1)
    return F.normalize(_each_alone(tower.attnpool, tower.ln_post(states)), dim=-1)


def projected(
    tower: VisionTransformer, states: Float[Tensor, "*shape width"]
) -> Float[Tensor, "*shape embed_dim"]:
    """The class token's way out, for any token."""
    return tower.ln_post(states) @ tower.proj


def _all_places_ask(
    pool: AttentionPool2d, x: Float[Tensor, "pictures width side side"]
) -> Float[Tensor, "pictures places embed_dim"]:
    x = x.flatten(2).transpose(1, 2)
    x = torch.cat([x.mean(dim=1, keepdim=True), x], dim=1) + pool.positional_embedding
    q, k, v = (
        layer(x).unflatten(2, (pool.heads, -1)).transpose(1, 2)
        for layer in (pool.q_proj, pool.k_proj, pool.v_proj)
    )
    answers = attention_weights(q, k) @ v  # (B, H, 1 + places, C/H); the first is the mean's
    return pool.c_proj(answers.transpose(1, 2).flatten(2))[:, 1:]


def _each_alone(
    pool: AttentionPool, x: Float[Tensor, "pictures patches width"]
) -> Float[Tensor, "pictures patches embed_dim"]:
    """Attention over one token gives its value, whatever is asked."""
    _, _, v = queries_keys_values(pool.attn, x)
    x = pool.attn.out_proj(v.transpose(1, 2).flatten(2))
    return x + pool.mlp(pool.ln(x))


# -- attention rollout ----------------------------------------------------------------------------


def rollout(encoder: DualEncoder, pictures: ImageSources, texts: Sequence[str]) -> Maps:
    """Which patches the class token is made of, if attention alone moved information.

    Abnar & Zuidema 2020 (arXiv 2005.00928), equation 1: each layer's weights, averaged over heads
    and with a half of the identity for the residual stream, multiplied through the layers. It
    knows nothing of the text: all texts get the same map.
    """
    tower = class_vit(encoder, "Attention rollout")

    @torch.no_grad()
    def of(images: Tensor) -> Tensor:
        weights = trace(tower, first_tokens(tower, images)).weights
        from_class = rolled_out(torch.stack(weights, dim=1))[:, 0, 1:]
        return _as_maps(from_class[:, :, None].expand(-1, -1, len(texts)))

    return in_batches(encoder, pictures, of)


def rolled_out(
    weights: Float[Tensor, "pictures layers heads tokens tokens"],
) -> Float[Tensor, "pictures tokens tokens"]:
    """What part each first token (column) has in each last one (row)."""
    identity = torch.eye(weights.shape[-1], dtype=weights.dtype, device=weights.device)
    total = identity.expand(len(weights), -1, -1)
    for layer in weights.mean(dim=2).unbind(1):
        total = (layer + identity) / 2 @ total
    return total


# -- gradient-weighted relevance ------------------------------------------------------------------


def relevance(encoder: DualEncoder, pictures: ImageSources, texts: Sequence[str]) -> Maps:
    """Rollout in which a weight counts as far as it raises the logit of picture and text.

    Chefer, Gur & Wolf 2021 (arXiv 2103.15679), equations 5 and 6. One backward pass a text.
    """
    tower, vectors = (
        class_vit(encoder, "Gradient-weighted relevance"),
        _text_vectors(encoder, texts),
    )

    @torch.enable_grad()
    def of(images: Tensor) -> Tensor:
        # Gradients are wanted from the tokens on, also where the tower itself is locked.
        passed = trace(tower, first_tokens(tower, images).detach().requires_grad_())
        logits = F.normalize(projected(tower, passed.tokens[:, 0]), dim=-1) @ vectors.T
        logits = logits * encoder.model.logit_scale.exp().detach()
        maps = []
        for column in logits.unbind(1):  # pictures don't mix: one sum serves all of them
            slopes = torch.autograd.grad(column.sum(), passed.weights, retain_graph=True)
            maps.append(relevances(passed.weights, list(slopes))[:, 0, 1:])
        return _as_maps(torch.stack(maps, dim=2).detach())

    return in_batches(encoder, pictures, of)


def relevances(
    weights: list[Float[Tensor, "pictures heads tokens tokens"]],
    slopes: list[Float[Tensor, "pictures heads tokens tokens"]],
) -> Float[Tensor, "pictures tokens tokens"]:
    """R ← R + ĀR from the identity on, Ā = the heads' mean of (∇A ⊙ A)⁺."""
    tokens = weights[0].shape[-1]
    identity = torch.eye(tokens, dtype=weights[0].dtype, device=weights[0].device)
    total = identity.expand(len(weights[0]), -1, -1)
    for layer, slope in zip(weights, slopes, strict=True):
        total = total + (slope * layer).clamp(min=0).mean(dim=1) @ total
    return total


# -- CLIP Surgery ---------------------------------------------------------------------------------


def surgery(encoder: DualEncoder, pictures: ImageSources, texts: Sequence[str]) -> Maps:
    """Patches that look at their like, and less of what all texts share.

    Li et al. 2023 (arXiv 2304.05653): architecture surgery (`second_path`), then feature surgery
    (`without_redundancy`). What is redundant is found by comparing the texts with each other: give
    all the labels that matter, not only the one asked for. Raises LabError for fewer than two.
    """
    tower = class_vit(encoder, "CLIP Surgery")
    vectors = _text_vectors(encoder, texts)
    if len(texts) < 2:
        raise LabError(
            "CLIP Surgery removes what all texts share, so it needs at least two of them. Add the "
            "labels that the text should be told from."
        )

    @torch.no_grad()
    def of(images: Tensor) -> Tensor:
        return _as_maps(without_redundancy(*second_path(tower, images), vectors))

    return in_batches(encoder, pictures, of)


def second_path(
    tower: VisionTransformer, images: Float[Tensor, "pictures 3 size size"]
) -> tuple[Float[Tensor, "pictures embed_dim"], Float[Tensor, "pictures patches embed_dim"]]:
    """Unit vectors: the class token's, as ever, and the patches' by value-value attention.

    In the second half of the blocks (the last six of twelve, as the authors do) a second stream
    adds up attention in which queries and keys are both the values: a patch gathers from patches
    like itself. The MLPs are left out of it. What each block reads is the first, usual stream.
    """
    x, blocks = first_tokens(tower, images), list(tower.transformer.resblocks)
    start = len(blocks) // 2
    for block in blocks[:start]:
        x = block(x)
    second = x
    for block in blocks[start:]:
        _, _, v = queries_keys_values(block.attn, block.ln_1(x))
        second = second + mixed(block.attn, attention_weights(v, v), v)
        x = block(x)
    pictures, patches = projected(tower, x[:, 0]), projected(tower, second[:, 1:])
    return F.normalize(pictures, dim=-1), F.normalize(patches, dim=-1)


def without_redundancy(
    pictures: Float[Tensor, "pictures embed_dim"],
    patches: Float[Tensor, "pictures patches embed_dim"],
    texts: Float[Tensor, "texts embed_dim"],
) -> Float[Tensor, "pictures patches texts"]:
    """Similarities less their mean over the texts, each text weighed by how well it fits at all.

    The paper multiplies patches by texts channel by channel, takes the mean over texts off, and
    sums over channels. Both steps are linear, so the order doesn't matter: here cosines first.
    """
    shares = (CONTRAST * pictures @ texts.T).softmax(dim=-1)
    weights = shares / shares.mean(dim=-1, keepdim=True)  # a text that dominates counts for more
    weighted = patches @ texts.T * weights[:, None]
    return weighted - weighted.mean(dim=-1, keepdim=True)


# -- all of them ----------------------------------------------------------------------------------

Method = Callable[[DualEncoder, ImageSources, Sequence[str]], Maps]
METHODS: dict[str, Method] = {
    "raw similarity": raw_similarity,
    "attention rollout": rollout,
    "gradient relevance": relevance,
    "CLIP Surgery": surgery,
}


def _text_vectors(encoder: DualEncoder, texts: Sequence[str]) -> Float[Tensor, "texts embed_dim"]:
    """Unit vectors, in the image tower's precision. Raises LabError where there is no text."""
    if not texts:
        raise LabError("There is no text to look for. Give at least one.")
    weight = encoder.model.visual.conv1.weight
    return encoder.encode_texts(texts).to(weight.device, weight.dtype)


def _as_maps(values: Float[Tensor, "pictures patches texts"]) -> Maps:
    side = round(values.shape[1] ** 0.5)  # pictures are square
    return values.transpose(1, 2).unflatten(2, (side, side))
