"""The arithmetic of the dashboard's benchmark, and the table that is made of its results."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]  # neither benchmarks nor scripts are installed

import dashboard_table  # noqa: E402

from benchmarks.dashboard import folder  # noqa: E402
from benchmarks.dashboard.figures import Asked, milliseconds, slope, told  # noqa: E402
from benchmarks.training.__main__ import merge  # noqa: E402

httpx = pytest.importorskip("httpx", reason="the benchmark speaks HTTP (extra 'apps')")
pytest.importorskip("gradio", reason="the benchmark's load needs the extra 'apps'")

from benchmarks.dashboard import kinds, load  # noqa: E402
from benchmarks.dashboard.visitors import Visitor  # noqa: E402

AROUND = {
    "command": "it", "date": "2026-01-01", "versions": {"torch": "2"},
    "machine": {"cpu": "a processor", "cores": 2, "gpu": None, "load_average_before": [0.1]},
}  # fmt: skip
TIMES = {"count": 9, "median_ms": 20.0, "p95_ms": 30.0, "p99_ms": 31.0, "slowest_ms": 40.0}
SEARCHED = {"median_ms": 5.0, "recall_at_10": 1.0}
RESULTS = {
    "start": {"starts": 2, "port_open_s": 4.0, "usable_s": 6.0, "each_usable_s": [6.5, 5.5]},
    "classify": {"click": TIMES, "labels": TIMES, "http": TIMES},
    "temperature": {"classify": TIMES | {"requests": 0}, "matrix": TIMES | {"requests": 0}},
    "search": {"vectors": 100_000, "exact": SEARCHED, "approximate": SEARCHED},
    "map": {"points": 10_000, "frames_per_second": 40.0, "p95_ms": 33.0},
    "load": {"users": 30, "seconds": 60.0, "first_search_s": 5.0, "all": TIMES | {"errors": {}},
             "by_kind": {"near": TIMES | {"errors": {}}}},
    "memory": {"requests": 2000, "mb_per_1000_requests": 1.0, "first_mb": 500.0, "last_mb": 501.0,
               "mb_per_1000_in_the_second_half": 0.2},
    "folder": {"pictures": 10_000, "mean_kb": 200, "seconds": 100.0, "pictures_a_second": 100.0,
               "killed_after": 5056, "then_to_read": 4944, "finished_but_read_again": 0,
               "changes": {"added": 20, "removed": 10, "changed": 5, "seconds": 0.5}},
}  # fmt: skip


def test_percentiles_by_hand():
    found = milliseconds([i / 1000 for i in range(101)])  # 0 to 100 ms
    assert found == {"count": 101, "median_ms": 50, "p95_ms": 95, "p99_ms": 99, "slowest_ms": 100}
    assert milliseconds([0.3])["p95_ms"] == 300


numbers = st.floats(-1e3, 1e3, allow_nan=False)


@given(st.lists(numbers, min_size=3, max_size=30), numbers)
def test_a_slope_is_that_of_a_polynomial_s_fit(heights, first):
    points = [(first + i, height) for i, height in enumerate(heights)]
    x, y = zip(*points, strict=True)
    assert slope(points) == pytest.approx(np.polyfit(x, y, 1)[0], abs=1e-6)


def test_visits_are_told_by_kind_and_failures_have_no_times():
    visits = [Asked("a", 1.0), Asked("a", 3.0), Asked("b", 2.0), Asked("b", 60.0, "late")]
    found = told(visits)
    assert found["all"]["count"] == 3 and found["all"]["errors"] == {"late": 1}
    assert found["all"]["slowest_ms"] == 3000
    assert found["by_kind"]["a"]["median_ms"] == 2000 and found["by_kind"]["a"]["errors"] == {}
    assert told([Asked("a", 1.0, "late")])["all"] == {"count": 0, "errors": {"late": 1}}


def asked(tmp_path: Path, results: dict) -> str:
    for name, record in results.items():
        merge(tmp_path / "dashboard.json", name, AROUND, record)
    return dashboard_table.table(tmp_path / "dashboard.json")


def test_parts_are_merged_and_the_table_has_a_line_for_each(tmp_path):
    empty = dashboard_table.table(tmp_path / "none.json")
    assert empty.count(dashboard_table.MISSING) == len(RESULTS) == len(dashboard_table.LINES)
    full = asked(tmp_path, RESULTS)
    assert dashboard_table.MISSING not in full and "**no**" not in full
    assert json.loads((tmp_path / "dashboard.json").read_text())["map"]["date"] == "2026-01-01"
    assert full.count("a processor") == 1  # what all have in common is told once


@pytest.mark.parametrize(
    ("part", "worse"),
    [
        ("start", {"usable_s": 15.1}),
        ("classify", {"click": TIMES | {"median_ms": 151.0}}),
        ("temperature", {"matrix": TIMES | {"requests": 1}}),
        ("search", {"exact": SEARCHED | {"median_ms": 101.0}}),
        ("map", {"frames_per_second": 29.9}),
        ("load", {"all": TIMES | {"errors": {"late": 1}}}),
        ("load", {"all": TIMES | {"errors": {}, "p95_ms": 3001.0}}),
        ("memory", {"mb_per_1000_in_the_second_half": 9.0}),
        ("folder", {"finished_but_read_again": 1}),
    ],
)
def test_what_isn_t_held_is_said(tmp_path, part, worse):
    assert asked(tmp_path, {part: RESULTS[part] | worse}).count("**no**") == 1


def test_the_book_s_table_is_level_with_the_results():
    command = [sys.executable, ROOT / "scripts/dashboard_table.py", "--check"]
    assert subprocess.run(command).returncode == 0, "run scripts/dashboard_table.py"


# -- visitors --------------------------------------------------------------------------------------

CONFIG = {
    "components": [{"id": 1, "props": {"value": "cat"}}, {"id": 2, "props": {}}],
    "dependencies": [{"id": 7, "api_name": "classify", "inputs": [1, 2], "targets": [[1, "x"]]}],
}


def stream(*messages: dict) -> str:
    return "".join(f"data: {json.dumps(message)}\n\n" for message in messages)


def answered(*messages: dict, joined: int = 200):
    """What a visitor gets from a server that says this, and what the server was sent."""
    sent = []

    def server(request):
        if request.url.path.endswith("/join"):
            sent.append(json.loads(request.content))
            return httpx.Response(joined, json={"event_id": "e"})
        return httpx.Response(200, text=stream(*messages))

    async def ask():
        transport = httpx.MockTransport(server)
        async with httpx.AsyncClient(transport=transport, base_url="http://lab") as client:
            return await load.asked(kind, Visitor(client, CONFIG), Random(0))

    async def kind(guest, _):
        assert await guest.ask("classify", {1: "dog"}) == ["an answer"]

    return asyncio.run(ask()), sent


CLOSE = {"msg": "close_stream"}


def completed(value: object, success: bool = True) -> dict:
    return {"msg": "process_completed", "success": success, "output": {"data": [value]}}


def test_a_visitor_sends_the_page_s_values_and_its_changes():
    visit, sent = answered({"msg": "estimation"}, completed("an answer"), CLOSE)
    assert visit.error == ""
    assert sent[0]["data"] == ["cat", "dog"] and sent[0]["fn_index"] == 7


@pytest.mark.parametrize(
    ("messages", "joined", "word"),
    [
        ([completed({"error": "no such label"}), CLOSE], 200, "no such label"),
        ([completed("an answer", success=False), CLOSE], 200, "RuntimeError"),
        ([{"msg": "estimation"}, CLOSE], 200, "ended early"),
        ([], 503, "503"),
    ],
)
def test_what_a_page_would_show_as_an_error_is_one(messages, joined, word):
    assert word in answered(*messages, joined=joined)[0].error


def test_what_is_done_follows_the_weights():
    chance = Random(0)
    drawn = [kinds.chosen(kinds.AT_ONCE, chance) for _ in range(4000)]
    share = drawn.count(kinds.search) / len(drawn)
    assert share == pytest.approx(4 / sum(kinds.AT_ONCE.values()), abs=0.03)


# -- a folder --------------------------------------------------------------------------------------


def test_a_folder_is_made_and_changed(tmp_path, monkeypatch):
    monkeypatch.setattr(folder, "SIZES", ((40, 30), (30, 40)))
    monkeypatch.setattr(folder, "MOTIFS", 3)
    folder.make(tmp_path, 30)
    files = {path: path.read_bytes() for path in tmp_path.rglob("*.jpg")}
    assert len(set(files.values())) == 30
    folder.change(tmp_path)
    after = {path: path.read_bytes() for path in tmp_path.rglob("*.jpg")}
    assert len(set(after) - set(files)) == folder.ADDED
    assert len(set(files) - set(after)) == folder.REMOVED
    assert sum(files[path] != after[path] for path in set(files) & set(after)) == folder.CHANGED
