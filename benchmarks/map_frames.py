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

import numpy as np
from playwright.sync_api import Page, sync_playwright

from apps import embedding_map, theme
from clip_lab.map_collections import CONTENTS, Content, ModelMap, emoji_content

WIDTH = 64  # of the random vectors
FRAMES = """() => {
    window.frames_seen = [];
    const step = (now) => { frames_seen.push(now); requestAnimationFrame(step); };
    requestAnimationFrame(step);
}"""


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
    """Milliseconds between frames while the map is dragged in circles."""
    box = page.locator("#map-plot .nsewdrag").bounding_box()
    assert box
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.evaluate(FRAMES)
    began = time.perf_counter()
    while (gone := time.perf_counter() - began) < seconds:
        page.mouse.move(x + 80 * np.sin(5 * gone), y + 60 * np.sin(7 * gone))
    times = page.evaluate("frames_seen")
    page.mouse.up()
    return np.diff(times).tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description="Frames of a map while it is panned")
    parser.add_argument("--points", type=int, default=10_000)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    options = parser.parse_args()
    content = many(options.points)
    vectors = np.random.default_rng(0).normal(size=(options.points, WIDTH))
    vectors[: content.pictures, 0] += 4  # a gap
    unit = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)
    CONTENTS["emoji"] = cache(lambda: content)
    setattr(ModelMap, "_encoded", property(lambda _: unit))  # noqa: B010
    demo = embedding_map.build_demo()
    address = theme.launch(demo, block=False)
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--enable-unsafe-swiftshader"]
        browser = playwright.chromium.launch(executable_path=options.chromium, args=arguments)
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        page.goto(address)
        page.wait_for_selector("#map-points tbody tr", timeout=120_000)
        page.wait_for_timeout(2000)
        milliseconds = pan(page, options.seconds)
        browser.close()
    demo.close()
    result = {
        "points": options.points,
        "frames": len(milliseconds),
        "median_ms": round(statistics.median(milliseconds), 1),
        "p95_ms": round(float(np.percentile(milliseconds, 95)), 1),
        "frames_per_second": round(1000 / statistics.mean(milliseconds), 1),
        "machine": f"{platform.machine()}, {platform.system()}",
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
