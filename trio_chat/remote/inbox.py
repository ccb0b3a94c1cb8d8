"""The events that wait for a remote client's program, within a bound."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, TypeAlias

import trio
from attrs import define

from trio_chat.protocol.events import PERSISTENT, Event, Missed

if TYPE_CHECKING:
    from trio_chat.protocol.events import PersistentEntry


@define
class Disconnected:
    """The connection broke, for this reason; another is being made."""

    reason: str


@define
class Resumed:
    """The client is connected again, under this nick, in these rooms (by their casefolded names).

    `anew`: the server did not know it any more, so that the others saw it leave and come.
    """

    nick: str
    rooms: tuple[str, ...]
    anew: bool


RemoteEvent: TypeAlias = Event | Disconnected | Resumed


# Characters of the documents whose events wait; a server that floods its clients gets no further.
MOST_CHARS = 32 << 20


class Inbox:
    """At most `limit` events; what comes beyond is left out, persistent entries as `Missed`."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # With the characters of their documents.
        self._events: deque[tuple[RemoteEvent, int]] = deque()
        self._chars = 0
        # What was left out since the last event that was taken in, by room.
        self._missed: dict[str, Missed] = {}
        self._ended = False
        self._arrived = trio.Event()

    @property
    def is_crowded(self) -> bool:
        """Whether half of what it holds has gathered."""
        return len(self._events) > self._limit // 2

    def put(self, event: RemoteEvent, chars: int = 0) -> None:
        """Add an event; its document has so many characters."""
        if len(self._events) >= self._limit or self._chars + chars > MOST_CHARS:
            self._leave_out(event)
        else:
            self._say_what_is_missing()
            self._events.append((event, chars))
            self._chars += chars
        self._arrived.set()

    def _leave_out(self, event: RemoteEvent) -> None:
        if isinstance(event, PERSISTENT):
            self._count(event, 1)
        elif isinstance(event, Missed):
            self._count(event, event.count)

    def _count(self, event: PersistentEntry | Missed, count: int) -> None:
        name = getattr(event, "room_name", event.room)
        self._missed.setdefault(event.room, Missed(event.room, name, 0)).count += count

    def _say_what_is_missing(self) -> None:
        self._events.extend((missed, 0) for missed in self._missed.values())
        self._missed.clear()

    def end(self) -> None:
        """Nothing more will come."""
        self._ended = True
        self._arrived.set()

    async def take(self) -> RemoteEvent | None:
        """Wait for the next event; `None` is the end."""
        await trio.lowlevel.checkpoint()
        while True:
            if not self._events:
                self._say_what_is_missing()
            if self._events:
                event, chars = self._events.popleft()
                self._chars -= chars
                return event
            if self._ended:
                return None
            self._arrived = trio.Event()
            await self._arrived.wait()
