"""The endpoints: from a request to its answer."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse

from carryline.errors import DataError, ModelError
from carryline.serving.asked import Explain, Inspect, Predict, Stream
from carryline.serving.guard import CLOSED
from carryline.serving.models import Served
from carryline.serving.refusal import GoneError, RequestError
from carryline.text.data import key

if TYPE_CHECKING:
    from carryline.explaining.units import Units
    from carryline.serving.app import State

Value = TypeVar("Value")
# Words of a text that are streamed: the work is the square of it (2,000 words: 2 s).
STREAMED = 2_000
A_WORD = 6  # characters, about
AT_ONCE = 32  # words whose probabilities are computed together
# A report has its style within.
_REPORT = f"default-src 'none'; style-src 'unsafe-inline'; img-src data:; {CLOSED}"


def state(request: Request) -> State:
    """What the server's requests have in common."""
    found: State = request.app.state.carryline
    return found


async def body(request: Request) -> bytes:
    """Raises `RequestError` for one that is too large, or too slow; before it is read, where there
    would be no time for what it asks."""
    state(request).queue.check()
    most, seconds = state(request).limits.body, state(request).limits.timeout
    until = _until(request)
    said = request.headers.get("content-length", "")
    if said.isdigit() and int(said) > most:
        raise RequestError(413, f"the body has at most {most:,} bytes, it has {int(said):,}")
    found = bytearray()
    try:
        with anyio.fail_after(until - time.monotonic()):
            async for chunk in request.stream():
                found += chunk
                if len(found) > most:
                    raise RequestError(413, f"the body has at most {most:,} bytes, it has more")
    except TimeoutError:
        raise RequestError(408, f"a body is there within {seconds:g} s, this one was not") from None
    except ClientDisconnect:
        raise GoneError from None
    return bytes(found)


async def predict(request: Request) -> Response:
    """POST /v1/predict"""
    shared = state(request)
    asked = Predict.of(await body(request), shared.limits)
    served = shared.models.find(asked.model)
    chances, tokens = await here(request, shared.queue.chances(served, asked.texts))
    shared.count(served, len(asked.texts), int(tokens.sum()))
    request.scope["told"] = {"model": served.name, "texts": len(asked.texts)}
    if shared.settings.log_texts:
        request.scope["told"]["contents"] = asked.texts
    classes = served.classifier.classes
    answers = [
        _answer(classes, row, count, asked.abstain_below)
        for row, count in zip(chances.tolist(), tokens.tolist(), strict=True)
    ]
    return JSONResponse({"model": served.name, "version": served.version, "answers": answers})


def _answer(classes: list[Any], chances: list[float], tokens: int, below: float) -> dict[str, Any]:
    best = max(range(len(classes)), key=chances.__getitem__)  # the first of equals
    sure = chances[best] >= below
    return {
        "label": key(classes[best]) if sure else None,
        "probability": chances[best],
        "probabilities": dict(zip(map(key, classes), chances, strict=True)),
        "tokens": tokens,
    }


async def explain(request: Request) -> Response:
    """POST /v1/explain"""
    shared = state(request)
    asked = Explain.of(await body(request), shared.limits)
    served = shared.models.find(asked.model)

    def call() -> dict[str, Any]:
        found = served.classifier.explain(
            asked.text, asked.label, way=asked.way, by=asked.by, threads=shared.settings.threads
        )
        return found.to_dict()

    # Where the text is read once for each word, work grows by the square of its length.
    size = len(asked.text)
    if asked.way == "occlusion" or served.streams:
        size *= 1 + size // A_WORD
    work = shared.queue.alone(f"explain {asked.way}", served, asked.text, size, call)
    return JSONResponse(_signed(served, await here(request, work)))


async def inspect(request: Request) -> Response:
    """POST /v1/inspect"""
    from carryline.explaining.trace import traced

    shared = state(request)
    asked = Inspect.of(await body(request), shared.limits)
    served = shared.models.find(asked.model)

    def call() -> dict[str, Any]:
        model = served.classifier
        found = traced(model.network, model.tokenizer, asked.text, asked.layer, asked.direction)
        return found.to_dict(asked.units)

    work = shared.queue.alone("inspect", served, asked.text, len(asked.text), call)
    return JSONResponse(_signed(served, await here(request, work)))


