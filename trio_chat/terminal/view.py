"""The view: this client's knowledge of the chat. Events change it, and a screen shows it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from attrs import evolve

from trio_chat.protocol.commands import MAX_POSITION
from trio_chat.protocol.events import (
    PERSISTENT,
    SPOKEN,
    Departed,
    Done,
    Goodbye,
    Held,
    Identified,
    Invited,
    Joined,
    Left,
    LoggedIn,
    LoggedOut,
    MembersListed,
    Missed,
    NickTaken,
    Notice,
    PinShown,
    Refusal,
    Removed,
    Renamed,
    Reported,
    RoomsListed,
    Standing,
    Told,
    TopicSet,
    Welcomed,
)
from trio_chat.protocol.names import ANONYMOUS, SERVER
from trio_chat.remote import Disconnected, Resumed
from trio_chat.terminal import lines
from trio_chat.terminal.log import LogLine
from trio_chat.terminal.mention import mentions
from trio_chat.terminal.talks import Talks
from trio_chat.terminal.window import Room, Windows

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio_chat.protocol.events import Event, PersistentEntry
    from trio_chat.remote.inbox import RemoteEvent
    from trio_chat.terminal.lines import Line
    from trio_chat.terminal.window import Talk, Window

# Joins and leaves that one line may gather.
MOST_GATHERED: Final = 1_000


class View:
    """A fold over events: `take` each in its order, then show `windows`.

    `me` is this client's id, which changes if the server takes the client for a new one.
    `greeting` is the operator's text for new clients. `now` gives the time in seconds since 1970.
    """

    def __init__(
        self, me: str, nick: str, greeting: str = "", now: Callable[[], float] = time.time
    ) -> None:
        self.me = me
        self.nick = nick
        self.windows = Windows()
        self.talks = Talks(self.windows, now)
        self.connected = True
        # Names of the rooms on the server.
        self.known_rooms: list[str] = []
        # Whether older entries are being fetched, and whether a typed line waits for long.
        self.fetching = False
        self.slow = False
        # Shown in the first window, once.
        self._greeting: str | None = greeting
        self.now = now
        self._handlers: dict[type, Callable[[Any], None]] = {
            **dict.fromkeys(PERSISTENT, self._entry),
            **dict.fromkeys((Joined, Left, Renamed), self._presence),
            Identified: self._identified,
            LoggedIn: self._logged_in,
            LoggedOut: self._logged_out,
            Told: self._told,
            Invited: self._invited,
            Held: self._held,
            Welcomed: self._welcomed,
            Departed: self._departed,
            Standing: self._standing,
            MembersListed: self._listed,
            NickTaken: self._nick_taken,
            Missed: self._missed,
            PinShown: self._pin_shown,
            Reported: self._reported,
            Refusal: lambda event: self.fail(event.reason),
            Notice: lambda event: self.show(lines.notice(self.now(), event)),
            Disconnected: self._disconnected,
            Resumed: self._resumed,
        }

    @property
    def current(self) -> Window:
        """The window on screen."""
        return self.windows.current

    def begin(self) -> None:
        """Tell a person who is in no room what they can do."""
        self._greet()
        named = f"you are called {self.nick}"
        if self.nick == ANONYMOUS:
            named += ", as everyone is at first: /nick NAME changes that"
        self.remark(named)
        self.remark("you are in no room: /join ROOM goes into one, /rooms lists them")
        self.remark("/help lists all commands")

    def _greet(self) -> None:
        """Show the server's greeting, and the zone that all times are in; both only once."""
        if self._greeting is None:
            return
        self.show([lines.text(said) for said in self._greeting.splitlines()])
        self.remark(f"all times are local: {lines.zone(self.now())}")
        self._greeting = None

    # --- what the person does ---------------------------------------------------------------------

    def switch(self, window: Window) -> None:
        """Bring a window on screen."""
        self._flush_presence(window)
        self.windows.switch(window)

    def open_talk(self, nick: str) -> Talk:
        """Bring the private talk with the person who has this nick on screen."""
        talk = self.talks.open(nick)
        self.switch(talk)
        return talk

    def close(self, window: Window) -> None:
        """Close a window."""
        self.windows.close(window)
        self.switch(self.current)

    def answered(self, event: Event, typed: str) -> None:
        """Take the first answer to a typed line."""
        match event:
            case Told():
                self.talks.sent_by_command(typed.split(maxsplit=2)[1], self.nick, event)
            case Held(author=author) if author != self.me:
                self.remark(event.done.text)
            case Invited():
                self.remark(event.done.text)
            case RoomsListed(names=[]):
                self.known_rooms = []
                self.remark("there are no rooms yet; /join makes one")
            case RoomsListed(names=names):
                self.known_rooms = names
                self.show(lines.answer(event))
            case MembersListed():
                self.show(lines.answer(event))
            case _ if type(event) not in (*self._handlers, Done, Goodbye):
                # Events of other kinds are shown as they come.
                self.show(lines.answer(event))

    def show(self, shown: Sequence[Line]) -> None:
        """Show lines in the window on screen."""
        for line in shown:
            self.current.add(self.now(), line)

    def fail(self, text: str, window: Window | None = None) -> None:
        """Say that something could not be done, in a window or on screen."""
        (window or self.current).add(self.now(), lines.fault(self.now(), text))

    def remark(self, text: str, window: Window | None = None) -> None:
        """Show a quiet line, in a window or on screen."""
        (window or self.current).add(self.now(), lines.quiet(self.now(), text))

    # --- what happens -----------------------------------------------------------------------------

    def take(self, event: RemoteEvent) -> None:
        """Take an event in. Lists are shown only as answers (see `answered`)."""
        handler = self._handlers.get(type(event))
        if handler is not None:
            handler(event)

    def fill(self, room: Room, entries: Sequence[PersistentEntry], asked: int) -> None:
        """Take the newest entries of a room that was just joined; the server was asked for so many.

        The room may have some of them already.
        """
        self._prepend(room, entries, asked)
        if not room.position:
            text = "nothing has been said here yet; what you type is said to everyone in the room"
            self.remark(text, room)

    def take_older(self, room: Room, entries: Sequence[PersistentEntry], asked: int) -> None:
        """Take entries from before the room's log; the server was asked for so many."""
        self._prepend(room, entries, asked)
        if len(entries) < asked:
            text = "the server has no older messages of this room"
        elif room.log.is_full:
            text = "older messages do not fit here; /search finds them"
        else:
            return
        when = room.log.oldest_time or self.now()
        room.log.prepend([LogLine(when, lines.quiet(when, text))])

    def _prepend(self, room: Room, entries: Sequence[PersistentEntry], asked: int) -> None:
        end = room.log.oldest or (MAX_POSITION if room.position is None else room.position + 1)
        # Entries from there on are shown, or come as events, which may call this person.
        older = [entry for entry in entries if entry.position < end][-asked:]
        room.log.prepend(
            # The first one says from where on there may be more.
            [self._logged(entry) for entry in older if entry.author or entry is older[0]]
        )
        room.note_earlier_speakers(entry.nick for entry in older if entry.author)
        if room.position is None and older:
            room.position = older[-1].position
        if len(entries) < asked:
            room.beginning = room.log.oldest

    def forget_positions(self) -> None:
        """The server has another room log: no older entries belong above those that are shown."""
        for room in self.windows.rooms.values():
            room.beginning = MAX_POSITION

    def flush_presence(self) -> None:
        """Show who came and went in the room on screen."""
        self._flush_presence(self.current)

    @property
    def gathering(self) -> bool:
        """Whether joins and leaves wait for `flush_presence`."""
        return isinstance(self.current, Room) and bool(self.current.presence)

    def _entry(self, entry: PersistentEntry) -> None:
        if entry.room == SERVER:  # its operators read it wherever they are
            text = f"{entry.nick} {entry.text} [A{entry.position}]"
            self.show(lines.notice(self.now(), Notice(text)))
            return
        room = self.windows.rooms.get(entry.room)
        if room is None or entry.position <= (room.position or 0):
            return
        room.position = entry.position
        self._flush_presence(room)
        if isinstance(entry, TopicSet):
            room.topic = entry.text
        if isinstance(entry, Removed) and not entry.undoes:
            room.log.remove(entry.concerns)
        room.note_speaker(entry.nick)
        first_new = False
        if entry.author != self.me and isinstance(entry, SPOKEN):
            first_new = self.windows.count(room, called=mentions(entry.text, self.nick))
        room.log.append(self._logged(entry), first_new=first_new)

    def _logged(self, entry: PersistentEntry) -> LogLine:
        called = entry.author != self.me and mentions(entry.text, self.nick)
        return LogLine(entry.time, lines.entry(entry, called=called), entry.position)

    def _held(self, event: Held) -> None:
        text = lines.said(event) if event.author == self.me else event.news
        if text:
            self.remark(text, self.windows.rooms.get(event.room))

    def _presence(self, event: Joined | Left | Renamed) -> None:
        room = self.windows.rooms.get(event.room)
        if room is None:
            return
        old = room.move(event)
        if event.author == self.me:
            return
        # In a room that is not on screen these are gathered until somebody says something.
        if len(room.presence) >= MOST_GATHERED:
            self._flush_presence(room)
        match event:
            case Joined():
                room.presence.add(event.author, None, event.nick)
            case Left():
                room.presence.add(event.author, event.nick, None)
            case _:
                room.presence.add(event.author, old or event.old, event.nick)
        self.talks.follow([event.author])

    def _identified(self, event: Identified) -> None:
        room = self.windows.rooms.get(event.room)
        if room is None:
            return
        room.identify(event)
        self.talks.identify(event.old, event.author)
        if event.old_nick != event.nick:
            room.presence.add(event.author, event.old_nick, event.nick)
        self.talks.follow([event.author])

    def _logged_in(self, event: LoggedIn) -> None:
        again = event.person == self.me
        self._become(event)
        if again:
            self.remark("your password is changed: your other devices have to log in again")
        else:
            self.remark(f"you are logged in as {event.nick}")
        if event.recovery:
            self.remark(
                f"your recovery code is {event.recovery}: keep it, as it is shown only now. With "
                f"/recover {event.nick} it lets you in if you forget your password"
            )

    def _logged_out(self, event: LoggedOut) -> None:
        self._become(event)
        self.remark("you are logged out")

    def _become(self, event: LoggedIn | LoggedOut) -> None:
        """Be another person from now on, in all rooms."""
        for room in self.windows.rooms.values():
            room.identify(Identified(room.key, event.person, event.nick, self.me, self.nick))
        self.me, self.nick = event.person, event.nick

    def _flush_presence(self, window: Window) -> None:
        if isinstance(window, Room) and (text := window.presence.text()):
            self.remark(text, window)

    def _welcomed(self, event: Welcomed) -> None:
        members = {member.client: member.nick for member in event.members}
        room = Room(
            event.room_name,
            key=event.room,
            topic=event.topic,
            members=members,
            more=event.more,
            position=event.position,
        )
        if event.room in self.windows.rooms:
            self.windows.close(self.windows.rooms[event.room])
        self.windows.add(room)
        self.switch(room)
        self._greet()

    def _departed(self, event: Departed) -> None:
        room = self.windows.rooms.get(event.room)
        if room is not None:
            self.close(room)
            self.talks.follow(room.members)
        if event.reason:
            self.fail(f"you are no longer in {event.room_name}: {event.reason}")
        else:
            self.remark(f"you have left {event.room_name}")
        if not len(self.windows):
            self.remark("you are in no room: /join ROOM goes into one")

    def _standing(self, event: Standing) -> None:
        room = self.windows.rooms.get(event.room)
        if room is None:
            return
        before = room.standing or Standing(event.room, event.room_name, "none")
        room.standing = event
        if event.role != before.role:
            self.remark(f"your role in {room.name}: {event.role}", room)
        if event.muted and evolve(before, role=event.role) != event:
            reason = f": {event.reason}" if event.reason else ""
            self.fail(f"you are {lines.mute(event, self.now())}{reason}", room)
        elif before.muted and not event.muted:
            self.remark("you are not muted any more", room)

    def _listed(self, event: MembersListed) -> None:
        room = self.windows.rooms.get(event.room)
        if room is None:
            return
        before, room.more = room.members, event.more
        room.members = {member.client: member.nick for member in event.members}
        if not room.more:
            self.talks.follow(before)

    def _told(self, event: Told) -> None:
        if event.author != self.me:  # `answered` has this client's own
            self.talks.received(event)

    def _invited(self, event: Invited) -> None:
        if event.author != self.me:
            self.windows.count(self.current, called=True)
            self.remark(lines.said(event))

    def _nick_taken(self, event: NickTaken) -> None:
        self.nick = event.nick
        self.remark(f"you are now {event.nick}")

    def _reported(self, event: Reported) -> None:
        self.show(lines.answer(event))

    def _pin_shown(self, event: PinShown) -> None:
        for line in lines.answer(event):
            self.windows.rooms.get(event.room, self.current).add(self.now(), line)

    def _missed(self, event: Missed) -> None:
        room = self.windows.rooms.get(event.room)
        if room is not None:
            messages = "1 message is" if event.count == 1 else f"{event.count} messages are"
            self.fail(f"{messages} missing here", room)

    def _disconnected(self, event: Disconnected) -> None:
        self.connected = False
        self.remark(f"{event.reason}; connecting again")

    def _resumed(self, event: Resumed) -> None:
        self.connected, was, self.nick = True, self.nick, event.nick
        self.remark("connected again" + (f", as {event.nick}" if event.nick != was else ""))
        for name in [name for name in self.windows.rooms if name not in event.rooms]:
            self._departed(Departed(name, self.windows.rooms[name].name))
        if event.anew:  # the server may have begun to count anew
            for room in self.windows.rooms.values():
                room.position = None
