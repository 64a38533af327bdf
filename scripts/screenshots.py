"""The README's screenshots, taken of the real app in a real browser.

    python scripts/screenshots.py [--model emoji] [--out docs]

Needs Chromium and Playwright (extra 'dev'). Opens the dashboard on a free port, clicks a sample as
a person would, and writes zero_shot.png (a desk, light), zero_shot_dark.png, zero_shot_phone.png.
"""

import argparse
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, sync_playwright

import clip_lab
from apps import lab, theme
from apps.models import Models

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking",
         "--disable-component-update", "--disable-sync", "--no-first-run"]  # fmt: skip
# Name -> width, height (None: the whole page), light or dark.
SHOTS = {
    "zero_shot": (1280, None, "light"),
    "zero_shot_dark": (1280, None, "dark"),
    "zero_shot_phone": (390, 1180, "light"),
}


def take(browser: Browser, address: str, sample: str, path: Path, shot: tuple) -> None:
    """Open the page, click a sample, wait for its result, save the picture."""
    width, height, scheme = shot
    size = {"width": width, "height": height or 800}
    page = browser.new_page(viewport=size, color_scheme=scheme, device_scale_factor=1.5)
    page.goto(address)
    page.wait_for_selector("#stages .lab-body:not([hidden])")
    before = page.locator("#stages .stages-seen img").get_attribute("src")
    page.locator(".sample", has_text=sample).first.click()
    page.wait_for_function(
        "before => document.querySelector('#stages .stages-seen img').src !== before", arg=before
    )
    page.mouse.move(0, 0)
    page.wait_for_timeout(800)  # bars and veil have come to rest
    page.screenshot(path=path, full_page=height is None)
    page.close()
    Image.open(path).quantize(256, dither=Image.Dither.NONE).save(path, optimize=True)
    print(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", default="emoji", help="a built-in name or a model's folder")
    parser.add_argument("--out", type=Path, default=Path("docs"))
    parser.add_argument("--sample", default="rocket", help="which sample to click")
    parser.add_argument("--browser", default="/usr/bin/chromium")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    demo = lab.build_demo(Models(clip_lab.load(options.model)))
    address = theme.launch(demo, block=False)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=options.browser, args=FLAGS)
        for name, shot in SHOTS.items():
            take(browser, address, options.sample, options.out / f"{name}.png", shot)
        browser.close()
    demo.close()


if __name__ == "__main__":
    main()
