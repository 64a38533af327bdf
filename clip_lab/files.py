"""Files written whole or not at all."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

from clip_lab.errors import LabError

PART = ".part"  # ends the name of a file that is not yet whole


def cache_folder() -> Path:
    """Where the lab keeps what it can make again: $CLIP_LAB_CACHE, or ~/.cache/clip-lab."""
    home = os.environ.get("CLIP_LAB_CACHE")
    return Path(home) if home else Path.home() / ".cache" / "clip-lab"


def sweep(folder: Path) -> None:
    """Remove what a killed process left half-written, in a folder that no other one writes to."""
    for leftover in folder.glob(f".*{PART}"):
        leftover.unlink(missing_ok=True)


def write_whole(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file beside `path`, then put it in place in one step.

    A crash, a full disk or Ctrl-C on the way leaves what was there before. Raises LabError where
    the system refuses (no room, no permission).
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=PART)
        os.close(handle)
        temporary = Path(name)
        write(temporary)
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())  # on the disk before the old file goes
        temporary.chmod(0o644)
        os.replace(temporary, path)
    except OSError as error:
        reason = error.strerror or error
        raise LabError(f"“{path}” can't be written: {reason}. Nothing was changed.") from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """`write_whole` for a string."""
    write_whole(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
