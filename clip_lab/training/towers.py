"""The two towers as training sees them: one call from pixels and tokens to unit vectors."""

import contextlib
from collections.abc import Iterator
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from clip_lab.batching import last_tokens
from clip_lab.errors import LabError
from clip_lab.model import CLIP
from clip_lab.model.text import TextTransformer
from clip_lab.model.vit import VisionTransformer


class Features(NamedTuple):
    """What the loss is made of. A picture's captions, as many for each, stand side by side."""

    images: Float[Tensor, "images embed_dim"]  # rows of length 1, float32
    texts: Float[Tensor, "texts embed_dim"]
    scale: Float[Tensor, ""]  # the logarithm of 1/τ
    bias: Float[Tensor, ""] | None = None


class Towers(nn.Module):
    """A CLIP whose forward gives everything that has a gradient: PyTorch's DDP needs it so."""

    def __init__(self, model: CLIP):
        super().__init__()
        self.model = model

    def forward(
        self, images: Float[Tensor, "images 3 height width"], tokens: Int[Tensor, "texts context"]
    ) -> Features:
        with _no_gradient_if_locked(self.model.visual):
            image_vectors = _float32(self.model.encode_image(images))
        with _no_gradient_if_locked(self.model.text):
            text_vectors = _float32(encode_by_length(self.model, tokens))
        return Features(
            F.normalize(image_vectors, dim=-1),
            F.normalize(text_vectors, dim=-1),
            self.model.logit_scale,
            self.model.logit_bias,
        )


def _float32(vectors: Tensor) -> Tensor:
    """Cosines and softmax are taken in 32 bits at least, whatever the towers computed in."""
    return vectors.float() if vectors.dtype.itemsize < 4 else vectors


def encode_by_length(
    model: CLIP, tokens: Int[Tensor, "batch context"], pieces: int = 4
) -> Float[Tensor, "batch embed_dim"]:
    """`model.encode_text`, the short texts apart from the long ones.

    A batch costs as much as its longest text in every row; of pieces of like length each is cut at
    its own end. The vectors are the same, in the same order.
    """
    order = last_tokens(tokens).argsort(stable=True)
    vectors = torch.cat([model.encode_text(piece) for piece in tokens[order].chunk(pieces)])
    return vectors[order.argsort()]


# -- towers that are locked, thinned, or computed twice --------------------------------------------


def lock(tower: nn.Module) -> None:
    """Keep a tower as it is, statistics included (LiT, Zhai et al. 2022, arXiv 2111.07991)."""
    tower.requires_grad_(False)
    tower.train(False)


def set_training(model: CLIP) -> None:
    """Into training mode, all but what is locked: a locked batch norm must not move either."""
    model.train()
    for tower in (model.visual, model.text):
        if _locked(tower):
            tower.train(False)


def _no_gradient_if_locked(tower: nn.Module) -> contextlib.AbstractContextManager[None]:
    return torch.no_grad() if _locked(tower) else contextlib.nullcontext()


def _locked(tower: nn.Module) -> bool:
    return not any(parameter.requires_grad for parameter in tower.parameters())


@contextlib.contextmanager
def patch_dropout(model: CLIP, share: float) -> Iterator[None]:
    """Leave a random share of each picture's patches out while training.

    Half of the patches are half of the work, and nearly as much is learnt (FLIP, Li et al. 2023,
    arXiv 2212.00794, 3.1). Positions are added before, so the rest still know where they are. The
    class token stays. Drawn from torch's own generator.
    """
    if not share:
        yield
        return
    vision = model.visual
    if not isinstance(vision, VisionTransformer):
        raise LabError("Patch dropout needs a Vision Transformer: a ResNet has no patches to drop.")

    def thin(_module: nn.Module, arguments: tuple[Tensor, ...]) -> tuple[Tensor, ...] | None:
        return (drop_patches(arguments[0], share, vision.has_class),) if vision.training else None

    hook = (vision.ln_pre if vision.has_class else vision.transformer).register_forward_pre_hook(
        thin
    )
    try:
        yield
    finally:
        hook.remove()


def drop_patches(
    tokens: Float[Tensor, "batch tokens width"], share: float, has_class: bool
) -> Float[Tensor, "batch kept width"]:
    """A random subset of each row's patches, another for each picture; the class token stays."""
    patches = tokens[:, int(has_class) :]
    keep = max(1, round((1 - share) * patches.shape[1]))
    order = torch.rand(patches.shape[:2], device=tokens.device).argsort(dim=1)[:, :keep]
    kept = patches.gather(1, order[:, :, None].expand(-1, -1, patches.shape[2]))
    return torch.cat([tokens[:, : int(has_class)], kept], dim=1)


def compile_towers(model: CLIP) -> None:
    """Let torch.compile have the image tower whole, and of the text tower each block.

    A batch of texts is as long as its longest; a block that is told so is compiled once for all.
    """
    model.visual.compile()
    if isinstance(model.text, TextTransformer):
        for block in model.text.transformer.resblocks:
            block.compile(dynamic=True)


def recompute_blocks(model: CLIP) -> None:
    """Gradient checkpointing (Chen et al. 2016, arXiv 1604.06174).

    Of each transformer block only its input is kept; the rest is computed again on the way back. A
    ResNet's blocks are left alone: its batch norm would see, and remember, each batch twice.
    """
    for tower in (model.visual, model.text):
        if isinstance(tower, VisionTransformer | TextTransformer):
            for block in tower.transformer.resblocks:
                block.forward = partial(checkpoint, block.forward, use_reentrant=False)
