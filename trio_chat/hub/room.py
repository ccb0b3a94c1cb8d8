"""One room as the hub knows it: its members, audience, topic and newest entries."""

from __future__ import annotations

import sys
import time
from itertools import islice
from typing import TYPE_CHECKING

import trio

from trio_chat.hub.listing import Listing
from trio_chat.moderation.pace import Pace
from trio_chat.moderation.rules import RoomRules
from trio_chat.protocol.events import Member, MembersListed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from trio_chat.config.settings import Settings
    from trio_chat.dialects import Encoding
    from trio_chat.hub.recent import Newest
    from trio_chat.hub.session import Session
    from trio_chat.hub.user import User
    from trio_chat.protocol.events import Acted, Said, TopicSet
    from trio_chat.roomlog.logged_room import LoggedRoom

# Members in one list for a document, at most. The list says how many more there are.
MEMBERS_LISTED = 1_000
# Bytes of a member in a document beside its nick: a client id and punctuation.
MEMBER_BYTES = 48
NICK_BYTES_A_CHARACTER = 4


def listable(settings: Settings, rooms: int = 1) -> int:
    """Return the most members of a list with which this many rooms' lists fill half an outbox."""
    member = MEMBER_BYTES + NICK_BYTES_A_CHARACTER * settings.nick_chars
    return min(MEMBERS_LISTED, max(1, settings.outbox_bytes // 2 // member // rooms))


def most_listed(encoding: Encoding, settings: Settings) -> int:
    """Return the most members of a list for a client of this encoding that has joined."""
    return sys.maxsize if encoding.lists_all else listable(settings)


class Room:
    """One room, shown under the name that its first member gave it.

    Folding entries changes `members`, `topic`, `rules` and `position`. `audience` has the sessions
    that hear deliveries, by encoding, because an entry is rendered once for each encoding. A
    session whose user ignores somebody has an encoding of its own. Lagging and detached users are
    not in it.
    """

    __slots__ = (
        "_by_nick",
        "_twins",
        "audience",
        "changed",
        "made",
        "members",
        "name",
        "pace",
        "position",
        "recent",
        "rules",
        "shown",
        "topic",
    )

    def __init__(self, name: str, shown: str, snapshot: LoggedRoom) -> None:
        self.name = name
        self.shown = shown
        # When it was made, in seconds since 1970: its history may be older.
        self.made = time.time()
        self.topic = snapshot.topic
        # When its people have spoken, if the rules ask for that.
        self.pace: Pace | None = None
        self.rule(snapshot.rules.fields)
        self.members: dict[User, None] = {}
        self._by_nick = Listing(self.members, _nick)
        # The number of members whose person another member is, too.
        self._twins = 0
        self.audience: dict[Encoding, dict[Session, None]] = {}
        # The newest position in the log that is folded.
        self.position = snapshot.position
        # The position of the entry that changed older entries last, or 0. Entries that were read
        # from the log before that are out of date.
        self.changed = 0
        # The newest entries, as many as `trio_chat.hub.recent` keeps at hand.
        self.recent: Newest | None = None

    def rule(self, fields: Mapping[str, str]) -> None:
        """Take these fields as the rules from now on."""
        self.rules = RoomRules.of(fields)
        may_be_slow = self.rules is not None and self.rules.may_be_slow
        self.pace = (self.pace or Pace()) if may_be_slow else None

    def note(self, entries: Sequence[Said | Acted | TopicSet]) -> None:
        """Note who has spoken now, if the room is slow."""
        if self.pace is not None:
            now = trio.current_time()
            for entry in entries:
                ids = (entry.author, entry.device) if entry.device else (entry.author,)
                self.pace.note(ids, now)

    @property
    def is_followed(self) -> bool:
        """Whether a member is in this process. A shared log brings it the entries of such rooms."""
        return any(user.is_here for user in self.members)

    @property
    def is_listed(self) -> bool:
        """Whether people outside may see that there is this room."""
        return self.rules is None or self.rules.setting("listed") == "yes"

    def enter(self, user: User) -> bool:
        """Add a member. Return whether its person is new in the room."""
        self.members[user] = None
        self._by_nick.add(user)
        return not self._count_twin(user, 1)

    def leave(self, user: User) -> bool:
        """Remove a member. Return whether its person has left the room.

        A change of the nick or person removes and adds it, too.
        """
        self._by_nick.remove(user)
        del self.members[user]
        return not self._count_twin(user, -1)

    def _count_twin(self, user: User, change: int) -> bool:
        """Return whether another member is the same person, and count that."""
        if user.account is None or self.members.keys().isdisjoint(user.others):
            return False
        self._twins += change
        return True

    def listen(self, session: Session) -> None:
        """Let the session hear deliveries from now on."""
        self.audience.setdefault(session.ears or session.encoding, {})[session] = None

    def unlisten(self, session: Session) -> None:
        """Let the session hear no more deliveries."""
        encoding = session.ears or session.encoding
        listeners = self.audience.get(encoding)
        if listeners is not None and session in listeners:
            del listeners[session]
            if not listeners:
                del self.audience[encoding]

    def hears(self, session: Session) -> bool:
        """Whether the session hears deliveries."""
        return session in self.audience.get(session.ears or session.encoding, ())

    @property
    def people(self) -> int:
        """The number of persons among the members."""
        return len(self.members) - self._twins

    def first(self, most: int) -> list[User]:
        """Return members by nick, with at most `most` persons among them."""
        return self._by_nick.first(most + self._twins)

    def listed(self, most: int) -> MembersListed:
        """Return the members of the room, sorted by nick, at most `most`."""
        users = self.first(most)
        nicks = {user.person: user.nick for user in users}
        members = [Member(person, nick) for person, nick in islice(nicks.items(), most)]
        more = self.people - len(members)
        return MembersListed(self.name, self.shown, members, more)


def _nick(user: User) -> tuple[str, str, str]:
    """Return a member's key for sorting. Several members may be anonymous, or one person."""
    return user.nick, user.person, user.id
