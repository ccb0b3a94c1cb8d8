"""Tells a shared log who is here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from trio_chat.hub.user import account_of
from trio_chat.roomlog.world import OwnUser

if TYPE_CHECKING:
    from collections.abc import Iterator

    from trio_chat.hub.state import State


class HubAttendance:
    """The view of the hub's state for a log; see `trio_chat.roomlog.world.Attendance`."""

    def __init__(self, state: State) -> None:
        self._state = state

    def users(self) -> Iterator[OwnUser]:
        """Return the users of this process with a nick or a room."""
        for user in self._state.users.values():
            if user.is_here and (user.rooms or user.keys):
                rooms = [(room.name, room.shown) for room in user.rooms.values()]
                positions = None if user.detached is None else user.detached.positions
                account, since = account_of(user)
                yield OwnUser(
                    *(user.id, user.nick, user.keys, rooms, user.token, positions),
                    *(account, since, user.expires, user.about),
                )

    def token(self, user: str) -> str:
        """Return a user's token, or nothing."""
        found = self._state.users.get(user)
        return "" if found is None else found.token

    def clients(self) -> int:
        """Return the number of clients of this process, detached ones too."""
        return self._state.clients

    def positions(self) -> dict[str, int]:
        """Return the newest position that is folded in each room with members here.

        The server's own rules count as those of such a room.
        """
        server = self._state.server
        return {server.name: server.position} | {
            room.name: room.position for room in self._state.rooms.values() if room.is_followed
        }
