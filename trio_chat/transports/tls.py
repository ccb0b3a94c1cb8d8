"""Links over TLS, on top of a TCP link whose first bytes begin a handshake.

TLS is computed in memory (`ssl.SSLObject`), so the rest works as without TLS. The hub sends at
once, and input is read as soon as the socket is readable. Trio's `SSLStream` would need a task and
many of its steps for each chunk.
"""

from __future__ import annotations

import contextlib
import errno
import ssl
from functools import partial
from typing import TYPE_CHECKING, Final

import trio

from trio_chat.transports.link import ConnectionLink
from trio_chat.transports.tcp import READ_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_chat.hub.pause import Pause
    from trio_chat.transports.tcp import SocketLink

# Three round trips of the slowest network, and time for a browser to ask about a certificate. As a
# comparison, nginx allows 60 s (client_header_timeout), and haproxy as long as for a request.
HANDSHAKE_SECONDS: Final = 10.0
# Time for the alert after a failed handshake. It is a few bytes, which a connection takes at once.
ALERT_SECONDS: Final = 1.0
# Bytes of TLS's own messages for a client that does not read: a hundred answers to key updates.
PENDING_BYTES: Final = 4_096
# Bytes that one read decrypts. A record may be as short as 23 bytes, and a record that changes keys
# takes 15 µs. So the next client waits at most 2 ms.
TLS_READ_BYTES: Final = 4_096
# Each record counts as this many bytes, even if the client gets fewer from it.
RECORD_BYTES: Final = 1_024
_HEAD_BYTES: Final = 5


class HandshakeFailed(Exception):
    """A handshake failed. The text is for the log."""


