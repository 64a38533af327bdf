"""How long, how fast: the learning rate over a run, and which weights decay."""

import math

import torch
from torch import nn


def learning_rate(peak: float, warmup: int, step: int, fraction: float) -> float:
    """Up in a straight line for `warmup` steps, then down to 0 along half a cosine (paper 2.5).

    `fraction` is how much of the run is over, 0 to 1, in steps or in time.
    """
    return peak * min(1.0, (step + 1) / max(warmup, 1)) * 0.5 * (1 + math.cos(math.pi * fraction))


def adamw(model: nn.Module, lr: float, weight_decay: float) -> torch.optim.AdamW:
    """AdamW that pulls weights towards 0, but no gain, no bias and no scale (paper 2.5).

    Those are the tensors of fewer than two dimensions: a gain pulled to 0 would switch its channel
    off, and the logit scale has a clamp of its own. β₂ = 0.98, ε = 1e-6: the paper's, for ViTs.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.98), eps=1e-6)
