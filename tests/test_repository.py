"""Promises around the code: what README, CHANGELOG and docs say is so."""

from __future__ import annotations

import ast
import dataclasses
import re
import runpy
import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner

import carryline
from carryline.cli import main

ROOT = Path(__file__).resolve().parent.parent
# Folders that the README's tree names as a whole, and files that need no mention.
WHOLE = (
    "csrc", "tests", "benchmarks", "recipes", "docs", "examples", "src/carryline/cli", ".ci",
)  # fmt: skip
SILENT = {".gitignore", "src/carryline/py.typed", "src/carryline/recurrence/_kernels.pyi"}


def tracked() -> set[str]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return {name for name in listed.stdout.splitlines() if (ROOT / name).exists()}


def tree_of_readme() -> set[str]:
    """Paths of the tree in the README: two spaces a level, folders end in a slash."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    found = re.search(r"## The tree\n+```text\n(.*?)```", text, re.DOTALL)
    assert found is not None
    paths, above = set(), [""]
    for line in found.group(1).splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        name = line.split()[0]
        above[depth + 1 :] = [above[depth] + name]
        paths.add(above[depth + 1])
    return paths


def test_the_tree_in_the_readme_is_the_tree_on_the_disk() -> None:
    folded = set()
    for name in tracked() - SILENT:
        folder = next((f for f in WHOLE if name.startswith(f + "/")), None)
        folded.add(f"{folder}/" if folder else name)
    shown = {path for path in tree_of_readme() if not path.endswith("/")}
    shown |= {path for path in tree_of_readme() if path.rstrip("/") in WHOLE}
    assert shown == folded


def test_public_names() -> None:
    assert set(carryline.__all__) == {
        "Callback", "CarrylineError", "Config", "Ragged", "TextClassifier", "__version__", "load",
        "nn",
    }  # fmt: skip
    for name in carryline.__all__:
        assert getattr(carryline, name)


def test_the_newest_version_in_the_changelog_is_this_one() -> None:
    newest = re.search(r"^## (\d\S*)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    declared = re.search(r'^version = "(.*)"', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert newest is not None
    assert declared is not None
    assert newest.group(1) == declared.group(1) == carryline.__version__


def test_the_licence_is_one_everywhere() -> None:
    declared = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert 'license = "MIT"\nlicense-files = ["LICENSE"]\n' in declared
    assert "License ::" not in declared  # beside an expression it is an error to PyPI
    text = (ROOT / "LICENSE").read_text(encoding="utf-8")
    assert text.startswith("MIT License\n\nCopyright (c) 2026 The Carryline authors\n")


def test_the_command_line_reference_is_what_the_commands_say() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "generate_cli.py"))["reference"]()
    assert (ROOT / "docs" / "cli.md").read_text(encoding="utf-8") == made


def test_the_settings_reference_is_what_the_configuration_says() -> None:
    made = runpy.run_path(str(ROOT / "docs" / "generate_settings.py"))["reference"]()
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == made
    for field in dataclasses.fields(carryline.Config):
        if field.name != "preset":
            assert field.metadata["meaning"].replace("`", "") in made.replace("`", "")
            assert made.count(f"| `{field.name}` |") == 2
    assert "| `learning_rate` | 0.001 | 0.001 | 0.001 | **0.003** | **0.002** |" in made


def test_help_leads_to_the_settings() -> None:
    """And says what they are by itself: the documents are not in the wheel."""
    assert "docs/settings.md" in (carryline.TextClassifier.__doc__ or "")
    assert "help(carryline.Config)" in (carryline.TextClassifier.__doc__ or "")
    of_train = " ".join(CliRunner().invoke(main, ["train", "--help"]).output.split())
    assert "docs/settings.md" in of_train
    for field in dataclasses.fields(carryline.Config):
        assert f"    {field.name}: {field.metadata['meaning']}" in (carryline.Config.__doc__ or "")
        assert field.name in of_train


def test_links_in_the_documents_lead_somewhere() -> None:
    for document in [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]:
        for target in re.findall(r"\]\(([^)#:]+)\)", document.read_text(encoding="utf-8")):
            assert (document.parent / target).exists(), f"{document.name}: {target}"


# From the ground up; rooms in one line do not know each other.
FLOORS = (
    {"errors", "files"}, {"recurrence"}, {"text", "nn"}, {"model"}, {"training", "evaluation"},
    {"explaining"}, {"reporting"}, {"tasks"}, {"serving"}, {"bench"}, {"cli"}, {"__main__"},
)  # fmt: skip
PACKAGE = ROOT / "src" / "carryline"


def imported(source: str) -> set[str]:
    """The rooms of Carryline that a module imports from, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are written out"
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return {name.split(".")[1] for name in names if name.startswith("carryline.")}


def test_nobody_imports_upward() -> None:
    floor = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}
    known = {path.stem for path in PACKAGE.iterdir() if not path.name.startswith("_")}
    assert known - {"py"} <= floor.keys()
    seen = 0
    for file in PACKAGE.rglob("*.py"):
        room = file.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if room == "__init__":
            continue
        for other in imported(file.read_text(encoding="utf-8")) - {room}:
            seen += 1
            assert floor[other] < floor[room], f"{file.relative_to(PACKAGE)} imports {other}"
    assert seen > 50
    assert imported("def f():\n    from carryline.cli import main\n") == {"cli"}
