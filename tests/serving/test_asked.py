"""Bodies of requests: every rule is named with the value that broke it."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from carryline.serving.asked import Explain, Inspect, Predict, Stream
from carryline.serving.refusal import RequestError
from carryline.serving.settings import Limits
from servers import Running

LIMITS = Limits(texts=3)


@pytest.mark.parametrize(
    ("body", "rule"),
    [
        (b"", "the body is JSON: Expecting value"),
        (b"\xff", "the body is UTF-8, it is not at byte 0"),
        (b"[1]", "the body is a JSON object, it is [1]"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"text": NaN}', "NaN is no JSON number"),
        (b"{}", "either text, a string, or texts"),
        (b'{"text": "a", "texts": []}', "either text, a string, or texts"),
        (b'{"texts": "a"}', 'texts is a list of strings, it is "a"'),
        (b'{"texts": ["a", "b", "c", "d"]}', "texts has at most 3 entries, it has 4"),
        (b'{"texts": ["a", null]}', "a text is a string, text 1 (from 0) is null"),
        (b'{"text": "a", "modle": "b"}', '"modle" is none of them'),
        (b'{"text": "a", "model": 1}', "model is a string, it is 1"),
        (b'{"text": "a", "abstain_below": 1.5}', "0 <= abstain_below <= 1, it is 1.5"),
        (b'{"text": "a", "abstain_below": true}', "0 <= abstain_below <= 1, it is true"),
        (b'{"text": "a", "abstain_below": "x"}', '0 <= abstain_below <= 1, it is "x"'),
    ],
)
def test_predict(body: bytes, rule: str) -> None:
    with pytest.raises(RequestError) as found:
        Predict.of(body, LIMITS)
    assert rule in found.value.rule and found.value.status == 422


@pytest.mark.parametrize(
    ("kind", "body", "rule"),
    [
        (Explain, b"{}", "the body has text, a string; it has none"),
        (Explain, b'{"text": 1}', "text is a string, it is 1"),
        (Explain, b'{"text": "a", "label": []}', "label is a string, it is []"),
        (Inspect, b'{"text": "a", "layer": 0}', "layer is a whole number from 1 to 1000, it is 0"),
        (Inspect, b'{"text": "a", "units": 33}', "units is a whole number from 1 to 32, it is 33"),
        (Inspect, b'{"text": "a", "units": 1.5}', "units is a whole number"),
        (Inspect, b'{"text": "a", "units": true}', "units is a whole number"),
        (Stream, b'{"text": "a", "way": "x"}', '"way" is none of them'),
    ],
)
def test_others(kind: type, body: bytes, rule: str) -> None:
    with pytest.raises(RequestError) as found:
        kind.of(body, LIMITS)  # type: ignore[attr-defined]
    assert rule in found.value.rule


def test_what_is_not_said_is_usual() -> None:
    assert Predict.of(b'{"text": "a", "model": null}', LIMITS) == Predict(["a"], None, 0.0)
    assert Explain.of(b'{"text": "a", "label": 3}', LIMITS).label == "3"
    assert Explain.of(b'{"text": "a", "label": true}', LIMITS).label == "true"
    assert Inspect.of(b'{"text": "a"}', LIMITS) == Inspect("a", None, 1, "forward", 6)


@given(st.binary(max_size=60))
def test_nothing_but_a_refusal_comes_of_any_bytes(body: bytes) -> None:
    for kind in (Predict, Explain, Inspect, Stream):
        with suppress(RequestError):
            kind.of(body, LIMITS)


def test_paths_and_methods_that_there_are_not(server: Running) -> None:
    assert server.ask("/v2").status == 404
    answer = server.ask("/v1/predict")
    assert (answer.status, answer.headers["allow"]) == (405, "POST")
    assert answer.json["error"]["id"] == answer.headers["x-request-id"]
