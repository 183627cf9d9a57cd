"""Files and folders: written whole or not at all, and read up to a limit."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is there whole or not at all, whenever the machine stops."""
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_folder_whole(path: Path, fill: Callable[[Path], None]) -> None:
    """Write a folder so that it is there with all that `fill(folder)` puts into it, or not at all.

    What `path` named before gives way at the last moment, and stays when anything fails.
    """
    path = path.resolve()  # a link stays, what it names gives way
    path.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        fill(folder)
        folder.chmod(0o755)
        _move(folder, path)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _move(folder: Path, path: Path) -> None:
    if not (path.is_dir() and any(path.iterdir())):
        folder.replace(path)
        return
    old = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}."))
    try:
        path.replace(old)
        folder.replace(path)
    except BaseException:
        if not path.exists():
            old.replace(path)
        else:
            old.rmdir()
        raise
    shutil.rmtree(old, ignore_errors=True)


def size(path: Path) -> int:
    """Bytes of an ordinary file. Raises `OSError` for any other, a pipe or a device too."""
    status = status_of(path)
    if not stat.S_ISREG(status.st_mode):
        raise OSError(errno.EINVAL, "it must be an ordinary file", str(path))
    return status.st_size


def status_of(path: Path) -> os.stat_result:
    """`path.stat()`, with `OSError` for a name that no file can have, too."""
    try:
        return path.stat()
    except ValueError as error:  # a null character
        raise OSError(errno.EINVAL, str(error), str(path)) from None


def read(path: Path, most: int, *, first: int | None = None) -> bytes:
    """The content of an ordinary file of at most `most` bytes, or its `first` bytes.

    The size is looked at before anything is read. Raises `OSError`, whose `strerror` says why not.
    """
    found = size(path)
    if found > most:
        raise OSError(errno.EFBIG, f"it has {found} bytes, at most {most} are read", str(path))
    with path.open("rb") as file:
        return file.read(found if first is None else min(first, found))
