"""Several processes, one batch: what torchrun starts, and how their features meet.

Each process encodes its own rows; the features of all are gathered, with gradients; each computes
the loss of its own rows against everyone's. PyTorch's DDP averages the gradients. A gather without
gradients would be wrong: a picture would never learn from being another process's negative
(open_clip issue 616).
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel


def rank() -> int:
    """The number of this process: 0 writes the files. Alone, it is 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """How many processes there are."""
    return dist.get_world_size() if dist.is_initialized() else 1


@contextmanager
def process_group(device: torch.device) -> Iterator[torch.device]:
    """Join the others if torchrun started this process; gives the device that is its own.

    NCCL between GPUs, gloo between CPUs.
    """
    if "LOCAL_RANK" not in os.environ or dist.is_initialized():
        yield device
        return
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    try:
        yield device
    finally:
        dist.destroy_process_group()


@contextmanager
def first_before_others() -> Iterator[bool]:
    """Let process 0 do something alone before the others do it; says whether this is it.

    What it writes is then there for them to read.
    """
    first = rank() == 0
    if world() > 1 and not first:
        dist.barrier()
    try:
        yield first
    finally:
        if world() > 1 and first:
            dist.barrier()


def together(towers: nn.Module, device: torch.device) -> nn.Module:
    """The towers in DDP, where there are several processes.

    Batch norm then sees the whole batch on GPUs; on CPUs PyTorch has no such thing, and each
    process normalises by its own rows.
    """
    if world() == 1:
        return towers
    if device.type == "cuda":
        towers = nn.SyncBatchNorm.convert_sync_batchnorm(towers)
        return DistributedDataParallel(towers, device_ids=[device.index])
    return DistributedDataParallel(towers)


class _Gather(torch.autograd.Function):
    """All processes' rows, in order of rank; the gradient of a row comes back from all of them.

    PyTorch's own (`torch.distributed.nn.functional.all_gather`) is deprecated, and needs as many
    rows from each process.
    """

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        sizes = [torch.zeros((), dtype=torch.long, device=rows.device) for _ in range(world())]
        dist.all_gather(sizes, torch.tensor(len(rows), device=rows.device))
        counts = [int(size) for size in sizes]
        padding = [0, 0] * (rows.ndim - 1) + [0, max(counts) - len(rows)]
        padded = F.pad(rows, padding).contiguous()
        parts = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(parts, padded)
        start = sum(counts[: rank()])
        ctx.own = slice(start, start + len(rows))
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        return total[ctx.own]


def gather(rows: Tensor) -> Tensor:
    """Everyone's rows, with gradients; alone, one's own."""
    return rows if world() == 1 else _Gather.apply(rows)  # pyright: ignore[reportReturnType]


def sum_over_processes(values: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """The sum of what every process has; alone, what there is."""
    if world() > 1:
        dist.all_reduce(values)
    return values
