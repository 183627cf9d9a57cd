"""What a run changes in its process while it lasts: torch's threads, and what Ctrl-C does."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch


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


_lock = threading.Lock()
_training = 0  # runs in this process
_before = 1  # torch's threads when the first of them began


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """What is left to torch is small, and its threads wait by spinning: on a busy machine that
    made an epoch thirty times slower. With one, the bits do not depend on the number of threads.

    torch keeps the number for each thread of Python and, for those to come, for the process: of
    several runs at once each sets its own, and all bring back what was before the first.
    """
    global _training, _before
    with _lock:
        _before = _before if _training else torch.get_num_threads()
        _training += 1
        torch.set_num_threads(1)
        torch.get_num_threads()  # when first asked in a thread it would take on the process's
    try:
        yield
    finally:
        with _lock:
            _training -= 1
            torch.set_num_threads(_before)
