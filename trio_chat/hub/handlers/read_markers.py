"""Read markers: a person moves them on one device, and hears of them on the others.

The markers of rooms are kept with an account. All others end with the person, as private messages
do, which are not kept either.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from trio_chat.hub import inbox
from trio_chat.protocol.read_markers import MarkRead, ReadUntil

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from trio_chat.hub.collect import Collect
    from trio_chat.hub.handlers import Handlers
    from trio_chat.hub.session import Session
    from trio_chat.hub.state import State
    from trio_chat.hub.user import User


class ReadMarkers:
    """Handles the records about read markers."""

    def __init__(self, state: State, collect: Collect) -> None:
        self._state = state
        self._collect = collect
        self.handlers: Handlers = {MarkRead: self._mark}
        self.requests: dict[type[inbox.HubEvent], Callable[[Any], None]] = {
            inbox.MarkerMoved: self._moved_elsewhere
        }

    def _mark(self, session: Session, record: MarkRead) -> None:
        state, user, room = self._state, session.user, record.room or ""
        nick = "" if record.name is None else record.name.display
        target = room if record.name is None else _with(record.name.casefolded)
        # Nobody has read what is yet to be said.
        until = 0.0 if record.until is None else min(record.until, time.time())
        if state.remembered.mark_read(user.person, target, until):
            if room and user.account is not None and state.people is not None:
                state.people.read_markers.note(user.person, room, until)
            self._show(user.others, ReadUntil(until, room, nick))
        known = state.remembered.read_until(user.person, target)
        self._collect.reply(session, ReadUntil(known, room, nick))

    def _moved_elsewhere(self, event: inbox.MarkerMoved) -> None:
        if event.account not in self._state.accounts:
            return
        if self._state.remembered.mark_read(event.account, event.room, event.until):
            devices = self._state.users_of(event.account)
            self._show(devices, ReadUntil(event.until, event.room))

    def _show(self, devices: Iterable[User], event: ReadUntil) -> None:
        sessions = [device.session for device in devices if device.session is not None]
        # No other dialect has words for that.
        hearing = [
            session
            for session in sessions
            if session.encoding.dialect == "irc"
            and session.closing is None
            and not session.slow_consumer
        ]
        self._collect.show(hearing, event)


def _with(nick: str) -> str:
    """Return the target that stands for private messages: no room has a space in its name."""
    return f"with {nick}"
