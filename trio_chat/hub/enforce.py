"""Lets rules of rooms take effect on people who are in them: who is kicked or banned has to leave.

Each process does that for its own users. A leave is an entry of its own, after the action.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio_chat.hub.standing import Standings
from trio_chat.protocol.events import Departed, Exited

if TYPE_CHECKING:
    from trio_chat.hub.authorize import Authorize
    from trio_chat.hub.collect import Collect
    from trio_chat.hub.room import Room
    from trio_chat.hub.state import State
    from trio_chat.hub.user import User
    from trio_chat.protocol.events import Ruled


class Enforce:
    """Drafts the leaves that follow from rules, once entries are folded."""

    def __init__(self, state: State, collect: Collect, authorize: Authorize) -> None:
        self._state = state
        self._collect = collect
        self.authorize = authorize
        self.standings = Standings(state, collect, authorize)

    def ruled(self, entry: Ruled) -> None:
        """Let people leave whom an action kicks or bans, and tell others what they are now."""
        room = self._state.rooms.get(entry.room)
        if room is None:
            return
        parts = [name.partition(" ") for name in entry.changes]
        targets = {target for kind, _, target in parts if kind in {"ban", "role"}}
        is_network = any(target.startswith("net:") for target in targets)
        for user in list(room.members) if targets or entry.ousted else ():
            is_meant = is_network or user.person in targets
            if user.id in entry.ousted:
                self._oust(user, room, f"{entry.nick} {entry.text}")
            elif is_meant and (why := self._why_banned(user, room)):
                self._oust(user, room, why)
        self.standings.ruled(entry)

    def user(self, user: User) -> None:
        """Let somebody leave who is banned since it is somebody else, or is somewhere else."""
        for room in list(user.rooms.values()) if user.ruled else ():
            if why := self._why_banned(user, room):
                self._oust(user, room, why)

    def _why_banned(self, user: User, room: Room) -> str:
        return self.authorize.why_banned(user, room.shown, room.rules) if user.is_here else ""

    def _oust(self, user: User, room: Room, why: str) -> None:
        if user.is_here and not user.leaving:
            left = Exited(user.id, user.nick, room.name)
            self._collect.draft_of(user, left, Departed(room.name, room.shown, why))
