"""How long a model takes from its file to the first vector, and how much memory: new processes."""

import json
import statistics
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.inference.contenders import NAME, THEIR_NAME, Ours
from clip_lab import save

# Each reads a folder in its own layout; what is imported before isn't timed.
PROGRAMS = {
    "clip_lab": """
import torch, clip_lab
from clip_lab.pretrained import published
def load(): return clip_lab.load(FOLDER, "cpu")
def encode(model): model.encode_pixels(torch.zeros(1, 3, 224, 224)); model.encode_texts(["a cat"])
""",
    "open_clip": """
import torch
from tests.peers import import_open_clip
open_clip = import_open_clip()
def load():
    model = open_clip.create_model("local-dir:" + FOLDER)
    return model.eval(), open_clip.get_tokenizer("local-dir:" + FOLDER)
def encode(model):
    with torch.inference_mode():
        model[0].encode_image(torch.zeros(1, 3, 224, 224))
        model[0].encode_text(model[1](["a cat"]))
""",
    "transformers": """
import sys, torch
sys.modules["torchvision"] = None  # the CUDA build can't be imported beside a CPU torch
from transformers import CLIPModel, CLIPTokenizer
def load(): return CLIPModel.from_pretrained(FOLDER), CLIPTokenizer.from_pretrained(FOLDER)
def encode(model):
    with torch.inference_mode():
        model[0].get_image_features(pixel_values=torch.zeros(1, 3, 224, 224))
        model[0].get_text_features(**model[1](["a cat"], return_tensors="pt"))
""",
}
MEASURE = """
import json, time
began = time.perf_counter(); model = load(); seconds = time.perf_counter() - began
encode(model)
# Not getrusage: its peak starts from the parent's.
lines = dict(line.split(":") for line in open("/proc/self/status"))
peak = int(lines["VmHWM"].split()[0]) / 1024
print(json.dumps({"load_seconds": seconds, "peak_mib": peak}))
"""
LAYOUTS = {"clip_lab": "open_clip", "open_clip": "open_clip", "transformers": "huggingface"}


def loading(ours: Ours, rounds: int) -> dict[str, Any]:
    """Medians over fresh processes, by turns. Ours reads open_clip's own folder."""
    records: dict[str, list[dict[str, float]]] = {name: [] for name in PROGRAMS}
    with TemporaryDirectory() as place:
        for layout in set(LAYOUTS.values()):
            save(ours.encoder, Path(place) / layout, layout=layout)
        for _ in range(rounds):
            for name, program in PROGRAMS.items():
                folder = str(Path(place) / LAYOUTS[name])
                code = f"FOLDER = {folder!r}\n{program}\n{MEASURE}"
                output = subprocess.run(
                    [sys.executable, "-c", code], capture_output=True, text=True, check=True
                ).stdout
                records[name].append(json.loads(output.splitlines()[-1]))
    return {
        name: {
            "load_seconds": round(statistics.median(r["load_seconds"] for r in found), 3),
            "fastest_load_seconds": round(min(r["load_seconds"] for r in found), 3),
            "peak_mib": round(statistics.median(r["peak_mib"] for r in found)),
        }
        for name, found in records.items()
    } | {"model": NAME, "theirs": THEIR_NAME}
