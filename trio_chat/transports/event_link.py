"""The link of an in-process client: it takes events as objects, with no socket and no dialect."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, cast

import trio

from trio_chat.errors import ChatClosed
from trio_chat.hub.inbox import Call
from trio_chat.protocol.directory import NOBODY_KNOWN
from trio_chat.protocol.events import size_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio_chat.dialects import Piece
    from trio_chat.hub.inbox import Item, Record
    from trio_chat.hub.pause import Pause
    from trio_chat.hub.session import Session
    from trio_chat.protocol.directory import Directory, Recipient
    from trio_chat.protocol.events import ClientEvent, Event


class EventEncoding:
    """Renders an event as itself."""

    __slots__ = ()

    dialect = "in-process"
    ping = b""
    answers_pings = False
    echoes = mirrors = lists_members = False
    lists_all = False
    for_people = False

    def render(
        self,
        events: Sequence[Event],
        directory: Directory = NOBODY_KNOWN,
        to: Recipient | None = None,
    ) -> list[Piece]:
        """Give the events."""
        del directory, to
        return list(events)

    def join(self, pieces: Sequence[Piece]) -> list[Event]:
        """Give the events as a list."""
        return cast("list[Event]", list(pieces))


EVENTS = EventEncoding()


class EventLink:
    """A link that takes events, and counts them against the outbox limit as bytes would be."""

    __slots__ = (
        "_arrived",
        "_limit",
        "_queue",
        "_told",
        "address",
        "channel",
        "ended",
        "peer",
        "unsent_bytes",
    )

    tls = False

    def __init__(self, channel: trio.MemorySendChannel[Item], limit: int) -> None:
        self.peer = self.address = "in-process"
        self.channel = channel
        self.unsent_bytes = 0
        self.ended = False
        self._limit = limit
        # Whether the hub has been told that there is room again, since it last wrote.
        self._told = False
        self._queue: deque[Event] = deque()
        self._arrived = trio.Event()

    # --- for the hub ------------------------------------------------------------------------------

    def write(self, chunk: list[Event] | None, more: list[list[Event]] | None) -> int:
        """Take events; see `trio_chat.hub.session.Link`."""
        for one in [chunk or [], *(more or [])]:
            self._queue.extend(one)
            self.unsent_bytes += size_of(one)
        self._told = False
        self._arrived.set()
        return self.unsent_bytes

    async def drain(self) -> bool:
        """Not called for an in-process client, which takes its events itself."""
        await trio.lowlevel.checkpoint()
        return False

    def undelivered(self) -> int:
        """Nothing is between us and the client."""
        return 0

    def discard(self) -> None:
        """Forget what has not been taken."""
        self._queue.clear()
        self.unsent_bytes = 0

    def pause_reading(self) -> None:
        """Nothing: its calls wait for their own results, which is all it can send."""

    def resume_reading(self) -> None:
        """Nothing."""

    def drain_input(self) -> None:
        """Nothing: there is no reader."""

    def pause_for(self, pause: Pause) -> bool:
        """Nothing: there is no reader."""
        del pause
        return False

    def at_rest(self) -> None:
        """Nothing: there is no reader."""

    def release(self) -> None:
        """End the stream of events, once those that wait have been taken."""
        self.ended = True
        self._arrived.set()
        self.channel.close()

    # --- for the in-process client ----------------------------------------------------------------

    async def take(self) -> ClientEvent | None:
        """Wait for the next event; `None` is the end."""
        await trio.lowlevel.checkpoint()
        while not self._queue:
            if self.ended:
                return None
            if self._arrived.is_set():
                self._arrived = trio.Event()
            await self._arrived.wait()
        event = self._queue.popleft()
        self.unsent_bytes -= size_of([event])
        # Replies are the results of calls, and do not come here.
        return cast("ClientEvent", event)

    async def perform(self, client: Session, record: Record) -> list[Event]:
        """Have a record carried out; gives the replies and entries that came of it."""
        call = Call(record)
        try:
            await self.channel.send((client, (call,), 0))
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            raise ChatClosed("this client has left the chat, or the chat has stopped") from None
        return await call.result()

    def has_room_again(self) -> bool:
        """Whether half of the outbox is free and the hub has not been told; true once each time."""
        if self._told or self.unsent_bytes >= self._limit // 2:
            return False
        self._told = True
        return True
