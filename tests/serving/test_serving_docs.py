"""The examples of docs/serving.md run, and what deploy/ says is what the command takes."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import click
import pytest

from carryline.cli import main
from servers import Running, serving

ROOT = Path(__file__).resolve().parents[2]
SERVING = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
DOCKER = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")


def block(language: str, server: Running) -> str:
    found = re.search(rf"^```{language}\n(.*?)^```", SERVING, re.M | re.S)
    assert found is not None
    return found[1].replace(":8000", f":{server.port}")


def said(*command: str, script: str | None = None) -> str:
    done = subprocess.run(
        command, input=script, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_curl(server: Running) -> None:
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    told = json.loads(said("sh", "-c", block("sh", server)))
    assert len(told["answers"]) == 2


def test_python(server: Running) -> None:
    pytest.importorskip("httpx")
    first, word = said(sys.executable, "-c", block("python", server)).splitlines()
    assert first.split()[0] in ("good", "bad")
    assert word in "The film was a delight."


def test_javascript(server: Running, tmp_path: Path) -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    script = tmp_path / "ask.mjs"
    script.write_text(block("js", server))
    assert said(node, str(script)).split()[0] in ("good", "bad")


def test_the_table_names_every_endpoint(server: Running) -> None:
    for path in server.ask("/openapi.json").json["paths"]:
        assert path.replace("{name}", "NAME") in SERVING


def taken(arguments: list[str]) -> dict[str, object]:
    """What `carryline serve` understands by these arguments."""
    assert arguments[0] == "serve"
    root = click.Context(main, **main.context_settings)  # a command keeps the -h of its first one
    command = main.get_command(root, "serve")
    assert command is not None
    return command.make_context("serve", arguments[1:], parent=root).params


def test_the_unit_starts_what_there_is() -> None:
    unit = (ROOT / "deploy" / "carryline.service").read_text(encoding="utf-8")
    starts = re.search(r"^ExecStart=(\S+) (.*)$", unit, re.M)
    assert starts is not None and starts[1].endswith("/bin/carryline")
    asked = taken(shlex.split(starts[2]))
    assert asked["models"] == ("/srv/carryline/model",)
    assert asked["reload"] and asked["token_file"] and asked["host"] == "127.0.0.1"
    verify = shutil.which("systemd-analyze")
    if verify is not None:
        done = subprocess.run(
            [verify, "verify", "--man=no", str(ROOT / "deploy" / "carryline.service")],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert "Unknown" not in done.stderr and "Failed to parse" not in done.stderr


def instruction(name: str) -> str:
    """Of the stage that runs."""
    found = re.findall(rf"^{name} (.*)$", DOCKER.rpartition("\nFROM ")[2], re.M)
    assert len(found) == 1
    return str(found[0])


def test_the_container_runs_what_there_is(models: dict[str, Path], tmp_path: Path) -> None:
    """Its start and its health check, where the model is elsewhere and the port is free."""
    assert instruction("USER") not in ("0", "root")
    start = json.loads(instruction("ENTRYPOINT"))
    asked = taken(start[1:])
    assert (start[0], asked["models"]) == ("carryline", ("model=/model",))
    assert (asked["host"], asked["port"]) == ("0.0.0.0", int(instruction("EXPOSE")))
    check = json.loads(instruction("HEALTHCHECK").partition("CMD ")[2])
    port = urlsplit(re.findall(r"http://[^']*", check[2])[0]).port
    assert port == asked["port"]
    host = ("--host", "0.0.0.0", "--insecure")
    with serving(tmp_path / "log", f"model={models['both']}", *host) as running:
        script = check[2].replace(f":{port}", f":{running.port}")
        assert subprocess.run([sys.executable, *check[1:2], script], check=False).returncode == 0
    assert subprocess.run(
        [sys.executable, *check[1:2], script], check=False, capture_output=True
    ).returncode  # nobody is there any more


def test_the_container_is_built_of_this_project() -> None:
    build, run = DOCKER.split("\nFROM ")[1:] if DOCKER.startswith("#") else ("", "")
    assert build.split()[0] == run.split()[0]  # a wheel of the same Python
    assert "COPY . /carryline" in build and "/wheels /carryline" in build
    wheel = r'"\$\(ls /wheels/carryline-\*\.whl\)\[(\w+)\]"'
    installs = re.search(rf"^RUN pip install .*{wheel}$", run, re.M)
    assert installs is not None
    assert "COPY constraints.txt /wheels/" in run and (ROOT / "constraints.txt").is_file()
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert re.search(rf"^{installs[1]} = \[", project, re.M) and installs[1] == "serve"
