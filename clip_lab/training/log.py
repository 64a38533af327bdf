"""What a run tells while it goes on: lines in a file, one on the screen, TensorBoard's curves."""

import json
import math
from pathlib import Path
from typing import Any

from tqdm.auto import tqdm

from clip_lab.errors import LabError
from clip_lab.files import write_text
from clip_lab.training.checkpoint import Progress

LOG_FILE, BOARD = "log.jsonl", "tensorboard"


class Log:
    """A JSON line a measurement; on resuming, lines past the resumed step are dropped.

    With `tensorboard`, the same numbers as curves, in the folder's `tensorboard/`.
    """

    def __init__(self, folder: Path, start: int, tensorboard: bool = False):
        self.path = folder / LOG_FILE
        kept = [line for line in read_log(self.path) if line["step"] <= start] if start else []
        write_text(self.path, "".join(f"{json.dumps(line)}\n" for line in kept))
        self.board = _board(folder / BOARD, start) if tensorboard else None

    def add(self, progress: Progress, measured: dict[str, Any]) -> None:
        """Raises LabError where the file can't be written to its end."""
        line = {"step": progress.step, "seconds": round(progress.seconds, 2), **measured}
        try:
            with self.path.open("a") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise LabError(
                f"“{self.path}” can't be written: {error.strerror or error}. The last checkpoint "
                "is whole: make room and go on with --resume."
            ) from error
        for name, value in measured.items():
            if self.board is not None and isinstance(value, float | int):
                self.board.add_scalar(name, value, progress.step)

    def close(self) -> None:
        if self.board is not None:
            self.board.close()


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a run's log. One cut by a kill in mid-writing is left out."""
    lines = []
    for line in path.read_text().splitlines() if path.exists() else []:
        try:
            lines.append(json.loads(line))
        except ValueError:
            continue
    return [line for line in lines if isinstance(line, dict) and "step" in line]


def _board(folder: Path, start: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise LabError('TensorBoard isn\'t installed: pip install "clip-lab[training]".') from error
    return SummaryWriter(str(folder), purge_step=start + 1 if start else None)


def show(
    bar: tqdm, measured: dict[str, float], batch: int, progress: Progress, fraction: float
) -> None:
    """Loss, scale, speed and time left, behind the progress bar."""
    left = progress.seconds / max(fraction, 1e-9) - progress.seconds
    speed = batch * progress.step / max(progress.seconds, 1e-9)
    bar.set_postfix_str(
        f"loss {measured['loss']:.3f}, scale {measured['scale']:.1f}, "
        f"{speed:.0f} samples/s, {left / 60:.1f} min left"
        if math.isfinite(left)
        else ""
    )
