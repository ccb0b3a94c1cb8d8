"""The common part of all links: the hub's signals to the task that reads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from trio_chat.hub.pause import Pause
    from trio_chat.transports.reader import Reader


class ConnectionLink(ABC):
    """A link over which bytes travel. The hub writes; the client's task reads and closes.

    `reading` is the scope in which the task reads, or `None` once it no longer reads. The hub
    cancels the scope to release the link, to pause the task, or to end its reading.
    """

    __slots__ = (
        "_discarding",
        "_released",
        "address",
        "begin",
        "ending",
        "kept",
        "pause",
        "paused",
        "peer",
        "reader",
        "reading",
        "released",
        "unsent",
    )

    tls = False
    """Whether it speaks TLS."""

    overhead = 0
    """The cost of the last `take` beyond the bytes it gave, in bytes: see `TlsLink`."""

    def __init__(self, peer: str, address: str) -> None:
        self.peer = peer
        self.address = address
        self.reading: trio.CancelScope | None = trio.CancelScope()
        # Starts the client's task while it has nothing to do yet: see `SocketLink.rest`.
        self.begin: Callable[[], None] | None = None
        # The task's reader, once a dialect has begun.
        self.reader: Reader | None = None
        self.released = False
        # The hub wants the input that has arrived, and no more.
        self.ending = False
        # The pause that the task has to wait out, or has waited out.
        self.pause: Pause | None = None
        # Bytes that the connection has not taken yet, or `None`.
        self.unsent: bytearray | None = None
        # The number of bytes that `unsent` has taken so far. The end of those is always in it.
        self.kept = 0
        self._discarding = False
        # Created only when the task has to wait, as most connections never need it. While `paused`
        # exists, nothing may be read.
        self.paused: trio.Event | None = None
        self._released: trio.Event | None = None

    # --- for the hub ------------------------------------------------------------------------------

    def discard(self) -> None:
        """Forget unsent bytes, and all later ones."""
        self.unsent = None
        self._discarding = True

    def keep(self, chunk: bytes | None, more: list[bytes] | None) -> None:
        """Add chunks to the unsent bytes."""
        if chunk is None or self._discarding:
            return
        if self.unsent is None:
            self.unsent = bytearray()
        before = len(self.unsent)
        self.unsent += chunk
        for one in more or ():
            self.unsent += one
        self.kept += len(self.unsent) - before

    def pause_reading(self) -> None:
        """Make the client's task stop reading for now."""
        if self.paused is None:
            self.paused = trio.Event()

    def resume_reading(self) -> None:
        """Let the client's task read again."""
        if self.paused is not None:
            self.paused.set()
            self.paused = None

    def drain_input(self) -> None:
        """Make the client's task pass on the input that has arrived, and end reading."""
        self.pause = None  # an earlier pause may be over, and the task may not know yet
        self.ending = True
        self._end_reading("the chat is stopping")

    def pause_for(self, pause: Pause) -> bool:
        """Make the client's task stand still for a pause. Return whether it will confirm that."""
        self.pause = pause
        self._end_reading("the chat is to stand still")
        return self.reading is not None

    def at_rest(self) -> Reader | None:
        """Return the reader of the client's task if that only waits for bytes; see `Link`."""
        return None

    def release(self) -> None:
        """Release the link. The hub does not touch it again."""
        self.released = True
        self._end_reading("the hub has let go of this client")
        if self._released is not None:
            self._released.set()

    def _end_reading(self, reason: str) -> None:
        if self.begin is not None:
            self.wake()
        elif self.reading is not None:
            self.reading.cancel(reason)

    def wake(self) -> None:
        """Start the client's task, if it has not started yet."""
        begin, self.begin = self.begin, None
        if begin is not None:
            begin()

    # --- for the client's task --------------------------------------------------------------------

    @property
    def handed_over(self) -> bool:
        """Whether another process has the connection now, so that this one leaves it alone."""
        return self.pause is not None and self.pause.handed_over is not None

    @abstractmethod
    async def readable(self) -> None:
        """Wait until there is something to take, or the end."""

    def until(self, read: Callable[[], bool]) -> Coroutine[Any, Any, None]:
        """Call `read` whenever there may be something to take, until it returns `True`.

        Raises what `read` raises.
        """
        return self._until(read)

    async def _until(self, read: Callable[[], bool]) -> None:
        while True:
            await self.readable()
            if read():
                return

    async def wait_allowed(self) -> None:
        """Wait while the hub wants nothing to be read."""
        while self.paused is not None:
            await self.paused.wait()

    async def wait_released(self) -> None:
        """Wait until the hub has released the link."""
        if not self.released:
            self._released = trio.Event()
            await self._released.wait()
