"""A room log in an SQLite file: what is delivered is in the file before.

Appends go to a thread of their own (`writer`), reads to another and searches to a third, through
connections that cannot write. So no read waits for a search, and no append for either.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import sqlite3
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Literal

import trio
from attrs import frozen

from trio_chat.errors import StoreError
from trio_chat.protocol.commands import MAX_POSITION
from trio_chat.protocol.events import PERSISTENT
from trio_chat.roomlog import LoggedRoom
from trio_chat.roomlog.claims import Claims
from trio_chat.roomlog.commits import Commits
from trio_chat.roomlog.memory import HistoriesSnapshot
from trio_chat.roomlog.sqlite.file import StoreFile, open_store, real
from trio_chat.roomlog.sqlite.lookups import Page, page, stretch
from trio_chat.roomlog.sqlite.reader import StoreReader
from trio_chat.roomlog.sqlite.writer import CheckJob, Job, Jobs, PauseJob, ResumeJob, Writer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from pathlib import Path

    from trio_chat.config.settings import Durability
    from trio_chat.protocol.events import Entry, PersistentEntry
    from trio_chat.roomlog import Result, Stretch
    from trio_chat.roomlog.retention import Retention

# For an append that has begun to come to its end, when its caller is cancelled.
APPEND_SECONDS = 5.0
# For the last append, and the file to be closed.
CLOSE_SECONDS = 5.0
# For a file that another process has just given up to be opened, and between two tries.
REOPEN_SECONDS = 10.0
RETRY_SECONDS = 0.1

logger = logging.getLogger("trio_chat")


@frozen
class OpenStore:
    """A file that is open: to write, to read pages, and to search."""

    writer: Writer
    reader: sqlite3.Connection
    searcher: sqlite3.Connection


@contextlib.asynccontextmanager
async def open_sqlite_log(
    path: Path, durability: Durability, retention: Retention, *, lock: int | None = None
) -> AsyncGenerator[SqliteLog, None]:
    """Keep rooms in a file for the length of a block, made anew if there is none.

    `lock` is the right to write the file, where another log that did so has given it. Nothing is
    checked again then, and what fails is tried again for `REOPEN_SECONDS`: there is no way back.
    The lock is this log's from here on. Raises `StoreError` if the file cannot be used; it is then
    as it was.
    """
    # From here to the block there is no checkpoint at which what has been opened could get lost.
    if lock is None:
        opened = await trio.to_thread.run_sync(_open, path, durability, retention)
    else:
        opened = await _open_again(StoreFile(real(path), lock, durability), retention)
    jobs: Jobs = queue.SimpleQueue()
    async with trio.open_nursery() as nursery:
        # Not ended by who cancels the chat, which may have an append to finish, but by the block.
        writing = trio.CancelScope(shield=True)
        log = SqliteLog(opened, jobs, Claims(retention.rooms))
        nursery.start_soon(_write, opened.writer, jobs, writing, log.commits)
        try:
            yield log
        finally:
            with trio.move_on_after(CLOSE_SECONDS, shield=True):
                await log.close_readers()
            jobs.put(None)
            writing.deadline = trio.current_time() + CLOSE_SECONDS


def _open(path: Path, durability: Durability, retention: Retention) -> OpenStore:
    file = open_store(path, durability)
    try:
        return _connect(file, retention)
    except BaseException:
        file.close()
        raise


def _connect(file: StoreFile, retention: Retention) -> OpenStore:
    with contextlib.ExitStack() as opened:
        try:
            if file.update():
                logger.info("the store has the form of this version now")
            reader = opened.enter_context(contextlib.closing(file.reader()))
            # From now on it holds the file open: else the writer would take itself for the last one
            # when it pauses, and bring all of the write-ahead log into the file.
            reader.execute("SELECT forgotten FROM log").fetchall()
            searcher = opened.enter_context(contextlib.closing(file.reader()))
            writer = Writer(file, retention)
        except sqlite3.Error as error:
            raise StoreError(f"cannot use {file.path}: {error}") from None
        opened.pop_all()
    return OpenStore(writer, reader, searcher)


async def _open_again(file: StoreFile, retention: Retention) -> OpenStore:
    """Open a file that has just been in use; closes it if that fails for too long."""
    deadline = trio.current_time() + REOPEN_SECONDS
    try:
        while True:
            try:
                return await trio.to_thread.run_sync(_connect, file, retention)
            except StoreError as error:
                if trio.current_time() >= deadline:
                    raise
                logger.warning("the store cannot be opened yet", extra={"error": str(error)})
            await trio.sleep(RETRY_SECONDS)  # a file tells nobody when it is free
    except BaseException:
        file.close()
        raise


async def _write(writer: Writer, jobs: Jobs, writing: trio.CancelScope, commits: Commits) -> None:
    # A limiter of its own: the thread takes nothing away from those of the embedding program.
    # Where closing takes too long it is left to itself, which loses nothing that was appended.
    with writing:
        await trio.to_thread.run_sync(
            writer.run,
            jobs,
            trio.lowlevel.current_trio_token(),
            commits.found,
            abandon_on_cancel=True,
            limiter=trio.CapacityLimiter(1),
        )


class SqliteLog:
    """See `trio_chat.roomlog.LocalLog`; made by `open_sqlite_log`."""

    shared: Literal[False] = False

    def __init__(self, opened: OpenStore, jobs: Jobs, claims: Claims) -> None:
        """To be made before the writer runs."""
        reading = opened.writer.reading
        self._reader = StoreReader(opened.reader, reading, name="trio_chat reads")
        self._searcher = StoreReader(opened.searcher, reading, name="trio_chat searches")
        self._jobs = jobs
        self._known = opened.writer.known()
        self._identity = opened.writer.identity
        self.lock = opened.writer.lock
        self.claims = claims
        self.commits = Commits()

    @property
    def identity(self) -> str:
        """The log's name; see `RoomLog.identity`."""
        return self._identity

    def snapshot(self, room: str) -> LoggedRoom:
        """A room at this moment."""
        position, topic = self._known.get(room, (0, None))
        if topic is None:
            return LoggedRoom(position=position, log=self._identity)
        author, nick, time = topic.author, topic.nick, topic.time
        return LoggedRoom(topic.text, author, nick, time, position, self._identity)

    async def append(self, drafts: Sequence[Entry]) -> Sequence[Result]:
        """Give each draft its place; persistent ones are refused if the file cannot be written."""
        await trio.lowlevel.checkpoint_if_cancelled()
        # Here, in the order of the appends. The writer leaves refusals as they are. Claims never
        # fail with the disk: one that was granted stays so if nothing can be written.
        decided = self.claims.decide_all(drafts)
        if not any(isinstance(draft, PERSISTENT) for draft in decided):
            await trio.lowlevel.cancel_shielded_checkpoint()
            return decided
        job = Job(decided, self.claims.in_use)
        began = perf_counter()
        self._jobs.put(job)
        try:
            await job.done.wait()
        except trio.Cancelled:
            with trio.move_on_after(APPEND_SECONDS, shield=True):
                await job.done.wait()
            raise
        finally:
            self._note(job)
        self.commits.note(perf_counter() - began, worked=not job.failed)
        return job.results

    def _note(self, job: Job) -> None:
        """Take note of what has been committed."""
        for name in job.forgotten:
            self._known.pop(name, None)
        self._known.update(job.spoken)

    def histories(self) -> HistoriesSnapshot:
        """Nothing: all of it is in the file."""
        return HistoriesSnapshot()

    async def check(self) -> None:
        """See that the file is where it was, and can be opened."""
        check = CheckJob()
        self._jobs.put(check)
        await check.done.wait()
        if check.problem:
            raise StoreError(check.problem)

    async def pause(self) -> None:
        """Close the connection that writes; what reads makes no checkpoints, and may stay."""
        pause = PauseJob()
        self._jobs.put(pause)
        await pause.done.wait()

    def resume(self) -> None:
        """Open it again, if it was closed or is going to be."""
        self._jobs.put(ResumeJob())

    def retain(self, retention: Retention) -> None:
        """Keep so much from now on."""
        self._jobs.put(retention)

    async def read(self, room: str, after: int, limit: int) -> list[PersistentEntry]:
        """The persistent entries of a room after a position, oldest first, at most `limit`."""
        wanted = Page(room, limit, newest=False, first=_known(after + 1))
        return await self._reader.read(partial(page, wanted=wanted))

    async def before(self, room: str, position: int | None, limit: int) -> list[PersistentEntry]:
        """The newest persistent entries before a position, oldest first, at most `limit`."""
        last = MAX_POSITION if position is None else _known(position - 1)
        wanted = Page(room, limit, newest=True, last=last)
        return await self._reader.read(partial(page, wanted=wanted))

    async def search(self, room: str, words: Sequence[str], limit: int, before: int) -> Stretch:
        """Look through a stretch of a room for entries that hold all the words."""
        looked = partial(stretch, room=room, words=words, limit=limit, last=_known(before - 1))
        return await self._searcher.read(looked)

    async def close_readers(self) -> None:
        """Close the connections for reading, and end what is being read through them."""
        for reader in (self._reader, self._searcher):
            await reader.close()


def _known(position: int) -> int:
    """The nearest position that SQLite knows as one."""
    return max(0, min(position, MAX_POSITION))
