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
PACE = 1e-7  # seconds a character, until there was a batch
NEWEST = 0.2  # share of the last batch in the pace


@dataclass(eq=False)
class Job:
    """One request's work. texts: to classify together with others'; call: or what to do alone;
    kind: of work, each has its pace."""

    kind: str
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
        self._sizes: Counter[str] = Counter()  # waiting or in work
        self._pace: dict[str, float] = {}
        self._some = threading.Condition()
        self._ending = False
        self._thread = threading.Thread(target=self._work, name="compute", daemon=True)
        self._thread.start()

    def chances(self, served: Served, texts: Sequence[str]) -> asyncio.Future[tuple[Array, Array]]:
        """See `Served.chances`; a `RequestError` for a text that is too long. Raises one at once
        when too much waits."""
        return self._put(PREDICT, served, texts, None)

    def alone(
        self, kind: str, served: Served, text: str, call: Callable[[], Any]
    ) -> asyncio.Future[Any]:
        """What the call gives, computed by itself; its text is held to the same limit."""
        return self._put(kind, served, [text], call)

    def wait(self) -> float:
        """Seconds that one more would wait, about."""
        return sum(size * self._pace.get(kind, PACE) for kind, size in self._sizes.items())

    def close(self) -> None:
        """The thread ends when nothing waits any more."""
        with self._some:
            self._ending = True
            self._some.notify()
        self._thread.join()

    def _put(
        self, kind: str, served: Served, texts: Sequence[str], call: Callable[[], Any] | None
    ) -> asyncio.Future[Any]:
        wait = self.wait()
        if wait > self._limits.wait:
            self._meters.refused.labels("queue").inc()
            most = self._limits.wait
            rule = f"a request waits at most {most:g} s, this one would {wait:.1f} s"
            raise RequestError(503, rule, retry=wait)
        size = sum(map(len, texts)) + A_TEXT * len(texts)
        job = Job(kind, served, texts, call, size, self._loop.create_future())
        self._sizes[kind] += size
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
            began = time.perf_counter()
            answers = self._computed(batch) if batch else []
            seconds = time.perf_counter() - began
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
        chances, tokens = batch[0].served.chances(texts, self._threads)
        if int(tokens.max(initial=0)) > self._limits.tokens:
            raise RequestError(422, "one of them")
        found, end = [], 0
        for job in batch:
            begin, end = end, end + len(job.texts)
            found.append((chances[begin:end], tokens[begin:end]))
        return found

    def _alone(self, job: Job) -> Any:
        try:
            job.served.check(job.texts, self._limits.tokens)
            if job.call is not None:
                return job.call()
            return job.served.chances(job.texts, self._threads)
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
            if kind == PREDICT:
                self._meters.batch.observe(sum(len(job.texts) for job in batch))
