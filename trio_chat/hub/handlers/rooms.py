"""Nicks and rooms: who is called what, who is where, and what is asked about a room."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio_chat.errors import Code, Refused
from trio_chat.hub.outcomes import Lookup, RoomMade
from trio_chat.hub.room import Room, listable
from trio_chat.protocol import commands, events

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_chat.hub.client import Client
    from trio_chat.hub.handlers import Handlers
    from trio_chat.hub.outcomes import Outcomes
    from trio_chat.hub.state import State
    from trio_chat.protocol.names import Name

# Names in one list: about as many as a person reads, and a reply of a few kilobytes at most.
LIST_LENGTH = 200


class Rooms:
    """Handles the records about nicks and rooms. `topic` tells what the room log knows of one."""

    def __init__(self, state: State, outcomes: Outcomes, topic: Callable[[str], str]) -> None:
        self._state = state
        self._outcomes = outcomes
        self._topic = topic
        self.handlers: Handlers = {
            commands.TakeNick: self._take_nick,
            commands.Join: self._join,
            commands.Leave: self._leave,
            commands.ListRooms: self._list_rooms,
            commands.ListMembers: self._list_members,
            commands.ShowTopic: self._show_topic,
            commands.ShowHistory: self._look_up,
            commands.Search: self._look_up,
        }

    def _take_nick(self, client: Client, record: commands.TakeNick) -> None:
        name, old = record.name, client.nick
        if not self._state.is_free(name, client):
            raise Refused(
                f"the nick {name.display} is taken, or looks like one that is: "
                "please choose another",
                code=Code.NICK_TAKEN,
            )
        self._state.give_nick(client, name)
        if name.display != old:
            for room in client.rooms.values():
                self._outcomes.draft(events.Renamed(room.name, client.id, old, name.display))
        self._outcomes.reply(client, events.NickTaken(name.display))

    def _join(self, client: Client, record: commands.Join) -> None:
        name = record.name
        if name.casefolded in client.rooms:
            raise Refused(
                f"you are in {client.rooms[name.casefolded].shown} already",
                code=Code.ALREADY_IN_ROOM,
            )
        if client.room_limit is not None and len(client.rooms) >= client.room_limit > 1:
            sentence = f"you are in {client.room_limit} rooms, which is the most; leave one"
            raise Refused(sentence, code=Code.IN_TOO_MANY_ROOMS, limit="rooms_per_client")
        room = self._state.rooms.get(name.casefolded) or self._make_room(name)
        if len(client.rooms) == client.room_limit == 1:
            self._go_out(client, next(iter(client.rooms.values())))
        self._outcomes.draft(events.Joined(room.name, client.id, client.nick))
        self._state.enter(client, room)
        welcome = events.Welcomed(room.name, room.shown)
        if client.encoding.echoes:
            listed = room.listed(listable(self._state.settings))
            welcome.members, welcome.more = listed.members, listed.more
        self._outcomes.with_topic(client, room, welcome)

    def _make_room(self, name: Name) -> Room:
        if len(self._state.rooms) >= self._state.settings.max_rooms:
            raise Refused(
                "there are too many rooms; please join one that exists (/rooms lists them)",
                code=Code.TOO_MANY_ROOMS,
                limit="max_rooms",
            )
        room = Room(name.casefolded, name.display, self._state.settings.recent_entries)
        room.topic = self._topic(room.name)
        self._state.rooms[name.casefolded] = room
        self._outcomes.listed.append(RoomMade(room))
        return room

    def _go_out(self, client: Client, room: Room) -> None:
        self._state.leave(client, room)
        self._outcomes.draft(events.Left(room.name, client.id, client.nick))

    def _leave(self, client: Client, record: commands.Leave) -> None:
        room = room_meant(client, record.room)
        self._go_out(client, room)
        self._outcomes.reply(client, events.Departed(room.name, room.shown))

    def _list_rooms(self, client: Client, _: commands.ListRooms) -> None:
        names = sorted(room.shown for room in self._state.rooms.values())
        more = max(0, len(names) - LIST_LENGTH)
        self._outcomes.reply(client, events.RoomsListed(names[:LIST_LENGTH], more))

    def _list_members(self, client: Client, record: commands.ListMembers) -> None:
        room = room_meant(client, record.room)
        most = listable(self._state.settings) if client.encoding.echoes else LIST_LENGTH
        self._outcomes.reply(client, room.listed(most))

    def _show_topic(self, client: Client, record: commands.ShowTopic) -> None:
        room = room_meant(client, record.room)
        self._outcomes.with_topic(client, room, events.TopicShown(room.name, room.shown))

    def _look_up(self, client: Client, record: commands.ShowHistory | commands.Search) -> None:
        room = room_meant(client, record.room)
        request, label = self._outcomes.request, self._outcomes.label
        self._outcomes.listed.append(Lookup(client, request, room, record, label))
        if request is not None:
            request.looking = True
        else:
            client.looking = record if label is None else commands.LabelledCommand(record, label)
            self._state.halt(client)


def room_meant(client: Client, name: str | None) -> Room:
    """The room a record means; `None` is the one the client is in."""
    if name is not None:
        room = client.rooms.get(name)
        if room is None:
            raise Refused("you are not in that room", code=Code.NOT_IN_ROOM)
        return room
    if client.only_room is not None:
        return client.only_room
    if client.rooms:
        raise Refused("say which room: you are in several", code=Code.SAY_WHICH_ROOM)
    raise Refused("you are in no room; use /join ROOM first", code=Code.NOT_IN_ROOM)
