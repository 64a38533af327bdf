"""A folder of JPEGs: what it takes to index, to go on after changes, to open and to search."""

import os
import resource
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
from PIL import Image

from clip_lab import load
from clip_lab.search import FolderIndex

Record = dict[str, Any]
WIDTH, HEIGHT = 640, 480
A_FOLDER = 500  # pictures in each


def folder_part(pictures: int, model: str = "emoji") -> Record:
    """Seconds of each step, and the most memory that the process has held."""
    encoder = load(model, "cpu")
    with (
        tempfile.TemporaryDirectory() as scratch,
        patch.dict(os.environ, CLIP_LAB_CACHE=f"{scratch}/cache"),
    ):
        photos = Path(scratch) / "photos"
        make(photos, pictures)
        index = FolderIndex(photos, encoder)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        record: Record = {"pictures": pictures, "size": [WIDTH, HEIGHT], "model": model}
        record["first_index"] = seconds(lambda: list(index.update()))
        record["nothing_changed"] = seconds(lambda: list(index.update()))
        change(photos, pictures // 100)
        record["a_hundredth_each_new_changed_moved_deleted"] = seconds(lambda: list(index.update()))
        record["open"] = seconds(index.open)
        query = encoder.encode_texts(["a red apple"])[0]
        collection = index.open()
        record["search"] = seconds(lambda: collection.search(query))
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        record["peak_memory_above_the_model_mb"] = round((after - before) / 1024)
    return record


def make(folder: Path, number: int) -> None:
    for i in range(number):
        paint(folder / f"{i // A_FOLDER:03}" / f"IMG_{i:05}.jpg", i)


def paint(path: Path, seed: int) -> None:
    """Coarse noise, smoothed: about 30 KB, like a photograph with little in it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    Image.fromarray(noise).resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC).save(path, quality=85)


def change(folder: Path, each: int) -> None:
    paths = sorted(folder.rglob("*.jpg"))
    for i in range(each):
        paint(folder / "new" / f"{i}.jpg", 10**6 + i)
        paint(paths[i], 2 * 10**6 + i)
        target = folder / "moved" / paths[each + i].name
        target.parent.mkdir(exist_ok=True)
        paths[each + i].rename(target)
        paths[2 * each + i].unlink()


def seconds(step: Callable[[], Any]) -> float:
    began = time.perf_counter()
    step()
    return round(time.perf_counter() - began, 4)
