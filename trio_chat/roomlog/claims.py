"""The table of claims decides, in the log's order, which nicks and rooms users may have.

A claim is a draft that the log may have to refuse. The table holds the keys of all nicks and the
members of all rooms, because they decide which other claims are possible. It also knows which rooms
have a creator, as their rules end with the last member.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trio_chat.errors import Code, Refused
from trio_chat.moderation.fields import CREATOR
from trio_chat.protocol.events import (
    CLAIMS,
    Entered,
    Exited,
    Gone,
    NickChanged,
    PersonChanged,
    Ruled,
)
from trio_chat.protocol.names import SERVER
from trio_chat.roomlog.rules import NO_RULES, Rules

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from collections.abc import Set as AbstractSet

    from trio_chat.protocol.events import Entry
    from trio_chat.protocol.names import Name
    from trio_chat.roomlog import Result

KINDS: Final = frozenset[type](CLAIMS)


def nick_taken(name: Name) -> Refused:
    """Return the refusal of a nick that somebody has, or one that looks like it."""
    return Refused(
        f"the nick {name.display} is taken, or looks like one that is: please choose another",
        code=Code.NICK_TAKEN,
    )


def too_many_rooms() -> Refused:
    """Return the refusal of one more room."""
    return Refused(
        "there are too many rooms; please join one that exists (/rooms lists them)",
        limit="max_rooms",
        code=Code.TOO_MANY_ROOMS,
    )


def room_full(shown: str) -> Refused:
    """Return the refusal of one more member of a room with a limit."""
    return Refused(f"{shown} is full: try again later", code=Code.ROOM_FULL)


class Claims:
    """Decides claims, and records the claims that it grants.

    No two persons hold the same key of a nick. A person is a user without an account, or all users
    who are logged in to the same account. A room exists if it has members or is kept. No room is
    created once there are `max_rooms`. A room that its last member leaves with the same claim still
    counts. The hub says how many users a room may have for somebody to come in.
    """

    def __init__(self, max_rooms: int) -> None:
        """Begin without users and without kept rooms."""
        self._max_rooms = max_rooms
        self._kept: frozenset[str] = frozenset()
        # Keys of nicks to the persons who hold them, and persons to the keys of their nicks.
        self._holders: dict[str, str] = {}
        self._keys: dict[str, tuple[str, ...]] = {}
        # Users to their accounts, and accounts to their users.
        self._accounts: dict[str, str] = {}
        self._devices: dict[str, set[str]] = {}
        # Rooms to the number of their members, and users to the rooms that they are in.
        self._members: dict[str, int] = {}
        self._rooms: dict[str, tuple[str, ...]] = {}
        # Rooms with a creator to their rules before any action, and how many such rooms there were.
        self._made: dict[str, Rules] = {}
        self._count_made = 0

    def allow(self, max_rooms: int, kept: Iterable[str]) -> None:
        """Apply these rules from now on. The rooms in `kept` exist even without members."""
        self._max_rooms = max_rooms
        dropped, self._kept = self._kept, frozenset(kept)
        for room in self._kept:
            self._members.setdefault(room, 0)
        for room in dropped:
            self._let_go(room)

    def in_use(self, room: str) -> bool:
        """Whether a room exists: it has members, it is kept, or it stands for the server."""
        return room in self._members or room == SERVER

    def restore(self, users: Iterable[tuple[str, str, Iterable[str], Iterable[str]]]) -> None:
        """Replace all users by these. A log has granted their claims before.

        Each item is a user's id, the id of its person, the keys of its nick, and its rooms.
        """
        for person in list(self._keys):
            self._set_keys(person, ())
        for user in list(self._rooms):
            self._set_rooms(user, ())
        self._accounts.clear()
        self._devices.clear()
        for user, person, keys, rooms in users:
            self._be(user, person)
            self._set_keys(person, tuple(keys))
            self._set_rooms(user, tuple(rooms))

    def make(self, room: str, creator: str) -> None:
        """Let a room have this creator while it has members."""
        # No entry makes these rules. So their version is below 0, and those of no other room.
        self._count_made += 1
        self._made[room] = Rules(-self._count_made, {CREATOR: creator})

    def rules(self, room: str, stored: Rules) -> Rules:
        """Return the rules of a room for which the log has stored these.

        Those of an earlier creator do not count: their room has ended.
        """
        made = self._made.get(room, NO_RULES)
        if (creator := stored.fields.get(CREATOR)) is None:
            return stored if stored.fields or not made.fields else made
        return stored if creator == made.fields.get(CREATOR) else made

    def follow(self, results: Iterable[Result]) -> None:
        """Follow actions that the log has taken: with an owner, a room has no creator any more."""
        for entry in results:
            if isinstance(entry, Ruled) and entry.changes.get(CREATOR, "") is None:
                self._made.pop(entry.room, None)

    def decide_all(self, drafts: Sequence[Entry], kinds: AbstractSet[type]) -> Sequence[Result]:
        """Decide the claims among drafts, in order. Return each draft, or the reason for refusal.

        `kinds` has the types of the drafts. If no claim is refused, this returns `drafts` itself.
        """
        if KINDS.isdisjoint(kinds):  # most turns hold only messages
            return drafts
        results: list[Result] = [self.decide(draft) or draft for draft in drafts]
        return results if any(isinstance(result, Refused) for result in results) else drafts

    def decide(self, draft: Entry) -> Refused | None:
        """Grant a claim, or return why it is refused. A refusal changes nothing.

        A draft that is not a claim is granted.
        """
        match draft:
            case NickChanged(author=user, name=name):
                return self._change_nick(self._person(user), name)
            case PersonChanged():
                return self._change_person(draft)
            case Entered():
                return self._enter(draft)
            case Exited(author=user, room=room):
                self._set_rooms(user, self._rooms_but(user, room))
            case Gone(author=user):
                self._be(user, user)
                self._set_keys(user, ())
                self._set_rooms(user, ())
            case _:
                pass
        return None

    def _change_nick(self, person: str, name: Name) -> Refused | None:
        if any(self._holders.get(key, person) != person for key in name.keys):
            return nick_taken(name)
        self._set_keys(person, name.keys)
        return None

    def _change_person(self, change: PersonChanged) -> Refused | None:
        """Log a user in or out. An account takes its nick from anyone who has none."""
        user, person, keys = change.author, change.person, change.name.keys
        others = {self._holders.get(key, person) for key in keys} - {person, user}
        if not others.isdisjoint(self._devices):
            return nick_taken(change.name)
        change.displaced = tuple(sorted(others))
        for other in others:
            self._set_keys(other, ())
        self._be(user, person)
        self._set_keys(person, keys)
        return None

    def _person(self, user: str) -> str:
        return self._accounts.get(user, user)

    def _be(self, user: str, person: str) -> None:
        """Let a user be this person. A person without a user any more holds no nick."""
        before = self._person(user)
        if before == person:
            return
        if before == user:
            self._set_keys(user, ())
        else:
            del self._accounts[user]
            self._devices[before].discard(user)
            if not self._devices[before]:
                del self._devices[before]
                self._set_keys(before, ())
        if person != user:
            self._accounts[user] = person
            self._devices.setdefault(person, set()).add(user)

    def _enter(self, draft: Entered) -> Refused | None:
        user, room = draft.author, draft.room
        makes = room not in self._members
        if makes and len(self._members) >= self._max_rooms:
            return too_many_rooms()
        if draft.most and self._members.get(room, 0) >= draft.most:
            return room_full(draft.room_name)
        self._set_rooms(user, (*self._rooms_but(user, room, draft.leaving), room))
        if makes and draft.creator:
            self.make(room, draft.creator)
        return None

    def _rooms_but(self, user: str, *others: str | None) -> tuple[str, ...]:
        return tuple(room for room in self._rooms.get(user, ()) if room not in others)

    def _set_keys(self, person: str, keys: tuple[str, ...]) -> None:
        for key in self._keys.pop(person, ()):
            del self._holders[key]
        if keys:
            self._keys[person] = keys
            self._holders.update(dict.fromkeys(keys, person))

    def _set_rooms(self, user: str, rooms: tuple[str, ...]) -> None:
        before = self._rooms.pop(user, ())
        if rooms:
            self._rooms[user] = rooms
        for room in rooms:
            self._members[room] = self._members.get(room, 0) + 1
        for room in before:
            self._members[room] -= 1
            self._let_go(room)

    def _let_go(self, room: str) -> None:
        """Remove a room that has no members and is not kept. A kept one has no creator any more."""
        if not self._members[room]:
            self._made.pop(room, None)
            if room not in self._kept:
                del self._members[room]
