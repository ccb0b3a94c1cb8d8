"""Chats with rules that go on in many ways, and how others see the rooms that they keep.

A chat may be upgraded, reloaded, stopped, or killed with its store as it is at that moment. Two
nodes on one Redis may also be cut off from it. Whatever happens, they keep the same.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import ClassVar

import trio
from attrs import define, evolve, field
from engine import Engine
from live_run import LiveRun
from loopback import HOST, until
from snapshots import hand_over, succeed

from trio_chat import Chat, Settings, open_chat
from trio_chat.protocol.names import SERVER
from trio_chat.roomlog import RoomLog
from trio_chat.roomlog.redis.keys import KEY
from trio_chat.roomlog.retention import Retention
from trio_chat.roomlog.sqlite.file import beside
from trio_chat.roomlog.sqlite.log import open_sqlite_log

ROOMS = ("#a", "#b")
LEASE = 60.0  # no test waits for the end of one
MANY = 100_000
HASH = "return cjson.encode(redis.call('HGETALL', KEYS[1]))"


@define(eq=False)
class Running:
    """A chat that runs until `over` is set."""

    chat: Chat
    port: int
    over: trio.Event
    ended: trio.Event = field(factory=trio.Event)


@define
class Kept:
    """The lasting state of a room."""

    fields: dict[str, str]
    actions: Sequence
    entries: Sequence
    held: Sequence


async def kept_by(log: RoomLog, room: str, fields: Mapping[str, str]) -> Kept:
    """Return the lasting state of a room with these fields, as a log has it."""
    return Kept(
        dict(fields),
        await log.actions(room, None, 1_000),
        await log.read(room, 0, MANY),
        await log.held(room),
    )


def people_of(chat: Chat) -> dict[str, tuple]:
    """The users with a nick or a room, by their ids: the person, its nick and its rooms."""
    users = chat._hub.state.users.values()
    return {
        user.id: (user.person, user.nick, sorted(user.rooms))
        for user in users
        if user.keys or user.rooms
    }


class Chats:
    """The chats, by name. `stays` are the ways to go on that people do not notice.

    At one of its `ends`, a chat has `leave` called to close the connections of people: it would
    wait for them.
    """

    names: ClassVar[tuple[str, ...]]
    stays: ClassVar[tuple[str, ...]] = ("upgrade", "reload")
    ends: ClassVar[tuple[str, ...]]

    leave: Callable[[str], Awaitable[None]]

    def __init__(self, live: LiveRun, settings: Settings) -> None:
        self._live = live
        self._settings = settings
        self.running: dict[str, Running] = {}

    def __getitem__(self, name: str) -> Chat:
        return self.running[name].chat

    def all(self) -> list[Chat]:
        return [running.chat for running in self.running.values()]

    def settings_of(self, name: str) -> Settings:
        raise NotImplementedError

    async def open(self) -> None:
        for name in self.names:
            await self._start(name)

    async def close(self) -> None:
        for name in self.names:
            if name in self.running:  # it may not have begun
                await self._stop(name)

    async def _start(self, name: str, port: int = 0, handover=None) -> None:
        self.running[name] = running = Running(None, port, trio.Event())
        await self._live.nursery.start(self._run, name, running, handover)

    async def _run(self, name: str, running: Running, handover, task_status) -> None:
        settings = self.settings_of(name)
        async with AsyncExitStack() as stack:
            if handover is None:
                running.chat = await stack.enter_async_context(open_chat(settings))
                [(_, running.port)] = await running.chat.listen(host=HOST, port=0)
            else:
                running.chat = await stack.enter_async_context(succeed(handover, settings))
            task_status.started()
            await running.over.wait()
        running.ended.set()

    async def _stop(self, name: str) -> None:
        running = self.running.pop(name)
        running.over.set()
        await self.leave(name)
        await running.ended.wait()

    # --- ways to go on ----------------------------------------------------------------------------

    async def upgrade(self, name: str) -> None:
        old = self.running[name]
        handover = await hand_over(old.chat)
        await self._start(name, old.port, handover)
        old.over.set()
        await old.ended.wait()

    async def reload(self, name: str) -> None:
        chat = self.running[name].chat
        most = chat.settings.max_clients_per_address + 1
        assert await chat.reload(evolve(chat.settings, max_clients_per_address=most)) == ()

    async def restart(self, name: str) -> None:
        await self._stop(name)
        await self._start(name)

    # --- ways to look -----------------------------------------------------------------------------

    async def settle(self) -> None:
        """Wait until each chat knows what the others do."""

    def follows(self, chat: Chat, room: str) -> bool:
        """Whether a chat has to know the rules of a room now."""
        return True

    @asynccontextmanager
    async def another(self) -> AsyncIterator[Callable[[str], Awaitable[Kept]]]:
        """Look at what is kept of rooms as somebody does who begins just now."""
        raise NotImplementedError
        yield


class OnFile(Chats):
    """One chat, with its store in a file."""

    names = ("",)
    ends = ("restart", "kill")

    def __init__(self, live: LiveRun, settings: Settings, folder: Path) -> None:
        super().__init__(live, settings)
        self._folder = folder
        self._copies = 0
        self._file = folder / "chat.db"

    def settings_of(self, name: str) -> Settings:
        return evolve(self._settings, store=f"sqlite:{self._file}")

    def _copy(self) -> Path:
        """Copy the file as a process leaves it that is killed now."""
        self._copies += 1
        copy = self._folder / f"{self._copies}.db"
        while True:
            before = self._state_of_files()
            for source, target in zip(
                (self._file, *beside(self._file)), (copy, *beside(copy)), strict=True
            ):
                if source.exists() and not source.name.endswith("-shm"):
                    shutil.copy(source, target)
            if before == self._state_of_files():  # no checkpoint came between
                return copy

    def _state_of_files(self) -> list[tuple[int, int]]:
        files = [file for file in (self._file, *beside(self._file)) if file.exists()]
        return [(file.stat().st_mtime_ns, file.stat().st_size) for file in files]

    async def kill(self, name: str) -> None:
        copy = self._copy()
        await self._stop(name)  # all that it does to its own file now is for nothing
        self._file = copy
        await self._start(name)

    @asynccontextmanager
    async def another(self) -> AsyncIterator[Callable[[str], Awaitable[Kept]]]:
        async with open_sqlite_log(self._copy(), "process", Retention(MANY, MANY)) as log:
            yield lambda room: kept_by(log, room, log.snapshot(room).rules.fields)


class OnRedis(Chats):
    """Two nodes on one Redis."""

    names = ("a", "b")
    stays = (*Chats.stays, "fence")
    ends = ("restart",)

    def __init__(self, live: LiveRun, settings: Settings, redis: Engine) -> None:
        super().__init__(live, settings)
        self._redis = redis

    def settings_of(self, name: str) -> Settings:
        store = f"redis://127.0.0.1:{self._redis.port}"
        return evolve(self._settings, store=store, node=name, lease=LEASE)

    async def fence(self, name: str) -> None:
        node = self[name]._log.node
        before = node.epoch
        self._redis.ask("HDEL", f"{KEY}:node:{name}", "e")
        self._redis.ask("ZADD", f"{KEY}:leases", "0", name)
        exchange = self[name]._log.exchange
        await exchange._beat()  # which tells it so
        await until(lambda: node.epoch != before and exchange.joined.is_set(), "joining again")

    async def settle(self) -> None:
        # A node may act on the news of another one, which is news again.
        await until(lambda: not any(map(self._is_busy, self.running)), "a quiet moment")

    def _is_busy(self, name: str) -> bool:
        log, collect = self[name]._log, self[name]._hub._collect
        last = int(self._hash("last").get(name, 0))
        is_behind = len(log.arrivals) or log.arrivals.read < last
        return bool(is_behind or collect.in_flight or collect.turn.size)

    def _hash(self, key: str) -> dict[str, str]:
        cells = json.loads(self._redis.ask("EVAL", HASH, "1", f"{KEY}:{key}")) or []
        return dict(zip(cells[::2], cells[1::2], strict=True))

    def follows(self, chat: Chat, room: str) -> bool:
        members = chat._hub.state.rooms[room].members if room in chat._hub.state.rooms else ()
        return room == SERVER or any(member.is_here for member in members)

    @asynccontextmanager
    async def another(self) -> AsyncIterator[Callable[[str], Awaitable[Kept]]]:
        async with open_chat(self.settings_of("c")) as chat:
            # It gets all users and rules with its first turn.
            await until(lambda: all(self._is_known(other, chat) for other in self.all()))

            async def look(room: str) -> Kept:
                fields = self._hash(f"f:{room}")
                return await kept_by(chat._log, room, fields)

            yield look

    def _is_known(self, one: Chat, other: Chat) -> bool:
        """Whether two nodes know the same people, and the same rules of the server."""
        known = [
            (people_of(chat), chat._log.snapshot(SERVER).rules.fields) for chat in (one, other)
        ]
        return known[0] == known[1]
