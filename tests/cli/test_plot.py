from __future__ import annotations

import shutil
from pathlib import Path

from commands import PNG, done


def test_plot(copy: Path, tmp_path: Path) -> None:
    shutil.rmtree(copy / "plots")
    pictures = tmp_path / "new" / "pictures"
    for folder, options in [(copy / "plots", []), (pictures, ["--output", str(pictures)])]:
        files = done("plot", copy, *options).stdout.splitlines()
        assert files == [str(folder / "history.png"), str(folder / "confusion.png")]
        assert all(Path(file).read_bytes().startswith(PNG) for file in files)
