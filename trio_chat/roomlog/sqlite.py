"""A room log in an SQLite file: what is delivered is in the file before.

Appends go to a thread of their own (`sqlite_writer`); reads to another, through a connection that
cannot write, so that a long one delays nobody.
"""

from __future__ import annotations

import queue
import sqlite3
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from trio_chat.errors import StoreError
from trio_chat.events import KEPT, TopicSet
from trio_chat.roomlog import sqlite_rows
from trio_chat.roomlog.sqlite_file import open_store
from trio_chat.roomlog.sqlite_writer import Job, Jobs, Writer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from pathlib import Path

    from trio_chat.events import Entry, Kept
    from trio_chat.roomlog import Result
    from trio_chat.roomlog.retention import Retention
    from trio_chat.roomlog.sqlite_file import StoreFile
    from trio_chat.settings import Durability

# For an append that has begun to come to its end, when its caller is cancelled.
APPEND_SECONDS = 5.0
# For the last append, and the file to be closed.
CLOSE_SECONDS = 5.0


@asynccontextmanager
async def open_sqlite_log(
    path: Path, durability: Durability, retention: Retention
) -> AsyncGenerator[SqliteLog, None]:
    """Keep rooms in a file for the length of a block, made anew if there is none.

    Raises `StoreError` if the file cannot be used; it is then as it was.
    """
    file = await trio.to_thread.run_sync(open_store, path, durability)
    writer, reader = await trio.to_thread.run_sync(_connect, file, retention)
    jobs: Jobs = queue.SimpleQueue()
    async with trio.open_nursery() as nursery:
        ended = trio.Event()
        nursery.start_soon(_write, writer, jobs, ended)
        log = SqliteLog(reader, jobs, writer.topics())
        try:
            yield log
        finally:
            with trio.move_on_after(CLOSE_SECONDS, shield=True):
                await log.close_reader()
                jobs.put(None)
                await ended.wait()
            nursery.cancel_scope.cancel("the room log is closing")


def _connect(file: StoreFile, retention: Retention) -> tuple[Writer, sqlite3.Connection]:
    try:
        return Writer(file, retention), file.reader()
    except sqlite3.Error as error:
        file.close()
        raise StoreError(f"cannot use {file.path}: {error}") from None


async def _write(writer: Writer, jobs: Jobs, ended: trio.Event) -> None:
    # A limiter of its own: the thread takes nothing away from those of the embedding program.
    # Where closing takes too long it is left to itself, which loses nothing that was appended.
    await trio.to_thread.run_sync(
        writer.run,
        jobs,
        trio.lowlevel.current_trio_token(),
        abandon_on_cancel=True,
        limiter=trio.CapacityLimiter(1),
    )
    ended.set()


class SqliteLog:
    """See `trio_chat.roomlog.RoomLog`; made by `open_sqlite_log`."""

    def __init__(self, reader: sqlite3.Connection, jobs: Jobs, topics: dict[str, str]) -> None:
        self._reader = reader
        # One read at a time, each of at most as many rows as a room keeps.
        self._reading = trio.CapacityLimiter(1)
        self._jobs = jobs
        self._topics = topics

    def topic(self, room: str) -> str:
        """The newest topic of a room."""
        return self._topics.get(room, "")

    async def append(self, drafts: Sequence[Entry]) -> Sequence[Result]:
        """Give each draft its place; kept ones are refused if the file cannot be written."""
        if not any(isinstance(draft, KEPT) for draft in drafts):
            await trio.lowlevel.checkpoint()
            return drafts
        await trio.lowlevel.checkpoint_if_cancelled()
        job = Job(drafts)
        self._jobs.put(job)
        try:
            await job.done.wait()
        except trio.Cancelled:
            with trio.move_on_after(APPEND_SECONDS, shield=True):
                await job.done.wait()
            raise
        for name in job.forgotten:
            self._topics.pop(name, None)
        for result in job.results:
            if isinstance(result, TopicSet):
                self._topics[result.room] = result.text
        return job.results

    def retain(self, retention: Retention) -> None:
        """Keep so much from now on."""
        self._jobs.put(retention)

    async def read(self, room: str, after: int, limit: int) -> list[Kept]:
        """The kept entries of a room after a position, oldest first, at most `limit`."""
        return await self._read(room, "position > ? ORDER BY position", [after], limit)

    async def before(self, room: str, position: int | None, limit: int) -> list[Kept]:
        """The newest kept entries before a position, oldest first, at most `limit`."""
        where, values = ("position < ?", [position]) if position is not None else ("TRUE", [])
        newest = await self._read(room, f"{where} ORDER BY position DESC", values, limit)
        return newest[::-1]

    async def search(self, room: str, words: Sequence[str], limit: int) -> list[Kept]:
        """The newest kept entries that hold all the words, oldest first, at most `limit`."""
        # In SQLite's own code, which needs no GIL: a search in Python would hold up the hub.
        holds = " AND ".join(["instr(coalesce(folded, lower(text)), ?)"] * len(words))
        newest = await self._read(room, f"{holds} ORDER BY position DESC", list(words), limit)
        return newest[::-1]

    async def _read(
        self, room: str, condition: str, values: list[int] | list[str], limit: int
    ) -> list[Kept]:
        select = f"SELECT {sqlite_rows.COLUMNS} FROM entries"  # noqa: S608 - all of it is ours
        query = f"{select} WHERE room = ? AND {condition} LIMIT ?"
        return await trio.to_thread.run_sync(
            self._select, room, query, values, limit, limiter=self._reading
        )

    def _select(
        self, room: str, query: str, values: list[int] | list[str], limit: int
    ) -> list[Kept]:
        found = self._reader.execute("SELECT id, shown FROM rooms WHERE name = ?", (room,))
        known = found.fetchone()
        if known is None:
            return []
        key, shown = known
        rows = self._reader.execute(query, (key, *values, limit)).fetchall()
        return [sqlite_rows.entry(room, shown, row) for row in rows]

    async def close_reader(self) -> None:
        """Close the connection for reading, once the last read is done with it."""
        await trio.to_thread.run_sync(self._reader.close, limiter=self._reading)
