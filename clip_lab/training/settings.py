"""A run's settings beside it, so that it is not resumed as another."""

import json
from dataclasses import asdict
from pathlib import Path

from clip_lab.data.batch import Pairs
from clip_lab.errors import LabError
from clip_lab.files import write_text
from clip_lab.training.config import TrainConfig
from clip_lab.training.distributed import rank

SETTINGS_FILE = "settings.json"
# These may change from one session to the next: none of them touches what is learnt.
FREE = {"workers", "save_every", "keep_every", "keep_at", "log_every", "measure_every"}
FREE |= {"tensorboard", "recompute", "compile", "pieces"}
OF_DATA = ("batch_size", "size", "seed")


def check_settings(folder: Path, config: TrainConfig, data: Pairs, resume: bool) -> None:
    """Write down how this run learns; on resuming, see that it is still so.

    Raises LabError that names what differs.
    """
    path = folder / SETTINGS_FILE
    now = {name: value for name, value in asdict(config).items() if name not in FREE}
    now |= {f"data_{name}": getattr(data, name) for name in OF_DATA if hasattr(data, name)}
    if resume and path.exists():
        then = json.loads(path.read_text(encoding="utf-8"))
        differing = [key for key in now if key in then and then[key] != now[key]]
        if differing:
            changes = ", ".join(f"{key} was {then[key]}, is {now[key]}" for key in differing)
            raise LabError(
                f"This is not how the run in “{folder}” began: {changes}. Resume it with the "
                "same settings, or begin another in a new folder."
            )
    elif rank() == 0:
        write_text(path, json.dumps(now, indent=2) + "\n")
