"""Write the tables of what training at scale costs into book/scale.md; --check only compares.

python scripts/scale_costs.py [--check]
python scripts/scale_costs.py --loading     how many pictures a second one core here prepares

Every figure follows from the constants below. Change them to your own prices and run it again.
"""

import io
import sys
import tarfile
import tempfile
import time
from functools import cache
from pathlib import Path

import level
import numpy as np
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from clip_lab.data.file_pairs import FilePairs
from clip_lab.data.pair_sources import open_pairs
from clip_lab.model import CLIP, CONFIGS, CLIPConfig, TextConfig

PAGE = Path(__file__).parents[1] / "book/scale.md"

# -- what is assumed ------------------------------------------------------------------------------

SIZES = {
    1: "",
    3: "CC3M",
    12: "CC12M",
    15: "YFCC15M",
    100: "",
    400: "the paper's, LAION-400M",
}  # million pairs
ALIVE = 0.7  # of the addresses still give their picture; over a fifth were gone by 2023
FETCHED = 800  # addresses a second; img2dataset's examples: CC12M 630, CC3M 850, LAION-400M 1,300
ORIGINAL = 130e3  # bytes of a picture as it comes (img2dataset's README)
STORED = 30e3  # bytes of a pair in its tar; img2dataset's examples: CC12M 30, LAION-400M 25 kB
STORAGE_PRICE = 20  # dollars a TB and month
MODEL, BATCH, EPOCHS = "ViT-B-32", 32_768, 32
FORWARDS = 4  # a step in pieces: forward without gradients, then forward and backward (two)
PEAK = {"H100": 989e12, "A100": 312e12, "V100": 125e12}  # FLOP/s in half precision, dense
PRICE = {"H100": 2.5, "A100": 1.5}  # dollars an hour
SHARES = (0.35, 0.11)  # of the peak: a well-fed run, and what OpenCLIP's came to
LOADED = 400  # pictures a second that one core prepares: --loading

# Runs as published: model, pairs seen, chip, chips, hours, where it says so.
RUNS = (
    ("ViT-L-14", 32 * 400e6, "V100", 256, 12 * 24, "OpenAI, paper 2.5"),
    ("RN50x64", 32 * 400e6, "V100", 592, 18 * 24, "OpenAI, paper 2.5"),
    ("ViT-B-32", 32 * 400e6, "A100", 128, 36, "OpenCLIP's README, LAION-400M"),
)


# -- what follows ---------------------------------------------------------------------------------


@cache
def image_flops(config: CLIPConfig) -> float:
    """One forward pass of the image tower, as PyTorch counts it; nothing is computed."""
    side = config.vision.image_size
    with torch.device("meta"):
        tower, picture = CLIP(config).visual, torch.empty(1, 3, side, side)
    with FlopCounterMode(display=False) as counter:
        tower(picture)
    return counter.get_total_flops()


def text_flops(text: TextConfig, embed_dim: int) -> float:
    """One forward pass of a text of full length; shorter ones cost less.

    A token meets 12 width² weights in each block (4 in attention, 8 in the MLP), and as many
    positions as there are, twice: for the scores, and for the mean. Each weight is a multiplication
    and an addition.
    """
    tokens, width = text.context_length, text.width
    block = tokens * 12 * width**2 + 2 * tokens**2 * width
    return 2 * (text.layers * block + width * embed_dim)


def sample_flops(model: str, forwards: int = FORWARDS) -> float:
    """Of one pair, in so many forward passes' worth."""
    config = CONFIGS[model]
    assert isinstance(config.text, TextConfig)
    return forwards * (image_flops(config) + text_flops(config.text, config.embed_dim))


def gpu_hours(flops: float, chip: str, share: float) -> float:
    return flops / (PEAK[chip] * share) / 3600


def number(value: float) -> str:
    """Two digits that count: 0.58, 5.8, 58, 580."""
    if value >= 100:
        digits = 10 ** (len(str(int(value))) - 2)
        return f"{round(value / digits) * digits:,}"
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def table(*rows: tuple[str, ...]) -> list[str]:
    """Markdown's; the first row is the head."""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return [lines[0], "|" + "---|" * len(rows[0]), *lines[1:], ""]


def name(millions: int) -> str:
    return f"{millions} M" + (f" ({SIZES[millions]})" if SIZES[millions] else "")


def data_row(millions: int) -> tuple[str, ...]:
    addresses, stored = millions * 1e6 / ALIVE, millions * 1e6 * STORED / 1e12
    return (
        name(millions),
        f"{number(addresses / 1e6)} M",
        f"{number(millions * 1e6 * ORIGINAL / 1e12)} TB",
        number(addresses / FETCHED / 3600) + " h",
        f"{number(stored)} TB",
        number(stored * STORAGE_PRICE),
    )


