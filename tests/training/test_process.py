"""What runs change in their process, and give back."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
import torch

from carryline.training.process import one_torch_thread


@pytest.fixture
def three() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("three")
def test_torch_has_its_threads_again_after_runs_at_once() -> None:
    """The second begins while the first runs, and ends after it."""
    begun, ended, seen = threading.Event(), threading.Event(), []

    def second() -> None:
        with one_torch_thread():
            begun.set()
            ended.wait(60)
            seen.append(torch.get_num_threads())
        seen.append(torch.get_num_threads())

    other = threading.Thread(target=second)
    with one_torch_thread():
        other.start()
        begun.wait(60)
        assert torch.get_num_threads() == 1
    assert torch.get_num_threads() == 3
    ended.set()
    other.join()
    assert seen == [1, 3]
    later = threading.Thread(target=lambda: seen.append(torch.get_num_threads()))
    later.start()
    later.join()
    assert seen == [1, 3, 3]
