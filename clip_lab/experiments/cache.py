"""What was computed once and needn't be again: one seed's measurements, and trained models.

Everything is filed under a digest of what decides it. A half-finished run leaves nothing here.
"""

import inspect
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from hashlib import blake2b
from pathlib import Path
from typing import Any

from clip_lab.dual_encoder import DualEncoder
from clip_lab.errors import LabError
from clip_lab.files import write_text
from clip_lab.pretrained import load, save


def folder() -> Path:
    """$CLIP_LAB_CACHE, or .cache/clip-lab in the home folder."""
    home = os.environ.get("CLIP_LAB_CACHE")
    return Path(home) if home else Path.home() / ".cache" / "clip-lab"


def digest(*parts: Any) -> str:
    """Sixteen letters that stand for these values, the same in every process."""
    text = json.dumps(parts, sort_keys=True, default=_fields)
    return blake2b(text.encode(), digest_size=8).hexdigest()


def _fields(value: Any) -> Any:
    return (
        {type(value).__name__: asdict(value)}
        if hasattr(value, "__dataclass_fields__")
        else str(value)
    )


def version(module: str) -> str:
    """Changes with a module's own text: what an older one measured is measured again."""
    return digest(inspect.getsource(sys.modules[module]))


def numbers(name: str, key: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `compute` returns, from the file if it was computed before."""
    path = folder() / "runs" / name / f"{key}.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):  # not there, or damaged
        computed = compute()
    write_text(path, json.dumps(computed))
    return json.loads(path.read_text(encoding="utf-8"))


def model(name: str, key: str, train: Callable[[], DualEncoder]) -> DualEncoder:
    """The model that `train` makes, from its folder if it was trained before."""
    path = folder() / "models" / f"{name}-{key}"
    try:
        return load(path, "cpu")
    except LabError:
        trained = train()
    save(trained, path)
    return trained