class TlsLink(ConnectionLink):
    """A link over TLS. It replaces the link over TCP alone, and uses that one from then on.

    Bytes that are written before the end of the handshake stay in `unsent` until then.
    """

    __slots__ = (
        "_after_handshake",
        "_below",
        "_ended",
        "_failure",
        "_head",
        "_incoming",
        "_outgoing",
        "_record",
        "_shaken",
        "_tls",
        "_usable",
        "overhead",
    )

    tls = True

    @property
    def protocol(self) -> str:
        """The protocol that the client has asked for by ALPN, once the handshake is over."""
        return self._tls.selected_alpn_protocol() or ""

    def __init__(self, below: SocketLink, first: bytes, context: ssl.SSLContext) -> None:
        super().__init__(below.peer, below.address)
        self._below = below
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        # The beginning of a record's head, and the number of bytes before the next head.
        self._head, self._record = b"", 0
        self.overhead = 0
        self._feed(first)
        # Whether the handshake is over, and did not fail.
        self._shaken = trio.Event()
        self._usable = False
        # A pause that begins after the handshake.
        self._after_handshake: Pause | None = None
        # Whether the peer has ended sending, or has broken the protocol.
        self._ended = False
        self._failure: ssl.SSLError | None = None

    # --- for the hub ------------------------------------------------------------------------------

    @property
    def unsent_bytes(self) -> int:
        """The number of bytes that wait for the connection."""
        return self._below.unsent_bytes + (0 if self.unsent is None else len(self.unsent))

    def write(self, chunk: bytes | None, more: list[bytes] | None) -> int:
        """Send what the socket takes at once, and keep the rest; see `hub.session.Link`."""
        if not self._usable:
            self.keep(chunk, more)
            return self.unsent_bytes
        if self.unsent is not None:
            self.keep(chunk, more)
            chunk, more = bytes(self.unsent), None
            self.unsent = None
        if chunk is not None:
            self._encrypt(chunk if more is None else b"".join((chunk, *more)))
        return self._below.write(self._outgoing.read() or None, None)

    def _encrypt(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[self._tls.write(view) :]
        except ssl.SSLError as error:
            raise _broken(self._failure or error) from None

    def discard(self) -> None:
        """Forget unsent bytes, and all later ones."""
        super().discard()
        self._below.discard()

    async def drain(self) -> bool:
        """Wait for the end of the handshake, or until the socket takes more.

        Raises `trio.BrokenResourceError` if the handshake fails.
        """
        shaken = self._shaken.is_set()
        await self._shaken.wait()
        if not self._usable:
            raise trio.BrokenResourceError
        return await self._below.drain() if shaken else False

    def undelivered(self) -> int:
        """Return the number of bytes that the peer has not acknowledged."""
        return self._below.undelivered()

    def pause_for(self, pause: Pause) -> bool:
        """Make the client's task stand still; see `trio_chat.hub.session.Link`.

        A handshake continues during a pause, so that the client can be told why it has to
        reconnect.
        """
        if self._shaken.is_set():
            return super().pause_for(pause)
        self._after_handshake = pause
        return False

    # --- for the client's task --------------------------------------------------------------------

    @property
    def handed_over(self) -> bool:
        """False: the keys cannot leave this process."""
        return False

    async def until(self, read: Callable[[], bool]) -> None:
        """Call `read` whenever there may be something to take, until it returns `True`.

        Raises what `read` and `readable` raise.
        """
        if not self._shaken.is_set():
            await self._shake_hands()
        await trio.lowlevel.checkpoint_if_cancelled()  # nothing is to be taken any more
        # The socket is not readable again for bytes that came with the end of the handshake.
        if not self._read(read):
            await self._below.until(partial(self._read, read))

    def _read(self, read: Callable[[], bool]) -> bool:
        # The socket is not readable again for an end that came with the last bytes.
        return read() or ((self._ended or self._failure is not None) and read())

    async def readable(self) -> None:
        """Finish the handshake first, then wait until there may be something to take, or the end.

        Raises `HandshakeFailed` if the handshake fails.
        """
        if self._shaken.is_set():
            await self._below.readable()
        else:
            await self._shake_hands()

    async def _shake_hands(self) -> None:
        failure = None
        try:
            with trio.fail_after(HANDSHAKE_SECONDS):
                await self._exchange()
        except trio.TooSlowError:
            failure = f"no TLS handshake within {HANDSHAKE_SECONDS:g} seconds"
        except (OSError, trio.ClosedResourceError) as error:
            failure = f"the TLS handshake failed: {_why(error)}"
        self._usable = failure is None
        self._shaken.set()
        if failure is not None:
            # An alert tells the client what is wrong (RFC 8446, 6.2).
            with trio.move_on_after(ALERT_SECONDS), contextlib.suppress(OSError):
                await self._flush()
            raise HandshakeFailed(failure)
        if self._after_handshake is not None:
            super().pause_for(self._after_handshake)

    async def _exchange(self) -> None:
        """Take and send until the handshake is over. Raises `OSError`, as `ssl.SSLError` is one."""
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._flush()
                await self._below.readable()
                self._feed(self._below.take(TLS_READ_BYTES))
            else:
                await self._flush()
                return

    async def _flush(self) -> None:
        """Send all of TLS's own messages."""
        unsent = self._below.write(self._outgoing.read() or None, None)
        while unsent:
            await self._below.drain()
            unsent = self._below.write(None, None)

    def _feed(self, data: bytes | None) -> None:
        if data:
            self._incoming.write(data)
            self.overhead = max(len(data), self._records(data) * RECORD_BYTES)
        elif data is not None:
            self._incoming.write_eof()

    def _records(self, data: bytes) -> int:
        """Count the records whose heads end in these bytes."""
        data = self._head + data
        at, begun = self._record, 0
        while len(data) >= at + _HEAD_BYTES:
            at += _HEAD_BYTES + int.from_bytes(data[at + 3 : at + _HEAD_BYTES])
            begun += 1
        self._head = data[at:]
        self._record = max(0, at - len(data))
        return begun

    def take(self) -> bytes | None:
        """Return the bytes that have come: `b""` at the end, `None` if there are none yet.

        Raises `OSError` if the connection is broken, if the bytes are not TLS, or if they end
        without a closing alert.
        """
        if not self._usable:
            return None
        if self._failure is not None:
            raise _broken(self._failure)
        self.overhead = 0
        if not self._ended:
            self._feed(self._below.take(TLS_READ_BYTES))
        taken = self._decrypted()
        # The total is what the client has sent, even if records come in parts.
        self.overhead -= len(taken or b"")
        return taken

    def _decrypted(self) -> bytes | None:
        parts: list[bytes] = []
        try:
            while data := self._tls.read(READ_BYTES):
                parts.append(data)
            self._ended = True
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self._failure = error
            if not parts:
                raise _broken(error) from None
        if self._outgoing.pending:
            self._answer()
        if parts:
            return b"".join(parts)
        return b"" if self._ended else None

    def _answer(self) -> None:
        """Send TLS's own messages. They wait behind the bytes that wait for the connection."""
        if not self._below.unsent_bytes:
            self._below.write(self._outgoing.read(), None)
        elif self._outgoing.pending > PENDING_BYTES:
            raise OSError(errno.EPROTO, "too many messages of TLS's own")

    async def take_last(self) -> bytes:
        """Return the bytes that are there now. Raises `HandshakeFailed` during a handshake."""
        if not self._usable:
            self._shaken.set()
            raise HandshakeFailed("the TLS handshake was given up: the chat is stopping")
        self._feed(await self._below.take_last() or None)
        return self._decrypted() or b""

    async def finish(self, seconds: float) -> None:
        """End TLS and our side of the connection, and read until the peer has ended too."""
        with trio.move_on_after(seconds) as lingering, contextlib.suppress(OSError):
            if self._usable:
                with contextlib.suppress(ssl.SSLError):  # the peer has not ended yet
                    self._tls.unwrap()
            await self._flush()
        await self._below.finish(max(0.0, lingering.deadline - trio.current_time()))

    def close(self) -> None:
        """Close the connection at once. A second call does nothing."""
        self._below.close()


def _broken(error: ssl.SSLError) -> OSError:
    """Return the exception to raise, the same as for a broken TCP connection."""
    return OSError(errno.EPROTO, _why(error))


def _why(error: Exception) -> str:
    if isinstance(error, ssl.SSLEOFError):
        return "the client has gone"
    if isinstance(error, ssl.SSLError) and error.reason:
        return error.reason.lower().replace("_", " ")
    return "the connection is lost"
