"""What the endpoints answer."""

from __future__ import annotations

import gzip
import json
import signal
from pathlib import Path

import pytest

from carryline import TextClassifier
from conftest import Maker
from servers import Running, serving

TEXT = "the old film was good, the music bad"


def test_one_text_and_many(server: Running, both: TextClassifier) -> None:
    texts = [TEXT, "", "\ud800 lone", "good " * 300, "<script>"]
    expected = both.predict_proba(texts)
    told = server.ask("/v1/predict", {"texts": texts}).json
    assert (told["model"], len(told["version"])) == ("both", 12)
    for answer, row in zip(told["answers"], expected.tolist(), strict=True):
        assert list(answer["probabilities"]) == both.classes
        assert list(answer["probabilities"].values()) == row  # to the bit
        assert answer["label"] == both.classes[row.index(max(row))]
        assert answer["probability"] == max(row)
    assert [answer["tokens"] for answer in told["answers"]][1] == 0
    alone = server.ask("/v1/predict", {"text": TEXT}).json["answers"]
    assert alone == told["answers"][:1]
    assert server.ask("/v1/predict", {"texts": []}).json["answers"] == []


def test_the_model_that_is_named(server: Running, ahead: TextClassifier) -> None:
    told = server.ask("/v1/predict", {"text": TEXT, "model": "ahead"}).json
    assert told["model"] == "ahead"
    chances = list(told["answers"][0]["probabilities"].values())
    assert chances == ahead.predict_proba([TEXT])[0].tolist()
    none = server.ask("/v1/predict", {"text": TEXT, "model": "other"})
    assert (none.status, none.rule) == (404, "model must be one of both, ahead, it is 'other'")


def test_an_unsure_answer_has_no_label(server: Running) -> None:
    sure = server.ask("/v1/predict", {"text": TEXT, "abstain_below": 0.0}).json["answers"][0]
    least = sure["probability"]
    assert sure["label"] is not None
    for below, label in ((least, sure["label"]), (min(1.0, least + 1e-6), None)):
        asked = {"text": TEXT, "abstain_below": below}
        told = server.ask("/v1/predict", asked).json["answers"][0]
        assert told == sure | {"label": label}


def test_explanations(server: Running, both: TextClassifier) -> None:
    told = server.ask("/v1/explain", {"text": TEXT}).json
    assert told.pop("model") == "both" and told.pop("version")
    assert told == json.loads(json.dumps(both.explain(TEXT).to_dict()))
    asked = {"text": "One. Two.", "label": "bad", "way": "occlusion", "by": "sentences"}
    told = server.ask("/v1/explain", asked).json
    assert [span["text"] for span in told["spans"]] == ["One.", " Two."]
    assert (told["label"], told["way"]) == ("bad", "occlusion")
    for field, value in (("label", "none"), ("way", "guess"), ("by", "pages")):
        refused = server.ask("/v1/explain", {"text": TEXT, field: value})
        assert refused.status == 422 and value in refused.rule


def test_inside(server: Running) -> None:
    told = server.ask("/v1/inspect", {"text": TEXT, "units": 3, "direction": "backward"}).json
    assert len(told["carry"]) == len(told["pieces"]) and len(told["units"]) == 3
    assert {len(row) for row in told["carry"]} == {3}
    assert told["direction"] == "backward"
    refused = server.ask("/v1/inspect", {"text": TEXT, "layer": 2})
    assert (refused.status, refused.rule) == (422, "1 <= layer <= 1 of this model, it is 2")


def test_a_stream_tells_every_word(server: Running, ahead: TextClassifier) -> None:
    answer = server.ask("/v1/stream", {"text": TEXT, "model": "ahead"})
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [event.split("\n") for event in answer.content.decode().strip().split("\n\n")]
    assert [event[0] for event in events] == ["event: word"] * 9 + ["event: end"]
    words = [json.loads(event[1].removeprefix("data: ")) for event in events[:-1]]
    assert "".join(word["text"] for word in words) == TEXT
    for word in words:
        expected = ahead.predict_proba([TEXT[: word["end"]]])[0].tolist()
        assert list(word["probabilities"].values()) == expected
    refused = server.ask("/v1/stream", {"text": TEXT})
    assert refused.status == 422 and "both reads both ways" in refused.rule
    long = server.ask("/v1/stream", {"text": "a " * 2001, "model": "ahead"})
    assert long.status == 422 and "2,000 words" in long.rule
    empty = server.ask("/v1/stream", {"text": "", "model": "ahead"})
    assert empty.content.decode().startswith("event: end\n")


