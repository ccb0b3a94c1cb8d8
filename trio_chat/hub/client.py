"""What the hub knows of one client, and what it needs of the link to it."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from attrs import define

from trio_chat.protocol.names import ANONYMOUS

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Sequence

    import trio

    from trio_chat.dialects import Encoding
    from trio_chat.hub.pause import Pause
    from trio_chat.hub.room import Room
    from trio_chat.protocol.commands import LabelledCommand, Record, Search, ShowHistory


# The positions of a client that does not lag: one empty dict for all of them, never changed.
NOT_BEHIND: dict[str, int] = {}


@define
class Note:
    """Something for the hub that is no command of a client's, and that waits for none.

    See `trio_chat.hub.hub`.
    """


@define
class Lost(Note):
    """A client's connection has failed: nothing can be sent any more. `reason` is for the log."""

    client: Client
    reason: str


Item: TypeAlias = "tuple[Client, Sequence[Record], int] | Note"
"""What travels on the hub's channel: the records of one read with its size in bytes, or a note."""


class Link(Protocol):
    """The hub's end of a connection.

    Only the client's own task closes it, once the hub has released it.
    """

    address: str
    """Where the client comes from, for limits and logs; the port is not part of it."""

    peer: str
    """The whole address, for logs."""

    @property
    def unsent_bytes(self) -> int:
        """How many bytes are kept because the connection would not take them yet."""
        ...

    def write(self, chunk: Any | None, more: list[Any] | None) -> int:
        """Send what can be sent without blocking, after what is unsent; give `unsent_bytes`.

        The chunk and those after it, or what is unsent alone. The rest is kept. Raises `OSError` if
        the connection is broken.
        """
        ...

    async def drain(self) -> bool:
        """Wait until some of the rest has been sent, or can be; whether to call this again at once.

        Otherwise it is the hub's turn to write. Raises `OSError` or a Trio error if no more can be
        sent.
        """
        ...

    def undelivered(self) -> int:
        """How many bytes the peer has not got of those that were sent; 0 where nobody knows."""
        ...

    def discard(self) -> None:
        """Forget the rest."""
        ...

    def pause_reading(self) -> None:
        """Make the client's task read no further."""
        ...

    def resume_reading(self) -> None:
        """Let it read on."""
        ...

    def drain_input(self) -> None:
        """Make the client's task pass on what has arrived and end reading: the chat is stopping."""
        ...

    def pause_for(self, pause: Pause) -> bool:
        """Make the client's task stand still until that is over.

        Whether it will say so: it does not if it reads no more.
        """
        ...

    def release(self) -> None:
        """The hub will not touch this link again: close it."""
        ...


class Client:
    """One client. Its task makes it and sends it to the hub; from then on it is the hub's alone.

    `rooms` is what the records applied so far have come to. What a turn delivers goes by the rooms'
    audiences instead.
    """

    __slots__ = (
        "away",
        "channel",
        "chunk",
        "closing",
        "draining",
        "encoding",
        "halted",
        "held",
        "id",
        "keys",
        "lagging",
        "link",
        "local",
        "looking",
        "more",
        "nick",
        "only_room",
        "paging",
        "positions",
        "queued",
        "read_out",
        "refusal",
        "room_limit",
        "rooms",
        "successor",
        "token",
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
        # 96 random bits: unique for ever, on however many servers.
        self.id = secrets.token_urlsafe(12)
        self.link = link
        self.encoding = encoding
        # The client's own clone of the hub's channel, for what its link has to say. It closes with
        # the client.
        self.channel = channel
        # In-process: no limits on rooms, replies by their own result, never dropped.
        self.local = local
        self.room_limit = room_limit
        self.nick = ANONYMOUS
        # The casefolded nick first, then what else no other nick may look like; nothing if
        # anonymous.
        self.keys: tuple[str, ...] = ()
        self.rooms: dict[str, Room] = {}
        # The room it is in, if that is just one: what a record without a room means.
        self.only_room: Room | None = None

        # This turn's output, in chunks of the encoding's kind, which the link knows how to take:
        # the first one, which mostly is all, and those after it; and the size of its replies.
        self.chunk: Any = None
        self.more: list[Any] | None = None
        self.queued = 0
        # Records that wait: no more of them are applied while `halted`.
        self.held: deque[Record] | None = None
        self.halted = False
        # What it asked that is being read from the room log; it is halted until then.
        self.looking: ShowHistory | Search | LabelledCommand | None = None
        # A task waits for the link to take more.
        self.draining = False
        # Past its limit: what it was last given of each room's persistent entries.
        self.lagging = False
        self.positions: dict[str, int] = NOT_BEHIND
        self.paging = False
        # What it can come back with if its connection breaks; and if it stands in for one that may,
        # the scope of the wait for that.
        self.token = ""
        self.away: trio.CancelScope | None = None
        # Who has all that was this one's own, if someone has: what is left here is a connection.
        self.successor: Client | None = None
        # Why it is turned away, if it is: its task says so, once the hub has let go of the link.
        self.refusal = ""
        # Why it is closing, if it is; whether its task has passed on the last of its input.
        self.closing: str | None = None
        self.read_out = False

    @property
    def reached(self) -> dict[str, int]:
        """The newest position that it was given in each of its rooms, while it does not lag."""
        return {room.name: room.position for room in self.rooms.values()}
