"""A pause of the whole chat: it is asked for, reached once everyone stands still, and over.

The tasks that stop take themselves off a list. An event of each would take as long as all the rest.
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
    """One of them. The hub reaches it; who has asked for it says when it is over."""

    # Sessions whose tasks have not said yet that they stand still; what those that have know.
    moving: set[Session] = field(factory=set)
    readers: dict[Session, Reader] = field(factory=dict)
    reached: trio.Event = field(factory=trio.Event)
    over: trio.Event = field(factory=trio.Event)
    # Sessions that are another process's now, if it has come to that.
    handed_over: list[Session] | None = None

    def stop(self, session: Session) -> None:
        """Have a session's task stand still, if it does not already."""
        reader = session.link.at_rest()
        if reader is not None:
            self.readers[session] = reader
        elif session.link.pause_for(self):
            self.moving.add(session)

    def stands(self, session: Session, reader: Reader) -> bool:
        """Take note that it does, all it had at hand being on the hub's channel.

        Whether it was the last one, and has to wake the hub.
        """
        if session not in self.moving:  # the hub has let go of it
            return False
        self.moving.remove(session)
        self.readers[session] = reader
        return not self.moving

    def forget(self, session: Session) -> None:
        """Leave out a session that the hub has let go of: its task ends it by itself."""
        self.moving.discard(session)
        self.readers.pop(session, None)
