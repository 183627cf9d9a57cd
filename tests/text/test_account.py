from __future__ import annotations

import json
import random
import time
from typing import Any

import pytest

from carryline.text.account import Account, Lengths, account
from carryline.text.data import Label

CLEAN = [f"text {number}" for number in range(20)]
SIDES: list[Label] = ["pos", "neg"] * 10


def found(texts: list[str], labels: list[Any]) -> dict[str, int]:
    """The count of each kind of finding."""
    return {finding.kind: finding.count for finding in account(texts, labels).findings}


def said(texts: list[str], labels: list[Any], kind: str) -> str:
    return next(f.message for f in account(texts, labels).findings if f.kind == kind)


def test_what_is_there() -> None:
    told = account([*CLEAN, "one two  three", ""], [*SIDES, "pos", "pos"])
    assert told.rows == 22
    assert list(told.classes.items()) == [("pos", 12), ("neg", 10)]
    assert told.characters == Lengths(0, 6, 7, 14)
    assert told.words == Lengths(0, 2, 2, 3)
    assert told.findings[0].kind == "empty_texts"


def test_lengths_are_those_of_texts() -> None:
    told = account(["x" * length for length in range(1, 101)], [0, 1] * 50)
    assert told.characters == Lengths(1, 50, 95, 100)


def test_nothing_is_wrong_with_clean_data() -> None:
    assert found(CLEAN, SIDES) == {}
    assert "to look at:" not in account(CLEAN, SIDES).lines()


def test_repeated_and_contradictory_texts() -> None:
    texts = [*CLEAN, *["again"] * 3, "twice", "twice", "", ""]
    labels = [*SIDES, "pos", "neg", "pos", "neg", "neg", "pos", "neg"]
    assert found(texts, labels) == {
        "empty_texts": 2, "repeated_texts": 3, "contradictory_texts": 1,
    }  # fmt: skip
    assert said(texts, labels, "repeated_texts") == "3 texts repeated, such as 'again' (3 times)"
    message = "1 text with more than one label, such as 'again': 'neg' and 'pos'"
    assert said(texts, labels, "contradictory_texts") == message


def test_labels_that_differ_in_case_or_spaces_alone() -> None:
    labels = ["Not spam", "notspam", "not  spam", "spam"] * 5
    assert found(CLEAN, labels) == {"labels_alike": 1}
    message = "alone: 'Not spam' (5) and 'notspam' (5) and 'not  spam' (5)"
    assert said(CLEAN, labels, "labels_alike").endswith(message)


def test_empty_texts() -> None:
    texts = [*CLEAN, "", " \n", ""]
    assert said(texts, [*SIDES, "pos", "pos", "neg"], "empty_texts") == (
        "3 texts empty: 2 missing or of no characters, 1 of white space alone"
    )


def test_a_text_that_is_its_label() -> None:
    assert "text_is_label" in found([" 1", "2"] * 10, [1, 2] * 10)
    assert "text_is_label" not in found([" 1", "2"] * 10, [1, 2] * 9 + [1, 1])


def test_small_classes() -> None:
    labels = ["pos"] * 10 + ["rare"] * 4 + ["five"] * 5 + ["single"]
    assert found(CLEAN, labels) == {"small_classes": 2}
    message = "2 classes of fewer than 5 texts: 'single' (1), 'rare' (4)"
    assert said(CLEAN, labels, "small_classes") == message
    many = said(CLEAN, list(range(20)), "small_classes")
    assert many.startswith("20 classes of fewer than 5 texts: ")
    assert many.endswith(" and 15 more")


def test_lines_for_people() -> None:
    told = account([*CLEAN, "text 1"], [*SIDES, "neg"], skipped=1, guessed={"text": "review"})
    assert told.split(["pos"] * 9 + ["neg"] * 10, ["pos", "neg"]).lines() == [
        "21 texts of 2 classes",
        "  neg: 11 (10 to train on, 1 to validate on)",
        "  pos: 10 (9 to train on, 1 to validate on)",
        "characters: 6 to 7, median 6, 95 % of the texts have at most 7",
        "words: 2 to 2, median 2, 95 % of the texts have at most 2",
        "19 to train on, 2 to validate on",
        "to look at:",
        "  1 text repeated, such as 'text 1' (2 times)",
    ]


def test_lines_are_cut_and_stay_lines() -> None:
    texts = ["a\nvery\x1b[31m " + "long " * 100] * 50
    labels = [f"class\n{number}" * 20 for number in range(25)] * 2
    lines = account(texts, labels).lines()
    assert len(lines) < 30
    assert "  and 5 more, of 10 texts" in lines
    assert all(len(line) < 600 and line.isprintable() for line in lines)


def test_for_programs() -> None:
    told = account(CLEAN, [True, 0.5] * 10, skipped=2, guessed={"label": "stars"})
    plain = json.loads(json.dumps(told.to_dict()))
    assert plain["classes"] == {"True": 10, "0.5": 10}
    assert (plain["train"], plain["valid"]) == (None, None)
    assert (plain["skipped"], plain["guessed"]) == (2, {"label": "stars"})
    assert plain["characters"] == {"shortest": 6, "median": 6, "percentile_95": 7, "longest": 7}
    parts = told.split([True] * 9 + [0.5] * 8, [True, 0.5, 0.5]).to_dict()
    assert parts["train"] == {"texts": 17, "classes": {"True": 9, "0.5": 8}}
    assert parts["valid"] == {"texts": 3, "classes": {"0.5": 2, "True": 1}}
    assert told.split([True], None).to_dict()["valid"] is None
    assert isinstance(told.split([True], None), Account)


def test_one_text() -> None:
    assert account(["a"], ["b"]).characters == Lengths(1, 1, 1, 1)
    assert account(["a"], ["b"]).lines()[0] == "1 text of 1 class"


@pytest.mark.slow
def test_it_is_quick() -> None:
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefgh", k=draw.randint(2, 9))) for _ in range(5000)]
    texts = [" ".join(draw.choices(words, k=31)) for _ in range(100_000)]
    begin = time.process_time()
    account(texts, ["a", "b"] * 50_000)
    assert time.process_time() - begin < 1  # 0.14 s on an idle machine
