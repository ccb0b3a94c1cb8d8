"""The session of a remote client: it lasts from one connection to the next."""

from __future__ import annotations

import random
from contextlib import suppress
from math import inf
from typing import TYPE_CHECKING, TypeVar

import trio
from attrs import define, evolve, field

from trio_chat.errors import ChatClosed, Code, NoConnection, Refused
from trio_chat.protocol.commands import MAX_HISTORY
from trio_chat.protocol.events import (
    KICKED,
    PERSISTENT,
    CommandsListed,
    Departed,
    Done,
    Ended,
    EntriesShown,
    Held,
    Hello,
    Identified,
    LoggedIn,
    LoggedOut,
    Missed,
    NickTaken,
    Refusal,
    Renamed,
    SessionResumed,
    Stopping,
    Welcomed,
)
from trio_chat.protocol.names import ANONYMOUS
from trio_chat.remote.inbox import Disconnected, Inbox, Resumed
from trio_chat.remote.parse import MalformedDocument, parse_event
from trio_chat.remote.rooms import Rooms
from trio_chat.remote.socket import CONNECT_SECONDS, Socket, SocketBroken, open_socket

if TYPE_CHECKING:
    import ssl
    from collections.abc import Collection

    from trio_chat.protocol.events import Event, PersistentEntry, Usage
    from trio_chat.remote.socket import Document

E = TypeVar("E")

# Seconds before the first attempt to connect again. The wait doubles each time, up to the last one.
# Each wait is a random part of it, at least half: the clients of a server should not come at once.
FIRST_WAIT = 0.5
LAST_WAIT = 30.0

# The label of the first event of a connection, which answers no command.
HELLO = "hello"
UNSAID = (Hello, CommandsListed, SessionResumed, Stopping, Done)

# Closes after which the client does not connect again: its own, a takeover, and a kick.
FOR_GOOD = (1000, 1008, KICKED)


@define
class PendingAnswer:
    """The answer that a command waits for; with `echo` it is also an event for the program."""

    echo: bool = False
    done: trio.Event = field(factory=trio.Event)
    event: Event | None = None
    failure: Exception | None = None

    def set(self, event: Event | None, failure: Exception | None = None) -> None:
        """Set the answer; only the first one counts."""
        if not self.done.is_set():
            self.event, self.failure = event, failure
            self.done.set()


