"""Tokens: an exact round trip for every string, and no tokenizer.json but our own."""

from __future__ import annotations

import copy
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tokenizers
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import models, pre_tokenizers, trainers

from carryline.errors import ConfigError, InputError, ModelError
from carryline.text.cut import Cut
from carryline.text.tokens import LARGEST, LONGEST_PIECE, PAD, Tokenizer, largest_file, visible

patient = settings(deadline=None)  # other work may share the machine

CORPUS = [
    "TensorFlow is cool. TensorFlow is fast, and TensorFlow is cool again.",
    "A review of <br />one film: it's good, it isn't bad; it's 10/10!\r\n\tReally.",
    "Ein großer Film über Gefühle, 1984 – 2024. 電影很好看，電影很好。 🎬🎬🎬 <pad> <pad>",
] * 3

# a process of its own: other hash seed, other number of threads
TRAIN = """
import sys, json
from carryline.text.tokens import Tokenizer
sys.stdout.write(Tokenizer.train(json.load(sys.stdin), 350).to_json())
"""

FORK = """
import os, warnings
from carryline.text.tokens import Tokenizer
warnings.simplefilter("ignore")  # Python 3.12 warns of any fork beside threads
tokenizer = Tokenizer.train(["a film", "a good film"] * 500, 300)
texts = [f"a good film {i}" for i in range(2000)]
rows = tokenizer.encode_batch(texts[:1000]).values
child = os.fork()
if not child:
    again = tokenizer.encode_batch(texts).values
    os._exit(0 if (again[: len(rows)] == rows).all() else 1)
assert os.waitpid(child, 0)[1] == 0
"""


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer.train(CORPUS, 350)


