"""The wheel installs and runs in an empty environment, and what it brings is small."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MOST_MEGABYTES = 180  # of the whole environment without pip; torch alone takes 750


@pytest.mark.slow
def test_the_wheel_predicts_in_an_empty_environment(model: Path, tmp_path: Path) -> None:
    wheel = os.environ.get("CARRYLINE_WHEEL")
    if not wheel:
        pytest.skip("CARRYLINE_WHEEL does not name a wheel; `make test` builds one")
    subprocess.run([sys.executable, "-m", "venv", tmp_path / "empty"], check=True)
    binaries = tmp_path / "empty" / "bin"
    pip = [binaries / "python", "-m", "pip", "--disable-pip-version-check"]
    locked = ["-c", ROOT / "constraints.txt"]
    subprocess.run([*pip, "install", "-q", *locked, ROOT / wheel], check=True)
    subprocess.run([*pip, "check"], check=True)

    clean = {"PATH": str(binaries), "HOME": str(tmp_path)}
    run = [binaries / "carryline", "predict", model, "a good film", "--json"]
    answer = subprocess.run(
        run, capture_output=True, text=True, env=clean, check=True, cwd=tmp_path
    )
    assert '"probabilities"' in answer.stdout.splitlines()[-1]
    train = [binaries / "carryline", "train", ROOT / "README.md", "--out", tmp_path / "m"]
    refused = subprocess.run(train, capture_output=True, text=True, env=clean, check=False)
    assert refused.returncode == 2
    site = next((tmp_path / "empty").glob("lib/python*/site-packages"))
    assert not list(site.glob("torch"))
    bytes_of = {f: f.stat().st_size for f in site.rglob("*") if f.is_file()}
    total = sum(size for f, size in bytes_of.items() if f.relative_to(site).parts[0] != "pip")
    assert total < MOST_MEGABYTES * 1e6
