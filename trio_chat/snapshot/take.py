"""Makes plain data of a chat that stands still."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import trio

from trio_chat.hub.resume import NoLink
from trio_chat.protocol import commands
from trio_chat.snapshot.model import (
    ChatSnapshot,
    ClientSnapshot,
    Gone,
    QueuedCustom,
    QueuedLabelled,
    RoomSnapshot,
)
from trio_chat.transports.tcp import SocketLink

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from trio_chat.config.endpoints import Endpoint
    from trio_chat.hub.client import Client
    from trio_chat.hub.pause import Pause
    from trio_chat.hub.room import Room
    from trio_chat.hub.state import State
    from trio_chat.protocol.commands import Record
    from trio_chat.roomlog import RoomLog
    from trio_chat.snapshot.model import QueuedRecord


def take_snapshot(
    state: State,
    log: RoomLog,
    pause: Pause,
    uptime: float,
    listening: Sequence[Endpoint],
) -> ChatSnapshot:
    """What goes over of a chat whose hub has reached a pause.

    The clients are those that go over, and beside them those that can come back: for the other
    process these have lost their connections. Of the rest it says which rooms they are in. It
    shares what it holds with the chat, and so counts only while that stands still.
    """
    clients = [
        client for client in state.clients.values() if _goes_over(client) or _can_come_back(client)
    ]
    members = {client for client in clients if client.closing is None}
    # Of a room that none of them is in there is nothing that the room log does not know.
    rooms = [room for room in state.rooms.values() if not members.isdisjoint(room.members)]
    return ChatSnapshot(
        store=state.settings.store,
        uptime=uptime,
        counts=state.counts,
        clients=[_client(client, state, pause) for client in clients],
        rooms=[_room(room) for room in rooms],
        gone=[
            Gone(room.name, member.id, member.nick)
            for room in rooms
            for member in room.members
            if member not in members
        ],
        histories=log.snapshot(),
        listening=list(listening),
    )


def going_over(state: State) -> list[Client]:
    """The clients that are another process's once it takes over: on sockets, or away already."""
    return list(filter(_goes_over, state.clients.values()))


def _goes_over(client: Client) -> bool:
    return isinstance(client.link, SocketLink | NoLink)


def _can_come_back(client: Client) -> bool:
    return bool(client.token) and client.closing is None


def _room(room: Room) -> RoomSnapshot:
    # The room log has them too. Only those who lag need them soon; all of them together would take
    # longer than the rest of the state.
    lagging = any(member.lagging or not _goes_over(member) for member in room.members)
    recent = list(room.recent or ()) if lagging else []
    return RoomSnapshot(room.name, room.shown, room.topic, room.position, room.base, recent)


def _client(client: Client, state: State, pause: Pause) -> ClientSnapshot:
    link = client.link
    snapshot = ClientSnapshot(
        id=client.id,
        address=link.address,
        peer=link.peer,
        nick=client.nick,
        keys=list(client.keys),
        rooms=list(client.rooms),
        room_limit=client.room_limit,
        encoding=client.encoding,
        lagging=client.lagging,
        positions=client.positions,
        token=client.token,
    )
    if isinstance(link, SocketLink):
        _add_connection(snapshot, client, link, pause)
    elif isinstance(link, NoLink):
        snapshot.away = max(0.0, link.until - trio.current_time())
    else:
        snapshot.away = float(state.settings.resume_grace)
        if not client.lagging:
            snapshot.lagging, snapshot.positions = True, client.reached
    return snapshot


def _add_connection(
    snapshot: ClientSnapshot, client: Client, link: SocketLink, pause: Pause
) -> None:
    reader = pause.readers.get(client)  # None if its input is at its end
    if reader is not None:
        snapshot.reader = reader.snapshot()
    snapshot.unsent = bytes(link.unsent or b"")
    snapshot.closing = client.closing
    if client.closing is None:
        snapshot.queued += _queued(client)


def _queued(client: Client) -> Iterator[QueuedRecord]:
    """The records that wait; first what is being looked up, which is begun anew."""
    if client.looking is not None:
        yield _as_queued(client.looking)
    for record in client.held or ():
        yield _as_queued(record)


def _as_queued(record: Record) -> QueuedRecord:
    if isinstance(record, commands.Custom):
        return QueuedCustom(record.name, record.arguments, record.room)
    if isinstance(record, commands.LabelledCommand):
        return QueuedLabelled(_as_queued(record.record), record.id)
    # The others never wait: they come first, or at the end of a chat, or from in-process clients.
    return cast("QueuedRecord", record)
