"""The nursery tree: hub, clients, listeners, and the order in which they end."""

from __future__ import annotations

import logging
import socket
from contextlib import ExitStack, asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import trio

from trio_chat.config.certificate import Tls
from trio_chat.config.endpoints import Endpoint
from trio_chat.config.secrets import read_secrets
from trio_chat.config.settings import AT_A_RESTART, SQLITE, Settings, changed, changes
from trio_chat.errors import ChatClosed, Code, Refused
from trio_chat.http.operators import Operators
from trio_chat.hub.hub import Hub
from trio_chat.hub.inbox import (
    Beat,
    Connected,
    Heartbeat,
    HubEvent,
    Item,
    PauseWanted,
    Reload,
    Request,
    Stop,
    TellClient,
)
from trio_chat.hub.pause import Pause
from trio_chat.hub.session import Session
from trio_chat.hub.state import BEATS
from trio_chat.metrics.histogram import SECONDS, Histogram
from trio_chat.metrics.loop_lag import measure_loop_lag
from trio_chat.metrics.statistics import Health, Statistics, take
from trio_chat.protocol.commands import Disconnected
from trio_chat.protocol.table import make_table
from trio_chat.protocol.text import clean_text
from trio_chat.roomlog.memory import MemoryLog
from trio_chat.roomlog.retention import retention
from trio_chat.roomlog.sqlite.log import open_sqlite_log
from trio_chat.snapshot.ahead import Ahead
from trio_chat.snapshot.handover import Handover, PausedChat, kept_rooms_of
from trio_chat.snapshot.model import ChatSnapshot
from trio_chat.snapshot.restore import Restore
from trio_chat.snapshot.take import going_over, take_snapshot
from trio_chat.transports.connection import Connection, new_reader
from trio_chat.transports.descriptors import Descriptors
from trio_chat.transports.listener import Listeners, open_sockets
from trio_chat.transports.memory import EVENTS, EventLink, InProcessClient
from trio_chat.transports.proxy_protocol import is_trusted
from trio_chat.transports.readiness import open_readiness
from trio_chat.transports.stream import StreamLink
from trio_chat.transports.tcp import SocketLink

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Coroutine, Iterable, Mapping, Sequence

    from trio_chat.config.endpoints import Speech
    from trio_chat.hub.handlers.messages import BeforeSay
    from trio_chat.protocol.table import Row
    from trio_chat.roomlog import LocalLog, RoomLog, SharedLog
    from trio_chat.transports.reader import Reader
    from trio_chat.transports.readiness import Readiness

logger = logging.getLogger("trio_chat")

T = TypeVar("T")

# Batches that wait for the hub. Each is one read of one client. The rate limit keeps them small,
# and a client's few.
CHANNEL_ITEMS = 1_024
# Without pings, the settings are looked at once a beat of this.
NO_PINGS_SECONDS = 60.0
# For everyone to stand still.
PAUSE_SECONDS = 5.0
# For an in-process client to say that it has left, when the program is being cancelled.
LEAVE_SECONDS = 1.0


