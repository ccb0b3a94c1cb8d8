"""Lets rules take effect on people who are here: those who are kicked or banned have to leave.

Each process does that for its own users. A leave is an entry of its own, after the action.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from trio_chat.hub.authorize import BANNED, banned_from_server
from trio_chat.hub.standing import Standings
from trio_chat.protocol.events import Departed, Exited, Invited
from trio_chat.protocol.names import SERVER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from trio_chat.hub.authorize import Authorize
    from trio_chat.hub.collect import Collect
    from trio_chat.hub.room import Room
    from trio_chat.hub.state import State
    from trio_chat.hub.user import User
    from trio_chat.protocol.events import Ousted, Ruled
    from trio_chat.protocol.rows import Row

# The reason for an end in metrics and the log.
KICKED: Final = "kicked"
# Somebody comes, or is somebody else, whom a room has banned before.
_BY_RULES: Final = ("", "", "banned")


class Enforce:
    """Drafts the leaves that follow from rules, once entries are folded.

    `expel` ends a user for good. It takes the user, the sentence for the client, and the reason.
    """

    def __init__(
        self,
        state: State,
        collect: Collect,
        authorize: Authorize,
        expel: Callable[[User, str, str], None],
        table: Mapping[str, Row],
    ) -> None:
        self._state = state
        self._collect = collect
        self._expel = expel
        self.authorize = authorize
        self.standings = Standings(state, collect, authorize, table)

    def ruled(self, entry: Ruled) -> None:
        """Let people leave whom an action kicks or bans, and tell others what they are now."""
        if entry.room == SERVER:
            meant = self._meant({name.partition(" ")[2] for name in entry.changes})
            # A raid is about all who came last.
            for user in list(self._state.users.values()) if "raid" in entry.changes else meant:
                self._by_server(user)
            for kicked in map(self._state.users.get, entry.ousted):
                if kicked is not None and kicked.is_here and not kicked.leaving:
                    self._expel(kicked, f"{entry.nick} {entry.text}", KICKED)
            self.standings.ruled(entry)
            return
        room = self._state.rooms.get(entry.room)
        if room is None:
            return
        parts = [name.partition(" ") for name in entry.changes]
        self._tell_invited(entry, room)
        targets = {target for kind, _, target in parts if kind in {"ban", "role"}}
        is_network = any(target.startswith("net:") for target in targets)
        for user in list(room.members) if targets or entry.ousted else ():
            is_meant = is_network or user.person in targets
            ousted = (entry.author, entry.nick, entry.text)
            if user.id in entry.ousted:
                why = f"{entry.nick} {entry.text}"
                if user.is_here:
                    self._oust(user, room, why, ousted)
                else:
                    user.ousted = {**user.ousted, room.name: (why, ousted)}
            elif is_meant and (why := self._why_banned(user, room)):
                self._oust(user, room, why, ousted)
        self.standings.ruled(entry)

    def _tell_invited(self, entry: Ruled, room: Room) -> None:
        """Tell the people whom an action invites. The process of its author does that."""
        author = self._state.users.get(entry.device or entry.author)
        for name, value in entry.changes.items():
            kind, _, person = name.partition(" ")
            users = self._state.users_of(person) if kind == "invite" and value is not None else ()
            if author is None or not author.is_here or not users:
                continue
            if not any(room.name in user.rooms for user in users):
                self._collect.draft_by_itself(invitation(author, room, person))

    def came(self, user: User) -> None:
        """Let somebody leave who is banned since it is somebody else, or connects elsewhere.

        Nor does a kick of another process count less because its target has just come here.
        """
        self._by_server(user)
        for name, (why, ousted) in user.ousted.items() if user.is_here else ():
            self._oust(user, user.rooms[name], why, ousted)
        self.entered(user)

    def operators_changed(self, keys: Iterable[str]) -> None:
        """Let rules count for accounts that have become operators of the server, or are none now.

        `keys` are their casefolded nicks.
        """
        for key in keys:
            user = self._state.nicks.get(key)
            for device in () if user is None or user.account is None else (user, *user.others):
                self.came(device)
                self.standings.operator(device)

    def entered(self, user: User) -> None:
        """Let somebody leave the rooms from which it is banned."""
        for room in list(user.rooms.values()) if user.ruled else ():
            if why := self._why_banned(user, room):
                self._oust(user, room, why)

    def caught_up(self, room: Room) -> None:
        """Let people leave whom a room has banned while this process did not follow it."""
        if room is self._state.server:
            for user in list(self._state.users.values()):
                self._by_server(user)
        for user in list(room.members):
            if why := self._why_banned(user, room):
                self._oust(user, room, why)

    def _meant(self, targets: set[str]) -> list[User]:
        """Return the users that these fields may be about: all, if one is about a network."""
        if any(target.startswith("net:") for target in targets):
            return list(self._state.users.values())
        return [user for target in targets for user in self._state.users_of(target)]

    def _by_server(self, user: User) -> None:
        """Apply the rules of the server to a user."""
        if not user.is_here or user.leaving or not self.authorize.is_concerned(user):
            return
        user.ruled = True
        if (ban := self.authorize.server_ban(user)) is not None:
            self._expel(user, str(banned_from_server(ban)), BANNED)

    def _why_banned(self, user: User, room: Room) -> str:
        return self.authorize.why_banned(user, room.shown, room.rules) if user.is_here else ""

    def _oust(self, user: User, room: Room, why: str, ousted: Ousted = _BY_RULES) -> None:
        if user.is_here and not user.leaving:
            left = Exited(user.id, user.nick, room.name, ousted=ousted)
            self._collect.draft_of(user, left, Departed(room.name, room.shown, why, ousted))


def invitation(author: User, room: Room, person: str) -> Invited:
    """Return the draft of the invitation of a person to a room."""
    about = room.name, room.shown, author.person, author.nick
    return Invited(*about, person, time.time(), author.device)
