"""What was computed once and needn't be again: one seed's measurements, and trained models.

Everything is filed under a digest of what decides it. A half-finished run leaves nothing here.
"""

import inspect
import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
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


@dataclass
class Used:
    """What was taken from the cache, or made for it, and how many seconds each took to make."""

    seconds: dict[str, float] = field(default_factory=dict)
    now: float = 0.0  # of what was made just now


_open: list[Used] = []


@contextmanager
def used() -> Iterator[Used]:
    """Counts what is used inside: the work that several experiments share."""
    count = Used()
    _open.append(count)
    try:
        yield count
    finally:
        _open.remove(count)


def numbers(name: str, key: str, compute: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """What `compute` returns, from the file if it was computed before."""
    path = folder() / "runs" / name / f"{key}.json"
    try:
        kept = _read(path)
    except (OSError, ValueError):  # not there, or damaged
        start = time.process_time()
        found = compute()
        seconds = time.process_time() - start
        write_text(path, json.dumps({"seconds": seconds, "found": found}))
        kept = _read(path)
        _count(f"{name}-{key}", seconds, now=True)
    else:
        _count(f"{name}-{key}", kept["seconds"])
    return kept["found"]


def _read(path: Path) -> dict[str, Any]:
    kept = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(kept, dict) or set(kept) != {"seconds", "found"}:
        raise ValueError("not what this cache writes")
    return kept


def model(name: str, key: str, train: Callable[[], DualEncoder]) -> DualEncoder:
    """The model that `train` makes, from its folder if it was trained before."""
    path = folder() / "models" / f"{name}-{key}"
    times = path.with_suffix(".json")
    try:
        kept = load(path, "cpu")
        _count(path.name, json.loads(times.read_text(encoding="utf-8"))["seconds"])
        return kept
    except (LabError, OSError, ValueError):
        start = time.process_time()
        trained = train()
        seconds = time.process_time() - start
    save(trained, path)
    write_text(times, json.dumps({"seconds": seconds}))
    _count(path.name, seconds, now=True)
    return trained


def _count(name: str, seconds: float, now: bool = False) -> None:
    for count in _open:
        count.seconds[name] = seconds
        count.now += seconds if now else 0.0
