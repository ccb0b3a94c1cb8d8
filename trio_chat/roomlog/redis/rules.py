"""The rules by which a node makes operations of drafts: limits, kept rooms, and users' tokens."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trio_chat.roomlog.redis.operations import Operations, hash_of
from trio_chat.roomlog.retention import DAY

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from trio_chat.protocol.events import Entry
    from trio_chat.roomlog.logged_room import LoggedRoom
    from trio_chat.roomlog.retention import Retention
    from trio_chat.roomlog.world import Attendance

# The bound of all histories together if no setting gives one: a small Redis has 256 MB.
HISTORY_BYTES: Final = 64 << 20


class Rules:
    """The settings that a reload may change, and the view of the hub's users once there is one.

    `grace` is in milliseconds: how long a user may resume whose node is gone. `now` gives the time
    by the engine's clock. `state` gives the state of a room as far as this node has followed it.
    """

    def __init__(
        self,
        retention: Retention,
        grace: int,
        now: Callable[[], float],
        state: Callable[[str], LoggedRoom],
    ) -> None:
        self.retention = retention
        self.max_rooms = retention.rooms
        # Rooms that exist without members, and those that the last beat has told the engine.
        self.kept: frozenset[str] = frozenset()
        self.kept_there: frozenset[str] | None = None
        self.attendance: Attendance | None = None
        self._grace = grace
        self._now = now
        self._state = state

    @property
    def limits(self) -> tuple[int, int, int]:
        """The most rooms, entries a room, and bytes of all histories."""
        keep = self.retention
        return self.max_rooms, keep.entries, keep.bytes or HISTORY_BYTES

    def oldest(self) -> float:
        """Return the time before which no entry is shown, in seconds since 1970."""
        days = self.retention.days
        return self._now() - days * DAY if days else 0.0

    def operations(self, drafts: Sequence[Entry], *, leaves_only: bool = False) -> Operations:
        """Make operations of drafts; see `Operations.of`."""
        return Operations.of(
            drafts,
            self._secret,
            self.kept,
            lambda room: self._state(room).rules,
            leaves_only=leaves_only,
        )

    def _secret(self, user: str) -> tuple[str, int]:
        token = "" if self.attendance is None else self.attendance.token(user)
        return hash_of(token), self._grace
