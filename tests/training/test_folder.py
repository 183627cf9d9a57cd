"""Where a run keeps its epochs: nobody else's folder, no two runs in one, nothing lost."""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from carryline import TextClassifier, load
from carryline.errors import ConfigError, OutputError
from carryline.training import folder as folders
from carryline.training.folder import LOCK, Place
from carryline.training.progress import Callback

Tiny = dict[str, Any]
HOLD = """
import sys, time
from carryline.training.folder import Place
with Place.of(None, sys.argv[1], False).occupied():
    print("here", flush=True)
    time.sleep(100)
"""


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


# --- whose folder


@pytest.mark.parametrize("kind", ["a model", "a tokenizer", "a letter", "a file"])
def test_no_checkpoint_is_written_to_what_is_not_its_own(
    kind: str, model: Path, corpus: Any, tiny: Tiny, tmp_path: Path
) -> None:
    place = tmp_path / "here"
    if kind == "a model":
        load(model).save(place)
    elif kind == "a file":
        place.write_text("mine")
    else:
        place.mkdir()
        (place / {"a tokenizer": "tokenizer.json", "a letter": "letter"}[kind]).write_text("mine")
    before = contents(tmp_path)
    for resume in (False, True):
        with pytest.raises(OutputError, match=rf"{place} (holds|must be a folder)"):
            TextClassifier(**tiny).fit(*corpus, checkpoint=place, resume=resume, threads=1)
    assert contents(tmp_path) == before


