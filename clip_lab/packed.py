"""Matrix products in float32 by oneDNN, on CPUs, with weights laid out for it once.

PyTorch multiplies by MKL there, which lays the same weights out anew in every product, and is slow
on AMD's processors. The results agree to rounding. It costs a second copy of the weights.
"""

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

WORTH_PACKING = 20_000_000  # weights: below that, a model answers in milliseconds anyway


class Packed(TorchFunctionMode):
    """While it is entered, F.linear goes to oneDNN; everything else is as ever. For inference only.

    The operator is the one that torch.compile uses. Where this PyTorch has none, nothing changes.
    """

    def __init__(self):
        super().__init__()
        self.weights: dict[tuple, tuple[Tensor, int, Tensor]] = {}
        self.there = torch.backends.mkldnn.is_available() and hasattr(
            torch.ops.mkldnn, "_linear_pointwise"
        )

    def __torch_function__(
        self, function: Callable, types: Any, args: tuple = (), kwargs: dict | None = None
    ) -> Any:
        if function is F.linear and self.there and args[0].dtype == torch.float32:
            return self._linear(*args, **(kwargs or {}))
        return function(*args, **(kwargs or {}))

    def _linear(
        self,
        x: Float[Tensor, "*batch inputs"],
        weight: Float[Tensor, "outputs inputs"],
        bias: Float[Tensor, "outputs"] | None = None,
    ) -> Float[Tensor, "*batch outputs"]:
        packed = self._packed(weight)
        return torch.ops.mkldnn._linear_pointwise(x, packed, bias, "none", [], "")

    def _packed(self, weight: Float[Tensor, "outputs inputs"]) -> Tensor:
        """Laid out once, and again after the weights were trained on."""
        key = (weight.data_ptr(), weight.shape)
        kept = self.weights.get(key)
        if kept is None or kept[1] != weight._version:
            plain = weight.detach()  # kept as well, so that no other weight can take its address
            packed = torch.ops.mkldnn._reorder_linear_weight(plain.contiguous())
            kept = (plain, weight._version, packed)
            self.weights[key] = kept
        return kept[2]
