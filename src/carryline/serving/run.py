"""From settings to a server that runs until it is told to stop."""

from __future__ import annotations

import os
import socket
import tempfile
from collections.abc import Callable
from dataclasses import replace

import uvicorn
from uvicorn.supervisors import Multiprocess

from carryline.errors import ConfigError
from carryline.serving import app
from carryline.serving.log import CONFIG
from carryline.serving.meters import SEVERAL
from carryline.serving.models import Models
from carryline.serving.protocol import Protocol
from carryline.serving.settings import Settings

WAITING = 2048  # connections that the system holds until they are taken
START = 60  # seconds that a worker has until it answers its parent, on a machine that is busy
IDLE = 30  # seconds that a connection stays open between requests


def bound(host: str, port: int) -> socket.socket:
    """A socket that listens there; port 0 is a free one. Raises `ConfigError`."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With its protocol named: else asyncio leaves Nagle's algorithm on (48 ms a request, not 3).
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
    except (OSError, OverflowError) as error:
        found.close()
        why = getattr(error, "strerror", None) or str(error)
        raise ConfigError(f"--host and --port must be free here; {host}:{port}: {why}") from None
    found.set_inheritable(True)
    return found


def serve(
    settings: Settings, listener: socket.socket, workers: int, ready: Callable[[], None]
) -> None:
    """Answers until SIGTERM or SIGINT; what is in flight then is finished.

    ready: called when the models are read. Raises `ModelError`, `ConfigError`.
    """
    if workers == 1:
        made = app.application(settings)
        ready()
        uvicorn.Server(configured(made, settings, 1)).run(sockets=[listener])
        return
    Models(settings.models, settings.threads)  # what is wrong is said here, not by each worker
    with tempfile.TemporaryDirectory() as meters, tempfile.TemporaryDirectory() as shared:
        own = replace(settings, shared=shared)
        os.environ |= {SEVERAL: meters, app.SETTINGS: own.to_json()}
        ready()
        named = f"{app.__name__}:{app.from_environment.__name__}"
        Multiprocess(configured(named, settings, workers), sockets=[listener]).run()


def configured(made: object, settings: Settings, workers: int) -> uvicorn.Config:
    """made: the application, or where workers find what makes it."""
    return uvicorn.Config(
        made,  # type: ignore[arg-type]
        factory=workers > 1,
        workers=workers,
        http=Protocol,
        h11_max_incomplete_event_size=settings.limits.head,
        ws="none",
        lifespan="on",
        # uvloop takes new connections one by one between requests: of 256 clients the slowest wait
        # 2.3 s, here 0.6 s, and the others no longer (benchmarks/serving.py).
        loop="asyncio",
        log_config=CONFIG,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=WAITING,
        timeout_keep_alive=IDLE,
        timeout_worker_healthcheck=START,
        timeout_graceful_shutdown=int(settings.limits.timeout) + 1,
    )
