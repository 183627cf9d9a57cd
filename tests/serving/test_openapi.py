"""The description of the server: it is what the server does."""

from __future__ import annotations

import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from carryline.serving.app import ROUTES
from servers import Running

OWN = {"/", "/page", "/docs", "/openapi.json"}  # for people, and the description itself


@pytest.fixture(scope="module")
def document(server: Running) -> dict[str, Any]:
    found: dict[str, Any] = server.ask("/openapi.json").json
    return found


def test_every_endpoint_is_in_it(document: dict[str, Any]) -> None:
    paths = {route.path for route in ROUTES}  # type: ignore[attr-defined]
    assert paths - OWN == document["paths"].keys()


def test_its_examples_are_answered_as_it_says(server: Running, document: dict[str, Any]) -> None:
    schemas, asked = document["components"]["schemas"], 0
    for path, methods in document["paths"].items():
        content = methods.get("post", {}).get("requestBody", {}).get("content", {})
        for example in content.get("application/json", {}).get("examples", {}).values():
            answer = server.ask(path, example["value"])
            if path == "/v1/stream":
                assert answer.status == 422  # the first model reads both ways
                continue
            assert answer.status == 200
            reference = methods["post"]["responses"]["200"]["content"]["application/json"]
            schema = schemas[reference["schema"]["$ref"].rpartition("/")[2]]
            assert set(schema["required"]) <= answer.json.keys()
            asked += 1
    assert asked == 5


@pytest.mark.slow
def test_nothing_that_it_allows_or_forbids_breaks_the_server(
    server: Running, tmp_path: Path
) -> None:
    """By schemathesis: no 5xx, answers as described, and what is forbidden is refused."""
    found = Path(sys.executable).with_name("st")
    command = str(found) if found.exists() else shutil.which("st")
    if command is None:
        pytest.skip("schemathesis is not installed")
    checks = (
        "not_a_server_error,status_code_conformance,content_type_conformance,"
        "response_schema_conformance,negative_data_rejection"
    )
    done = subprocess.run(
        [
            command, "run", f"http://127.0.0.1:{server.port}/openapi.json", "--checks", checks,
            "--max-examples", "15", "--seed", "1", "--no-color", "--phases",
            "examples,coverage,fuzzing", "--generation-database", "none",
        ],
        capture_output=True, text=True, check=False, timeout=240, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:]
    assert "Tested: 10" in done.stdout


class Page(HTMLParser):
    """What a page names of other places, and its headings."""

    def __init__(self) -> None:
        super().__init__()
        self.places: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.places += [value or "" for name, value in attrs if name in ("src", "href")]
        assert not {"style", "onclick", "onload"} & {name for name, _ in attrs}


def test_it_is_a_page_too_which_asks_nothing_of_others(server: Running) -> None:
    answer = server.ask("/docs")
    page = Page()
    page.feed(answer.content.decode())
    assert all(place.startswith("/") and not place.startswith("//") for place in page.places)
    assert "script" not in page.tags and page.tags.count("section") == 10
    text = answer.content.decode()
    assert "curl http://127.0.0.1:8000/v1/predict" in text
