"""Training with word vectors, as a user does: settings, files, going on, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import carryline
from carryline import TextClassifier, load
from carryline.errors import ConfigError, ModelError
from carryline.text.vectors import Vectors
from commands import TINY, done, fails, sentences, weights, write
from lexicons import KNOWN, WIDTH, vectors_file

Tiny = dict[str, Any]


@pytest.fixture(scope="module")
def vectors(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return vectors_file(tmp_path_factory.mktemp("vectors") / "few words.vectors")


@pytest.fixture(scope="module")
def plain(tiny: Tiny) -> Tiny:
    """Without a width: it is the vectors'."""
    return {name: value for name, value in tiny.items() if name != "embedding"}


def weights_of(classifier: TextClassifier) -> bytes:
    return b"".join(value.tobytes() for _, value in sorted(classifier.network.weights.items()))


def fitted(settings: Tiny, corpus: Any, **given: Any) -> TextClassifier:
    return TextClassifier(**settings).fit(*corpus, valid=0.2, threads=1, baseline=False, **given)


# --- which words


def test_words_of_the_vectors_and_those_they_lack(plain: Tiny, vectors: Path) -> None:
    texts = ["the film, rain and RAIN", "a Night of rain and once", ",, one " + "x" * 65] * 2
    texts += ["only here"]
    made = TextClassifier(**plain, vectors=vectors)
    made.fit(texts, ["a", "b", "a", "b", "a", "b", "a"], valid=None, threads=1)
    lexicon = made.trained.lexicon
    assert lexicon is not None
    assert lexicon.further[0] == "rain"
    assert set(lexicon.further) == {"rain", ",", "a", "and", "once", "one", ",,"}
    assert made.tokenizer.words == lexicon.words == [*lexicon.further, *KNOWN]
    assert made.trained.config.embedding == WIDTH
    assert f"{made.tokenizer.rows * WIDTH:,}" in made.summary()


def test_words_are_bounded(
    plain: Tiny, vectors: Path, corpus: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("carryline.tasks.vocabulary.FURTHER", 3)
    lexicon = fitted({**plain, "vectors": vectors}, corpus).trained.lexicon
    assert lexicon is not None
    assert len(lexicon.further) == 3


# --- the setting


def test_a_model_names_the_file_and_no_path(
    plain: Tiny, vectors: Path, corpus: Any, tmp_path: Path
) -> None:
    made = fitted({**plain, "vectors": str(vectors)}, corpus, out=tmp_path / "model")
    head = json.loads((tmp_path / "model" / "config.json").read_text())
    named = head["config"]["vectors"]
    assert named == f"few words.vectors {head['sha256']['vectors.safetensors'][:16]}"
    for file in (tmp_path / "model").rglob("*.*"):
        assert str(vectors.parent).encode() not in file.read_bytes(), file
    card = (tmp_path / "model" / "README.md").read_text()
    assert "--vectors 'few words.vectors'" in card
    assert "began as vectors (few words.vectors" in card
    assert made.config.vectors == str(vectors)
    again = load(tmp_path / "model")
    assert (again.config.vectors, again.config.embedding) == (named, WIDTH)
    assert (again.predict_proba(corpus[0]) == made.predict_proba(corpus[0])).all()
    assert weights_of(again) == weights_of(made)
    assert weights_of(again.fit(*corpus, valid=0.2, threads=1, baseline=False)) == weights_of(made)


def test_widths_must_agree(plain: Tiny, vectors: Path, corpus: Any) -> None:
    with pytest.raises(ConfigError, match=r"9 is set, those of few words.vectors \w+ have 8 val"):
        fitted({**plain, "vectors": vectors, "embedding": 9}, corpus)


def test_no_such_vectors(
    plain: Tiny, corpus: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="none, english or the path of a file .*; there is no no"):
        fitted({**plain, "vectors": "no.vectors"}, corpus)
    (tmp_path / "text").write_text("no vectors")
    with pytest.raises(ModelError, match="text is not a safetensors file"):
        fitted({**plain, "vectors": tmp_path / "text"}, corpus)
    absent = tmp_path / "english.safetensors"
    for module in ("carryline.text.vectors", "carryline.tasks.vocabulary"):
        monkeypatch.setattr(f"{module}.ENGLISH", absent)
    with pytest.raises(ModelError, match="comes without vectors of English"):
        fitted({**plain, "vectors": "english"}, corpus)
    vectors_file(absent)
    assert Vectors.english().words == KNOWN
    assert fitted({**plain, "vectors": "english"}, corpus).trained.config.vectors == "english"


# --- going on


def test_a_resumed_run_ends_in_the_same_bits(
    plain: Tiny, vectors: Path, corpus: Any, tmp_path: Path
) -> None:
    settings = {**plain, "vectors": vectors, "average": 0.5, "weight_decay": 0.1}
    whole = fitted({**settings, "epochs": 3}, corpus)

    class Stop(carryline.Callback):
        def epoch(self, row: Any) -> bool:
            return True

    part = tmp_path / "part"
    fitted({**settings, "epochs": 3}, corpus, checkpoint=part, callbacks=[Stop()])
    assert (part / "words.txt").read_text().splitlines()[0] not in KNOWN
    resumed = fitted({**settings, "epochs": 3}, corpus, checkpoint=part, resume=True)
    assert weights_of(resumed) == weights_of(whole)
    other = vectors_file(tmp_path / "other.vectors", words=KNOWN[1:])
    with pytest.raises(ConfigError, match=r"vectors: few words.vectors \w+, yours other.vectors"):
        fitted({**settings, "vectors": other}, corpus, checkpoint=part, resume=True)


def test_a_finished_run_is_lengthened(
    plain: Tiny, vectors: Path, corpus: Any, tmp_path: Path
) -> None:
    settings = {**plain, "vectors": vectors}
    fitted(settings, corpus, out=tmp_path / "model")
    longer = fitted({**settings, "epochs": 3}, corpus, out=tmp_path / "model", resume=True)
    assert weights_of(longer) == weights_of(fitted({**settings, "epochs": 3}, corpus))
    assert weights_of(load(tmp_path / "model")) == weights_of(longer)


def test_warm_start_goes_on_from_weights_words_and_vectors(
    plain: Tiny, vectors: Path, corpus: Any, tmp_path: Path
) -> None:
    made = fitted({**plain, "vectors": vectors}, corpus, out=tmp_path / "model")
    again = load(tmp_path / "model")
    texts = ["a bright day and a new word", "bad"] * 4
    network, before = made.network, weights_of(made)
    for one in (made, again):
        one.fit(texts, ["good", "bad"] * 4, valid=None, threads=1, warm_start=True)
    assert weights_of(made) == weights_of(again)
    assert made.tokenizer.words == again.tokenizer.words
    untouched = [made.tokenizer.rows_of(made.tokenizer.encode_batch([" film"]).values)[0]]
    first = network.weights["embedding.weight"]
    assert (made.network.weights["embedding.weight"][untouched] == first[untouched]).all()
    assert weights_of(load(tmp_path / "model")) == before  # and nobody wrote into the first ones
    assert b"".join(value.tobytes() for _, value in sorted(network.weights.items())) == before
    with pytest.raises(ConfigError, match="goes on with its own settings .*vectors"):
        made.set_params(vectors="none").fit(*corpus, warm_start=True)


# --- the command line


@pytest.fixture(scope="module")
def csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("csv") / "train.csv", sentences(60))


