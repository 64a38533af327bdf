"""Models by name or folder. The one place that reads and writes them."""

from pathlib import Path

import torch

from clip_lab.dual_encoder import DualEncoder
from clip_lab.errors import LabError
from clip_lab.pretrained.folder import read_folder, save

WEIGHTS = Path(__file__).parent / "weights"

__all__ = ["load", "names", "save"]


def names() -> list[str]:
    """The models that come with the lab."""
    return sorted(path.parent.name for path in WEIGHTS.glob("*/config.json"))


def load(name_or_folder: str | Path, device: str | None = None) -> DualEncoder:
    """A model ready to use: built in, by name ("emoji", "shapes"), or a folder that `save` made.

    `device`: "cpu", "cuda", ...; by default the GPU where there is one. Raises LabError for a name
    that is unknown, a folder that is incomplete or damaged, a device that isn't there.
    """
    built_in = str(name_or_folder) in names()
    folder = WEIGHTS / str(name_or_folder) if built_in else Path(name_or_folder)
    if not folder.is_dir():
        raise LabError(
            f"There is no model “{name_or_folder}”. Built in are: {', '.join(names())}. "
            "Or give a folder that holds a trained model."
        )
    encoder = read_folder(folder)
    encoder.model.to(choose_device(device))
    return encoder


def choose_device(name: str | None = None) -> torch.device:
    """The device of that name, else the GPU where there is one, else the CPU."""
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise LabError(f"The device “{name}” isn't there. Use “cpu”, or leave it out.") from error
    return torch.device(name)
