"""The app as `clip-lab app` starts it: a process of its own on a free port."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE = 180.0  # seconds


class App:
    """A started app, which may not answer yet."""

    def __init__(self) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        command = [sys.executable, "-m", "clip_lab", "app", "--no-browser"]
        self.began = time.perf_counter()
        self.process = subprocess.Popen(
            [*command, "--port", str(self.port)], stdout=subprocess.DEVNULL
        )

    def wait(self) -> float:
        """Until the port is open: seconds since the start."""
        while (gone := time.perf_counter() - self.began) < PATIENCE:
            if self.process.poll() is not None:
                raise RuntimeError(f"The app ended by itself with {self.process.returncode}.")
            with socket.socket() as door:
                if door.connect_ex(("127.0.0.1", self.port)) == 0:
                    return gone
            time.sleep(0.02)
        raise TimeoutError("The app doesn't answer.")

    def resident_mb(self) -> float:
        """Memory that the process holds now (Linux)."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024

    def end(self) -> None:
        self.process.terminate()
        self.process.wait()


@contextmanager
def app_open() -> Iterator[App]:
    """An app that answers, for the length of the block."""
    app = App()
    try:
        app.wait()
        yield app
    finally:
        app.end()
