"""Makes plain data of a chat that stands still."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from trio_chat import commands
from trio_chat.doors.connection import FrozenReader
from trio_chat.doors.tcp import SocketLink
from trio_chat.frozen_state import FrozenChat, FrozenClient, FrozenRoom, Gone, HeldCustom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trio_chat.client import Client
    from trio_chat.commands import Record
    from trio_chat.frozen_state import Held
    from trio_chat.room import Room
    from trio_chat.roomlog import RoomLog
    from trio_chat.standstill import Standstill
    from trio_chat.state import State


def freeze(state: State, log: RoomLog, standstill: Standstill, uptime: float) -> FrozenChat:
    """What goes over of a chat whose hub has reached a standstill.

    Its clients are `going_over(state)`, in that order. Of those that cannot go, it says which rooms
    they are in. It shares what it holds with the chat, and so counts only while that stands still.
    """
    clients = going_over(state)
    members = {client for client, _ in clients if client.closing is None}
    # Of a room that none of them is in there is nothing that the room log does not know.
    rooms = [room for room in state.rooms.values() if not members.isdisjoint(room.members)]
    return FrozenChat(
        store=state.settings.store,
        uptime=uptime,
        counts=state.counts,
        clients=[_client(client, link, standstill) for client, link in clients],
        rooms=[_room(room) for room in rooms],
        gone=[
            Gone(room.name, member.id, member.nick)
            for room in rooms
            for member in room.members
            if member not in members
        ],
        histories=log.frozen(),
    )


def going_over(state: State) -> list[tuple[Client, SocketLink]]:
    """The clients that another process can take over, and their links."""
    return [
        (client, client.link)
        for client in state.clients.values()
        if isinstance(client.link, SocketLink)
    ]


def _room(room: Room) -> FrozenRoom:
    # The room log has them too. Only those who lag need them soon; all of them together would take
    # longer than the rest of the state.
    lagging = any(member.lagging for member in room.members)
    recent = list(room.recent or ()) if lagging else []
    return FrozenRoom(room.name, room.shown, room.topic, room.position, room.base, recent)


def _client(client: Client, link: SocketLink, standstill: Standstill) -> FrozenClient:
    reader = standstill.readers.get(client)  # None if its input is at its end
    return FrozenClient(
        id=client.id,
        address=link.address,
        peer=link.peer,
        nick=client.nick,
        keys=list(client.keys),
        rooms=list(client.rooms),
        variant=client.variant,
        reader=FrozenReader() if reader is None else reader.frozen(),
        rest=bytes(link.rest or b""),
        lagging=client.lagging,
        positions=client.positions,
        closing=client.closing,
        held=[] if client.closing is not None else list(_held(client)),
    )


def _held(client: Client) -> Iterator[Held]:
    """The records that wait; first what is being looked up, which is begun anew."""
    if client.looking is not None:
        yield client.looking
    for record in client.held or ():
        yield _as_held(record)


def _as_held(record: Record) -> Held:
    if isinstance(record, commands.Custom):
        return HeldCustom(record.name, record.arguments)
    # The others never wait: they come first, or at the end of a chat, or from in-process clients.
    return cast("Held", record)
