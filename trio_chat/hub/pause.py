"""A pause of the whole chat: wanted, reached once everything stands still, and over.

The tasks that stop remove themselves from a list. An event for each task would take as long as all
the rest of the pause.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio
from attrs import define, field

if TYPE_CHECKING:
    from trio_chat.hub.session import Session
    from trio_chat.transports.reader import Reader


@define(eq=False)
class Pause:
    """One pause. The hub reaches it, and the task that asked for it ends it."""

    # The sessions whose tasks do not stand still yet, and the readers of the others.
    moving: set[Session] = field(factory=set)
    readers: dict[Session, Reader] = field(factory=dict)
    reached: trio.Event = field(factory=trio.Event)
    over: trio.Event = field(factory=trio.Event)
    # The sessions that another process has now, if the chat was handed over.
    handed_over: list[Session] | None = None

    def stop(self, session: Session) -> None:
        """Make a session's task stand still, if it does not already."""
        reader = session.link.at_rest()
        if reader is not None:
            self.readers[session] = reader
        elif session.link.pause_for(self):
            self.moving.add(session)

    def stands(self, session: Session, reader: Reader) -> bool:
        """Record that a task stands still, with all its records on the hub's channel.

        Returns whether it was the last one, which has to wake the hub.
        """
        if session not in self.moving:  # the hub has released it
            return False
        self.moving.remove(session)
        self.readers[session] = reader
        return not self.moving

    def forget(self, session: Session) -> None:
        """Remove a session that the hub has released. Its task ends by itself."""
        self.moving.discard(session)
        self.readers.pop(session, None)
