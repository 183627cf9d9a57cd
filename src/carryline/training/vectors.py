"""Learning word vectors from texts: read once, trained in epochs, gone on with after a stop.

In `OUT.partial` (see folder.py) lie, until the vectors are written: the numbers of the texts' words
and the words, as soon as all is read; then the weights after each epoch, every few minutes and when
the run is stopped. What goes on ends in the bits of a run that was never stopped.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from carryline import files
from carryline.errors import ConfigError, ModelError, OutputError
from carryline.recurrence.machine import checked_threads
from carryline.text import streams
from carryline.text.data import digest_of, told
from carryline.text.readers import check_packages
from carryline.text.table import Reading
from carryline.text.vectors import Vectors
from carryline.training import checkpoint, folder
from carryline.training.checkpoint import NAME, Arrays, Checkpoint
from carryline.training.corpus import Counted, Ids, Numbers, written
from carryline.training.passes import LanguagePasses, SkipGramPasses
from carryline.training.process import patient_ctrl_c
from carryline.training.progress import Callback
from carryline.training.skipgram import Settings

OFTEN = 300.0  # seconds between two checkpoints within an epoch
_TOLD = 10.0  # seconds between two lines while texts are read


@dataclass(frozen=True)
class Task:
    """sources: files, folders of .txt files, `-`; how: they are read; out: where vectors go."""

    sources: Sequence[str]
    how: Reading
    settings: Settings
    out: Path
    resume: bool = False

    @property
    def folder(self) -> Path:
        """Where the run is kept until it ends."""
        return folder.beside(self.out)

    def check(self) -> None:
        """Raises `OutputError` where the run could not write or would write over what is not its
        own, `MissingExtraError` for what needs a package."""
        check_packages(self.sources)
        try:
            if self.out.exists():
                raise OutputError(f"{self.out} is there already; delete it or choose another name")
        except OSError as error:
            raise OutputError(f"{str(self.out)!r:.200} cannot be: {error.strerror}") from None
        folder.check_folder(self.folder)
        if not self.resume and any(map(self._has, (NAME, folder.WORDS))):
            raise OutputError(
                f"{self.folder} holds a run; --resume (resume=True) goes on with it, or delete it "
                "to start afresh"
            )

    def complete(self) -> Vectors | None:
        """The vectors of a run that is to go on but has ended. Raises `ConfigError` when they were
        learned with other settings."""
        if not self.resume or not self.out.exists():
            return None
        found = Vectors.load(self.out)
        theirs, ours = found.about.get("settings"), self.settings.to_dict()
        if theirs != ours:
            raise ConfigError(
                f"cannot resume: {self.out} has other settings: {_differences(theirs, ours)}"
            )
        if self.kept:  # killed between the file and the end
            folder.discard(self.folder)
        return found

    def digests(self) -> list[list[str | None]]:
        """Each source with its SHA-256; a folder has none. Raises `DataError` for what cannot be
        read."""
        return [[str(source), _digest(source)] for source in self.sources]

    def _has(self, name: str) -> bool:
        return (self.folder / name).exists()

    @property
    def kept(self) -> str:
        """What a run that was stopped left, for a person."""
        if self._has(NAME):
            return f"the vectors so far are in {self.folder}"
        if self._has(folder.WORDS):
            return f"the words that were read are in {self.folder}"
        return ""


def learn(task: Task, watcher: Callback, threads: int | None = None) -> Vectors:
    """Word vectors of the texts; task.out is not written yet, see `deliver`.

    Same texts, settings and instruction set, same bits, with any number of threads. Raises
    `DataError` for what cannot be read, `OutputError` as `Task.check`, `ConfigError` when a run
    that is to go on was another one.
    """
    task.check()
    threads = checked_threads(threads)
    with folder.locked(task.folder):
        task.check()  # again: now nobody comes between
        try:
            run = _Run(task, watcher, threads)
            run.train()
            return run.vectors()
        except BaseException:
            if not task.kept:
                folder.discard(task.folder)
            raise


def deliver(task: Task, vectors: Vectors, bits: int) -> None:
    """Write the file and delete the run's folder."""
    vectors.save(task.out, bits)
    folder.discard(task.folder)


