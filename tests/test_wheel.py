"""The wheel builds for every Python that it is for, installs and runs in an empty environment, and
what it brings is small.

`make test` builds one for the Python that runs it; here one more is built, for Python 3.12 and
newer, where these are found. `make wheels` tries all versions.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
MOST_MEGABYTES = 180  # of the whole environment without pip; torch alone takes 750
VERSIONS = ("3.10", "3.11", "3.12", "3.13")
STABLE = "cp312-abi3"  # the tag of the wheel that every newer Python takes
LOCKED = ("-c", ROOT / "constraints.txt")
NOT_BUILT = "CARRYLINE_WHEEL does not name a wheel; `make test` builds one"


def run(*command: object, **how: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, command)), capture_output=True, text=True, check=False, **how
    )


def environment(python: Path | str, folder: Path, *packages: object) -> Path:
    """A new virtual environment with these packages, as locked."""
    assert run(python, "-m", "venv", folder).returncode == 0
    done = run(*pip(folder), "install", "-q", *LOCKED, *packages)
    assert done.returncode == 0, done.stderr
    assert run(*pip(folder), "check").returncode == 0
    return folder


def pip(folder: Path) -> list[object]:
    return [folder / "bin" / "python", "-m", "pip", "--disable-pip-version-check"]


def interpreter(version: str) -> Path:
    """A Python of this version: on the path, or beside this one, as pyenv and others lay them."""
    beside = Path(sys.base_prefix).parent.glob(f"{version}*/bin/python{version}")
    says = "import sys; print('%d.%d' % sys.version_info[:2])"
    for found in (shutil.which(f"python{version}"), *sorted(beside)):
        if found and run(found, "-c", says).stdout.strip() == version:
            return Path(found)
    pytest.skip(f"there is no Python {version} on the path or beside this one")


def tag(version: str) -> str:
    """The beginning of a wheel's tag for this version."""
    major, minor = version.split(".")
    return STABLE if int(minor) >= 12 else f"cp{major}{minor}-cp{major}{minor}"


@pytest.fixture(scope="module")
def made() -> Path:
    """The wheel of `make wheel`, for the Python that runs the tests."""
    wheel = os.environ.get("CARRYLINE_WHEEL")
    if not wheel:
        pytest.skip(NOT_BUILT)
    return ROOT / wheel


@pytest.fixture(scope="module")
def wheel_for(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Path], Path]:
    """The wheel for a version of Python: that which is there, or built by this interpreter."""
    wheels = {tag(version): made for version in VERSIONS if tag(version) in made.name}

    def get(version: str, python: Path) -> Path:
        wanted = tag(version)
        if wanted not in wheels:
            if wanted != STABLE and not os.environ.get("CARRYLINE_ALL_PYTHONS"):
                pytest.skip(f"`make wheels` builds the wheel for Python {version}")
            wheels[wanted] = build(python, tmp_path_factory.mktemp(wanted))
        return wheels[wanted]

    return get


def build(python: Path, folder: Path) -> Path:
    """A wheel, built as the Makefile does."""
    tools = environment(python, folder / "tools", "scikit-build-core", "nanobind", "cmake", "ninja")
    elsewhere = f"--config-settings=build-dir={folder / 'build'}"
    options = ["--no-deps", "--no-build-isolation", elsewhere, "--wheel-dir", folder]
    built = run(*pip(tools), "wheel", "-q", *options, ROOT)
    assert built.returncode == 0, built.stderr
    return next(folder.glob("*.whl"))


def test_tags() -> None:
    assert [tag(v) for v in VERSIONS] == ["cp310-cp310", "cp311-cp311", STABLE, STABLE]


@pytest.mark.slow
def test_the_wheel_predicts_in_an_empty_environment(
    made: Path, model: Path, tmp_path: Path
) -> None:
    empty = environment(sys.executable, tmp_path / "empty", made)
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


@pytest.mark.slow
@pytest.mark.timeout(900)  # a build takes a minute on two cores, three where others share them
@pytest.mark.parametrize("version", VERSIONS)
def test_a_wheel_for_each_python(
    version: str, wheel_for: Callable[[str, Path], Path], model: Path, tmp_path: Path
) -> None:
    """Its version says what this one does of a model."""
    python = interpreter(version)
    empty = environment(python, tmp_path / "empty", wheel_for(version, python))
    clean = {"PATH": str(empty / "bin"), "HOME": str(tmp_path), "PYTHONWARNINGS": "error"}
    asked = ("predict", model, "a good film", "", "--json")
    answer = run(empty / "bin" / "carryline", *asked, env=clean, cwd=tmp_path)
    here = run(sys.executable, "-m", "carryline", *asked)
    assert answer.stdout == here.stdout != "", answer.stderr
