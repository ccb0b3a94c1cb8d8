"""The table of claims: whether a nick may be taken, and a room made, decided in the log's order.

A claim is a draft that may turn out impossible. The table holds the keys of all nicks and the
members of all rooms, for these decide what others may claim.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trio_chat.errors import Code, Refused
from trio_chat.protocol.events import CLAIMS, Entered, Exited, Gone, NickChanged

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trio_chat.protocol.events import Entry
    from trio_chat.protocol.names import Name
    from trio_chat.roomlog import Result

KINDS: Final = frozenset[type](CLAIMS)


class Claims:
    """Decides claims, and takes note of those it grants.

    No two users hold the same key of a nick. A room exists if it has members, or is a kept one.
    None is made once there are `max_rooms`, one that its last member is just leaving among them.
    """

    def __init__(self, max_rooms: int) -> None:
        """No users, and no kept rooms."""
        self._max_rooms = max_rooms
        self._kept: frozenset[str] = frozenset()
        # Keys of nicks to their users, and users to the keys of their nicks.
        self._holders: dict[str, str] = {}
        self._keys: dict[str, tuple[str, ...]] = {}
        # Rooms to the number of their members, and users to the rooms they are in.
        self._members: dict[str, int] = {}
        self._rooms: dict[str, tuple[str, ...]] = {}

    def allow(self, max_rooms: int, kept: Iterable[str]) -> None:
        """Go by these rules from now on; `kept` are the rooms that exist without members too."""
        self._max_rooms = max_rooms
        dropped, self._kept = self._kept, frozenset(kept)
        for room in self._kept:
            self._members.setdefault(room, 0)
        for room in dropped:
            self._let_go(room)

    def in_use(self, room: str) -> bool:
        """Whether a room exists: it has members, or is a kept one."""
        return room in self._members

    def restore(self, users: Iterable[tuple[str, Iterable[str], Iterable[str]]]) -> None:
        """Go by these users, who were granted all this before, and forget all others.

        Of each its id, the keys of its nick, and its rooms.
        """
        for user in {*self._keys, *self._rooms}:
            self._set_keys(user, ())
            self._set_rooms(user, ())
        for user, keys, rooms in users:
            self._set_keys(user, tuple(keys))
            self._set_rooms(user, tuple(rooms))

    def decide_all(self, drafts: Sequence[Entry]) -> Sequence[Result]:
        """Decide the claims among drafts, in order: each draft, or why it is refused.

        If none is refused, `drafts` itself is given back.
        """
        # Mostly it is messages alone, and this look at a thousand of them takes 16 microseconds.
        if KINDS.isdisjoint(map(type, drafts)):
            return drafts
        results: list[Result] = [self.decide(draft) or draft for draft in drafts]
        return results if any(isinstance(result, Refused) for result in results) else drafts

    def decide(self, draft: Entry) -> Refused | None:
        """Grant a claim, or say why it is refused, which changes nothing.

        A draft that is no claim is granted.
        """
        match draft:
            case NickChanged(author=user, name=name):
                return self._change_nick(user, name)
            case Entered(author=user, room=room, leaving=leaving):
                return self._enter(user, room, leaving)
            case Exited(author=user, room=room):
                self._set_rooms(user, self._rooms_but(user, room))
            case Gone(author=user):
                self._set_keys(user, ())
                self._set_rooms(user, ())
            case _:
                pass
        return None

    def _change_nick(self, user: str, name: Name) -> Refused | None:
        if any(self._holders.get(key, user) != user for key in name.keys):
            shown = name.display
            return Refused(
                f"the nick {shown} is taken, or looks like one that is: please choose another",
                code=Code.NICK_TAKEN,
            )
        self._set_keys(user, name.keys)
        return None

    def _enter(self, user: str, room: str, leaving: str | None) -> Refused | None:
        if room not in self._members and len(self._members) >= self._max_rooms:
            return Refused(
                "there are too many rooms; please join one that exists (/rooms lists them)",
                limit="max_rooms",
                code=Code.TOO_MANY_ROOMS,
            )
        self._set_rooms(user, (*self._rooms_but(user, room, leaving), room))
        return None

    def _rooms_but(self, user: str, *others: str | None) -> tuple[str, ...]:
        return tuple(room for room in self._rooms.get(user, ()) if room not in others)

    def _set_keys(self, user: str, keys: tuple[str, ...]) -> None:
        for key in self._keys.pop(user, ()):
            del self._holders[key]
        if keys:
            self._keys[user] = keys
            self._holders.update(dict.fromkeys(keys, user))

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
        """Have a room exist no more, if nothing holds it."""
        if not self._members[room] and room not in self._kept:
            del self._members[room]
