"""Everything that reaches the hub, except clients' commands.

*Events* tell the hub what has happened, and *requests* are events that want an answer. One table of
the hub has both. *Notices of a connection* come among the commands of their session, in order: they
are records.
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
    from trio_chat.hub.embedder import UserInfo
    from trio_chat.hub.pause import Pause
    from trio_chat.hub.queries import Query
    from trio_chat.hub.session import Session
    from trio_chat.hub.user import User
    from trio_chat.people import Waiting
    from trio_chat.protocol.events import Event, PersistentEntry
    from trio_chat.protocol.names import Name
    from trio_chat.protocol.word_list import WordList
    from trio_chat.transports.tls import TlsLink

T = TypeVar("T")


class Answerable(Generic[T]):
    """A question of a task to the hub. The hub answers or abandons it, once."""

    __slots__ = ("_done", "_error", "_value")

    _value: T

    def __init__(self) -> None:
        self._done = trio.Event()
        self._error: Exception | None = None

    def answer(self, value: T) -> None:
        """Give the task its answer."""
        self._value = value
        self._done.set()

    def fail(self, error: Exception) -> None:
        """Make `result` raise this."""
        self._error = error
        self._done.set()

    def abandon(self) -> None:
        """Make `result` say that there will be no answer."""
        if not self._done.is_set():
            self.fail(ChatClosed("this client has left the chat, or the chat has stopped"))

    async def result(self) -> T:
        """Wait for the answer.

        Raises `ChatClosed` if there will be none, and whatever `fail` was given.
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
    """A connection has failed, and nothing can be sent. `reason` is for the log."""

    session: Session
    reason: str


@define
class Drained(HubEvent):
    """A link can take more."""

    session: Session


@define
class PageRead(HubEvent):
    """Entries of a room after a position, for a session that lags.

    `changed` is `Room.changed` of when they were asked for.
    """

    session: Session
    room: str
    after: int
    entries: list[PersistentEntry]
    changed: int = 0


@define
class LoginsDue(HubEvent):
    """The time of a login is over, or nearly so."""


@define
class MayGoOn(HubEvent):
    """A session that asked for entries again has waited long enough."""

    session: Session


@define
class QueryDone(HubEvent):
    """Slow work for a command is done."""

    query: Query


@define
class GraceOver(HubEvent):
    """The grace period of a detached user is over."""

    user: User


@define
class Stop(HubEvent):
    """The chat has to stop."""


@define
class PauseWanted(HubEvent):
    """The hub has to stand still between two turns, and all tasks before it."""

    pause: Pause


@define
class AllStill(HubEvent):
    """The tasks of all sessions stand still, so the hub can too."""


@define
class Beat(HubEvent):
    """A part of the interval between pings is over."""


# --- requests -------------------------------------------------------------------------------------


class Request(Answerable[T], HubEvent):
    """An event that wants an answer."""

    __slots__ = ()


class Heartbeat(Request[None]):
    """Answered as soon as the hub gets on."""

    __slots__ = ()


class TellClient(Request[bool]):
    """A line from the embedding program to one user; the answer is whether it was there."""

    __slots__ = ("text", "to")

    def __init__(self, to: str, text: str) -> None:
        super().__init__()
        self.to = to
        self.text = text


Users: TypeAlias = "tuple[UserInfo, ...]"


class ListUsers(Request[Users]):
    """Ask for the users of this chat, at most `limit` of them."""

    __slots__ = ("limit",)

    def __init__(self, limit: int) -> None:
        super().__init__()
        self.limit = limit


class Kick(Request[bool]):
    """End one user for good; the answer is whether that user was there."""

    __slots__ = ("client", "reason")

    def __init__(self, client: str, reason: str) -> None:
        super().__init__()
        self.client = client
        self.reason = reason


class FindClient(Request[str]):
    """Ask for the id of the client with this id or casefolded nick; empty if nobody is known."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text


class EndOrphan(Request[bool]):
    """End a user whose process has gone; the answer is whether there was such a user."""

    __slots__ = ("client",)

    def __init__(self, client: str) -> None:
        super().__init__()
        self.client = client


class Announce(Request[int]):
    """A line for every client; the answer is the number of clients that were told."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        super().__init__()
        self.text = text


class LogOutAll(Request[None]):
    """Log out everyone who is in an account, which was deleted.

    The one who has deleted it is the `asker`, and has an answer of its own.
    """

    __slots__ = ("account", "asker")

    def __init__(self, account: str, asker: User | None = None) -> None:
        super().__init__()
        self.account = account
        self.asker = asker


class MailCame(HubEvent):
    """Another node keeps a message for an account that may have devices here."""

    __slots__ = ("account",)

    def __init__(self, account: str) -> None:
        self.account = account


class IgnoredElsewhere(HubEvent):
    """Another node has changed whom an account ignores."""

    __slots__ = ("account",)

    def __init__(self, account: str) -> None:
        self.account = account


class MarkerMoved(HubEvent):
    """On another node, an account has read a room up to this time."""

    __slots__ = ("account", "room", "until")

    def __init__(self, account: str, room: str, until: float) -> None:
        self.account = account
        self.room = room
        self.until = until


class DeliverMail(Request[bool]):
    """Messages that waited for an account; the answer is whether one of its devices got them."""

    __slots__ = ("account", "messages")

    def __init__(self, account: str, messages: Sequence[Waiting]) -> None:
        super().__init__()
        self.account = account
        self.messages = messages


class Reload(Request[None]):
    """Other settings to go by, the rooms that they keep, their greeting and their words."""

    __slots__ = ("greeting", "kept_rooms", "settings", "words")

    def __init__(
        self,
        settings: Settings,
        kept_rooms: Sequence[Name],
        greeting: tuple[str, ...],
        words: WordList | None = None,
    ) -> None:
        super().__init__()
        self.settings = settings
        self.kept_rooms = kept_rooms
        self.greeting = greeting
        self.words = words


# --- notices of a connection ----------------------------------------------------------------------


@define
class Connected:
    """The first record of each client. `trusted` means that a trusted proxy has connected it."""

    trusted: bool = False


@define
class CameFrom:
    """The true address of a client, from its trusted proxy.

    `peer` is the whole address, for logs. `address` is without the port, for limits.
    """

    peer: str
    address: str


@define
class Secured:
    """TLS begins. From here on, this link reaches the client.

    `taken` becomes true once the hub uses it. Then the task can close the link before it.
    """

    link: TlsLink
    taken: bool = False


@define
class InputEnded:
    """The session's task has passed on all input and reads no more, as the chat stops."""


@define
class Broken:
    """The connection failed after the records before this one. Nothing can be sent."""

    reason: str


class Call(Answerable["list[Event]"]):
    """A command of an in-process client. Its outcome goes to the task that asked.

    The outcome is the replies and entries that the command leads to.
    """

    __slots__ = ("command", "events")

    def __init__(self, command: Record) -> None:
        super().__init__()
        self.command = command
        self.events: list[Event] = []


Record: TypeAlias = Command | Connected | CameFrom | Secured | InputEnded | Broken | Call

Item: TypeAlias = "tuple[Session, Sequence[Record], int] | HubEvent"
"""An item on the hub's channel: the records of one read and its size in bytes, or an event."""


def abandon(records: Sequence[Record]) -> None:
    """Tell the tasks that wait for these records that nothing will come of them."""
    for record in records:
        if isinstance(record, Call):
            record.abandon()
