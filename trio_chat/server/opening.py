"""Opens a chat: its log, its hub and the tasks of its clients."""

from __future__ import annotations

import math
from contextlib import ExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import trio

from trio_chat.config.certificate import Tls
from trio_chat.config.named_files import read_named_files
from trio_chat.config.settings import Settings
from trio_chat.config.store_url import SQLITE, is_store_url
from trio_chat.errors import SettingsError
from trio_chat.hub.expiry import watch_logins
from trio_chat.hub.following import follow_accounts
from trio_chat.hub.handlers.hooks import Hooks
from trio_chat.hub.hub import Hub
from trio_chat.hub.inbox import Item
from trio_chat.people.authority import Authority
from trio_chat.people.marks import Marks
from trio_chat.people.networks import Tags
from trio_chat.people.opening import open_people
from trio_chat.people.store import people_path
from trio_chat.protocol.table import make_table
from trio_chat.roomlog.memory import MemoryLog
from trio_chat.roomlog.retention import retention
from trio_chat.roomlog.sqlite.log import open_sqlite_log
from trio_chat.server.chat import Chat
from trio_chat.snapshot.handover import Handover, kept_rooms_of
from trio_chat.snapshot.model import ChatSnapshot
from trio_chat.snapshot.restore import Restore
from trio_chat.transports.readiness import open_readiness

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Iterable

    from trio_chat.config.named_files import NamedFiles
    from trio_chat.hub.handlers.hooks import BeforeConnect, BeforeJoin, BeforeSay
    from trio_chat.people.accounts import People
    from trio_chat.people.authority import Authenticate
    from trio_chat.protocol.rows import Row
    from trio_chat.roomlog import LocalLog, SharedLog

# Batches that wait for the hub. Each is one read of one client. The rate limit keeps them small,
# and a client's few.
CHANNEL_ITEMS = 1_024


@asynccontextmanager
async def open_chat(
    settings: Settings | None = None,
    *,
    commands: Iterable[Row] = (),
    before_say: BeforeSay | None = None,
    before_join: BeforeJoin | None = None,
    before_connect: BeforeConnect | None = None,
    authenticate: Authenticate | None = None,
    predecessor: Handover | None = None,
) -> AsyncGenerator[Chat, None]:
    """Run a chat for the length of a block.

    Leaving the block stops it gracefully; cancelling it stops it at once.

    Nothing listens yet: see `Chat.listen`. `settings` are the defaults if they are not given.

    `commands` are custom commands, made by `command` or `custom`. Raises `ValueError` for a name
    that is taken, or is no plain word.

    The hooks may refuse what a client wants to do. Each raises `Refused` for that, and the client
    reads its sentence. They run in the hub, and the chat waits for them: they must not block. If
    one fails, it is logged, and what the client wanted is refused.

    - `before_say` gets a draft of each message, action, topic and private message (`Said`, `Acted`,
      `TopicSet`, `Told`). It returns the text to say.
    - `before_join` gets the `UserInfo` of a client and the casefolded name of the room that it is
      about to join. A client that resumes is in its rooms already.
    - `before_connect` gets the `UserInfo` of a client that has connected, before it may do
      anything. A refused client is disconnected. In-process clients are not asked about.

    `authenticate` says who somebody is, in place of accounts of the chat's own. It is an async
    function that gets `Credentials`, and returns an `Identity` or raises `Refused`. It has 10
    seconds, and at most 16 calls run at once. A login that expires ends at that time.

    `predecessor` is another process's chat to go on from (`Chat.frozen`), once that one has handed
    it over. Its clients' sockets and its lock are this chat's from here on; its listeners are for
    `Chat.listen_on`.

    Exceptions come in groups, as nurseries raise them. Two are raised bare, before anything runs.
    It is `StoreError` if the file that `settings.store` names cannot be used. It is `SettingsError`
    if a file that another setting names cannot be read, or if `authenticate` does not go with them.
    """
    settings = settings or Settings()
    if settings.jwt_key and authenticate is not None:
        raise SettingsError("jwt_key and authenticate exclude each other: leave one of them out")
    elsewhere = bool(settings.jwt_key) or authenticate is not None
    table = make_table(
        commands,
        accounts=settings.keeps_accounts,
        elsewhere=elsewhere,
        moderation=settings.room_creator == "operator",
    )
    kept_rooms = kept_rooms_of(settings)
    files = await read_named_files(settings, start_without=predecessor is not None)
    tls = Tls(files.certificate)
    handover = predecessor or Handover(ChatSnapshot(settings.shown_store), [], [])
    with ExitStack() as unused:
        for sock in handover.clients:
            unused.enter_context(sock)
        readiness = unused.enter_context(open_readiness())
        async with (
            _open_log(settings, handover) as log,
            _open_people(settings, handover, elsewhere=elsewhere) as beside,
            trio.open_nursery() as nursery,
        ):
            send, receive = trio.open_memory_channel[Item](CHANNEL_ITEMS)
            restore = Restore(settings, table, handover.state, log)
            restore.state.counts.upgrades += predecessor is not None
            restore.state.greeting = files.greeting
            restore.state.words = files.words
            people = beside if settings.keeps_accounts and not elsewhere else None
            restore.state.people = people
            if people is not None:
                people.read_markers.take(handover.state.unwritten_markers)
                nursery.start_soon(people.read_markers.keep)
            # A log in a file has no secret, and there the accounts have the key.
            own = Tags(Marks(log.secret.encode())) if log.secret or beside is None else beside.tags
            restore.state.tags = own
            restore.state.authority = _authority(settings, files, authenticate)
            restore.state.operators = settings.operator_keys()
            readers = list(restore.sessions(handover.clients, send, readiness))
            hub = Hub(
                state=restore.state,
                log=log,
                table=table,
                hooks=Hooks(before_say, before_join, before_connect, _node_of(log)),
                kept_rooms=kept_rooms,
                channel=receive,
                nursery=nursery,
                undelivered=restore.undelivered(),
            )
            # Each task here is protected from interrupts, so they land in the embedding task. In
            # Trio's Event.wait, an interrupt would break the task that sets the event.
            chat = Chat(table, send, hub, log, handover.state.uptime, files.token, tls, readiness)
            if readiness is not None:
                nursery.start_soon(readiness.run)
            nursery.start_soon(chat._run_hub)
            if log.shared is True and log.peers is not None:
                # It is not waited for: requests of other nodes may come at any time.
                nursery.start_soon(log.peers.serve, chat.whole.carry_out)  # noqa: ASYNC113
            await nursery.start(chat._clients.run, readers)
            clients = chat._clients
            if people is not None and people.news is not None:
                nursery.start_soon(follow_accounts, people, restore.state, send, clients.frozen)
            if elsewhere:
                watch = partial(
                    watch_logins, frozen=clients.frozen, stop_wanted=clients.stop_wanted
                )
                nursery.start_soon(watch, restore.state, send)
            yield chat
            await chat.stop()
            if people is not None:
                await people.read_markers.write()
            # Reads and timers that the hub has started, and that nobody waits for any more.
            nursery.cancel_scope.cancel("the chat has stopped")