def training_row(millions: int) -> tuple[str, ...]:
    seen = EPOCHS * millions * 1e6
    flops = seen * sample_flops(MODEL)
    steps = EPOCHS * (millions * 10**6 // BATCH)
    cells = [name(millions), f"{number(seen / 1e6)} M", f"{steps:,}"]
    for chip, price in PRICE.items():
        low, high = (gpu_hours(flops, chip, share) for share in SHARES)
        cells += [f"{number(low)} to {number(high)}"]
        cells += [f"{number(low * price)} to {number(high * price)}"]
    return tuple(cells)


def run_row(model: str, seen: float, chip: str, chips: int, hours: float, source: str):
    """A published run, and the share of the peak that it comes to (three forwards a pair)."""
    share = seen * sample_flops(model, 3) / (PEAK[chip] * chips * hours * 3600)
    time = f"{chips} {chip}, {hours // 24} days" if hours > 48 else f"{chips} {chip}, {hours} h"
    return (model, time, f"{chips * hours:,}", f"{share:.0%}", source)


def assumed() -> list[tuple[str, str]]:
    """The constants above, in words."""
    peaks = ", ".join(f"{chip} {peak / 1e12:.0f} TFLOP/s" for chip, peak in PEAK.items())
    prices = ", ".join(f"{chip} {price:.2f}" for chip, price in PRICE.items())
    return [
        ("addresses that still give their picture", f"{ALIVE:.0%}"),
        ("addresses fetched a second, one machine (16 cores, 2 Gbit/s)", f"{FETCHED:,}"),
        ("a picture as it comes", f"{ORIGINAL / 1e3:.0f} kB"),
        ("a pair in the shards (short side 256 px, JPEG)", f"{STORED / 1e3:.0f} kB"),
        ("storage, a TB and month, dollars", f"{STORAGE_PRICE}"),
        ("model, batch, epochs", f"{MODEL}, {BATCH:,}, {EPOCHS}"),
        ("peak, dense half precision", peaks),
        ("share of the peak", f"{SHARES[0]:.0%} (well fed) to {SHARES[1]:.0%} (OpenCLIP's run)"),
        ("a GPU hour, dollars", prices),
        ("pictures that a core prepares a second (AMD EPYC, `--loading`)", f"{LOADED:,}"),
    ]


def tables() -> str:
    flops = sample_flops(MODEL)
    fed = PEAK["H100"] * SHARES[0] / flops
    lines = table(("assumed", ""), *assumed())
    lines += table(
        ("pairs", "addresses", "fetched", "time", "shards", "dollars a month"),
        *map(data_row, SIZES),
    )
    heads = [head for chip in PRICE for head in (f"{chip} hours", "dollars")]
    lines += table(("pairs", "seen", "steps", *heads), *map(training_row, SIZES))
    lines += [
        f"One pair costs {flops / 1e9:.0f} GFLOP: {FORWARDS} forward passes of "
        f"{flops / FORWARDS / 1e9:.1f}, since a batch in pieces is encoded once without gradients "
        "and then again with them. An H100 at "
        f"{SHARES[0]:.0%} of its peak learns from {number(fed)} pairs a second, and at {LOADED} "
        f"pictures a second and core wants {number(fed / LOADED)} such cores to prepare them; at "
        f"{SHARES[1]:.0%}, {number(fed * SHARES[1] / SHARES[0] / LOADED)}.",
        "",
        *table(("published run", "chips", "chip hours", "share of peak", "source"),
               *(run_row(*run) for run in RUNS)),
        "The share counts a forward and a backward pass of each pair, three forward passes' worth.",
        "",
    ]  # fmt: skip
    return "\n".join(lines)


# -- loading, measured ----------------------------------------------------------------------------


def measure_loading(count: int = 256, rounds: int = 8) -> tuple[float, float]:
    """Pictures that one core prepares in a second (the best of some rounds), and their mean bytes.

    Smooth blobs with a little noise, 341 × 256 pixels, in a shard as img2dataset writes it.
    """
    draw, total = np.random.default_rng(0), 0
    with tempfile.TemporaryDirectory() as folder:
        with tarfile.open(Path(folder) / "00000.tar", "w") as archive:
            for i in range(count):
                coarse = Image.fromarray(draw.integers(0, 256, (32, 43, 3), dtype=np.uint8))
                pixels = np.asarray(coarse.resize((341, 256), Image.Resampling.BICUBIC), float)
                noisy = (pixels + draw.normal(0, 5, pixels.shape)).clip(0, 255).astype(np.uint8)
                file = io.BytesIO()
                Image.fromarray(noisy).save(file, "JPEG", quality=85)
                total += len(file.getvalue())
                for end, content in (("jpg", file.getvalue()), ("txt", b"a caption")):
                    member = tarfile.TarInfo(f"{i:09}.{end}")
                    member.size = len(content)
                    archive.addfile(member, io.BytesIO(content))
        torch.set_num_threads(1)
        pairs = FilePairs(open_pairs(folder), count, CONFIGS[MODEL].vision.image_size)
        seconds = []
        for step in range(rounds):
            start = time.perf_counter()
            pairs.batch(step)
            seconds.append(time.perf_counter() - start)
    return count / min(seconds), total / count


def main(arguments: list[str] | None = None) -> int:
    parser = level.parser(__doc__)
    parser.add_argument("--loading", action="store_true", help="measure a core, write nothing")
    options = parser.parse_args(arguments)
    if options.loading:
        speed, size = measure_loading()
        print(f"{speed:.0f} pictures a second, one core, {size / 1e3:.0f} kB each")
        return 0
    return level.keep({PAGE: level.with_part(PAGE, "scale", tables())}, options.check)


if __name__ == "__main__":
    sys.exit(main())
