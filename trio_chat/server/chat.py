"""A running chat, as a program uses it."""

from __future__ import annotations

import logging
import socket
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import trio

from trio_chat.config.certificate import Tls
from trio_chat.config.changes import AT_A_RESTART, changed, changes
from trio_chat.config.endpoints import Endpoint
from trio_chat.config.named_files import read_named_files
from trio_chat.config.settings import Settings
from trio_chat.errors import ChatClosed
from trio_chat.http.operators import Operators
from trio_chat.hub.hub import Hub
from trio_chat.hub.inbox import Heartbeat, HubEvent, Item, LogOutAll, Reload, Request
from trio_chat.hub.whole import Outcome, WholeChat
from trio_chat.metrics.histogram import SECONDS, Histogram
from trio_chat.metrics.loop_lag import measure_loop_lag
from trio_chat.metrics.statistics import Health, Statistics, take
from trio_chat.server.clients import Clients
from trio_chat.snapshot.ahead import Ahead
from trio_chat.snapshot.freezer import Freezer
from trio_chat.snapshot.handover import PausedChat, kept_rooms_of
from trio_chat.transports.in_process import InProcessClient, in_process_client, perform_as_operator
from trio_chat.transports.listener import has_ipv4_beside, open_sockets

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence

    from trio_chat.hub.embedder import UserInfo
    from trio_chat.people.administration import Administration
    from trio_chat.protocol.commands import Command
    from trio_chat.protocol.events import Event
    from trio_chat.protocol.rows import Row
    from trio_chat.roomlog import LocalLog, SharedLog
    from trio_chat.roomlog.peers import NodeInfo
    from trio_chat.transports.readiness import Readiness

logger = logging.getLogger("trio_chat")

T = TypeVar("T")


