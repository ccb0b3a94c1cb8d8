"""TCP links, below Trio's stream API for the sake of speed.

A woken `SocketStream.receive_some` costs twice as much as waiting for the socket and reading it
directly: one system call and two checkpoints are saved. A direct `send` from the hub costs a fifth
of `send_all`, and needs no task parked for each client. Fan-out is bound by just these two calls.

What makes it safe: the descriptor is taken over from Trio's socket (`detach`), so there is one
owner, one socket object, and one close; before that, whoever waits is told. Reading waits as
`trio_chat.transports.readiness` says, every other wait is Trio's own.
"""

from __future__ import annotations

import contextlib
import fcntl
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

# As much as one read takes. What a client sends at once beyond this waits in the kernel, which is
# what slows it down.
READ_BYTES = 65_536


class SocketLink(ConnectionLink, trio.abc.AsyncResource):
    """A link over a TCP or unix socket."""

    __slots__ = ("_readiness", "_send", "_socket")

    _send: Callable[[bytes | bytearray], int]

    def __init__(
        self, sock: socket.socket, peer: str, address: str, readiness: Readiness | None = None
    ) -> None:
        """Go on with a socket that has its options, as one from another process."""
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
        """Take over the socket of a connection that has just been accepted.

        `patience`: so long the peer may leave unread what it is sent.
        """
        trio_socket = stream.socket
        sock = socket.socket(
            trio_socket.family, trio_socket.type, trio_socket.proto, fileno=trio_socket.detach()
        )
        try:
            _keep_alive(sock, keepalive, patience)
            # Telnet sends its interrupt as urgent data, which belongs where it stands (RFC 854).
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
            peer, address = _name_of(sock)
        except OSError:  # it is gone already, as the first read will say
            peer = address = "unknown"
        return cls(sock, peer, address, readiness)

    @property
    def socket(self) -> socket.socket:
        """The socket, which is this link's to close."""
        return self._socket

    @property
    def unsent_bytes(self) -> int:
        """How many bytes wait for the connection."""
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
        """Forget what is unsent, and whatever is written after this."""
        super().discard()
        self._send = len  # it is as if all had been sent

    async def drain(self) -> bool:
        """Wait until the socket takes more, which the hub is to send."""
        await trio.lowlevel.wait_writable(self._socket)
        return False

    def undelivered(self) -> int:
        """How many bytes the peer has not acknowledged."""
        try:
            answer = fcntl.ioctl(self._socket, termios.TIOCOUTQ, b"\0" * 4)
        except (OSError, ValueError):  # it is broken, or closed already
            return 0
        return int.from_bytes(answer, sys.byteorder)

    def at_rest(self) -> Reader | None:
        """Give the reader of the client's task, if that waits for bytes alone; see `Link`."""
        if self._readiness is None or not self._readiness.waits(self._socket.fileno()):
            return None
        return self.reader

    # --- for the client's task --------------------------------------------------------------------

    def until(self, read: Callable[[], bool]) -> Coroutine[Any, Any, None]:
        """Call `read` whenever there may be something to take, until it returns `True`.

        Raises what that raises. Not a coroutine of its own, to save each connection a frame.
        """
        if self._readiness is None:
            return self._until(read)
        return self._readiness.until(self._socket.fileno(), read)

    async def readable(self) -> None:
        """Wait until there is something to take, or the end."""
        await trio.lowlevel.wait_readable(self._socket)

    def take(self, most: int = READ_BYTES) -> bytes | None:
        """The bytes that have come; `b""` is the end, `None` means that there are none yet.

        At most so many. Raises `OSError` if the connection is broken.
        """
        try:
            return self._socket.recv(most)
        except BlockingIOError:
            return None

    async def take_last(self) -> bytes:
        """The bytes that are there now, perhaps none; raises `OSError` like `take`."""
        await trio.lowlevel.checkpoint()
        with contextlib.suppress(BlockingIOError):
            return self._socket.recv(READ_BYTES)
        return b""

    async def finish(self, seconds: float) -> None:
        """End our side, read and discard until the peer has ended its own, then close.

        A plain close with unread input would send a reset, which takes the last lines from the peer
        before it has read them (RFC 1122, 4.2.2.13).
        """
        with trio.move_on_after(seconds), contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_WR)
            while True:
                await trio.lowlevel.wait_readable(self._socket)
                with contextlib.suppress(BlockingIOError):
                    if not self._socket.recv(READ_BYTES):
                        break

    def close(self) -> None:
        """Close the socket at once; does nothing the second time."""
        if self._socket.fileno() != -1:
            if self._readiness is not None:
                self._readiness.forget(self._socket.fileno())
            trio.lowlevel.notify_closing(self._socket)
            self._socket.close()

    async def aclose(self) -> None:
        """Close the socket, as `trio.serve_listeners` has it after the connection's task."""
        self.close()
        await trio.lowlevel.checkpoint()


def _keep_alive(sock: socket.socket, seconds: float, patience: float) -> None:
    """Have the kernel find peers that vanished without a word.

    After so much silence, three probes a third of it apart. A ping or anything else that is sent
    meanwhile takes the place of the probes. So it has to be acknowledged within the same time, or
    within `patience` if that is longer.
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
    """The peer as logs show it, and its address alone."""
    name = sock.getpeername()
    if sock.family == socket.AF_INET6:
        address = name[0].partition("%")[0].removeprefix("::ffff:")
        return place(address, name[1]), address
    if sock.family == socket.AF_INET:
        return f"{name[0]}:{name[1]}", name[0]
    return f"{UNIX}{path_of(sock)}", UNIX_ADDRESS
