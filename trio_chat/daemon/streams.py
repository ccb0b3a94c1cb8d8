"""The standard streams of a process: none of them is missing, and the daemon never waits for them.

A pipe with a stuck reader blocks its writer, and so does a terminal after Ctrl-S. In the daemon
that would be the whole chat. So a thread writes, and counts the lines that it has to drop.
"""

from __future__ import annotations

import atexit
import io
import logging
import os
import select
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

# Some ten thousand lines of a log.
WAITING_BYTES: Final = 1 << 20
# Between two writes, for lines to gather: to wake the thread costs as much as ten of them.
GATHER_SECONDS: Final = 0.01
# At the end of the process, for a reader that is merely slow.
DRAIN_SECONDS: Final = 1.0

MODES: Final = {"stdin": "r", "stdout": "w", "stderr": "w"}

logger = logging.getLogger("trio_chat")


def open_missing() -> None:
    """Open the standard streams that are closed, on /dev/null.

    The next file or socket would get the number of one that is closed. A client would then read
    what is written to standard error.
    """
    for descriptor, (name, mode) in enumerate(MODES.items()):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free: this one
            os.set_inheritable(descriptor, True)  # noqa: FBT003 - as it is called
            setattr(sys, name, open(descriptor, mode, closefd=False))  # noqa: SIM115 - to the end


def never_wait() -> None:
    """Have what is written to `sys.stdout` and `sys.stderr` wait in this process.

    Each gets a thread. At the end of the process, lines that wait have `DRAIN_SECONDS` to go out.
    An object without a descriptor, as tests put it there, stays in its place.
    """
    # In the background of a terminal with `stty tostop`, a line would stop the process.
    signal.signal(signal.SIGTTOU, signal.SIG_IGN)
    for name in ("stdout", "stderr"):
        stream: io.TextIOWrapper = getattr(sys, name)
        try:
            descriptor = stream.fileno()
        except io.UnsupportedOperation:
            continue
        stream.flush()
        waiting = WaitingOutput(descriptor, stream.name)
        waiting.start()
        atexit.register(waiting.drain, DRAIN_SECONDS)
        unwaiting = io.TextIOWrapper(
            waiting,  # type: ignore[type-var] # as the interpreter does with `python -u`
            encoding=stream.encoding,
            errors="backslashreplace",
            write_through=True,
        )
        setattr(sys, name, unwaiting)


def drain() -> None:
    """Write what waits, within `DRAIN_SECONDS`: another program is about to replace this one."""
    for stream in (sys.stdout, sys.stderr):
        waiting = getattr(stream, "buffer", None)
        if isinstance(waiting, WaitingOutput):
            waiting.drain(DRAIN_SECONDS)


class WaitingOutput(io.RawIOBase):
    """Bytes on their way to a descriptor, at most `WAITING_BYTES`; a thread of its own writes them.

    Lines beyond that are left out. So are lines that cannot be written, to a full disk or to a pipe
    without a reader. Once others could be written again, a warning in the log says how many.
    """

    def __init__(self, descriptor: int, name: str) -> None:
        self._descriptor = descriptor
        self._name = name
        # Guards all that follows, and is notified when it changes.
        self._changed = threading.Condition()
        self._waiting = bytearray()
        self._writing = False
        self._left_out = 0

    def start(self) -> None:
        """Begin to write."""
        # A daemon thread, because the process must end even while the thread cannot go on.
        threading.Thread(target=self._write_on, name=f"writes {self._name}", daemon=True).start()

    def writable(self) -> bool:
        """Say that this is for writing."""
        return True

    def write(self, data: ReadableBuffer, /) -> int:
        """Take all of it, or leave all of it out; its size in bytes."""
        lines = bytes(data)
        with self._changed:
            if len(self._waiting) + len(lines) > WAITING_BYTES:
                self._left_out += lines.count(b"\n")
            else:
                self._waiting += lines
                self._changed.notify_all()
        return len(lines)

    def drain(self, seconds: float) -> bool:
        """Wait so long until all has been written or left out; whether that is so."""
        with self._changed:
            return self._changed.wait_for(
                lambda: not (self._waiting or self._writing), timeout=seconds
            )

    def _write_on(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting)
                lines, self._waiting, self._writing = self._waiting, bytearray(), True
                left_out, self._left_out = self._left_out, 0
            try:
                write_all(self._descriptor, lines)
            except OSError:
                with self._changed:
                    self._left_out += left_out + lines.count(b"\n")
            else:
                if left_out:
                    logger.warning(
                        "%s could not be written to, and lines are missing",
                        self._name,
                        extra={"lines": left_out},
                    )
            with self._changed:
                self._writing = False
                self._changed.notify_all()
            time.sleep(GATHER_SECONDS)  # for more lines to gather


def write_all(descriptor: int, data: bytes | bytearray) -> None:
    """Write all of it, however long that takes; raises `OSError`."""
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(descriptor, rest) :]
        except BlockingIOError:  # another program has the same terminal or pipe, and set it so
            select.select([], [descriptor], [])
