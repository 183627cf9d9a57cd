"""The application: routes, and what its requests have in common."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from carryline.serving import answers, docs, openapi
from carryline.serving.guard import Guard
from carryline.serving.meters import Meters
from carryline.serving.models import Models, Served
from carryline.serving.notices import Notices
from carryline.serving.queue import Queue
from carryline.serving.settings import Limits, Settings

PAGE = Path(__file__).parent / "page"
SETTINGS = "CARRYLINE_SERVING"  # the variable by which a worker gets its settings
_SMALLEST_PACKED = 1000  # bytes of an answer
SWITCH = 5e-4  # seconds after which a thread of Python gives way to another


@dataclass(eq=False)
class State:
    """What the requests have in common; queue: while the server runs."""

    settings: Settings
    guarded: bool  # by a token
    models: Models
    meters: Meters
    notices: Notices
    queue: Queue

    def count(self, served: Served, texts: int, tokens: int) -> None:
        """What a model has classified."""
        self.meters.texts.labels(served.name).inc(texts)
        self.meters.tokens.labels(served.name).inc(tokens)

    @property
    def limits(self) -> Limits:
        return self.settings.limits

    @property
    def reload(self) -> bool:
        """Whether models may be read again: by those who show a token alone."""
        return self.settings.reload and self.guarded


def application(settings: Settings) -> Starlette:
    """Raises `ModelError`, `ConfigError`."""
    token, notices = settings.token(), Notices(settings.shared)
    models, meters = Models(settings.models, settings.threads), Meters()

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        sys.setswitchinterval(SWITCH)
        queue = Queue(settings.limits, settings.threads, meters)
        guarded = token is not None
        app.state.carryline = State(settings, guarded, models, meters, notices, queue)
        listening = asyncio.create_task(notices.listen(models))
        yield
        listening.cancel()
        with suppress(asyncio.CancelledError):
            await listening
        await asyncio.to_thread(queue.close)

    guard = Middleware(
        Guard, meters=meters, token=token, quiet=settings.quiet, hosts=settings.hosts
    )
    packed = Middleware(GZipMiddleware, minimum_size=_SMALLEST_PACKED)
    return Starlette(
        routes=ROUTES, middleware=[guard, packed], lifespan=lifespan,
        exception_handlers={HTTPException: raised},
    )  # fmt: skip


async def raised(request: Request, error: Exception) -> Response:
    """What Starlette raises is said by the guard, as all else."""
    raise error


def from_environment() -> Starlette:
    """The application of a worker."""
    return application(Settings.from_json(os.environ[SETTINGS]))


async def healthz(request: Request) -> Response:
    """GET /healthz: the process answers."""
    return JSONResponse({"status": "ok"})


async def readyz(request: Request) -> Response:
    """GET /readyz: it has room for a request."""
    shared = answers.state(request)
    wait = shared.queue.wait()
    ready = wait <= shared.limits.wait
    told = {"status": "ready" if ready else "busy", "wait": round(wait, 3)}
    return JSONResponse(told, status_code=200 if ready else 503)


async def metrics(request: Request) -> Response:
    """GET /metrics"""
    shown = answers.state(request).meters.shown()
    return Response(shown, media_type="text/plain; version=0.0.4; charset=utf-8")


async def described(request: Request) -> Response:
    """GET /openapi.json"""
    return JSONResponse(openapi.document(*openapi.names(answers.state(request).models)))


async def documented(request: Request) -> Response:
    """GET /docs: for those who show no token, too, it names no model then."""
    shared = answers.state(request)
    named = (["MODEL"], ["LABEL"]) if shared.guarded else openapi.names(shared.models)
    return HTMLResponse(docs.page(openapi.document(*named)))


NEWEST = {"cache-control": "no-cache"}  # asked for again each time: the page's files fit each other


async def page(request: Request) -> Response:
    """GET /"""
    return FileResponse(PAGE / "index.html", headers=NEWEST)


class Assets(StaticFiles):
    """What the page consists of."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers.update(NEWEST)
        return response


ROUTES = [
    Route("/v1/predict", answers.predict, methods=["POST"]),
    Route("/v1/explain", answers.explain, methods=["POST"]),
    Route("/v1/inspect", answers.inspect, methods=["POST"]),
    Route("/v1/stream", answers.stream, methods=["POST"]),
    Route("/v1/models", answers.models),
    Route("/v1/models/{name}/reload", answers.reload, methods=["POST"]),
    Route("/v1/models/{name}/report", answers.report),
    Route("/healthz", healthz),
    Route("/readyz", readyz),
    Route("/metrics", metrics),
    Route("/openapi.json", described),
    Route("/docs", documented),
    Route("/", page),
    Mount("/page", Assets(directory=PAGE)),
]
