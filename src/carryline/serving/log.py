"""The log: an object of JSON a line, on standard error."""

from __future__ import annotations

import json
import logging
from datetime import datetime, timezone


class Lines(logging.Formatter):
    """time, level, what; and what a request's own line tells."""

    def format(self, record: logging.LogRecord) -> str:
        time = datetime.fromtimestamp(record.created, timezone.utc)
        told = {
            "time": time.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "what": record.getMessage(),
            **getattr(record, "told", {}),
        }
        if record.exc_info:
            told["trace"] = self.formatException(record.exc_info)
        return json.dumps(told)


CONFIG = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"lines": {"()": "carryline.serving.log.Lines"}},
    "handlers": {
        "lines": {
            "class": "logging.StreamHandler", "formatter": "lines", "stream": "ext://sys.stderr"
        }
    },
    "root": {"handlers": ["lines"], "level": "WARNING"},  # such as asyncio's
    "loggers": {
        "carryline.serving": {"handlers": ["lines"], "level": "INFO", "propagate": False},
        "uvicorn": {"handlers": ["lines"], "level": "WARNING", "propagate": False},
    },
}  # fmt: skip
