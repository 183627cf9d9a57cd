"""What runs change in their process, and give back: what Ctrl-C does."""

from __future__ import annotations

import signal
import threading

import pytest

from carryline.training.process import patient_ctrl_c


def test_ctrl_c_waits_until_it_is_asked_for_and_a_second_one_does_not() -> None:
    with patient_ctrl_c() as stop_if_asked:
        stop_if_asked()
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            stop_if_asked()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_is_as_before_when_a_run_fails() -> None:
    with pytest.raises(ZeroDivisionError), patient_ctrl_c():
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_somebody_elses_handler_is_left_alone() -> None:
    presses: list[int] = []

    def press(*_: object) -> None:
        presses.append(1)

    signal.signal(signal.SIGINT, press)
    with patient_ctrl_c() as stop_if_asked:
        signal.raise_signal(signal.SIGINT)
        stop_if_asked()
    assert presses == [1]
    assert signal.getsignal(signal.SIGINT) is press


def test_a_run_in_another_thread_changes_nothing() -> None:
    seen: list[object] = []

    def run() -> None:
        with patient_ctrl_c() as stop_if_asked:
            stop_if_asked()
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]
