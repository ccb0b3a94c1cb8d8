"""The windows that a person can bring on screen: rooms, private talks, and a first one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import define, field

from trio_chat.protocol.events import Joined, Left
from trio_chat.protocol.names import ANONYMOUS
from trio_chat.protocol.text import casefolded
from trio_chat.terminal.log import Log, LogLine
from trio_chat.terminal.presence import Presence

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from trio_chat.protocol.events import Identified, Renamed, Standing
    from trio_chat.terminal.lines import Line

# Members of a room that are known by name, and nicks of people who have spoken.
MOST_MEMBERS: Final = 10_000
MOST_SPOKE: Final = 1_000
# Private talks that are open at once. The next one closes the first that has no news.
MOST_TALKS: Final = 50


@define(eq=False)
class Window:
    """A log with a name. `unread` counts messages since the window was last on screen."""

    name: str
    log: Log = field(factory=Log)
    unread: int = 0
    # Whether one of the unread messages is private or has this person's nick.
    called: bool = False

    def add(self, seconds: float, line: Line, *, first_new: bool = False) -> None:
        """Add a line of this time that shows no persistent entry; see `Log.append`."""
        self.log.append(LogLine(seconds, line), first_new=first_new)

    def clear(self) -> None:
        """Forget all lines."""
        self.log.clear()


@define(eq=False)
class Room(Window):
    """A room that this client is in; `key` is its casefolded name."""

    key: str = ""
    topic: str = ""
    # The role and mute of this person, if the room has rules.
    standing: Standing | None = None
    # Nicks by client id, and how many members the server has not named.
    members: dict[str, str] = field(factory=dict)
    more: int = 0
    # The position of the newest entry that was shown, or that was there before this client joined.
    # It is 0 if there was none, and `None` if the server may have begun to count anew.
    position: int | None = 0
    # The oldest position that the server can give; `None` until a request for older entries says.
    beginning: int | None = None
    presence: Presence = field(factory=Presence)
    # Nicks of people who have spoken, the latest last.
    spoke: dict[str, None] = field(factory=dict)

    @property
    def has_older(self) -> bool:
        """Whether the server may have entries that are older than the log."""
        return self.beginning is None or self.log.oldest > self.beginning

    def move(self, event: Joined | Left | Renamed) -> str | None:
        """Take in a join, a leave or a new nick; gives the nick before, if it was known."""
        old = self.members.pop(event.author, None)
        if isinstance(event, Left):
            self.more -= old is None and self.more > 0
        elif old is not None or len(self.members) < MOST_MEMBERS:
            self.members[event.author] = event.nick
        elif isinstance(event, Joined):
            self.more += 1
        return old

    def identify(self, event: Identified) -> None:
        """Take in that a member has logged in or out, and so has another id."""
        if self.members.pop(event.old, None) is not None or len(self.members) < MOST_MEMBERS:
            self.members[event.author] = event.nick

    def clear(self) -> None:
        """Forget all lines; the server may be asked for them again."""
        super().clear()
        self.beginning = None

    def note_earlier_speakers(self, nicks: Iterable[str]) -> None:
        """Take in nicks that have spoken before all known ones; the oldest comes first."""
        earlier: dict[str, None] = {}
        for nick in nicks:
            earlier.pop(nick, None)
            earlier[nick] = None
        known = self.spoke
        if len(known) < MOST_SPOKE:
            self.spoke = {nick: None for nick in earlier if nick not in known} | known

    def note_speaker(self, nick: str) -> None:
        """Make this nick the latest of those that have spoken."""
        self.spoke.pop(nick, None)
        self.spoke[nick] = None
        if len(self.spoke) > MOST_SPOKE:
            del self.spoke[next(iter(self.spoke))]


@define(eq=False)
class Talk(Window):
    """A private talk with the client `client`; its name is that client's nick.

    `client` is empty until the first message has reached somebody.
    """

    client: str = ""
    # Whether the person has left all rooms that this client is in.
    gone: bool = False
    # The text that goes to another person with this nick if it is typed again.
    asked: str = ""


class Windows:
    """The open windows in their order, and the one on screen."""

    def __init__(self) -> None:
        # On screen while no other window is open.
        self.home = Window("no room")
        self.current: Window = self.home
        self.rooms: dict[str, Room] = {}
        # The number of messages that called this person: by their nick, or privately.
        self.calls = 0
        self._open: list[Window] = []

    def __iter__(self) -> Iterator[Window]:
        return iter(self._open)

    def __len__(self) -> int:
        return len(self._open)

    @property
    def talks(self) -> list[Talk]:
        """The open private talks."""
        return [window for window in self._open if isinstance(window, Talk)]

    def add(self, window: Room | Talk) -> None:
        """Open a window after the others."""
        if isinstance(window, Room):
            self.rooms[window.key] = window
        elif len(talks := self.talks) >= MOST_TALKS:
            closable = [talk for talk in talks if talk is not self.current]
            self.close(next((talk for talk in closable if not talk.unread), closable[0]))
        self._open.append(window)

    def close(self, window: Window) -> None:
        """Close a window, unless it is closed; if it was on screen, the one before it is now."""
        if window not in self._open:
            return
        at = self._open.index(window)
        self._open.remove(window)
        if isinstance(window, Room):
            del self.rooms[window.key]
        if window is self.current:
            self.switch(self._open[max(0, at - 1)] if self._open else self.home)

    def switch(self, window: Window) -> None:
        """Bring a window on screen; the one that was there has been read."""
        if window is not self.current:
            self.current.log.unmark()
        self.current = window
        window.unread, window.called = 0, False

    def count(self, window: Window, *, called: bool) -> bool:
        """Count a message of another person; gives whether it is the first that is unread."""
        self.calls += called
        if window is self.current:
            return False
        window.unread += 1
        window.called |= called
        return window.unread == 1

    def next(self) -> Window:
        """The window after the one on screen, and around the end."""
        return [*self._others(), self.current][0]

    def previous(self) -> Window:
        """The window before the one on screen, and around the end."""
        return [self.current, *self._others()][-1]

    def _others(self) -> list[Window]:
        """The windows that are not on screen, from there on and around the end."""
        if self.current not in self._open:
            return self._open
        at = self._open.index(self.current)
        return self._open[at + 1 :] + self._open[:at]

    def numbered(self, number: int) -> Window | None:
        """The window with this number; the first one has 1."""
        return self._open[number - 1] if 0 < number <= len(self._open) else None

    def number(self, window: Window) -> int:
        """The number of an open window."""
        return self._open.index(window) + 1

    def next_with_news(self) -> Window | None:
        """The next window with unread messages; windows that call this person come first."""
        news = [window for window in self._others() if window.unread]
        return next((window for window in news if window.called), news[0] if news else None)

    # --- people -----------------------------------------------------------------------------------

    def nick_of(self, client: str) -> str | None:
        """The nick of a client who is in one of these rooms."""
        nicks = (room.members.get(client) for room in self.rooms.values())
        return next((nick for nick in nicks if nick is not None), None)

    def client_called(self, nick: str) -> str | None:
        """The id of the client who has this nick, if they are in one of these rooms."""
        if nick == ANONYMOUS:
            return None
        wanted = casefolded(nick)
        for room in self.rooms.values():
            for client, known in room.members.items():
                if casefolded(known) == wanted:
                    return client
        return None

    def talk_called(self, nick: str) -> Talk | None:
        """The open talk with somebody who had this nick last."""
        wanted = casefolded(nick)
        return next((talk for talk in self.talks if casefolded(talk.name) == wanted), None)

    def talk_with(self, client: str) -> Talk | None:
        """The open talk with this client."""
        return next((talk for talk in self.talks if talk.client == client), None)
