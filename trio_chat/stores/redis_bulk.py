"""Whole rooms of a chat on Redis, read and written for a copy.

A copy is written under keys of its own, which no node knows. One step then puts all of them in the
place of the chat's keys. So a copy that is interrupted leaves no chat with a part of its rooms. The
engine deletes what is left of such a copy after a day, or when the next copy begins.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Final, cast

from trio_chat.errors import StoreError
from trio_chat.protocol.events import SPOKEN, Ruled, TopicSet
from trio_chat.roomlog.order import milliseconds
from trio_chat.roomlog.redis import scripts
from trio_chat.roomlog.redis.checks import open_checked, shown
from trio_chat.roomlog.redis.client import Client
from trio_chat.roomlog.redis.codec import (
    action_from_stream,
    batch_from_stream,
    pack,
    pack_held,
    pack_ruled,
    pack_topic,
    waiting_from,
)
from trio_chat.roomlog.redis.errors import EngineAway, EngineError, EngineFull
from trio_chat.roomlog.redis.keys import KEY, SCHEMA
from trio_chat.roomlog.rules import Rules
from trio_chat.stores.bulk import StoredRoom

if TYPE_CHECKING:
    from trio_chat.config.store_access import StoreAccess
    from trio_chat.protocol.events import PersistentEntry
    from trio_chat.roomlog.holding import Waiting
    from trio_chat.roomlog.redis.codec import Argument
    from trio_chat.roomlog.redis.connection import Connection
    from trio_chat.roomlog.redis.scripts import Script
    from trio_chat.roomlog.rules import Action

COPY_KEY: Final = f"{KEY}:copy"
# Batches read by one call.
READ_BATCHES: Final = 64
# Entries of a batch, at most: a page of history is a few batches.
BATCH_ENTRIES: Final = 64
# A server that is away when the command begins gets a moment, as in a failover.
PATIENCE: Final = 1.0
CALL_SECONDS: Final = 10.0
# To rename and delete the keys of all rooms takes some milliseconds for a thousand rooms.
PUBLISH_SECONDS: Final = 60.0
ABANDON_SECONDS: Final = 5.0


class RedisReader:
    """A `StoreReader` of a chat on Redis, or of a copy that is being made.

    It shows each room up to the position that it had when the reading began. Nodes may go on
    meanwhile, and may delete the oldest entries.
    """

    def __init__(self, engine: Engine, key: str = KEY) -> None:
        """Read what is under the prefix `key`. The reader does not close the engine."""
        self._engine = engine
        self._key = key
        self._tops: dict[str, int] = {}
        self._floor: int | None = None
        self._rooms: list[StoredRoom] = []

    async def rooms(self) -> list[StoredRoom]:
        """Return all rooms with a history."""
        await self._look()
        return self._rooms

    async def positions_from(self) -> int:
        """Return the position above which new rooms begin."""
        await self._look()
        return self._floor or 0

    async def _look(self) -> None:
        """Learn the state of all rooms, once."""
        if self._floor is not None:
            return
        found = await self._engine.script(self._key, scripts.ROOMS)
        self._rooms = sorted(
            (_room(cast("tuple[bytes | list[bytes], ...]", state)) for state in found[1:]),
            key=lambda room: room.name,
        )
        self._tops = {room.name: room.position for room in self._rooms}
        self._floor = int(cast("bytes", found[0]))

    async def read(self, room: str, after: int) -> list[PersistentEntry]:
        """Return the first entries of a room after a position."""
        about = (room, after + 1, "+", READ_BATCHES, 0)
        reply = await self._engine.script(self._key, scripts.PAGE, *about)
        rows = cast("list[tuple[bytes, list[bytes]]]", reply)
        batches = (batch_from_stream(room, batch_id, fields) for batch_id, fields in rows)
        top = self._tops[room]
        return [
            entry for batch in batches for entry in batch.entries() if after < entry.position <= top
        ]

    async def actions(self, room: str) -> list[Action]:
        """Return the kept actions of a room."""
        reply = await self._engine.call("XRANGE", f"{self._key}:a:{room}", "-", "+")
        rows = cast("list[tuple[bytes, list[bytes]]]", reply)
        top = self._tops[room]
        actions = [action_from_stream(room, number, fields) for number, fields in rows]
        return [action for action in actions if action.position <= top]

    async def held(self, room: str) -> list[Waiting]:
        """Return the messages of a room that wait for a moderator, also for too long."""
        reply = await self._engine.call("HGETALL", f"{self._key}:held:{room}")
        found = cast("list[bytes]", reply)
        waiting = [
            waiting_from(room, number, record)
            for number, record in zip(found[::2], found[1::2], strict=True)
        ]
        return sorted(waiting, key=lambda one: one.number)

    async def in_use(self) -> bool:
        """Whether nodes use the chat."""
        time = cast("list[bytes]", await self._engine.call("TIME"))
        now = int(time[0]) * 1000
        return bool(await self._engine.call("ZCOUNT", f"{self._key}:leases", now, "+inf"))

    def close(self) -> None:
        """Do nothing: the engine is closed by its owner."""


class RedisWriter:
    """A `StoreWriter` of a copy. `publish` puts it in the place of the chat."""

    def __init__(self, engine: Engine, *, force: bool) -> None:
        """Write a copy, which replaces a chat with rooms only by `force`."""
        self._engine = engine
        self._force = int(force)
        self._token = secrets.token_hex(12)

    async def begin(self) -> None:
        """Check that the chat may be replaced. Remove what an earlier copy has left."""
        await self._copy("begin")

    async def publish(self) -> None:
        """Put the copy in the place of the chat, with a new identity."""
        identity = secrets.token_hex(12)
        lost: EngineLost | None = None
        try:
            await self._copy("publish", identity)
        except EngineLost as error:
            lost = error
        # It may be done, or not.
        if lost and await self._engine.call("GET", f"{KEY}:id") != identity.encode():
            raise lost

    async def abandon(self) -> None:
        """Remove an incomplete copy, if the engine is there. After a day it goes by itself."""
        with suppress(StoreError):
            await self._copy("abandon")

    async def _copy(self, what: str, *arguments: str) -> None:
        said: tuple[Argument, ...] = (what, COPY_KEY, self._token, self._force, SCHEMA, *arguments)
        self._check(await self._engine.script(KEY, scripts.COPY, *said, seconds=PUBLISH_SECONDS))

    def _check(self, reply: list[object]) -> None:
        """Raise `StoreError` for a refusal by a script."""
        where = self._engine.where
        word, *more = reply
        if word == b"NODES":
            names = ", ".join(name.decode() for name in cast("list[bytes]", more))
            raise StoreError(f"nodes use the chat on Redis at {where}: stop them first ({names})")
        if word == b"ROOMS":
            raise StoreError(
                f"the chat on Redis at {where} has rooms ({more[0]}): give another database, "
                f"or --force to replace them"
            )
        if word == b"SCHEMA":
            raise StoreError(
                f"Redis at {where} was written by a newer trio-chat (schema {more[0]}, known here "
                f"is {SCHEMA}): run that one, or give another database"
            )
        if word == b"OTHER":
            raise StoreError(f"another copy to Redis at {where} has begun, and this one has ended")

    async def _put(self, operation: str, room: str, *arguments: Argument) -> None:
        self._check(
            await self._engine.script(
                COPY_KEY, scripts.PUT, self._token, operation, room, *arguments
            )
        )

    async def positions_from(self, position: int) -> None:
        """Have new rooms begin above this position."""
        await self._put("F", "", position)

    async def add_room(self, room: StoredRoom) -> None:
        """Make a room."""
        topic: tuple[Argument, ...] = (0,)
        if room.topic is not None:
            when = milliseconds(room.topic.time)
            topic = (1, room.topic.text, room.topic.author, room.topic.nick, when)
        time, first = milliseconds(room.time), room.floor + 1
        await self._put("R", room.name, room.position, time, first, *topic)
        if room.rules.version:
            await self._put("V", room.name, room.rules.version, json.dumps(room.rules.fields))

    async def add_actions(self, room: str, actions: Sequence[Action]) -> None:
        """Add actions of a room."""
        for start in range(0, len(actions), BATCH_ENTRIES):
            arguments: list[Argument] = []
            for one in actions[start : start + BATCH_ENTRIES]:
                ruled = Ruled(room, room, one.author, one.nick, one.text, dict(one.now))
                when, was = milliseconds(one.time), json.dumps(one.was)
                arguments += (one.position, when, pack_ruled(ruled), was)
            await self._put("A", room, *arguments)

    async def add_held(self, waiting: Sequence[Waiting]) -> None:
        """Add messages that wait for a moderator."""
        for start in range(0, len(waiting), BATCH_ENTRIES):
            arguments: list[Argument] = []
            for one in waiting[start : start + BATCH_ENTRIES]:
                record = pack_held(one.kind, one.author, one.nick, one.text, one.networks)
                arguments += (one.number, milliseconds(one.time), record)
            await self._put("H", waiting[0].room, *arguments)

    async def add(self, room: str, entries: Sequence[PersistentEntry]) -> None:
        """Add entries of a room."""
        arguments: list[Argument] = []
        for run in _batches(entries):
            first = run[0]
            if isinstance(first, TopicSet):
                blob = pack_topic(first)
            else:
                blob = pack_ruled(first) if isinstance(first, Ruled) else pack(run)
            arguments += (run[-1].position, len(run), milliseconds(first.time), blob)
        await self._put("E", room, *arguments)

    async def finish(self) -> RedisReader:
        """Return a reader of the copy, which is not yet in its place."""
        return RedisReader(self._engine, COPY_KEY)

    def close(self) -> None:
        """Do nothing: the engine is closed by its owner."""


class EngineLost(StoreError):
    """The engine did not answer. The request may be done, or not."""


class Engine:
    """A server, and where it is. Each method raises `StoreError` if it cannot do what is asked."""

    def __init__(self, access: StoreAccess) -> None:
        """Connect at the first call."""
        self.where = shown(access.address)
        self._access = access
        self._clients: dict[str, Client] = {}

    async def call(self, *arguments: Argument) -> object:
        """Call a command."""
        with self._telling():
            return await self._client(KEY).call(*arguments, seconds=CALL_SECONDS)

    async def script(
        self,
        key: str,
        script: Script,
        *arguments: Argument,
        seconds: float = CALL_SECONDS,
    ) -> list[object]:
        """Run a script with the keys under this prefix."""
        with self._telling():
            return await self._client(key).script(script, *arguments, seconds=seconds)

    def _client(self, key: str) -> Client:
        if key not in self._clients:
            self._clients[key] = Client(self._connect, key)
        return self._clients[key]

    async def _connect(self) -> Connection:
        return await open_checked(self._access, patience=PATIENCE)

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except EngineAway as error:
            raise EngineLost(
                f"Redis at {self.where} is away: {error}; run the command again later"
            ) from None
        except EngineFull:
            raise StoreError(
                f"Redis at {self.where} has no memory for the copy: raise its maxmemory, "
                f"or lower history_entries of the source first"
            ) from None
        except EngineError as error:
            raise StoreError(f"Redis at {self.where} refuses the copy: {error}") from None

    def close(self) -> None:
        """Close the connections. Never blocks."""
        for client in self._clients.values():
            client.close()


def _room(state: tuple[bytes | list[bytes], ...]) -> StoredRoom:
    *parts, pairs = state
    texts = [part.decode() for part in cast("list[bytes]", parts)]
    name, seen, position, time, first, text, author, nick, when, version = texts
    fields = [part.decode() for part in cast("list[bytes]", pairs)]
    rules = Rules(int(version or 0), dict(zip(fields[::2], fields[1::2], strict=True)))
    seen = seen or name
    topic = TopicSet(name, seen, author, nick, text, 0, int(when or 0) / 1000) if text else None
    top = int(position or 0)
    floor = int(first) - 1 if first else top
    return StoredRoom(name, seen, topic, floor, top, int(time or 0) / 1000, rules)


def _batches(entries: Sequence[PersistentEntry]) -> Iterator[Sequence[PersistentEntry]]:
    """Divide entries of a room into batches: messages a millisecond apart, or another entry."""
    start = 0
    for at in range(1, len(entries) + 1):
        if (
            at == len(entries)
            or at - start == BATCH_ENTRIES
            or not _follows(*entries[at - 1 : at + 1])
        ):
            yield entries[start:at]
            start = at


def _follows(before: PersistentEntry, entry: PersistentEntry) -> bool:
    return (
        entry.position == before.position + 1
        and milliseconds(entry.time) == milliseconds(before.time) + 1
        and isinstance(before, SPOKEN)
        and isinstance(entry, SPOKEN)
    )