def test_models_and_health(server: Running, both: TextClassifier) -> None:
    told = server.ask("/v1/models").json
    assert [model["name"] for model in told["models"]] == ["both", "ahead"]
    first = told["models"][0]
    assert (first["parameters"], first["classes"]) == (both.parameters, ["bad", "good"])
    assert [model["streams"] for model in told["models"]] == [False, True]
    assert (told["reload"], told["limits"]["texts"]) == (False, 256)
    assert server.ask("/healthz").json == {"status": "ok"}
    assert server.ask("/readyz").json["status"] == "ready"


def test_a_report(server: Running) -> None:
    answer = server.ask("/v1/models/both/report")
    assert answer.status == 200 and answer.content.startswith(b"<!doctype html>")
    assert "script-src" not in answer.headers["content-security-policy"]
    assert server.ask("/v1/models/none/report").status == 404


def test_figures_for_prometheus(server: Running) -> None:
    def figure(name: str) -> float:
        lines = server.ask("/metrics").content.decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))

    texts, tokens = 'carryline_texts_total{model="both"}', 'carryline_tokens_total{model="both"}'
    requests = 'carryline_requests_total{path="/v1/predict",status="200"}'
    before = figure(texts), figure(tokens), figure(requests), figure("carryline_batch_texts_count")
    told = server.ask("/v1/predict", {"texts": [TEXT, "", "film"]}).json
    read = sum(answer["tokens"] for answer in told["answers"])
    after = figure(texts), figure(tokens), figure(requests), figure("carryline_batch_texts_count")
    assert [a - b for a, b in zip(after, before, strict=True)] == [3, read, 1, 1]
    seconds = 'carryline_request_seconds_count{path="/v1/predict"}'
    assert figure(seconds) >= figure(requests)
    assert figure("carryline_waiting_requests") == 0


def test_large_answers_are_packed_for_those_who_take_them(server: Running) -> None:
    asked = {"texts": [TEXT] * 50}
    plain = server.ask("/v1/predict", asked)
    packed = server.ask("/v1/predict", asked, headers={"accept-encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip" and "content-encoding" not in plain.headers
    assert gzip.decompress(packed.content) == plain.content
    assert len(packed.content) < len(plain.content) / 4


def test_request_ids_and_a_log_without_texts(models: dict[str, Path], tmp_path: Path) -> None:
    with serving(tmp_path / "log", models["both"]) as running:
        named = running.ask("/v1/predict", {"text": "secret"}, headers={"x-request-id": "mine-1"})
        assert named.headers["x-request-id"] == "mine-1"
        drawn = running.ask("/v1/predict", {"text": 1}, headers={"x-request-id": "a b\tc"})
        assert drawn.status == 422
        assert drawn.json["error"]["id"] == drawn.headers["x-request-id"] != "a b\tc"
    lines = {line["id"]: line for line in running.lines() if "id" in line}
    assert lines["mine-1"]["status"] == 200 and lines["mine-1"]["texts"] == 1
    assert lines[drawn.headers["x-request-id"]]["status"] == 422
    assert "secret" not in running.log.read_text()  # type: ignore[union-attr]


@pytest.mark.parametrize(("option", "seen"), [("--log-texts", True), ("--quiet", False)])
def test_what_the_log_holds(
    models: dict[str, Path], tmp_path: Path, option: str, seen: bool
) -> None:
    with serving(tmp_path / "log", models["both"], option) as running:
        running.ask("/v1/predict", {"text": "secret"})
    assert ("secret" in (tmp_path / "log").read_text()) == seen
    assert any("id" in line for line in running.lines()) == seen


def test_many_classes_and_a_model_whose_batches_are_filled_up(make: Maker, tmp_path: Path) -> None:
    many, filled = make(5), make(3, mask=False)
    many.save(tmp_path / "many")
    filled.save(tmp_path / "filled")
    texts = ["a film", "", "the old film was good " * 9, "rain"]
    together = filled.predict_proba(texts).tolist()
    alone = [filled.predict_proba([text])[0].tolist() for text in texts]
    assert together != alone  # it would show
    with serving(tmp_path / "log", tmp_path / "many", tmp_path / "filled") as running:
        for name, expected in (("many", many.predict_proba(texts).tolist()), ("filled", alone)):
            told = running.ask("/v1/predict", {"texts": texts, "model": name}).json["answers"]
            assert [list(answer["probabilities"].values()) for answer in told] == expected


def test_it_ends_when_it_is_told(models: dict[str, Path], tmp_path: Path) -> None:
    with serving(tmp_path / "log", models["both"]) as running:
        assert running.process is not None
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(10) in (0, -signal.SIGINT, 130)
    assert "Traceback" not in (tmp_path / "log").read_text()
