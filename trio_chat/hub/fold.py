"""Folds entries into the state: the only code that changes nicks, members and topics.

The log has decided by then, so that nothing here refuses. Entries of this process and entries from
elsewhere go through the same functions, and every process that folds the same entries knows the
same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

from trio_chat.hub.room import Room
from trio_chat.hub.user import User
from trio_chat.protocol.events import (
    Entered,
    Exited,
    Gone,
    Joined,
    Left,
    NickChanged,
    Renamed,
    TopicSet,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from trio_chat.hub.state import State
    from trio_chat.protocol.events import RoomEvent
    from trio_chat.protocol.names import Name
    from trio_chat.roomlog import LoggedRoom

Shown: TypeAlias = "list[tuple[Room, RoomEvent]]"
"""What an entry looks like to the members of rooms: an event for each room it concerns."""

Change: TypeAlias = NickChanged | Entered | Exited | Gone | TopicSet


class Fold:
    """Folds the entries that change something. `snapshot` tells what the log knows of a room."""

    def __init__(self, state: State, snapshot: Callable[[str], LoggedRoom]) -> None:
        self._state = state
        self._snapshot = snapshot
        self._folds: dict[type, Callable[..., Shown]] = {
            NickChanged: self._nick_changed,
            Entered: self._entered,
            Exited: self._exited,
            Gone: self._gone,
            TopicSet: self._topic_set,
        }

    def __call__(self, entry: Change) -> Shown:
        """Change the state by an entry; gives what the members of rooms are shown of it."""
        return self._folds[entry.__class__](entry)

    def keep_rooms(self, names: Iterable[Name]) -> None:
        """Have just these rooms exist without members."""
        state = self._state
        kept = {name.casefolded: name for name in names}
        dropped, state.kept_rooms = state.kept_rooms - kept.keys(), frozenset(kept)
        for room in dropped:
            self._let_go(state.rooms[room])
        for name in kept.values():
            if name.casefolded not in state.rooms:
                self._make(name.casefolded, name.display)

    def _nick_changed(self, entry: NickChanged) -> Shown:
        user = self._user(entry.author, entry.old)
        for room in user.rooms.values():
            room.leave(user)
        old, user.nick = user.nick, entry.name.display
        for room in user.rooms.values():
            room.enter(user)
        self._free_nick(user)
        user.keys = entry.name.keys
        self._state.nicks[entry.name.casefolded] = user
        if user.nick == old:
            return []
        return [(room, Renamed(room.name, user.id, old, user.nick)) for room in user.rooms.values()]

    def _entered(self, entry: Entered) -> Shown:
        user = self._user(entry.author, entry.nick)
        leaving = user.rooms.get(entry.leaving) if entry.leaving is not None else None
        shown: Shown = [] if leaving is None else [self._leave(user, leaving)]
        room = self._state.rooms.get(entry.room) or self._make(entry.room, entry.room_name)
        room.enter(user)
        user.rooms[room.name] = room
        user.only_room = room if len(user.rooms) == 1 else None
        return [*shown, (room, Joined(room.name, user.id, user.nick))]

    def _exited(self, entry: Exited) -> Shown:
        user, room = self._state.users.get(entry.author), self._state.rooms.get(entry.room)
        if room is None:
            return []
        if user is None:  # a client of the process before this one
            return [(room, Left(room.name, entry.author, entry.nick))]
        shown: Shown = [self._leave(user, room)] if user in room.members else []
        if not (user.rooms or user.keys or user.session or user.detached):
            # Of another process, which will have nothing to say of its end.
            del self._state.users[user.id]
        return shown

    def _gone(self, entry: Gone) -> Shown:
        user = self._state.users.pop(entry.author, None)
        if user is None:
            return []
        self._free_nick(user)
        return [self._leave(user, room) for room in list(user.rooms.values())]

    def _topic_set(self, entry: TopicSet) -> Shown:
        room = self._state.rooms.get(entry.room)
        if room is None:
            return []
        room.topic = entry.text
        room.position = entry.position
        self._state.recent.keep(room, [entry])
        return [(room, entry)]

    def _user(self, id: str, nick: str) -> User:
        user = self._state.users.get(id)
        if user is None:  # of another process
            user = self._state.users[id] = User(id, nick)
        return user

    def _free_nick(self, user: User) -> None:
        if user.keys:
            del self._state.nicks[user.keys[0]]
            user.keys = ()

    def _leave(self, user: User, room: Room) -> tuple[Room, Left]:
        room.leave(user)
        del user.rooms[room.name]
        user.only_room = next(iter(user.rooms.values())) if len(user.rooms) == 1 else None
        self._let_go(room)
        return room, Left(room.name, user.id, user.nick)

    def _make(self, name: str, shown: str) -> Room:
        room = self._state.rooms[name] = Room(name, shown, self._snapshot(name))
        self._state.rooms_by_name.add(room)
        return room

    def _let_go(self, room: Room) -> None:
        if not room.members and room.name not in self._state.kept_rooms:
            self._state.recent.forget(room)
            self._state.rooms_by_name.remove(room)
            del self._state.rooms[room.name]
