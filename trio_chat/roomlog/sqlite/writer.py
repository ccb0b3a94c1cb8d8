"""The thread that writes the SQLite file, and owns the writing connection.

An append is one transaction. The thread's knowledge of the rooms is its own.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import sqlite3
import threading
from functools import partial
from typing import TYPE_CHECKING, Final, TypeAlias

import trio
from attrs import define, field

from trio_chat.errors import Code, Refused
from trio_chat.protocol.events import WRITTEN, Ruled
from trio_chat.protocol.names import SERVER
from trio_chat.roomlog.ranks import without
from trio_chat.roomlog.retention import Retention
from trio_chat.roomlog.rules import NO_RULES, Rules, decide
from trio_chat.roomlog.sqlite.append import Append, load
from trio_chat.roomlog.sqlite.file import BUSY_SECONDS
from trio_chat.roomlog.sqlite.lookout import IDLE_SECONDS, Lookout
from trio_chat.roomlog.sqlite.maintenance import Tidy
from trio_chat.roomlog.sqlite.removing import has_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from trio_chat.protocol.events import TopicSet
    from trio_chat.roomlog import Result
    from trio_chat.roomlog.ranks import RoomTest
    from trio_chat.roomlog.sqlite.append import RoomRows
    from trio_chat.roomlog.sqlite.file import StoreFile

logger = logging.getLogger("trio_chat")

NOT_SAID: Final = "not said: the server cannot save messages now; please try again later"


KnownRooms: TypeAlias = "dict[str, tuple[int, TopicSet | None, Rules]]"
"""The newest position of rooms, by their names, the newest topic if there is one, and the rules."""


@define(eq=False)
class Job:
    """Drafts to append. Once `done` is set, the job holds the results.

    `in_use` tells the thread whether a room has to stay, and `rules` which of the stored rules of a
    room count.
    """

    # Some drafts may be refused already.
    drafts: Sequence[Result]
    in_use: RoomTest
    rules: Callable[[str, Rules], Rules]
    # Whether one of them may be a `Ruled`.
    ruled: bool
    # Whether one of them may be a `Held`.
    holds: bool = False
    results: Sequence[Result] = ()
    # The rooms that have spoken, and the names of the rooms forgotten for new ones.
    spoken: KnownRooms = field(factory=dict)
    forgotten: Sequence[str] = ()
    # Whether the write failed.
    failed: bool = False
    done: trio.Event = field(factory=trio.Event)


@define(eq=False)
class CheckJob:
    """A check that another process can continue with the file. `problem` says why it cannot.

    It is valid once `done` is set.
    """

    problem: str = ""
    done: trio.Event = field(factory=trio.Event)


@define(eq=False)
class PauseJob:
    """Leave the file alone until a `ResumeJob`. `done` is set once the connection is closed."""

    done: trio.Event = field(factory=trio.Event)


@define(eq=False)
class ResumeJob:
    """Write the file again."""


AnyJob: TypeAlias = "Job | Retention | CheckJob | PauseJob | ResumeJob"
Jobs: TypeAlias = "queue.SimpleQueue[AnyJob | None]"
"""A job for the thread: append, keep more or less, check the file, pause, continue, or end."""


class Writer:
    """The thread's work. Only `known`, `identity`, `lock` and `reading` are for other threads."""

    def __init__(self, file: StoreFile, retention: Retention) -> None:
        """Open the file and read the state of its rooms. Raises `sqlite3.Error`."""
        self._file = file
        self._retention = retention
        self._failing = False
        self._lookout = Lookout(file)
        # Set while other threads may begin to read the file.
        self.reading = threading.Event()
        self.reading.set()
        self._connect()

    @property
    def lock(self) -> int:
        """The descriptor that holds the right to write the file."""
        return self._file.lock

    @property
    def identity(self) -> str:
        """The log's identity. Valid before `run`."""
        return self._rooms.identity

    def known(self) -> KnownRooms:
        """All rooms in the file. Valid before `run`."""
        return _known(self._rooms.by_name.values())

    def run(
        self,
        jobs: Jobs,
        token: trio.lowlevel.TrioToken,
        found: Callable[[tuple[str, ...]], object],
    ) -> None:
        """Do jobs until a `None`, tidy in between, then close the file.

        `found` is called in Trio's thread with the problems of the file, each time they change.
        """

        def look() -> None:
            if self._lookout.due and self._lookout.look(self._connection, self._retention):
                token.run_sync_soon(found, self._lookout.problems)

        try:
            while (job := self._next(jobs, look)) is not None:
                if isinstance(job, Job):
                    # The hub owns the list again once it is told.
                    entries, pages = len(job.drafts), self._append(job)
                    token.run_sync_soon(job.done.set)
                    if self._tidy_some(entries, pages) and pages:
                        self._works()
                elif isinstance(job, Retention):
                    self._retention = job
                    self._tidy.retain(job)
                elif isinstance(job, CheckJob):
                    job.problem = self._check()
                    token.run_sync_soon(job.done.set)
                elif isinstance(job, PauseJob):
                    self._tidy.let_read()
                    self._connection.close()
                    token.run_sync_soon(job.done.set)
                    if jobs.get() is None:
                        break
                    self._reopen()
        finally:
            with contextlib.suppress(sqlite3.Error):
                self._connection.close()
            self._file.close()

    def _next(self, jobs: Jobs, look: Callable[[], None]) -> AnyJob | None:
        while True:
            look()
            wait = self._tidy.wait()
            try:
                return jobs.get(timeout=min(wait, IDLE_SECONDS))
            except queue.Empty:
                if wait <= IDLE_SECONDS:
                    self._tidy_some(0, 0)

    def _connect(self) -> None:
        # A process before this one may have ended before it wiped what it removed.
        left = self._file.has_log()
        self._connection = self._file.writer()
        try:
            self._rooms = load(self._connection, self._retention.entries)
            self._tidy = Tidy(
                self._connection, self._rooms, self._retention, self.reading, wipes=left
            )
        except BaseException:
            self._connection.close()
            raise

    def _append(self, job: Job) -> int:
        """Append a job's drafts. Refuse the persistent ones if that fails or if there is no space.

        Returns the number of pages written.
        """
        drafts = job.drafts
        if (full := self._lookout.full) is not None:
            refusal = Refused(full.sentence, code=Code.CANNOT_WRITE, limit=full.limit)
            drafts = _refused(drafts, refusal, but_server=True)
            if not any(isinstance(draft, Ruled) for draft in drafts):
                job.results = drafts
                return 0
        append = Append(self._connection, self._rooms, self._retention, job.in_use, job.rules)
        try:
            if job.ruled:
                current = partial(self._rules_of, job)
                drafts = decide(drafts, current, self._count, self._has_texts)
            drafts = append.write(drafts, ruled=job.ruled, holds=job.holds)
        except sqlite3.Error as error:
            self._failed(error)
            job.failed = True
            job.results = _refused(drafts, Refused(NOT_SAID, code=Code.CANNOT_WRITE))
            return 0
        job.results = without(append.refused, drafts)
        spoken, forgotten = append.committed()
        job.spoken = _known(spoken)
        if job.ruled:
            job.spoken |= self._ruled(job.drafts)
        job.forgotten = [room.name for room in forgotten]
        if append.removes:
            self._tidy.wipe()
        self._tidy.look_at(spoken)
        self._tidy.look_at(forgotten)
        return append.pages(len(job.drafts))

    def _count(self, name: str, value: str) -> int:
        rooms = self._rooms.by_name.values()
        return sum(room.rules.fields.get(name) == value for room in rooms)

    def _rules_of(self, job: Job, room: str) -> Rules:
        known = self._rooms.by_name.get(room)
        return job.rules(room, NO_RULES if known is None else known.rules)

    def _has_texts(self, room: str, action: int) -> bool:
        return has_texts(self._connection, room, action)

    def _ruled(self, drafts: Sequence[Result]) -> KnownRooms:
        """Return the rooms whose rules somebody wanted to change, with the rules that they have.

        After a failed write, they may have others than the caller knows.
        """
        names = {draft.room for draft in drafts if isinstance(draft, Ruled)}
        return _known(room for name in names if (room := self._rooms.by_name.get(name)))

    def _failed(self, error: sqlite3.Error) -> None:
        """After a failed write, reread the state of the file. Log the first failure only."""
        if not self._failing:
            self._failing = True
            logger.error(
                "the room log cannot be written",
                extra={"file": str(self._file.path), "error": str(error)},
            )
        if not self._rolled_back() or isinstance(error, sqlite3.IntegrityError):
            self._reopen()
        self._tidy.hold_off()
        # Once is enough: every message of the chat waits as long.
        self._wait_for_others(0)

    def _works(self) -> None:
        """Log that writing works again, if it failed before."""
        if self._failing:
            self._failing = False
            self._wait_for_others(BUSY_SECONDS)
            logger.info("the room log is written again", extra={"file": str(self._file.path)})

    def _wait_for_others(self, seconds: float) -> None:
        with contextlib.suppress(sqlite3.Error):
            self._connection.execute(f"PRAGMA busy_timeout = {round(seconds * 1000)}")

    def _rolled_back(self) -> bool:
        """Whether there is a connection, and it is no longer in a transaction."""
        try:
            if self._connection.in_transaction:
                self._connection.rollback()
        except sqlite3.Error:
            return False
        return True

    def _reopen(self) -> None:
        """Start over with the file: after a failed write, its state is unknown.

        If this fails too, the connection stays closed until the next write tries again. The same
        happens while another file is in its place, because its content is unknown.
        """
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()
            if not self._lookout.moved():
                self._connect()

    def _check(self) -> str:
        """Return why another process could not continue with the file, or an empty text."""
        path = self._file.path
        if self._lookout.moved():
            return (
                f"{path} or its lock was removed, moved or replaced: put it back, "
                f"or stop the daemon and start it again"
            )
        try:
            with contextlib.closing(self._file.reader()) as connection:
                connection.execute("SELECT forgotten FROM log").fetchall()
        except sqlite3.Error as error:
            return f"cannot use {path}: {error}"
        return ""

    def _tidy_some(self, entries: int, pages: int) -> bool:
        """Tidy a little. Return whether that worked."""
        try:
            self._tidy.some(entries, pages)
        except sqlite3.Error as error:
            self._failed(error)
            return False
        return True


def _refused(
    drafts: Sequence[Result], refusal: Refused, *, but_server: bool = False
) -> Sequence[Result]:
    """Refuse all that would be written.

    `but_server` lets operators of the server act: they may have to end what fills the disk.
    """
    sentence = str(refusal).replace("not said", "not done", 1)
    not_done = Refused(sentence, code=refusal.code, limit=refusal.limit)
    results: list[Result] = []
    for draft in drafts:
        if not isinstance(draft, WRITTEN) or (
            but_server and isinstance(draft, Ruled) and draft.room == SERVER
        ):
            results.append(draft)
        else:
            results.append(not_done if isinstance(draft, Ruled) else refusal)
    return results


def _known(rooms: Iterable[RoomRows]) -> KnownRooms:
    return {room.name: (room.position, room.topic, room.rules) for room in rooms}