class Chat:
    """A running chat, made by `open_chat`."""

    def __init__(
        self,
        table: Mapping[str, Row],
        channel: trio.MemorySendChannel[Item],
        hub: Hub,
        log: LocalLog | SharedLog,
        uptime: float,
        token: bytes | None,
        tls: Tls,
        readiness: Readiness | None,
    ) -> None:
        self._channel = channel
        self._hub = hub
        self._log = log
        self._tls = tls
        self._started = trio.current_time() - uptime
        self._loop_lag = Histogram(SECONDS)
        self._operators = Operators(partial(take, hub, self._loop_lag), self.health, token)
        peers = log.peers if log.shared is True else None
        self._whole = WholeChat(self._ask, self.statistics, lambda: self.settings, peers)
        self._clients = Clients(hub, channel, table, self._operators, tls, readiness)
        self._ended = trio.Event()
        self._freezer = Freezer(
            hub,
            log,
            self._clients.listeners,
            readiness,
            channel,
            uptime=lambda: self.uptime,
            stop_wanted=self._clients.stop_wanted,
            ended=self._ended,
        )

    @property
    def settings(self) -> Settings:
        """The settings in force: those given to `open_chat`, as `reload` has changed them."""
        return self._hub.state.settings

    @property
    def uptime(self) -> float:
        """The seconds since the chat began, in this process or in those before it."""
        return trio.current_time() - self._started

    @property
    def certificate(self) -> str:
        """The SHA-256 fingerprint of the TLS certificate in force; empty without one."""
        return self._tls.fingerprint

    # --- ways in ----------------------------------------------------------------------------------

    async def listen(
        self, *, host: str | None = None, port: int | None = None
    ) -> list[tuple[str, int]]:
        """Listen on TCP for line clients, WebSocket clients and the page; gives the addresses.

        May be called several times. `host` may be a name: there is one address for each that it
        stands for. Port 0 is any free port, another one for each address. The settings give what is
        not given here. Without either, the setting `listen` counts; its unix sockets have no
        address in the result.

        Raises like `listen_at`.
        """
        settings, wanted = self.settings, self.settings.endpoints
        if host is not None or port is not None:
            host = settings.host if host is None else host
            port = settings.port if port is None else port
            wanted = (Endpoint(host, port),)
        found = [await self.listen_at(endpoint) for endpoint in wanted]
        return [address for addresses in found for address in addresses]

    async def listen_at(self, endpoint: Endpoint) -> list[tuple[str, int]]:
        """Listen at an endpoint: a TCP port or a unix socket; gives its TCP addresses.

        The endpoint says which protocols are accepted there. A stale socket at the path is
        replaced. The chat removes the path when it stops.

        Raises `OSError` if that cannot be listened at, and `ListenError` if another server has the
        path, or something that is no socket is there. Raises `ChatClosed` once the chat is
        stopping.
        """
        await self._clients.check_open()
        beside = has_ipv4_beside(endpoint, self.settings.endpoints)
        sockets = await open_sockets(endpoint, takes_ipv4=not beside)
        return self.listen_on(sockets, [endpoint] * len(sockets))

    def listen_on(
        self, sockets: Iterable[socket.socket], endpoints: Sequence[Endpoint] = ()
    ) -> list[tuple[str, int]]:
        """Listen on sockets that are listening already, such as systemd's; gives TCP addresses.

        The sockets are the chat's from here on. It closes them when it stops, and also if this
        raises. `endpoints` has an endpoint for each socket: the protocols that are accepted there,
        and a path that the chat is to remove. Without `endpoints`, all protocols are accepted, and
        no path is removed. `Handover.state.listening` has the endpoints of a predecessor.

        Raises `ValueError` if a socket does not listen, and `SettingsError` if its path cannot be
        written in a setting, such as an abstract name. Raises `ChatClosed` once the chat is
        stopping.
        """
        return self._clients.listen_on(sockets, endpoints)

    @property
    def listening(self) -> tuple[Endpoint, ...]:
        """The endpoints at which the chat listens."""
        return self._clients.listeners.endpoints

    async def serve_stream(
        self, stream: trio.abc.Stream, *, peer: str = "stream", private: bool = False
    ) -> None:
        """Serve one client over any Trio stream, until it has left, and close the stream.

        All protocols are accepted but TLS. `peer` stands for the client's address: in logs, and for
        the limit `max_clients_per_address`. `private` means that nobody can read the stream on its
        way, so it may carry passwords. Raises `ChatClosed` once the chat is stopping.
        """
        await self._clients.serve_stream(stream, peer, private=private)

    @asynccontextmanager
    async def connect(self, nick: str | None = None) -> AsyncGenerator[InProcessClient, None]:
        """Be a client of this chat, without a socket, for the length of a block.

        Leaving the block leaves the chat. Raises `Refused` if the nick cannot be had, and
        `ChatClosed` once the chat is stopping.
        """
        await self._clients.check_open()
        async with in_process_client(self._channel, self.settings, nick) as client:
            yield client

    # --- for the embedding program ----------------------------------------------------------------

    async def tell(self, client: str, text: str) -> bool:
        """Show one client a line, as a `Notice`.

        `client` is its id, as in `Caller.id` and in the `author` of events. It may be connected to
        another node of the chat. Returns whether the line was shown. It is not if no such client
        is there, if it is lagging or detached, or if it has not shown its protocol yet.

        Raises `Refused` for a text that is empty, too long or may not be shown. Raises `ChatClosed`
        once the chat has stopped.
        """
        return self._heard(await self._whole.tell(client, text))

    async def announce(self, text: str, *, node: str = "") -> int:
        """Show every client a line, as a `Notice`; gives the number of clients that were told.

        Lagging and detached clients are not told, nor are connections that have not shown their
        protocol yet. The clients are those of all nodes, or of one `node`. Nodes that do not answer
        within 3 seconds are named in the log.

        Raises like `tell`, and `NoSuchNode`.
        """
        return self._heard(await self._whole.announce(text, node))

    async def users(self, limit: int = 1_000, *, node: str = "") -> tuple[UserInfo, ...]:
        """Give the users of this chat in the order in which they came, detached ones too.

        The users are those of all nodes, or of one `node`. For each node, the answer shows one
        moment. It takes a hub about three milliseconds for a thousand users; `limit` bounds that.
        `statistics().clients` is the number of all clients of this process. Nodes that do not
        answer within 3 seconds are named in the log.

        Raises `ValueError` for a negative `limit`, `NoSuchNode`, and `ChatClosed` once the chat has
        stopped.
        """
        if limit < 0:
            raise ValueError(f"a limit must be at least 0, not {limit}")
        return self._heard(await self._whole.users(limit, node)).users

    async def nodes(self) -> tuple[NodeInfo, ...]:
        """Give the nodes of this chat by name, this one too; none if it is one process by itself.

        Raises `StoreError` if the engine does not answer.
        """
        return await self._whole.nodes()

    async def kick(self, client: str, reason: str, *, node: str = "") -> bool:
        """Disconnect one client for good: it cannot resume, and its nick is free.

        The client reads `reason` before its connection closes, and its rooms see it leave. It may
        connect again as a new client; `before_connect` may refuse that. Returns whether there was a
        client with this id; a detached one counts. It may be connected to any node, or only to
        `node` if that is given.

        Raises `Refused` for a reason that is empty, longer than `message_chars` or may not be
        shown, and `NoSuchNode`. Raises `ChatClosed` once the chat has stopped.
        """
        return self._heard(await self._whole.kick(client, reason, node))

    @property
    def accounts(self) -> Administration | None:
        """The operator's functions for accounts, or `None` if none are kept; for the daemon."""
        people = self._hub.state.people
        return None if people is None else people.administration

    async def log_out(self, account: str) -> None:
        """Log out everyone who is in an account, given by its id; for the daemon.

        Raises `ChatClosed` once the chat has stopped.
        """
        await self._ask(LogOutAll(account))

    async def moderate(self, command: Command) -> list[Event]:
        """Have the operator of the server mute, ban, undo or look it up; for the daemon.

        Gives the replies and entries that came of it. Raises `Refused`, and `ChatClosed` once the
        chat is stopping.
        """
        await self._clients.check_open()
        return await perform_as_operator(self._channel, self.settings, command)

    @property
    def whole(self) -> WholeChat:
        """The same requests, with the names of nodes that have not answered; for the daemon."""
        return self._whole

    def _heard(self, outcome: Outcome[T]) -> T:
        """Return what the nodes say, and log who has not answered."""
        if outcome.missing:
            logger.warning("not all nodes have answered", extra={"reason": outcome.missing})
        return outcome.value

    async def beat(self) -> None:
        """Return once the hub has handled a batch of commands; for watchdogs.

        A hub that hangs, in a hook that blocks for example, does not return. Raises `ChatClosed`
        once the chat has stopped.
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
        """Change the settings of the running chat; gives the names of those that cannot change.

        The page on settings says for each whether a change counts at once, for new clients, or only
        at a restart. Nobody is disconnected. The files that `metrics_token_file`, `tls_cert`,
        `tls_key`, `greeting`, `word_list` and `jwt_key` name are read again. The settings for logs
        are left to the program.

        Raises `SettingsError`, and changes nothing, if a file cannot be read, or if `keep_rooms`
        has something that is no name of a room. Raises `ChatClosed` once the chat is stopping.
        """
        await self._clients.check_open()
        files = await read_named_files(settings)
        stay = tuple(
            name for name, when in changes(self.settings, settings).items() if when == AT_A_RESTART
        )
        in_force = changed(self.settings, settings)
        await self._ask(Reload(in_force, kept_rooms_of(settings), files.greeting, files.words))
        self._operators.token = files.token
        self._tls.certificate = files.certificate
        authority = self._hub.state.authority
        if authority is not None and authority.tokens is not None:
            authority.tokens.key = files.site_key
        return stay

    def statistics(self) -> Statistics:
        """Give the numbers of the chat at this moment."""
        return take(self._hub, self._loop_lag)

    def health(self) -> Health:
        """Give whether the chat is well: whether the hub runs, and new clients can come."""
        commits, node = self._hub.log_commits, self._hub.node
        cut_off = () if node is None or not node.problem else (node.problem,)
        return Health(
            turn_seconds=self._hub.turn_seconds,
            listening=bool(self.listening) and not self._clients.stop_wanted.is_set(),
            writable=commits.writable,
            store_problems=(*commits.problems, *cut_off),
        )

    async def measure_lateness(self) -> None:
        """Measure how late Trio runs tasks that are due, until cancelled, for `statistics`.

        Run it in a nursery of your own. It does not hinder the autojump clock of tests.
        """
        await measure_loop_lag(self._loop_lag)

    # --- handing over -----------------------------------------------------------------------------

    def ahead(self) -> Ahead:
        """Give the data that can be handed over before the chat is frozen."""
        return Ahead(self._hub.state, self._log)

    @asynccontextmanager
    async def frozen(self) -> AsyncGenerator[PausedChat, None]:
        """Freeze the chat for the length of a block, so that another process can go on with it.

        Within the block nothing is read, written or accepted: input waits in the kernel. After it,
        the chat goes on, unless the block has called `PausedChat.hand_over`. Then this chat ends.
        The clients that were handed over notice nothing. Clients with TLS and on streams cannot be
        handed over: they are told to connect again, and may resume in the other process.

        Raises `ChatClosed` once the chat is stopping, and `Refused` if there are in-process
        clients. Raises `StoreError` first of all if another process could not use the store's file.
        Raises `trio.TooSlowError`, and goes on, if the chat does not stand still within 5 seconds.
        """
        async with self._clients.frozen:
            await self._clients.check_open()
            async with self._freezer.frozen() as paused:
                yield paused

    # --- the end ----------------------------------------------------------------------------------

    async def stop(self) -> None:
        """Stop gracefully, within `stop_grace` seconds; returns when all clients are gone.

        New clients are refused. Commands that have arrived are carried out. Each client gets its
        waiting messages and a farewell. May be called several times.
        """
        self._clients.stop_wanted.set()
        await self._ended.wait()

    @trio.lowlevel.enable_ki_protection  # half a turn would break what the other half relies on
    async def _run_hub(self) -> None:
        try:
            await self._hub.run()
        finally:
            self._ended.set()
