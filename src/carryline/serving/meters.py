"""What /metrics tells, for Prometheus."""

from __future__ import annotations

import os
from pathlib import Path

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

SEVERAL = "PROMETHEUS_MULTIPROC_DIR"  # where prometheus-client adds up the figures of workers
SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
TEXTS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)


class Meters:
    """requests: by path and status; seconds: of a request, by path; refused: by reason; batch:
    texts computed together; waiting: requests in the queue; tokens, texts: by model."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        to = self._registry
        self.requests = Counter(
            "carryline_requests", "Requests answered.", ["path", "status"], registry=to
        )
        self.seconds = Histogram(
            "carryline_request_seconds", "From the head of a request to the end of its answer.",
            ["path"], buckets=SECONDS, registry=to,
        )  # fmt: skip
        self.refused = Counter(
            "carryline_refused", "Requests refused for want of time.", ["reason"], registry=to
        )
        self.batch = Histogram(
            "carryline_batch_texts", "Texts classified together.", buckets=TEXTS, registry=to
        )
        self.waiting = Gauge(
            "carryline_waiting_requests", "Requests in the queue.", multiprocess_mode="livesum",
            registry=to,
        )  # fmt: skip
        self.texts = Counter("carryline_texts", "Texts classified.", ["model"], registry=to)
        self.tokens = Counter("carryline_tokens", "Tokens classified.", ["model"], registry=to)

    def shown(self) -> bytes:
        """In Prometheus's text format; of all workers together."""
        if SEVERAL not in os.environ:
            return generate_latest(self._registry)
        from prometheus_client.multiprocess import MultiProcessCollector

        _forget_the_dead(Path(os.environ[SEVERAL]))
        registry = CollectorRegistry()
        MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return generate_latest(registry)


def _forget_the_dead(folder: Path) -> None:
    """What waits in a worker that is gone waits no more."""
    for file in folder.glob("gauge_live*_*.db"):
        if not Path(f"/proc/{file.stem.rpartition('_')[2]}").exists() and Path("/proc").exists():
            file.unlink(missing_ok=True)
