"""A folder of JPEGs: indexed, killed in the middle, gone on, and kept up with a few changes.

The index is made by a process of its own (`python -m benchmarks.dashboard.folder FOLDER`), which
says after every batch how far it is, so that it can be killed.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from PIL import Image

from benchmarks.dashboard.figures import Record
from benchmarks.inference.inputs import like_a_photograph
from clip_lab import load
from clip_lab.search import FolderIndex

SIZES = ((640, 480), (480, 640), (800, 600), (1024, 768), (768, 1024), (1600, 1200))
MOTIFS = 60  # drawn; every picture is one of them, moved about and in other colours
A_FOLDER = 500
ADDED, REMOVED, CHANGED = 20, 10, 5


class Run(NamedTuple):
    """One process of indexing: what it found to read, how far it got, its seconds."""

    to_read: int
    done: int
    seconds: float  # of the update itself, without starting Python and reading the model
    wall: float


def folder_part(quick: bool) -> Record:
    pictures = 150 if quick else 10_000
    with tempfile.TemporaryDirectory() as scratch:
        photos, place = Path(scratch) / "photos", {"CLIP_LAB_CACHE": f"{scratch}/cache"}
        make(photos, pictures)
        size = sum(path.stat().st_size for path in photos.rglob("*.jpg"))
        whole = index(photos, place)
        again = {"CLIP_LAB_CACHE": f"{scratch}/another"}
        killed = index(photos, again, kill_at=pictures // 2)
        gone_on = index(photos, again)
        change(photos)
        changes = index(photos, place)
    return {
        "pictures": pictures, "sizes": SIZES, "mean_kb": round(size / pictures / 1000),
        "seconds": whole.seconds, "pictures_a_second": round(pictures / whole.seconds, 1),
        "killed_after": killed.done, "then_to_read": gone_on.to_read,
        "finished_but_read_again": gone_on.to_read + killed.done - pictures,
        "gone_on_seconds": gone_on.seconds,
        "changes": {"added": ADDED, "removed": REMOVED, "changed": CHANGED,
                    "read": changes.to_read, "seconds": changes.seconds,
                    "with_the_process_s": round(changes.wall, 2)},
    }  # fmt: skip


# -- pictures --------------------------------------------------------------------------------------


def make(folder: Path, number: int) -> None:
    chance = np.random.default_rng(0)
    motifs = [like_a_photograph(*SIZES[i % len(SIZES)], chance) for i in range(MOTIFS)]
    for i in range(number):
        write(folder / f"{i // A_FOLDER:03}" / f"IMG_{i:05}.jpg", motifs[i % MOTIFS], chance)


def write(path: Path, motif: np.ndarray, chance: np.random.Generator) -> None:
    """The motif, moved about and with its three colours dimmed: no two files are alike."""
    path.parent.mkdir(parents=True, exist_ok=True)
    down, right = (int(chance.integers(side)) for side in motif.shape[:2])
    light = chance.integers(160, 256, 3, dtype=np.uint16)
    pixels = (np.roll(motif, (down, right), (0, 1)) * light >> 8).astype(np.uint8)
    Image.fromarray(pixels).save(path, quality=85)


def change(folder: Path) -> None:
    """A few new, a few gone, a few drawn anew."""
    chance = np.random.default_rng(1)
    paths = sorted(folder.rglob("*.jpg"))
    motif = like_a_photograph(*SIZES[0], chance)
    for i in range(ADDED):
        write(folder / "new" / f"NEW_{i:03}.jpg", motif, chance)
    for path in paths[:REMOVED]:
        path.unlink()
    for path in paths[REMOVED : REMOVED + CHANGED]:
        write(path, motif, chance)


# -- the process -----------------------------------------------------------------------------------


def index(folder: Path, place: dict[str, str], kill_at: int | None = None) -> Run:
    """One run; killed once so many pictures are told to be done."""
    command = [sys.executable, "-m", "benchmarks.dashboard.folder", str(folder)]
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True,
                          env=os.environ | place) as process:  # fmt: skip
        assert process.stdout
        run = _followed(process.stdout, process.pid, kill_at)
    if process.returncode not in ((-signal.SIGKILL,) if kill_at else (0,)):
        raise RuntimeError(f"Indexing ended with {process.returncode}.")
    return run._replace(wall=time.perf_counter() - began)


def _followed(lines: IO[str], pid: int, kill_at: int | None) -> Run:
    run = Run(0, 0, 0.0, 0.0)
    for line in lines:
        to_read, done, seconds = json.loads(line)
        run = Run(to_read, done, seconds, 0.0)
        if kill_at is not None and run.done >= kill_at:
            os.kill(pid, signal.SIGKILL)
            break
    return run


def main() -> None:
    found = FolderIndex(sys.argv[1], load("emoji", "cpu"))
    began = time.perf_counter()
    done = total = 0
    for progress in found.update():
        done, total = progress.done, progress.total
        print(json.dumps([total, done, round(time.perf_counter() - began, 2)]), flush=True)
    print(json.dumps([total, done, round(time.perf_counter() - began, 2)]), flush=True)


if __name__ == "__main__":
    main()