class RemoteSession:
    """Sends commands, receives answers and events, and connects again after a break.

    `inbox` has the events for the program.
    """

    def __init__(
        self,
        url: str,
        nick: str | None,
        ssl_context: ssl.SSLContext | None,
        buffer: int,
        token: str = "",
    ) -> None:
        self.inbox = Inbox(buffer)
        # The id that others see: the account's, or the client's own.
        self.id = ""
        self.nick = ANONYMOUS
        # The token that the client logs in with if it has to come back as a new one, or empty.
        self.token = token
        # The number of the device with the token that the client is logged in with, or 0.
        self.device = 0
        # The nick that is taken again if the client has to come back as a new one.
        self.wanted_nick = nick
        # The server's hello, with the id and the token that the client resumes with.
        self.hello: Hello | None = None
        # The commands that the client may type now.
        self.commands: list[Usage] = []
        self._url = url
        self._ssl_context = ssl_context
        self._rooms = Rooms(self.inbox)
        self._answers: dict[str, PendingAnswer] = {}
        self._asked = 0
        # Whether there is a connection, as the program knows it from events. Commands still wait
        # until the client has its nick and rooms again.
        self.connected = False
        self._socket: Socket | None = None
        # Set with each change of `_socket`, and at the end.
        self._changed = trio.Event()
        self._ended: str | None = None
        self._wait = FIRST_WAIT
        # Whether the client is new for the server, and the program does not know that yet.
        self._anew = False
        # Whether this client closes a connection to try another one.
        self._tries_again = False

    @property
    def rooms(self) -> Collection[str]:
        """The casefolded names of the rooms that the client is in."""
        return self._rooms.names

    def leave(self) -> None:
        """Make all calls raise `ChatClosed`; the caller then ends the connection."""
        self._ended = "this client has left the chat"
        self.connected = False
        self._change(None)
        self.inbox.end()

    # --- asking -----------------------------------------------------------------------------------

    async def ask(self, kind: type[E] | tuple[type[E], ...], type: str, **fields: object) -> E:
        """Send a command, and wait for an answer of this kind, or of one of these."""
        return await self._exchange(await self.live(), kind, type, **fields)

    async def live(self) -> Socket:
        """Wait for a connection over which commands may be sent."""
        connected = self.connected
        while self._socket is None:
            if self._ended is not None:
                raise ChatClosed(self._ended)
            if connected and not self.connected:
                raise NoConnection("the connection broke before this was sent")
            await self._changed.wait()
        return self._socket

    async def _exchange(
        self, socket: Socket, kind: type[E] | tuple[type[E], ...], type: str, **fields: object
    ) -> E:
        event = await self.answer(socket, type, fields)
        if isinstance(event, kind):
            return event
        if isinstance(event, Held):
            raise event.refusal
        raise NoConnection(f"the server gave another answer: {event}")

    async def answer(
        self, socket: Socket, type: str, fields: Document, *, echo: bool = False
    ) -> Event:
        """Send a command over this connection; gives the event that answers it."""
        self._asked += 1
        label, answer = str(self._asked), PendingAnswer(echo)
        self._answers[label] = answer
        try:
            most = inf if self.hello is None else self.hello.limits.document_bytes
            await socket.send({"type": type, "id": label, **fields}, most)
            await answer.done.wait()
        except Refused as refused:
            if echo:
                self.inbox.put(Refusal(str(refused), refused.code))
            raise
        except SocketBroken:
            raise NoConnection("the connection broke before the answer came") from None
        finally:
            del self._answers[label]
        if answer.event is None:
            raise answer.failure or NoConnection("there was no answer")
        return answer.event

    # --- what comes in ----------------------------------------------------------------------------

    async def _read(self, socket: Socket) -> None:
        """Receive documents until the connection breaks."""
        while True:
            document = await socket.receive()
            try:
                self._hear(socket, document)
            except MalformedDocument as error:
                raise SocketBroken(f"the server does not keep to the protocol: {error}") from None
            if self.inbox.is_crowded:
                # One read may bring hundreds: let the program take some.
                await trio.lowlevel.checkpoint()

    def _hear(self, socket: Socket, document: Document) -> None:
        event = parse_event(document)
        if event is not None:
            label = HELLO if isinstance(event, Hello) else document.get("id")
            answer = self._answers.get(label) if isinstance(label, str) else None
            self._take(event, answer, socket.received)

    def _take(self, event: Event, answer: PendingAnswer | None, chars: int = 0) -> None:
        self._note(event)
        if answer is not None and answer.done.is_set():
            answer = None  # a typed command may have several answers
        shown = answer is None or answer.echo or self._is_new_person(event)
        if isinstance(event, PERSISTENT):
            # Without an author it stands for what a person said whom this client ignores.
            self._rooms.pass_on(event, shown=shown and bool(event.author))
        elif isinstance(event, Missed) and event.room not in self._rooms.names:
            pass  # the room was left
        elif shown and not self._is_unsaid(event):
            self.inbox.put(event, chars)
        if answer is not None:
            if isinstance(event, Refusal):
                answer.set(None, Refused(event.reason, code=event.code))
            elif isinstance(event, Ended):
                answer.set(None, Refused(event.reason, code=Code.NOT_SERVED))
            else:
                answer.set(event)

    def _is_new_person(self, event: Event) -> bool:
        """Whether the client is somebody else after this: events after it carry the new id.

        While the client comes back, `Resumed` says that.
        """
        return self.connected and isinstance(event, (LoggedIn, LoggedOut))

    def _is_unsaid(self, event: Event) -> bool:
        """Whether the program learns of this event otherwise: by a result, or by `Disconnected`."""
        match event:
            case Ended(code=code):
                return code not in FOR_GOOD
            case Renamed(author=author):
                asked = any(answer.echo for answer in self._answers.values())
                return not asked and author == self.id
            case Identified(author=author, old=old):  # it comes just before `LoggedIn`
                return self.id in (author, old)
        return isinstance(event, UNSAID)

    def _note(self, event: Event) -> None:
        """Remember what is needed to resume."""
        match event:
            case NickTaken(nick=nick):
                self.nick = nick
                self.wanted_nick = None if nick == ANONYMOUS else nick
            case Hello(commands=commands) | CommandsListed(commands=commands):
                self.commands = commands
            case LoggedIn(person=person, nick=nick, number=number):
                self.id, self.nick, self.device = person, nick, number
            case LoggedOut(person=person, nick=nick):
                self.id, self.nick, self.token, self.device = person, nick, "", 0
            case Welcomed(room=room, room_name=name, position=position):
                self._rooms.enter(room, name, position)
            case Departed(room=room):
                self._rooms.leave(room)
            case Missed(room=room, count=count):
                self._rooms.skip(room, count)
            case SessionResumed(rooms=rooms):
                self.nick = event.nick
                self._put_resumed(tuple(room.room for room in rooms))
                self._note_person(event)

    def _note_person(self, resumed: SessionResumed) -> None:
        """Learn of a login whose answer was cut off, and of a logout by another device."""
        person = resumed.person or resumed.client
        if person == self.id:
            return
        kind = LoggedOut if person == resumed.client else LoggedIn
        changed = kind(person, resumed.nick)
        self._note(changed)
        self.inbox.put(changed)

    def _put_resumed(self, rooms: tuple[str, ...]) -> None:
        self.connected = True
        self.inbox.put(Resumed(self.nick, rooms, self._anew))

    # --- connections ------------------------------------------------------------------------------

    async def run(self, first: PendingAnswer) -> None:
        """Connect again and again until the client ends; `first` tells how the first time went."""
        while self._ended is None:
            try:
                async with open_socket(self._url, self._ssl_context) as socket:
                    await self._serve(socket, first)
            except (NoConnection, ValueError) as error:
                first.set(None, error)
            if first.failure is not None:
                return
            if self._ended is None:
                await trio.sleep(self._wait * random.uniform(0.5, 1))  # noqa: S311 - it is no secret
                self._wait = min(2 * self._wait, LAST_WAIT)
        self._change(None)
        self.inbox.end()

    def _change(self, socket: Socket | None) -> None:
        self._socket = socket
        self._changed.set()
        self._changed = trio.Event()

    async def _serve(self, socket: Socket, first: PendingAnswer) -> None:
        """Use a connection until it ends."""
        self._answers[HELLO] = greeted = PendingAnswer()
        self._tries_again = False
        self._rooms.begin()
        reason = ""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._begin, socket, greeted, first)
            try:
                await self._read(socket)
            except SocketBroken as broken:
                reason = str(broken)
                if broken.code in FOR_GOOD and not self._tries_again:
                    self._ended = reason
            if self.connected:
                self.connected = False
                self.inbox.put(Disconnected(reason))
            self._change(None)
            for answer in self._answers.values():
                answer.set(None, NoConnection(f"{reason}; it may have been done, or not"))
            nursery.cancel_scope.cancel()
        first.set(None, NoConnection(f"{self._url} does not serve this client: {reason}"))

    async def _begin(self, socket: Socket, greeted: PendingAnswer, first: PendingAnswer) -> None:
        """Resume, or begin as a new client; then let commands be sent."""
        with trio.move_on_after(CONNECT_SECONDS):
            await greeted.done.wait()
        try:
            if isinstance(greeted.event, Hello):
                await self._settle_in(socket, greeted.event)
                self._wait = FIRST_WAIT
                await trio.lowlevel.checkpoint_if_cancelled()  # the connection may have broken
                self.connected = True
                self._change(socket)
                first.set(None)
                return
        except NoConnection:
            self._tries_again = True  # if it has not broken by itself
        except Refused as refused:
            first.set(None, refused)
            self._ended = str(refused)
        await socket.close()

    async def _settle_in(self, socket: Socket, hello: Hello) -> None:
        """Get back the nick and the rooms of the program."""
        old = self.hello
        there = None if old is None else await self._resume(socket, old, hello)
        refusal = None
        if there is None:
            if old is not None and old.log and hello.log != old.log:
                self._rooms.forget_positions()
            self.hello, self.id, self.nick = hello, hello.client, ANONYMOUS
            self._anew = old is not None
            refusal = await self._log_in_again(socket)
        if self.nick == ANONYMOUS and self.wanted_nick is not None:
            try:
                await self._exchange(socket, NickTaken, "take_nick", nick=self.wanted_nick)
            except Refused:
                if old is None:
                    raise
        again = [name for name in self._rooms.names if there is None or name not in there]
        newest = {name: await self._join(socket, name) for name in again}
        if there is None and self._anew:
            self._put_resumed(tuple(self._rooms.names))
        if refusal is not None:
            self.inbox.put(refusal)
        for name in self._rooms.names & again:
            await self._fill(socket, name, newest[name])
        self._anew = False

    async def _log_in_again(self, socket: Socket) -> Refusal | None:
        """Log in with the token, if there is one. If it is refused, the program is told."""
        if not self.token:
            return None
        try:
            await self._exchange(socket, LoggedIn, "authenticate", token=self.token)
        except Refused as refused:
            if refused.code == Code.BAD_TOKEN:
                self.token = ""
            return Refusal(str(refused), refused.code)
        return None

    async def _resume(self, socket: Socket, old: Hello, hello: Hello) -> set[str] | None:
        """The rooms of the resumed session; `None` if the server refuses to resume it.

        Raises `NoConnection` if the server cannot know now, as it is cut off from its store.
        """
        fields = {"client": old.client, "token": old.token, "positions": self._rooms.positions()}
        try:
            resumed = await self._exchange(socket, SessionResumed, "resume", **fields)
        except Refused as refused:
            if refused.code == Code.CANNOT_WRITE:
                raise NoConnection(str(refused)) from None
            return None
        self.hello = evolve(hello, client=old.client, token=old.token)
        return {room.room for room in resumed.rooms}

    async def _join(self, socket: Socket, name: str) -> int:
        """Join a room again; gives the newest position there."""
        try:
            room_name = self._rooms.hold(name)
            return (await self._exchange(socket, Welcomed, "join", room=room_name)).position
        except Refused:
            self._rooms.leave(name)
            return 0

    async def _fill(self, socket: Socket, name: str, newest: int) -> None:
        """Pass on the entries that a room got during the break, as far as the server has them."""
        self._rooms.expect(name, newest)
        entries: list[PersistentEntry] = []
        with suppress(Refused):  # the server cannot read the log
            entries = await self._since(socket, name)
        self._rooms.release(name, entries, newest)

    async def _since(self, socket: Socket, name: str) -> list[PersistentEntry]:
        """The newest entries that a room lacks: `MAX_HISTORY` of them, or some more."""
        entries = await self._past(socket, name, None)
        known = self._rooms.compare(name, entries)
        while entries and entries[0].position > known + 1 and len(entries) < MAX_HISTORY:
            older = await self._past(socket, name, entries[0].position)
            if not older:
                break
            entries = older + entries
        return entries

    async def _past(self, socket: Socket, name: str, before: int | None) -> list[PersistentEntry]:
        fields = {"room": name, "limit": MAX_HISTORY} | ({"before": before} if before else {})
        return (await self._exchange(socket, EntriesShown, "show_history", **fields)).entries
