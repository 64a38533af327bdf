"""What the Search tab draws, and what its controls say, as plain values."""

from collections.abc import Sequence
from typing import Any

from apps.panels import Value, webp_address
from clip_lab import LabError
from clip_lab.search import Answer, Collection, Filter, FolderIndex, Progress

MAX_RESULTS = 96
MAX_NAMED = 300  # groups or folders in a list
MAX_LEFT_OUT = 100  # sentences sent to the page

Row = dict[str, Any]


def filter_of(
    name: str, group: str, folder: str, after: str, before: str, smallest: float, largest: float
) -> Filter:
    """The filter as the controls say it; what is empty lets everything through."""
    texts = {"name": name, "group": group, "folder": folder, "after": after, "before": before}
    try:
        sides = [max(0, int(side or 0)) for side in (smallest, largest)]
    except (TypeError, ValueError, OverflowError) as error:
        raise LabError("Give the longer side as a whole number of pixels.") from error
    stripped = {field: str(text or "").strip() for field, text in texts.items()}
    return Filter(**stripped, min_side=sides[0], max_side=sides[1])


def results_of(count: float) -> int:
    """How many results are wanted, within what a page can show."""
    try:
        return min(max(1, int(count)), MAX_RESULTS)
    except (TypeError, ValueError, OverflowError) as error:
        raise LabError(f"Ask for 1 to {MAX_RESULTS} results.") from error


def key_of(row: Row, number: int) -> str:
    """What a row is called in a query: its path, as numbers change with the folder; else its
    number."""
    return row.get("path", str(number))


def number_of(collection: Collection, key: str) -> int:
    """Where the row with this key is now. Raises LabError where there is none."""
    for number, row in enumerate(collection.rows):
        if key_of(row, number) == key:
            return number
    raise LabError(f"“{key}” is not among these pictures (any more). Take it out of the query.")


def results_value(name: str, collection: Collection, answer: Answer) -> Value:
    """Results for the panel `search`."""
    return {
        "hits": [
            {
                "row": key_of(hit.row, hit.number),
                "of": name,
                "name": hit.row["name"],
                "score": round(hit.score, 6),
                "src": webp_address(collection.thumbnail(hit.number)),
                "group": hit.row.get("group") or hit.row.get("folder", ""),
                "date": hit.row.get("date", "")[:10],
            }
            for hit in answer.hits
        ],
        "told": told(answer, len(collection)),
    }


def told(answer: Answer, rows: int) -> str:
    """How the search went, in words."""
    among = f"all {rows:,}" if answer.matching == rows else f"{answer.matching:,} of {rows:,}"
    if answer.matching == 0:
        return f"None of {rows:,} pictures passes the filters. Loosen them."
    if not answer.approximate:
        return f"Exact search among {among} pictures took {_milliseconds(answer.seconds)}."
    return (
        f"Approximate search among {among} pictures took {_milliseconds(answer.seconds)} and found "
        f"{answer.recall or 0:.0%} of the true nearest (its recall); the exact one took "
        f"{_milliseconds(answer.exact_seconds or 0)}."
    )


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.2g} ms" if seconds < 0.1 else f"{1000 * seconds:,.0f} ms"


def compared(first: Value, second: Value | None) -> tuple[Value, Value | None]:
    """Two models' results: each says which of its rows the other found as well."""
    if second is None or "error" in first or "error" in second:
        return first, second
    found = [{(hit["of"], hit["row"]) for hit in value["hits"]} for value in (first, second)]
    both = found[0] & found[1]
    for value in (first, second):
        for hit in value["hits"]:
            hit["both"] = (hit["of"], hit["row"]) in both
        value["told"] += f" {len(both)} of its {len(value['hits'])} are found by both models."
    return first, second


def named(rows: Sequence[Row], field: str) -> list[tuple[str, str]]:
    """What a filter can name in a field: the values that occur, in their order."""
    values = dict.fromkeys(row.get(field, "") for row in rows)
    return [("any", ""), *[(value, value) for value in sorted(values) if value][:MAX_NAMED]]


def progress_value(model: str, progress: Progress) -> Value:
    """How far an update has come, for the panel `indexing`."""
    left = progress.seconds_left
    return {
        "state": "working",
        "model": model,
        "done": progress.done,
        "total": progress.total,
        "text": f"{progress.done:,} of {progress.total:,} pictures"
        + ("" if left is None or not progress.total else f", {_duration(left)} left"),
        **_left_out(progress.left_out),
    }


def done_value(index: FolderIndex, shown: str) -> Value:
    """What is indexed and what isn't, once an update is through."""
    pictures = len(index.store.entries())
    noun = "picture" if pictures == 1 else "pictures"
    return {
        "state": "done",
        "text": f"“{shown}” is indexed: {pictures:,} {noun}.",
        **_left_out(index.left_out()),
    }


def stopped_value(value: Value | None) -> Value | None:
    """What was shown last, once the run is stopped."""
    if not value or value.get("state") != "working":
        return value
    text = f"Stopped at {value['text'].split(',')[0]}. " if value.get("total") else "Stopped. "
    return value | {"state": "stopped", "text": text + "“Index or update” goes on from there."}


def _left_out(sentences: Sequence[str]) -> Value:
    return {"left_out": list(sentences[:MAX_LEFT_OUT]), "left_out_count": len(sentences)}


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if seconds < 100:
        return f"about {max(1, round(seconds))} s"
    return f"about {minutes} min" if minutes < 100 else f"about {minutes / 60:.1f} h"
