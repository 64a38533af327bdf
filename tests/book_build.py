"""The book, built once a run, warnings as errors; beside the other tests: it takes minutes."""

import atexit
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BOOK = Path(__file__).parent.parent / "book"
PLACE = "CLIP_LAB_TESTED_BOOK"  # in the environment, so that workers beside this process find it
PATIENCE = 1800  # seconds


def begin() -> None:
    """Set sphinx to work in a folder of its own, whose place the environment then tells."""
    folder = tempfile.TemporaryDirectory(prefix="clip-lab-book-")
    place = Path(folder.name)
    sphinx = [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html", str(BOOK)]
    # Only the shell sees the end of it: no test may be waiting, or one in another process.
    then = 'place=$0; "$@" "$place/html" > "$place/said.txt" 2>&1; echo $? > "$place/status.new"; '
    then += 'mv "$place/status.new" "$place/status"'
    process = subprocess.Popen(["sh", "-c", then, place, *sphinx], start_new_session=True)
    os.environ[PLACE] = folder.name
    atexit.register(folder.cleanup)
    atexit.register(_end, process)  # the last registered goes first


def _end(process: subprocess.Popen) -> None:
    """With the shell goes sphinx, and whatever it has started."""
    if process.poll() is None:
        os.killpg(process.pid, 9)
        process.wait()


def finished() -> Path:
    """The folder with all pages. AssertionError, with sphinx's words, if it could not be built."""
    if PLACE not in os.environ:
        begin()
    place = Path(os.environ[PLACE])
    deadline = time.monotonic() + PATIENCE
    while not (place / "status").exists():
        assert time.monotonic() < deadline, f"the book isn't built after {PATIENCE} s"
        time.sleep(0.5)
    assert (place / "status").read_text().strip() == "0", (place / "said.txt").read_text("utf-8")
    return place / "html"
