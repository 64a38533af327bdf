"""Ours on a GPU: pictures a second, and the share of the chip's peak that is reached."""

from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from clip_lab.model import CLIP, CONFIGS
from clip_lab.pretrained.build import set_precision

BATCHES = (1, 4, 16, 64, 256, 1024)
# Dense bfloat16 TFLOP/s by the makers' data sheets; float32 with TF32 off has no tensor cores.
PEAK = {"H100": 989, "H200": 989, "A100": 312}


def gpu(rounds: int = 20) -> dict[str, Any]:
    """ViT-B/32, image tower: eager and compiled, float32 and bfloat16."""
    device = torch.cuda.get_device_name()
    peak = next((value for name, value in PEAK.items() if name in device), None)
    result: dict[str, Any] = {"device": device, "peak_bfloat16_tflops": peak}
    for dtype in ("float32", "bfloat16"):
        for compiled in (False, True):
            torch.manual_seed(0)
            model = CLIP(CONFIGS["ViT-B-32"]).eval().cuda()
            set_precision(model, dtype)
            if compiled:
                model.visual.compile()
            kind = f"{dtype}, {'compiled' if compiled else 'eager'}"
            result[kind] = {n: _batch(model, n, rounds, peak) for n in BATCHES}
    return result


@torch.inference_mode()
def _batch(model: CLIP, number: int, rounds: int, peak: float | None) -> dict[str, Any]:
    pixels = torch.randn(number, 3, 224, 224, device="cuda")
    for _ in range(3):
        model.encode_image(pixels)
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    for _ in range(rounds):
        model.encode_image(pixels)
    end.record()
    torch.cuda.synchronize()
    seconds = start.elapsed_time(end) / 1000 / rounds
    tflops = _flops(number) / seconds / 1e12
    return {
        "pictures_a_second": round(number / seconds, 1),
        "tflops": round(tflops, 2),
        "share_of_bfloat16_peak": round(tflops / peak, 4) if peak else None,
    }


def _flops(number: int) -> int:
    """Counted on a model without memory: the batch's products of matrices."""
    with torch.device("meta"):
        model, pixels = CLIP(CONFIGS["ViT-B-32"]).eval(), torch.empty(number, 3, 224, 224)
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.encode_image(pixels)
    return counter.get_total_flops()
