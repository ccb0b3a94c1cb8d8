"""Puts a chat together from plain data."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import trio

from trio_chat.errors import Refused
from trio_chat.hub.client import NOT_BEHIND, Client
from trio_chat.hub.resume import absent
from trio_chat.hub.room import Room
from trio_chat.hub.state import State
from trio_chat.protocol.commands import Custom, Labelled, Refuse
from trio_chat.protocol.events import Left
from trio_chat.snapshot.model import HeldCustom, HeldLabelled
from trio_chat.transports.detection import FirstBytes
from trio_chat.transports.rate_limit import TokenBucket
from trio_chat.transports.reader import Reader, bucket_of
from trio_chat.transports.tcp import SocketLink

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Mapping, Sequence

    from trio_chat.config.settings import Settings
    from trio_chat.hub.client import Item
    from trio_chat.protocol.commands import Record
    from trio_chat.protocol.table import Row
    from trio_chat.snapshot.model import FrozenChat, FrozenClient, FrozenRoom, Held
    from trio_chat.transports.reader import FrozenReader
    from trio_chat.transports.readiness import Readiness


class Thaw:
    """Makes the state of a chat, link by link and room by room. Times go on from now."""

    def __init__(self, settings: Settings, table: Mapping[str, Row], frozen: FrozenChat) -> None:
        self._settings = settings
        self._table = table
        self._frozen = frozen
        self.state = State(settings, counts=frozen.counts)
        self.state.rooms.update((room.name, self._room(room)) for room in frozen.rooms)

    def clients(
        self,
        sockets: Sequence[socket.socket],
        channel: trio.MemorySendChannel[Item],
        readiness: Readiness | None,
    ) -> Iterator[Reader]:
        """Put the clients into the state, each with its socket unless it is away.

        Gives their readers, to be run.
        """
        left = iter(sockets)
        for frozen in self._frozen.clients:
            if frozen.away is None:
                stream = trio.SocketStream(trio.socket.from_stdlib_socket(next(left)))
                link = SocketLink(stream, self._settings.keepalive, readiness)
                yield self._client(frozen, link, channel)
            else:
                self._absent(frozen, frozen.away, channel)

    def owed(self) -> list[Left]:
        """What the members have not been told yet."""
        return [Left(gone.room, gone.id, gone.nick) for gone in self._frozen.gone]

    def _room(self, frozen: FrozenRoom) -> Room:
        room = Room(frozen.name, frozen.shown, self._settings.recent_entries)
        room.topic, room.position, room.base = frozen.topic, frozen.position, frozen.base
        if frozen.recent:
            room.recent = deque(frozen.recent, self._settings.recent_entries)
        return room

    def _client(
        self, frozen: FrozenClient, link: SocketLink, channel: trio.MemorySendChannel[Item]
    ) -> Reader:
        link.address, link.peer = frozen.address, frozen.peer
        link.keep(frozen.rest or None, None)
        client = Client(link, frozen.variant, channel, room_limit=frozen.room_limit)
        self._enter(client, frozen)
        self._set_going(client, frozen)
        return self._reader(client, link, channel, frozen.reader)

    def _absent(
        self, frozen: FrozenClient, seconds: float, channel: trio.MemorySendChannel[Item]
    ) -> None:
        client = absent(
            frozen.peer,
            frozen.address,
            frozen.variant,
            channel,
            room_limit=frozen.room_limit,
            until=trio.current_time() + seconds,
        )
        self._enter(client, frozen)
        client.lagging, client.positions = True, dict(frozen.positions)

    def _enter(self, client: Client, frozen: FrozenClient) -> None:
        """Have the state know a client: by its id, address, nick and rooms."""
        client.id, client.token = frozen.id, frozen.token
        client.nick, client.keys = frozen.nick, tuple(frozen.keys)
        state = self.state
        state.clients[client.id] = client
        state.addresses[client.link.address] += 1
        if client.keys:
            state.nicks[client.keys[0]] = client
            state.holders.update(dict.fromkeys(client.keys, client))
        for name in frozen.rooms:
            room = state.rooms[name]
            state.enter(client, room)
            if not frozen.lagging:
                room.listen(client)

    def _set_going(self, client: Client, frozen: FrozenClient) -> None:
        """Have it lag, close or have its records wait, as it did."""
        client.lagging = frozen.lagging
        client.positions = dict(frozen.positions) if frozen.lagging else NOT_BEHIND
        client.closing = frozen.closing
        client.halted = frozen.lagging or frozen.closing is not None
        if frozen.closing is not None:
            self.state.closing[client] = None
        elif frozen.lagging:
            client.link.pause()
        if frozen.held:
            client.held = deque(map(self._record, frozen.held))
            self.state.hold(client)

    def _record(self, held: Held) -> Record:
        if isinstance(held, HeldLabelled):
            return Labelled(self._record(held.record), held.id)
        if not isinstance(held, HeldCustom):
            return held
        row = self._table.get(held.name)
        if row is None:
            return Refuse(f"unknown command: /{held.name}")
        try:
            record = row.record(held.arguments, self._settings)
        except Refused as refusal:
            return Refuse(str(refusal))
        if isinstance(record, Custom):
            record.room = held.room
        return record

    def _reader(
        self,
        client: Client,
        link: SocketLink,
        channel: trio.MemorySendChannel[Item],
        frozen: FrozenReader,
    ) -> Reader:
        dialect = FirstBytes.thawed(
            self._table,
            self._settings,
            frozen.dialect,
            clock=trio.current_time,
            reading=link.reading,
        )
        bucket = bucket_of(self._settings)
        if bucket is not None and frozen.bucket is not None:
            bucket = TokenBucket.thawed(
                bucket.rate, bucket.burst, frozen.bucket, trio.current_time()
            )
        return Reader(client, link, channel, dialect, bucket)
