"""The two interfaces through which a store is copied: one reads whole rooms, one writes them.

A reader shows its store as it is at one moment, as far as the store can.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from attrs import frozen

from trio_chat.roomlog.rules import NO_RULES, Rules

if TYPE_CHECKING:
    from collections.abc import Sequence

    from trio_chat.protocol.events import PersistentEntry, TopicSet
    from trio_chat.roomlog.holding import Waiting
    from trio_chat.roomlog.rules import Action


@frozen
class StoredRoom:
    """A room of a store. Its entries lie above `floor`, up to `position`.

    None of them is later than `time`, in seconds since 1970. The next entry gets the position after
    `position`, and a later time. `shown` is the name as people see it. `topic` has the position 0.
    """

    name: str
    shown: str
    topic: TopicSet | None
    floor: int
    position: int
    time: float
    rules: Rules = NO_RULES


class StoreReader(Protocol):
    """Reads a store. Each method raises `StoreError` if the store cannot be read."""

    async def rooms(self) -> Sequence[StoredRoom]:
        """Return all rooms, in the order of their names."""
        ...

    async def positions_from(self) -> int:
        """Return the position above which new rooms begin."""
        ...

    async def read(self, room: str, after: int) -> Sequence[PersistentEntry]:
        """Return the first entries of a room after a position, oldest first; none at the end."""
        ...

    async def actions(self, room: str) -> Sequence[Action]:
        """Return the kept actions of a room, oldest first."""
        ...

    async def held(self, room: str) -> Sequence[Waiting]:
        """Return the messages of a room that wait for a moderator, oldest first."""
        ...

    async def in_use(self) -> bool:
        """Whether a daemon uses the store, so that it may change after it was read."""
        ...

    def close(self) -> None:
        """End the reading. Never blocks."""
        ...


class StoreWriter(Protocol):
    """Writes a new store. Each method raises `StoreError` if the store cannot be written."""

    async def positions_from(self, position: int) -> None:
        """Have new rooms begin above this position."""
        ...

    async def add_room(self, room: StoredRoom) -> None:
        """Make a room. Its actions and its entries follow, before the next room."""
        ...

    async def add_actions(self, room: str, actions: Sequence[Action]) -> None:
        """Add the actions of the room made last."""
        ...

    async def add_held(self, waiting: Sequence[Waiting]) -> None:
        """Add messages of the room made last that wait for a moderator."""
        ...

    async def add(self, room: str, entries: Sequence[PersistentEntry]) -> None:
        """Add entries of the room made last, with their positions and times."""
        ...

    async def finish(self) -> StoreReader:
        """End the writing, and return a reader of what was written."""
        ...

    def close(self) -> None:
        """Leave the store as it is, complete or not. Never blocks."""
        ...
