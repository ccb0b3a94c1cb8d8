"""A look at the file of the SQLite room log from outside, now and then: is it where it was?

A process keeps what it has open, whatever becomes of the path. So nothing that is written tells
that someone has removed the file, moved it, or put another one in its place.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pathlib import Path

    from trio_chat.roomlog.sqlite.file import StoreFile

# Between two looks while much is written, and while nothing is.
LOOK_SECONDS: Final = 0.2
IDLE_SECONDS: Final = 1.0

MOVED: Final = "the store's file was removed, moved or replaced"

logger = logging.getLogger("trio_chat")


class Lookout:
    """A lookout remembers what it has seen; `problems` says what is wrong, in a few words each."""

    def __init__(self, file: StoreFile) -> None:
        """Take the file as it is now for the right one."""
        self._file = file
        self._identity = _identity(file.path)
        self._next = 0.0
        self.problems: tuple[str, ...] = ()

    @property
    def due(self) -> bool:
        """Whether it is time for the next look."""
        return time.monotonic() >= self._next

    def look(self) -> bool:
        """Look now, and log what is another matter than before; whether something is."""
        self._next = time.monotonic() + LOOK_SECONDS
        before, self.problems = self.problems, (MOVED,) if self.moved() else ()
        if self.problems == before:
            return False
        extra = {"file": str(self._file.path)}
        if self.problems:
            logger.error(
                "the store's file was removed, moved or replaced: "
                "put it back, or stop and start the daemon",
                extra=extra,
            )
        else:
            logger.info("the store's file is back", extra=extra)
        return True

    def moved(self) -> bool:
        """Whether another file, or none, is where the store's or its lock's was."""
        lock = os.fstat(self._file.lock)
        return _identity(self._file.path) != self._identity or _identity(self._file.lock_path) != (
            lock.st_dev,
            lock.st_ino,
        )


def _identity(path: Path) -> tuple[int, int] | None:
    """Give what tells a file from all others; `None` where there is none to be had."""
    with contextlib.suppress(OSError):
        found = path.stat()
        return found.st_dev, found.st_ino
    return None
