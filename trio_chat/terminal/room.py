"""What the terminal client knows of a room that it is in."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from attrs import define, field

from trio_chat.protocol.events import Joined, Left
from trio_chat.terminal.presence import Presence

if TYPE_CHECKING:
    from trio_chat.protocol.events import Renamed
    from trio_chat.terminal.lines import Line

# Lines of a room that are kept for when it comes on screen.
MOST_LINES = 200
# Members that are known by name, and nicks of those who have spoken.
MOST_MEMBERS = 10_000
MOST_SPOKE = 1_000


@define
class RoomView:
    """A room that this client is in."""

    name: str
    topic: str = ""
    # Nicks by client id, and how many more there are.
    members: dict[str, str] = field(factory=dict)
    more: int = 0
    lines: deque[Line] = field(factory=lambda: deque(maxlen=MOST_LINES))
    # Messages, and lines, since it was on screen last; and whether one names this client.
    unread: int = 0
    unseen: int = 0
    called: bool = False
    position: int = 0
    day: tuple[int, ...] = ()
    presence: Presence = field(factory=Presence)
    # Nicks of those who have spoken, the latest last.
    spoke: dict[str, None] = field(factory=dict)

    def move(self, event: Joined | Left | Renamed) -> str | None:
        """Take in who came, went or has a new nick; gives the nick before, if it was known."""
        old = self.members.pop(event.author, None)
        if isinstance(event, Left):
            self.more -= old is None and self.more > 0
        elif old is not None or len(self.members) < MOST_MEMBERS:
            self.members[event.author] = event.nick
        elif isinstance(event, Joined):
            self.more += 1
        return old

    def note_speaker(self, nick: str) -> None:
        """Have this nick be the latest of those who have spoken."""
        self.spoke.pop(nick, None)
        self.spoke[nick] = None
        if len(self.spoke) > MOST_SPOKE:
            del self.spoke[next(iter(self.spoke))]
