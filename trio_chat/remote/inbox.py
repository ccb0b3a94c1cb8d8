"""A bounded queue of the events that wait for the program of a remote client."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, TypeAlias, cast

import trio
from attrs import define

from trio_chat.protocol.events import PERSISTENT, Answer, ClientEvent, Event, Missed, Refusal

if TYPE_CHECKING:
    from trio_chat.protocol.events import PersistentEntry


@define
class Disconnected:
    """The connection broke, for this reason.

    The client makes another, unless `Ended` came before this.
    """

    reason: str


@define
class Resumed:
    """The client is connected again, with this nick and in these rooms (casefolded names).

    `anew`: the server had forgotten the client, so the others saw it leave and join.
    """

    nick: str
    rooms: tuple[str, ...]
    anew: bool


RemoteEvent: TypeAlias = ClientEvent | Answer | Refusal | Disconnected | Resumed
Waiting: TypeAlias = Event | Disconnected | Resumed


# Characters of the documents whose events wait. The bound holds against a server that floods.
MOST_CHARS = 32 << 20


class Inbox:
    """At most `limit` events. Later ones are left out; `Missed` stands for persistent entries."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # Each with the number of characters of its document.
        self._events: deque[tuple[Waiting, int]] = deque()
        self._chars = 0
        # The entries left out since the last event was added, by room.
        self._missed: dict[str, Missed] = {}
        self._ended = False
        self._arrived = trio.Event()

    @property
    def is_crowded(self) -> bool:
        """Whether it is at least half full."""
        return len(self._events) > self._limit // 2

    def put(self, event: Waiting, chars: int = 0) -> None:
        """Add an event whose document has so many characters."""
        if len(self._events) >= self._limit or self._chars + chars > MOST_CHARS:
            self._leave_out(event)
        else:
            self._say_what_is_missing()
            self._events.append((event, chars))
            self._chars += chars
        self._arrived.set()

    def _leave_out(self, event: Waiting) -> None:
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
        """End the queue: nothing more will come."""
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
                # The other events answer commands that this client never sends.
                return cast("RemoteEvent", event)
            if self._ended:
                return None
            self._arrived = trio.Event()
            await self._arrived.wait()
