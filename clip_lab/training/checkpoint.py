"""A run's state in one file, so that a kill at any moment leaves either the old or the new one."""

from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from clip_lab.errors import LabError
from clip_lab.files import write_whole

STATE_FILE = "state.safetensors"
MOMENTS = ("exp_avg", "exp_avg_sq")  # AdamW's running means of gradient and squared gradient


@dataclass
class Progress:
    """How far a run has come."""

    step: int = 0
    seconds: float = 0.0


def save_state(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
    progress: Progress,
) -> None:
    """Weights, AdamW's moments, float16's scale and the step count, written whole or not at all.

    No random state: batch n depends on the seed and n alone, so the step count brings it back.
    """
    tensors = {f"model/{name}": tensor for name, tensor in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        for moment in MOMENTS:
            if parameter in optimizer.state:
                tensors[f"{moment}/{name}"] = optimizer.state[parameter][moment]
    tensors["step"] = torch.tensor(progress.step)
    tensors["seconds"] = torch.tensor(progress.seconds, dtype=torch.float64)
    for name, value in scaler.state_dict().items():
        tensors[f"scaler/{name}"] = torch.tensor(value, dtype=torch.float64)
    tensors = {name: tensor.contiguous() for name, tensor in tensors.items()}
    write_whole(folder / STATE_FILE, lambda path: save_file(tensors, path))


def load_state(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    scaler: torch.amp.GradScaler,
) -> Progress:
    """Bring a run back to where `save_state` left it. Raises LabError where there is nothing to."""
    path = folder / STATE_FILE
    try:
        tensors = load_file(path)
    except FileNotFoundError as error:
        raise LabError(
            f"There is no run to resume in “{folder}”: {STATE_FILE} is missing."
        ) from error
    except (SafetensorError, OSError) as error:
        raise LabError(f"{path} is damaged ({error}).") from error
    try:
        model.load_state_dict(_under("model/", tensors))
    except RuntimeError as error:
        raise LabError(f"{path} belongs to another model. {error}") from error
    step = int(tensors["step"])
    for name, parameter in model.named_parameters():
        if f"exp_avg/{name}" in tensors:
            state: dict[str, Tensor] = {"step": torch.tensor(float(step), device=parameter.device)}
            for moment in MOMENTS:
                # Laid out in memory as its parameter: the fused AdamW walks through both at once.
                stored = tensors[f"{moment}/{name}"]
                state[moment] = torch.empty_like(parameter, requires_grad=False).copy_(stored)
            optimizer.state[parameter] = state
    scaled = {name: value.item() for name, value in _under("scaler/", tensors).items()}
    if scaled and scaler.is_enabled():
        whole = {"growth_interval", "_growth_tracker"}
        scaler.load_state_dict({k: int(v) if k in whole else v for k, v in scaled.items()})
    return Progress(step, float(tensors["seconds"]))


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): t for k, t in tensors.items() if k.startswith(prefix)}
