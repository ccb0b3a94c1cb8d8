"""The sockets of the workers: one for each worker and address, which the parent never closes.

With SO_REUSEPORT, Linux spreads new connections evenly over the sockets of a port, each of which
has a backlog of its own. To close such a socket would reset the connections in its backlog. So the
socket of a worker that has ended goes to the next one.

Only one socket can listen at a path. It is shared by all workers, and so are sockets from systemd.
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from attrs import frozen

from trio_chat.config.endpoints import Endpoint, Speech
from trio_chat.config.settings import Settings
from trio_chat.daemon.addresses import told
from trio_chat.errors import ListenError
from trio_chat.transports.listener import BACKLOG, has_ipv4_beside, located, open_sockets
from trio_chat.transports.unix import SocketFile


@frozen
class Place:
    """An address or path, with a socket for each worker, or one for all.

    `file` is the file of a socket that was not inherited. The sockets may also have an address
    each, of which the endpoint has the first.
    """

    endpoint: Endpoint
    sockets: Sequence[socket.socket]
    file: SocketFile | None = None

    def of(self, number: int) -> socket.socket:
        """Return the socket of the worker with this number, from 1."""
        return self.sockets[(number - 1) % len(self.sockets)]

    @property
    def is_shared(self) -> bool:
        """Whether people reach all workers there."""
        return len({sock.getsockname() for sock in self.sockets}) == 1

    def close(self) -> None:
        """Remove the file, and stop listening."""
        if self.file is not None:
            self.file.remove()
        for sock in self.sockets:
            sock.close()


def given(sockets: Sequence[socket.socket]) -> list[Place]:
    """Share inherited sockets."""
    return [Place(located(sock, Endpoint()), [sock]) for sock in sockets]


def inherited(descriptors: Sequence[int], accept: Sequence[Speech], file: str | None) -> Place:
    """Return a place of a parent before this one."""
    found = [socket.socket(fileno=descriptor) for descriptor in descriptors]
    endpoint = located(found[0], Endpoint(accept=tuple(accept)))
    return Place(endpoint, found, None if file is None else SocketFile(Path(file)))


async def opened(settings: Settings, workers: int) -> list[Place]:
    """Listen where the settings say. Raises `ListenError`."""
    places: list[Place] = []
    with ExitStack() as closing:
        for endpoint in settings.endpoints:
            beside = has_ipv4_beside(endpoint, settings.endpoints)
            try:
                found = await _opened(endpoint, workers, takes_ipv4=not beside)
            except (OSError, UnicodeError) as error:
                raise ListenError(told(error, endpoint, alone=not settings.listen)) from None
            for place in found:
                closing.callback(place.close)
            places += found
        if settings.worker_port:
            places.append(await _one_each(settings, workers))
        closing.pop_all()
    return places


async def _one_each(settings: Settings, workers: int) -> Place:
    """Listen at a port for each worker. Raises `ListenError`."""
    found: list[socket.socket] = []
    with ExitStack() as closing:
        for number in range(workers):
            endpoint = Endpoint(settings.host, settings.worker_port + number, accept=("http",))
            try:
                # A name may stand for several addresses. One is enough for Prometheus.
                first, *others = await open_sockets(endpoint)
            except (OSError, UnicodeError) as error:
                problem = told(error, endpoint, alone=True, port="--worker-port")
                raise ListenError(problem) from None
            for other in others:
                other.close()
            found.append(closing.enter_context(first))
        closing.pop_all()
    return Place(Endpoint(settings.host, settings.worker_port, accept=("http",)), found)


async def _opened(endpoint: Endpoint, workers: int, *, takes_ipv4: bool) -> list[Place]:
    # These fail if another server is there, even one of this user's that would share its port.
    found = await open_sockets(endpoint, takes_ipv4=takes_ipv4)
    if endpoint.unix:
        return [Place(endpoint, found, SocketFile(Path(endpoint.unix)))]
    places: list[Place] = []
    with ExitStack() as closing:
        for first in found:
            family, address = first.family, first.getsockname()
            only_ipv6 = family == socket.AF_INET6 and first.getsockopt(
                socket.IPPROTO_IPV6, socket.IPV6_V6ONLY
            )
            first.close()
            sharing: list[socket.socket] = []
            for _ in range(workers):
                sharing.append(closing.enter_context(socket.socket(family)))
                _listen(sharing[-1], address, only_ipv6=bool(only_ipv6))
            places.append(Place(located(sharing[0], endpoint), sharing))
        closing.pop_all()
    return places


def _listen(sock: socket.socket, address: tuple[object, ...], *, only_ipv6: bool) -> None:
    """Listen as Trio's sockets do, but with others at the same address."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    if sock.family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, only_ipv6)
    sock.bind(address)
    sock.listen(BACKLOG)
