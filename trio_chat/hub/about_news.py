"""Tells clients of IRC that people are away, or have changed their real names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from attrs import evolve

from trio_chat.protocol.presence import AboutChanged

if TYPE_CHECKING:
    from trio_chat.hub.authorize import Authorize
    from trio_chat.hub.outboxes import Outboxes
    from trio_chat.hub.session import Session
    from trio_chat.hub.state import State
    from trio_chat.hub.user import User
    from trio_chat.protocol.presence import About

# No other dialect has words for this.
DIALECT: Final = "irc"


class AboutNews:
    """Tells those who are in a room with a person, and those who watch its nick."""

    def __init__(self, state: State, outboxes: Outboxes, authorize: Authorize) -> None:
        self._state = state
        self._outboxes = outboxes
        self._authorize = authorize

    def tell(self, user: User, before: About) -> None:
        """Tell what has changed since a person has said something else about itself."""
        after = self._state.about(user.person)
        if after.away != before.away:
            self._tell(user, "away", after.away)
        if after.real != before.real:
            self._tell(user, "real", after.real)

    def _tell(self, user: User, what: Literal["away", "real"], text: str) -> None:
        event = AboutChanged(user.person, user.nick, what, text)
        near = self._near(user)
        self._outboxes.put_shown(near, event)
        watchers = self._state.watchers.get(user.keys[0] if user.keys else "", ())
        watching = [
            session
            for session in watchers
            if session not in near
            and session is not user.session
            and not session.slow_consumer
            and session.closing is None
        ]
        self._outboxes.put_shown(watching, evolve(event, watched=True))

    def _near(self, user: User) -> dict[Session, None]:
        """Return those who hear a person in a room.

        In rooms where messages are checked, these words would be a way around that.
        """
        return {
            session: None
            for room in user.rooms.values()
            if room.rules is None or not room.rules.checks(self._authorize.role(user, room.rules))
            for encoding, listeners in room.audience.items()
            if encoding.dialect == DIALECT
            for session in listeners
            if session is not user.session
        }
