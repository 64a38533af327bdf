"""The book, built once a session, warnings as errors; beside the other tests: it takes minutes."""

import atexit
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

BOOK = Path(__file__).parent.parent / "book"


@cache
def begun() -> tuple[subprocess.Popen, Path]:
    """Sphinx at work, and the folder that it fills."""
    folder = tempfile.TemporaryDirectory(prefix="clip-lab-book-")
    out = Path(folder.name) / "html"
    command = [sys.executable, "-m", "sphinx", "-W", "-q", "-b", "html", str(BOOK), str(out)]
    with (out.parent / "said.txt").open("w") as said:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
    atexit.register(folder.cleanup)
    atexit.register(process.kill)  # the last registered goes first
    return process, out


@cache
def finished() -> Path:
    """The folder with all pages. AssertionError, with sphinx's words, if it could not be built."""
    process, out = begun()
    assert process.wait(timeout=1800) == 0, (out.parent / "said.txt").read_text("utf-8")
    return out
