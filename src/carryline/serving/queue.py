"""Requests gathered into batches for the kernels.

One thread computes, the event loop talks. The thread takes at once whatever waits: when it is idle,
a request alone; when it was busy, all that came meanwhile, so that batches grow with the load and
nobody waits for others to come. A text's answer has the same bits in any company (promise 1).
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from carryline.serving.meters import Meters
from carryline.serving.models import Served
from carryline.serving.refusal import RequestError
from carryline.serving.settings import Limits

Array = NDArray[Any]
# A batch is full then: it is the time that the next ones wait.
TEXTS, CHARACTERS = 512, 1 << 18
PREDICT = "predict"
A_TEXT = 200  # characters that a text costs beside its own
PACE = 1e-6  # seconds a character, until there was a batch; it is too much rather than too little
NEWEST = 0.2  # share of the last batch in the pace


@dataclass(eq=False)
class Job:
    """One request's work. texts: to classify together with others'; call: or what to do alone;
    kind: of work, and the model, each has its pace; size: characters, or what the work grows by."""

    kind: tuple[str, str]
    served: Served
    texts: Sequence[str]
    call: Callable[[], Any] | None
    size: int
    done: asyncio.Future[Any]

    def answer(self, value: Any) -> None:
        """Unless whom it is for has gone."""
        if self.done.done():
            return
        if isinstance(value, BaseException):
            self.done.set_exception(value)
        else:
            self.done.set_result(value)


class Queue:
    """What waits to be computed. All but `_work` and what it calls runs in the event loop."""

    def __init__(self, limits: Limits, threads: int | None, meters: Meters) -> None:
        self._limits, self._threads, self._meters = limits, threads, meters
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[Job] = deque()
        self._sizes: Counter[tuple[str, str]] = Counter()  # waiting or in work
        self._pace: dict[tuple[str, str], float] = {}
        self._began: float | None = None  # when the work that is done now was begun
        self._some = threading.Condition()
        self._ending = False
        self._thread = threading.Thread(target=self._work, name="compute", daemon=True)
        self._thread.start()

    def chances(self, served: Served, texts: Sequence[str]) -> asyncio.Future[tuple[Array, Array]]:
        """See `Served.chances`; a `RequestError` for a text that is too long. Raises one at once
        when too much waits."""
        size = sum(map(len, texts)) + A_TEXT * len(texts)
        return self._put(PREDICT, served, texts, size, None)

    def alone(
        self, kind: str, served: Served, text: str, size: float, call: Callable[[], Any]
    ) -> asyncio.Future[Any]:
        """What the call gives, computed by itself; its text is held to the same limit.

        size: by which work of this kind grows.
        """
        return self._put(kind, served, [text], A_TEXT + size, call)

    def wait(self) -> float:
        """Seconds that one more would wait, about: by what waits, or by how long what is done now
        has taken."""
        rest = sum(size * self._pace.get(kind, PACE) for kind, size in self._sizes.items())
        began = self._began
        return rest if began is None else max(rest, time.perf_counter() - began)

    def check(self) -> None:
        """Raises `RequestError` when one more would wait too long."""
        wait, most = self.wait(), self._limits.wait
        if wait > most:
            self._meters.refused.labels("queue").inc()
            rule = f"a request waits at most {most:g} s, this one would {wait:.1f} s"
            raise RequestError(503, rule, retry=wait)

    def close(self) -> None:
        """The thread ends when nothing waits any more; it is waited for as long as an answer is."""
        with self._some:
            self._ending = True
            self._some.notify()
        self._thread.join(self._limits.timeout)

    def _put(
        self,
        what: str,
        served: Served,
        texts: Sequence[str],
        size: float,
        call: Callable[[], Any] | None,
    ) -> asyncio.Future[Any]:
        self.check()
        kind = what, served.name
        job = Job(kind, served, texts, call, max(1, int(size)), self._loop.create_future())
        self._sizes[kind] += job.size
        with self._some:
            self._waiting.append(job)
            self._meters.waiting.set(len(self._waiting))
            self._some.notify()
        return job.done

    def _work(self) -> None:
        while True:
            with self._some:
                while not self._waiting:
                    if self._ending:
                        return
                    self._some.wait()
                batch, gone = self._taken()
                self._meters.waiting.set(len(self._waiting))
            self._began = began = time.perf_counter()
            answers = self._computed(batch) if batch else []
            seconds = time.perf_counter() - began
            self._began = None
            self._loop.call_soon_threadsafe(self._deliver, batch, answers, gone, seconds)

    def _taken(self) -> tuple[list[Job], list[Job]]:
        """The first one, and those that can be done with it; and those whose asker has gone."""
        batch: list[Job] = []
        gone: list[Job] = []
        others: list[Job] = []
        texts = size = 0
        while self._waiting and texts < TEXTS and size < CHARACTERS:
            job = self._waiting.popleft()
            if job.done.done():
                gone.append(job)
            elif not batch or (job.call is None and job.served is batch[0].served):
                batch.append(job)
                texts, size = texts + len(job.texts), size + job.size
                if job.call is not None:
                    break
            else:
                others.append(job)
        self._waiting.extendleft(reversed(others))
        return batch, gone

    def _computed(self, batch: Sequence[Job]) -> list[Any]:
        """An answer each, or what it raised."""
        if len(batch) > 1:
            try:
                return self._together(batch)
            except Exception:  # one of them: which one is found by each alone
                pass
        return [self._alone(job) for job in batch]

    def _together(self, batch: Sequence[Job]) -> list[Any]:
        texts = [text for job in batch for text in job.texts]
        chances, tokens = batch[0].served.chances(texts, self._threads, self._limits.tokens)
        found, end = [], 0
        for job in batch:
            begin, end = end, end + len(job.texts)
            found.append((chances[begin:end], tokens[begin:end]))
        return found

    def _alone(self, job: Job) -> Any:
        try:
            if job.call is None:
                return job.served.chances(job.texts, self._threads, self._limits.tokens)
            job.served.check(job.texts, self._limits.tokens)
            return job.call()
        except Exception as error:
            return error

    def _deliver(
        self, batch: Sequence[Job], answers: Sequence[Any], gone: Sequence[Job], seconds: float
    ) -> None:
        for job in [*batch, *gone]:
            self._sizes[job.kind] -= job.size
        for job, answer in zip(batch, answers, strict=True):
            job.answer(answer)
        if batch:
            size, kind = sum(job.size for job in batch), batch[0].kind
            pace = seconds / size
            before = self._pace.get(kind, pace)
            self._pace[kind] = before + NEWEST * (pace - before)
            if batch[0].call is None:
                self._meters.batch.observe(sum(len(job.texts) for job in batch))
