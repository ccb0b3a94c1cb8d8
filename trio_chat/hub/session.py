"""One connection as the hub knows it: its output, and its commands that wait."""

from __future__ import annotations

from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Final, Protocol

from trio_chat.hub.user import User

if TYPE_CHECKING:
    from collections import deque

    import trio

    from trio_chat.dialects import Encoding
    from trio_chat.hub.inbox import Item, Record
    from trio_chat.hub.pause import Pause
    from trio_chat.hub.queries import Query
    from trio_chat.transports.reader import Reader

# One empty dict for all sessions that do not lag, or watch nobody. No one changes these.
NOT_BEHIND: Final[dict[str, int]] = {}
NOBODY_WATCHED: Final[dict[str, str]] = {}
NO_LABELS: Final[dict[tuple[str, int], str]] = {}


class Reason(Enum):
    """A reason why no records of a session are decided. The code that sets it removes it."""

    CLAIM = auto()
    """The log has to answer a draft first."""
    QUERY = auto()
    """Slow work for a command is under way."""
    OUTBOX_FULL = auto()
    """The replies of one turn have filled its outbox."""
    SLOW_CONSUMER = auto()
    """It has to catch up first."""
    CLOSING = auto()
    """It is on its way out."""


RUNNING: Final[frozenset[Reason]] = frozenset()


class Link(Protocol):
    """The hub's end of a connection. Only the session's own task closes it, after `release`."""

    address: str
    """Where the client comes from, for limits and logs; without the port."""

    peer: str
    """The whole address, for logs."""

    tls: bool
    """Whether the link speaks TLS."""

    @property
    def unsent_bytes(self) -> int:
        """The number of bytes that the connection has not taken yet."""
        ...

    def write(self, chunk: Any | None, more: list[Any] | None) -> int:
        """Send what does not block, and keep the rest. Return `unsent_bytes`.

        Unsent bytes go first, then the chunk, then the chunks in `more`. Raises `OSError` if the
        connection is broken.
        """
        ...

    async def drain(self) -> bool:
        """Wait until some unsent bytes are sent or can be. Return whether to call this again.

        Otherwise the hub writes next. Raises `OSError` or a Trio error if no more can be sent.
        """
        ...

    def undelivered(self) -> int:
        """Return how many sent bytes the peer has not acknowledged, or 0 if that is unknown."""
        ...

    def discard(self) -> None:
        """Forget the unsent bytes."""
        ...

    def pause_reading(self) -> None:
        """Make the session's task stop reading for now."""
        ...

    def resume_reading(self) -> None:
        """Let the session's task read again."""
        ...

    def drain_input(self) -> None:
        """Make the session's task pass on the input that has arrived, and end reading."""
        ...

    def pause_for(self, pause: Pause) -> bool:
        """Make the session's task stand still for a pause.

        Returns whether the task will confirm that. It does not if it no longer reads.
        """
        ...

    def at_rest(self) -> Reader | None:
        """Return the reader of the session's task, if that only waits for bytes.

        During a pause nothing is read for such a task, so it need not know of the pause.
        """
        ...

    def release(self) -> None:
        """Release the link: close it. The hub does not touch it again."""
        ...


class Session:
    """One connection. Its task creates it and sends it to the hub, which owns it from then on.

    It belongs to a user: first to a new one, and after a resume to the user that resumed.
    """

    __slots__ = (
        "began",
        "channel",
        "chunk",
        "closing",
        "draining",
        "ears",
        "encoding",
        "input_ended",
        "labels",
        "link",
        "local",
        "may",
        "more",
        "operates",
        "paging",
        "positions",
        "proxy",
        "query",
        "queue",
        "refusal",
        "replies",
        "room_limit",
        "sent_before",
        "slow_consumer",
        "suspended",
        "user",
        "watched",
    )

    def __init__(
        self,
        link: Link,
        encoding: Encoding,
        channel: trio.MemorySendChannel[Item],
        *,
        room_limit: int | None,
        local: bool = False,
        operates: bool = False,
        user: User | None = None,
    ) -> None:
        self.user = user or User()
        self.user.session = self
        self.link = link
        self.encoding = encoding
        # The encoding of what it hears, if its user ignores somebody.
        self.ears: Encoding | None = None
        # The level of commands that its program was told of; -1 if that is unknown.
        self.may = -1
        # The session's own clone of the hub's channel, for events of its link. It closes with the
        # session's task.
        self.channel = channel
        # In-process: no limit on rooms, replies as results of calls, and never dropped.
        self.local = local
        # It is the operator's own, by the control socket.
        self.operates = operates
        self.room_limit = room_limit

        # Whether its dialect is known. Until then nobody knows how it would show a line.
        self.began = local

        # The address of the trusted proxy, if one has named the client.
        self.proxy = ""

        # This turn's output, in chunks of the encoding's kind, which the link can take.
        self.chunk: Any = None
        self.more: list[Any] | None = None
        self.replies = 0
        # The records that wait, and the reasons why none of them are decided.
        self.queue: deque[Record] | None = None
        self.suspended: frozenset[Reason] = RUNNING
        # The slow work that runs for it.
        self.query: Query | None = None
        # Whether a task waits for the link to take more.
        self.draining = False
        # Set while it lags: it then gets only entries that it catches up with, after these
        # positions.
        self.slow_consumer = False
        self.positions: dict[str, int] = NOT_BEHIND
        # Labels of commands that such entries answer, by room and position.
        self.labels: dict[tuple[str, int], str] = NO_LABELS
        # Whether a page of the log is being read for that, or the rate limit waited for. Then the
        # positions up to which its user was sent entries before, by room, if they may be sent
        # again.
        self.paging = False
        self.sent_before: dict[str, int] = NOT_BEHIND
        # The nicks that it is told of, as it has written them, by their casefolded form.
        self.watched: dict[str, str] = NOBODY_WATCHED
        # The reason for its rejection, or empty. Its task tells the client once the hub has
        # released the link.
        self.refusal = ""
        # The reason for closing, or `None`, and whether its task has passed on its last input.
        self.closing: str | None = None
        self.input_ended = False

    @property
    def speaks_http(self) -> bool:
        """Whether it sends HTTP requests."""
        return self.encoding.dialect == "http"

    @property
    def only_asks(self) -> bool:
        """Whether it does not take part in the chat: it asks by HTTP, or for the operator."""
        return self.speaks_http or self.operates

    @property
    def reached(self) -> dict[str, int]:
        """The newest position that it was given in each of its rooms."""
        return self.positions if self.slow_consumer else self.user.positions
