"""The processes below this one: started, adopted, and noticed when they end.

A worker's successor is started by the worker, which then ends. Linux gives such an orphan to the
nearest *subreaper* above it. So the parent is one (PR_SET_CHILD_SUBREAPER), and learns how each of
them ends. A pipe that the successors inherit would show only that they have ended.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Final

import trio
from attrs import define, field

PR_SET_CHILD_SUBREAPER: Final = 36  # prctl(2)
STDERR: Final = 2


def become_subreaper() -> None:
    """Be given the processes that descendants leave behind. Raises `OSError`."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@define(eq=False)
class Child:
    """A process below this one. `code` is its exit code, or less than 0 for a signal.

    The code is `None` while it runs, and if nobody could tell.
    """

    pid: int
    ended: trio.Event = field(factory=trio.Event)
    code: int | None = None

    def send(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        if not self.ended.is_set():
            # Until its end is noticed, its number belongs to nobody else.
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it, unless it has ended."""
        self.send(signal.SIGKILL)

    @property
    def fate(self) -> str:
        """The end of the process, in words."""
        if self.code is None:
            return "has ended"
        if self.code < 0:
            return f"was killed by {signal.Signals(-self.code).name}"
        return f"has ended with exit code {self.code}"


@define
class Children:
    """All processes below this one; `reap` must be called at each SIGCHLD."""

    _running: dict[int, Child] = field(factory=dict)

    def start(
        self, environ: Mapping[str, str], descriptors: Sequence[int], stderr: int | None = None
    ) -> Child:
        """Run the command of this process once more, with these descriptors. Raises `OSError`.

        It has a process group of its own, so that Ctrl-C in a terminal reaches this process alone.
        """
        # From a descriptor to itself: that takes the mark close-on-exec from it.
        inherited = [(os.POSIX_SPAWN_DUP2, number, number) for number in descriptors]
        if stderr is not None:
            inherited.append((os.POSIX_SPAWN_DUP2, stderr, STDERR))
        return self._known(
            os.posix_spawn(
                sys.executable,
                [sys.executable, *sys.orig_argv[1:]],
                environ,
                file_actions=inherited,
                setpgroup=0,
                setsigmask=[],
            )
        )

    def adopt(self, pid: int) -> Child:
        """Take a process that is below this one, or will be once its parent has ended."""
        child = self._known(pid)
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            del self._running[pid]
            child.ended.set()
        return child

    def _known(self, pid: int) -> Child:
        return self._running.setdefault(pid, Child(pid))

    def reap(self) -> None:
        """Notice all that have ended, also those that nobody knows."""
        while True:
            try:
                found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG)
            except ChildProcessError:
                return
            if found is None:
                return
            child = self._running.pop(found.si_pid, None)
            if child is not None:
                has_exited = found.si_code == os.CLD_EXITED
                child.code = found.si_status if has_exited else -found.si_status
                child.ended.set()
