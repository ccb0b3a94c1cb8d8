"""A room log in an SQLite file. Everything delivered is in the file first.

One thread appends (`writer`), one reads and one searches, the last two through connections that
cannot write. So reads do not wait for searches, and appends wait for neither.
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
from trio_chat.protocol.events import RULINGS, WRITTEN, Held
from trio_chat.roomlog.claims import Claims
from trio_chat.roomlog.commits import Commits
from trio_chat.roomlog.logged_room import LoggedRoom
from trio_chat.roomlog.order import now
from trio_chat.roomlog.room_history import HistoriesSnapshot
from trio_chat.roomlog.rules import NO_RULES
from trio_chat.roomlog.sqlite.file import StoreFile, open_store
from trio_chat.roomlog.sqlite.holding import read_held
from trio_chat.roomlog.sqlite.lock import real
from trio_chat.roomlog.sqlite.lookups import Page, page, stretch
from trio_chat.roomlog.sqlite.reader import StoreReader
from trio_chat.roomlog.sqlite.ruling import read_actions
from trio_chat.roomlog.sqlite.writer import CheckJob, Job, Jobs, PauseJob, ResumeJob, Writer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Collection, Sequence
    from pathlib import Path

    from trio_chat.config.settings import Durability
    from trio_chat.protocol.events import Entry, PersistentEntry
    from trio_chat.roomlog import Result, Stretch
    from trio_chat.roomlog.holding import Waiting
    from trio_chat.roomlog.retention import Retention
    from trio_chat.roomlog.rules import Action

# Seconds for a running append to finish when its caller is cancelled.
APPEND_SECONDS = 5.0
# Seconds for the last append and for closing the file.
CLOSE_SECONDS = 5.0
# Seconds to open a file that another process has just released, and between two tries.
REOPEN_SECONDS = 10.0
RETRY_SECONDS = 0.1

logger = logging.getLogger("trio_chat")


@frozen
class OpenStore:
    """An open file, with its writer and its two readers."""

    writer: Writer
    reader: sqlite3.Connection
    searcher: sqlite3.Connection


@contextlib.asynccontextmanager
async def open_sqlite_log(
    path: Path, durability: Durability, retention: Retention, *, lock: int | None = None
) -> AsyncGenerator[SqliteLog, None]:
    """Keep rooms in a file for the length of a block. The file is created if needed.

    `lock` is the right to write the file, if another log hands it over. Then nothing is checked
    again, and failures are retried for `REOPEN_SECONDS`, because there is no way back. The lock
    belongs to this log from this call on. Raises `StoreError` if the file cannot be used; the file
    is then unchanged.
    """
    # There is no checkpoint between here and the block, so nothing opened here can be lost.
    if lock is None:
        opened = await trio.to_thread.run_sync(_open, path, durability, retention)
    else:
        opened = await _open_again(StoreFile(real(path), lock, durability), retention)
    jobs: Jobs = queue.SimpleQueue()
    async with trio.open_nursery() as nursery:
        # The block ends this nursery, not whoever cancels the chat: an append may have to finish.
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
        return _connect(file, retention, at_start=True)
    except BaseException:
        file.close()
        raise


def _scrub(file: StoreFile) -> None:
    """Scrub an older file. That can wait for the next start, if there is no place for it now."""
    try:
        if file.scrub():
            logger.info("the store's free space is overwritten: no removed text can be left in it")
    except sqlite3.Error as error:
        logger.warning(
            "the store's free space cannot be overwritten now: removed texts may be left in it",
            extra={"file": str(file.path), "error": str(error)},
        )


def _connect(file: StoreFile, retention: Retention, *, at_start: bool = False) -> OpenStore:
    with contextlib.ExitStack() as opened:
        try:
            if file.update():
                logger.info("the store has the form of this version now")
            reader = opened.enter_context(contextlib.closing(file.reader()))
            # The reader holds the file open from here on. Otherwise the writer would be the last
            # connection when it pauses, and would move the whole write-ahead log into the file.
            reader.execute("SELECT forgotten FROM log").fetchall()
            if at_start:
                _scrub(file)
            searcher = opened.enter_context(contextlib.closing(file.reader()))
            writer = Writer(file, retention)
        except sqlite3.Error as error:
            raise StoreError(f"cannot use {file.path}: {error}") from None
        opened.pop_all()
    return OpenStore(writer, reader, searcher)


async def _open_again(file: StoreFile, retention: Retention) -> OpenStore:
    """Open a file that was just in use. Close it if that fails for too long."""
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


@trio.lowlevel.enable_ki_protection
async def _write(writer: Writer, jobs: Jobs, writing: trio.CancelScope, commits: Commits) -> None:
    # The thread has a limiter of its own, so it takes none of the embedding program's.
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
    """A `trio_chat.roomlog.LocalLog`, made by `open_sqlite_log`."""

    shared: Literal[False] = False
    at_hand: None = None

    def __init__(self, opened: OpenStore, jobs: Jobs, claims: Claims) -> None:
        """Create this before the writer runs."""
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

    @property
    def secret(self) -> str:
        """Nothing; see `RoomLog.secret`."""
        return ""

    def snapshot(self, room: str) -> LoggedRoom:
        """Return the state of a room at this moment."""
        position, topic, stored = self._known.get(room, (0, None, NO_RULES))
        rules = self.claims.rules(room, stored)
        if topic is None:
            return LoggedRoom(position=position, log=self._identity, rules=rules)
        author, nick, time = topic.author, topic.nick, topic.time
        return LoggedRoom(topic.text, author, nick, time, position, self._identity, rules)

    async def append(self, drafts: Sequence[Entry]) -> Sequence[Result]:
        """Order the drafts. Persistent ones are refused if the file cannot be written."""
        await trio.lowlevel.checkpoint_if_cancelled()
        # Claims are decided here, in the order of the appends, and the writer leaves refusals
        # alone. A claim never fails with the disk: a granted claim stands even if nothing can be
        # written.
        kinds = {*map(type, drafts)}
        decided = self.claims.decide_all(drafts, kinds)
        if kinds.isdisjoint(WRITTEN):
            await trio.lowlevel.cancel_shielded_checkpoint()
            return decided
        # The writer decides changes of rules too: it knows whether those before were written.
        ruled = not kinds.isdisjoint(RULINGS)
        claims = self.claims
        job = Job(decided, claims.in_use, claims.rules, ruled=ruled, holds=Held in kinds)
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
        """Apply what was committed."""
        if job.ruled:
            self.claims.follow(job.results)
        for name in job.forgotten:
            self._known.pop(name, None)
        self._known.update(job.spoken)

    def histories(self) -> HistoriesSnapshot:
        """Return nothing: all history is in the file."""
        return HistoriesSnapshot()

    async def check(self) -> None:
        """Check that the file is where it was, and can be opened."""
        check = CheckJob()
        self._jobs.put(check)
        await check.done.wait()
        if check.problem:
            raise StoreError(check.problem)

    async def pause(self) -> None:
        """Close the writing connection. The reading ones make no checkpoints, and stay open."""
        pause = PauseJob()
        self._jobs.put(pause)
        await pause.done.wait()

    def resume(self) -> None:
        """Open the writing connection again, even if it is yet to be closed."""
        self._jobs.put(ResumeJob())

    def allow(self, max_rooms: int, kept: Collection[str]) -> None:
        """Apply these rules for new rooms."""
        self.claims.allow(max_rooms, kept)

    def retain(self, retention: Retention) -> None:
        """Apply another retention from now on."""
        self._jobs.put(retention)

    async def read(self, room: str, after: int, limit: int) -> list[PersistentEntry]:
        """Return persistent entries of a room after a position, oldest first, at most `limit`."""
        wanted = Page(room, limit, newest=False, first=_known(after + 1))
        return await self._reader.read(partial(page, wanted=wanted))

    async def before(self, room: str, position: int | None, limit: int) -> list[PersistentEntry]:
        """Return the newest persistent entries before a position, oldest first, at most `limit`."""
        last = MAX_POSITION if position is None else _known(position - 1)
        wanted = Page(room, limit, newest=True, last=last)
        return await self._reader.read(partial(page, wanted=wanted))

    async def actions(self, room: str, before: int | None, limit: int) -> list[Action]:
        """Return the newest actions of a room before a position, oldest first, at most `limit`."""
        last = MAX_POSITION if before is None else _known(before - 1)
        return await self._reader.read(partial(read_actions, room=room, limit=limit, last=last))

    async def held(self, room: str) -> list[Waiting]:
        """Return the messages of a room that wait for a moderator, oldest first."""
        return await self._reader.read(partial(read_held, room=room, now=now() / 1000))

    async def search(self, room: str, words: Sequence[str], limit: int, before: int) -> Stretch:
        """Search a stretch of a room for entries that contain all the words."""
        looked = partial(stretch, room=room, words=words, limit=limit, last=_known(before - 1))
        return await self._searcher.read(looked)

    async def close_readers(self) -> None:
        """Close the reading connections, and interrupt what they are reading."""
        for reader in (self._reader, self._searcher):
            await reader.close()


def _known(position: int) -> int:
    """Return the nearest position that fits an SQLite integer."""
    return max(0, min(position, MAX_POSITION))
