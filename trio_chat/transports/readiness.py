"""Waits for all sockets of a chat at once, in one task, and has each read where it stands.

Trio's `wait_readable` costs a system call, and the waking of a task, for each read: a third of what
a message between two people costs. Here a socket is registered once, with an epoll of the chat's
own; Trio waits for that one; and what a socket has is read by a function of its client's, at once.
The client's task is woken for what has to wait.
"""

from __future__ import annotations

import select
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Final

import trio
from attrs import define

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# Tests switch it off, to run as systems without epoll do.
EPOLL: Final = hasattr(select, "epoll")

# As many as the hub's channel has room for.
READS: Final = 1_024


@define(eq=False)
class _Waiting:
    """A task, and what is to be called for it."""

    read: Callable[[], bool]
    task: trio.lowlevel.Task
    error: Exception | None = None


class Readiness:
    """Knows which sockets are readable, by an epoll that only it uses; see `open_readiness`."""

    def __init__(self, epoll: select.epoll) -> None:
        self._epoll = epoll
        # Who waits for a socket; `None` where the socket is registered and nobody waits.
        self._waiting: dict[int, _Waiting | None] = {}
        # The end of a pause, while there is one.
        self._resumed: trio.Event | None = None

    @trio.lowlevel.enable_ki_protection  # what has been read and not passed on would be lost
    async def run(self) -> None:
        """Read, until cancelled."""
        while True:
            await trio.lowlevel.wait_readable(self._epoll)
            if self._resumed is not None:
                await self._resumed.wait()
            # What comes while others are read makes the hub's turn bigger, and so cheaper. Once, as
            # who sends without a pause would be read for ever.
            for _ in range(2):
                for fd, _ in self._epoll.poll(0, READS):
                    self._is_ready(fd)

    def pause(self) -> None:
        """Read nothing until `resume`: the kernel keeps what comes, and no task is woken."""
        if self._resumed is None:
            self._resumed = trio.Event()

    def resume(self) -> None:
        """Read again."""
        if self._resumed is not None:
            self._resumed.set()
            self._resumed = None

    def waits(self, fd: int) -> bool:
        """Whether a task waits for this socket, and nothing has woken it yet."""
        return self._waiting.get(fd) is not None

    def _is_ready(self, fd: int) -> None:
        waiting = self._waiting[fd]
        if waiting is None:  # its task has something else to do
            self.forget(fd)
        elif self._reads(waiting):
            self._waiting[fd] = None
            trio.lowlevel.reschedule(waiting.task)

    def _reads(self, waiting: _Waiting) -> bool:
        """Call a task's function; whether the task is to go on."""
        try:
            return waiting.read()
        except Exception as error:  # noqa: BLE001 - it is the task's, and raised there
            waiting.error = error
            return True

    async def until(self, fd: int, read: Callable[[], bool]) -> None:
        """Call `read` whenever the socket is readable, until it returns `True`.

        Raises what that raises. It must not block, nor close a socket.
        """
        if fd not in self._waiting:
            self._epoll.register(fd, select.EPOLLIN)
        waiting = self._waiting[fd] = _Waiting(read, trio.lowlevel.current_task())
        await trio.lowlevel.wait_task_rescheduled(partial(self._abort, fd))
        if waiting.error is not None:
            raise waiting.error

    def _abort(self, fd: int, _: object) -> trio.lowlevel.Abort:
        self._waiting[fd] = None
        return trio.lowlevel.Abort.SUCCEEDED

    def forget(self, fd: int) -> None:
        """Wait no more for a socket, as has to be said before it is closed."""
        if fd in self._waiting:
            del self._waiting[fd]
            self._epoll.unregister(fd)


@contextmanager
def open_readiness() -> Iterator[Readiness | None]:
    """Give one for the length of a block; `None` on systems without epoll.

    There Trio waits for each socket by itself.
    """
    if EPOLL:
        with select.epoll() as epoll:
            yield Readiness(epoll)
    else:
        yield None
