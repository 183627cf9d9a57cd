"""HTTP/1.1 of uvicorn, with limits on what a request may be beside its body, and how long that may
take; of uvicorn's own neither is limited."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from carryline.serving.settings import Limits

SECONDS = 10.0  # for the head of a request, from its first byte; and for a body that nobody reads
A_HEADER = 32  # bytes that one costs beside its own
PIPELINED = 16  # requests of one connection that wait for the one before
# Bytes that are read at once. Into asyncio's own 256 KB, cut to what came, glibc's heap breaks up:
# 1.9 MB more a minute by 600 requests a second; so none, and 4 to 20 % more requests.
AT_ONCE = 1 << 16
RULES = {
    400: "a request is HTTP/1.1, without trailers after its body; this one is not",
    408: f"a request's line and headers are there within {SECONDS:g} s, these were not",
    431: "a request's line and headers have at most {most:,} bytes, these have more",
}
logger = logging.getLogger("carryline.serving")


class Protocol(HttpToolsProtocol):
    """What it refuses closes the connection. The most bytes of a head are those that the
    configuration has for uvicorn's other protocol."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._timer: asyncio.TimerHandle | None = None
        self._most = self.config.h11_max_incomplete_event_size or Limits().head
        self._in_head = True
        self._beside = 0  # bytes since the head began, or since the last ones of the body

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        transport.max_size = AT_ONCE  # type: ignore[attr-defined]
        super().connection_made(transport)
        self._arm()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_head and self._timer is None:
            self._arm()
        self._beside += len(data)
        super().data_received(data)
        if self._beside > self._most:
            self._refuse(431 if self._in_head else 400)

    def on_message_begin(self) -> None:
        self._in_head = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self._in_head:
            raise ValueError("a trailer")  # the parser gives up, see `send_400_response`
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._disarm()
        if self._size() > self._most or len(self.pipeline) >= PIPELINED:
            raise ValueError("too much")
        self._beside, self._in_head = 0, False
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._beside = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._disarm()
        self._beside, self._in_head = 0, True  # the next one may begin

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self._in_head:  # the rest of a body that was not read
            self._arm()

    def send_400_response(self, msg: str) -> None:
        """Of what is no HTTP, or too large."""
        self._refuse(431 if self._in_head and self._size() > self._most else 400)

    def _unsupported_upgrade_warning(self) -> None:
        """The request is answered as if it had not asked for another protocol."""

    def _size(self) -> int:
        """Bytes of the head so far."""
        headers = self.headers or ()
        return sum(len(name) + len(value) + A_HEADER for name, value in headers) + len(
            getattr(self, "url", b"")
        )

    def _arm(self) -> None:
        self._disarm()
        self._timer = self.loop.call_later(SECONDS, self._late)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        if self.cycle is not None and not self.cycle.response_complete:
            self._arm()  # bytes after a request whose answer is not there yet
        else:
            self._refuse(408)

    def _refuse(self, status: int) -> None:
        self._disarm()
        if self.transport.is_closing():
            return
        rule = RULES[status].format(most=self._most)
        logger.info("refused", extra={"told": {"status": status}})
        content = json.dumps({"error": {"status": status, "rule": rule, "id": None}}).encode()
        head = f"content-type: application/json\r\ncontent-length: {len(content)}\r\n"
        head += "connection: close\r\n\r\n"
        self.transport.write(STATUS_LINE[status] + head.encode() + content)
        self.transport.close()
