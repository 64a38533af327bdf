"""Two figures: a search of 100,000 vectors, and the frames of a map of 10,000 points."""

from benchmarks import map_frames
from benchmarks.dashboard.browser import CHROMIUM
from benchmarks.dashboard.figures import Record
from benchmarks.search.vectors import OURS, one_size

APPROXIMATE = "clip_lab approximate"


def search_part(quick: bool) -> Record:
    """One query, by the exact search and by the graph, and what the graph misses."""
    number, rounds = (2_000, 3) if quick else (100_000, 31)
    found = one_size(number, rounds)
    kinds = {"exact": found["contenders"][OURS], "approximate": found["contenders"][APPROXIMATE]}
    return {"vectors": number, "graph_build_seconds": found["graph_build_seconds"]} | {
        name: {"median_ms": round(1000 * case["seconds"]["median"], 2),
               "recall_at_10": case["recall_at_10"]}
        for name, case in kinds.items()
    }  # fmt: skip


def map_part(quick: bool) -> Record:
    """Frames that reached the screen while the map was dragged about."""
    points, seconds = (1_000, 2.0) if quick else (10_000, 10.0)
    return map_frames.measured(points, seconds, CHROMIUM)
