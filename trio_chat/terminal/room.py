"""What the terminal client knows of a room that it is in."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from attrs import define, field

from trio_chat.terminal.presence import Presence

if TYPE_CHECKING:
    from trio_chat.terminal.lines import Line

# Lines of a room that are kept for when it comes on screen.
MOST_LINES = 200


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
