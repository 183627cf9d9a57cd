"""The wheel installs and runs in an empty environment, and what it brings is small."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
MOST_MEGABYTES = 180  # of the whole environment without pip; torch alone takes 750


@pytest.mark.slow
def test_the_wheel_predicts_in_an_empty_environment(model: Path, tmp_path: Path) -> None:
    wheel = os.environ.get("CARRYLINE_WHEEL")
    if not wheel:
        pytest.skip("CARRYLINE_WHEEL does not name a wheel; `make test` builds one")

    def run(*command: object, **how: Any) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            list(map(str, command)), capture_output=True, text=True, check=False, **how
        )

    empty = tmp_path / "empty"
    assert run(sys.executable, "-m", "venv", empty).returncode == 0
    pip = [empty / "bin" / "python", "-m", "pip", "--disable-pip-version-check"]
    installed = run(*pip, "install", "-q", "-c", ROOT / "constraints.txt", ROOT / wheel)
    assert installed.returncode == 0, installed.stderr
    assert run(*pip, "check").returncode == 0

    clean = {"PATH": str(empty / "bin"), "HOME": str(tmp_path)}
    command = empty / "bin" / "carryline"
    answer = run(command, "predict", model, "a good film", "--json", env=clean, cwd=tmp_path)
    assert set(json.loads(answer.stdout)) == {"text", "label", "probabilities"}, answer.stderr
    (tmp_path / "data.csv").write_text("text,label\na,x\nb,y\n")
    refused = run(command, "train", tmp_path / "data.csv", "--out", tmp_path / "m", env=clean)
    assert refused.returncode == 2
    assert "pip install 'carryline[train]'" in refused.stderr
    site = next(empty.glob("lib/python*/site-packages"))
    assert not list(site.glob("torch"))
    bytes_of = {f: f.stat().st_size for f in site.rglob("*") if f.is_file()}
    total = sum(size for f, size in bytes_of.items() if f.relative_to(site).parts[0] != "pip")
    assert total < MOST_MEGABYTES * 1e6
