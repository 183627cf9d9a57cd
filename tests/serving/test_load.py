"""Under load nobody gets another's answer, and every one has the bits that it has alone."""

from __future__ import annotations

import asyncio
import json
import random
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from carryline import TextClassifier
from conftest import Corpus
from servers import Client, Running, in_a_loop, serving

TEXTS, CLIENTS = 100_000, 32


def different(corpus: Corpus, count: int) -> list[str]:
    """Texts of 0 to 60 words, each with its number in it."""
    draw = random.Random(0)
    words = sorted({word for text in corpus[0] for word in text.split()})
    return [
        " ".join([str(n), *draw.choices(words, k=draw.choice((0, 2, 5, 12, 60)))])
        for n in range(count)
    ]


@pytest.fixture
def patient(models: dict[str, Path], tmp_path: Path) -> Iterator[Running]:
    """A server that refuses nothing, however busy the machine is."""
    options = ("--quiet", "--max-wait", 60, "--timeout", 120)
    with serving(tmp_path / "log", *models.values(), *options) as running:
        yield running


@pytest.mark.slow
def test_every_one_of_100_000_answers_is_that_of_its_text_alone(
    patient: Running, corpus: Corpus, both: TextClassifier, ahead: TextClassifier
) -> None:
    texts = different(corpus, 2000)
    alone = {
        name: [model.predict_proba([text])[0].tolist() for text in texts]
        for name, model in (("both", both), ("ahead", ahead))
    }
    checked = 0

    async def client(number: int) -> int:
        draw, found = random.Random(number), 0
        connection = Client(patient.port)
        while found < TEXTS // CLIENTS:
            chosen = draw.sample(range(len(texts)), draw.choice((1, 1, 2, 8, 60)))
            name = draw.choice(("both", "ahead"))
            asked = {"texts": [texts[n] for n in chosen], "model": name}
            status, _, content = await connection.post("/v1/predict", json.dumps(asked).encode())
            assert status == 200, content
            told = json.loads(content)
            assert told["model"] == name and len(told["answers"]) == len(chosen)
            for n, answer in zip(chosen, told["answers"], strict=True):
                assert list(answer["probabilities"].values()) == alone[name][n]
            found += len(chosen)
        await connection.close()
        return found

    async def all_of_them() -> int:
        return sum(await asyncio.gather(*map(client, range(CLIENTS))))

    checked = in_a_loop(all_of_them())
    assert checked >= TEXTS


def test_twice_as_much_as_it_can_carry(models: dict[str, Path], tmp_path: Path) -> None:
    """Long texts from many clients: each is answered rightly or refused at once with a time to
    wait, and those that are let in do not wait for much longer than was promised."""
    wait = 0.2
    body = json.dumps({"texts": ["good film " * 2000] * 4}).encode()
    with serving(tmp_path / "log", models["both"], "--quiet", "--max-wait", wait) as running:

        async def client(found: list[tuple[int, float, Any]], end: float) -> None:
            connection = Client(running.port)
            while time.monotonic() < end:
                began = time.monotonic()
                status, headers, content = await connection.post("/v1/predict", body)
                seconds = time.monotonic() - began
                found.append((status, seconds, (headers, json.loads(content))))
                if status == 503:
                    await asyncio.sleep(0.3)
            await connection.close()

        async def crowd() -> list[tuple[int, float, Any]]:
            found: list[tuple[int, float, Any]] = []
            end = time.monotonic() + 4
            await asyncio.gather(*(client(found, end) for _ in range(48)))
            return found

        found = in_a_loop(crowd())
        right = running.ask("/v1/predict", raw=body, method="POST").json["answers"]
    answered = [told for status, _, (_, told) in found if status == 200]
    refused = [(seconds, headers) for status, seconds, (headers, _) in found if status == 503]
    assert len(answered) + len(refused) == len(found)
    assert len(answered) > 10 and len(refused) > 10
    assert all(told["answers"] == right for told in answered)
    assert all(int(headers["retry-after"]) >= 1 for _, headers in refused)
    fast, slow = (
        statistics.median(taken for status, taken, _ in found if status == kind)
        for kind in (503, 200)
    )
    assert fast < slow / 2
    assert max(seconds for status, seconds, _ in found if status == 200) < 10 * wait + 2
