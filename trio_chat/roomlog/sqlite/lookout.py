"""Checks now and then that the SQLite file is where it was, and that there is space for more.

A process keeps its open files, whatever happens to the paths. So no write fails if the file is
removed, moved or replaced.

A file does not shrink: deleted entries leave free pages in it. So `max_store_bytes` counts the
pages in use, and a full disk still allows writes while the file has enough free pages.
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

from trio_chat.roomlog.sqlite.file import identity_of

if TYPE_CHECKING:
    from pathlib import Path

    from trio_chat.roomlog.retention import Retention
    from trio_chat.roomlog.sqlite.file import StoreFile

# Seconds between two checks, while much is written and while nothing is.
LOOK_SECONDS: Final = 0.2
IDLE_SECONDS: Final = 1.0

MOVED: Final = "the store's file was removed, moved or replaced"

# Free pages in the file that make up for a full disk, in bytes: some seconds of much talk.
FREE_IN_FILE: Final = 8 << 20
# A full store accepts entries again once this part of the limit is free.
RELIEF: Final = 0.02

logger = logging.getLogger("trio_chat")


@frozen
class Full:
    """A limit that is reached, with the sentences for clients and for operators."""

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
    """Remembers the last check. `problems` says in a few words each what is wrong."""

    def __init__(self, file: StoreFile) -> None:
        """Take the file as it is now for the right one."""
        self._file = file
        self._identity = identity_of(file.path)
        self._next = 0.0
        self._moved = False
        self.full: Full | None = None

    @property
    def problems(self) -> tuple[str, ...]:
        """The problems at the last check, in a few words each."""
        moved = (MOVED,) if self._moved else ()
        return (*moved, self.full.problem) if self.full else moved

    @property
    def due(self) -> bool:
        """Whether it is time for the next check."""
        return time.monotonic() >= self._next

    def look(self, connection: sqlite3.Connection, retention: Retention) -> bool:
        """Check now, and log what has changed. Return whether something has.

        `connection` must not be in a transaction.
        """
        self._next = time.monotonic() + LOOK_SECONDS
        before = self.problems
        self._look_where()
        with contextlib.suppress(sqlite3.Error):  # as far as can be known, nothing has changed
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
        """Whether the store's file or its lock is gone or replaced."""
        lock = os.fstat(self._file.lock)
        return identity_of(self._file.path) != self._identity or (
            identity_of(self._file.lock_path) != (lock.st_dev, lock.st_ino)
        )


def _free_bytes(path: Path) -> float:
    """Return the disk space that an unprivileged user may use, or infinity if it is unknown."""
    try:
        disk = os.statvfs(path.parent)
    except OSError:
        return math.inf
    return disk.f_bavail * disk.f_frsize
