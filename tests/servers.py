"""Servers in tests, and those who ask them."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import uvicorn

from carryline.serving import run
from carryline.serving.app import application
from carryline.serving.settings import Settings
from commands import command

Value = TypeVar("Value")
TOKEN = "a token of some length"


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    content: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.content)

    @property
    def rule(self) -> str:
        found: str = self.json["error"]["rule"]
        return found


@dataclass
class Running:
    """A server; process: None for one in a thread of the tests."""

    port: int
    process: subprocess.Popen[str] | None = None
    log: Path | None = None

    def ask(
        self, path: str, body: Any = None, *, method: str | None = None,
        headers: Mapping[str, str] = {}, raw: bytes | None = None,
    ) -> Answer:  # fmt: skip
        content = raw if body is None else json.dumps(body).encode()
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            way = method or ("GET" if content is None else "POST")
            connection.request(way, path, content, dict(headers))
            answer = connection.getresponse()
            named = {name.lower(): value for name, value in answer.getheaders()}
            return Answer(answer.status, named, answer.read())
        finally:
            connection.close()

    def lines(self) -> list[dict[str, Any]]:
        """The log, but for what the command says at first."""
        assert self.log is not None
        lines = self.log.read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]


@contextmanager
def serving(log: Path, *arguments: Any, **variables: str) -> Iterator[Running]:
    """`carryline serve` on a free port, until the end of the block."""
    with log.open("w") as to:
        process = subprocess.Popen(
            command("serve", "--port", 0, *arguments),
            stderr=to,
            env={**os.environ, **variables},
            text=True,
        )
    try:
        running = Running(_port(process, log), process, log)
        wait_until(lambda: _answers(running), 30)
        yield running
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise


def _port(process: subprocess.Popen[str], log: Path) -> int:
    def said() -> list[str]:
        assert process.poll() is None, log.read_text()
        return [line for line in log.read_text().splitlines() if line.startswith("serving ")]

    wait_until(lambda: bool(said()), 60)
    port = urlsplit(said()[0].split()[-3]).port
    assert port is not None
    return port


def _answers(running: Running) -> bool:
    try:
        return running.ask("/readyz").status == 200
    except OSError:
        return False


def in_a_loop(work: Coroutine[Any, Any, Value]) -> Value:
    """What the coroutine gives, in an event loop of its own in a thread of its own: this one may
    have a browser's loop."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, work).result()


def wait_until(true: Any, seconds: float) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.02)


@contextmanager
def threaded(settings: Settings) -> Iterator[Running]:
    """A server in a thread of this process, whose parts tests may change."""
    listener = run.bound("127.0.0.1", 0)
    server = uvicorn.Server(run.configured(application(settings), settings, 1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        running = Running(listener.getsockname()[1])
        wait_until(lambda: _answers(running), 30)
        yield running
    finally:
        server.should_exit = True
        thread.join(60)
        listener.close()
        assert not thread.is_alive()


class Client:
    """One connection that is kept, in an event loop: HTTP/1.1 as plainly as it goes."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def post(
        self, path: str, content: bytes, token: str | None = None
    ) -> tuple[int, dict[str, str], bytes]:
        if self._writer is None or self._reader is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-length: {len(content)}\r\n"
        shown = "" if token is None else f"authorization: Bearer {token}\r\n"
        self._writer.write((head + shown + "\r\n").encode() + content)
        found = await self._reader.readuntil(b"\r\n\r\n")
        first, *lines = found.decode().split("\r\n")
        headers = {
            name.lower(): value.strip() for name, _, value in (li.partition(":") for li in lines)
        }
        body = await self._reader.readexactly(int(headers["content-length"]))
        if headers.get("connection") == "close":
            await self.close()
        return int(first.split()[1]), headers, body

    async def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._reader = self._writer = None
