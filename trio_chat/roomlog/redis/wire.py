"""The bytes of a connection to the engine: over TCP, a unix socket or TLS.

Without TLS it reads and sends on the socket itself. That saves two of the three checkpoints of a
call on a `SocketStream`, and a fifth of its CPU time.
"""

from __future__ import annotations

import os
import socket
import ssl
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

import trio

from trio_chat.config.endpoints import place
from trio_chat.config.store_access import tls_context
from trio_chat.errors import SettingsError
from trio_chat.roomlog.redis.errors import EngineAway

if TYPE_CHECKING:
    from trio_chat.config.store_url import StoreAddress

# Most replies fit. Beyond 128 KiB malloc asks the kernel for memory, and a read costs 14 µs more.
READ_BYTES: Final = 65_536
# A machine that has vanished is noticed after 20 seconds, even if nothing is sent.
KEEPALIVE: Final = {"TCP_KEEPIDLE": 10, "TCP_KEEPINTVL": 5, "TCP_KEEPCNT": 2}


class Wire(Protocol):
    """A connection of bytes. All methods but `close` raise `OSError` or a Trio resource error."""

    async def send(self, data: bytes) -> None:
        """Send all of it."""
        ...

    async def receive(self) -> bytes:
        """Return what has come, at least a byte; nothing at the end."""
        ...

    def close(self) -> None:
        """Close it at once; a task that waits gets `ClosedResourceError`."""
        ...


class SocketWire:
    """A TCP or unix socket, used directly."""

    __slots__ = ("_socket",)

    def __init__(self, stream: trio.SocketStream) -> None:
        """Take the socket over from its stream."""
        of_trio = stream.socket
        self._socket = socket.socket(
            of_trio.family, of_trio.type, of_trio.proto, fileno=of_trio.detach()
        )
        self._socket.settimeout(0)

    async def send(self, data: bytes) -> None:
        """Send all of it, with a checkpoint only if the socket takes a part."""
        rest = data
        while rest:
            try:
                rest = rest[self._socket.send(rest) :]
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self._socket)

    async def receive(self) -> bytes:
        """Wait for bytes and return them."""
        while True:
            # An answer is never there at once, so a read would only cost a system call.
            await trio.lowlevel.wait_readable(self._socket)
            try:
                return self._socket.recv(READ_BYTES)
            except BlockingIOError:
                continue

    def close(self) -> None:
        """Close the socket, and wake who waits for it."""
        if self._socket.fileno() != -1:
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()


class TlsWire:
    """TLS over TCP, by Trio's stream."""

    __slots__ = ("_socket", "_stream")

    def __init__(self, stream: trio.SocketStream, context: ssl.SSLContext, host: str) -> None:
        self._socket = stream.socket
        self._stream = trio.SSLStream(stream, context, server_hostname=host)

    async def handshake(self) -> None:
        """Check the server's certificate; raises `trio.BrokenResourceError`."""
        await self._stream.do_handshake()

    async def send(self, data: bytes) -> None:
        """Send all of it."""
        await self._stream.send_all(data)

    async def receive(self) -> bytes:
        """Wait for bytes and return them."""
        return bytes(await self._stream.receive_some(READ_BYTES))

    def close(self) -> None:
        """Close the socket below TLS."""
        self._socket.close()


async def open_wire(address: StoreAddress, host: str, port: int) -> Wire:
    """Connect to this host, or to the unix socket of the address.

    Raises `EngineAway`, which says why not.
    """
    try:
        if address.unix:
            return SocketWire(await trio.open_unix_socket(address.unix))
        if not address.tls:
            return SocketWire(await _open_tcp(host, port))
        # In a thread, because the certificates are read from files the first time.
        context = await trio.to_thread.run_sync(tls_context, address.ca, abandon_on_cancel=True)
        return await _open_tls(host, port, context)
    except (OSError, UnicodeError, trio.BrokenResourceError, SettingsError) as error:
        where = f"unix:{address.unix}" if address.unix else place(host, port)
        raise EngineAway(f"no connection to {where}: {_reason(error)}") from None


async def _open_tcp(host: str, port: int) -> trio.SocketStream:
    stream = await trio.open_tcp_stream(host, port)
    stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEPALIVE.items():
        option = getattr(socket, name, None)  # macOS calls the first one otherwise
        if option is not None:
            stream.setsockopt(socket.IPPROTO_TCP, option, value)
    return stream


async def _open_tls(host: str, port: int, context: ssl.SSLContext) -> TlsWire:
    wire = TlsWire(await _open_tcp(host, port), context, host)
    try:
        await wire.handshake()
    except BaseException:
        wire.close()
        raise
    return wire


def _reason(error: BaseException) -> str:
    """Return the reason why there is no connection, from below Trio's exceptions."""
    below: Any = error.__cause__
    if isinstance(below, BaseExceptionGroup):  # of a try for each address of the name
        below = cast("BaseExceptionGroup[BaseException]", below).exceptions[0]
    if isinstance(below, ssl.SSLCertVerificationError):
        return f"its certificate is not accepted: {below.verify_message}"
    if isinstance(below, ssl.SSLError):
        return f"TLS fails: {(below.reason or 'unknown').lower().replace('_', ' ')}"
    if isinstance(below, OSError):
        error = below
    told = str(error)
    if isinstance(error, OSError) and error.errno is not None:
        # Trio puts the address into the text, and errors of names have numbers of their own.
        told = os.strerror(error.errno) if error.errno > 0 else error.strerror or told
    return told[:1].lower() + told[1:]
