"""Around every request: its id, the token, security headers, figures, a line in the log.

Plain ASGI, as the two functions around each request of Starlette's own base cost it more time than
the rest of a short one.
"""

from __future__ import annotations

import json
import logging
import re
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from typing import Any

from starlette.exceptions import HTTPException

from carryline.serving.meters import Meters
from carryline.serving.refusal import GoneError, RequestError
from carryline.serving.settings import same

logger = logging.getLogger("carryline.serving")
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

# Open without a token: what holds nothing of the models, and what a balancer asks.
OPEN = {"/", "/docs", "/healthz", "/readyz"}
_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_LEFT = 499  # what nginx calls it when the asker leaves
CLOSED = "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"  # of every policy
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    f"connect-src 'self'; {CLOSED}"
)
HEADERS = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)


class Guard:
    """token: None for a server without; quiet: no line for each request; hosts: by which names the
    server may be asked, None for any."""

    def __init__(
        self,
        app: App,
        meters: Meters,
        token: str | None,
        quiet: bool,
        hosts: Sequence[str] | None,
    ) -> None:
        self._app, self._meters, self._token, self._quiet = app, meters, token, quiet
        self._hosts = hosts

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, headers = time.perf_counter(), dict(scope["headers"])
        own = _id(headers)
        status = 0

        async def sending(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _add_headers(message, own)
            await send(message)

        try:
            self._check_origin(headers)
            self._check_token(scope["path"], headers)
            await self._app(scope, receive, sending)
        except GoneError:
            status = _LEFT
        except Exception as error:
            if not isinstance(error, (RequestError, HTTPException)):
                logger.exception("request %s failed", own)
            if status:  # an answer has begun: it ends here, which its asker sees
                raise
            await _refuse(sending, error, own)
        finally:
            self._tell(scope, status, time.perf_counter() - began, own)

    def _check_origin(self, headers: Mapping[bytes, bytes]) -> None:
        """Pages of other origins may not ask, even where they could not read the answer; nor those
        whose name was made to mean this machine (DNS rebinding)."""
        host = headers.get(b"host", b"").decode("latin-1")
        origin = headers.get(b"origin")
        if origin is not None and origin.decode("latin-1").partition("://")[2] != host:
            raise RequestError(403, "pages of other origins may not ask this server")
        if self._hosts is not None and host and _name(host) not in self._hosts:
            raise RequestError(
                403,
                f"this server is asked as {' or '.join(self._hosts)}, not as {_name(host)[:60]!r}: "
                "give it a token, or --insecure",
            )

    def _check_token(self, path: str, headers: Mapping[bytes, bytes]) -> None:
        if self._token is None or path in OPEN or path.startswith("/page/"):
            return
        given = headers.get(b"authorization", b"").decode("latin-1")
        kind, _, token = given.partition(" ")
        if kind.lower() != "bearer" or not same(token.strip(), self._token):
            raise RequestError(401, "this server wants the header Authorization: Bearer TOKEN")

    def _tell(self, scope: Message, status: int, seconds: float, own: str) -> None:
        route = scope.get("route")
        path = "other" if route is None else route.path
        self._meters.requests.labels(path, status).inc()
        self._meters.seconds.labels(path).observe(seconds)
        if self._quiet or not logger.isEnabledFor(logging.INFO):
            return
        logger.info(
            "request",
            extra={
                "told": {
                    "id": own, "method": scope["method"], "path": scope["path"], "status": status,
                    "ms": round(1000 * seconds, 2), **scope.get("told", {}),
                }
            },
        )  # fmt: skip


def _id(headers: Mapping[bytes, bytes]) -> str:
    """The asker's own, if it is one, or a new one."""
    given = headers.get(b"x-request-id", b"")
    return given.decode() if _ID.fullmatch(given) else secrets.token_hex(8)


def _name(host: str) -> str:
    """Without the port."""
    return re.sub(r":\d+$", "", host).strip("[]").lower()


def _add_headers(message: Message, own: str) -> None:
    headers = message["headers"]
    there = {name for name, _ in headers}
    headers.extend(pair for pair in HEADERS if pair[0] not in there)
    headers.append((b"x-request-id", own.encode()))


async def _refuse(send: Send, error: Exception, own: str) -> None:
    status, rule, retry = 500, "something went wrong here; the log has it by this id", None
    more: dict[str, str] = {}
    if isinstance(error, RequestError):
        status, rule, retry = error.status, error.rule, error.retry
    elif isinstance(error, HTTPException):
        status, rule, more = error.status_code, error.detail, dict(error.headers or {})
    told = {"error": {"status": status, "rule": rule, "id": own}}
    content = json.dumps(told).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(content)).encode()),
        *((name.lower().encode(), value.encode()) for name, value in more.items()),
    ]
    if retry is not None:
        headers.append((b"retry-after", str(retry).encode()))
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    if status in (408, 413):  # the rest of the body is not read
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})
