"""The folder of a run: kept to itself, found again, given up when its model is written.

    checkpoint.safetensors   the state after the last epoch
    tokenizer.json           the vocabulary
    words.txt                of a run with word vectors the whole words that these lack
    words.safetensors        of word vectors the vocabulary, and how often each word is there
    ids.int32                the texts in it; -1 where one ends
    training.lock            locked by the process that trains here, for as long as it lives

A checkpoint folder is known by the first or the last of these; in any other that is not empty no
run begins. A finished run leaves its checkpoint in the model directory, so that it can be
lengthened; but not one that was trained again on all texts in the end (setting `folds`).
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from carryline.errors import ConfigError, OutputError
from carryline.model import lexicon, storage
from carryline.training.checkpoint import NAME

TOKENIZER = "tokenizer.json"
WORDS, IDS = "words.safetensors", "ids.int32"
LOCK = "training.lock"
FREE = ("epochs", "patience")  # settings in which a run that goes on may differ: when it ends


def beside(out: Path) -> Path:
    """Where the epochs of a run that is to end in `out` are kept: `out`.partial."""
    if out.name in ("", ".."):
        raise OutputError(f"a model's place must end in the name of a folder, it is {str(out)!r}")
    return out.with_name(f"{out.name}.partial")


def holds_checkpoint(folder: str | Path) -> bool:
    """Whether a run got so far that it can be gone on with."""
    return (Path(folder) / NAME).exists()


def begun(folder: str | Path) -> bool:
    """Whether a run is there that has not ended, however far it got."""
    try:
        return (Path(folder) / LOCK).exists() or holds_checkpoint(folder)
    except (OSError, ValueError):  # a name that the system refuses
        return False


@dataclass(frozen=True)
class Place:
    """Where the model of a run goes (out), and its epochs until then (folder); resume: whether it
    goes on from what is there; begun: whether a run before it did not end."""

    out: Path | None
    folder: Path | None
    resume: bool
    begun: bool = False

    @staticmethod
    def of(out: str | Path | None, checkpoint: str | Path | None, resume: bool) -> Place:
        """Raises `ConfigError` when there is nowhere to resume from."""
        place = None if out is None else Path(out)
        folder = None if place is None else beside(place)
        if checkpoint is not None:
            folder = Path(checkpoint)
        if place and folder and (place in (folder, *folder.parents) or folder in place.parents):
            raise ConfigError(f"out and checkpoint must be apart, they are {place} and {folder}")
        if resume and folder is None:
            raise ConfigError("resume=True goes on from a folder: give out or checkpoint too")
        return Place(place, folder, resume, folder is not None and begun(folder))

    @property
    def source(self) -> Path | None:
        """The folder with the checkpoint to go on from; None to begin."""
        places = filter(None, (self.folder, self.out)) if self.resume else ()
        return next(filter(holds_checkpoint, places), None)

    def check(self) -> None:
        """Raises `OutputError` when the run could not write there, would write over what is not
        its own, or is another process's."""
        if self.folder is not None:
            check_unlocked(self.folder)
        self.check_contents()

    def check_contents(self) -> None:
        """The same but for the other process."""
        if self.folder is not None:
            with _told(self.folder):
                check_folder(self.folder)
        if self.out is not None:
            storage.check_output(self.out, replace=self.resume)
        if self.folder is not None and holds_checkpoint(self.folder) and not self.resume:
            raise OutputError(
                f"{self.folder} holds the epochs of a run; --resume (resume=True) goes on with it, "
                "or delete it to start afresh"
            )
        if self.out is None:
            return
        if storage.holds_model(self.out) and self.source is None and not self.begun:
            raise OutputError(
                f"{self.out} holds a model but no checkpoint to resume from; --from {self.out} (or "
                "load it, and fit with warm_start=True) goes on from its weights elsewhere"
            )

    @contextmanager
    def occupied(self) -> Iterator[None]:
        """Makes the folder and keeps every other run out of it while the block runs.

        What fails before there is a checkpoint leaves nothing behind. Raises `OutputError` at once
        when another process is there.
        """
        if self.folder is None:
            yield
            return
        self.check()
        with locked(self.folder):
            try:
                self.check_contents()  # again: now nobody comes between
                if self.source != self.folder:
                    _clear(self.folder)
                yield
            except BaseException:
                if not holds_checkpoint(self.folder):
                    discard(self.folder)
                raise

    def deliver(
        self, save: Callable[..., None], *, new: bool, whole: bool, longer: bool = True
    ) -> None:
        """Save the model to `out` by save(out, replace=...). When the run is whole, the folder
        goes; its checkpoint goes to `out` when the run may become longer. new: whether anything was
        trained.

        Raises `OutputError` when something has come to `out`; the checkpoint then stays.
        """
        if self.out is None or self.folder is None:
            return
        if self.source == self.out and not new:  # as it was
            return discard(self.folder)
        try:
            save(self.out, replace=self.resume)
        except OutputError as error:
            raise OutputError(
                f"{error}. Nothing is lost: {self.folder} keeps the run; move {self.out} away, and "
                "the same with --resume (resume=True) writes the model"
            ) from None
        if whole:
            if longer and holds_checkpoint(self.folder):
                shutil.move(self.folder / NAME, self.out / NAME)
            discard(self.folder)


