"""How long a person waits: for the import, for one classification, for the app's page.

    python benchmarks/latency.py

Writes benchmarks/results/latency.json. Medians; imports and the app in fresh processes.
"""

import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import torch

import clip_lab
from clip_lab.data.emoji import emoji_test

RESULT = Path(__file__).parent / "results/latency.json"
LABELS = ["cat", "dog", "rocket", "red apple", "bicycle", "house", "sad face", "tree"]


def seconds(code: str) -> float:
    """What a fresh Python takes for this code."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - began


def import_seconds(runs: int = 5) -> float:
    """`import clip_lab` beyond `import torch`: medians of interleaved runs."""
    torch_alone, both = [], []
    for _ in range(runs):
        torch_alone.append(seconds("import torch"))
        both.append(seconds("import torch, clip_lab"))
    return statistics.median(both) - statistics.median(torch_alone)


def classification_milliseconds(runs: int = 40) -> float:
    """A picture and eight labels, labels encoded anew each time, by the built-in model."""
    encoder = clip_lab.load("emoji", "cpu")
    pictures = emoji_test("openmoji", "heldout").pictures[:runs]
    times = []
    for picture in pictures:
        began = time.perf_counter()
        clip_lab.ZeroShotClassifier(encoder, LABELS)([picture])
        times.append(time.perf_counter() - began)
    return 1000 * statistics.median(times)


def app_seconds(runs: int = 3) -> float:
    """From `clip-lab app` to an answer on its port."""
    return statistics.median(_start_app() for _ in range(runs))


def _start_app() -> float:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "clip_lab", "app", "--no-browser", "--port", str(port)]
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        while time.perf_counter() - began < 120:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).read()
                return time.perf_counter() - began
            except (urllib.error.URLError, OSError):
                time.sleep(0.05)
        raise TimeoutError("the app didn't answer within two minutes")
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    result = {
        "command": "python benchmarks/latency.py",
        "import_clip_lab_beyond_torch_s": round(import_seconds(), 3),
        "classification_ms": round(classification_milliseconds(), 2),
        "app_answers_s": round(app_seconds(), 2),
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "load_average": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "threads": torch.get_num_threads(),
    }
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
