"""ViT-B/32 in bfloat16 on a GPU: pairs a second, memory, the share of the chip's peak; the loss."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.inference.gpu import PEAK
from benchmarks.inference.measure import by_turns, summary
from benchmarks.training.contenders import OURS, THEIRS, Contender, Ours, kinds
from benchmarks.training.inputs import Model, batch
from benchmarks.training.loss import loss_part
from benchmarks.training.memory import peak_extra
from benchmarks.training.step import VIT_B_32, caption_record
from clip_lab.model import CLIPConfig
from clip_lab.training.batches import TokenBatch

Record = dict[str, Any]
Makers = dict[str, Callable[[Model], Contender]]

PRECISION = "bfloat16"
# How ours takes a batch: in so many pieces, compiled or not.
WAYS = {
    256: ((1, False),),
    1024: ((1, False), (4, False), (1, True)),
    4096: ((1, False), (4, False), (4, True)),
    32_768: ((16, False), (32, False)),
}
LOSS_SIZES = (1024, 4096, 16_384, 32_768, 65_536)
COUNTED = 256  # pairs whose operations are counted
BETWEEN = 2048  # at least so many pairs are learnt between two looks at the clock


def gpu_part(
    rounds: int,
    ways: dict[int, tuple[tuple[int, bool], ...]] = WAYS,
    config: CLIPConfig = VIT_B_32,
    loss_sizes: tuple[int, ...] = LOSS_SIZES,
    device: str = "cuda",
) -> Record:
    """By batch and by way; what the memory can't hold is told as such."""
    chip = torch.cuda.get_device_name() if device == "cuda" else device
    peak = next((value for name, value in PEAK.items() if name in chip), None)
    sample = Model("ViT-B-32", config, COUNTED)
    each = flops(sample, device) / COUNTED
    result: Record = {
        "device": chip,
        "peak_bfloat16_tflops": peak,
        "gigaflops_a_pair": float(f"{each / 1e9:.4g}"),  # one forward and one backward pass
        "captions": caption_record(batch(sample).tokens),
        "step": {},
    }
    for number, chosen in ways.items():
        model = Model("ViT-B-32", config, number)
        found = _batch(makers(chosen, device), model, rounds, device)
        for case in found.values():
            if peak and "pairs_a_second" in case:
                share = each * case["pairs_a_second"] / 1e12 / peak
                case["share_of_bfloat16_peak"] = round(share, 4)
        result["step"][str(number)] = found
    return result | {"loss": loss_part(rounds, loss_sizes, device)}


def makers(ways: tuple[tuple[int, bool], ...], device: str) -> Makers:
    """Ours in each way, and open_clip's where it is installed."""
    found: Makers = {}
    for pieces, compiled in ways:
        name = OURS + (f", {pieces} pieces" if pieces > 1 else "") + ", compiled" * compiled
        found[name] = partial(
            Ours, precision=PRECISION, device=device, pieces=pieces, compiled=compiled
        )
    if THEIRS in kinds():
        found[THEIRS] = partial(kinds()[THEIRS], precision=PRECISION, device=device)
    return found


def _batch(chosen: Makers, model: Model, rounds: int, device: str) -> Record:
    learned, result = batch(model, device), {}
    running: dict[str, Contender] = {}
    for name, make in chosen.items():
        result[name], contender = _first_steps(partial(make, model), learned, device)
        if contender is not None:
            running[name] = contender
    steps = max(1, BETWEEN // model.batch)
    cases = {name: partial(_steps, c, learned, steps, device) for name, c in running.items()}
    for name, seconds in (by_turns(cases, rounds) if cases else {}).items():
        taken = summary([value / steps for value in seconds])
        speed = float(f"{model.batch / taken['median']:.4g}")
        result[name] |= {"seconds": taken, "pairs_a_second": speed}
    return result


def _first_steps(
    make: Callable[[], Contender], learned: TokenBatch, device: str
) -> tuple[Record, Contender | None]:
    """Peak memory of model, optimiser and two steps, and what the first of them found.

    Every way starts from the same weights: losses and lengths of gradients should be the same.
    """
    made: list[Contender] = []
    first: Record = {}

    def run() -> None:
        made.append(make())
        first["first_loss"] = made[0].step(learned).item()
        first["first_gradient_length"] = float(made[0].length)
        made[0].step(learned)

    try:
        return {"peak_extra_bytes": peak_extra(run, device)} | first, made[0]
    except RuntimeError as error:  # no memory left, or a compiler that fails: the rest goes on
        return {"failed": str(error).split("\n")[0][:200]}, None


def _steps(contender: Contender, learned: TokenBatch, steps: int, device: str) -> None:
    for _ in range(steps):
        contender.step(learned)
    if device == "cuda":
        torch.cuda.synchronize()


def flops(model: Model, device: str) -> int:
    """Of one step's products of matrices, a multiplication and an addition counted as two.

    Of the work that has to be done: one pass, captions cut at their ends. What pieces compute twice
    is not counted, nor is the optimiser.
    """
    ours = Ours(model, PRECISION, device)
    with FlopCounterMode(display=False) as counter:
        ours.gradients(batch(model, device))
    return counter.get_total_flops()
