"""A thread that reads the SQLite file while the chat goes on.

A search may use a processor for many milliseconds. So this thread has a low priority, and talk goes
before searching on a busy machine. It is not one of Trio's threads: Trio reuses those for other
work, and an unprivileged thread cannot raise its priority again.
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

# The increment of nice(1) without a number.
NICENESS: Final = 10
NICEST: Final = 19
# The writer keeps reads waiting for less time. After this it may have ended.
WAIT_SECONDS: Final = 1.0
# A read that goes on is interrupted again after so long.
INTERRUPT_SECONDS: Final = 0.05


@define(eq=False)
class ReadJob:
    """A function to call with a connection. Once `done` is set, `error` has its error, if any."""

    read: Callable[[sqlite3.Connection], None]
    error: Exception | None = None
    abandoned: bool = False
    done: trio.Event = field(factory=trio.Event)

    def run(self, connection: sqlite3.Connection) -> None:
        """Call the function, and record its result or its error."""
        try:
            self.read(connection)
        except Exception as error:  # noqa: BLE001 - the caller raises it, whatever it is
            self.error = error


class StoreReader:
    """Runs one read after the other, through a connection that cannot write."""

    def __init__(
        self, connection: sqlite3.Connection, reading: threading.Event, *, name: str
    ) -> None:
        """Start the thread with this name. Call this within Trio.

        No read begins while `reading` is not set.
        """
        self._connection = connection
        self._reading = reading
        # Each client has at most one job here. A job of a client that is gone takes no time.
        self._jobs: queue.SimpleQueue[ReadJob | None] = queue.SimpleQueue()
        self._closing = False
        self._closed = trio.Event()
        self._token = trio.lowlevel.current_trio_token()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    async def read(self, read: Callable[[sqlite3.Connection], T]) -> T:
        """Call a function with the connection in the thread. Return its result, or raise its error.

        If the caller is cancelled, a call that has begun runs to its end, and its result is
        dropped.
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
        """Interrupt the running read, and close the connection."""
        self._closing = True
        self._jobs.put(None)
        while not self._closed.is_set():
            # Between two statements of a read there is nothing to interrupt: try again.
            with contextlib.suppress(sqlite3.ProgrammingError):  # the thread has closed it
                self._connection.interrupt()
            with trio.move_on_after(INTERRUPT_SECONDS):
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
    """Lower the thread's priority on Linux. Elsewhere this would lower the whole process's."""
    if sys.platform == "linux":
        thread = threading.get_native_id()
        with contextlib.suppress(OSError):  # a sandbox may forbid it
            niceness = os.getpriority(os.PRIO_PROCESS, thread) + NICENESS
            os.setpriority(os.PRIO_PROCESS, thread, min(niceness, NICEST))
