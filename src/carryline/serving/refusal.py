"""A request that is not done, and why."""

from __future__ import annotations

import math


class RequestError(Exception):
    """status: of HTTP; rule: what was broken, and by which value; retry: seconds after which it may
    be tried again, None where that would not help."""

    def __init__(self, status: int, rule: str, retry: float | None = None) -> None:
        super().__init__(rule)
        self.status, self.rule = status, rule
        self.retry = None if retry is None else max(1, math.ceil(retry))


class GoneError(Exception):
    """Who has asked has left before there was an answer."""
