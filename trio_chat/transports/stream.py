"""Links over any Trio stream: TLS, in-memory streams in tests, what an embedding program has."""

from __future__ import annotations

import contextlib

import trio

from trio_chat.transports.link import ConnectionLink

READ_BYTES = 65_536
# A stream says nothing of how far it has got within one `send_all`, so that a slow one gets little
# at once.
SEND_BYTES = 16_384
LAST_READ_SECONDS = 0.01


class StreamLink(ConnectionLink):
    """A link over a `trio.abc.Stream`. Bytes leave it while `drain` runs, and at no other time."""

    __slots__ = ("_sending", "_stream", "_taken")

    def __init__(self, stream: trio.abc.Stream, peer: str) -> None:
        super().__init__(peer, peer)
        self._stream = stream
        self._sending = 0
        # What was read and not taken yet: the hub may have paused reading, or ended it.
        self._taken: bytes | None = None

    @property
    def unsent_bytes(self) -> int:
        """How many bytes the stream has not taken yet."""
        return self._sending + (0 if self.unsent is None else len(self.unsent))

    def write(self, chunk: bytes | None, more: list[bytes] | None) -> int:
        """Keep these bytes for `drain`; see `trio_chat.hub.session.Link`."""
        self.keep(chunk, more)
        return self.unsent_bytes

    async def drain(self) -> bool:
        """Send some of what is unsent; whether there is more."""
        unsent = self.unsent or bytearray()
        data = bytes(unsent[:SEND_BYTES])
        del unsent[:SEND_BYTES]
        if not unsent:
            self.unsent = None
        self._sending = len(data)
        try:
            await self._stream.send_all(data)
        finally:
            self._sending = 0
        return self.unsent is not None

    def undelivered(self) -> int:
        """A stream does not tell how far it has got: nothing but `drain` shows progress."""
        return 0

    # --- for the client's task --------------------------------------------------------------------

    @property
    def handed_over(self) -> bool:
        """Never: what a stream knows, such as the keys of TLS, cannot leave its process."""
        return False

    async def readable(self) -> None:
        """Wait for bytes, or the end. Raises `trio.BrokenResourceError` if the stream is broken."""
        await self.wait_allowed()
        if self._taken is None:
            self._taken = bytes(await self._stream.receive_some(READ_BYTES))

    def take(self) -> bytes | None:
        """The bytes that have come; `b""` is the end."""
        data, self._taken = self._taken, None
        return data

    async def take_last(self) -> bytes:
        """The bytes that are there now; to ask a stream means to wait, so it is given a moment."""
        taken = self._taken or b""
        with trio.move_on_after(LAST_READ_SECONDS):
            taken += await self._stream.receive_some(READ_BYTES)
        return taken

    async def finish(self, seconds: float) -> None:
        """End our side if the stream can, read and discard until the peer has ended its own."""
        with (
            trio.move_on_after(seconds),
            # Busy: what was sent last is stuck in it.
            contextlib.suppress(
                trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError
            ),
        ):
            if isinstance(self._stream, trio.abc.HalfCloseableStream):
                await self._stream.send_eof()
            while await self._stream.receive_some(READ_BYTES):
                pass

    def close(self) -> None:
        """Nothing yet: closing a stream awaits, and is for who opened it."""
