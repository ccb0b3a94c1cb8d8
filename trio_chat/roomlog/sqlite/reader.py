"""A thread that reads the file of the SQLite room log, while the chat goes on.

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
from collections.abc import Callable
from typing import Final, TypeVar

import trio
from attrs import define, field

T = TypeVar("T")

# As the nice(1) command without a number.
NICENESS: Final = 10
NICEST: Final = 19
# The writer keeps reads waiting for less; it may have ended.
WAIT_SECONDS: Final = 1.0


@define(eq=False)
class ReadJob:
    """A function of a connection to call, and its error, if it has failed, once `done` is set."""

    read: Callable[[sqlite3.Connection], None]
    error: Exception | None = None
    abandoned: bool = False
    done: trio.Event = field(factory=trio.Event)

    def run(self, connection: sqlite3.Connection) -> None:
        """Do it, and note whether it has failed."""
        try:
            self.read(connection)
        except Exception as error:  # noqa: BLE001 - whoever asked has to hear of it, whatever it is
            self.error = error


class StoreReader:
    """Reads one thing after the other, through a connection that cannot write."""

    def __init__(
        self, connection: sqlite3.Connection, reading: threading.Event, *, name: str
    ) -> None:
        """Begin, in a thread of this name; to be made within Trio.

        No read begins while `reading` is not set.
        """
        self._connection = connection
        self._reading = reading
        # Each client has one job here at the most; that of a client that is gone takes no time.
        self._jobs: queue.SimpleQueue[ReadJob | None] = queue.SimpleQueue()
        self._closing = False
        self._closed = trio.Event()
        self._token = trio.lowlevel.current_trio_token()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    async def read(self, read: Callable[[sqlite3.Connection], T]) -> T:
        """Call a function of the connection in the thread; gives its result, raises its error.

        If the caller is cancelled, a call that has begun goes on to its end, for nobody.
        """
        results: list[T] = []
        job = ReadJob(lambda connection: results.append(read(connection)))
        self._jobs.put(job)
        try:
            await job.done.wait()
        finally:
            job.abandoned = True
        if job.error is not None:
            raise job.error
        return results[0]

    async def close(self) -> None:
        """End what is being read, and close the connection."""
        self._closing = True
        self._connection.interrupt()
        self._jobs.put(None)
        await self._closed.wait()

    # --- in the thread ----------------------------------------------------------------------------

    def _run(self) -> None:
        _be_nice()
        while (job := self._jobs.get()) is not None:
            self._reading.wait(WAIT_SECONDS)
            if self._closing:
                job.error = sqlite3.OperationalError("interrupted")
            elif not job.abandoned:
                job.run(self._connection)
            self._tell(job.done)
        self._connection.close()
        self._tell(self._closed)

    def _tell(self, event: trio.Event) -> None:
        with contextlib.suppress(trio.RunFinishedError):
            self._token.run_sync_soon(event.set)


def _be_nice() -> None:
    """Give way to others; elsewhere than on Linux it would be the whole process that does."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with contextlib.suppress(OSError):  # a sandbox may forbid it
            niceness = os.getpriority(os.PRIO_PROCESS, thread) + NICENESS
            os.setpriority(os.PRIO_PROCESS, thread, min(niceness, NICEST))
