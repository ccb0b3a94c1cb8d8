"""Folds entries into the state: the only code that changes nicks, members and topics.

The log has decided before, so nothing is refused here. Entries of this process and of others go
through the same functions. So all processes that fold the same entries have the same state.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeAlias

from attrs import evolve

from trio_chat.hub.expiry import WARNING_SECONDS
from trio_chat.hub.ignoring import follow, take_list
from trio_chat.hub.room import Room
from trio_chat.hub.user import Account, User
from trio_chat.protocol.events import (
    Claim,
    ConnectionChanged,
    Described,
    Entered,
    Exited,
    Gone,
    Identified,
    Joined,
    Left,
    Moved,
    NickChanged,
    PersonChanged,
    Removed,
    Renamed,
    Ruled,
    TopicSet,
)
from trio_chat.protocol.names import NOBODY, SERVER, unnamed
from trio_chat.protocol.presence import PastNick
from trio_chat.roomlog.rules import as_kept

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from trio_chat.hub.state import State
    from trio_chat.protocol.events import RoomEvent
    from trio_chat.protocol.names import Name
    from trio_chat.roomlog.logged_room import LoggedRoom

Shown: TypeAlias = "list[tuple[Room, RoomEvent]]"
"""The view of an entry for the members of rooms: an event for each room it concerns."""

Change: TypeAlias = Claim | TopicSet | Ruled | Removed


class Fold:
    """Folds the entries that change something. `snapshot` returns the log's state of a room."""

    def __init__(
        self, state: State, snapshot: Callable[[str], LoggedRoom], *, shares_log: bool
    ) -> None:
        self._state = state
        self._snapshot = snapshot
        self._shares_log = shares_log
        state.server = Room(SERVER, SERVER, snapshot(SERVER))
        self._folds: dict[type, Callable[..., Shown]] = {
            NickChanged: self._nick_changed,
            PersonChanged: self._person_changed,
            Described: self._described,
            Entered: self._entered,
            Exited: self._exited,
            Gone: self._gone,
            Moved: self._moved,
            ConnectionChanged: lambda _: [],  # nobody sees it: only the log has to know
            TopicSet: self._topic_set,
            Ruled: self._ruled,
            Removed: self._removed,
        }

    def __call__(self, entry: Change) -> Shown:
        """Change the state by an entry. Return the events for the members of rooms."""
        return self._folds[entry.__class__](entry)

    def keep_rooms(self, names: Iterable[Name]) -> None:
        """Keep exactly these rooms even without members."""
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
        old, had = user.nick, _had(user)
        self._free_nick(user)
        self._take_nick(user, entry.name)  # without keys, another process's user has it by now
        self._note_past(had)
        for room in user.rooms.values():
            room.enter(user)
        self._forget_if_unknown(user)
        if user.nick == old:
            return []
        return [
            (room, Renamed(room.name, user.person, old, user.nick)) for room in user.rooms.values()
        ]

    def _person_changed(self, entry: PersonChanged) -> Shown:
        shown: Shown = []
        for guest in entry.displaced:
            other = self._state.users.get(guest)
            if other is not None:
                shown += self._nick_changed(NickChanged(guest, other.nick, NOBODY))
        user = self._user(entry.author, entry.old)
        old, old_nick, had = user.person, user.nick, _had(user)
        left = [room.leave(user) for room in user.rooms.values()]
        self._log_out(user, stays=entry.person)
        if entry.person != user.id:
            self._log_in(user, entry)
        follow(self._state, old, user.person)
        shown += self._rename_others(user, entry.name)
        self._take_nick(user, entry.name)
        self._note_past(had)
        for room, has_left in zip(user.rooms.values(), left, strict=True):
            is_new = room.enter(user)
            if is_new and has_left and user.person == old:
                pass  # the same login counts for longer
            elif is_new and has_left:
                event = Identified(room.name, user.person, user.nick, old, old_nick)
                shown.append((room, event))
            elif is_new:
                shown.append((room, Joined(room.name, user.person, user.nick)))
            elif has_left:
                shown.append((room, Left(room.name, old, old_nick)))
        self._forget_if_unknown(user)
        return shown

    def _described(self, entry: Described) -> Shown:
        user = self._state.users.get(entry.author)
        if user is not None:
            user.about = entry.about
        return []

    def _log_in(self, user: User, entry: PersonChanged) -> None:
        """Let a user be the person of an account, and have what the account has kept."""
        state, person = self._state, entry.person
        user.be(state.accounts.setdefault(person, Account(person, entry.since)))
        self._expire(user, entry.expires, is_here=user.is_here)
        state.remembered.forget(user.id)
        if not user.others:
            take_list(state, person)
        for target, until in entry.read_markers.items():
            state.remembered.mark_read(person, target, until)

    def _rename_others(self, user: User, name: Name) -> Shown:
        """Give the other devices of a person its nick, if that was another one at their login."""
        renamed = [other for other in user.others if other.keys != name.keys]
        shown: dict[Room, Renamed] = {}
        for other in renamed:
            for room in other.rooms.values():
                room.leave(other)
            if other.keys:
                self._state.stir(other.keys[0])
                self._state.nicks.pop(other.keys[0], None)
            old = other.nick
            self._take_nick(other, name)
            for room in other.rooms.values():
                room.enter(other)
                shown[room] = Renamed(room.name, other.person, old, other.nick)
        return list(shown.items())

    def _entered(self, entry: Entered) -> Shown:
        user = self._user(entry.author, entry.nick)
        leaving = user.rooms.get(entry.leaving) if entry.leaving is not None else None
        shown: Shown = [] if leaving is None else self._leave(user, leaving)
        room = self._state.rooms.get(entry.room) or self._make(entry.room, entry.room_name)
        if self._shares_log and user.is_here:
            self._catch_up(room)
        user.rooms[room.name] = room
        user.only_room = room if len(user.rooms) == 1 else None
        user.ruled = user.ruled or room.rules is not None
        if room.enter(user):
            shown.append((room, Joined(room.name, user.person, user.nick)))
        return shown

    def _exited(self, entry: Exited) -> Shown:
        user, room = self._state.users.get(entry.author), self._state.rooms.get(entry.room)
        if room is None:
            return []
        if user is None:  # a client of the process before this one
            return [(room, Left(room.name, entry.author, entry.nick))]
        shown: Shown = self._leave(user, room, entry.words) if user in room.members else []
        for _, event in shown:
            if isinstance(event, Left):
                event.ousted = entry.ousted
        self._forget_if_unknown(user)
        return shown

    def _gone(self, entry: Gone) -> Shown:
        user = self._state.remove_user(entry.author)
        if user is None:
            return []
        shown = [
            item
            for room in list(user.rooms.values())
            for item in self._leave(user, room, entry.words, gone=True)
        ]
        had = _had(user)
        self._log_out(user)
        self._note_past(had)
        return shown

    def _moved(self, entry: Moved) -> Shown:
        user = self._state.users.get(entry.author)
        if user is not None:
            self._expire(user, user.expires, is_here=bool(entry.token))
            for room in user.rooms.values():
                self._catch_up(room)
        return []

    def _catch_up(self, room: Room) -> None:
        """Bring a room up to date if entries have passed while nobody here was in it.

        A shared log brings a process only the entries of rooms with members there.
        """
        if room.is_followed:
            return
        known = self._snapshot(room.name)
        if known.position > room.position:
            self._state.recent.forget(room)
            room.position, room.topic = known.position, known.topic
        self.follow_rules(room)

    def follow_rules(self, room: Room) -> None:
        """Let the rules of a room be those that the log has."""
        room.rule(self._snapshot(room.name).rules.fields)
        if room is not self._state.server:
            self._list(room)
        for user in room.members if room.rules is not None else ():
            user.ruled = True

    def _topic_set(self, entry: TopicSet) -> Shown:
        room = self._state.rooms.get(entry.room)
        if room is None:
            return []
        room.topic = entry.text
        room.position = entry.position
        room.note([entry])
        self._state.recent.keep(room, [entry])
        return [(room, entry)]

    def _ruled(self, entry: Ruled) -> Shown:
        is_server = entry.room == SERVER
        room = self._state.server if is_server else self._state.rooms.get(entry.room)
        if room is None:
            return []
        room.position = entry.position
        before = room.rules
        self.follow_rules(room)
        if is_server:
            return []
        self._state.recent.keep(room, [as_kept(entry)])
        was = {name: None if before is None else before.before(name) for name in entry.changes}
        return [(room, evolve(entry, was=was))]

    def _removed(self, entry: Removed) -> Shown:
        room = self._state.rooms.get(entry.room)
        if room is None:
            return []
        room.position = room.changed = entry.position
        self._state.recent.change(room, entry)
        self._state.recent.keep(room, [entry])
        return [(room, entry)]

    def _user(self, id: str, nick: str) -> User:
        user = self._state.users.get(id)
        if user is None:  # a user of another process
            user = User(id, nick)
            self._state.add_user(user)
        return user

    def _forget_if_unknown(self, user: User) -> None:
        """Forget a user of another process once nobody can see it: its end is told to nobody."""
        if not (user.rooms or user.keys or user.session or user.detached):
            self._state.remove_user(user.id)

    def _take_nick(self, user: User, name: Name) -> None:
        self._state.stir(unnamed(user.id).lower())
        user.nick, user.keys = name.display, name.keys
        if user.keys:
            self._state.stir(user.keys[0])
        if user.keys and self._state.nicks.get(user.keys[0]) not in user.others:
            self._state.nicks[user.keys[0]] = user

    def _free_nick(self, user: User) -> None:
        """Free the nick of a user, unless another user that is the same person has it, too."""
        if user.keys:
            self._state.stir(user.keys[0])
            self._state.stir(unnamed(user.id).lower())
            if self._state.nicks.get(user.keys[0]) is user:
                del self._state.nicks[user.keys[0]]
                for other in user.others[:1]:
                    self._state.nicks[user.keys[0]] = other
            user.keys = ()

    def _note_past(self, past: PastNick) -> None:
        """Note who had a nick, if nobody has it now."""
        if past.key and past.key not in self._state.nicks:
            self._state.past_nicks.note(past)

    def _log_out(self, user: User, stays: str = "") -> None:
        """Free the nick of a user, and let it be a person by itself.

        It `stays` the person with this id if the same login counts for longer.
        """
        self._free_nick(user)
        user.expires = 0.0
        self._state.expiring.pop(user, None)
        if (account := user.account) is not None:
            user.be(None)
            if not account.users:
                del self._state.accounts[account.id]
                if account.id != stays:
                    self._state.remembered.forget(account.id)

    def _expire(self, user: User, at: float, *, is_here: bool) -> None:
        """Note when a login ends. The process with the user sees to it."""
        user.expires = at
        if at and is_here:
            self._state.expiring[user] = at - WARNING_SECONDS
        else:
            self._state.expiring.pop(user, None)

    def _leave(self, user: User, room: Room, words: str = "", *, gone: bool = False) -> Shown:
        """Remove a user from a room, and from the sessions that hear it."""
        has_left = room.leave(user)
        if user.session is not None:
            room.unlisten(user.session)
        del user.rooms[room.name]
        if room.name in user.ousted:
            user.ousted = {name: kick for name, kick in user.ousted.items() if name != room.name}
        user.only_room = next(iter(user.rooms.values())) if len(user.rooms) == 1 else None
        self._let_go(room)
        left = Left(room.name, user.person, user.nick, words, gone, user.about.user)
        return [(room, left)] if has_left else []

    def _make(self, name: str, shown: str) -> Room:
        room = self._state.rooms[name] = Room(name, shown, self._snapshot(name))
        self._state.rooms_by_name.add(room)
        self._list(room)
        return room

    def _list(self, room: Room) -> None:
        """Note whether people outside may see that there is this room."""
        if room.is_listed:
            self._state.unlisted.discard(room)
        else:
            self._state.unlisted.add(room)

    def _let_go(self, room: Room) -> None:
        if room.members:
            return
        if room.name in self._state.kept_rooms:
            if room.rules is not None and room.rules.made:
                self.follow_rules(room)  # those of a creator have ended
        else:
            self._state.recent.forget(room)
            self._state.rooms_by_name.remove(room)
            self._state.unlisted.discard(room)
            del self._state.rooms[room.name]


def _had(user: User) -> PastNick:
    """Return the nick of a user, and the person that has had it."""
    about, key = user.about, user.keys[0] if user.keys else ""
    return PastNick(key, user.nick, user.person, about.user, about.real, time.time())
