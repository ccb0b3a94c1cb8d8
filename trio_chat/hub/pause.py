"""A pause: it is asked for, reached once everyone stands still, and over.

Those who stop take themselves off a list. A note of each would take as long as all the rest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from attrs import define, field

from trio_chat.hub.client import Note

if TYPE_CHECKING:
    from trio_chat.hub.client import Client
    from trio_chat.transports.reader import Reader


@define(eq=False)
class Pause:
    """One of them. The hub reaches it; who has asked for it says when it is over."""

    # Clients whose tasks have not said yet that they stand still; what those that have know.
    moving: set[Client] = field(factory=set)
    readers: dict[Client, Reader] = field(factory=dict)
    reached: trio.Event = field(factory=trio.Event)
    over: trio.Event = field(factory=trio.Event)
    # Clients that are another process's now, if it has come to that.
    handed_over: list[Client] | None = None

    def stop(self, client: Client) -> None:
        """Have a client's task stand still."""
        if client.link.pause_for(self):
            self.moving.add(client)

    def stands(self, client: Client, reader: Reader) -> bool:
        """Take note that it does, all it had at hand being on the hub's channel.

        Whether it was the last one, and has to wake the hub.
        """
        if client not in self.moving:  # the hub has let go of it
            return False
        self.moving.remove(client)
        self.readers[client] = reader
        return not self.moving

    def forget(self, client: Client) -> None:
        """Leave out a client that the hub has let go of: its task ends it by itself."""
        self.moving.discard(client)
        self.readers.pop(client, None)


@define
class PauseRequested(Note):
    """The hub is to stand still between two turns, and everyone before it."""

    pause: Pause


@define
class AllPaused(Note):
    """All clients' tasks stand still."""
