"""Batches, refusals, time-outs, and requests whose asker has gone."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from carryline.serving.meters import Meters
from carryline.serving.models import Served
from carryline.serving.queue import TEXTS, Queue
from carryline.serving.refusal import RequestError
from carryline.serving.settings import Limits, Settings
from servers import Client, Running, in_a_loop, threaded, wait_until


class Slow:
    """Stands in for a model: the number of a text is its length; it works while it may."""

    name = "slow"

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.may = threading.Event()
        self.may.set()

    def chances(self, texts: Sequence[str], threads: int | None, most: int) -> tuple[Any, Any]:
        self.check(texts, most)
        self.batches.append(list(texts))
        assert self.may.wait(20)
        if "bad" in texts:
            raise MemoryError
        lengths = np.array([len(text) for text in texts])
        return np.stack([lengths, 2 * lengths], axis=1), lengths

    def check(self, texts: Sequence[str], most: int) -> None:
        if any(len(text) > most for text in texts):
            raise RequestError(422, "too long")


def inside(limits: Limits, test: Any) -> None:
    """Runs a test of a queue in an event loop."""

    async def running() -> None:
        queue = Queue(limits, 1, Meters())
        try:
            await test(queue)
        finally:
            await asyncio.to_thread(queue.close)

    in_a_loop(running())


def test_an_idle_queue_takes_one_a_busy_one_all_that_waits() -> None:
    model, other = Slow(), Slow()

    async def test(queue: Queue) -> None:
        model.may.clear()
        first = queue.chances(model, ["a"])  # type: ignore[arg-type]
        await asyncio.sleep(0.05)
        waiting = [queue.chances(model, ["b" * n, "c"]) for n in range(1, 6)]  # type: ignore[arg-type]
        alone = queue.chances(other, ["z"])  # type: ignore[arg-type]
        waiting += [queue.chances(model, ["d"])]  # type: ignore[arg-type]
        model.may.set()
        chances, tokens = await first
        assert chances.tolist() == [[1, 2]] and tokens.tolist() == [1]
        for n, answer in enumerate(waiting[:5], 1):
            assert (await answer)[0].tolist() == [[n, 2 * n], [1, 2]]
        await alone
        assert len(model.batches) == 2 and len(model.batches[1]) == 11
        assert other.batches == [["z"]]
        assert queue.wait() == 0

    inside(Limits(wait=60), test)


def test_batches_are_bounded() -> None:
    model = Slow()

    async def test(queue: Queue) -> None:
        model.may.clear()
        first = queue.chances(model, ["a"])  # type: ignore[arg-type]
        await asyncio.sleep(0.05)
        many = [queue.chances(model, ["b"]) for _ in range(2 * TEXTS)]  # type: ignore[arg-type]
        model.may.set()
        await asyncio.gather(first, *many)
        assert [len(batch) for batch in model.batches] == [1, TEXTS, TEXTS]

    inside(Limits(wait=60), test)


def test_one_that_fails_costs_no_other() -> None:
    model = Slow()

    async def test(queue: Queue) -> None:
        model.may.clear()
        first = queue.chances(model, ["a"])  # type: ignore[arg-type]
        await asyncio.sleep(0.05)
        each = [["good"], ["bad"], ["x" * 11], ["fine"]]
        answers = [queue.chances(model, texts) for texts in each]  # type: ignore[arg-type]
        model.may.set()
        await first
        found = await asyncio.gather(*answers, return_exceptions=True)
        assert isinstance(found[1], MemoryError)
        assert isinstance(found[2], RequestError) and found[2].status == 422
        assert found[0][0].tolist() == [[4, 8]] and found[3][0].tolist() == [[4, 8]]  # type: ignore[index]

    inside(Limits(wait=60, tokens=10), test)


def test_who_has_gone_leaves_the_queue() -> None:
    model = Slow()

    async def test(queue: Queue) -> None:
        model.may.clear()
        first = queue.chances(model, ["a"])  # type: ignore[arg-type]
        await asyncio.sleep(0.05)
        gone, stays = (queue.chances(model, [text]) for text in ("gone", "stays"))  # type: ignore[arg-type]
        gone.cancel()
        model.may.set()
        await asyncio.gather(first, stays)
        await asyncio.sleep(0.05)
        assert model.batches == [["a"], ["stays"]]
        assert queue.wait() == 0

    inside(Limits(wait=60), test)


def test_work_that_lasts_counts_as_waiting() -> None:
    model = Slow()

    async def test(queue: Queue) -> None:
        model.may.clear()
        first = queue.chances(model, ["a"])  # type: ignore[arg-type]
        await asyncio.sleep(0.4)
        with pytest.raises(RequestError, match="this one would 0"):
            queue.chances(model, ["b"])  # type: ignore[arg-type]
        model.may.set()
        await first
        assert queue.wait() < 0.3

    inside(Limits(wait=0.3), test)


def test_each_kind_of_work_and_each_model_has_its_pace() -> None:
    model, other = Slow(), Slow()
    other.name = "other"

    async def test(queue: Queue) -> None:
        def work() -> None:
            time.sleep(0.2)

        await queue.alone("explain", model, "text", 0, work)  # type: ignore[arg-type]
        waiting = [queue.alone("explain", model, "text", 0, work) for _ in range(2)]  # type: ignore[arg-type]
        assert 0.3 < queue.wait() < 2
        await asyncio.gather(*waiting)
        waiting = [queue.chances(other, ["text"])]  # type: ignore[arg-type]
        assert queue.wait() < 0.1
        await asyncio.gather(*waiting)

    inside(Limits(wait=60), test)


def test_a_request_of_no_text_is_one() -> None:
    model = Slow()

    async def test(queue: Queue) -> None:
        failed: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, told: failed.append(told))
        chances, _ = await queue.chances(model, [])  # type: ignore[arg-type]
        assert chances.shape == (0, 2)
        await asyncio.sleep(0.05)
        assert not failed and queue.wait() == 0

    inside(Limits(), test)


def test_too_much_is_refused_at_once_with_a_time() -> None:
    model = Slow()

    async def test(queue: Queue) -> None:
        await queue.chances(model, ["a"])  # type: ignore[arg-type]
        model.may.clear()
        waiting = []
        with pytest.raises(RequestError) as refused:  # noqa: PT012
            for _ in range(100_000):
                waiting.append(queue.chances(model, ["b" * 1000]))  # type: ignore[arg-type]
        assert refused.value.status == 503
        assert refused.value.retry is not None and refused.value.retry >= 1
        assert "a request waits at most 0.01 s, this one would" in refused.value.rule
        model.may.set()
        await asyncio.gather(*waiting)  # nobody who was let in waits without an answer
        await queue.chances(model, ["again"])  # type: ignore[arg-type]

    inside(Limits(wait=0.01), test)


@pytest.fixture
def held(
    models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Running, threading.Event, list[list[str]]]]:
    """A server whose model answers while it may, and the batches it was given."""
    may, batches, chances = threading.Event(), [], Served.chances
    may.set()

    def slowly(self: Served, texts: Sequence[str], *given: Any) -> Any:
        batches.append(list(texts))
        assert may.wait(20)
        return chances(self, texts, *given)

    limits = Limits(timeout=1.0, wait=1e-6)
    settings = Settings((("both", str(models["both"])),), limits, 1, quiet=True)
    with threaded(settings) as running:
        monkeypatch.setattr(Served, "chances", slowly)
        yield running, may, batches
        may.set()


Held = tuple[Running, threading.Event, list[list[str]]]


def test_time_is_up(held: Held) -> None:
    running, may, _ = held
    may.clear()
    answer = running.ask("/v1/predict", {"text": "a"})
    assert answer.status == 504 and "within 1 s" in answer.rule
    assert "retry-after" not in answer.headers  # it may take as long again
    may.set()
    wait_until(lambda: running.ask("/readyz").status == 200, 5)
    assert running.ask("/v1/predict", {"text": "a"}).status == 200


def test_a_full_queue_refuses_at_once(held: Held) -> None:
    running, may, _ = held
    may.clear()
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(running.ask, "/v1/predict", {"text": "a"})
        wait_until(lambda: running.ask("/readyz").status == 503, 5)
        began = time.monotonic()
        second = running.ask("/v1/predict", {"text": "b"})
        assert time.monotonic() - began < 0.5
        assert second.status == 503 and second.headers["retry-after"] == "1"
        may.set()
        assert first.result().status == 200
    refused = 'carryline_refused_total{reason="queue"} 1.0'
    assert refused in running.ask("/metrics").content.decode()


def test_a_closed_connection_gives_up_its_work(
    models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[list[str]] = []
    may, chances = threading.Event(), Served.chances

    def slowly(self: Served, texts: Sequence[str], *given: Any) -> Any:
        batches.append(list(texts))
        assert may.wait(20)
        return chances(self, texts, *given)

    settings = Settings((("both", str(models["both"])),), Limits(wait=60), 1, quiet=True)
    with threaded(settings) as running:
        monkeypatch.setattr(Served, "chances", slowly)
        content = json.dumps({"text": "gone"}).encode()
        head = f"POST /v1/predict HTTP/1.1\r\nhost: x\r\ncontent-length: {len(content)}\r\n\r\n"
        with ThreadPoolExecutor(2) as pool:
            first = pool.submit(running.ask, "/v1/predict", {"text": "first"})
            wait_until(lambda: batches == [["first"]], 5)
            with socket.create_connection(("127.0.0.1", running.port)) as connection:
                connection.sendall(head.encode() + content)
                time.sleep(0.2)
            time.sleep(0.2)
            second = pool.submit(running.ask, "/v1/predict", {"text": "second"})
            time.sleep(0.2)
            may.set()
            assert (first.result().status, second.result().status) == (200, 200)
    assert batches == [["first"], ["second"]]


def test_shutting_down_finishes_what_is_in_flight(
    models: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, chances = threading.Event(), Served.chances

    def slowly(self: Served, texts: Sequence[str], *given: Any) -> Any:
        entered.set()
        time.sleep(0.5)
        return chances(self, texts, *given)

    settings = Settings((("both", str(models["both"])),), Limits(wait=60), 1, quiet=True)
    with ThreadPoolExecutor(1) as pool:
        with threaded(settings) as running:
            monkeypatch.setattr(Served, "chances", slowly)
            answer = pool.submit(running.ask, "/v1/predict", {"text": "last"})
            assert entered.wait(5)
        assert answer.result().status == 200


def test_one_connection_asks_again_and_again(server: Running) -> None:
    async def asking() -> None:
        client = Client(server.port)
        for _ in range(3):
            status, _, content = await client.post("/v1/predict", b'{"text": "a"}')
            assert status == 200 and json.loads(content)["answers"]
        await client.close()

    in_a_loop(asking())
