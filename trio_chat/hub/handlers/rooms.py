"""Nicks and rooms: who is called what, who is where, and what is asked about a room."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio_chat.errors import Code, Refused
from trio_chat.hub.room import listable
from trio_chat.protocol import commands, events

if TYPE_CHECKING:
    from trio_chat.hub.decide import Decide
    from trio_chat.hub.handlers import Handlers
    from trio_chat.hub.room import Room
    from trio_chat.hub.session import Session
    from trio_chat.hub.state import State
    from trio_chat.hub.user import User

# Names in one list: about as many as a person reads, and a reply of a few kilobytes at most.
LIST_LENGTH = 200


class Rooms:
    """Handles the records about nicks and rooms."""

    def __init__(self, state: State, decide: Decide) -> None:
        self._state = state
        self._decide = decide
        self.handlers: Handlers = {
            commands.TakeNick: self._take_nick,
            commands.Join: self._join,
            commands.Leave: self._leave,
            commands.ListRooms: self._list_rooms,
            commands.ListMembers: self._list_members,
            commands.ShowTopic: self._show_topic,
        }

    def _take_nick(self, session: Session, record: commands.TakeNick) -> None:
        user, name = session.user, record.name
        draft = events.NickChanged(user.id, user.nick, name)
        self._decide.claim(session, draft, events.NickTaken(name.display))

    def _join(self, session: Session, record: commands.Join) -> None:
        user, name, limit = session.user, record.name, session.room_limit
        if name.casefolded in user.rooms:
            raise Refused(
                f"you are in {user.rooms[name.casefolded].shown} already", code=Code.ALREADY_IN_ROOM
            )
        if limit is not None and len(user.rooms) >= limit > 1:
            raise Refused(
                f"you are in {limit} rooms, which is the most; leave one",
                code=Code.IN_TOO_MANY_ROOMS,
                limit="rooms_per_client",
            )
        leaving = next(iter(user.rooms)) if len(user.rooms) == limit == 1 else None
        draft = events.Entered(user.id, user.nick, name.casefolded, name.display, leaving)
        # The log's answer completes it, with what there is in the room by then.
        self._decide.claim(session, draft, events.Welcomed(name.casefolded, name.display))

    def _leave(self, session: Session, record: commands.Leave) -> None:
        user, room = session.user, room_meant(session.user, record.room)
        draft = events.Exited(user.id, user.nick, room.name)
        self._decide.claim(session, draft, events.Departed(room.name, room.shown))

    def _list_rooms(self, session: Session, _: commands.ListRooms) -> None:
        names = [room.shown for room in self._state.rooms_by_name.first(LIST_LENGTH)]
        more = len(self._state.rooms) - len(names)
        self._decide.reply(session, events.RoomsListed(names, more))

    def _list_members(self, session: Session, record: commands.ListMembers) -> None:
        room = room_meant(session.user, record.room)
        most = listable(self._state.settings) if session.encoding.echoes else LIST_LENGTH
        self._decide.reply(session, room.listed(most))

    def _show_topic(self, session: Session, record: commands.ShowTopic) -> None:
        room = room_meant(session.user, record.room)
        self._decide.reply(session, events.TopicShown(room.name, room.shown, room.topic))


def room_meant(user: User, name: str | None) -> Room:
    """The room a record means; `None` is the one the user is in. Raises `Refused`."""
    if name is not None:
        room = user.rooms.get(name)
        if room is None:
            raise Refused("you are not in that room", code=Code.NOT_IN_ROOM)
        return room
    if user.only_room is not None:
        return user.only_room
    if user.rooms:
        raise Refused("say which room: you are in several", code=Code.SAY_WHICH_ROOM)
    raise Refused("you are in no room; use /join ROOM first", code=Code.NOT_IN_ROOM)
