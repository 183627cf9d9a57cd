from __future__ import annotations

import json
from pathlib import Path

import carryline
from commands import as_json, done


def test_tokenize(model: Path) -> None:
    text = "TensorFlow is\ncool. é"
    found = as_json("tokenize", model, text)
    assert found["text"] == text
    assert carryline.load(model).tokenizer.decode(found["ids"]) == text
    lines = done("tokenize", model, text).stdout.splitlines()
    pairs = zip(found["ids"], found["pieces"], strict=True)
    assert [line.lstrip() for line in lines] == [f"{token}  {piece}" for token, piece in pairs]
    two = done("tokenize", model, "a", "b", "--json").stdout.splitlines()
    assert [json.loads(line)["text"] for line in two] == ["a", "b"]
