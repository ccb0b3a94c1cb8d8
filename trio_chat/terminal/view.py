"""What this client knows of the chat, and the lines that each event adds to a person's screen.

One room is on screen. Lines of the others are kept for when it is theirs, and counted.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from trio_chat.protocol.events import (
    SPOKEN,
    Acted,
    Departed,
    EntriesShown,
    HelpShown,
    Joined,
    Left,
    MembersListed,
    Missed,
    NickTaken,
    Notice,
    Refusal,
    Renamed,
    RoomsListed,
    Said,
    Told,
    TopicSet,
    TopicShown,
    Welcomed,
)
from trio_chat.remote import Disconnected, Resumed
from trio_chat.terminal import lines
from trio_chat.terminal.mention import mentions
from trio_chat.terminal.room import RoomView

if TYPE_CHECKING:
    from trio_chat.protocol.events import Event, PersistentEntry
    from trio_chat.remote.inbox import RemoteEvent
    from trio_chat.terminal.lines import Line

# What is an event only to be known; as an answer to a typed line it is shown.
ANSWERS = (RoomsListed, MembersListed, TopicShown, EntriesShown, HelpShown)

# Lines that have been seen and come again when their room comes on screen.
SEEN_AGAIN = 10
# Comings and goings that one line may say.
MOST_GATHERED = 1_000


class View:
    """Takes events as they come; each call gives the lines that are to be shown now."""

    def __init__(self, me: str, nick: str, now: Callable[[], float] = time.time) -> None:
        # This client's id, which changes if it has to come back as a new one.
        self.me = me
        self.nick = nick
        self.rooms: dict[str, RoomView] = {}
        # The room on screen, by its casefolded name.
        self.current: str | None = None
        self.connected = True
        # Names of rooms that there are on the server.
        self.known_rooms: list[str] = []
        self._now = now
        self._handlers: dict[type, Callable[[Any], list[Line]]] = {
            **dict.fromkeys((Said, Acted, TopicSet), self._entry),
            **dict.fromkeys((Joined, Left, Renamed), self._come),
            Told: self._told,
            Welcomed: self._welcomed,
            Departed: self._departed,
            MembersListed: self._listed,
            NickTaken: self._nick_taken,
            Missed: self._missed,
            Refusal: self._refusal,
            Notice: lines.answer,
            Disconnected: self._disconnected,
            Resumed: self._resumed,
        }

    @property
    def room(self) -> RoomView | None:
        """The room on screen."""
        return None if self.current is None else self.rooms[self.current]

    def begun(self) -> list[Line]:
        """What to say to someone who is in no room yet."""
        named = f"you are called {self.nick}"
        if self.nick == "anonymous":
            named += ", as everyone is at first: /nick NAME changes that"
        text = "you are in no room: /join ROOM goes into one, /rooms lists them, /help has the rest"
        return [lines.quiet(self._now(), said) for said in (named, text)]

    # --- what the person does ---------------------------------------------------------------------

    def switch(self, name: str) -> list[Line]:
        """Bring a room on screen: its heading, and what has come since it was there."""
        room = self.rooms[name]
        self._flush_presence(room)
        self.current = name
        count = max(SEEN_AGAIN, room.unseen)
        shown = list(room.lines)[-count:]
        hidden = room.unseen - len(shown)
        earlier = [lines.quiet(self._now(), f"{hidden} lines before these")] if hidden > 0 else []
        room.unread, room.unseen, room.called = 0, 0, False
        return [self._heading(room), *earlier, *shown]

    def neighbour(self, step: int) -> str | None:
        """The room so many places after the one on screen, around the end; `None` without rooms."""
        names = list(self.rooms)
        if not names:
            return None
        return names[(names.index(self.current or names[0]) + step) % len(names)]

    def answered(self, event: Event, typed: str) -> list[Line]:
        """Take the first answer to a typed line, if nothing else says it."""
        match event:
            case Told(text=text):
                to_nick = typed.split(maxsplit=2)[1]
                return [lines.private(self._now(), "you", to_nick, text)]
            case RoomsListed(names=names):
                self.known_rooms = names
                if not names:
                    return [lines.quiet(self._now(), "there are no rooms yet; /join makes one")]
        return lines.answer(event) if isinstance(event, ANSWERS) else []

    def failed(self, text: str) -> list[Line]:
        """Something could not be done."""
        return [lines.fault(self._now(), text)]

    # --- what happens -----------------------------------------------------------------------------

    def take(self, event: RemoteEvent) -> list[Line]:
        """Take an event in; lists are shown where they answer someone (see `answered`)."""
        handler = self._handlers.get(type(event))
        return [] if handler is None else handler(event)

    def fill(self, name: str, entries: list[PersistentEntry]) -> list[Line]:
        """Take the newest entries of a room that has just been joined."""
        if not entries and name in self.rooms:
            text = "nothing has been said here yet; what you type is said to all who are here"
            return self._put(self.rooms[name], lines.quiet(self._now(), text))
        return [line for entry in entries for line in self._entry(entry)]

    def flush_presence(self) -> list[Line]:
        """Say who came and went in the room on screen; there is time for it now."""
        return self._flush_presence(self.room) if self.room is not None else []

    @property
    def gathering(self) -> bool:
        """Whether something waits for `flush_presence`."""
        return self.room is not None and bool(self.room.presence)

    def _entry(self, entry: PersistentEntry) -> list[Line]:
        room = self.rooms.get(entry.room)
        if room is None or entry.position <= room.position:
            return []
        room.position = entry.position
        before = self._flush_presence(room)
        if isinstance(entry, TopicSet):
            room.topic = entry.text
        room.note_speaker(entry.nick)
        own = entry.author == self.me
        called = not own and mentions(entry.text, self.nick)
        if not own and entry.room != self.current and isinstance(entry, SPOKEN):
            room.unread += 1
            room.called |= called
        when = time.localtime(entry.time)[:3]
        if when != (room.day or time.localtime(self._now())[:3]):
            before += self._put(room, lines.day(entry.time))
        room.day = when
        return before + self._put(room, lines.entry(entry, called=called))

    def _come(self, event: Joined | Left | Renamed) -> list[Line]:
        room = self.rooms.get(event.room)
        if room is None:
            return []
        old = room.move(event)
        if event.author == self.me:
            return []
        # Joins and leaves of a room that is not on screen are gathered until something is said.
        full = self._flush_presence(room) if len(room.presence) >= MOST_GATHERED else []
        match event:
            case Joined():
                room.presence.add(event.author, None, event.nick)
            case Left():
                room.presence.add(event.author, event.nick, None)
            case _:
                room.presence.add(event.author, old or event.old, event.nick)
        return full

    def _flush_presence(self, room: RoomView) -> list[Line]:
        text = room.presence.text()
        return self._put(room, lines.quiet(self._now(), text)) if text else []

    def _put(self, room: RoomView, line: Line) -> list[Line]:
        room.lines.append(line)
        if room is self.room:
            return [line]
        room.unseen += 1
        return []

    def _heading(self, room: RoomView) -> Line:
        return lines.heading(room.name, lines.people(len(room.members) + room.more), room.topic)

    def _welcomed(self, event: Welcomed) -> list[Line]:
        members = {member.client: member.nick for member in event.members}
        self.rooms[event.room] = RoomView(event.room_name, event.topic, members, event.more)
        return self.switch(event.room)

    def _departed(self, event: Departed) -> list[Line]:
        self.rooms.pop(event.room, None)
        shown = [lines.quiet(self._now(), f"you have left {event.room_name}")]
        return shown + (self._somewhere() if self.current == event.room else [])

    def _somewhere(self) -> list[Line]:
        """Bring another room on screen, the one on it being left."""
        self.current = None
        if self.rooms:
            return self.switch(list(self.rooms)[-1])
        return [lines.quiet(self._now(), "you are in no room: /join ROOM goes into one")]

    def _listed(self, event: MembersListed) -> list[Line]:
        room = self.rooms.get(event.room)
        if room is not None:
            room.members = {member.client: member.nick for member in event.members}
            room.more = event.more
        return []

    def _told(self, event: Told) -> list[Line]:
        if event.author == self.me:  # its answer says it
            return []
        return [lines.private(self._now(), event.nick, "you", event.text)]

    def _nick_taken(self, event: NickTaken) -> list[Line]:
        self.nick = event.nick
        return [lines.quiet(self._now(), f"you are now {event.nick}")]

    def _refusal(self, event: Refusal) -> list[Line]:
        return [lines.fault(self._now(), event.reason)]

    def _disconnected(self, event: Disconnected) -> list[Line]:
        self.connected = False
        return [lines.quiet(self._now(), f"{event.reason}; connecting again")]

    def _missed(self, event: Missed) -> list[Line]:
        room = self.rooms.get(event.room)
        messages = "1 message is" if event.count == 1 else f"{event.count} messages are"
        text = f"{messages} missing here"
        return [] if room is None else self._put(room, lines.fault(self._now(), text))

    def _resumed(self, event: Resumed) -> list[Line]:
        self.connected, was, self.nick = True, self.nick, event.nick
        text = "connected again" + (f", as {event.nick}" if event.nick != was else "")
        shown = [lines.quiet(self._now(), text)]
        for name in [name for name in self.rooms if name not in event.rooms]:
            shown += self._departed(Departed(name, self.rooms[name].name))
        if event.anew:  # its server may have begun to count anew
            for room in self.rooms.values():
                room.position = 0
        return shown
