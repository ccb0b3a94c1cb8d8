"""Keeps the SQLite file small: it deletes old entries and makes checkpoints.

This happens in small steps between appends, so that no append waits long.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict, deque
from itertools import takewhile
from typing import TYPE_CHECKING, Final

from trio_chat.roomlog.holding import WAIT_SECONDS
from trio_chat.roomlog.sqlite import holding, removing

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from trio_chat.roomlog.retention import Retention
    from trio_chat.roomlog.sqlite.append import RoomRows, StoredRooms

# Entries deleted at once, beside as many as were just appended. This takes about a millisecond.
BITE_ENTRIES: Final = 256
# Batches deleted at once for their age. Each may lie in a page of its own.
BITE_BATCHES: Final = 32
# A room may exceed its limit by a twentieth, so that not every append has to delete.
SLACK: Final = 20
# Pages of 4 KB in the write-ahead log before a checkpoint. This is SQLite's own default.
CHECKPOINT_PAGES: Final = 1_000
# Seconds between two searches of all rooms for old entries.
AGING_SECONDS: Final = 600.0
# Seconds between two times that removed texts are wiped from the write-ahead log. Each waits for
# the disk.
WIPE_SECONDS: Final = 1.0
# Seconds after a failure until the next try.
RETRY_SECONDS: Final = 5.0
# A checkpoint moves nothing that was written since the oldest running read began. If some read were
# always running, the write-ahead log would grow without end. So reads wait until a checkpoint has
# moved everything, but no longer than this. Meanwhile the checkpoint is retried as often.
QUIET_SECONDS: Final = 0.1
QUIET_RETRY_SECONDS: Final = 0.01


class Tidy:
    """Knows what is to be tidied, and does it in small steps."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        rooms: StoredRooms,
        retention: Retention,
        reading: threading.Event,
        *,
        wipes: bool = False,
    ) -> None:
        """Other threads may begin to read the file while `reading` is set.

        `wipes` says whether the write-ahead log may have removed texts.
        """
        self._connection = connection
        self._rooms = rooms
        self._retention = retention
        # The rooms with rows to delete, each once, and the rooms to check for old entries.
        self._trimming = OrderedDict.fromkeys(rooms.forgotten)
        self._aging: deque[RoomRows] = deque()
        self._next_aging = time.monotonic()
        self._pages = 0
        self._resume = 0.0
        self._reading = reading
        # The time until which reads wait for a checkpoint, or 0.
        self._quiet = 0.0
        # Whether the write-ahead log may have removed texts, and the time of the next try to wipe
        # it.
        self._wiping = wipes
        self._next_wipe = time.monotonic() + WIPE_SECONDS
        self.look_at(rooms.by_name.values())

    def look_at(self, rooms: Iterable[RoomRows]) -> None:
        """Record rooms that have spoken or were forgotten: they may have rows to delete."""
        keep = self._retention.entries
        for room in rooms:
            if room.forgotten or room.position - room.floor > keep + keep // SLACK:
                self._trimming[room] = None

    def retain(self, retention: Retention) -> None:
        """Apply another retention from now on."""
        self._retention = retention
        self._next_aging = time.monotonic()
        self.look_at(self._rooms.by_name.values())

    def wait(self) -> float:
        """Return the seconds until there is something to do."""
        if self._quiet:
            return QUIET_RETRY_SECONDS
        due = 0.0 if self._trimming or self._aging else self._next_aging
        if self._wiping:
            due = min(due, self._next_wipe)
        return max(0.0, max(due, self._resume) - time.monotonic())

    def wipe(self) -> None:
        """Wipe the write-ahead log soon: it has texts that were removed."""
        self._wiping = True

    def hold_off(self) -> None:
        """Wait before the next step: the file cannot be written now."""
        self._resume = time.monotonic() + RETRY_SECONDS
        self._pages = CHECKPOINT_PAGES
        self.let_read()

    def some(self, entries: int, pages: int) -> None:
        """Do one step after an append of this many entries and pages. Raises `sqlite3.Error`."""
        self._pages += pages
        self._checkpoint()
        if time.monotonic() < self._resume:
            return
        if self._trimming:
            self._trim(next(iter(self._trimming)), BITE_ENTRIES + entries)
        elif self._aging:
            self._age(self._aging[0])
        elif time.monotonic() >= self._next_aging:
            now = time.time()
            expired = self._connection.execute(removing.EXPIRE, (now,)).rowcount
            expired += self._connection.execute(holding.EXPIRE, (now - WAIT_SECONDS,)).rowcount
            if expired:
                self.wipe()
            if self._retention.days:
                self._aging.extend(self._rooms.by_name.values())
            self._next_aging = time.monotonic() + AGING_SECONDS

    def _trim(self, room: RoomRows, entries: int) -> None:
        """Delete a room's oldest entries, at most this many, or rows of a forgotten room."""
        last = room.position if room.forgotten else room.position - self._retention.entries
        last = max(last, room.floor)  # the limit may have grown since the room was recorded
        upto = min(last, room.floor + entries)
        self._delete(room, upto, remove=room.forgotten and upto == last)
        if upto >= last:
            del self._trimming[room]
        else:
            self._trimming.move_to_end(room)

    def _delete(self, room: RoomRows, upto: int, *, remove: bool = False) -> None:
        execute = self._connection.execute
        execute("BEGIN IMMEDIATE")
        try:
            deleted = execute(
                "DELETE FROM batches "
                "WHERE room = ? AND position <= ? AND position + length(kinds) - 1 <= ?",
                (room.id, upto, upto),
            )
            self._pages += deleted.rowcount  # each may lie in a page of its own
            gone = execute(removing.DROP_BEFORE, (room.id, upto)).rowcount
            if remove:
                execute("DELETE FROM actions WHERE room = ?", (room.id,))
                execute(holding.FORGET, (room.id,))
                execute("DELETE FROM rooms WHERE id = ?", (room.id,))
            else:
                execute(
                    "UPDATE rooms SET floor = ?, floor_time = ? WHERE id = ?",
                    (upto, room.time / 1000, room.id),
                )
            execute("COMMIT")
        except BaseException:
            if self._connection.in_transaction:
                execute("ROLLBACK")
            raise
        if gone:
            self.wipe()
        room.floor = upto
        if upto >= room.position:
            room.batch = None  # it is gone
            if not room.forgotten:
                self._rooms.ranks.emptied(room.name)

    def _age(self, room: RoomRows) -> None:
        """Delete some of a room's batches that are too old. Fewer than asked: it is done."""
        oldest = self._connection.execute(
            "SELECT position + length(kinds) - 1, time FROM batches "
            "WHERE room = ? ORDER BY position LIMIT ?",
            (room.id, BITE_BATCHES),
        ).fetchall()
        limit = self._retention.oldest()
        old = list(takewhile(lambda batch: batch[1] < limit, oldest))
        if old and not room.forgotten:
            self._delete(room, old[-1][0])
        if len(old) < BITE_BATCHES or room.forgotten:
            self._aging.popleft()

    def _checkpoint(self) -> None:
        """Move the write-ahead log into the file once it is large, or has to be wiped."""
        wipes = self._wiping and time.monotonic() >= self._next_wipe
        if self._pages < CHECKPOINT_PAGES and not wipes:
            return
        checkpoint = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        [(_, pages, moved)] = checkpoint.fetchall()
        self._resume = 0.0
        now = time.monotonic()
        is_done = moved >= pages and (not wipes or self._truncate())
        if not is_done and now < (self._quiet or math.inf):
            self._quiet = self._quiet or now + QUIET_SECONDS
            self._reading.clear()
            return
        self.let_read()  # do not wait for another program that reads
        self._pages = 0
        if wipes:
            self._wiping = not is_done
            self._next_wipe = now + WIPE_SECONDS

    def _truncate(self) -> bool:
        """Empty the write-ahead log, which is in the file. Return false while somebody reads it."""
        execute = self._connection.execute
        [(patience,)] = execute("PRAGMA busy_timeout").fetchall()
        execute("PRAGMA busy_timeout = 0").fetchall()  # messages do not wait for a reader
        [(busy, _, _)] = execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        execute(f"PRAGMA busy_timeout = {patience}").fetchall()
        return not busy

    def let_read(self) -> None:
        """Let other threads read again, whatever became of the checkpoint."""
        self._quiet = 0.0
        self._reading.set()
