"""Write what the dashboard was asked to hold, and what it holds, into the book.

python scripts/dashboard_table.py [--check]
"""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import level

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "book/dashboard_speed.md"
RESULT = ROOT / "benchmarks/results/dashboard.json"
MISSING = "*not measured yet*"
FLAT = 5.0  # MB in 1,000 requests: below this, the noise of one reading is larger than the slope

Record = dict[str, Any]
Line = tuple[str, str, str, bool | None]  # what, measured, asked, held (None: nothing was asked)


def start(found: Record) -> list[Line]:
    each = ", ".join(f"{seconds:.1f}" for seconds in sorted(found["each_usable_s"]))
    told = f"{found['usable_s']:.1f} s (each: {each})"
    return [
        ("from the command to a page that can be used", told, "15 s", found["usable_s"] <= 15),
        ("of which until the port is open", f"{found['port_open_s']:.1f} s", "–", None),
    ]


def classify(found: Record) -> list[Line]:
    names = {
        "click": "a sample clicked, to the result drawn",
        "labels": "labels changed, to the result drawn",
        "http": "the same, without a browser",
    }
    return [
        (what, times(found[key]), "median 150 ms", found[key]["median_ms"] < 150)
        for key, what in names.items()
    ]


def temperature(found: Record) -> list[Line]:
    return [
        (
            f"τ moved in {tab.capitalize()}, to the next frame",
            f"{times(case)}; {case['requests']} requests",
            "100 ms, no request",
            case["p95_ms"] < 100 and case["requests"] == 0,
        )
        for tab, case in found.items()
    ]


def search(found: Record) -> list[Line]:
    return [
        (
            f"one query among {found['vectors']:,} vectors, {kind}",
            f"{case['median_ms']:.3g} ms, recall@10 {case['recall_at_10']:.3f}",
            "100 ms",
            case["median_ms"] < 100,
        )
        for kind, case in ((kind, found[kind]) for kind in ("exact", "approximate"))
    ]


def map_frames(found: Record) -> list[Line]:
    told = f"{found['frames_per_second']:.0f} frames a second"
    told += f" (one in 20 takes over {found['p95_ms']:.0f} ms)"
    what = f"a map of {found['points']:,} points dragged about"
    return [(what, told, "30 frames a second", found["frames_per_second"] >= 30)]


def load(found: Record) -> list[Line]:
    every = found["all"]
    errors = sum(every["errors"].values())
    held = errors == 0 and every["p95_ms"] < 3000
    what = f"{found['users']} people at once for {found['seconds']:.0f} s, every request"
    told = f"{times(every)}, {every['count']:,} requests, {errors} errors"
    lines: list[Line] = [(what, told, "no error, p95 3 s", held)]
    for kind, case in found["by_kind"].items():
        if case["count"]:
            lines.append((f"of which {kind.replace('_', ' ')}", times(case), "–", None))
    first = "before them all: the first search of a collection, which encodes its pictures"
    return [*lines, (first, f"{found['first_search_s']:.1f} s", "–", None)]


def memory(found: Record) -> list[Line]:
    late = found["mb_per_1000_in_the_second_half"]
    told = f"{found['first_mb']:.0f} → {found['last_mb']:.0f} MB: "
    told += f"{found['mb_per_1000_requests']:+.1f} MB in 1,000, {late:+.1f} in the second half"
    what = f"memory over {found['requests']:,} requests of all kinds"
    return [(what, told, "flat", abs(late) < FLAT)]


def folder(found: Record) -> list[Line]:
    changes, again = found["changes"], found["finished_but_read_again"]
    parts = f"{changes['added']} new, {changes['removed']} gone, {changes['changed']} changed"
    return [
        (
            f"a folder of {found['pictures']:,} JPEGs ({found['mean_kb']} KB each) indexed",
            f"{found['seconds']:.0f} s, {found['pictures_a_second']:.0f} a second",
            "–",
            None,
        ),
        (
            f"killed (-9) after {found['killed_after']:,}, and started again",
            f"{found['then_to_read']:,} left to read, {again} of the finished ones lost",
            "goes on",
            again <= 0,
        ),
        (parts, f"{changes['seconds']:.2g} s", "seconds", changes["seconds"] < 10),
    ]


LINES: dict[str, Callable[[Record], list[Line]]] = {
    "start": start,
    "classify": classify,
    "temperature": temperature,
    "search": search,
    "map": map_frames,
    "load": load,
    "memory": memory,
    "folder": folder,
}


def times(case: Record) -> str:
    median, p95, p99 = (whole(case[f"{name}_ms"]) for name in ("median", "p95", "p99"))
    return f"median {median}, p95 {p95}, p99 {p99} ms"


def whole(ms: float) -> str:
    return f"{ms:,.0f}" if ms >= 10 else f"{ms:.1f}"


def table(path: Path = RESULT) -> str:
    """Every figure as it stands in the result file."""
    result = json.loads(path.read_text()) if path.exists() else {}
    rows = ["| what | measured | asked | held |", "|---|---|---|---|"]
    for name, lines in LINES.items():
        if name not in result:
            rows.append(f"| {name} | {MISSING} | | |")
            continue
        for what, told, asked, held in lines(result[name]["result"]):
            rows.append(f"| {what} | {told} | {asked} | {HELD[held]} |")
    return "\n".join([*rows, "", *origins(result)]) + "\n"


HELD = {True: "yes", False: "**no**", None: ""}


def origins(result: dict[str, Record]) -> list[str]:
    """Machine, date, versions and command; once, where all parts have them in common."""
    told = {
        f"{part['date']}, {part['machine']['cpu']} ({part['machine']['cores']} cores, "
        f"{part['machine']['gpu'] or 'no graphics card'}), "
        + ", ".join(f"{name} {number}" for name, number in part["versions"].items())
        for part in result.values()
    }
    busy = max((part["machine"]["load_average_before"][0] for part in result.values()), default=0)
    end = f"At most {busy:.1f} processes were running before a part began. " if result else ""
    command = "`python -m benchmarks.dashboard`, `benchmarks/results/dashboard.json`."
    return [*(f"{line}." for line in sorted(told)), f"{end}{command}"]


def main() -> int:
    options = level.parser(__doc__).parse_args()
    return level.keep({PAGE: level.with_part(PAGE, "dashboard", table())}, options.check)


if __name__ == "__main__":
    sys.exit(main())
