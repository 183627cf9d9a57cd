from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data, outside the repository; without it a test is skipped."""
    beside = Path(__file__).resolve().parent.parent.parent / "shared" / "data"
    folder = Path(os.environ.get("CARRYLINE_DATA") or beside)
    if not folder.is_dir():
        pytest.skip(f"real data is not at {folder}; CARRYLINE_DATA may say where it is")
    return folder
