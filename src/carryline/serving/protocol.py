"""HTTP/1.1 of uvicorn, with limits on how large the head of a request is and how long it takes."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

LARGEST = 1 << 14  # bytes, where the configuration says nothing
SECONDS = 10.0  # for the head of a request, from its first byte


class Protocol(HttpToolsProtocol):
    """A head that is too large is answered with 431, one that takes too long with 408; both close
    the connection. Of uvicorn's own neither is limited.

    The most bytes of a head are the configuration's for its other protocol.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._timer: asyncio.TimerHandle | None = None
        self._head, self._in_head = 0, True
        self._most = self.config.h11_max_incomplete_event_size or LARGEST

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._timer = self.loop.call_later(SECONDS, self._refuse, 408)

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._in_head and self._timer is None:
            self._timer = self.loop.call_later(SECONDS, self._refuse, 408)
        self._head += len(data) if self._in_head else 0
        super().data_received(data)
        if self._in_head and self._head > self._most:
            self._refuse(431)

    def on_message_begin(self) -> None:
        self._in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        size = len(self.url) + sum(len(name) + len(value) for name, value in self.headers)
        self._disarm()
        if size > self._most:
            raise ValueError("head too large")  # the parser gives up, see `send_400_response`
        self._head, self._in_head = 0, False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._in_head = True  # the next one may begin

    def send_400_response(self, msg: str) -> None:
        """Of a head that is no HTTP, or too large."""
        large = self._in_head and self._size() > self._most
        self._refuse(431 if large else 400)

    def _size(self) -> int:
        headers = self.headers or ()
        return max(self._head, sum(len(name) + len(value) for name, value in headers))

    def _refuse(self, status: int) -> None:
        self._disarm()
        if not self.transport.is_closing():
            self.transport.write(
                STATUS_LINE[status] + b"content-length: 0\r\nconnection: close\r\n\r\n"
            )
            self.transport.close()

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