NOWHERE = Place(None, None, False)  # of a run whose epochs nobody keeps


def check_unlocked(folder: Path) -> None:
    """Raises `OutputError` when another process is there."""
    with suppress(FileNotFoundError, NotADirectoryError), _told(folder):
        os.close(_lock(folder))


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Makes the folder and keeps every other run out of it while the block runs.

    Raises `OutputError` at once when another process is there.
    """
    with _told(folder):
        handle = _own(folder)
    try:
        yield
    finally:
        os.close(handle)


@contextmanager
def _told(folder: Path) -> Iterator[None]:
    """What the system says against a folder becomes an `OutputError`, but that it is not there."""
    try:
        yield
    except (FileNotFoundError, NotADirectoryError, OutputError):  # for who knows better
        raise
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise OutputError(
            f"{str(folder)!r:.200} cannot be a folder for checkpoints: {why}"
        ) from None


def check_folder(folder: Path) -> None:
    """Raises `OutputError` for what is neither empty nor a run's."""
    try:
        names = {entry.name for entry in folder.iterdir()}
    except FileNotFoundError:
        return
    except NotADirectoryError:
        raise OutputError(f"{folder} must be a folder for checkpoints, or not be there") from None
    if storage.holds_model(folder) or (names and not names & {NAME, LOCK}):
        what = "a model" if storage.holds_model(folder) else "no checkpoint, and is not empty"
        raise OutputError(f"{folder} holds {what}; choose another folder for checkpoints")


def _own(folder: Path) -> int:
    """The lock, on the file that lies there when it is held: the run before may just delete it."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            handle = _lock(folder, os.O_CREAT)
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(handle), (folder / LOCK).stat()):
                    return handle
            os.close(handle)


def _lock(folder: Path, create: int = 0) -> int:
    handle = os.open(folder / LOCK, os.O_RDWR | create, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise OutputError(f"another process is training in {folder}") from None
    except OSError:  # a file system without locks
        pass
    return handle


def _clear(folder: Path) -> None:
    """Delete what another run left; what is not Carryline's stays."""
    for name in (NAME, TOKENIZER, lexicon.WORDS, WORDS, IDS):
        (folder / name).unlink(missing_ok=True)
        for left in folder.glob(f".{name}.*"):  # of a write that was killed
            left.unlink(missing_ok=True)


def discard(folder: Path) -> None:
    """Delete a checkpoint folder that is not needed any more; what is not Carryline's stays."""
    _clear(folder)
    (folder / LOCK).unlink(missing_ok=True)
    with suppress(OSError):
        folder.rmdir()
