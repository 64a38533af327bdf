"""What passes between the grader and a learner's process: plain values and tensors, no pickle.

A message is a JSON tree and, for its tensors, a safetensors file: reading one runs no code, so that
a reply from a process that isn't trusted can at worst be wrong.
"""

import json
import struct
from typing import Any, TypeGuard

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor

DEPTH = 12  # of lists in lists
LARGEST = 2**27  # bytes of a message


class Foul(Exception):
    """A message that isn't one."""


def pack(value: Any) -> bytes:
    """The value as bytes; what is neither plain nor a tensor goes as the name of its type."""
    tensors: dict[str, Tensor] = {}
    tree = json.dumps(_tree(value, tensors, DEPTH)).encode()
    return struct.pack(">I", len(tree)) + tree + save(tensors)


def _tree(value: Any, tensors: dict[str, Tensor], depth: int) -> Any:
    if value is None or type(value) in (bool, int, str):
        return value
    if isinstance(value, float):
        return {"float": repr(float(value))}
    if value is ...:
        return {"dots": 0}
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "fiub":
        return {"array": _keep(torch.from_numpy(np.array(value)), tensors)}
    if carried(value):
        return {"tensor": _keep(value, tensors)}
    if isinstance(value, list | tuple | set) and depth:
        kind = next(kind for kind in (list, tuple, set) if isinstance(value, kind))
        return {kind.__name__: [_tree(item, tensors, depth - 1) for item in value]}
    if isinstance(value, dict) and depth:
        pairs = [[_tree(side, tensors, depth - 1) for side in pair] for pair in value.items()]
        return {"dict": pairs}
    return {"other": type(value).__name__}


def _keep(tensor: Tensor, tensors: dict[str, Tensor]) -> int:
    tensors[str(len(tensors))] = tensor.detach().cpu().contiguous().clone()
    return len(tensors) - 1


def unpack(message: bytes) -> Any:
    """The value that was packed. Raises Foul for bytes that nothing was packed into."""
    try:
        (length,) = struct.unpack(">I", message[:4])
        tree, tensors = json.loads(message[4 : 4 + length]), load(message[4 + length :])
        return _value(tree, tensors)
    except Foul:
        raise
    except Exception as error:  # whatever a hostile process wrote
        raise Foul(str(error)) from error


def _value(tree: Any, tensors: dict[str, Tensor]) -> Any:
    if not isinstance(tree, dict):
        if tree is None or isinstance(tree, bool | int | str):
            return tree
        raise Foul("a bare list or float")
    ((kind, inside),) = tree.items()
    if kind in ("list", "tuple", "set"):
        return {"list": list, "tuple": tuple, "set": set}[kind](_value(i, tensors) for i in inside)
    if kind == "dict":
        return {_value(key, tensors): _value(value, tensors) for key, value in inside}
    if kind == "other":  # an empty stand-in of that name, so that a check can say what came
        name = inside if isinstance(inside, str) and inside.isidentifier() else "object"
        return type(name, (), {})()
    plain = {"float": float, "dots": lambda _: ..., "tensor": lambda i: tensors[str(int(i))]}
    plain["array"] = lambda i: tensors[str(int(i))].numpy()
    return plain[kind](inside)


def carried(value: Any) -> TypeGuard[Tensor]:
    """Whether it is a tensor of a kind that a message can carry."""
    return isinstance(value, Tensor) and not value.is_sparse and not value.is_complex()


def flat(value: Any) -> list[Tensor]:
    """The tensors in a value, in the order in which they are packed."""
    if carried(value):
        return [value]
    if isinstance(value, dict):
        value = [side for pair in value.items() for side in pair]
    if isinstance(value, list | tuple):
        return [tensor for item in value for tensor in flat(item)]
    return []
