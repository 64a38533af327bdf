"""In which numbers to multiply: 16 bits where the hardware is quick at it, sums in 32."""

import contextlib
from pathlib import Path
from typing import Any

import torch


def choose_precision(device: torch.device, precision: str) -> str:
    """ "auto": bfloat16 where the hardware multiplies in it, float16 on older GPUs."""
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported(including_emulation=False) else "float16"
    return "bfloat16" if device.type == "cpu" and cpu_has_bfloat16() else "float32"


def autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[Any]:
    """Matrix products in `precision`; what needs range or exactness stays in float32."""
    if precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, getattr(torch, precision))


def grad_scaler(device: torch.device, precision: str) -> torch.amp.GradScaler:
    """For float16, whose smallest numbers are too big for gradients (Micikevicius et al. 2018).

    In other precisions it does nothing.
    """
    return torch.amp.GradScaler(device.type, enabled=precision == "float16")


def cpu_has_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16 itself: emulated, it is slower than float32."""
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return False
    return "avx512_bf16" in flags or "amx_bf16" in flags