class _Run:
    """A run whose folder is its own: reads the texts, or what is left of an earlier one."""

    def __init__(self, task: Task, watcher: Callback, threads: int) -> None:
        self.task, self.watcher, self.threads = task, watcher, threads
        self.ids_file = task.folder / folder.IDS
        self.about = {
            "settings": task.settings.to_dict(),
            "columns": list(task.how.text),
            "encoding": task.how.encoding,
            "sources": task.digests(),
        }
        self.parts: list[list[int]] = []  # texts and words of each source
        found = self._found(folder.WORDS)
        self.counted = self._known(found) if found else self._read()
        self.ids: Ids = np.memmap(self.ids_file, np.int32, "r")
        self.skip_gram = SkipGramPasses(task.settings, self.counted.counts, self.ids, threads)
        self._language: LanguagePasses | None = None
        if found and (state := self._found(NAME)):
            self._restore(state)

    def _found(self, name: str) -> Checkpoint | None:
        """What an earlier run left. Raises `ConfigError` when that was another run."""
        if not (self.task.resume and (self.task.folder / name).exists()):
            return None
        state = checkpoint.read(self.task.folder, name)
        theirs = state.notes["about"]
        for key, ours in self.about.items():
            if theirs[key] != ours:
                raise ConfigError(
                    f"cannot resume: the run in {self.task.folder} has other {key}: "
                    f"{_differences(theirs[key], ours)}"
                )
        return state

    def _read(self) -> Counted:
        settings, place = self.task.settings, self.task.folder
        numbers = Numbers()
        texts = self._texts(numbers)
        counted = written(texts, numbers, self.ids_file, settings.words, settings.least)
        arrays: Arrays = {
            "words": np.frombuffer("\n".join(counted.words).encode(), np.uint8),
            "counts": counted.counts,
        }
        notes = {k: v for k, v in asdict(counted).items() if k not in arrays}
        notes |= {"about": self.about, "parts": self.parts, "bytes": files.size(self.ids_file)}
        checkpoint.write(place, Checkpoint(arrays, notes), folder.WORDS)
        return self._told(counted)

    def _known(self, found: Checkpoint) -> Counted:
        """What an earlier run read. Raises `ModelError` when its file of numbers is damaged."""
        notes, words = found.notes, found.arrays["words"].tobytes().decode().split("\n")
        if not self.ids_file.exists() or files.size(self.ids_file) != notes["bytes"]:
            raise ModelError(
                f"{self.ids_file} must have {notes['bytes']} bytes; without {self.task.folder} a "
                "run can begin"
            )
        self.parts = notes["parts"]
        numbers = {name: notes[name] for name in ("texts", "total", "pruned")}
        return self._told(Counted(words, found.arrays["counts"], **numbers))

    def _told(self, counted: Counted) -> Counted:
        share = 100 * int(counted.counts.sum()) / max(1, counted.total)
        self.watcher.message(
            f"{counted.texts:,} texts, {counted.total:,} words; {len(counted.words):,} different "
            f"ones are learned, {share:.1f} % of the text"
        )
        if counted.pruned:
            self.watcher.message(
                f"there were too many different words to count: those seen up to {counted.pruned} "
                "times were dropped on the way, so counts of rare ones are too low"
            )
        return counted

    def _texts(self, numbers: Numbers) -> Iterator[list[str]]:
        """The texts of all sources, and how far reading is, now and then."""
        following = time.monotonic() + _TOLD
        for source in self.task.sources:
            texts, words = numbers.texts, numbers.total
            for part in streams.texts(source, self.task.how, self._guessed):
                yield part
                if time.monotonic() > following:
                    following += _TOLD
                    self.watcher.message(f"reading {source}: {numbers.texts:,} texts so far")
            self.parts.append([numbers.texts - texts, numbers.total - words])

    def _guessed(self, column: str) -> None:
        self.watcher.message(f"the text is taken from column {column!r} (--text names another)")

    def train(self) -> None:
        """All that is left to learn. Ctrl-C ends it between two blocks and keeps what is done."""
        with patient_ctrl_c() as stop_if_asked:
            self._go_on(self.skip_gram, stop_if_asked)
            if self.task.settings.hidden:
                self._go_on(self.language(), stop_if_asked)

    def _go_on(
        self, passes: SkipGramPasses | LanguagePasses, stop_if_asked: Callable[[], None]
    ) -> None:
        saved = time.monotonic()
        while not passes.ended:
            if passes.advance(self.watcher) or time.monotonic() - saved > OFTEN:
                self._save()
                saved = time.monotonic()
            try:
                stop_if_asked()
            except KeyboardInterrupt:
                self._save()
                raise

    def language(self) -> LanguagePasses:
        """The language model of the vectors, which are learned; as an earlier run left it."""
        if self._language is None:
            model = self.skip_gram.model
            self._language = LanguagePasses(
                model.settings, self.counted.counts, model.inputs, self.ids, self.threads
            )
        return self._language

    def _save(self) -> None:
        arrays, notes = self.skip_gram.state()
        notes |= {"about": self.about}
        if self._language is not None:
            more, notes["language"] = self._language.state()
            arrays |= {f"language/{name}": value for name, value in more.items()}
        checkpoint.write(self.task.folder, Checkpoint(arrays, notes))

    def _restore(self, state: Checkpoint) -> None:
        self.skip_gram.restore(state.arrays, state.notes)
        if "language" in state.notes:
            self.language().restore(state.part("language"), state.notes["language"])

    def vectors(self) -> Vectors:
        """What was learned: the inputs of skip-gram and, if there is one, the layer."""
        import carryline

        sources = [
            {"name": name and Path(name).name, "sha256": sha256, "texts": texts, "words": words}
            for (name, sha256), (texts, words) in zip(
                self.about["sources"], self.parts, strict=True
            )
        ]
        about: dict[str, Any] = {
            "carryline": carryline.__version__,
            "date": datetime.datetime.now(datetime.timezone.utc).date().isoformat(),
            "settings": self.about["settings"],
            "sources": sources,
            "texts": self.counted.texts,
            "words": self.counted.total,
            "pruned": self.counted.pruned,
            "loss": self.skip_gram.history.losses,
        }
        layer = None
        if self._language is not None:
            layer, about["layer_loss"] = self._language.model.layer, self._language.history.losses
        vectors = self.skip_gram.model.inputs
        return Vectors(self.counted.words, self.counted.counts, vectors, about, layer)


def _digest(source: str) -> str | None:
    with told(source):
        return digest_of(source)


def _differences(theirs: Any, ours: Any) -> str:
    if isinstance(theirs, dict):
        pairs = [(key, theirs.get(key), value) for key, value in ours.items()]
        return "; ".join(f"{key} {was}, now {now}" for key, was, now in pairs if was != now)
    return f"{theirs}, now {ours}"