def _authority(
    settings: Settings, files: NamedFiles, authenticate: Authenticate | None
) -> Authority | None:
    if settings.jwt_key:
        # Only such a chat needs the extra package that this module uses.
        from trio_chat.people.site_tokens import SiteTokens  # noqa: PLC0415 - as said above

        tokens = SiteTokens(files.site_key, settings.jwt_audience, settings.jwt_issuer)
        return Authority(tokens, settings.nick_chars, tokens)
    return None if authenticate is None else Authority(authenticate, settings.nick_chars)


def _node_of(log: LocalLog | SharedLog) -> str:
    place = log.place if log.shared is True else None
    return "" if place is None else place.name


@asynccontextmanager
async def _open_log(
    settings: Settings, handover: Handover
) -> AsyncGenerator[LocalLog | SharedLog, None]:
    if is_store_url(settings.store):
        # Only such a chat needs the extra package that these modules use.
        from trio_chat.roomlog.redis.opening import open_store  # noqa: PLC0415 - as said above

        kept = [name.casefolded for name in kept_rooms_of(settings)]
        known = handover.state.place
        async with open_store(settings, kept, known) as shared:
            yield shared
        return
    keep = retention(settings)
    if not settings.store.startswith(SQLITE):
        yield MemoryLog.restored(keep, handover.state.histories)
        return
    path = Path(settings.store.removeprefix(SQLITE))
    async with open_sqlite_log(path, settings.durability, keep, lock=handover.lock) as log:
        yield log


@asynccontextmanager
async def _open_people(
    settings: Settings, handover: Handover, *, elsewhere: bool
) -> AsyncGenerator[People | None, None]:
    """Open the accounts. A file is there even without any, as it has the key of networks' tags."""
    is_shared = is_store_url(settings.store) and settings.keeps_accounts and not elsewhere
    if not is_shared and not settings.store.startswith(SQLITE):
        yield None
        return
    if is_shared:
        # Only such a chat needs the extra package that these modules use.
        from trio_chat.people.redis.opening import open_redis_people  # noqa: PLC0415 - as said
        from trio_chat.roomlog.redis.checks import PATIENCE  # noqa: PLC0415 - as said above

        # A successor has the clients already.
        patience = PATIENCE if handover.state.place is None else math.inf
        async with open_redis_people(settings, patience=patience) as shared:
            yield shared
        return
    path = people_path(Path(settings.store.removeprefix(SQLITE)))
    # A predecessor may have kept none.
    handed_over = handover.lock is not None and path.exists()
    async with open_people(path, handed_over=handed_over) as people:
        yield people


async def serve(
    settings: Settings | None = None,
    *,
    task_status: trio.TaskStatus[list[tuple[str, int]]] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Run a chat that listens where the settings say, until cancelled.

    `await nursery.start(serve, settings)` gives its TCP addresses. Raises like `open_chat` and
    `Chat.listen`.
    """
    async with open_chat(settings) as chat:
        task_status.started(await chat.listen())
        await trio.sleep_forever()  # until cancelled
