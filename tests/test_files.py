from __future__ import annotations

import os
from pathlib import Path

import pytest

from carryline import files
from carryline.files import write_folder_whole, write_whole


@pytest.mark.parametrize("step", ["fdopen", "fsync"])
def test_a_file_is_written_whole_or_not_at_all(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_whole(tmp_path / "file", b"old")
    monkeypatch.setattr(os, step, lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_whole(tmp_path / "file", b"new")
    assert [file.name for file in tmp_path.iterdir()] == ["file"]
    assert (tmp_path / "file").read_bytes() == b"old"


def test_a_folder_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "above" / "folder"
    for content in (b"old", b"new"):

        def fill(folder: Path, content: bytes = content) -> None:
            write_whole(folder / "file", content)

        write_folder_whole(path, fill)
        assert (path / "file").read_bytes() == content

    def fail(folder: Path) -> None:
        write_whole(folder / "file", b"newer")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_folder_whole(path, fail)
    assert [str(p.relative_to(tmp_path)) for p in tmp_path.rglob("*")] == [
        "above", "above/folder", "above/folder/file",
    ]  # fmt: skip
    assert (path / "file").read_bytes() == b"new"


def test_reading_up_to_a_limit(tmp_path: Path) -> None:
    write_whole(tmp_path / "file", b"12345")
    assert files.read(tmp_path / "file", 5) == b"12345"
    assert files.read(tmp_path / "file", 5, first=2) == b"12"
    assert files.read(tmp_path / "file", 5, first=9) == b"12345"
    for first in (None, 2):
        with pytest.raises(OSError, match="it has 5 bytes, at most 4 are read"):
            files.read(tmp_path / "file", 4, first=first)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("none", "No such file"),
        ("folder", "must be an ordinary file"),
        ("pipe", "must be an ordinary file"),
        ("device", "must be an ordinary file"),
        ("x" * 999, "File name too long"),
        ("a\x00b", "null"),
    ],
)
def test_what_cannot_be_read(name: str, reason: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "device").symlink_to("/dev/zero")
    with pytest.raises(OSError, match=reason) as caught:
        files.read(tmp_path / name, 99)
    assert caught.value.strerror
