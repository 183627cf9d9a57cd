"""Several workers, one that dies, and models that change while they are served."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import time
from pathlib import Path

import pytest

from carryline import TextClassifier, load
from servers import TOKEN, Client, Running, in_a_loop, serving, wait_until

BEARER = {"authorization": f"Bearer {TOKEN}"}
PLAIN = json.dumps({"text": "good film"}).encode()


@pytest.fixture
def changing(models: dict[str, Path], tmp_path: Path) -> Path:
    """A model's folder that may be changed."""
    return shutil.copytree(models["both"], tmp_path / "m")


def exchange(folder: Path, other: Path) -> None:
    """The new version takes the folder's place, as `train --out` or a deployment does."""
    new = shutil.copytree(other, folder.with_name("new"))
    old = folder.with_name("old")
    folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old)


def children(pid: int) -> list[int]:
    """The workers of a server, without what Python itself starts beside them."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
            line = (status.parent / "cmdline").read_bytes()
        except OSError:
            continue
        if int(fields[1]) == pid and b"spawn_main" in line:
            found.append(int(status.parent.name))
    return found


def test_a_new_version_without_a_dropped_request(
    changing: Path, models: dict[str, Path], tmp_path: Path
) -> None:
    before, after = load(models["both"]), load(models["ahead"])
    expected = {tuple(model.predict_proba(["good film"])[0].tolist()) for model in (before, after)}
    options = ("--reload", "--quiet")
    with serving(tmp_path / "log", changing, *options, CARRYLINE_TOKEN=TOKEN) as running:
        seen: list[tuple[str, tuple[float, ...]]] = []

        async def asking(done: asyncio.Event) -> None:
            client = Client(running.port)
            while not done.is_set():
                status, _, content = await client.post("/v1/predict", PLAIN, token=TOKEN)
                assert status == 200
                told = json.loads(content)
                seen.append((told["version"], tuple(told["answers"][0]["probabilities"].values())))
            await client.close()

        async def both_at_once() -> list[int]:
            done = asyncio.Event()
            clients = [asyncio.create_task(asking(done)) for _ in range(8)]
            statuses = []
            for other in ("ahead", "both"):
                await asyncio.sleep(0.2)
                await asyncio.to_thread(exchange, changing, models[other])
                answer = await asyncio.to_thread(
                    running.ask, "/v1/models/m/reload", method="POST", headers=BEARER
                )
                statuses.append(answer.status)
            await asyncio.sleep(0.2)
            done.set()
            await asyncio.gather(*clients)
            return statuses

        assert in_a_loop(both_at_once()) == [200, 200]
        assert {chances for _, chances in seen} == expected
        versions = [version for version, _ in seen]
        assert len(set(versions)) == 2 and versions[0] == versions[-1]
        by_version = dict(seen)
        assert all(by_version[version] == chances for version, chances in seen)

        (changing / "config.json").write_text("{}")
        refused = running.ask("/v1/models/m/reload", method="POST", headers=BEARER)
        assert refused.status == 409 and "the model stays as it was" in refused.rule
        assert running.ask("/v1/predict", {"text": "a"}, headers=BEARER).status == 200
        assert running.ask("/v1/models/x/reload", method="POST", headers=BEARER).status == 404


def test_reload_is_off_unless_it_is_asked_for(server: Running) -> None:
    refused = server.ask("/v1/models/both/reload", method="POST")
    assert refused.status == 403 and "reload is off" in refused.rule


@pytest.fixture
def several(changing: Path, tmp_path: Path):  # type: ignore[no-untyped-def]
    """Two workers."""
    options = ("--workers", 2, "--reload", "--threads", 1)
    with serving(tmp_path / "log", changing, *options, CARRYLINE_TOKEN=TOKEN) as running:
        assert running.process is not None
        pid = running.process.pid
        wait_until(lambda: len(children(pid)) == 2, 30)
        yield running, pid


def test_a_killed_worker_costs_only_what_it_held(
    several: tuple[Running, int], models: dict[str, Path]
) -> None:
    running, pid = several
    expected = load(models["both"]).predict_proba(["good film"])[0].tolist()
    lost, answered = 0, 0

    async def asking(end: float) -> None:
        nonlocal lost, answered
        client = Client(running.port)
        while time.monotonic() < end:
            try:
                status, _, content = await client.post("/v1/predict", PLAIN, token=TOKEN)
            except (OSError, EOFError):
                lost += 1
                await client.close()
                await asyncio.sleep(0.05)
                continue
            assert status == 200
            told = json.loads(content)["answers"][0]["probabilities"]
            assert list(told.values()) == expected
            answered += 1
        await client.close()

    async def crowd() -> None:
        asked = [asyncio.create_task(asking(time.monotonic() + 4)) for _ in range(16)]
        await asyncio.sleep(1)
        os.kill(children(pid)[0], signal.SIGKILL)
        await asyncio.gather(*asked)

    in_a_loop(crowd())
    assert lost <= 16  # a connection each that it held
    assert answered > 20 * 16
    wait_until(lambda: len(children(pid)) == 2, 20)


def figure(running: Running, name: str) -> float:
    text = running.ask("/metrics", headers=BEARER).content.decode()
    return sum(float(li.split()[-1]) for li in text.splitlines() if li.startswith(name))


def test_figures_are_of_all_workers_together(several: tuple[Running, int]) -> None:
    running, _ = several
    for _ in range(40):
        assert running.ask("/v1/predict", {"text": "a"}, headers=BEARER).status == 200
    assert figure(running, "carryline_texts_total") == 40
    assert figure(running, "carryline_waiting_requests") == 0


def test_all_workers_read_a_new_version(
    several: tuple[Running, int], changing: Path, models: dict[str, Path]
) -> None:
    running, _ = several

    def versions() -> set[str]:
        asked = (running.ask("/v1/predict", {"text": "a"}, headers=BEARER).json for _ in range(30))
        return {told["version"] for told in asked}

    before = versions()
    exchange(changing, models["ahead"])
    told = running.ask("/v1/models/m/reload", method="POST", headers=BEARER).json
    assert {told["before"]} == before != {told["version"]}
    wait_until(lambda: versions() == {told["version"]}, 20)


def test_the_answers_of_workers_are_the_models(
    several: tuple[Running, int], both: TextClassifier
) -> None:
    running, _ = several
    for _ in range(10):
        told = running.ask("/v1/predict", {"text": "good film"}, headers=BEARER).json
        chances = list(told["answers"][0]["probabilities"].values())
        assert chances == both.predict_proba(["good film"])[0].tolist()
