"""Listening sockets, and the tasks that accept from them: as long as they may.

Trio's own `serve_listeners` closes the socket when it is cancelled. Here accepting can pause, while
those who connect wait in the socket's backlog.
"""

from __future__ import annotations

import errno
import logging
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Final

import trio
from attrs import evolve

from trio_chat.config.endpoints import Endpoint, path_of
from trio_chat.transports.unix import SocketFile, listen_at

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

# `trio_chat.daemon.logs` makes what is logged here rare.
logger = logging.getLogger("trio_chat.accepting")

# The system is out of something that will be there again, and the wait for it in seconds.
OUT_OF: Final = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS)
RETRY_SECONDS: Final = 0.1

# Connections that wait at a unix socket to be accepted; as many as Trio lets wait at a TCP one.
BACKLOG: Final = 65_535


async def open_sockets(endpoint: Endpoint) -> list[socket.socket]:
    """Listen at an endpoint: one socket for each address that its host stands for.

    Raises `OSError`, and `ListenError`.
    """
    if endpoint.unix:
        return [await listen_at(Path(endpoint.unix), endpoint.mode, BACKLOG)]
    listeners = await trio.open_tcp_listeners(endpoint.port, host=endpoint.host)
    return [socket.socket(fileno=listener.socket.detach()) for listener in listeners]


def located(sock: socket.socket, endpoint: Endpoint) -> Endpoint:
    """The endpoint, with the address or path that the socket really has."""
    if sock.family == socket.AF_UNIX:
        return endpoint if endpoint.unix else evolve(endpoint, unix=path_of(sock))
    host, port = sock.getsockname()[:2]
    return evolve(endpoint, host=host, port=port)


class Listening:
    """Accepts from one socket, which is its own, until `end`.

    `endpoint` is where that is to be and what is taken there. If it has a path, its file is removed
    at the end, unless the socket is another process's by then. A unix socket without one was made
    by who has given it, and its file is theirs.
    """

    def __init__(self, sock: socket.socket, endpoint: Endpoint, *, paused: bool = False) -> None:
        self.socket = sock
        self.endpoint = located(sock, endpoint)
        self.handed_over = False
        self._file = SocketFile(Path(endpoint.unix)) if endpoint.unix else None
        self._listener = trio.SocketListener(trio.socket.from_stdlib_socket(sock))
        self._accepting = trio.CancelScope()
        self._idle = trio.Event()
        self._ended = False
        # As long as this is there, nothing is to be accepted.
        self._paused = trio.Event() if paused else None

    async def run(
        self, serve: Callable[[trio.SocketStream], Awaitable[None]], nursery: trio.Nursery
    ) -> None:
        """Start a task for each connection; returns after `end`, with the socket closed."""
        with self.socket:
            try:
                while not self._ended:
                    if self._paused is None:
                        with self._accepting:
                            await self._accept(serve, nursery)
                    else:
                        self._idle.set()
                        await self._paused.wait()
            finally:
                if self._file is not None and not self.handed_over:
                    self._file.remove()

    async def _accept(
        self, serve: Callable[[trio.SocketStream], Awaitable[None]], nursery: trio.Nursery
    ) -> None:
        while True:
            try:
                stream = await self._listener.accept()
            except OSError as error:
                if error.errno not in OUT_OF:
                    raise
                logger.exception("cannot accept: %s", os.strerror(error.errno))
                await trio.sleep(RETRY_SECONDS)  # nobody tells when there is more
            else:
                nursery.start_soon(serve, stream)

    async def pause(self) -> None:
        """Accept no more until `resume`; returns once that is so."""
        if self._paused is None:
            self._paused = trio.Event()
            self._accepting.cancel("the chat is to stand still")
        await self._idle.wait()

    def resume(self) -> None:
        """Accept again."""
        if self._paused is not None:
            self._accepting, self._idle = trio.CancelScope(), trio.Event()
            self._paused.set()
            self._paused = None

    def end(self) -> None:
        """Accept no more, and close the socket."""
        self.resume()
        self._ended = True
        self._accepting.cancel("the chat is stopping")


class Listeners:
    """All of a chat's."""

    def __init__(self) -> None:
        self._all: list[Listening] = []

    def add(
        self, sockets: Sequence[socket.socket], endpoints: Sequence[Endpoint], *, paused: bool
    ) -> list[Listening]:
        """Have these too, whose tasks are to be run; see `Chat.listen_on`."""
        known = endpoints or [Endpoint()] * len(sockets)
        added = [
            Listening(sock, endpoint, paused=paused)
            for sock, endpoint in zip(sockets, known, strict=True)
        ]
        self._all += added
        return added

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Where they listen."""
        return tuple(one.endpoint for one in self._all)

    @property
    def sockets(self) -> list[socket.socket]:
        """Their sockets, in the same order."""
        return [one.socket for one in self._all]

    async def pause(self) -> None:
        """Have none of them accept until `resume`; returns once that is so."""
        for one in self._all:
            await one.pause()

    def resume(self) -> None:
        """Have them accept again."""
        for one in self._all:
            one.resume()

    def let_go(self) -> None:
        """Leave the paths to another process, which listens there with the same sockets."""
        for one in self._all:
            one.handed_over = True

    def end(self) -> None:
        """Have them accept no more, and close."""
        for one in self._all:
            one.end()
