"""Links over any Trio stream: `SSLStream`, in-memory streams, or an embedding program's own."""

from __future__ import annotations

import contextlib

import trio

from trio_chat.transports.link import ConnectionLink

READ_BYTES = 65_536
# A stream does not tell how far `send_all` has got, so a slow stream gets few bytes at once.
SEND_BYTES = 16_384
LAST_READ_SECONDS = 0.01


class StreamLink(ConnectionLink):
    """A link over a `trio.abc.Stream`. It sends bytes only while `drain` runs."""

    __slots__ = ("_sending", "_stream", "_taken")

    def __init__(self, stream: trio.abc.Stream, peer: str) -> None:
        super().__init__(peer, peer)
        self._stream = stream
        self._sending = 0
        # Bytes that were read and not taken yet, as the hub may have paused or ended reading.
        self._taken: bytes | None = None

    @property
    def unsent_bytes(self) -> int:
        """The number of bytes that the stream has not taken yet."""
        return self._sending + (0 if self.unsent is None else len(self.unsent))

    def write(self, chunk: bytes | None, more: list[bytes] | None) -> int:
        """Keep these bytes for `drain`; see `trio_chat.hub.session.Link`."""
        self.keep(chunk, more)
        # Nobody waits for bytes that are stuck in the stream after `discard`.
        return 0 if self._discarding else self.unsent_bytes

    async def drain(self) -> bool:
        """Send some of the unsent bytes. Return whether more are left."""
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
        """Return 0: a stream does not tell how far it has got. Only `drain` shows progress."""
        return 0

    # --- for the client's task --------------------------------------------------------------------

    @property
    def handed_over(self) -> bool:
        """False: the state of a stream, such as TLS keys, cannot leave its process."""
        return False

    async def readable(self) -> None:
        """Wait for bytes, or the end. Raises `trio.BrokenResourceError` if the stream is broken."""
        await self.wait_allowed()
        if self._taken is None:
            self._taken = bytes(await self._stream.receive_some(READ_BYTES))

    def take(self) -> bytes | None:
        """Return the bytes that have come. `b""` is the end."""
        data, self._taken = self._taken, None
        return data

    async def take_last(self) -> bytes:
        """Return the bytes that are there now. A stream has to be awaited: this waits briefly."""
        taken = self._taken or b""
        with trio.move_on_after(LAST_READ_SECONDS):
            taken += await self._stream.receive_some(READ_BYTES)
        return taken

    async def finish(self, seconds: float) -> None:
        """End sending if the stream can, then read and discard until the peer has ended too."""
        with (
            trio.move_on_after(seconds),
            # Busy: the last bytes are stuck in the stream.
            contextlib.suppress(
                trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError
            ),
        ):
            if isinstance(self._stream, trio.abc.HalfCloseableStream):
                await self._stream.send_eof()
            while await self._stream.receive_some(READ_BYTES):
                pass

    def close(self) -> None:
        """Do nothing: closing a stream awaits, and its owner does that."""
