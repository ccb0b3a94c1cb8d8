"""Links over TLS: a TCP connection whose first bytes, read already, begin a handshake."""

from __future__ import annotations

import contextlib
import ssl
from typing import TYPE_CHECKING, Final, cast

import trio

from trio_chat.doors.stream import READ_BYTES, StreamLink

if TYPE_CHECKING:
    import socket

    from trio_chat.doors.tcp import SocketLink
    from trio_chat.standstill import Standstill

# Three round trips of the slowest network, and time to ask for a certificate in the browser's
# window. nginx allows 60 s (client_header_timeout), haproxy as long as for a request.
HANDSHAKE_SECONDS: Final = 10.0
# For the alert that says why there was none: a few bytes, which a connection takes at once.
ALERT_SECONDS: Final = 1.0


class HandshakeFailed(Exception):
    """No connection has come of a hello; the text is for the log."""


class TlsLink(StreamLink):
    """A link over TLS that takes the place of the one over TCP alone.

    That one stays as it is, and is closed by itself: this has a descriptor of its own.
    """

    __slots__ = ("_outgoing", "_shaken", "_transport", "_usable")

    def __init__(self, old: SocketLink, first: bytes, context: ssl.SSLContext) -> None:
        self._transport = Transport(old.socket.dup(), first)
        noting = Noting(context)
        stream = trio.SSLStream(self._transport, cast("ssl.SSLContext", noting), server_side=True)
        super().__init__(stream, old.peer)
        self._outgoing = noting.outgoing
        # The handshake is over; and it has not failed.
        self._shaken = trio.Event()
        self._usable = False

    async def drain(self) -> bool:
        """Send some of the rest, after the handshake; whether there is more."""
        await self._shaken.wait()
        if not self._usable:
            raise trio.BrokenResourceError
        return await super().drain()

    def freeze(self, standstill: Standstill) -> bool:
        """Make the client's task stand still; see `trio_chat.client.Link`.

        A handshake goes on meanwhile, for one that is cancelled cannot be taken up again.
        """
        if self._shaken.is_set():
            return super().freeze(standstill)
        self.standstill = standstill
        return False

    # --- for the client's task --------------------------------------------------------------------

    async def readable(self) -> None:
        """Wait for bytes, or the end; first for the handshake.

        Raises `HandshakeFailed` if that fails, `trio.BrokenResourceError` if the stream is broken.
        """
        if not self._shaken.is_set():
            await self._shake_hands()
            if self.standstill is not None:
                self._end_reading("the chat stands still")
        await super().readable()

    async def _shake_hands(self) -> None:
        stream = self._stream
        assert isinstance(stream, trio.SSLStream)  # noqa: S101 - for type checkers
        failure = None
        try:
            with trio.fail_after(HANDSHAKE_SECONDS):
                await stream.do_handshake()
        except trio.TooSlowError:
            failure = f"no TLS handshake within {HANDSHAKE_SECONDS:g} seconds"
        except trio.BrokenResourceError as error:
            failure = f"the TLS handshake failed: {_why(error)}"
        self._usable = failure is None
        self._shaken.set()
        if failure is not None:
            await self._send_alert()
            raise HandshakeFailed(failure)

    async def _send_alert(self) -> None:
        """Send why the handshake has failed (RFC 8446, 6.2), which Trio leaves unsent."""
        alert = self._outgoing.read()
        with trio.move_on_after(ALERT_SECONDS), contextlib.suppress(trio.BrokenResourceError):
            if alert:
                await self._transport.send_all(alert)

    async def take_last(self) -> bytes:
        """The bytes that are there now; raises `HandshakeFailed` if there is no handshake yet."""
        if not self._usable:
            self._shaken.set()
            raise HandshakeFailed("the TLS handshake was given up: the chat is stopping")
        return await super().take_last()

    async def finish(self, seconds: float) -> None:
        """End TLS and our side of the connection, and read on until the peer has ended its own."""
        stream = self._stream if self._usable else self._transport
        with (
            trio.move_on_after(seconds),
            contextlib.suppress(
                trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError
            ),
        ):
            await stream.aclose()

    def close(self) -> None:
        """Close the connection at once; does nothing the second time."""
        self._transport.close()


def _why(error: trio.BrokenResourceError) -> str:
    cause = error.__cause__
    if isinstance(cause, ssl.SSLEOFError):
        return "the client has gone"
    if isinstance(cause, ssl.SSLError) and cause.reason:
        return cause.reason.lower().replace("_", " ")
    return "the connection is lost"


class Noting:
    """Gives Trio its connection as an SSL context does, and keeps hold of what is to be sent."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self._context = context
        self.outgoing: ssl.MemoryBIO

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        *,
        server_side: bool,
        server_hostname: str | None,
    ) -> ssl.SSLObject:
        """See `ssl.SSLContext.wrap_bio`."""
        self.outgoing = outgoing
        return self._context.wrap_bio(
            incoming, outgoing, server_side=server_side, server_hostname=server_hostname
        )


class Transport(trio.abc.Stream):
    """What TLS travels over: a socket whose first bytes have been read already."""

    def __init__(self, sock: socket.socket, first: bytes) -> None:
        self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
        self._first = first

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send these bytes."""
        await self._stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until some bytes can be sent."""
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """Give some bytes, those first that have been read already."""
        if not self._first:
            return await self._stream.receive_some(max_bytes)
        await trio.lowlevel.checkpoint()
        first, self._first = self._first, b""
        return first

    async def aclose(self) -> None:
        """End our side, read and discard until the peer has ended its own, then close.

        See `trio_chat.doors.tcp`; cancelled, this closes at once.
        """
        try:
            await self._stream.send_eof()
            while await self._stream.receive_some(READ_BYTES):
                pass
        finally:
            self.close()

    def close(self) -> None:
        """Close at once; does nothing the second time."""
        self._stream.socket.close()
