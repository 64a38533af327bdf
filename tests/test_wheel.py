"""A plain `pip install` brings everything: apps, notebooks, pictures, models."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_a_wheel_carries_what_the_command_needs(tmp_path):
    pytest.importorskip("setuptools")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "-w", tmp_path, ROOT], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    for end in (
        "apps/classify.py",
        "apps/static/stages.js",
        "clip_lab/maps/files/emoji.npz",
        "clip_lab/view/widgets/matrix.js",
        "clip_lab/data/files/emoji/openmoji.webp",
        "clip_lab/data/files/emoji/table.csv",
        "clip_lab/data/files/emoji/names/zh.json.gz",
        "clip_lab/pretrained/weights/emoji/model.safetensors",
        "clip_lab/pretrained/weights/shapes/card.json",
        "share/clip-lab/notebooks/06_similarity_matrix.ipynb",
        "licenses/NOTICE",
    ):
        assert any(name.endswith(end) for name in names), end
    assert not any(name.startswith("tests/") for name in names)
    emoji = zipfile.ZipFile(wheel).getinfo("clip_lab/pretrained/weights/emoji/model.safetensors")
    assert emoji.file_size < 15e6, "the built-in model stays below 15 MB"
