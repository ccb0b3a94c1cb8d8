"""What the links of all connections share: the hub's signals to the task that reads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

import trio

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from trio_chat.hub.pause import Pause
    from trio_chat.transports.reader import Reader


class ConnectionLink(ABC):
    """A link over which bytes travel: the hub writes; the client's task reads, and alone closes.

    `reading` is the scope in which the task reads: it ends when the hub has let go of the link, and
    when it wants the task to pass on what has arrived and read no more, or to stand still. It is
    `None` once the task reads no more.
    """

    __slots__ = (
        "_discarding",
        "_released",
        "address",
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

    overhead = 0
    """What the last `take` has cost beyond the bytes it gave, in bytes: see `TlsLink`."""

    def __init__(self, peer: str, address: str) -> None:
        self.peer = peer
        self.address = address
        self.reading: trio.CancelScope | None = trio.CancelScope()
        # The task's reader, once a dialect has begun.
        self.reader: Reader | None = None
        self.released = False
        # The hub wants what has arrived, and no more.
        self.ending = False
        # What the hub wants the task to wait out, or has wanted it to.
        self.pause: Pause | None = None
        # What the connection would not take yet, if there is anything.
        self.unsent: bytearray | None = None
        # The number of bytes that `unsent` has had to take so far. Its end is always there.
        self.kept = 0
        self._discarding = False
        # Made only where the task has to wait: most connections never need them. As long as
        # `paused` is there, the hub wants nothing to be read.
        self.paused: trio.Event | None = None
        self._released: trio.Event | None = None

    # --- for the hub ------------------------------------------------------------------------------

    def discard(self) -> None:
        """Forget what is unsent, and whatever is written after this."""
        self.unsent = None
        self._discarding = True

    def keep(self, chunk: bytes | None, more: list[bytes] | None) -> None:
        """Add chunks to what is unsent."""
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
        """Make the client's task read no further."""
        if self.paused is None:
            self.paused = trio.Event()

    def resume_reading(self) -> None:
        """Let it read on."""
        if self.paused is not None:
            self.paused.set()
            self.paused = None

    def drain_input(self) -> None:
        """Make the client's task pass on what has arrived, and end reading."""
        self.pause = None  # there may be one that is over, and that it has not got round to
        self.ending = True
        self._end_reading("the chat is stopping")

    def pause_for(self, pause: Pause) -> bool:
        """Make the client's task stand still until that is over; whether it will say so."""
        self.pause = pause
        self._end_reading("the chat is to stand still")
        return self.reading is not None

    def at_rest(self) -> Reader | None:
        """Give the reader of the client's task, if that waits for bytes alone; see `Link`."""
        return None

    def release(self) -> None:
        """Let go: the hub will not touch this link again."""
        self.released = True
        self._end_reading("the hub has let go of this client")
        if self._released is not None:
            self._released.set()

    def _end_reading(self, reason: str) -> None:
        if self.reading is not None:
            self.reading.cancel(reason)

    # --- for the client's task --------------------------------------------------------------------

    @property
    def handed_over(self) -> bool:
        """Whether the connection is another process's now, so that nothing more is done with it."""
        return self.pause is not None and self.pause.handed_over is not None

    @abstractmethod
    async def readable(self) -> None:
        """Wait until there is something to take, or the end."""

    def until(self, read: Callable[[], bool]) -> Coroutine[Any, Any, None]:
        """Call `read` whenever there may be something to take, until it returns `True`.

        Raises what that raises.
        """
        return self._until(read)

    async def _until(self, read: Callable[[], bool]) -> None:
        while True:
            await self.readable()
            if read():
                return

    async def wait_allowed(self) -> None:
        """Wait as long as the hub wants nothing to be read."""
        while self.paused is not None:
            await self.paused.wait()

    async def wait_released(self) -> None:
        """Wait until the hub has let go."""
        if not self.released:
            self._released = trio.Event()
            await self._released.wait()
