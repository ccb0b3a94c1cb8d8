"""Tells programs what their user is in a room with rules: its role, a mute, and its commands.

People read the actions themselves. A program would have to understand their texts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio_chat.hub.turn import Origin
from trio_chat.moderation.fields import Role
from trio_chat.protocol.events import CommandsListed, Notice, Standing
from trio_chat.protocol.names import SERVER
from trio_chat.protocol.rows import May
from trio_chat.protocol.table import usages

if TYPE_CHECKING:
    from collections.abc import Mapping

    from trio_chat.hub.authorize import Authorize
    from trio_chat.hub.collect import Collect
    from trio_chat.hub.room import Room
    from trio_chat.hub.state import State
    from trio_chat.hub.user import User
    from trio_chat.protocol.events import Ruled
    from trio_chat.protocol.rows import Row

# Fields that change what somebody is.
_KINDS = frozenset({"role", "mute"})


class Standings:
    """Sends `Standing` to the users of this process."""

    def __init__(
        self, state: State, collect: Collect, authorize: Authorize, table: Mapping[str, Row]
    ) -> None:
        self._state = state
        self._table = table
        self._collect = collect
        self._authorize = authorize

    def ruled(self, entry: Ruled) -> None:
        """Tell the people whom an action is about. It is folded."""
        parts = [name.partition(" ") for name in entry.changes]
        targets = {target for kind, _, target in parts if kind in _KINDS}
        if not targets:
            return
        room = self._state.rooms.get(entry.room)
        is_network = any(target.startswith("net:") for target in targets)
        if entry.room == SERVER:
            for user in self._state.users.values():
                if is_network or user.person in targets:
                    for own in user.rooms.values():
                        self._send(user, own)
        elif room is not None:
            for user in room.members:
                if is_network or not targets.isdisjoint(user.ids):
                    self._tell(user, room)
                    self.commands(user)

    def user(self, user: User) -> None:
        """Tell a user who has logged in or out, or has resumed, about all of its rooms."""
        for room in user.rooms.values():
            self._tell(user, room)
        self.commands(user)

    def operator(self, user: User) -> None:
        """Tell a user who is now an operator of the server, or none any more."""
        for room in user.rooms.values():
            self._send(user, room)
        self.commands(user)

    def commands(self, user: User) -> None:
        """Tell a program which commands its user may type, if they are not those of before."""
        session = user.session
        if session is None or session.encoding.for_people or session.local or user.awaited:
            return
        may = self._authorize.may(user)
        if may != session.may:
            is_about_server = May.SERVER in {may, session.may}
            session.may = may
            operator = may is May.SERVER if is_about_server else None
            told = CommandsListed(usages(self._table, may), operator)
            self._collect.answer(Origin(session), told)

    def entered(self, user: User, room: Room) -> None:
        """Tell a user who has just entered a room."""
        self.commands(user)
        session, rules = user.session, room.rules
        if session and session.encoding.for_people and rules and rules.creator in user.ids:
            told = f"you made {room.shown}, and are its operator until it is empty: see /help"
            self._collect.answer(Origin(session), Notice(told))
        if room.rules is not None or user.account is not None or user.ruled:
            self._tell(user, room)

    def _tell(self, user: User, room: Room) -> None:
        is_ruled = room.rules is not None or user.ruled
        operated = user.session is not None and user.session.may == May.SERVER
        if is_ruled or operated or self._authorize.role(user, room.rules) is not Role.NONE:
            self._send(user, room)

    def _send(self, user: User, room: Room) -> None:
        session = user.session
        if session is None or session.encoding.for_people:
            return
        role = self._authorize.role(user, room.rules)
        mute = self._authorize.penalty("mute", user, self._state.server.rules)
        mute = mute or self._authorize.penalty("mute", user, room.rules)
        told = Standing(room.name, room.shown, role.word)
        if mute is not None:
            told.muted, told.until, told.reason = True, mute.until or 0.0, mute.reason
        self._collect.answer(Origin(session), told)
