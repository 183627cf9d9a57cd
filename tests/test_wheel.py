"""The wheel builds for every Python that it is for, trains and predicts in an empty environment,
and what it brings is small.

`make test` builds one for the Python that runs it; here one more is built, for Python 3.12 and
newer, where these are found. `make wheels` tries all versions, optimised as they are given away.
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

from carryline.text.vectors import ENGLISH
from commands import TINY, sentences, write

ROOT = Path(__file__).resolve().parent.parent
MOST_MEGABYTES = 146  # of what the wheel brings and itself, 6 for vectors; torch alone takes 750
# What the extras bring.
EXTRAS = ("torch", "sklearn", "scipy", "pyarrow", "matplotlib", "openpyxl", "optuna",
          "starlette", "uvicorn")  # fmt: skip
VENV = ("pip", "setuptools", "pkg_resources", "_distutils_hack")  # what a new environment holds
VERSIONS = ("3.10", "3.11", "3.12", "3.13")
STABLE = "cp312-abi3"  # the tag of the wheel that every newer Python takes
LOCKED = ("-c", ROOT / "constraints.txt")
EVERY = bool(os.environ.get("CARRYLINE_ALL_PYTHONS"))  # `make wheels`
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
            if wanted != STABLE and not EVERY:
                pytest.skip(f"`make wheels` builds the wheel for Python {version}")
            wheels[wanted] = build(python, tmp_path_factory.mktemp(wanted))
        return wheels[wanted]

    return get


def build(python: Path, folder: Path) -> Path:
    """A wheel, built as the Makefile does; but for `make wheels` unoptimised, which takes a third
    of the time and gives the same bits."""
    tools = environment(python, folder / "tools", "scikit-build-core", "nanobind", "cmake", "ninja")
    elsewhere = f"--config-settings=build-dir={folder / 'build'}"
    options = ["--no-deps", "--no-build-isolation", elsewhere, "--wheel-dir", folder]
    if not EVERY:
        options.append("--config-settings=cmake.build-type=Debug")
    built = run(*pip(tools), "wheel", "-q", *options, ROOT)
    assert built.returncode == 0, built.stderr
    return next(folder.glob("*.whl"))


def test_tags() -> None:
    assert [tag(v) for v in VERSIONS] == ["cp310-cp310", "cp311-cp311", STABLE, STABLE]


@pytest.fixture(scope="module")
def empty(made: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the wheel and what it brings, nothing more."""
    return environment(sys.executable, tmp_path_factory.mktemp("empty"), made)


def clean(empty: Path, home: Path) -> dict[str, str]:
    """Variables for a process that sees this environment alone, and writes nowhere but home."""
    return {"PATH": str(empty / "bin"), "HOME": str(home), "PYTHONWARNINGS": "error"}


@pytest.mark.slow
def test_the_wheel_alone_trains_evaluates_and_predicts(empty: Path, tmp_path: Path) -> None:
    find = f"import importlib.util as u; print([n for n in {EXTRAS} if u.find_spec(n)])"
    assert run(empty / "bin" / "python", "-c", find).stdout == "[]\n"

    def carryline(*arguments: object) -> subprocess.CompletedProcess[str]:
        command = (empty / "bin" / "carryline", *arguments)
        done = run(*command, env=clean(empty, tmp_path), cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return done

    write(tmp_path / "train.csv", sentences(200))
    write(tmp_path / "test.csv", sentences(40, seed=1))
    trained = carryline("train", "train.csv", *TINY, "--epochs", 8, "--out", "model", "--json")
    found = json.loads(trained.stdout)
    assert found["accuracy"] > 0.8
    assert found["baseline"]["linear"] is None
    for extra in ("sklearn", "plot"):
        assert f"pip install 'carryline[{extra}]'" in trained.stderr
    assert json.loads(carryline("evaluate", "model", "test.csv", "--json").stdout)["accuracy"] > 0.8
    answer = carryline("predict", "model", "The film was dull.", "--json")
    assert json.loads(answer.stdout)["label"] == "neg"
    if ENGLISH.exists():  # the wheel has it too
        carryline("summary", "--preset", "auto", "--set", "vectors=english")


@pytest.mark.slow
def test_what_the_wheel_brings_is_small(empty: Path) -> None:
    site = next(empty.glob("lib/python*/site-packages"))
    files = (f for f in site.rglob("*") if f.is_file())
    ours = [f for f in files if f.relative_to(site).parts[0] not in VENV]
    assert sum(f.stat().st_size for f in ours) < MOST_MEGABYTES * 1e6


@pytest.mark.slow
@pytest.mark.timeout(900)  # a build takes a minute on two cores, three where others share them
@pytest.mark.parametrize("version", VERSIONS)
def test_a_wheel_for_each_python(
    version: str, wheel_for: Callable[[str, Path], Path], model: Path, tmp_path: Path
) -> None:
    """Its version says what this one does of a model."""
    python = interpreter(version)
    empty = environment(python, tmp_path / "empty", wheel_for(version, python))
    asked = ("predict", model, "a good film", "", "--json")
    answer = run(empty / "bin" / "carryline", *asked, env=clean(empty, tmp_path), cwd=tmp_path)
    here = run(sys.executable, "-m", "carryline", *asked)
    assert answer.stdout == here.stdout != "", answer.stderr
