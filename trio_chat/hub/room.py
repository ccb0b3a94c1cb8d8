"""One room as the hub knows it: its members, its audience, its topic and its last entries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio_chat.hub.listing import Listing
from trio_chat.protocol.events import Member, MembersListed

if TYPE_CHECKING:
    from collections import deque

    from trio_chat.config.settings import Settings
    from trio_chat.dialects import Encoding
    from trio_chat.hub.session import Session
    from trio_chat.hub.user import User
    from trio_chat.protocol.events import PersistentEntry
    from trio_chat.roomlog import LoggedRoom

# Members in one list for a program; it may ask for no more of them, but is told how many they are.
MEMBERS_LISTED = 1_000
# Bytes of a member in a document beside its nick: a client id, and the signs around them.
MEMBER_BYTES = 48
NICK_BYTES_A_CHARACTER = 4


def listable(settings: Settings, rooms: int = 1) -> int:
    """The most members of a list, so that the lists of so many rooms fill half an outbox."""
    member = MEMBER_BYTES + NICK_BYTES_A_CHARACTER * settings.nick_chars
    return min(MEMBERS_LISTED, max(1, settings.outbox_bytes // 2 // member // rooms))


class Room:
    """One room, by the name its first member gave it.

    Folding entries changes `members`, `topic` and `position`. `audience` has the sessions that hear
    what is delivered now, by encoding, because an entry is rendered once an encoding. It leaves out
    slow consumers and those without a connection.
    """

    __slots__ = (
        "_by_nick",
        "audience",
        "members",
        "name",
        "position",
        "recent",
        "recent_bytes",
        "shown",
        "topic",
    )

    def __init__(self, name: str, shown: str, snapshot: LoggedRoom) -> None:
        self.name = name
        self.shown = shown
        self.topic = snapshot.topic
        self.members: dict[User, None] = {}
        self._by_nick = Listing(self.members, _nick)
        self.audience: dict[Encoding, dict[Session, None]] = {}
        # The newest position in the log as far as it is folded.
        self.position = snapshot.position
        # The newest entries, as many as `trio_chat.hub.recent` has at hand.
        self.recent: deque[PersistentEntry] | None = None
        self.recent_bytes = 0

    def enter(self, user: User) -> None:
        """Make a user a member."""
        self.members[user] = None
        self._by_nick.add(user)

    def leave(self, user: User) -> None:
        """Make a member none; before its nick changes too, and `enter` after that."""
        self._by_nick.remove(user)
        del self.members[user]

    def listen(self, session: Session) -> None:
        """Let the session hear what is delivered from now on."""
        self.audience.setdefault(session.encoding, {})[session] = None

    def unlisten(self, session: Session) -> None:
        """Let it hear no more."""
        listeners = self.audience.get(session.encoding)
        if listeners is not None and session in listeners:
            del listeners[session]
            if not listeners:
                del self.audience[session.encoding]

    def hears(self, session: Session) -> bool:
        """Whether the session hears what is delivered."""
        return session in self.audience.get(session.encoding, ())

    def listed(self, most: int) -> MembersListed:
        """The members of the room, sorted by nick, at most so many."""
        members = [Member(user.id, user.nick) for user in self._by_nick.first(most)]
        return MembersListed(self.name, self.shown, members, len(self.members) - len(members))

    def since(self, position: int) -> list[PersistentEntry]:
        """The recent entries after a position, oldest first; perhaps not from the first one on."""
        missing = self.position - position
        if missing <= 0 or self.recent is None:
            return []
        if missing >= len(self.recent):
            return list(self.recent)
        return [self.recent[index] for index in range(-missing, 0)]


def _nick(user: User) -> tuple[str, str]:
    """A member's place in a list: several may be anonymous."""
    return user.nick, user.id
