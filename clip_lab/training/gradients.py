"""From a batch to gradients: in one pass, or in pieces with the very same result.

A contrastive loss is not a sum over samples: every row's softmax runs over the whole batch, so
adding up the gradients of small batches ("gradient accumulation") learns something else, from fewer
negatives. But the loss depends on the pictures only through their features, and those are small.
So, as in GradCache (Gao et al. 2021, arXiv 2101.06983, section 3.3):

1. encode the batch piece by piece without keeping anything but the features;
2. compute the loss of all features, and its gradient for each feature;
3. encode each piece again, now with gradients, and send its features' gradients back through it.

Memory is that of one piece, the price a second forward pass, the gradient exact: each piece draws
the same random numbers in both passes.
"""

import contextlib
from collections.abc import Callable, Iterator
from types import EllipsisType

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from clip_lab.losses import one_way, sigmoid_loss, tiled_info_nce
from clip_lab.training.distributed import gather, world
from clip_lab.training.towers import Features

Loss = Callable[[Features], Tensor]
Send = Callable[[Tensor], None]  # a scalar's way back: backward(), behind a scaler for float16


def contrast(
    features: Features, groups: Int[Tensor, " images"], loss: str = "info_nce"
) -> Float[Tensor, ""]:
    """The loss of a batch, of which this process may hold only some rows.

    With several processes, the mean over processes is the loss of the whole batch, and so are the
    gradients that DDP averages. A picture with several captions is as many pairs of one group.
    """
    each = len(features.texts) // len(features.images)
    images, groups = features.images.repeat_interleave(each, 0), groups.repeat_interleave(each, 0)
    if loss == "sigmoid":
        return _sigmoid(features._replace(images=images), groups)
    if world() == 1:
        alone = len(groups.unique()) == len(groups)  # then the plain loss does, in less memory
        return tiled_info_nce(images, features.texts, features.scale, None if alone else groups)
    all_images, all_texts, everyone = gather(images), gather(features.texts), gather(groups)
    of_pictures = one_way(images, all_texts, features.scale, groups, everyone)
    of_captions = one_way(features.texts, all_images, features.scale, groups, everyone)
    return (of_pictures.sum() + of_captions.sum()) / 2 * world() / len(everyone)


def _sigmoid(features: Features, groups: Int[Tensor, " pairs"]) -> Float[Tensor, ""]:
    assert features.bias is not None, "SigLIP's loss needs a model with a bias"
    texts, everyone = gather(features.texts), gather(groups)
    rows = sigmoid_loss(features.images, texts, features.scale, features.bias, groups, everyone)
    return rows * len(groups) * world() / len(everyone)


def gradients_at_once(
    towers: nn.Module,
    images: Float[Tensor, "images 3 height width"],
    tokens: Int[Tensor, "texts context"],
    loss: Loss,
    send: Send,
) -> Float[Tensor, ""]:
    """Loss of a batch, its gradients added to the parameters'."""
    value = loss(towers(images, tokens))
    send(value)
    return value.detach()


def gradients_in_pieces(
    towers: nn.Module,
    images: Float[Tensor, "images 3 height width"],
    tokens: Int[Tensor, "texts context"],
    loss: Loss,
    send: Send,
    pieces: int,
) -> Float[Tensor, ""]:
    """The same, never holding more than a piece's activations.

    Batch norm is the one exception to "the very same": it normalises by the piece that it sees, as
    it does by the rows of one process among several. Its running statistics move once.
    """
    parts = list(zip(images.tensor_split(pieces), _texts(images, tokens, pieces), strict=True))
    randomness, cached = [], []
    with torch.no_grad(), _still_statistics(towers):
        for part in parts:
            randomness.append(_random_state(images.device))
            cached.append(towers(*part))
    leaves = _leaves(cached)
    value = loss(leaves)
    send(value)
    places = _rows([len(part.images) for part in cached]), _rows([len(p.texts) for p in cached])
    for number, (part, of_images, of_texts) in enumerate(zip(parts, *places, strict=True)):
        last = number == len(parts) - 1
        with _same_random_numbers(randomness[number], images.device), _alone(towers, not last):
            features = towers(*part)
            surrogate = _product(features.images, leaves.images, of_images)
            surrogate = surrogate + _product(features.texts, leaves.texts, of_texts)
            if last:  # what isn't by row goes back once
                surrogate = surrogate + _product(features.scale, leaves.scale)
                if features.bias is not None and leaves.bias is not None:
                    surrogate = surrogate + _product(features.bias, leaves.bias)
            surrogate.backward()  # the leaves' gradients are scaled already
    return value.detach()


def _texts(images: Tensor, tokens: Tensor, pieces: int) -> list[Tensor]:
    """Captions cut where the pictures are: each picture's stay with it."""
    each = len(tokens) // len(images)
    return [part.flatten(0, 1) for part in tokens.unflatten(0, (-1, each)).tensor_split(pieces)]


def _leaves(cached: list[Features]) -> Features:
    """All features, as if nothing had come before: the loss's gradient ends there."""
    scale, bias = cached[-1].scale, cached[-1].bias
    return Features(
        torch.cat([part.images for part in cached]).requires_grad_(),
        torch.cat([part.texts for part in cached]).requires_grad_(),
        scale.detach().clone().requires_grad_(),
        None if bias is None else bias.detach().clone().requires_grad_(),
    )


def _product(own: Tensor, leaf: Tensor, rows: slice | EllipsisType = ...) -> Tensor:
    """A scalar whose derivative for each number is what the loss's was."""
    return (own * leaf.grad[rows]).sum() if leaf.grad is not None else own.sum() * 0


def _rows(counts: list[int]) -> list[slice]:
    ends = torch.tensor(counts).cumsum(0).tolist()
    return [slice(end - count, end) for end, count in zip(ends, counts, strict=True)]


def _alone(towers: nn.Module, alone: bool) -> contextlib.AbstractContextManager[None]:
    """DDP sends gradients to the others once, with the last piece."""
    several = isinstance(towers, DistributedDataParallel)
    return towers.no_sync() if several and alone else contextlib.nullcontext()


def _random_state(device: torch.device) -> list[Tensor]:
    states = [torch.get_rng_state()]
    return states + ([torch.cuda.get_rng_state(device)] if device.type == "cuda" else [])


@contextlib.contextmanager
def _same_random_numbers(states: list[Tensor], device: torch.device) -> Iterator[None]:
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.set_rng_state(states[0])
        if len(states) > 1:
            torch.cuda.set_rng_state(states[1], device)
        yield


@contextlib.contextmanager
def _still_statistics(towers: nn.Module) -> Iterator[None]:
    """Batch norm as in training, but without moving what it remembers."""
    norms = [m for m in towers.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    moving = [norm for norm in norms if norm.track_running_stats and norm.training]
    for norm in moving:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in moving:
            norm.track_running_stats = True
