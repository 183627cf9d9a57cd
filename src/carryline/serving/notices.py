"""How one worker of a server tells the others that a model has a new version."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from carryline.errors import CarrylineError
from carryline.serving.models import Models

EVERY = 0.5  # seconds
logger = logging.getLogger("carryline.serving")


class Notices:
    """A file for each model in a folder that the workers share; None for a worker alone."""

    def __init__(self, folder: str | None) -> None:
        self._folder = None if folder is None else Path(folder)
        self._seen: dict[str, int] = {}
        if self._folder is not None:  # before the models are read: they are no older then
            self._seen = self._changed()

    def tell(self, name: str) -> None:
        """That this worker has read the model again."""
        if self._folder is not None:
            file = self._folder / name
            file.write_bytes(b"")
            self._seen[name] = file.stat().st_mtime_ns

    async def listen(self, models: Models) -> None:
        """Reads again what others have, until it is cancelled."""
        if self._folder is None:
            return
        while True:
            await asyncio.sleep(EVERY)
            try:
                for name, time in self._changed().items():
                    self._seen[name] = time
                    await asyncio.to_thread(models.reload, name)
            except CarrylineError as error:
                logger.error("a model stays as it was: %s", error)
            except Exception:
                logger.exception("other workers' new versions could not be looked for")

    def _changed(self) -> dict[str, int]:
        assert self._folder is not None
        found = {file.name: file.stat().st_mtime_ns for file in self._folder.iterdir()}
        return {name: time for name, time in found.items() if self._seen.get(name) != time}