class Chat:
    """A running chat, made by `open_chat`: ways in for clients, and the way to its end."""

    def __init__(
        self,
        table: Mapping[str, Row],
        channel: trio.MemorySendChannel[Item],
        hub: Hub,
        log: RoomLog,
        uptime: float,
        token: bytes | None,
        tls: Tls,
        readiness: Readiness | None,
    ) -> None:
        self._table = table
        self._channel = channel
        self._hub = hub
        self._log = log
        self._started = trio.current_time() - uptime
        self._loop_lag = Histogram(SECONDS)
        self._operators = Operators(partial(take, hub, self._loop_lag), self.health, token)
        self._tls = tls
        self._readiness = readiness
        self._descriptors = Descriptors()
        self._clients: trio.Nursery
        self._listeners = Listeners(self._descriptors.may_accept)
        # Held while everything stands still. A stop waits for it.
        self._pausing = trio.Lock()
        self._streams: set[trio.CancelScope] = set()
        # A task has the hub ping clients, once there may be any with sockets.
        self._pings = False
        self._stop_wanted = trio.Event()
        self._ended = trio.Event()

    @property
    def settings(self) -> Settings:
        """The settings it goes by: those given to `open_chat`, as `reload` has changed them."""
        return self._hub.state.settings

    @property
    def uptime(self) -> float:
        """Seconds since its start; that of the process it has taken over from, if it has."""
        return trio.current_time() - self._started

    @property
    def certificate(self) -> str:
        """The SHA-256 fingerprint of the certificate that TLS is spoken with; empty without one."""
        return self._tls.fingerprint

    # --- ways in ----------------------------------------------------------------------------------

    async def listen(
        self, *, host: str | None = None, port: int | None = None
    ) -> list[tuple[str, int]]:
        """Listen on TCP, beside whatever is listened on already; gives the addresses.

        There is one for each that `host` stands for.

        The settings give a host or a port that is not given here. If neither is, their `listen`
        counts first, whose unix sockets have no address. Port 0 is any free one, and a different
        one for each address. Raises like `listen_at`.
        """
        settings, wanted = self.settings, self.settings.endpoints
        if host is not None or port is not None:
            host = settings.host if host is None else host
            port = settings.port if port is None else port
            wanted = (Endpoint(host, port),)
        found = [await self.listen_at(endpoint) for endpoint in wanted]
        return [address for addresses in found for address in addresses]

    async def listen_at(self, endpoint: Endpoint) -> list[tuple[str, int]]:
        """Listen at an endpoint, which says what is taken there too; gives its TCP addresses.

        A socket that an earlier server has left at a path is replaced, and the path is removed at
        the end. Raises `OSError` if it cannot be listened at, and `ListenError` if another server
        has the path, or something else is there. Raises `ChatClosed` once the chat is stopping.
        """
        await self._check_open()
        sockets = await open_sockets(endpoint, takes_ipv4=not self._has_ipv4_beside(endpoint))
        return self.listen_on(sockets, [endpoint] * len(sockets))

    def _has_ipv4_beside(self, endpoint: Endpoint) -> bool:
        """Whether another endpoint of the settings has the same port, with IPv4."""
        return any(
            beside.port == endpoint.port and not beside.unix and ":" not in beside.host
            for beside in self.settings.endpoints
        )

    def listen_on(
        self, sockets: Iterable[socket.socket], endpoints: Sequence[Endpoint] = ()
    ) -> list[tuple[str, int]]:
        """Listen on sockets that listen already, as systemd hands them over; their TCP addresses.

        `endpoints` says for each what is taken there, and the path of a unix socket if the chat is
        to remove it. Without them everything is taken, and no path removed. Those of a predecessor
        are in its state, as `listening`. The chat takes the sockets over, and closes them when it
        stops, and if this raises. Raises `ValueError` if one does not listen, and `SettingsError`
        if one has a path that no setting can have, such as an abstract name. Raises `ChatClosed`
        once the chat is stopping.
        """
        with ExitStack() as closing:
            sockets = [closing.enter_context(sock) for sock in sockets]
            if self._stop_wanted.is_set():
                raise ChatClosed("the chat is stopping")
            paused = self._pausing.locked()
            added = self._listeners.add(sockets, endpoints, self._link, paused=paused)
            closing.pop_all()
        if added and not self._pings:
            self._pings = True
            self._clients.start_soon(self._ping_clients)
        for listener, endpoint in added.items():
            serve = partial(self._serve, accept=endpoint.accept)
            self._clients.start_soon(self._listeners.serve, listener, serve, self._clients)
        return [(place.host, place.port) for place in added.values() if not place.unix]

    async def _ping_clients(self) -> None:
        """Have the hub ping a part of the clients at each beat, until the chat is to stop."""
        while True:
            interval = self.settings.ping_interval or NO_PINGS_SECONDS
            with trio.move_on_after(interval / BEATS):
                await self._stop_wanted.wait()
                return
            wanted = self.settings.ping_interval and self._hub.state.sessions
            if wanted and not self._pausing.locked():
                with suppress(trio.ClosedResourceError, trio.BrokenResourceError):
                    await self._channel.send(Beat())

    @property
    def listening(self) -> tuple[Endpoint, ...]:
        """The endpoints at which it listens."""
        return self._listeners.endpoints

    def _link(self, stream: trio.SocketStream) -> SocketLink:
        # Trio keeps what was accepted as long as its task runs, and a link is less than a stream.
        return SocketLink.accepted(
            stream, self.settings.keepalive, self._readiness, patience=self.settings.stall_timeout
        )

    def _serve(
        self, link: SocketLink, *, accept: tuple[Speech, ...]
    ) -> Coroutine[None, None, None]:
        # Not a coroutine of its own, to save each connection a frame. The channel is not cloned for
        # each either: `_run_clients` closes it when the last of them has ended.
        settings = self.settings
        trusted = is_trusted(link.address, settings.trusted_proxies)
        reader = new_reader(link, self._channel, settings, accept=accept, trusted=trusted)
        return self._run_reader(reader)

    def _run_reader(self, reader: Reader) -> Coroutine[None, None, None]:
        return Connection(
            reader,
            self._channel,
            self.settings,
            self._table,
            descriptors=self._descriptors,
            operators=self._operators,
            tls=self._tls,
        ).run()

    async def serve_stream(self, stream: trio.abc.Stream, *, peer: str = "stream") -> None:
        """Serve one client over a stream of any kind, by the line protocol, and close the stream.

        `peer` is what logs call it, and what counts as its address for the limit on clients an
        address. Raises `ChatClosed` once the chat is stopping.
        """
        await self._check_open()
        with trio.CancelScope() as scope, self._channel.clone() as channel:
            self._streams.add(scope)
            try:
                link = StreamLink(stream, peer)
                connection = Connection(
                    new_reader(link, channel, self.settings),
                    channel,
                    self.settings,
                    self._table,
                    descriptors=self._descriptors,
                    operators=self._operators,
                )
                await connection.run()
            finally:
                self._streams.remove(scope)
                await trio.aclose_forcefully(stream)

    @asynccontextmanager
    async def connect(self, nick: str | None = None) -> AsyncGenerator[InProcessClient, None]:
        """Be a client of this chat, without a socket, for the length of a block.

        Raises `Refused` if the nick cannot be had, `ChatClosed` once the chat is stopping.
        """
        await self._check_open()
        with self._channel.clone() as channel:
            link = EventLink(channel, self.settings.outbox_bytes)
            client = Session(link, EVENTS, channel, room_limit=None, local=True)
            try:
                await channel.send((client, (Connected(),), 0))
            except trio.BrokenResourceError:
                raise ChatClosed("the chat has stopped") from None
            handle = InProcessClient(client, link, self.settings)
            try:
                if nick is not None:
                    await handle.take_nick(nick)
                yield handle
            finally:
                with trio.move_on_after(LEAVE_SECONDS, shield=True), suppress(ChatClosed):
                    await handle.perform(Disconnected("left"))

    # --- for the embedding program ----------------------------------------------------------------

    async def tell(self, client: str, text: str) -> bool:
        """Show one client, by its id, a line of the program's own.

        Gives whether it was there, and keeping up with what it is sent.

        Raises `Refused` for text that may not be shown, `ChatClosed` once the chat has stopped.
        """
        text = clean_text(text, what="line", limit=self.settings.message_chars)
        return await self._ask(TellClient(client, text))

    async def beat(self) -> None:
        """Return once the hub has gone through a turn, which one that hangs does not.

        For watchdogs. Raises `ChatClosed` once the chat has stopped.
        """
        await self._ask(Heartbeat())

    async def _ask(self, request: Request[T]) -> T:
        await self._post(request)
        try:
            return await request.result()
        except ChatClosed:
            raise ChatClosed("the chat has stopped") from None

    async def _post(self, event: HubEvent) -> None:
        try:
            await self._channel.send(event)
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            raise ChatClosed("the chat has stopped") from None

    async def reload(self, settings: Settings) -> tuple[str, ...]:
        """Take all of these settings that can change while the chat runs.

        Gives the names of those that differ and cannot: they stay as they are. Some count at once,
        others for clients that come from now on; docs/settings.md says which. Nobody is
        disconnected. Log settings are for the program to act on. The files that
        `metrics_token_file`, `tls_cert` and `tls_key` name are read anew. Raises `SettingsError`,
        and changes nothing, if they cannot be read, or `keep_rooms` has what is no name of a room.
        Raises `ChatClosed` once the chat is stopping.
        """
        await self._check_open()
        token, certificate = await read_secrets(settings)
        stay = tuple(
            name for name, when in changes(self.settings, settings).items() if when == AT_A_RESTART
        )
        await self._ask(Reload(changed(self.settings, settings), kept_rooms_of(settings)))
        self._operators.token = token
        self._tls.certificate = certificate
        return stay

    def statistics(self) -> Statistics:
        """The numbers of the chat, at this moment."""
        return take(self._hub, self._loop_lag)

    def health(self) -> Health:
        """Whether the chat gets on, and whether it is there for new clients."""
        return Health(
            turn_seconds=self._hub.turn_seconds,
            listening=bool(self.listening) and not self._stop_wanted.is_set(),
            writable=self._hub.log_commits.writable,
            store_problems=self._hub.log_commits.problems,
        )

    async def measure_lateness(self) -> None:
        """Note for the statistics, until cancelled, how late Trio comes to tasks that are due.

        Run it in a nursery of the program's own, as the daemon does; a clock of tests that jumps
        goes on with it.
        """
        await measure_loop_lag(self._loop_lag)

    # --- handing over -----------------------------------------------------------------------------

    def ahead(self) -> Ahead:
        """Give what can go over before the chat is frozen; see `trio_chat.snapshot.ahead`."""
        return Ahead(self._hub.state, self._log)

    @asynccontextmanager
    async def frozen(self) -> AsyncGenerator[PausedChat, None]:
        """Have everything stand still for the length of a block, between two turns.

        Nothing is read, written or accepted within it: what comes waits in the kernel. Leaving the
        block goes on as if nothing had happened, unless `PausedChat.hand_over` was called. Then
        this chat ends, without a word to the clients that were handed over. Clients that cannot be
        (on streams, and with TLS) are told to connect again. Those of them that can come back are
        detached in the other process until they do.

        Raises `ChatClosed` once the chat is stopping, and `Refused` if there are in-process
        clients. If it does not stand still in time, everything goes on, and `trio.TooSlowError` is
        raised. Raises `StoreError` before anything stands still, if another process could not go
        on with the file that the rooms are kept in.
        """
        async with self._pausing:
            await self._check_open()
            with trio.fail_after(PAUSE_SECONDS):
                await self._log.check()
            pause = Pause()
            try:
                with trio.fail_after(PAUSE_SECONDS):
                    await self._pause(pause)
                yield self._paused_chat(pause)
            finally:
                self._end_pause(pause)

    async def _pause(self, pause: Pause) -> None:
        await self._listeners.pause()
        if self._readiness is not None:
            self._readiness.pause()
        # Each connection's task has begun by then, and its first record stands before the note.
        await trio.lowlevel.checkpoint()
        await self._post(PauseWanted(pause))
        await pause.reached.wait()
        if self._ended.is_set():
            await trio.lowlevel.checkpoint_if_cancelled()
            raise ChatClosed("the chat has stopped")
        if any(session.local for session in self._hub.state.sessions):
            raise Refused(
                "a chat with in-process clients cannot be handed over", code=Code.CANNOT_HAND_OVER
            )
        await self._log.pause()

    def _paused_chat(self, pause: Pause) -> PausedChat:
        state = self._hub.state
        sessions = going_over(state)

        def hand_over() -> None:
            pause.handed_over = [session for session, _ in sessions]

        return PausedChat(
            state=take_snapshot(state, self._log, pause, self.uptime, self.listening),
            listeners=self._listeners.sockets,
            clients=[link.socket for _, link in sessions],
            lock=self._log.lock,
            hand_over=hand_over,
        )

    def _end_pause(self, pause: Pause) -> None:
        if pause.handed_over is not None:
            self._stop_wanted.set()
            self._listeners.hand_over()
        else:
            self._log.resume()
            self._listeners.resume()
            if self._readiness is not None:
                self._readiness.resume()
        pause.over.set()

    # --- the end ----------------------------------------------------------------------------------

    async def _check_open(self) -> None:
        await trio.lowlevel.checkpoint_if_cancelled()
        if self._stop_wanted.is_set():
            raise ChatClosed("the chat is stopping")

    async def stop(self) -> None:
        """Stop gracefully: nobody new, everyone's last lines delivered, a farewell.

        It takes at most `stop_grace` seconds.

        Returns when everyone is gone. May be called more than once.
        """
        self._stop_wanted.set()
        await self._ended.wait()

    @trio.lowlevel.enable_ki_protection  # half a turn would break what the other half relies on
    async def _run_hub(self) -> None:
        try:
            await self._hub.run()
        finally:
            self._ended.set()

    async def _run_clients(
        self,
        readers: Iterable[Reader],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """House the clients' tasks, and end them when a stop is wanted.

        Those of `readers` first, whose clients come from another process.
        The last of them to go closes the last sender of the hub's channel, and so ends the hub,
        with nothing left to do.
        """
        with self._channel:
            try:
                async with trio.open_nursery() as self._clients:
                    for reader in readers:
                        self._clients.start_soon(self._run_reader, reader)
                    task_status.started()
                    await self._stop_wanted.wait()
                    async with self._pausing:
                        await self._end_clients(self._clients)
            finally:
                self._stop_wanted.set()

    async def _end_clients(self, clients: trio.Nursery) -> None:
        self._listeners.end()
        deadline = trio.current_time() + self.settings.stop_grace
        for scope in (clients.cancel_scope, *self._streams):
            scope.deadline = min(scope.deadline, deadline)
        self._hub.give_up_at(deadline)
        with suppress(trio.BrokenResourceError):
            await self._channel.send(Stop())


@asynccontextmanager
async def open_chat(
    settings: Settings | None = None,
    *,
    commands: Iterable[Row] = (),
    before_say: BeforeSay | None = None,
    predecessor: Handover | None = None,
) -> AsyncGenerator[Chat, None]:
    """Run a chat for the length of a block.

    Leaving the block stops it gracefully; cancelling it stops it at once.

    `commands` are rows beside the built-in ones (`trio_chat.custom`). `before_say` is called in the
    hub with each draft of what is about to be said (`Said`, `Acted`, `TopicSet`, `Told`). It
    returns the text to say, or raises `Refused`, and must not block. Nothing listens yet: see
    `Chat.listen`. `predecessor` is another process's chat to go on from (`Chat.frozen`), once that
    one has handed it over. Its clients' sockets and its lock are this chat's from here on; its
    listeners are for `Chat.listen_on`. Exceptions come in groups, as nurseries raise them. But
    `StoreError` is raised before anything runs, if the file that `settings.store` names cannot be
    used.
    """
    settings = settings or Settings()
    table = make_table(commands)
    kept_rooms = kept_rooms_of(settings)
    token, certificate = await read_secrets(settings, start_without=predecessor is not None)
    tls = Tls(certificate)
    handover = predecessor or Handover(ChatSnapshot(settings.store), [], [])
    with ExitStack() as unused:
        for sock in handover.clients:
            unused.enter_context(sock)
        readiness = unused.enter_context(open_readiness())
        async with _open_log(settings, handover) as log, trio.open_nursery() as nursery:
            send, receive = trio.open_memory_channel[Item](CHANNEL_ITEMS)
            restore = Restore(settings, table, handover.state, log)
            restore.state.counts.upgrades += predecessor is not None
            readers = list(restore.sessions(handover.clients, send, readiness))
            hub = Hub(
                state=restore.state,
                log=log,
                table=table,
                before_say=before_say,
                kept_rooms=kept_rooms,
                channel=receive,
                nursery=nursery,
                undelivered=restore.undelivered(),
            )
            chat = Chat(table, send, hub, log, handover.state.uptime, token, tls, readiness)
            if readiness is not None:
                nursery.start_soon(readiness.run)
            nursery.start_soon(chat._run_hub)
            await nursery.start(chat._run_clients, readers)
            yield chat
            await chat.stop()
            # Reads and timers that the hub has started, and that nobody waits for any more.
            nursery.cancel_scope.cancel("the chat has stopped")


@asynccontextmanager
async def _open_log(
    settings: Settings, handover: Handover
) -> AsyncGenerator[LocalLog | SharedLog, None]:
    keep = retention(settings)
    if not settings.store.startswith(SQLITE):
        yield MemoryLog.restored(keep, handover.state.histories)
        return
    path = Path(settings.store.removeprefix(SQLITE))
    async with open_sqlite_log(path, settings.durability, keep, lock=handover.lock) as log:
        yield log


async def serve(
    settings: Settings | None = None,
    *,
    task_status: trio.TaskStatus[list[tuple[str, int]]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run a chat that listens where the settings say, until cancelled.

    Started with `nursery.start`, it gives the addresses.
    """
    async with open_chat(settings) as chat:
        task_status.started(await chat.listen())
        await trio.sleep_forever()  # until cancelled
