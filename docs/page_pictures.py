"""Make the pictures of the page, docs/page*.png, of a model.

    python docs/page_pictures.py MODEL...

Each MODEL as `carryline serve` takes it. Needs playwright (of the extra dev) and chromium.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, sync_playwright

FOLDER = Path(__file__).parent
TEXT = (
    "I expected a masterpiece. The photography is beautiful and the music is great, but the story "
    "is boring and the ending made no sense at all."
)
WIDE: dict[str, Any] = {"viewport": {"width": 1100, "height": 900}, "device_scale_factor": 1.5}
PHONE: dict[str, Any] = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 1.5}
PICTURES: dict[str, dict[str, Any]] = {
    "page.png": WIDE | {"color_scheme": "light"},
    "page-dark.png": WIDE | {"color_scheme": "dark"},
    "page-phone.png": PHONE | {"color_scheme": "light"},
}
MARGIN = 24  # pixels below the last thing shown


@contextmanager
def serving(models: list[str]) -> Iterator[str]:
    """The address of a server of these models."""
    process = subprocess.Popen(
        [sys.executable, "-m", "carryline", "serve", *models, "--port", "0", "--quiet"],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUTF8": "1"},
    )
    assert process.stderr is not None
    with process, process.stderr:
        said = process.stderr.readline()
        if not said.startswith("serving "):
            raise SystemExit(said + process.stderr.read())
        yield said.split(" at ")[1].split()[0]
        process.terminate()


def picture(browser: Browser, address: str, file: Path, options: dict[str, Any]) -> None:
    """The page down to the end of its words, with a text in it."""
    page = browser.new_context(reduced_motion="reduce", **options).new_page()
    page.goto(address)
    page.fill("#text", TEXT)
    page.wait_for_selector("svg.carry")
    page.wait_for_function("() => document.querySelectorAll('#words [role=option]').length > 20")
    page.evaluate("() => document.activeElement.blur()")
    box = page.locator("#memory").bounding_box()
    assert box is not None
    size: Any = {"width": options["viewport"]["width"], "height": box["y"] + box["height"] + MARGIN}
    page.screenshot(path=file, full_page=True, clip={"x": 0, "y": 0, **size})
    page.close()


def main() -> None:
    """All pictures, of the models of the command line."""
    with serving(sys.argv[1:]) as address, sync_playwright() as playwright:
        found = shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        for name, options in PICTURES.items():
            picture(browser, address, FOLDER / name, options)
        browser.close()


if __name__ == "__main__":
    main()
