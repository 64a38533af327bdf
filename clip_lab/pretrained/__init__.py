"""Models by name, folder, file or hub id. The one place that reads and writes them."""

from dataclasses import asdict
from pathlib import Path

import torch

from clip_lab.dual_encoder import DualEncoder
from clip_lab.errors import LabError
from clip_lab.pretrained.build import set_precision
from clip_lab.pretrained.folder import MODEL_FILE, is_ours, read_folder
from clip_lab.pretrained.writing import save

WEIGHTS = Path(__file__).parent / "weights"

__all__ = ["load", "names", "save", "steps"]


def names() -> list[str]:
    """The models that come with the lab."""
    return sorted(path.parent.name for path in WEIGHTS.glob("*/config.json"))


def steps(name: str) -> list[int]:
    """Steps of a built-in model's training whose weights come along, for `load("NAME@STEP")`."""
    files = (WEIGHTS / name / "steps").glob("*.safetensors") if name in names() else ()
    return sorted(int(path.stem) for path in files)


def load(
    name: str | Path,
    device: str | None = None,
    dtype: str = "float32",
    image_size: int | None = None,
    activation: str | None = None,
    compile: bool = False,
) -> DualEncoder:
    """A model ready to use.

    `name`: built in ("emoji", "photos", "shapes"), or as it was at a step of its training
    ("shapes@300": `steps("shapes")` lists them); a published one ("openai/ViT-B-32": `clip-lab
    models` lists them); any id on the Hugging Face hub; a folder or a file of weights, in the lab's
    layout, OpenAI's, open_clip's, Hugging Face's or Chinese-CLIP's.
    `device`: "cpu", "cuda", ...; by default the GPU where there is one.
    `dtype`: "bfloat16" and "float16" halve the memory; normalisations and logits stay in float32.
    `image_size`: pixels a side, where it isn't what the model was trained at.
    `activation`: "quick_gelu" or "gelu", for weights that come without a configuration.
    `compile`: let torch.compile have the image tower; the first batch takes a minute, others less.

    Raises LabError for a name that is unknown or can't be fetched, a folder or file that is
    incomplete or damaged, a device that isn't there. No code from a checkpoint is run.
    """
    where = choose_device(device)
    encoder = _read(str(name), activation, image_size)
    set_precision(encoder.model, dtype)
    encoder.model.to(where)
    if compile:
        encoder.model.visual.compile()
    return encoder


def _read(name: str, activation: str | None, image_size: int | None) -> DualEncoder:
    built_in, _, step = name.partition("@")
    if built_in in names():
        return read_folder(WEIGHTS / built_in, image_size, _step_file(built_in, step))
    path = Path(name)
    fetched = not path.exists()
    if fetched:
        path = _fetch(name)
    if path.is_dir() and is_ours(path):
        return read_folder(path, image_size)
    from clip_lab.pretrained.published import read_published
    from clip_lab.pretrained.registry import find

    encoder = read_published(path, activation, image_size)
    if fetched:
        encoder.name = name
        row = find(name)
        encoder.card = asdict(row) if row else {"name": name}
    return encoder


def _step_file(name: str, step: str) -> str:
    """Where the weights of a step lie in a built-in model's folder; of "", the last."""
    if step and step not in map(str, steps(name)):
        known = ", ".join(map(str, steps(name))) or "none but the last"
        raise LabError(f"“{name}” has no weights of step {step}. It has: {known}.")
    return f"steps/{step}.safetensors" if step else MODEL_FILE


def _fetch(name: str) -> Path:
    """The folder of a model on the hub, downloaded unless it was before."""
    from clip_lab.pretrained import registry
    from clip_lab.pretrained.hub import fetch

    row = registry.find(name)
    if row is None and name.count("/") != 1:
        hint = registry.suggestions(name)
        raise LabError(
            f"There is no model “{name}”. Built in are: {', '.join(names())}. {hint}"
            "Or give a folder that holds a model, a file of weights, or an id on the hub."
        )
    return fetch(row.repo if row else name)


def choose_device(name: str | None = None) -> torch.device:
    """The device of that name, else the GPU where there is one, else the CPU."""
    if name is None:
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.zeros(1, device=name)
    except (RuntimeError, AssertionError, ValueError) as error:
        raise LabError(f"The device “{name}” isn't there. Use “cpu”, or leave it out.") from error
    return torch.device(name)
