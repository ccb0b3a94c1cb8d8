"""A standstill: it is asked for, reached once everyone stands still, and over."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from attrs import define, field

from trio_chat.client import Note

if TYPE_CHECKING:
    from trio_chat.client import Client
    from trio_chat.doors.connection import Reader


@define(eq=False)
class Standstill:
    """One of them. The hub reaches it; who has asked for it says when it is over."""

    # Clients whose tasks have not said yet that they stand still; what those that have know.
    moving: set[Client] = field(factory=set)
    readers: dict[Client, Reader] = field(factory=dict)
    reached: trio.Event = field(factory=trio.Event)
    over: trio.Event = field(factory=trio.Event)
    # The clients with sockets are another process's now.
    handed_over: bool = False

    def stop(self, client: Client) -> None:
        """Have a client's task stand still."""
        if client.link.freeze(self):
            self.moving.add(client)

    def stands(self, still: Still) -> None:
        """Take note that it does."""
        if still.client in self.moving:
            self.moving.remove(still.client)
            self.readers[still.client] = still.reader

    def forget(self, client: Client) -> None:
        """Leave out a client that the hub has let go of: its task ends it by itself."""
        self.moving.discard(client)
        self.readers.pop(client, None)


@define
class Freeze(Note):
    """The hub is to stand still between two turns, and everyone before it."""

    standstill: Standstill


@define
class Still(Note):
    """A client's task stands still, and has passed on all that it had at hand."""

    client: Client
    reader: Reader
    standstill: Standstill
