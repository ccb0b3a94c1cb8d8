"""Listening sockets for `trio.serve_listeners`. Accepting can pause."""

from __future__ import annotations

import errno
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import trio
from attrs import evolve

from trio_chat.config.endpoints import Endpoint, path_of
from trio_chat.transports.unix import SocketFile, listen_at

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from trio_chat.transports.tcp import SocketLink

ConnectionT = TypeVar("ConnectionT", bound=trio.abc.AsyncResource)

ALL_ADDRESSES: Final = "::"

# Connections that may wait at a unix socket. Trio lets as many wait at a TCP socket.
BACKLOG: Final = 65_535

# In so many steps all other tasks go on before the next connection is accepted. A client needs
# about as many for its first lines. So a flood of connections waits in the backlog, and the people
# who are here do not.
STEPS: Final = 8


async def open_sockets(endpoint: Endpoint, *, takes_ipv4: bool = True) -> list[socket.socket]:
    """Listen at an endpoint, with one socket for each address of its host.

    If `takes_ipv4`, a socket for `::` takes IPv4 too, on systems that have such sockets. Raises
    `OSError` and `ListenError`.
    """
    if endpoint.unix:
        return [await listen_at(Path(endpoint.unix), endpoint.mode, BACKLOG)]
    if takes_ipv4 and endpoint.host == ALL_ADDRESSES and socket.has_dualstack_ipv6():
        # Trio's own IPv6 sockets take only IPv6.
        await trio.lowlevel.checkpoint()
        where = (endpoint.host, endpoint.port)
        return [
            socket.create_server(
                where, family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True
            )
        ]
    listeners = await trio.open_tcp_listeners(endpoint.port, host=endpoint.host)
    return [socket.socket(fileno=listener.socket.detach()) for listener in listeners]


def has_ipv4_beside(endpoint: Endpoint, endpoints: Sequence[Endpoint]) -> bool:
    """Whether another one of these endpoints has the same port, with IPv4."""
    return any(
        beside.port == endpoint.port and not beside.unix and ":" not in beside.host
        for beside in endpoints
    )


def located(sock: socket.socket, endpoint: Endpoint) -> Endpoint:
    """Return the endpoint with the real address or path of the socket."""
    if sock.family == socket.AF_UNIX:
        return endpoint if endpoint.unix else evolve(endpoint, unix=path_of(sock))
    host, port = sock.getsockname()[:2]
    return evolve(endpoint, host=host, port=port)


class PausableListener(trio.abc.Listener[ConnectionT]):
    """A listener for `trio.serve_listeners` whose accepting can pause.

    During a pause, new connections wait in the socket's backlog. `connection` turns an accepted
    stream into the argument of the handler. `path` is the file of a unix socket that this process
    created. Closing the listener removes that file first, unless it belongs to another server by
    then. While `may_accept` returns false, accepting fails as if no descriptor were free.
    """

    def __init__(
        self,
        sock: socket.socket,
        connection: Callable[[trio.SocketStream], ConnectionT],
        *,
        may_accept: Callable[[], bool] = lambda: True,
        path: Path | None = None,
        paused: bool = False,
    ) -> None:
        self.socket = sock
        self.path = path
        self._file = None if path is None else SocketFile(path)
        self._listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
        self._connection = connection
        self._may_accept = may_accept
        # The running attempt to accept, or `None`, and the event at its end, for `pause`.
        self._attempt: trio.CancelScope | None = None
        self._attempt_over = trio.Event()
        # The end of the pause, or `None`.
        self._resumed = trio.Event() if paused else None

    @trio.lowlevel.enable_ki_protection
    async def accept(self) -> ConnectionT:
        """Wait for the end of a pause, then for a connection. Raises like `trio.SocketListener`."""
        while True:
            while self._resumed is not None:
                await self._resumed.wait()
            self._attempt = trio.CancelScope()
            try:
                with self._attempt:
                    for _ in range(STEPS):
                        await trio.lowlevel.checkpoint()
                    if not self._may_accept():
                        await self._wait_for_room()
                    return self._connection(await self._listener.accept())
            finally:
                self._attempt = None
                self._attempt_over.set()

    async def _wait_for_room(self) -> None:
        """Wait for a connection. Raise `OSError` if there is still no descriptor for it."""
        await trio.lowlevel.wait_readable(self.socket)
        if not self._may_accept():
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    async def pause(self) -> None:
        """Stop accepting until `resume`. Returns once nothing is accepted any more.

        Each connection accepted before has its task by then, because Trio starts it at once.
        """
        self._stop_accepting()
        if self._attempt is not None:
            await self._attempt_over.wait()

    def resume(self) -> None:
        """Accept again."""
        if self._resumed is not None:
            self._resumed.set()
            self._resumed = None

    def hand_over(self) -> None:
        """Leave the socket and its path to another process: accept nothing, and remove nothing."""
        self._file = None
        self._stop_accepting()

    def _stop_accepting(self) -> None:
        if self._resumed is None:
            self._resumed, self._attempt_over = trio.Event(), trio.Event()
            if self._attempt is not None:
                self._attempt.cancel("accepting pauses")

    @trio.lowlevel.enable_ki_protection
    async def aclose(self) -> None:
        """Remove the path, then close the socket."""
        if self._file is not None:
            self._file.remove()
        await self._listener.aclose()


