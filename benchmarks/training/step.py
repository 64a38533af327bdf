"""A whole training step: time, pairs a second and peak memory, ours beside open_clip's."""

from dataclasses import replace
from typing import Any

import torch

from benchmarks.inference.measure import by_turns, compared
from benchmarks.training.contenders import OURS, THEIRS, TINY, kinds
from benchmarks.training.inputs import LONGEST, SHORTEST, Model, batch
from benchmarks.training.memory import in_fresh_process, peak_extra
from clip_lab.batching import last_tokens
from clip_lab.model import CONFIGS, CLIPConfig, TextConfig, ViTConfig

Record = dict[str, Any]

LAB = CLIPConfig(256, ViTConfig(64, 8, 192, 6), TextConfig(width=192, layers=3), "gelu")
VIT_B_32 = replace(CONFIGS["ViT-B-32"], activation="gelu")  # open_clip's model of that name
MODELS = (Model("lab", LAB, 128), Model("ViT-B-32", VIT_B_32, 32))
PRECISIONS = ("float32", "bfloat16")
# How far apart the first step's losses may be. In bfloat16 both towers round, and open_clip's
# logits too: a number has 8 significant bits.
SAME = {"float32": 1e-4, "bfloat16": 0.03}


def step_part(rounds: int, models: tuple[Model, ...] = MODELS) -> Record:
    """Every model in every precision."""
    return {
        f"{model.name}, batch {model.batch}, {precision}": _measured(model, precision, rounds)
        for model in models
        for precision in PRECISIONS
    }


def _measured(model: Model, precision: str, rounds: int) -> Record:
    peaks = {name: in_fresh_process(peak_of_steps, name, model, precision) for name in kinds()}
    learned, running = (
        batch(model),
        {name: kind(model, precision) for name, kind in kinds().items()},
    )
    result: Record = {"captions": caption_record(learned.tokens)}
    result["first_loss"] = {name: c.step(learned).item() for name, c in running.items()}
    result["first_gradient_length"] = {name: float(c.length) for name, c in running.items()}
    if THEIRS in running:
        result["first_loss_difference"] = _same(result["first_loss"], precision)
    cases = {name: lambda c=c: c.step(learned) for name, c in running.items()}
    found = compared(by_turns(cases, rounds), OURS)
    for name, case in found.items():
        case["pairs_a_second"] = float(f"{model.batch / case['seconds']['median']:.4g}")
        case["peak_extra_bytes"] = peaks[name]
    return result | {"contenders": found}


def _same(losses: dict[str, float], precision: str) -> float:
    """Both do the same thing, or their times mean nothing."""
    difference = abs(losses[OURS] - losses[THEIRS])
    assert difference < SAME[precision], f"the first losses differ: {losses}"
    return float(f"{difference:.2g}")


def caption_record(tokens: torch.Tensor) -> Record:
    lengths = (last_tokens(tokens) + 1).double()
    return {
        "words": [SHORTEST, LONGEST],
        "mean_tokens": round(lengths.mean().item(), 1),
        "most_tokens": int(lengths.max()),
    }


def peak_of_steps(threads: int, name: str, model: Model, precision: str) -> int:
    """Peak memory of model, optimiser and two steps, the batch not counted."""
    torch.set_num_threads(threads)
    kind, learned = kinds()[name], batch(model)
    kind(TINY, precision).step(batch(TINY))  # loads what is loaded at the first use

    def run() -> None:
        contender = kind(model, precision)
        for _ in range(2):  # AdamW's moments are there from the second on
            contender.step(learned)

    return peak_extra(run)
