"""What Ctrl-C does while a run lasts."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def patient_ctrl_c() -> Iterator[Callable[[], None]]:
    """Ctrl-C waits for the end of a step; a second one does not.

    Gives a function that raises the `KeyboardInterrupt` that waits. Raised anywhere, it could leave
    a step half done, or be swallowed by a destructor that happens to run.
    """
    presses = 0

    def press(*_: object) -> None:
        nonlocal presses
        presses += 1
        if presses > 1:
            raise KeyboardInterrupt

    def stop_if_asked() -> None:
        if presses:
            raise KeyboardInterrupt

    mine = threading.current_thread() is threading.main_thread()
    if not mine or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield stop_if_asked
        return
    signal.signal(signal.SIGINT, press)
    try:
        yield stop_if_asked
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
