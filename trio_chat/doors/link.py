"""What the links of all connections share: the hub's signals to the task that reads."""

from __future__ import annotations

import trio


class ConnectionLink:
    """A link over which bytes travel: the hub writes; the client's task reads, and alone closes.

    `reading` is the scope in which the task reads: it ends when the hub has let go of the link, and
    when it wants the task to pass on what has arrived and read no more.
    """

    __slots__ = (
        "_discarding",
        "_released",
        "address",
        "gate",
        "peer",
        "reading",
        "released",
        "rest",
    )

    def __init__(self, peer: str, address: str) -> None:
        self.peer = peer
        self.address = address
        self.reading = trio.CancelScope()
        self.released = False
        # What the connection would not take yet, if there is anything.
        self.rest: bytearray | None = None
        self._discarding = False
        # Made only where the task has to wait: most connections never need them. As long as there
        # is a gate, the hub wants nothing to be read.
        self.gate: trio.Event | None = None
        self._released: trio.Event | None = None

    # --- for the hub ------------------------------------------------------------------------------

    def discard(self) -> None:
        """Forget the rest, and whatever is written after this."""
        self.rest = None
        self._discarding = True

    def keep(self, chunk: bytes | None, more: list[bytes] | None) -> None:
        """Add chunks to the rest."""
        if chunk is None or self._discarding:
            return
        if self.rest is None:
            self.rest = bytearray()
        self.rest += chunk
        for one in more or ():
            self.rest += one

    def pause(self) -> None:
        """Make the client's task read no further."""
        if self.gate is None:
            self.gate = trio.Event()

    def resume(self) -> None:
        """Let it read on."""
        if self.gate is not None:
            self.gate.set()
            self.gate = None

    def read_out(self) -> None:
        """Make the client's task pass on what has arrived, and end reading."""
        self.reading.cancel("the chat is stopping")

    def release(self) -> None:
        """Let go: the hub will not touch this link again."""
        self.released = True
        self.reading.cancel("the hub has let go of this client")
        if self._released is not None:
            self._released.set()

    # --- for the client's task --------------------------------------------------------------------

    async def wait_allowed(self) -> None:
        """Wait as long as the hub wants nothing to be read."""
        while self.gate is not None:
            await self.gate.wait()

    async def wait_released(self) -> None:
        """Wait until the hub has let go."""
        if not self.released:
            self._released = trio.Event()
            await self._released.wait()