def test_train_resume_and_summary(csv: Path, vectors: Path, tmp_path: Path) -> None:
    at = TINY.index("embedding=8")
    tiny = [*TINY[: at - 1], *TINY[at + 1 :]]
    given = ["train", csv, *tiny, "--vectors", vectors, "--no-baseline", "--threads", 1]
    out = tmp_path / "model"
    done(*given, "--epochs", 1, "--out", out)
    told = done(*given, "--epochs", 1, "--out", out, "--resume")
    assert "is complete" in told.stderr
    done(*given, "--epochs", 2, "--out", out, "--resume")
    assert "yours none" in fails(
        2, "train", csv, *tiny, "--preset", "base", "--out", out, "--resume"
    )
    further = ["train", csv, "--from", out, "--epochs", 1, "--no-baseline", "--out"]
    done(*further, tmp_path / "more")
    done(*further, tmp_path / "named", "--vectors", vectors)
    assert weights(tmp_path / "more") == weights(tmp_path / "named")
    shown = done("tokenize", out, "The FILM").stdout.split()
    assert shown[1::2] == ["The", "FILM"]
    rows = f"{(8185 + len(KNOWN)) * WIDTH:,}"
    assert rows in done("summary", "--preset", "base", "--set", f"vectors={vectors}").stdout


def test_what_the_command_line_refuses(csv: Path, vectors: Path, tmp_path: Path) -> None:
    given = ["train", csv, "--out", tmp_path / "model", "--no-baseline"]
    assert "there is no nowhere" in fails(2, *given, "--vectors", "nowhere")
    before_data = ["train", tmp_path / "no.csv", "--out", tmp_path / "model"]
    assert "there is no nowhere" in fails(2, *before_data, "--vectors", "nowhere")
    wide = fails(2, *given, "--vectors", vectors, "--set", "embedding=9")
    assert "9 is set" in wide
    both = fails(2, *given, "--vectors", vectors, "--set", "vectors=none")
    assert "either --vectors or --set" in both
    (tmp_path / "cut").write_bytes(vectors.read_bytes()[:-1])
    assert "not a safetensors" in fails(2, *given, "--vectors", tmp_path / "cut")
    assert not (tmp_path / "model").exists()


def test_a_model_may_lie_anywhere(plain: Tiny, vectors: Path, corpus: Any, tmp_path: Path) -> None:
    """It needs no file but its own."""
    file = Path(shutil.copy(vectors, tmp_path / "gone.vectors"))
    made = fitted({**plain, "vectors": file}, corpus, out=tmp_path / "model")
    file.unlink()
    shutil.move(tmp_path / "model", tmp_path / "moved")
    assert weights_of(load(tmp_path / "moved")) == weights_of(made)
