"""What the hub knows of one room: who is in it, who hears it, its topic and its last entries."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from trio_chat.protocol.events import Member, MembersListed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio_chat.config.settings import Settings
    from trio_chat.dialects import Encoding
    from trio_chat.hub.client import Client
    from trio_chat.protocol.events import PersistentEntry

# Members in one list for a program; it may ask for no more of them, but is told how many they are.
MEMBERS_LISTED = 1_000
# What a member takes in a document beside its nick: a client id, and the signs around them.
MEMBER_BYTES = 48
NICK_BYTES_A_CHARACTER = 4


def listable(settings: Settings, rooms: int = 1) -> int:
    """How many members a list may have, so that those of so many rooms fill half an outbox."""
    member = MEMBER_BYTES + NICK_BYTES_A_CHARACTER * settings.nick_chars
    return min(MEMBERS_LISTED, max(1, settings.outbox_bytes // 2 // member // rooms))


class Room:
    """One room, by the name its first member gave it.

    `members` is what the records applied so far have come to. `audience` is who hears the entries
    delivered now: it follows as joins and leaves are delivered, and leaves out clients that lag. It
    is kept by encoding, because an entry is rendered once an encoding.
    """

    __slots__ = (
        "_recent_limit",
        "audience",
        "base",
        "members",
        "name",
        "position",
        "recent",
        "shown",
        "topic",
    )

    def __init__(self, name: str, shown: str, recent: int) -> None:
        self.name = name
        self.shown = shown
        self.topic = ""
        self.members: dict[Client, None] = {}
        self.audience: dict[Encoding, dict[Client, None]] = {}
        # The newest position delivered, and the one before the first that was; 0 as long as there
        # is none.
        self.position = 0
        self.base = 0
        self._recent_limit = recent
        # Made with the first entry: many rooms never have one, and an empty deque takes 600 bytes.
        self.recent: deque[PersistentEntry] | None = None

    def listen(self, client: Client) -> None:
        """Let the client hear what is delivered from now on."""
        self.audience.setdefault(client.encoding, {})[client] = None

    def unlisten(self, client: Client) -> None:
        """Let it hear no more."""
        # Not only by its encoding, which may have been switched since it began to listen.
        for encoding, listeners in self.audience.items():
            if client in listeners:
                del listeners[client]
                if not listeners:
                    del self.audience[encoding]
                return

    def hears(self, client: Client) -> bool:
        """Whether the client hears what is delivered."""
        return any(client in listeners for listeners in self.audience.values())

    def listed(self, most: int) -> MembersListed:
        """Who is in the room, sorted by nick, at most so many."""
        members = [Member(client.id, client.nick) for client in self.members]
        members.sort(key=lambda member: member.nick)
        return MembersListed(self.name, self.shown, members[:most], max(0, len(members) - most))

    def keep(self, entries: Sequence[PersistentEntry]) -> None:
        """Take note of entries that are being delivered; they stay at hand."""
        if not self.position:
            self.base = entries[0].position - 1
        self.position = entries[-1].position
        if self.recent is None:
            self.recent = deque(maxlen=self._recent_limit)
        self.recent.extend(entries)

    def resize(self, recent: int) -> None:
        """Keep so many recent entries at hand from now on."""
        self._recent_limit = recent
        if self.recent is not None:
            self.recent = deque(self.recent, recent)

    def since(self, position: int) -> list[PersistentEntry]:
        """The recent entries after a position, oldest first; perhaps not from the first one on."""
        missing = self.position - position
        if missing <= 0 or self.recent is None:
            return []
        if missing >= len(self.recent):
            return list(self.recent)
        return [self.recent[index] for index in range(-missing, 0)]