def test_a_checkpoint_folder_may_be_new_empty_or_a_run_s(
    corpus: Any, tiny: Tiny, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    for name, again in (("new", False), ("empty", False), ("empty", True)):
        TextClassifier(**tiny).fit(*corpus, checkpoint=tmp_path / name, resume=again, threads=1)
        assert {"checkpoint.safetensors", "tokenizer.json"} < contents(tmp_path / name).keys()
    (tmp_path / "new" / "letter").write_text("mine")
    folders.discard(tmp_path / "new")
    assert contents(tmp_path / "new") == {"letter": b"mine"}


def test_resume_needs_a_folder(corpus: Any, tiny: Tiny) -> None:
    with pytest.raises(ConfigError, match="resume=True goes on from a folder"):
        TextClassifier(**tiny).fit(*corpus, resume=True)


def test_with_nothing_to_resume_a_run_says_so_and_begins(
    corpus: Any, tiny: Tiny, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    place = tmp_path / "here"
    begun = TextClassifier(**tiny).fit(
        *corpus, checkpoint=place, resume=True, threads=1, verbose=True
    )
    assert f"nothing to resume at {place}; starting afresh" in capsys.readouterr().err
    assert len(begun.history) == 2


# --- one run in a folder


@pytest.fixture
def other(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that trains in `tmp_path`/m.partial."""
    script = [sys.executable, "-c", HOLD, str(tmp_path / "m.partial")]
    source = str(Path(folders.__file__).parents[2])
    path = os.pathsep.join([source, os.environ.get("PYTHONPATH", "")])
    process = subprocess.Popen(
        script, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "here\n"
    yield process
    process.kill()
    process.communicate()


def test_another_process_is_noticed_at_once_and_its_death_too(
    other: subprocess.Popen[str], corpus: Any, tiny: Tiny, tmp_path: Path
) -> None:
    for resume in (False, True):
        with pytest.raises(OutputError, match=r"another process is training in .*m\.partial"):
            TextClassifier(**tiny).fit(*corpus, out=tmp_path / "m", resume=resume)
    assert set(contents(tmp_path)) == {f"m.partial/{LOCK}"}
    other.send_signal(signal.SIGKILL)
    other.wait()
    TextClassifier(**tiny).fit(*corpus, out=tmp_path / "m", threads=1)
    assert [entry.name for entry in tmp_path.iterdir()] == ["m"]


def test_a_second_run_is_refused_in_the_first_one_s_first_epoch(
    corpus: Any, tiny: Tiny, tmp_path: Path
) -> None:
    class Second(Callback):
        tried = 0

        def step(self, epoch: int, *_: Any) -> None:
            if not self.tried:
                self.tried += 1
                with pytest.raises(OutputError, match="another process is training"):
                    TextClassifier(**tiny).fit(*corpus, out=tmp_path / "m")

    second = Second()
    first = TextClassifier(**tiny).fit(*corpus, out=tmp_path / "m", callbacks=[second], threads=1)
    assert second.tried == 1
    assert (load(tmp_path / "m").predict(corpus[0]) == first.predict(corpus[0])).all()


def test_a_lock_on_a_file_that_was_just_deleted_is_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run before deletes its folder between our opening the file and our lock on it."""
    flock, deleted = fcntl.flock, list[str]()

    def late(handle: int, how: int) -> None:
        if not deleted:
            folders.discard(tmp_path / "p")
            deleted.append("once")
        flock(handle, how)

    monkeypatch.setattr(fcntl, "flock", late)
    place = Place.of(None, tmp_path / "p", False)
    with place.occupied():
        assert deleted
        with pytest.raises(OutputError, match="another process"):
            place.check()


def test_of_many_that_begin_at_once_one_is_there(tmp_path: Path) -> None:
    inside, most, done = [0], [0], []

    def run() -> None:
        for _ in range(60):
            try:
                with Place.of(None, tmp_path / "p", False).occupied():
                    inside[0] += 1
                    most[0] = max(most[0], inside[0])
                    inside[0] -= 1
                    folders.discard(tmp_path / "p")
                    done.append(1)
            except OutputError:
                pass

    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1]
    assert done


# --- places that cannot be


@pytest.mark.parametrize(
    ("out", "checkpoint"), [("a", "a"), ("b", "b/c"), ("c/d", "c")], ids=["one", "in", "around"]
)
def test_out_and_checkpoint_must_be_apart(
    out: str, checkpoint: str, corpus: Any, tiny: Tiny, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="out and checkpoint must be apart"):
        TextClassifier(**tiny).fit(*corpus, out=tmp_path / out, checkpoint=tmp_path / checkpoint)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("place", ["x" * 5000, "x" * 250, "x\0y"], ids=["long", "name", "null"])
@pytest.mark.parametrize("how", ["out", "checkpoint"])
def test_a_place_that_the_system_refuses(
    how: str, place: str, corpus: Any, tiny: Tiny, tmp_path: Path
) -> None:
    given: Any = {how: tmp_path / place}
    if how == "checkpoint" and len(place) == 250:
        pytest.skip("a folder may be called so")
    with pytest.raises(OutputError, match=r"cannot be|name too long|null"):
        TextClassifier(**tiny).fit(*corpus, threads=1, **given)


def test_epochs_of_another_run_are_not_written_over(
    corpus: Any, tiny: Tiny, tmp_path: Path
) -> None:
    TextClassifier(**tiny).fit(*corpus, checkpoint=tmp_path / "p", threads=1)
    before = contents(tmp_path)
    with pytest.raises(OutputError, match="holds the epochs of a run; --resume"):
        TextClassifier(**tiny, seed=3).fit(*corpus, checkpoint=tmp_path / "p", threads=1)
    assert contents(tmp_path) == before


# --- nothing is lost


def test_what_comes_to_the_place_of_the_model_loses_nothing(
    corpus: Any, tiny: Tiny, tmp_path: Path
) -> None:
    out = tmp_path / "m"

    class Somebody(Callback):
        def epoch(self, row: Any) -> None:
            out.mkdir(exist_ok=True)
            (out / "letter").write_text("mine")

    with pytest.raises(OutputError, match=r"not an empty folder.* Nothing is lost: .*m\.partial"):
        TextClassifier(**tiny).fit(*corpus, out=out, threads=1, callbacks=[Somebody()])
    assert contents(out) == {"letter": b"mine"}
    out.rename(tmp_path / "away")
    again = TextClassifier(**tiny).fit(*corpus, out=out, threads=1, resume=True)
    plain = TextClassifier(**tiny).fit(*corpus, threads=1)
    assert (again.predict_proba(corpus[0]) == plain.predict_proba(corpus[0])).all()
    assert load(out).classes == plain.classes
    assert not (tmp_path / "m.partial").exists()


def test_out_is_looked_at_before_training(
    corpus: Any, tiny: Tiny, model: Path, tmp_path: Path
) -> None:
    class Never(Callback):
        def step(self, *_: Any) -> None:
            raise AssertionError("training has begun")

    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "letter").touch()
    for place, rule in [(model, "already holds a model"), (tmp_path / "full", "not an empty")]:
        with pytest.raises(OutputError, match=rule):
            TextClassifier(**tiny).fit(*corpus, out=place, callbacks=[Never()])
    with pytest.raises(OutputError, match="must end in the name of a folder, it is '..'"):
        TextClassifier(**tiny).fit(*corpus, out="..", callbacks=[Never()])


def test_a_model_without_its_checkpoint_is_not_written_over(
    corpus: Any, tiny: Tiny, tmp_path: Path
) -> None:
    out = tmp_path / "m"
    TextClassifier(**tiny).fit(*corpus, out=out, threads=1)
    (out / "checkpoint.safetensors").unlink()
    before = contents(tmp_path)
    with pytest.raises(OutputError, match=r"no checkpoint to resume from; --from .*warm_start"):
        TextClassifier(**{**tiny, "epochs": 5}).fit(*corpus, out=out, resume=True, threads=1)
    assert contents(tmp_path) == before


def test_a_saved_model_is_lengthened(corpus: Any, tiny: Tiny, tmp_path: Path) -> None:
    out, longer = tmp_path / "m", {**tiny, "epochs": 4, "dropout": 0.2}
    TextClassifier(**{**longer, "epochs": 2}).fit(*corpus, out=out, threads=1)
    before = contents(tmp_path)
    same = TextClassifier(**{**longer, "epochs": 2}).fit(*corpus, out=out, threads=1, resume=True)
    assert contents(tmp_path) == before  # there was nothing to do
    assert len(same.history) == 2
    with pytest.raises(ConfigError, match=r"other settings \(dropout: 0.2, yours 0.4\)"):
        TextClassifier(**{**longer, "dropout": 0.4}).fit(*corpus, out=out, threads=1, resume=True)
    assert contents(tmp_path) == before
    TextClassifier(**longer).fit(*corpus, out=out, threads=1, resume=True)
    whole = TextClassifier(**longer).fit(*corpus, threads=1)
    assert (load(out).predict_proba(corpus[0]) == whole.predict_proba(corpus[0])).all()
    assert [row["epoch"] for row in load(out).history] == [1, 2, 3, 4]
    assert [entry.name for entry in tmp_path.iterdir()] == ["m"]
