"""How smoothly a map of 10,000 points moves: frames while it is panned, in a real browser, as JSON.

    python benchmarks/map_frames.py [--points 10000] [--seconds 5] [--chromium /usr/bin/chromium]

Half are pictures, half are texts, in random directions; so many colours and shapes as the emoji
have. Without a graphics card Chromium draws by software, which is the slowest that anyone has.
"""

import argparse
import json
import platform
import statistics
import time
from functools import cache
from typing import Any

import numpy as np
from playwright.sync_api import Page, sync_playwright

from apps import embedding_map, theme
from clip_lab.map_collections import CONTENTS, Content, ModelMap, emoji_content

WIDTH = 64  # of the random vectors
# Chromium's own note that a frame is on the screen. Callbacks of requestAnimationFrame would come
# sixty times a second even while the map waits to be drawn.
SHOWN = "Display::FrameDisplayed"


def many(points: int) -> Content:
    """The emoji again and again, half pictures and half texts."""
    emoji, half = emoji_content(), points // 2
    rows = [i % emoji.pictures for i in range(half)]
    rows += [emoji.pictures + i % (2 * emoji.pictures) for i in range(points - half)]
    columns = {key: tuple(column[row] for row in rows) for key, column in emoji.columns.items()}
    return Content(
        "emoji",
        tuple(emoji.names[row] for row in rows),
        columns,
        half + np.arange(half) % (points - half),
        lambda asked: emoji.draw([rows[row] for row in asked]),
    )


def pan(page: Page, seconds: float) -> list[float]:
    """Milliseconds between the frames that are shown while the map is dragged in circles."""
    browser = page.context.browser
    box = page.locator("#map-plot .nsewdrag").bounding_box()
    assert box and browser
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    browser.start_tracing(page=page, categories=["viz"])
    page.mouse.down()
    began = time.perf_counter()
    while (gone := time.perf_counter() - began) < seconds:
        page.mouse.move(x + 80 * np.sin(5 * gone), y + 60 * np.sin(7 * gone))
    trace = json.loads(browser.stop_tracing())
    page.mouse.up()
    shown = sorted(event["ts"] for event in trace["traceEvents"] if event["name"] == SHOWN)
    return (np.diff(shown) / 1000).tolist()


def served(points: int) -> Any:
    """The map alone, of so many points and without a model: its address is `local_url`."""
    content = many(points)
    vectors = np.random.default_rng(0).normal(size=(points, WIDTH))
    vectors[: content.pictures, 0] += 4  # a gap
    unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    CONTENTS["emoji"] = cache(lambda: content)
    setattr(ModelMap, "_encoded", property(lambda _: unit))  # noqa: B010
    demo = embedding_map.build_demo()
    theme.launch(demo, block=False)
    return demo


def measured(points: int, seconds: float, chromium: str) -> dict[str, Any]:
    demo = served(points)
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--enable-unsafe-swiftshader"]
        browser = playwright.chromium.launch(executable_path=chromium, args=arguments)
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.goto(demo.local_url)
        page.wait_for_selector("#map-points tbody tr", timeout=120_000)
        page.wait_for_timeout(2000)
        milliseconds = pan(page, seconds)
        browser.close()
    demo.close()
    return {
        "points": points,
        "frames": len(milliseconds),
        "median_ms": round(statistics.median(milliseconds), 1),
        "p95_ms": round(float(np.percentile(milliseconds, 95)), 1),
        "frames_per_second": round(1000 / statistics.mean(milliseconds), 1),
        "drawn_by": "software",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description="Frames of a map while it is panned")
    parser.add_argument("--points", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    options = parser.parse_args()
    result = measured(options.points, options.seconds, options.chromium)
    print(json.dumps(result | {"machine": f"{platform.machine()}, {platform.system()}"}, indent=2))


if __name__ == "__main__":
    main()
