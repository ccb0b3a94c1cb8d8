"""The tasks of clients: how each begins, and how all end."""

from __future__ import annotations

import socket
from contextlib import ExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING

import trio

from trio_chat.config.certificate import Tls
from trio_chat.config.endpoints import Endpoint
from trio_chat.config.settings import Settings
from trio_chat.config.trusted import is_trusted
from trio_chat.errors import ChatClosed
from trio_chat.http.operators import Operators
from trio_chat.hub.hub import Hub
from trio_chat.hub.inbox import Item, Stop
from trio_chat.hub.pings import ping_clients
from trio_chat.snapshot.take import going_over
from trio_chat.transports.connection import Connection, new_reader
from trio_chat.transports.descriptors import Descriptors
from trio_chat.transports.listener import Listeners
from trio_chat.transports.stream import StreamLink
from trio_chat.transports.tcp import SocketLink

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable, Mapping, Sequence

    from trio_chat.config.endpoints import Speech
    from trio_chat.protocol.rows import Row
    from trio_chat.transports.reader import Reader
    from trio_chat.transports.readiness import Readiness


class Clients:
    """The clients' tasks of one chat, all below `run`.

    `frozen` is held while the chat stands still. Once `stop_wanted` is set, nobody else is served.
    """

    def __init__(
        self,
        hub: Hub,
        channel: trio.MemorySendChannel[Item],
        table: Mapping[str, Row],
        operators: Operators,
        tls: Tls,
        readiness: Readiness | None,
    ) -> None:
        self.descriptors = Descriptors()
        self.listeners = Listeners(self.descriptors.may_accept)
        self.frozen = trio.Lock()
        self.stop_wanted = trio.Event()
        self._hub = hub
        self._channel = channel
        self._table = table
        self._operators = operators
        self._tls = tls
        self._readiness = readiness
        self._nursery: trio.Nursery
        self._streams: set[trio.CancelScope] = set()
        # A task has the hub ping clients, once there may be any with sockets.
        self._pings = False

    @property
    def _settings(self) -> Settings:
        return self._hub.state.settings

    # --- ways in ----------------------------------------------------------------------------------

    async def check_open(self) -> None:
        """Raise `ChatClosed` once the chat is stopping."""
        await trio.lowlevel.checkpoint_if_cancelled()
        if self.stop_wanted.is_set():
            raise ChatClosed("the chat is stopping")

    def listen_on(
        self, sockets: Iterable[socket.socket], endpoints: Sequence[Endpoint]
    ) -> list[tuple[str, int]]:
        """Serve everyone who connects to these sockets: see `Chat.listen_on`."""
        with ExitStack() as closing:
            sockets = [closing.enter_context(sock) for sock in sockets]
            if self.stop_wanted.is_set():
                raise ChatClosed("the chat is stopping")
            paused = self.frozen.locked()
            added = self.listeners.add(sockets, endpoints, self.link, paused=paused)
            closing.pop_all()
        if added and not self._pings:
            self._pings = True
            ping = partial(ping_clients, frozen=self.frozen, stop_wanted=self.stop_wanted)
            self._nursery.start_soon(ping, self._hub.state, self._channel)
        for listener, endpoint in added.items():
            serve = partial(self.serve, accept=endpoint.accept)
            self._nursery.start_soon(self.listeners.serve, listener, serve, self._nursery)
        return [(place.host, place.port) for place in added.values() if not place.unix]

    def link(self, stream: trio.SocketStream) -> SocketLink:
        """Make the link to a client that has connected."""
        # Trio keeps what was accepted as long as its task runs, and a link is less than a stream.
        settings = self._settings
        return SocketLink.accepted(
            stream, settings.keepalive, self._readiness, patience=settings.stall_timeout
        )

    def serve(self, link: SocketLink, *, accept: tuple[Speech, ...]) -> Coroutine[None, None, None]:
        """Serve a client until it has left."""
        # Not a coroutine of its own, to save each connection a frame. The channel is not cloned for
        # each either: `run` closes it when the last of them has ended.
        settings = self._settings
        trusted = is_trusted(link.address, settings.trusted_proxies)
        reader = new_reader(link, self._channel, settings, accept=accept, trusted=trusted)
        return self._run_reader(reader)

    def _run_reader(self, reader: Reader) -> Coroutine[None, None, None]:
        return Connection(
            reader,
            self._channel,
            self._settings,
            self._table,
            descriptors=self.descriptors,
            operators=self._operators,
            tls=self._tls,
        ).run()

    async def serve_stream(self, stream: trio.abc.Stream, peer: str, *, private: bool) -> None:
        """Serve a client until it has left, in the caller's task: see `Chat.serve_stream`."""
        await self.check_open()
        with trio.CancelScope() as scope, self._channel.clone() as channel:
            self._streams.add(scope)
            try:
                link = StreamLink(stream, peer)
                connection = Connection(
                    new_reader(link, channel, self._settings, private=private),
                    channel,
                    self._settings,
                    self._table,
                    descriptors=self.descriptors,
                    operators=self._operators,
                )
                await connection.run()
            finally:
                self._streams.remove(scope)
                await trio.aclose_forcefully(stream)

    # --- the nursery ------------------------------------------------------------------------------

    @trio.lowlevel.enable_ki_protection
    async def run(
        self,
        readers: Iterable[Reader],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """House the clients' tasks, and end them when a stop is wanted.

        The clients of `readers`, who come from another process, are the first. The task that ends
        last closes the last sender of the hub's channel, and so ends the hub with nothing left to
        do.
        """
        with self._channel:
            try:
                async with trio.open_nursery() as self._nursery:
                    for reader in readers:
                        self._go_on(reader)
                    task_status.started()
                    try:
                        await self.stop_wanted.wait()
                        async with self.frozen:
                            await self._end(self._nursery)
                    finally:
                        # Each client is ended by its own task, and later no task can start.
                        for _, link in going_over(self._hub.state):
                            link.wake()
            finally:
                self.stop_wanted.set()

    def _go_on(self, reader: Reader) -> None:
        """Serve a client from another process, by a task that starts once it has something to do.

        Starting ten thousand tasks takes a third of an upgrade's pause.
        """
        self.descriptors.connections += 1

        def begin() -> None:
            self.descriptors.connections -= 1  # the task counts it again
            self._nursery.start_soon(self._run_reader, reader)

        if not reader.rest(begin):
            begin()

    async def _end(self, clients: trio.Nursery) -> None:
        self.listeners.end()
        deadline = trio.current_time() + self._settings.stop_grace
        for scope in (clients.cancel_scope, *self._streams):
            scope.deadline = min(scope.deadline, deadline)
        self._hub.give_up_at(deadline)
        with suppress(trio.BrokenResourceError):
            await self._channel.send(Stop())
