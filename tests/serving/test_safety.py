"""The token, limits, headers, and askers who mean no good."""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from carryline.errors import ConfigError
from carryline.serving import protocol
from carryline.serving.models import Served
from carryline.serving.settings import Limits, Settings, named, same
from commands import fails
from servers import TOKEN, Running, serving, threaded, wait_until

BEARER = {"authorization": f"Bearer {TOKEN}"}


@pytest.fixture(scope="module")
def guarded(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    log = tmp_path_factory.mktemp("guarded") / "log"
    with serving(log, models["both"], "--reload", CARRYLINE_TOKEN=TOKEN) as running:
        yield running


@pytest.fixture(scope="module")
def small(models: dict[str, Path]) -> Iterator[Running]:
    """A server of little patience, in this process."""
    limits = Limits(body=2000, texts=4, tokens=20, timeout=1.0, head=4000)
    settings = Settings((("both", str(models["both"])),), limits, 1, quiet=True)
    with threaded(settings) as running:
        yield running


def test_who_shows_no_token_gets_nothing_of_the_models(guarded: Running) -> None:
    for path in ("/v1/predict", "/v1/explain", "/v1/stream", "/v1/models/both/reload"):
        for headers in ({}, {"authorization": "Bearer nonsense"}, {"authorization": TOKEN}):
            answer = guarded.ask(path, {"text": "a"}, headers=headers)
            assert answer.status == 401 and answer.headers["www-authenticate"] == "Bearer"
    for path in ("/v1/models", "/metrics", "/openapi.json", "/v1/models/both/report", "/none"):
        assert guarded.ask(path).status == 401
        assert guarded.ask(path, headers=BEARER).status == (404 if path == "/none" else 200)
    for path in ("/", "/healthz", "/readyz", "/docs"):
        assert guarded.ask(path).status == 200
    shown = guarded.ask("/docs").content
    assert b"MODEL" in shown and b"both" not in shown and b"bad" not in shown
    lower = {"authorization": f"bearer {TOKEN}"}
    assert guarded.ask("/v1/predict", {"text": "a"}, headers=lower).status == 200
    assert guarded.log is not None and TOKEN not in guarded.log.read_text()


def test_tokens_are_compared_as_bytes() -> None:
    assert same(TOKEN, TOKEN)
    assert not same(TOKEN[:-1], TOKEN) and not same("", TOKEN) and not same("ä\ud800", TOKEN)


def test_headers_of_every_answer(server: Running) -> None:
    for path in ("/", "/v1/models", "/docs", "/nope"):
        headers = server.ask(path, headers={"x-any": "y"}).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert "server" not in headers
        assert not [name for name in headers if name.startswith("access-control")]


def test_limits_name_rule_and_value(small: Running) -> None:
    large = small.ask("/v1/predict", {"text": "a" * 2000})
    assert large.status == 413 and "at most 2,000 bytes, it has 2,012" in large.rule
    many = small.ask("/v1/predict", {"texts": ["a"] * 5})
    assert many.status == 422 and "at most 4 entries, it has 5" in many.rule
    for path, body in (
        ("/v1/predict", {"texts": ["a", "b " * 21]}), ("/v1/explain", {"text": "b " * 21})
    ):  # fmt: skip
        long = small.ask(path, body)
        assert long.status == 422 and "a text has at most 20 tokens, text" in long.rule
    assert small.ask("/v1/predict", {"texts": ["a b c"] * 4}).status == 200


def test_a_body_without_a_length(small: Running) -> None:
    chunk = b"400\r\n" + b"a" * 0x400 + b"\r\n"
    head = b"POST /v1/predict HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    assert b" 413 " in said(small, head + 3 * chunk)


def said(
    running: Running, content: bytes, *, slowly: float = 0, then: bytes = b"", whole: bool = False
) -> bytes:
    """What the server says to raw bytes, the next one each so many seconds, until it ends the
    connection or, unless `whole`, has said an answer. then: what follows a little later."""
    found = b""
    with socket.create_connection(("127.0.0.1", running.port), timeout=10) as connection:
        try:
            for begin in range(0, len(content), step := 1 if slowly else max(1, len(content))):
                if select.select([connection], [], [], slowly)[0]:
                    break
                connection.sendall(content[begin : begin + step])
            if then:
                time.sleep(0.1)
                connection.sendall(then)
            while block := connection.recv(1 << 16):
                found += block
                closing = b"connection: close" in found.lower()
                if b"\r\n\r\n" in found and not closing and not whole:
                    break
        except ConnectionError:
            pass
    return found


def test_huge_heads(small: Running) -> None:
    line = b"GET / HTTP/1.1\r\nhost: x\r\n"
    assert b" 200 " in said(small, line + b"x-a: " + b"a" * 3000 + b"\r\n\r\n")
    assert b" 431 " in said(small, line + b"x-a: " + b"a" * 5000 + b"\r\n\r\n")
    assert b" 431 " in said(small, line + b"".join(b"x-%d: a\r\n" % n for n in range(900)))
    assert b" 431 " in said(small, b"GET /" + b"a" * 5000)
    assert b" 400 " in said(small, b"\x00\x01\x02\r\n\r\n")
    assert small.ask("/healthz").status == 200


def test_slow_heads_and_bodies(small: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "SECONDS", 0.3)
    began = time.monotonic()
    assert b" 408 " in said(small, b"GET / HTTP/1.1\r\nhost:")  # and then nothing
    assert b" 408 " in said(small, b"GET / HTTP/1.1\r\nhost: " + b"a" * 40, slowly=0.05)
    assert b" 408 " in said(small, b"")  # not a byte
    assert b" 408 " in said(small, b"POST /v1/predict HTTP/1.1\r\ncontent-length: 9\r\n\r\n{")
    assert time.monotonic() - began < 8
    assert small.ask("/healthz").status == 200


def test_idle_connections_cost_nobody_else(small: Running) -> None:
    idle = [socket.create_connection(("127.0.0.1", small.port)) for _ in range(200)]
    try:
        assert small.ask("/v1/predict", {"text": "a"}).status == 200
    finally:
        for connection in idle:
            connection.close()
    wait_until(lambda: small.ask("/readyz").status == 200, 5)


def test_requests_in_one_go(small: Running) -> None:
    one = b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"
    last = b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"
    assert said(small, 3 * one + last, whole=True).count(b"HTTP/1.1 200 ") == 4
    assert b" 400 " in said(small, 100 * one, whole=True)  # too many that wait


def test_what_comes_after_a_body_is_bounded(small: Running) -> None:
    chunked = b"POST /healthz HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n"
    trailers = b"0\r\n" + b"a: b\r\n" * 3
    assert b" 400 " in said(small, chunked + trailers, whole=True)
    endless = b"0\r\na: " + b"b" * 5000
    assert b" 400 " in said(small, chunked, then=endless, whole=True)
    assert b" 400 " in said(small, chunked, then=b"5;x=" + b"y" * 5000, whole=True)


def test_a_body_that_nobody_reads_does_not_hold_a_connection(
    small: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "SECONDS", 0.3)
    began = time.monotonic()
    head = b"GET /healthz HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n"
    found = said(small, head + b"{", whole=True)
    assert b" 200 " in found and b" 408 " in found
    assert time.monotonic() - began < 5


def test_bytes_after_a_request_do_not_cut_off_its_answer(
    small: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocol, "SECONDS", 0.05)
    monkeypatch.setattr(Served, "check", lambda *_: time.sleep(0.4))
    body = b'{"text": "a"}'
    head = b"POST /v1/explain HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(body)
    assert b"HTTP/1.1 200 " in said(small, head + body + b"\r\n")


def test_little_is_read_at_once(models: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Though more is there; into what would fit it all, memory breaks up."""
    sizes: list[int] = []
    received = protocol.Protocol.data_received

    def slow(self: protocol.Protocol, data: bytes) -> None:
        sizes.append(len(data))
        time.sleep(0.01)  # meanwhile more comes
        received(self, data)

    monkeypatch.setattr(protocol.Protocol, "data_received", slow)
    with threaded(Settings((("both", str(models["both"])),), Limits(), 1, quiet=True)) as running:
        assert running.ask("/v1/predict", {"text": "word " * 100_000}).status == 422  # all is read
    assert sum(sizes) > 500_000 and max(sizes) == protocol.AT_ONCE


def test_pages_of_other_origins_may_not_ask(server: Running, guarded: Running) -> None:
    own = f"127.0.0.1:{server.port}"
    for origin, status in ((f"http://{own}", 200), ("http://elsewhere", 403), ("null", 403)):
        answer = server.ask("/v1/predict", {"text": "a"}, headers={"origin": origin})
        assert answer.status == status
    for host, status in (("localhost", 200), ("[::1]:80", 200), ("elsewhere:8000", 403)):
        assert server.ask("/v1/models", headers={"host": host}).status == status
    told = server.ask("/v1/models", headers={"host": "elsewhere:8000"}).rule
    assert "not as 'elsewhere'" in told
    named = {**BEARER, "host": "text.example.org"}  # as behind a proxy
    assert guarded.ask("/v1/models", headers=named).status == 200


def test_what_is_asked_of_the_command_line(models: dict[str, Path], tmp_path: Path) -> None:
    model = models["both"]
    assert "is open to others" in fails(2, "serve", model, "--host", "0.0.0.0")
    assert "is open to others" in fails(2, "serve", model, "--host", "example.org")
    assert "--reload needs a token" in fails(2, "serve", model, "--reload")
    short = {"env": {"CARRYLINE_TOKEN": "short"}}
    assert "at least 16 printable ASCII characters, it has 5" in fails(2, "serve", model, **short)
    told = fails(2, "serve", model, "--token-file", tmp_path / "none")
    assert "must hold the token" in told
    assert "no model at" in fails(2, "serve", tmp_path / "none", "--port", 0)
    told = fails(2, "serve", model, model)
    assert "models need different names" in told
    with socket.create_server(("127.0.0.1", 0)) as taken:
        told = fails(2, "serve", model, "--port", taken.getsockname()[1])
    assert "--host and --port must be free here" in told


def test_names_of_models(tmp_path: Path) -> None:
    (tmp_path / "a=b").mkdir()
    assert named([str(tmp_path / "m")]) == (("m", str(tmp_path / "m")),)
    assert named(["n=folder/of/m"]) == (("n", "folder/of/m"),)
    assert named([f"x={tmp_path}/a=b"]) == (("x", f"{tmp_path}/a=b"),)
    for wrong in ("-=m", "a b=m", f"{'x' * 65}=m", "=m"):
        with pytest.raises(ConfigError, match="a model's name has"):
            named([wrong])
    with pytest.raises(ConfigError, match="both 'm'"):
        named(["x/m", "m=y"])


def test_settings_go_to_workers_as_they_are() -> None:
    settings = Settings((("a", "b"),), Limits(body=5), 2, True, False, True, "file", "shared")
    assert Settings.from_json(settings.to_json()) == settings
