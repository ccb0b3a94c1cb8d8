"""Tells people of held messages: their authors, and the operators of the room who are there.

Programs of operators hear of each message, and people of fewer (`Held.news`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio_chat.moderation.fields import Role
from trio_chat.protocol.events import Notice

if TYPE_CHECKING:
    from trio_chat.hub.authorize import Authorize
    from trio_chat.hub.outboxes import Outboxes
    from trio_chat.hub.session import Session
    from trio_chat.hub.state import State
    from trio_chat.hub.turn import Origin
    from trio_chat.protocol.events import Held


class HeldNews:
    """Puts `Held` entries into outboxes."""

    def __init__(self, state: State, outboxes: Outboxes, authorize: Authorize) -> None:
        self._state = state
        self._outboxes = outboxes
        self._authorize = authorize

    def tell(self, entry: Held, origin: Origin | None) -> None:
        """Tell of a message that waits, or of what became of it. `origin` is the asker's."""
        asker = None if origin is None or origin.call is not None else origin.session
        if origin is not None and asker is not None:
            self._outboxes.reply(asker, entry, origin.label)
        for user in self._state.users_of(entry.author) if entry.state != "waits" else ():
            if user.session is not None and user.session is not asker:
                self._put(user.session, entry)
        room = self._state.rooms.get(entry.room)
        for user in () if room is None else room.members:
            session = user.session
            if session is None or session is asker or user.person == entry.author:
                continue
            if self._authorize.role(user, user.rooms[entry.room].rules) >= Role.OPERATOR:
                self._tell_operator(session, entry)

    def _tell_operator(self, session: Session, entry: Held) -> None:
        if not session.encoding.for_people:
            self._put(session, entry)
        elif text := entry.news:
            self._outboxes.put_event(session, Notice(text))

    def _put(self, session: Session, entry: Held) -> None:
        if not session.slow_consumer:
            self._outboxes.put_event(session, entry)
