"""How long, how fast: the learning rate over a run, and which weights decay."""

import math

import torch
from torch import nn


def learning_rate(peak: float, warmup: int, step: int, fraction: float) -> float:
    """Up in a straight line for `warmup` steps, then down to 0 along half a cosine (paper 2.5).

    `fraction` is how much of the run is over, 0 to 1, in steps or in time.
    """
    return peak * min(1.0, (step + 1) / max(warmup, 1)) * 0.5 * (1 + math.cos(math.pi * fraction))


def adamw(
    model: nn.Module,
    lr: float,
    weight_decay: float,
    image_rate: float = 1.0,
    text_rate: float = 1.0,
) -> torch.optim.AdamW:
    """AdamW that pulls weights towards 0, but no gain, no bias and no scale (paper 2.5).

    Those are the tensors of fewer than two dimensions: a gain pulled to 0 would switch its channel
    off, and the logit scale has a clamp of its own. β₂ = 0.98, ε = 1e-6: the paper's, for ViTs.
    Each tower has a rate, by which the learning rate is multiplied. What is locked is left out.
    """
    groups = []
    rates = {"visual": image_rate, "text": text_rate}
    for tower, rate in (*rates.items(), ("", 1.0)):
        own = _of_tower(model, tower, list(rates))
        for decay, chosen in ((weight_decay, _matrices(own)), (0.0, _vectors(own))):
            if chosen:
                groups.append({"params": chosen, "weight_decay": decay, "rate": rate})
    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98), eps=1e-6, fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Each group at its own rate."""
    for group in optimizer.param_groups:
        group["lr"] = lr * group["rate"]


def _of_tower(model: nn.Module, tower: str, towers: list[str]) -> list[nn.Parameter]:
    """Unlocked parameters of a tower; of "", those of none."""
    named = [(name.split(".")[0], p) for name, p in model.named_parameters() if p.requires_grad]
    return [p for first, p in named if (first if first in towers else "") == tower]


def _matrices(parameters: list[nn.Parameter]) -> list[nn.Parameter]:
    return [parameter for parameter in parameters if parameter.ndim >= 2]


def _vectors(parameters: list[nn.Parameter]) -> list[nn.Parameter]:
    return [parameter for parameter in parameters if parameter.ndim < 2]
