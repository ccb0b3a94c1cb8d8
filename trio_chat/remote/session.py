"""The session of a remote client: what it asks, what it hears, and what it knows of itself.

It lasts from one connection to the next, and makes none itself.
"""

from __future__ import annotations

from math import inf
from typing import TYPE_CHECKING, TypeVar

import trio
from attrs import define, field

from trio_chat.errors import ChatClosed, Code, NoConnection, Refused
from trio_chat.protocol.events import (
    KICKED,
    PERSISTENT,
    CommandsListed,
    Departed,
    Done,
    Ended,
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
from trio_chat.remote.socket import Socket, SocketBroken

if TYPE_CHECKING:
    from trio_chat.protocol.events import Event, Usage
    from trio_chat.remote.socket import Document

E = TypeVar("E")

# The label of the first event of a connection, which answers no command.
HELLO = "hello"
UNSAID = (Hello, CommandsListed, SessionResumed, Stopping, Done)

# Closes after which the client does not connect again: its own, a takeover, and a kick.
FOR_GOOD = (1000, 1008, KICKED)


def is_for_good(code: int | None) -> bool:
    """Whether the client does not connect again after a close with this code."""
    return code in FOR_GOOD


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
    """Sends commands, and receives answers and events.

    `inbox` has the events for the program.
    """

    def __init__(self, nick: str | None, buffer: int, token: str = "") -> None:
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
        self.rooms = Rooms(self.inbox)
        self._answers: dict[str, PendingAnswer] = {}
        self._asked = 0
        # Whether there is a connection, as the program knows it from events. Commands still wait
        # until the client has its nick and rooms again.
        self.connected = False
        self._socket: Socket | None = None
        # Set with each change of `_socket`, and at the end.
        self._changed = trio.Event()
        # Why there will be no other connection, or `None`.
        self.ended: str | None = None
        # Whether the client is new for the server, and the program does not know that yet.
        self.anew = False

    # --- connections ------------------------------------------------------------------------------

    def await_hello(self) -> PendingAnswer:
        """Begin another connection; gives the answer that its first event is."""
        self._answers[HELLO] = greeted = PendingAnswer()
        self.rooms.begin()
        return greeted

    def begin(self, hello: Hello) -> None:
        """Be a new client for the server."""
        self.anew = self.hello is not None
        self.hello, self.id, self.nick = hello, hello.client, ANONYMOUS

    def open(self, socket: Socket) -> None:
        """Let commands be sent over this connection."""
        self.connected = True
        self._change(socket)

    def lose(self, reason: str) -> None:
        """Tell the program, and tasks that wait for an answer, that the connection broke."""
        if self.connected:
            self.connected = False
            self.inbox.put(Disconnected(reason))
        self._change(None)
        for answer in self._answers.values():
            answer.set(None, NoConnection(f"{reason}; it may have been done, or not"))

    def leave(self) -> None:
        """Make all calls raise `ChatClosed`; the caller then ends the connection."""
        self.ended = "this client has left the chat"
        self.connected = False
        self.end()

    def end(self) -> None:
        """End the calls that wait, and the events: there will be no other connection."""
        self._change(None)
        self.inbox.end()

    def _change(self, socket: Socket | None) -> None:
        self._socket = socket
        self._changed.set()
        self._changed = trio.Event()

    def put_resumed(self, rooms: tuple[str, ...]) -> None:
        """Tell the program that the client is back, in these rooms."""
        self.connected = True
        self.inbox.put(Resumed(self.nick, rooms, self.anew))

    # --- asking -----------------------------------------------------------------------------------

    async def ask(self, kind: type[E] | tuple[type[E], ...], type: str, **fields: object) -> E:
        """Send a command, and wait for an answer of this kind, or of one of these."""
        return await self.exchange(await self.live(), kind, type, **fields)

    async def live(self) -> Socket:
        """Wait for a connection over which commands may be sent."""
        connected = self.connected
        while self._socket is None:
            if self.ended is not None:
                raise ChatClosed(self.ended)
            if connected and not self.connected:
                raise NoConnection("the connection broke before this was sent")
            await self._changed.wait()
        return self._socket

    async def exchange(
        self, socket: Socket, kind: type[E] | tuple[type[E], ...], type: str, **fields: object
    ) -> E:
        """Send a command over this connection, and wait for its answer, as `ask` does."""
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

    async def read(self, socket: Socket) -> None:
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
            self.rooms.pass_on(event, shown=shown and bool(event.author))
        elif isinstance(event, Missed) and event.room not in self.rooms.names:
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
                return not is_for_good(code)
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
                self.rooms.enter(room, name, position)
            case Departed(room=room):
                self.rooms.leave(room)
            case Missed(room=room, count=count):
                self.rooms.skip(room, count)
            case SessionResumed(rooms=rooms):
                self.nick = event.nick
                self.put_resumed(tuple(room.room for room in rooms))
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
