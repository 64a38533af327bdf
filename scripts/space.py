"""Write a folder that is a whole Hugging Face Space: the dashboard, its models, and what it needs.

python scripts/space.py FOLDER
hf upload YOU/clip-lab FOLDER --repo-type space

book/serving.md tells the rest.
"""

import argparse
import shutil
import tomllib
from pathlib import Path

from clip_lab.files import write_text

ROOT = Path(__file__).parents[1]
TORCH = "https://download.pytorch.org/whl/cpu"  # PyPI's torch brings gigabytes of CUDA

README = """\
---
title: CLIP Lab
emoji: 🔎
colorFrom: blue
colorTo: yellow
sdk: gradio
sdk_version: {gradio}
python_version: "3.12"
app_file: app.py
short_description: See everything a CLIP computes
license: mit
---

The dashboard of CLIP Lab. Pictures that you upload are deleted after two hours; please bring none
that others may not see. NOTICE names who drew the emoji.
"""

APP = '''\
"""CLIP Lab as a Space: built-in models alone, no folders, nothing trained for visitors."""

from apps import lab, theme
from apps.models import Models

demo = lab.build_demo(Models(public=True))

if __name__ == "__main__":
    theme.launch(demo, host="0.0.0.0", port=7860, public=True)
'''


def pinned() -> dict[str, str]:
    """The versions that the tests run with, by package."""
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    return dict(line.split("==") for line in lines if "==" in line)


def requirements() -> str:
    """What pip installs there: as pyproject.toml has it, gradio apart, which the Space brings."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["search"], "plotly>=6"]
    return "\n".join([f"--extra-index-url {TORCH}", *wanted, ""])


def write_space(folder: Path) -> None:
    """Fill a new or empty folder. Raises FileExistsError for one that holds something."""
    if folder.exists() and any(folder.iterdir()):
        raise FileExistsError(f"“{folder}” isn't empty. Give a new folder.")
    for name in ("apps", "clip_lab"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "LICENSES", folder / "LICENSES")
    for name in ("LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, folder)
    write_text(folder / "README.md", README.format(gradio=pinned()["gradio"]))
    write_text(folder / "app.py", APP)
    write_text(folder / "requirements.txt", requirements())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Write the files of a Hugging Face Space.")
    parser.add_argument("folder", type=Path)
    write_space(parser.parse_args().folder)
