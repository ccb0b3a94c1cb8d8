"""One connection as the hub knows it: what it has to get, what it has asked, what it waits for."""

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

# Those of a session that is no slow consumer: one empty dict for all, never changed.
NOT_BEHIND: Final[dict[str, int]] = {}
NO_LABELS: Final[dict[tuple[str, int], str]] = {}


class Reason(Enum):
    """Why no more records of a session are decided. The code that gives one takes it back."""

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

    @property
    def unsent_bytes(self) -> int:
        """The number of bytes that are kept because the connection would not take them yet."""
        ...

    def write(self, chunk: Any | None, more: list[Any] | None) -> int:
        """Send what can be sent without blocking; keep the rest, and give `unsent_bytes`.

        Unsent bytes go first, then the chunk and those after it. Raises `OSError` if the
        connection is broken.
        """
        ...

    async def drain(self) -> bool:
        """Wait until some of the rest has been sent, or can be; whether to call this again at once.

        Otherwise it is the hub's turn to write. Raises `OSError` or a Trio error if no more can be
        sent.
        """
        ...

    def undelivered(self) -> int:
        """The number of sent bytes that the peer has not acknowledged; 0 if nobody knows."""
        ...

    def discard(self) -> None:
        """Forget the rest."""
        ...

    def pause_reading(self) -> None:
        """Make the session's task read no further."""
        ...

    def resume_reading(self) -> None:
        """Let it read on."""
        ...

    def drain_input(self) -> None:
        """Make the session's task pass on what has arrived, and end reading: the chat stops."""
        ...

    def pause_for(self, pause: Pause) -> bool:
        """Make the session's task stand still until that is over.

        Whether it will say so: it does not if it reads no more.
        """
        ...

    def at_rest(self) -> Reader | None:
        """Give the reader of the session's task, if that waits for bytes alone.

        During a pause nothing is read for such a task, and it need not be told.
        """
        ...

    def release(self) -> None:
        """The hub will not touch this link again: close it."""
        ...


class Session:
    """One connection. Its task makes it and sends it to the hub, whose own it is from then on.

    It is some user's: a new one's at first, and that of one who was here before after a resume.
    """

    __slots__ = (
        "channel",
        "chunk",
        "closing",
        "draining",
        "encoding",
        "input_ended",
        "labels",
        "link",
        "local",
        "more",
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
    )

    def __init__(
        self,
        link: Link,
        encoding: Encoding,
        channel: trio.MemorySendChannel[Item],
        *,
        room_limit: int | None,
        local: bool = False,
    ) -> None:
        self.user = User()
        self.user.session = self
        self.link = link
        self.encoding = encoding
        # The session's own clone of the hub's channel, for what its link has to say. It closes with
        # the session's task.
        self.channel = channel
        # In-process: no limits on rooms, replies by their own result, never dropped.
        self.local = local
        self.room_limit = room_limit

        # The peer that a trusted proxy has, if one has said where the client comes from.
        self.proxy = ""

        # This turn's output, in chunks of the encoding's kind, which the link knows how to take.
        # The first one, which mostly is all, those after it, and the size of the replies.
        self.chunk: Any = None
        self.more: list[Any] | None = None
        self.replies = 0
        # Records that wait, and why none of them are decided now.
        self.queue: deque[Record] | None = None
        self.suspended: frozenset[Reason] = RUNNING
        # The slow work under way for it.
        self.query: Query | None = None
        # A task waits for the link to take more.
        self.draining = False
        # Past its limit: it gets no entries but those it catches up with, after these positions.
        self.slow_consumer = False
        self.positions: dict[str, int] = NOT_BEHIND
        # The labels of earlier commands that entries among these answer, by room and position.
        self.labels: dict[tuple[str, int], str] = NO_LABELS
        # A page of the log is read for that, or the rate is waited for. What was sent to its user
        # before, by room, if that may have to be sent once more.
        self.paging = False
        self.sent_before: dict[str, int] = NOT_BEHIND
        # Why it is rejected, if it is: its task says so, once the hub has let go of the link.
        self.refusal = ""
        # Why it is closing, if it is; whether its task has passed on the last of its input.
        self.closing: str | None = None
        self.input_ended = False

    @property
    def only_asks(self) -> bool:
        """Whether it only asks by HTTP, and so is no client of the chat."""
        return self.encoding.dialect == "http"

    @property
    def reached(self) -> dict[str, int]:
        """The newest position that it was given in each of its rooms."""
        return self.positions if self.slow_consumer else self.user.positions
