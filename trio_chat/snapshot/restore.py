"""Puts a chat together from plain data."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

import trio

from trio_chat.errors import Code, Refused
from trio_chat.hub.client import NOT_BEHIND, Client
from trio_chat.hub.resume import absent
from trio_chat.hub.room import Room
from trio_chat.hub.state import State
from trio_chat.protocol.commands import Custom, LabelledCommand, Refuse, TakeNick
from trio_chat.protocol.events import Left
from trio_chat.protocol.names import parse_nick
from trio_chat.snapshot.model import QueuedCustom, QueuedLabelled
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
    from trio_chat.snapshot.model import ChatSnapshot, ClientSnapshot, QueuedRecord, RoomSnapshot
    from trio_chat.transports.reader import ReaderSnapshot
    from trio_chat.transports.readiness import Readiness


class Restore:
    """Makes the state of a chat, link by link and room by room. Times go on from now."""

    def __init__(
        self, settings: Settings, table: Mapping[str, Row], snapshot: ChatSnapshot
    ) -> None:
        self._settings = settings
        self._table = table
        self._snapshot = snapshot
        self.state = State(settings, counts=snapshot.counts)
        self.state.rooms.update((room.name, self._room(room)) for room in snapshot.rooms)

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
        for snapshot in self._snapshot.clients:
            if snapshot.away is None:
                stream = trio.SocketStream(trio.socket.from_stdlib_socket(next(left)))
                link = SocketLink(stream, self._settings.keepalive, readiness)
                yield self._client(snapshot, link, channel)
            else:
                self._absent(snapshot, snapshot.away, channel)

    def undelivered(self) -> list[Left]:
        """What the members have not been told yet."""
        return [Left(gone.room, gone.id, gone.nick) for gone in self._snapshot.gone]

    def _room(self, snapshot: RoomSnapshot) -> Room:
        room = Room(snapshot.name, snapshot.shown, self._settings.recent_entries)
        room.topic, room.position, room.base = snapshot.topic, snapshot.position, snapshot.base
        if snapshot.recent:
            room.recent = deque(snapshot.recent, self._settings.recent_entries)
        return room

    def _client(
        self, snapshot: ClientSnapshot, link: SocketLink, channel: trio.MemorySendChannel[Item]
    ) -> Reader:
        link.address, link.peer = snapshot.address, snapshot.peer
        link.keep(snapshot.unsent or None, None)
        client = Client(link, snapshot.encoding, channel, room_limit=snapshot.room_limit)
        self._enter(client, snapshot)
        self._set_going(client, snapshot)
        return self._reader(client, link, channel, snapshot.reader)

    def _absent(
        self, snapshot: ClientSnapshot, seconds: float, channel: trio.MemorySendChannel[Item]
    ) -> None:
        client = absent(
            snapshot.peer,
            snapshot.address,
            snapshot.encoding,
            channel,
            room_limit=snapshot.room_limit,
            until=trio.current_time() + seconds,
        )
        self._enter(client, snapshot)
        client.lagging, client.positions = True, dict(snapshot.positions)

    def _enter(self, client: Client, snapshot: ClientSnapshot) -> None:
        """Have the state know a client: by its id, address, nick and rooms."""
        client.id, client.token = snapshot.id, snapshot.token
        client.nick, client.keys = snapshot.nick, tuple(snapshot.keys)
        state = self.state
        state.clients[client.id] = client
        state.addresses[client.link.address] += 1
        if client.keys:
            state.nicks[client.keys[0]] = client
            state.holders.update(dict.fromkeys(client.keys, client))
        for name in snapshot.rooms:
            room = state.rooms[name]
            state.enter(client, room)
            if not snapshot.lagging:
                room.listen(client)

    def _set_going(self, client: Client, snapshot: ClientSnapshot) -> None:
        """Have it lag, close or have its records wait, as it did."""
        client.lagging = snapshot.lagging
        client.positions = dict(snapshot.positions) if snapshot.lagging else NOT_BEHIND
        client.closing = snapshot.closing
        client.halted = snapshot.lagging or snapshot.closing is not None
        if snapshot.closing is not None:
            self.state.closing[client] = None
        elif snapshot.lagging:
            client.link.pause_reading()
        if snapshot.queued:
            client.held = deque(map(self._record, snapshot.queued))
            self.state.hold(client)

    def _record(self, queued: QueuedRecord) -> Record:
        if isinstance(queued, QueuedLabelled):
            return LabelledCommand(self._record(queued.record), queued.id)
        try:
            if isinstance(queued, TakeNick):
                # Earlier versions let one take what nobody can take now.
                return TakeNick(parse_nick(queued.name.display, self._settings.nick_chars))
            return self._custom(queued) if isinstance(queued, QueuedCustom) else queued
        except Refused as refusal:
            return Refuse(str(refusal), refusal.code)

    def _custom(self, queued: QueuedCustom) -> Record:
        row = self._table.get(queued.name)
        if row is None:
            raise Refused(f"unknown command: /{queued.name}", code=Code.UNKNOWN_COMMAND)
        record = row.record(queued.arguments, self._settings)
        if isinstance(record, Custom):
            record.room = queued.room
        return record

    def _reader(
        self,
        client: Client,
        link: SocketLink,
        channel: trio.MemorySendChannel[Item],
        snapshot: ReaderSnapshot,
    ) -> Reader:
        dialect = FirstBytes.restored(
            self._table,
            self._settings,
            snapshot.dialect,
            clock=trio.current_time,
            reading=link.reading,
        )
        bucket = bucket_of(self._settings)
        if bucket is not None and snapshot.bucket is not None:
            bucket = TokenBucket.restored(
                bucket.rate, bucket.burst, snapshot.bucket, trio.current_time()
            )
        return Reader(client, link, channel, dialect, bucket)
