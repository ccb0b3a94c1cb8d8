"""The thread that reads the file of the SQLite room log, while the chat goes on.

A search may take a processor for many milliseconds. So this thread is a nice one: where there is
not enough for all, it is those who talk that go first. It cannot be one of Trio's, which are used
again for other things, as a thread without privileges cannot take that back.
"""

from __future__ import annotations

import contextlib
import os
import queue
import sqlite3
import sys
import threading
from typing import TYPE_CHECKING, Final

import trio
from attrs import define, field

from trio_chat.protocol.commands import MAX_POSITION
from trio_chat.roomlog.sqlite import rows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio_chat.protocol.events import PersistentEntry

# As the nice(1) command without a number.
NICENESS: Final = 10
NICEST: Final = 19


@define(eq=False)
class EntryQuery:
    """Which persistent entries of a room to read, and what came of it once `done` is set.

    Those from `first` to `last` that hold all the words, at most `limit`, oldest first; they are in
    batches that meet `condition`, the newest first if `newest`.
    """

    room: str
    condition: str
    values: Sequence[int | str]
    limit: int
    newest: bool = True
    first: int = 0
    last: int = MAX_POSITION
    words: Sequence[str] = ()
    entries: list[PersistentEntry] = field(factory=list)
    error: Exception | None = None
    abandoned: bool = False
    done: trio.Event = field(factory=trio.Event)


class StoreReader:
    """Reads one query after the other, through a connection that cannot write."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        """Begin; to be made within Trio."""
        self._connection = connection
        # Each client has one query here at the most.
        self._queries: queue.SimpleQueue[EntryQuery | None] = queue.SimpleQueue()
        self._closing = False
        self._closed = trio.Event()
        self._token = trio.lowlevel.current_trio_token()
        threading.Thread(target=self._run, name="trio_chat reads", daemon=True).start()

    async def read(self, query: EntryQuery) -> list[PersistentEntry]:
        """The entries; raises `sqlite3.Error`."""
        self._queries.put(query)
        try:
            await query.done.wait()
        finally:
            query.abandoned = True
        if query.error is not None:
            raise query.error
        return query.entries

    async def close(self) -> None:
        """End what is being read, and close the connection."""
        self._closing = True
        self._connection.interrupt()
        self._queries.put(None)
        await self._closed.wait()

    # --- in the thread ----------------------------------------------------------------------------

    def _run(self) -> None:
        _be_nice()
        while (query := self._queries.get()) is not None:
            if not (self._closing or query.abandoned):
                self._select(query)
            self._tell(query.done)
        self._connection.close()
        self._tell(self._closed)

    def _select(self, query: EntryQuery) -> None:
        # One statement, so that the room is the same from beginning to end.
        statement = f"{rows.SELECT} AND {query.condition}"
        order = "DESC" if query.newest else "ASC"
        try:
            with contextlib.closing(
                self._connection.execute(
                    f"{statement} ORDER BY position {order}", (query.room, *query.values)
                )
            ) as batches:
                query.entries = _chosen(query, batches)
        except Exception as error:  # noqa: BLE001 - whoever asked has to hear of it, whatever it is
            query.error = error

    def _tell(self, event: trio.Event) -> None:
        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(event.set)


def _chosen(query: EntryQuery, batches: sqlite3.Cursor) -> list[PersistentEntry]:
    """What a query asks for, from batches in its order: few more are read than it takes."""
    found: list[PersistentEntry] = []
    step = -1 if query.newest else 1
    # As many as it takes if they are full. SQLite lets go of the GIL for each row: with Python run
    # in between, the hub and this thread would wait for each other once a row. In a search it is
    # finding a row that takes long, and the next might be far.
    enough = 1 if query.words else query.limit // rows.MOST + 2
    while some := batches.fetchmany(enough):
        for columns in some:
            found += [
                entry
                for entry in rows.entries(query.room, columns, query.words)[::step]
                if query.first <= entry.position <= query.last
            ]
            if len(found) >= query.limit:
                return found[: query.limit][::step]
    return found[::step]


def _be_nice() -> None:
    """Give way to others; elsewhere than on Linux it would be the whole process that does."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with contextlib.suppress(OSError):  # a sandbox may forbid it
            niceness = os.getpriority(os.PRIO_PROCESS, thread) + NICENESS
            os.setpriority(os.PRIO_PROCESS, thread, min(niceness, NICEST))
