"""Servers of models, and a browser that looks at their page, in tests."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

import carryline
from commands import command

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SOURCE = Path(carryline.__file__).parents[1]
WAIT = 10_000  # milliseconds, until a test gives up
HOSTILE = "<img src=x onerror=window.hit=1>"  # a class of a model


@contextmanager
def serving(*arguments: Any, port: int = 0, **variables: str) -> Iterator[str]:
    """The address of `carryline serve` with these arguments."""
    path = os.pathsep.join([str(SOURCE), os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        command("serve", *arguments, "--port", port, "--threads", 1, "--quiet"),
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path, **variables},
    )
    assert process.stderr is not None
    with process, process.stderr:
        try:
            said = process.stderr.readline()
            assert said.startswith("serving "), said + process.stderr.read()
            yield said.split(" at ")[1].split()[0]
        finally:
            process.terminate()


@contextmanager
def chromium() -> Iterator[Browser]:
    """A browser without a window; the test is skipped where there is none."""
    api = pytest.importorskip("playwright.sync_api", reason="the page's tests need playwright")
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("the page's tests need chromium")
    with api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def looking(browser: Browser, address: str, *complaints: str, **options: Any) -> Iterator[Page]:
    """The page of a server. At the end: it has asked no other host, and the console holds nothing
    but what is expected: complaints, of which each must be part of a line."""
    context = browser.new_context(**{"accept_downloads": True, **options})
    context.set_default_timeout(WAIT)
    page = context.new_page()
    asked: list[str] = []
    said: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda line: said.append(line.text) if line.type != "log" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.goto(address)
    yield page
    context.close()
    assert any(url.startswith(f"{address}/page/main.js") for url in asked)
    assert [url for url in asked if not url.startswith((f"{address}/", f"blob:{address}/"))] == []
    assert [line for line in said if not any(part in line for part in complaints)] == []


def write(page: Page, text: str) -> None:
    """Fills the text in, and waits until the words are explained."""
    page.fill("#text", text)
    same = (
        "text => document.getElementById('words').textContent.trim().replace(/\\s+/g, ' ') === text"
    )
    page.wait_for_function(same, arg=" ".join(text.split()))


def drop(page: Page, name: str, content: str) -> None:
    """Lets a file fall onto the page, as from a desktop."""
    coded = base64.b64encode(content.encode("utf-8")).decode()
    transfer = page.evaluate_handle(
        """([name, coded]) => {
          const transfer = new DataTransfer();
          const bytes = Uint8Array.from(atob(coded), (sign) => sign.charCodeAt(0));
          transfer.items.add(new File([bytes], name));
          return transfer;
        }""",
        [name, coded],
    )
    for event in ("dragover", "drop"):
        page.dispatch_event("#drop", event, {"dataTransfer": transfer})
