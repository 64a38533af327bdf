"""Weights in 16 or 8 bits each, for files that travel; read back into 32.

Eight bits are whole numbers from −127 to 127 and one scale a row, a matrix's or a convolution's
output: no weight moves by more than 1/254 of the largest of its row. Gains, biases and statistics
are few, and stay as they are.
"""

from collections.abc import Mapping

import torch
from torch import Tensor

from clip_lab.errors import LabError

SCALE = ".row_scale"  # ends the name of the tensor beside an 8-bit one
BITS = (8, 16, 32)


def narrow(tensors: Mapping[str, Tensor], bits: int) -> dict[str, Tensor]:
    """The same tensors in fewer bits; 8-bit ones with their scales beside them."""
    if bits not in BITS:
        raise LabError(f"Weights are stored in {', '.join(map(str, BITS))} bits, not in {bits}.")
    stored: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if not tensor.is_floating_point() or (bits == 8 and tensor.ndim < 2):
            stored[name] = tensor.contiguous()
        elif bits == 8:
            stored[name], stored[name + SCALE] = _eight_bits(tensor.float())
        else:
            stored[name] = (tensor.half() if bits == 16 else tensor.float()).contiguous()
    return stored


def _eight_bits(tensor: Tensor) -> tuple[Tensor, Tensor]:
    scales = tensor.flatten(1).abs().amax(dim=1).clamp_min(1e-12) / 127  # one a row
    rows = tensor.flatten(1) / scales[:, None]
    return rows.round().to(torch.int8).view(tensor.shape).contiguous(), scales


def widen(tensors: Mapping[str, Tensor], where: str) -> dict[str, Tensor]:
    """What `narrow` was given, as near as the bits allow. Raises LabError for a missing scale."""
    wide = {name: tensor for name, tensor in tensors.items() if not name.endswith(SCALE)}
    for name, tensor in wide.items():
        if tensor.dtype == torch.int8:
            scales = tensors.get(name + SCALE)
            if scales is None or scales.shape != tensor.shape[:1]:
                raise LabError(f"{where}: {name} is stored in 8 bits without its rows' scales.")
            rows = tensor.flatten(1).float() * scales[:, None]
            wide[name] = rows.view(tensor.shape)
    return wide
