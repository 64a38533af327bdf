"""All experiments by name and by the number of their claim. Modules are loaded at use."""

from importlib import import_module

from clip_lab.errors import LabError
from clip_lab.experiments.experiment import Experiment

# In the order of the claims in shared/CLAIMS.md.
NAMES = (
    "objectives",
    "prompts",
    "ensemble_cost",
    "temperature",
    "collapse",
    "cosines",
    "batch_size",
    "data_size",
    "towers",
    "few_shot",
    "tasks",
    "robustness",
    "composition",
    "fine_grained",
    "counting",
    "relations",
    "binding",
    "written_words",
    "bias",
    "sigmoid",
    "prompt_learning",
    "languages",
    "heat_maps",
    "modality_gap",
    "guidance",
    "backbone",
    "locked_tower",
    "contrast_and_caption",
    "noisy_captions",
    "referring",
)


def experiment(name: str) -> Experiment:
    """By name ("binding", or "17"). Raises LabError for one that isn't there."""
    if name.isdecimal() and 1 <= int(name) <= len(NAMES):
        name = NAMES[int(name) - 1]
    if name not in NAMES:
        raise LabError(
            f"There is no experiment “{name}”. `clip-lab experiment list` shows all "
            f"{len(NAMES)}; give a name or a claim's number."
        )
    return import_module(f"clip_lab.experiments.claims.{name}").EXPERIMENT