class Listeners:
    """All listeners of a chat with their endpoints. They accept while `may_accept` returns true."""

    def __init__(self, may_accept: Callable[[], bool]) -> None:
        self._may_accept = may_accept
        self._endpoints: dict[PausableListener[SocketLink], Endpoint] = {}
        self._serving: dict[PausableListener[SocketLink], trio.CancelScope] = {}

    def add(
        self,
        sockets: Sequence[socket.socket],
        endpoints: Sequence[Endpoint],
        connection: Callable[[trio.SocketStream], SocketLink],
        *,
        paused: bool,
    ) -> dict[PausableListener[SocketLink], Endpoint]:
        """Create listeners for these sockets, too; see `Chat.listen_on`."""
        added: dict[PausableListener[SocketLink], Endpoint] = {}
        for sock, endpoint in zip(sockets, endpoints or [Endpoint()] * len(sockets), strict=True):
            place = located(sock, endpoint)
            # A unix socket without a path was given to the chat, so the chat does not own its file.
            path = Path(endpoint.unix) if endpoint.unix else None
            listener = PausableListener(
                sock, connection, may_accept=self._may_accept, path=path, paused=paused
            )
            added[listener] = place
        self._endpoints |= added
        self._serving |= {listener: trio.CancelScope() for listener in added}
        return added

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """The endpoints of the listeners."""
        return tuple(self._endpoints.values())

    @property
    def sockets(self) -> list[socket.socket]:
        """The sockets of the listeners, in the same order."""
        return [listener.socket for listener in self._endpoints]

    @trio.lowlevel.enable_ki_protection
    async def serve(
        self,
        listener: PausableListener[SocketLink],
        handler: Callable[[SocketLink], Awaitable[None]],
        nursery: trio.Nursery,
    ) -> None:
        """Run the handler in a task for each connection until `end`, then close the listener."""
        with self._serving[listener]:
            await trio.serve_listeners(handler, [listener], handler_nursery=nursery)

    def end(self) -> None:
        """Close all listeners."""
        for serving in self._serving.values():
            serving.cancel("the chat is stopping")

    async def pause(self) -> None:
        """Stop accepting until `resume`. Returns once nothing is accepted any more."""
        for listener in self._endpoints:
            await listener.pause()

    def resume(self) -> None:
        """Accept again."""
        for listener in self._endpoints:
            listener.resume()

    def hand_over(self) -> None:
        """Leave the sockets and paths to another process."""
        for listener in self._endpoints:
            listener.hand_over()
