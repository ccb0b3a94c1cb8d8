"""What keeps the file of the SQLite room log small: deleting what is kept no more, checkpoints.

It is done a little at a time, between appends, so that none of them waits long.
"""

from __future__ import annotations

import math
import threading
import time
from collections import OrderedDict, deque
from itertools import takewhile
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from trio_chat.roomlog.retention import Retention
    from trio_chat.roomlog.sqlite.append import RoomRows, StoredRooms

# Entries deleted at once, beside as many as were just appended: about a millisecond.
BITE_ENTRIES: Final = 256
# Batches deleted at once for their age, each in a page of its own, maybe.
BITE_BATCHES: Final = 32
# A room may have a twentieth too many, so that not each append has to delete.
SLACK: Final = 20
# Pages of 4 KB in the write-ahead log before a checkpoint: SQLite's own default.
CHECKPOINT_PAGES: Final = 1_000
# How often all rooms are looked through for what is too old.
AGING_SECONDS: Final = 600.0
# After a failure, until it is tried again.
RETRY_SECONDS: Final = 5.0
# A checkpoint moves nothing that was written since the oldest read under way began. If there is
# always one, the write-ahead log never begins anew, and grows. So reads wait for so long at most
# until a checkpoint has moved everything, which is tried as often.
QUIET_SECONDS: Final = 0.1
QUIET_RETRY_SECONDS: Final = 0.01


class Tidy:
    """What there is to tidy, and how it is done."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        rooms: StoredRooms,
        retention: Retention,
        reading: threading.Event,
    ) -> None:
        """`reading` is set while other threads may begin to read the file."""
        self._connection = connection
        self._rooms = rooms
        self._retention = retention
        # Rooms with rows to delete, each once, and those to be looked through for old ones.
        self._trimming = OrderedDict.fromkeys(rooms.forgotten)
        self._aging: deque[RoomRows] = deque()
        self._next_aging = time.monotonic()
        self._pages = 0
        self._resume = 0.0
        self._reading = reading
        # Until when reads wait for a checkpoint, 0 if they do not.
        self._quiet = 0.0
        self.look_at(rooms.by_name.values())

    def look_at(self, rooms: Iterable[RoomRows]) -> None:
        """Note rooms that have spoken, or are forgotten: they may have rows to delete."""
        keep = self._retention.entries
        for room in rooms:
            if room.forgotten or room.position - room.floor > keep + keep // SLACK:
                self._trimming[room] = None

    def retain(self, retention: Retention) -> None:
        """Go by another retention from now on."""
        self._retention = retention
        self._next_aging = time.monotonic()
        self.look_at(self._rooms.by_name.values())

    def wait(self) -> float:
        """Seconds until there is something to do."""
        if self._quiet:
            return QUIET_RETRY_SECONDS
        due = 0.0 if self._trimming or self._aging else self._next_aging
        return max(0.0, max(due, self._resume) - time.monotonic())

    def hold_off(self) -> None:
        """Leave it for a while, or until a checkpoint has made place: it cannot be written now."""
        self._resume = time.monotonic() + RETRY_SECONDS
        self._pages = CHECKPOINT_PAGES
        self.let_read()

    def some(self, entries: int, pages: int) -> None:
        """Tidy a little, after an append of so many entries and pages; raises `sqlite3.Error`."""
        self._pages += pages
        self._checkpoint()
        if time.monotonic() < self._resume:
            return
        if self._trimming:
            self._trim(next(iter(self._trimming)), BITE_ENTRIES + entries)
        elif self._aging:
            self._age(self._aging[0])
        elif time.monotonic() >= self._next_aging:
            if self._retention.days:
                self._aging.extend(self._rooms.by_name.values())
            self._next_aging = time.monotonic() + AGING_SECONDS

    def _trim(self, room: RoomRows, entries: int) -> None:
        """Delete a room's oldest entries, at most so many, and what is left of a forgotten one."""
        last = room.position if room.forgotten else room.position - self._retention.entries
        last = max(last, room.floor)  # more may be kept now than when the room was noted
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
            if remove:
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
        room.floor = upto
        if upto >= room.position:
            room.batch = None  # it is gone
            if not room.forgotten:
                self._rooms.ranks.emptied(room.name)

    def _age(self, room: RoomRows) -> None:
        """Delete a room's batches that are too old, at most so many; fewer are the last."""
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
        """Bring the write-ahead log into the file once it has grown."""
        if self._pages < CHECKPOINT_PAGES:
            return
        checkpoint = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        [(_, pages, moved)] = checkpoint.fetchall()
        self._resume = 0.0
        now = time.monotonic()
        if moved < pages and now < (self._quiet or math.inf):
            self._quiet = self._quiet or now + QUIET_SECONDS
            self._reading.clear()
        else:  # another program that reads is not waited for
            self.let_read()
            self._pages = 0

    def let_read(self) -> None:
        """Let other threads read, whatever has become of a checkpoint."""
        self._quiet = 0.0
        self._reading.set()
