"""The house's walls: a lower room never imports a higher one, and `import clip_lab` is light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "clip_lab"

# From the ground up. A room may import rooms of lower floors, and its own.
FLOORS = [
    ["errors"],
    ["files", "model", "tokenizer", "file_tokenizer", "losses", "preprocess", "batching", "packed"],
    ["dual_encoder", "heads"],
    ["pretrained"],
    ["zero_shot", "retrieval"],
    ["data"],
    ["search"],
    ["training"],
    ["evaluation"],
    ["maps"],
    ["interpret"],
    ["view"],
    ["map_collections"],
    ["experiments"],
    ["course"],
    ["model_options"],
    ["eval_command", "experiment_command", "grade_command", "models_command", "train_command"],
    ["cli"],
    ["__main__"],
]
FLOOR = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
HEAVY = ["plotly", "gradio", "umap", "sklearn", "matplotlib", "IPython", "anywidget", "ftfy"]
HEAVY += ["usearch"]


def imports(path: Path) -> set[str]:
    """Every module that a file imports, also inside functions."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return names


def room_of(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "clip_lab" and len(parts) > 1 and parts[1] in FLOOR else None


FILES = [path for path in PACKAGE.rglob("*.py") if path != PACKAGE / "__init__.py"]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_no_room_imports_a_higher_one(path):
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    room = "__main__" if path.name == "__main__.py" else room  # a door from outside, wherever
    assert room in FLOOR, f"put the room “{room}” on a floor"
    for module in imports(path):
        other = room_of(module)
        if other and other != room:
            assert FLOOR[other] < FLOOR[room], f"{room} imports {other}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_but_the_command_knows_the_apps(path):
    if path.name != "cli.py":
        assert not any(name.split(".")[0] == "apps" for name in imports(path))


def test_the_model_imports_torch_alone():
    allowed = {"torch", "jaxtyping", "clip_lab"}
    allowed |= {"math", "collections", "dataclasses", "functools", "typing"}
    for path in (PACKAGE / "model").glob("*.py"):
        assert {name.split(".")[0] for name in imports(path)} <= allowed, path
        assert {room_of(name) for name in imports(path)} <= {"model", None}


def test_view_takes_arrays_not_models():
    for path in (PACKAGE / "view").rglob("*.py"):
        assert {room_of(name) for name in imports(path)} <= {"view", "errors", None}, path


def test_the_wall_test_sees_a_breach(tmp_path):
    bad = tmp_path / "bad.py"
    bad.write_text("def f():\n    from clip_lab.data import emoji\n")
    assert "data" in {room_of(name) for name in imports(bad)}


def test_importing_the_lab_loads_nothing_heavy():
    code = f"import sys, clip_lab; print([m for m in {HEAVY} if m in sys.modules])"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert result.stdout.strip() == "[]"


def test_the_core_can_be_read_in_one_evening():
    core = [*(PACKAGE / "model").glob("*.py")]
    core += [
        PACKAGE / f"{name}.py" for name in ("tokenizer", "losses", "dual_encoder", "zero_shot")
    ]
    assert sum(len(path.read_text().splitlines()) for path in core) <= 1430