def _signed(served: Served, found: dict[str, Any]) -> dict[str, Any]:
    return {"model": served.name, "version": served.version, **found}


async def stream(request: Request) -> Response:
    """POST /v1/stream: an event a word, with the probabilities when the text ends there."""
    from carryline.explaining.units import Units

    shared = state(request)
    asked = Stream.of(await body(request), shared.limits)
    served = shared.models.find(asked.model)
    if not served.streams:
        raise RequestError(
            422, f"stream needs a model that reads one way alone, {served.name} reads both ways"
        )
    cut = partial(Units.of, asked.text, served.classifier.tokenizer)
    units = await here(request, shared.queue.alone("cut", served, asked.text, len(asked.text), cut))
    if len(units) > STREAMED:
        rule = f"a streamed text has at most {STREAMED:,} words, it has {len(units):,}"
        raise RequestError(422, rule)
    events = _events(shared, served, units)
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(events, media_type="text/event-stream", headers=headers)


async def _events(shared: State, served: Served, units: Units) -> AsyncIterator[str]:
    """An event a word; each of the batches has the time of a request."""
    classes = list(map(key, served.classifier.classes))
    for first in range(0, len(units), AT_ONCE):
        bounds = units.bounds[first : first + AT_ONCE]
        texts = [units.text[:end] for _, end in bounds]
        try:
            work = shared.queue.chances(served, texts)
            chances, tokens = await asyncio.wait_for(work, shared.limits.timeout)
        except (RequestError, TimeoutError, asyncio.TimeoutError) as error:
            status = error.status if isinstance(error, RequestError) else 504
            yield _event("error", {"status": status, "rule": str(error) or "it took too long"})
            return
        shared.count(served, len(texts), int(tokens.sum()))
        for (begin, end), row in zip(bounds, chances.tolist(), strict=True):
            told = {
                "text": units.text[begin:end], "begin": begin, "end": end,
                "probabilities": dict(zip(classes, row, strict=True)),
            }  # fmt: skip
            yield _event("word", told)
    yield _event("end", {"model": served.name, "version": served.version})


def _event(name: str, told: dict[str, Any]) -> str:
    return f"event: {name}\ndata: {json.dumps(told)}\n\n"


async def models(request: Request) -> Response:
    """GET /v1/models"""
    shared = state(request)
    told = {"models": [served.account() for served in shared.models], "reload": shared.reload}
    return JSONResponse(told | {"limits": shared.limits.account()})


async def reload(request: Request) -> Response:
    """POST /v1/models/{name}/reload"""
    shared = state(request)
    if not shared.reload:
        raise RequestError(403, "reload is off: start the server with --reload and a token")
    name = request.path_params["name"]
    before = shared.models.find(name)
    try:
        served = await asyncio.to_thread(shared.models.reload, name)
    except ModelError as error:
        raise RequestError(409, f"the model stays as it was: {error}") from None
    shared.notices.tell(name)
    return JSONResponse({"model": name, "version": served.version, "before": before.version})


async def report(request: Request) -> Response:
    """GET /v1/models/{name}/report"""
    shared = state(request)
    served = shared.models.find(request.path_params["name"])
    threads = shared.settings.threads
    call = partial(served.classifier.report, name=served.name, threads=threads)
    work = shared.queue.alone("report", served, "", 0, call)
    page = await here(request, work)
    return HTMLResponse(page, headers={"content-security-policy": _REPORT})


async def here(request: Request, work: asyncio.Future[Value]) -> Value:
    """What the work gives. That of an asker who has gone, or whose time is up, is given up."""
    seconds = state(request).limits.timeout
    left = max(0.0, _until(request) - time.monotonic())
    leaving = asyncio.ensure_future(_left(request))
    either: set[asyncio.Future[Any]] = {work, leaving}
    try:
        await asyncio.wait(either, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            return work.result()
        gone = leaving.done()
    except DataError as error:
        raise RequestError(422, str(error)) from None
    finally:
        work.cancel()
        leaving.cancel()
    if gone:
        raise GoneError
    raise RequestError(504, f"an answer is there within {seconds:g} s, this one was not")


def _until(request: Request) -> float:
    """When its time is up: reading it and answering it together."""
    found: float = request.scope.setdefault(
        "until", time.monotonic() + state(request).limits.timeout
    )
    return found


async def _left(request: Request) -> None:
    """Returns when the asker is gone; what of the body was not read is passed over."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
