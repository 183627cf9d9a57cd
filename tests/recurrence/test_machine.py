from __future__ import annotations

import pytest

from carryline.errors import ConfigError
from carryline.recurrence import machine


def test_threads_are_no_more_than_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "default_threads", lambda: 2)
    assert [machine.checked_threads(n) for n in (None, 1, 2, 3, 100)] == [2, 1, 2, 2, 2]
    with pytest.raises(ConfigError, match="threads >= 1, it is 0"):
        machine.checked_threads(0)
