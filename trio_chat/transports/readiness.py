"""Waits for all sockets of a chat in one task, and lets each client's function read there.

Trio's `wait_readable` costs a system call and a task switch for each read: a third of the cost of a
message between two people. Here each socket is registered once, with an epoll of the chat's own,
and Trio waits for that epoll. A function of the client then reads the socket at once. The client's
task is woken only if something has to wait.
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

# Tests switch this off, to run as systems without epoll do.
EPOLL: Final = hasattr(select, "epoll")

# As many as the hub's channel can hold.
READS: Final = 1_024


@define(eq=False)
class _Waiting:
    """A function to call once a socket is readable, and another if the first returns `True`."""

    read: Callable[[], bool]
    wake: Callable[[], None]
    error: Exception | None = None


class Readiness:
    """Knows which sockets are readable, by an epoll that only it uses; see `open_readiness`."""

    def __init__(self, epoll: select.epoll) -> None:
        self._epoll = epoll
        # The waiting functions by socket. `None` means that the socket is registered and nobody
        # waits.
        self._waiting: dict[int, _Waiting | None] = {}
        # The end of a pause, or `None`.
        self._resumed: trio.Event | None = None

    @trio.lowlevel.enable_ki_protection  # bytes that were read and not passed on would be lost
    async def run(self) -> None:
        """Read, until cancelled."""
        while True:
            await trio.lowlevel.wait_readable(self._epoll)
            if self._resumed is not None:
                await self._resumed.wait()
            # Input that arrives during the reads makes the hub's turn bigger, and so cheaper. This
            # happens once only: a client that sends without a pause would be read for ever.
            for _ in range(2):
                for fd, _ in self._epoll.poll(0, READS):
                    self._is_ready(fd)

    def pause(self) -> None:
        """Read nothing until `resume`. Input stays in the kernel, and no task is woken."""
        if self._resumed is None:
            self._resumed = trio.Event()

    def resume(self) -> None:
        """Read again."""
        if self._resumed is not None:
            self._resumed.set()
            self._resumed = None

    def waits(self, fd: int) -> bool:
        """Whether this socket is waited for, and nothing has come yet."""
        return self._waiting.get(fd) is not None

    def _is_ready(self, fd: int) -> None:
        waiting = self._waiting[fd]
        if waiting is None:  # its task has something else to do
            self.forget(fd)
            return
        try:
            goes_on = waiting.read()
        except Exception as error:  # noqa: BLE001 - the client's task raises it
            waiting.error = error
            goes_on = True
        if goes_on:
            self._waiting[fd] = None
            waiting.wake()

    async def until(self, fd: int, read: Callable[[], bool]) -> None:
        """Call `read` whenever the socket is readable, until it returns `True`.

        Raises what `read` raises. `read` must not block, nor close a socket.
        """
        if fd not in self._waiting:
            self._epoll.register(fd, select.EPOLLIN)
        wake = partial(trio.lowlevel.reschedule, trio.lowlevel.current_task())
        waiting = self._waiting[fd] = _Waiting(read, wake)
        await trio.lowlevel.wait_task_rescheduled(partial(self._abort, fd))
        if waiting.error is not None:
            raise waiting.error

    def once(self, fd: int, wake: Callable[[], None]) -> None:
        """Call `wake` when the socket is readable, and read nothing. No task waits meanwhile."""
        self._epoll.register(fd, select.EPOLLIN)
        self._waiting[fd] = _Waiting(_nothing_to_read, wake)

    def _abort(self, fd: int, _: object) -> trio.lowlevel.Abort:
        self._waiting[fd] = None
        return trio.lowlevel.Abort.SUCCEEDED

    def forget(self, fd: int) -> None:
        """Stop waiting for a socket. Call this before closing it."""
        if fd in self._waiting:
            del self._waiting[fd]
            self._epoll.unregister(fd)


def _nothing_to_read() -> bool:
    return True


@contextmanager
def open_readiness() -> Iterator[Readiness | None]:
    """Give a `Readiness` for the length of a block, or `None` on systems without epoll.

    Without epoll, Trio waits for each socket.
    """
    if EPOLL:
        with select.epoll() as epoll:
            yield Readiness(epoll)
    else:
        yield None
