"""Open the course: the learner's own copies of the notebooks, in JupyterLab."""

import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

from clip_lab.errors import LabError

# In a checkout the notebooks stand beside the package; a wheel puts them under share/.
PLACES = (
    Path(__file__).parents[2] / "notebooks/student",
    Path(sysconfig.get_path("data")) / "share/clip-lab/notebooks",
)
SETTINGS = Path(__file__).parent / "jupyter"


def student_notebooks() -> list[Path]:
    """The chapters as they are handed out, in order. Raises LabError where none are installed."""
    for place in PLACES:
        if notebooks := sorted(place.glob("*.ipynb")):
            return notebooks
    raise LabError("The course's notebooks are not installed. Install clip-lab anew with pip.")


def copy_notebooks(folder: Path) -> list[Path]:
    """Copy the chapters that `folder` lacks; never overwrite a learner's work. Returns all."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for notebook in student_notebooks():
            if not (folder / notebook.name).exists():
                shutil.copyfile(notebook, folder / notebook.name)
    except OSError as error:
        raise LabError(f"“{folder}” can't be written: {error.strerror or error}.") from error
    return sorted(folder.glob("*.ipynb"))


def open_course(folder: Path, open_browser: bool = True) -> None:
    """Start JupyterLab on the first chapter; returns when it is stopped."""
    if importlib.util.find_spec("jupyterlab") is None:
        raise LabError("JupyterLab is not installed: pip install “clip-lab[notebooks]”.")
    first = copy_notebooks(folder)[0]
    print(f"Your notebooks are in {folder.resolve()}. Ctrl-C twice ends JupyterLab.")
    options = [] if open_browser else ["--no-browser"]
    options += ["--allow-root"] if running_as_root() else []  # as in a container
    command = [sys.executable, "-m", "jupyterlab", str(first), *options, *offline()]
    if subprocess.run(command, env=os.environ | own_settings(), check=False).returncode:
        raise LabError("JupyterLab ended with an error; its own words are above.")


def offline() -> list[str]:
    """JupyterLab's options for: no news from outside, no look for updates."""
    return [
        "--LabApp.news_url=None",
        "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdates",
    ]


def own_settings() -> dict[str, str]:
    """The environment in which JupyterLab also reads our settings: it asks nothing at its start."""
    paths = [os.environ.get("JUPYTER_CONFIG_PATH", ""), str(SETTINGS)]
    return {"JUPYTER_CONFIG_PATH": os.pathsep.join(filter(None, paths))}


def running_as_root() -> bool:
    """Whether JupyterLab would refuse to start without being told that this is meant."""
    return hasattr(os, "geteuid") and os.geteuid() == 0
