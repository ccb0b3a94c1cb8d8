"""All that reaches the hub and is no command of a client's.

*Events* tell the hub what has happened, and *requests* are events that want an answer. The hub has
one table of both. *Notices of a connection* stand among the commands of their session, in its
order: they are records.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

import trio
from attrs import define

from trio_chat.errors import ChatClosed
from trio_chat.protocol.commands import Command

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio_chat.config.settings import Settings
    from trio_chat.hub.pause import Pause
    from trio_chat.hub.queries import Query
    from trio_chat.hub.session import Session
    from trio_chat.hub.user import User
    from trio_chat.protocol.events import Event, PersistentEntry
    from trio_chat.protocol.names import Name
    from trio_chat.transports.tls import TlsLink

T = TypeVar("T")


class Answerable(Generic[T]):
    """Something that a task asks of the hub: the hub answers or abandons it, once."""

    __slots__ = ("_done", "_error", "_value")

    _value: T

    def __init__(self) -> None:
        self._done = trio.Event()
        self._error: Exception | None = None

    def answer(self, value: T) -> None:
        """Give the task what it waits for."""
        self._value = value
        self._done.set()

    def fail(self, error: Exception) -> None:
        """Have `result` raise this."""
        self._error = error
        self._done.set()

    def abandon(self) -> None:
        """Have `result` say that there will be no answer any more."""
        if not self._done.is_set():
            self.fail(ChatClosed("this client has left the chat, or the chat has stopped"))

    async def result(self) -> T:
        """Wait for the answer.

        Raises `ChatClosed` if there will be none, and what `fail` was given.
        """
        await self._done.wait()
        if self._error is not None:
            raise self._error
        return self._value


# --- events ---------------------------------------------------------------------------------------


class HubEvent:
    """Something that has happened."""

    __slots__ = ()


@define
class Lost(HubEvent):
    """A connection has failed: nothing can be sent any more. `reason` is for the log."""

    session: Session
    reason: str


@define
class Drained(HubEvent):
    """A link can take more."""

    session: Session


@define
class PageRead(HubEvent):
    """Persistent entries of a room after a position, for a session that has fallen behind."""

    session: Session
    room: str
    after: int
    entries: list[PersistentEntry]


@define
class MayGoOn(HubEvent):
    """A session that was sent too much a second time has waited long enough."""

    session: Session


@define
class QueryDone(HubEvent):
    """Slow work for a command has come to its end."""

    query: Query


@define
class GraceOver(HubEvent):
    """The time is over that a detached user had to come back."""

    user: User


@define
class Stop(HubEvent):
    """The chat is to stop."""


@define
class PauseWanted(HubEvent):
    """The hub is to stand still between two turns, and everyone before it."""

    pause: Pause


@define
class AllStill(HubEvent):
    """All sessions' tasks stand still: the hub can."""


@define
class Beat(HubEvent):
    """A part of the interval between pings is over."""


# --- requests -------------------------------------------------------------------------------------


class Request(Answerable[T], HubEvent):
    """An event that wants an answer."""

    __slots__ = ()


class Heartbeat(Request[None]):
    """Answered once the hub gets on."""

    __slots__ = ()


class TellClient(Request[bool]):
    """A line from the embedding program to one user; the answer is whether it was there."""

    __slots__ = ("text", "to")

    def __init__(self, to: str, text: str) -> None:
        super().__init__()
        self.to = to
        self.text = text


class Reload(Request[None]):
    """Other settings to go by, and the rooms that they keep."""

    __slots__ = ("kept_rooms", "settings")

    def __init__(self, settings: Settings, kept_rooms: Sequence[Name]) -> None:
        super().__init__()
        self.settings = settings
        self.kept_rooms = kept_rooms


# --- notices of a connection ----------------------------------------------------------------------


@define
class Connected:
    """A client is there: the first record of each. `trusted`: a trusted proxy has connected it."""

    trusted: bool = False


@define
class CameFrom:
    """The true address of a client, said by the trusted proxy that has connected it.

    `peer` is its whole address, for logs; `address` is without the port, for limits.
    """

    peer: str
    address: str


@define
class Secured:
    """TLS begins: from here on the client is reached by this link.

    `taken` becomes true once that is so, and then its task can close the one before.
    """

    link: TlsLink
    taken: bool = False


@define
class InputEnded:
    """The session's task has passed on all that had arrived, and reads no more: the chat stops."""


@define
class Broken:
    """The connection has failed, behind the records that came before: nothing more can be sent."""

    reason: str


class Call(Answerable["list[Event]"]):
    """A command of an in-process client: its outcome goes to the task that asked.

    That is the replies and entries that come of it.
    """

    __slots__ = ("command", "events")

    def __init__(self, command: Record) -> None:
        super().__init__()
        self.command = command
        self.events: list[Event] = []


Record: TypeAlias = Command | Connected | CameFrom | Secured | InputEnded | Broken | Call

Item: TypeAlias = "tuple[Session, Sequence[Record], int] | HubEvent"
"""What travels on the hub's channel: the records of one read and its size in bytes, or an event."""


def abandon(records: Sequence[Record]) -> None:
    """Tell the tasks that wait for these records that nothing will come of them."""
    for record in records:
        if isinstance(record, Call):
            record.abandon()
