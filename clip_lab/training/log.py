"""What a run tells while it goes on: a line in a file, a line on the screen."""

import json
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from clip_lab.files import write_text
from clip_lab.training.checkpoint import Progress

LOG_FILE = "log.jsonl"


class Log:
    """A JSON line a measurement; on resuming, lines past the resumed step are dropped."""

    def __init__(self, path: Path, start: int):
        self.path = path
        kept: list[str] = []
        if start and path.exists():
            kept = [
                line for line in path.read_text().splitlines() if json.loads(line)["step"] <= start
            ]
        write_text(path, "".join(f"{line}\n" for line in kept))

    def add(self, progress: Progress, measured: dict[str, Any]) -> None:
        line = {"step": progress.step, "seconds": round(progress.seconds, 2), **measured}
        with self.path.open("a") as file:
            file.write(json.dumps(line) + "\n")


def show(
    bar: tqdm, measured: dict[str, float], batch: int, progress: Progress, fraction: float
) -> None:
    """Loss, scale, speed and time left, behind the progress bar."""
    left = progress.seconds / max(fraction, 1e-9) - progress.seconds
    bar.set_postfix_str(
        f"loss {measured['loss']:.3f}, scale {measured['scale']:.1f}, "
        f"{batch * progress.step / progress.seconds:.0f} samples/s, {left / 60:.1f} min left"
    )
