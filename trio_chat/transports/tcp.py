"""TCP links, which bypass Trio's stream API for speed.

A woken `SocketStream.receive_some` costs twice as much as waiting for the socket and reading it
directly, which saves a system call and two checkpoints. A direct `send` from the hub costs a fifth
of `send_all`, and needs no task for each client. These two calls are most of the cost of a message.

It is safe because the link takes over the descriptor from Trio's socket (`detach`). So there is one
owner, one socket object and one close, and waiting tasks are told before that close.
`trio_chat.transports.readiness` waits for input, and Trio waits for everything else.
"""

from __future__ import annotations

import contextlib
import fcntl
import math
import socket
import sys
import termios
from typing import TYPE_CHECKING, Any

import trio

from trio_chat.config.endpoints import UNIX, UNIX_ADDRESS, path_of, place
from trio_chat.transports.link import ConnectionLink

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from trio_chat.transports.reader import Reader
    from trio_chat.transports.readiness import Readiness

# Bytes that one read takes, at most. More input waits in the kernel, which slows the client down.
READ_BYTES = 65_536


class SocketLink(ConnectionLink, trio.abc.AsyncResource):
    """A link over a TCP or unix socket."""

    __slots__ = ("_readiness", "_send", "_socket")

    _send: Callable[[bytes | bytearray], int]

    def __init__(
        self, sock: socket.socket, peer: str, address: str, readiness: Readiness | None = None
    ) -> None:
        """Use a socket that has its options already, such as one from another process."""
        super().__init__(peer, address)
        self._readiness = readiness
        self._socket = sock
        sock.settimeout(0)
        self._send = sock.send

    @classmethod
    def accepted(
        cls,
        stream: trio.SocketStream,
        keepalive: float,
        readiness: Readiness | None = None,
        *,
        patience: float = 0,
    ) -> SocketLink:
        """Take over the socket of a connection that was just accepted.

        The peer may leave bytes unread for `patience` seconds.
        """
        trio_socket = stream.socket
        sock = socket.socket(
            trio_socket.family, trio_socket.type, trio_socket.proto, fileno=trio_socket.detach()
        )
        try:
            _keep_alive(sock, keepalive, patience)
            # Telnet sends its interrupt as urgent data, which has to keep its place (RFC 854).
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
            peer, address = _name_of(sock)
        except OSError:  # it is gone already, as the first read will say
            peer = address = "unknown"
        return cls(sock, peer, address, readiness)

    @property
    def socket(self) -> socket.socket:
        """The socket. Only this link closes it."""
        return self._socket

    @property
    def unsent_bytes(self) -> int:
        """The number of bytes that wait for the connection."""
        return 0 if self.unsent is None else len(self.unsent)

    def write(self, chunk: bytes | None, more: list[bytes] | None) -> int:
        """Send what the socket takes at once, and keep the rest; see `hub.session.Link`."""
        if self.unsent is not None or chunk is None:
            return self._write_after_unsent(chunk, more)
        data = chunk if more is None else b"".join((chunk, *more))
        try:
            sent = self._send(data)
        except BlockingIOError:
            sent = 0
        if sent == len(data):
            return 0
        self.unsent = bytearray(memoryview(data)[sent:])
        self.kept += len(self.unsent)
        return len(self.unsent)

    def _write_after_unsent(self, chunk: bytes | None, more: list[bytes] | None) -> int:
        self.keep(chunk, more)
        unsent = self.unsent
        if unsent is None:
            return 0
        with contextlib.suppress(BlockingIOError):
            del unsent[: self._send(unsent)]
        if not unsent:
            self.unsent = None
        return len(unsent)

    def discard(self) -> None:
        """Forget unsent bytes, and all later ones."""
        super().discard()
        self._send = len  # as if everything were sent

    async def drain(self) -> bool:
        """Wait until the socket takes more. The hub then sends."""
        await trio.lowlevel.wait_writable(self._socket)
        return False

    def undelivered(self) -> int:
        """Return the number of bytes that the peer has not acknowledged."""
        try:
            answer = fcntl.ioctl(self._socket, termios.TIOCOUTQ, b"\0" * 4)
        except (OSError, ValueError):  # broken, or closed already
            return 0
        return int.from_bytes(answer, sys.byteorder)

    def at_rest(self) -> Reader | None:
        """Return the reader of the client's task if that only waits for bytes; see `Link`."""
        if self._readiness is None or not self._readiness.waits(self._socket.fileno()):
            return None
        if self.reader is not None and self.reader.rest_at < math.inf:  # it waits for a time too
            return None
        return self.reader

    def rest(self, reader: Reader, begin: Callable[[], None]) -> bool:
        """Call `begin`, to start the client's task, once there is something for it to do.

        That is when bytes have come, or when the hub wants something of the task. Returns `False`
        on systems without epoll, where the task has to start at once.
        """
        if self._readiness is None:
            return False
        self.reader, self.begin = reader, begin
        self._readiness.once(self._socket.fileno(), self.wake)
        return True

    # --- for the client's task --------------------------------------------------------------------

    def until(self, read: Callable[[], bool]) -> Coroutine[Any, Any, None]:
        """Call `read` whenever there may be something to take, until it returns `True`.

        Raises what `read` raises. This is not a coroutine function, to save each connection a
        frame.
        """
        if self._readiness is None:
            return self._until(read)
        return self._readiness.until(self._socket.fileno(), read)

    async def readable(self) -> None:
        """Wait until there is something to take, or the end."""
        await trio.lowlevel.wait_readable(self._socket)

    def take(self, most: int = READ_BYTES) -> bytes | None:
        """Return the bytes that have come, at most `most`: `b""` at the end, `None` if none yet.

        Raises `OSError` if the connection is broken.
        """
        try:
            return self._socket.recv(most)
        except BlockingIOError:
            return None

    async def take_last(self) -> bytes:
        """Return the bytes that are there now, perhaps none. Raises `OSError` like `take`."""
        await trio.lowlevel.checkpoint()
        with contextlib.suppress(BlockingIOError):
            return self._socket.recv(READ_BYTES)
        return b""

    async def finish(self, seconds: float) -> None:
        """End sending, read and discard until the peer has ended too, then close.

        A plain close with unread input would send a reset. The peer could lose its last lines by
        that, before it has read them (RFC 1122, 4.2.2.13).
        """
        with trio.move_on_after(seconds), contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
            while self.take() != b"":  # mostly the peer has ended before, and nobody waits
                await trio.lowlevel.wait_readable(self._socket)

    def close(self) -> None:
        """Close the socket at once. A second call does nothing."""
        if self._socket.fileno() != -1:
            if self._readiness is not None:
                self._readiness.forget(self._socket.fileno())
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()

    @trio.lowlevel.enable_ki_protection
    async def aclose(self) -> None:
        """Close the socket. `trio.serve_listeners` calls this after the connection's task."""
        self.close()
        await trio.lowlevel.checkpoint()


def _keep_alive(sock: socket.socket, seconds: float, patience: float) -> None:
    """Let the kernel find peers that vanished without closing the connection.

    After this much silence, the kernel sends three probes, a third of it apart. A ping or other
    unacknowledged data replaces the probes. So the peer has to acknowledge data within the same
    time, or within `patience` if that is longer.
    """
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        return
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    idle = 0x10 if sys.platform == "darwin" else socket.TCP_KEEPIDLE  # there TCP_KEEPALIVE
    sock.setsockopt(socket.IPPROTO_TCP, idle, int(seconds))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, max(1, int(seconds / 3)))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
    if sys.platform == "linux":
        milliseconds = int(1_000 * max(2 * seconds, patience))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, milliseconds)


def _name_of(sock: socket.socket) -> tuple[str, str]:
    """Return the peer as logs show it, and its address alone."""
    name = sock.getpeername()
    if sock.family == socket.AF_INET6:
        address = name[0].partition("%")[0].removeprefix("::ffff:")
        return place(address, name[1]), address
    if sock.family == socket.AF_INET:
        return f"{name[0]}:{name[1]}", name[0]
    return f"{UNIX}{path_of(sock)}", UNIX_ADDRESS
