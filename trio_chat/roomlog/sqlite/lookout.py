"""A look at the file of the SQLite room log now and then: is it where it was, is there place?

A process keeps what it has open, whatever becomes of the path. So nothing that is written tells
that someone has removed the file, moved it, or put another one in its place.

A file does not shrink: deletion makes place within it. So pages in use count for
`max_store_bytes`. On a full disk more may be written as long as there are enough free pages.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import sqlite3
import time
from typing import TYPE_CHECKING, Final

from attrs import frozen

if TYPE_CHECKING:
    from pathlib import Path

    from trio_chat.roomlog.retention import Retention
    from trio_chat.roomlog.sqlite.file import StoreFile

# Between two looks while much is written, and while nothing is.
LOOK_SECONDS: Final = 0.2
IDLE_SECONDS: Final = 1.0

MOVED: Final = "the store's file was removed, moved or replaced"

# Free pages in the file that make up for a full disk: some seconds of much talk, in bytes.
FREE_IN_FILE: Final = 8 << 20
# A store that was full takes more only once there is this much place, as a part of the limit.
RELIEF: Final = 0.02

logger = logging.getLogger("trio_chat")


@frozen
class Full:
    """The setting by which nothing more is taken, and what clients and operators are told."""

    limit: str
    sentence: str
    problem: str


DISK: Final = Full(
    "min_free_disk_bytes",
    "not said: the disk of the server is nearly full; please try again later",
    "the disk of the store is nearly full",
)
STORE: Final = Full(
    "max_store_bytes",
    "not said: the server keeps as much as it may; please try again later",
    "the store is as large as it may be",
)


class Lookout:
    """A lookout remembers what it has seen; `problems` says what is wrong, in a few words each."""

    def __init__(self, file: StoreFile) -> None:
        """Take the file as it is now for the right one."""
        self._file = file
        self._identity = _identity(file.path)
        self._next = 0.0
        self._moved = False
        self.full: Full | None = None

    @property
    def problems(self) -> tuple[str, ...]:
        """The problems that there are now, in a few words each."""
        moved = (MOVED,) if self._moved else ()
        return (*moved, self.full.problem) if self.full else moved

    @property
    def due(self) -> bool:
        """Whether it is time for the next look."""
        return time.monotonic() >= self._next

    def look(self, connection: sqlite3.Connection, retention: Retention) -> bool:
        """Look now, and log what is another matter than before; whether something is.

        `connection` is in no transaction.
        """
        self._next = time.monotonic() + LOOK_SECONDS
        before = self.problems
        self._look_where()
        with contextlib.suppress(sqlite3.Error):  # all is as it was, as far as can be known
            self._look_for_place(connection, retention)
        return self.problems != before

    def _look_where(self) -> None:
        before, self._moved = self._moved, self.moved()
        if self._moved and not before:
            self._log(logging.ERROR, f"{MOVED}: put it back, or stop and start the daemon")
        elif before and not self._moved:
            self._log(logging.INFO, "the store's file is back")

    def _look_for_place(self, connection: sqlite3.Connection, retention: Retention) -> None:
        pages, unused, size = (
            connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        used = (pages - unused) * size
        free = _free_bytes(self._file.path)
        before, self.full = self.full, None
        most, least = float(retention.bytes), float(retention.free_bytes)
        if before is STORE:
            most *= 1 - RELIEF
        elif before is DISK:
            least *= 1 + RELIEF
        if most and used >= most:
            self.full = STORE
        elif free < least and unused * size < FREE_IN_FILE:
            self.full = DISK
        if self.full and not before:
            facts = {"limit": self.full.limit, "bytes": used, "free_bytes": free}
            self._log(logging.ERROR, "nothing more is taken: the room log has no place", **facts)
        elif before and not self.full:
            self._log(logging.INFO, "the room log has place again")

    def _log(self, level: int, message: str, **facts: str | float) -> None:
        logger.log(level, message, extra={"file": str(self._file.path), **facts})

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


def _free_bytes(path: Path) -> float:
    """Give how much of its disk a user without privileges may use; infinity if nobody knows."""
    try:
        disk = os.statvfs(path.parent)
    except OSError:
        return math.inf
    return disk.f_bavail * disk.f_frsize