def run(script: str, text: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    source = str(Path(sys.modules["carryline.text.tokens"].__file__ or "").parents[2])
    path = os.pathsep.join([source, os.environ.get("PYTHONPATH", "")])
    known = {key: value for key, value in os.environ.items() if key != "TOKENIZERS_PARALLELISM"}
    return subprocess.run(
        [sys.executable, "-c", script],
        input=text,
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        env={**known, "PYTHONPATH": path, "PYTHONUTF8": "1", **environment},
        check=False,
    )


def without_surrogates(text: str) -> str:
    """The documented rule, in other words than the code's."""
    paired = re.sub(
        "([\ud800-\udbff])([\udc00-\udfff])",
        lambda m: chr(0x10000 + ((ord(m[1]) - 0xD800) << 10) + ord(m[2]) - 0xDC00),
        text,
    )
    return re.sub("[\ud800-\udfff]", "\ufffd", paired)


# --- the round trip


@patient
@given(st.text())
@example("")
@example("<pad>")
@example("a<pad><pad> <pad>b")
@example("\0 \x1b\x7f\x85\u200b\u2028\ufeff")
@example("e\u0301 \u0301\u0301 \U0010ffff\ufffe")
@example(" \n \t  \r\n")
def test_every_string_comes_back(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text)
    assert tokenizer.decode(ids) == text
    assert PAD not in ids
    assert all(0 < i < tokenizer.size for i in ids)


@patient
@given(st.text(st.sampled_from("<pad> \ud800\udbff\udc00\udfff😀a\ufeff")))
@example("\ud83d\ude00")
@example("\ude00\ud83d")
@example("\ud83d\ud83d\ude00")
def test_surrogates_are_paired_or_replaced(tokenizer: Tokenizer, text: str) -> None:
    assert tokenizer.decode(tokenizer.encode(text)) == without_surrogates(text)


def test_surrogates_while_training() -> None:
    assert Tokenizer.train(["\ud83d\ude00 \ud83d"], 300).to_json() == (
        Tokenizer.train(["😀 \ufffd"], 300).to_json()
    )


@patient
@given(st.lists(st.text()))
def test_a_batch_is_its_texts_one_by_one(tokenizer: Tokenizer, texts: list[str]) -> None:
    together = tokenizer.encode_batch(texts)
    assert together.values.dtype == np.int32
    assert [row.tolist() for row in together] == [tokenizer.encode(text) for text in texts]


def test_a_long_batch_keeps_its_order(tokenizer: Tokenizer) -> None:
    texts = [str(i) for i in range(2500)]
    assert [tokenizer.decode(row) for row in tokenizer.encode_batch(texts)] == texts


@pytest.mark.parametrize("unit", ["a", " ", "\0", "漢", "ab!", "e\u0301"])
def test_a_megabyte_of_one_word(tokenizer: Tokenizer, unit: str) -> None:
    text = unit * (1_000_000 // len(unit))
    began = time.process_time()
    ids = tokenizer.encode(text)
    assert time.process_time() - began < 5  # about 0.5 s on a slow core
    assert tokenizer.decode(ids) == text


def test_training_on_one_long_word() -> None:
    began = time.perf_counter()
    tokenizer = Tokenizer.train(["a" * 300_000], 300)
    assert time.perf_counter() - began < 10  # about a minute if the word is left whole
    assert max(map(len, tokenizer.pieces(range(1, tokenizer.size)))) == LONGEST_PIECE
    assert tokenizer.decode(tokenizer.encode("a" * 1001)) == "a" * 1001


# --- training


def test_vocabulary_is_filled_and_starts_with_pad_and_all_bytes(tokenizer: Tokenizer) -> None:
    assert tokenizer.size == 350
    entries = list(json.loads(tokenizer.to_json())["model"]["vocab"])
    assert entries[:257] == ["<pad>", *sorted(pre_tokenizers.ByteLevel.alphabet())]
    assert tokenizer.decode([PAD]) == ""


@patient
@given(st.lists(st.text(st.sampled_from("aab "), min_size=10, max_size=60), min_size=1))
@example(CORPUS)
def test_entries_are_those_the_library_learned(texts: list[str]) -> None:
    """The vocabulary is derived from the merges alone, and must be the trainer's own."""
    learner = tokenizers.Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        special_tokens=["<pad>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    learner.train_from_iterator(texts, trainer)
    tokenizer = Tokenizer.train(texts, 600)
    ours = json.loads(tokenizer.to_json())
    assert ours["model"]["vocab"] == learner.get_vocab()
    assert ours["model"]["merges"] == json.loads(learner.to_str())["model"]["merges"]
    assert Tokenizer.from_json(tokenizer.to_json()).to_json() == tokenizer.to_json()


@pytest.mark.parametrize("texts", [[], [""], ["", "x"], ["no pair twice"]])
def test_tiny_corpora(texts: list[str]) -> None:
    tokenizer = Tokenizer.train(texts, 8185)
    assert 257 <= tokenizer.size < 280
    assert tokenizer.decode(tokenizer.encode("anything €")) == "anything €"


def test_no_room_but_for_bytes() -> None:
    assert Tokenizer.train(CORPUS, 257).size == 257


@pytest.mark.parametrize("vocabulary", [0, 256, (1 << 20) + 1])
def test_vocabulary_out_of_range(vocabulary: int) -> None:
    with pytest.raises(ConfigError, match=f"it is {vocabulary}"):
        Tokenizer.train(CORPUS, vocabulary)


def test_training_takes_any_iterable(tokenizer: Tokenizer) -> None:
    assert Tokenizer.train(iter(CORPUS), 350).to_json() == tokenizer.to_json()


def test_of_very_many_texts_a_sample_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"{chr(ord('a') + n)}" * 50 for n in range(26)]  # a letter a text
    monkeypatch.setattr("carryline.text.tokens.LEARNED_FROM", 26 * 50)
    assert len(letters(Tokenizer.train(texts, 500))) == 26
    monkeypatch.setattr("carryline.text.tokens.LEARNED_FROM", 10 * 50)
    sampled = Tokenizer.train(texts, 500)
    assert len(letters(sampled)) == 10
    assert letters(sampled) != set("abcdefghij")
    assert Tokenizer.train(texts, 500).to_json() == sampled.to_json()
    assert letters(Tokenizer.train(["z" * 5000, "z" * 5000], 300)) == {"z"}


def letters(tokenizer: Tokenizer) -> set[str]:
    """Those that stand in learned pieces."""
    return {letter for piece in tokenizer.pieces(range(257, tokenizer.size)) for letter in piece}


@pytest.mark.parametrize("threads", ["1", "3", ""])
def test_training_repeats_in_other_processes_and_is_quiet(
    tokenizer: Tokenizer, threads: str
) -> None:
    environment = {"RAYON_NUM_THREADS": threads} if threads else {"TOKENIZERS_PARALLELISM": "false"}
    done = run(TRAIN, json.dumps(CORPUS), PYTHONHASHSEED=threads or "7", **environment)
    assert done.stdout == tokenizer.to_json()
    assert done.stderr == ""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_encodes_quietly() -> None:
    done = run(FORK)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "")


def test_imports_nothing_of_training() -> None:
    script = "import sys, carryline.text.tokens as t; t.Tokenizer.train(['a'], 257).encode('a')\n"
    script += "print([m for m in ('torch', 'numpy', 'huggingface_hub') if m in sys.modules])"
    assert run(script).stdout.strip() == "['numpy']"


# --- what a person sees


def test_pieces_are_readable() -> None:
    tokenizer = Tokenizer.train(["TensorFlow is cool."] * 9, 300)
    text = "TensorFlow is\n€\\"
    pieces = tokenizer.pieces([*tokenizer.encode(text), PAD])
    assert pieces == ["TensorFlow", " is", r"\n", r"\xe2", r"\x82", r"\xac", "\\", "<pad>"]


def test_visible() -> None:
    assert visible("plain é 漢") == "plain é 漢"
    assert visible("a\nb\x1b[0m\u202e\xa0\ud800") == r"a\nb\x1b[0m\u202e\xa0\ud800"


def test_decoding_half_a_character(tokenizer: Tokenizer) -> None:
    assert tokenizer.decode([*tokenizer.encode("ÿ")[:1], PAD]) == "\ufffd"


@pytest.mark.parametrize("wrong", [-1, 350])
def test_ids_outside_the_vocabulary(tokenizer: Tokenizer, wrong: int) -> None:
    with pytest.raises(InputError, match=f"0 to 349, one is {wrong}"):
        tokenizer.decode([1, wrong])
    with pytest.raises(InputError, match=f"one is {wrong}"):
        tokenizer.pieces([wrong])


# --- tokenizer.json


def test_json_round_trip(tokenizer: Tokenizer, tmp_path: Path) -> None:
    path = tmp_path / "tokenizer.json"
    path.write_text(tokenizer.to_json(), encoding="utf-8")
    for again in (Tokenizer.from_json(tokenizer.to_json()), Tokenizer.load(path)):
        assert again.to_json() == tokenizer.to_json()
        assert list(map(again.encode, CORPUS)) == list(map(tokenizer.encode, CORPUS))


@patient
@given(st.text())
@example("<pad>")
@example("a" * 1000)
def test_the_library_alone_gives_the_same_ids(tokenizer: Tokenizer, text: str) -> None:
    theirs = tokenizers.Tokenizer.from_str(tokenizer.to_json())
    assert theirs.encode(text).ids == tokenizer.encode(text)
    assert theirs.get_vocab_size() == tokenizer.size
    assert theirs.token_to_id("<pad>") == PAD


def change(path: str, value: Any) -> Callable[[dict[str, Any]], None]:
    def apply(document: dict[str, Any]) -> None:
        *parents, last = path.split("/")
        for parent in parents:
            document = document[parent]
        document[last] = value

    return apply


def swap_two_ids(document: dict[str, Any]) -> None:
    vocabulary = document["model"]["vocab"]
    vocabulary["a"], vocabulary["b"] = vocabulary["b"], vocabulary["a"]


def shift_ids(document: dict[str, Any]) -> None:
    document["model"]["vocab"] = {k: v + 1 for k, v in document["model"]["vocab"].items()}


def double(document: dict[str, Any]) -> None:
    """Pieces that grow twofold with each merge."""
    for n in range(20):
        document["model"]["merges"].append(["a" * 2**n] * 2)
        document["model"]["vocab"]["a" * 2 ** (n + 1)] = len(document["model"]["vocab"])


ADDED = {"id": 5, "content": "x", "single_word": False, "lstrip": False, "rstrip": False}
HOSTILE: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "normalizer": (change("normalizer", {"type": "Lowercase"}), "normalizer must be None"),
    "post-processor": (change("post_processor", {"type": "BertProcessing"}), "post_processor must"),
    "truncation": (change("truncation", {"max_length": 3}), "truncation must be None"),
    "padding": (change("padding", {"pad_id": 0}), "padding must be None"),
    "added token": (change("added_tokens", [ADDED]), "added_tokens must be"),
    "prefix space": (
        change("pre_tokenizer/add_prefix_space", True),
        r"add_prefix_space must be False, it is True",
    ),
    "another pre-tokenizer": (change("pre_tokenizer", {"type": "Whitespace"}), "pre_tokenizer"),
    "another decoder": (change("decoder", None), "decoder must be"),
    "another model": (change("model/type", "WordPiece"), "model.type must be 'BPE'"),
    "dropout": (change("model/dropout", 0.5), "model.dropout must be None, it is 0.5"),
    "an unknown piece": (change("model/unk_token", "a"), "model.unk_token"),
    "one for a truth": (change("model/fuse_unk", 0), "fuse_unk must be False, it is 0"),
    "no model": (lambda d: d.pop("model"), "no list model.merges"),
    "no merges": (lambda d: d["model"].pop("merges"), "no list model.merges"),
    "no version": (lambda d: d.pop("version"), "lacks 'version'"),
    "an entry of its own": (change("extra", 1), "has an unknown entry 'extra'"),
    "pad elsewhere": (change("model/vocab/<pad>", 350), "vocab.<pad> must be 0, it is 350"),
    "no pad": (lambda d: d["model"]["vocab"].pop("<pad>"), "vocab lacks '<pad>'"),
    "a byte missing": (lambda d: d["model"]["vocab"].pop("Ā"), "vocab lacks 'Ā'"),
    "an extra piece": (change("model/vocab/zzz", 350), "unknown entry 'zzz'"),
    "swapped ids": (swap_two_ids, "vocab.a must be 65, it is 66"),
    "shifted ids": (shift_ids, "must be 0, it is 1"),
    "an id that is no number": (change("model/vocab/a", "66"), "must be 65, it is '66'"),
    "a merge cut off": (lambda d: d["model"]["merges"].pop(), "unknown entry"),
    "merges of another kind": (change("model/merges", ["a b"]), "number 0 is 'a b'"),
    "a merge of three": (change("model/merges", [["a", "b", "c"]]), "number 0 is"),
    "a merge of numbers": (change("model/merges", [[1, 2]]), "number 0 is"),
    "a merge of lists": (change("model/merges", [[["a"], "b"]]), "number 0 is"),
    "a merge of no pieces": (change("model/merges", [["a", "nix"]]), "number 0 is"),
    "a merge twice": (change("model/merges", [["a", "b"]] * 2), "number 1 is"),
    "a piece made twice": (
        change("model/merges", [["a", "b"], ["b", "c"], ["ab", "c"], ["a", "bc"]]),
        "a new piece of at most 256 bytes and not <pad>, number 3 is",
    ),
    "a merge to pad": (
        change("model/merges", [["<", "p"], ["a", "d"], ["ad", ">"], ["<p", "ad>"]]),
        "not <pad>, number 3 is",
    ),
    "endless pieces": (double, "at most 256 bytes"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_foreign_tokenizer_is_refused(tokenizer: Tokenizer, name: str) -> None:
    spoil, message = HOSTILE[name]
    document = copy.deepcopy(json.loads(tokenizer.to_json()))
    spoil(document)
    with pytest.raises(ModelError, match=re.escape(message.replace("\\", ""))) as raised:
        Tokenizer.from_json(json.dumps(document))
    assert len(str(raised.value)) < 300


@pytest.mark.parametrize(
    "text",
    ["", "{", "null", "[]", "3", '"x"', '{"model": 3}', "[" * 100_000, "9" * 10_000, "\0"],
)
def test_what_is_no_tokenizer_at_all_is_refused(text: str) -> None:
    with pytest.raises(ModelError, match=r"tokenizer\.json is not"):
        Tokenizer.from_json(text)


def test_too_many_merges(monkeypatch: pytest.MonkeyPatch, tokenizer: Tokenizer) -> None:
    monkeypatch.setattr("carryline.text.tokens.LARGEST", 50)
    with pytest.raises(ModelError, match="at most 50 merges, it has 93"):
        Tokenizer.from_json(tokenizer.to_json())


@patient
@given(st.data())
def test_a_cut_file_is_refused(tokenizer: Tokenizer, data: st.DataObject) -> None:
    text = tokenizer.to_json()
    with pytest.raises(ModelError):
        Tokenizer.from_json(text[: data.draw(st.integers(0, len(text) - 1))])


def test_files_that_cannot_be_loaded(tokenizer: Tokenizer, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"cannot read .*none"):
        Tokenizer.load(tmp_path / "none")
    with pytest.raises(ModelError, match="cannot read"):
        Tokenizer.load(tmp_path)
    (tmp_path / "latin").write_bytes(b'{"\xe9')
    with pytest.raises(ModelError, match="byte 2 is not"):
        Tokenizer.load(tmp_path / "latin")
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(largest_file(LARGEST) + 1)
    with pytest.raises(ModelError, match=f"at most {largest_file(LARGEST)} are read"):
        Tokenizer.load(tmp_path / "huge")


# --- real text


def test_reviews(shared_data: Path) -> None:
    import csv

    with (shared_data / "mr.csv").open(encoding="utf-8", newline="") as file:
        texts = [row["text"] for row in csv.DictReader(file)][:3000]
    tokenizer = Tokenizer.train(texts, 8185)
    assert tokenizer.size == 8185
    rows = tokenizer.encode_batch(texts)
    assert [tokenizer.decode(row) for row in rows] == texts
    # a subword vocabulary of this size takes about four characters a token
    assert 3.5 < sum(map(len, texts)) / sum(map(len, rows)) < 6


@given(st.lists(st.text(), max_size=5))
def test_cut_texts_have_the_same_ids(texts: list[str]) -> None:
    tokenizer = Tokenizer.train(CORPUS, 300)
    cut, plain = tokenizer.encode_cut(Cut.of(texts)), tokenizer.encode_batch(texts)
    assert cut.values.tolist() == plain.values.tolist()
    assert cut.offsets.tolist() == plain.offsets.tolist()
