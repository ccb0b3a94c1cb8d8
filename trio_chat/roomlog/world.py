"""The users of all processes that share a log, and the place of each process among them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from attrs import frozen

from trio_chat.protocol.presence import UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from trio_chat.protocol.presence import About
    from trio_chat.roomlog.logged_room import LoggedRoom


@frozen
class WorldUser:
    """A user of any process: `node` is where it is, or empty if it may resume at any.

    `account` is the id of the account that it is logged in to, or empty. `since` is when that was
    made, and `expires` when the login ends, in seconds since 1970 or 0. `about` is what it says of
    itself.
    """

    id: str
    node: str
    nick: str
    keys: tuple[str, ...]
    rooms: tuple[str, ...]
    account: str = ""
    since: float = 0.0
    expires: float = 0.0
    about: About = UNKNOWN


@frozen
class World:
    """All users at one moment, of all processes that share a log.

    `node` is this process. `shown` has the names of rooms as people see them. `rooms` has the state
    of the rooms with members here. `lost_nicks` are users here whose nick somebody else has by now.
    With `lost_history`, nothing is left of what was said before.
    """

    node: str
    users: Sequence[WorldUser]
    shown: Mapping[str, str]
    rooms: Mapping[str, LoggedRoom]
    lost_nicks: frozenset[str] = frozenset()
    lost_history: bool = False


@frozen
class Place:
    """The place of a process among those that share a log, as plain data for its successor.

    `epoch` is a word that only its holder knows. `seen` is the number of the newest turn that it
    knows of, and `read` that of the last turn of others that it has folded.
    """

    name: str
    epoch: str
    seen: int
    read: int


@frozen
class OwnUser:
    """A user of this process with a nick or rooms. `rooms` has their names, and as people see them.

    `positions` are those that the user has reached while detached, or `None` with a connection.
    `account`, `since` and `expires` are as for `WorldUser`.
    """

    id: str
    nick: str
    keys: tuple[str, ...]
    rooms: Sequence[tuple[str, str]]
    token: str
    positions: dict[str, int] | None
    account: str = ""
    since: float = 0.0
    expires: float = 0.0
    about: About = UNKNOWN


class Attendance(Protocol):
    """The view of the hub's users that a shared log has. No method blocks."""

    def users(self) -> Iterable[OwnUser]:
        """Return the users of this process that a log knows."""
        ...

    def token(self, user: str) -> str:
        """Return a user's token, or nothing."""
        ...

    def clients(self) -> int:
        """Return the number of clients of this process, detached ones too."""
        ...

    def positions(self) -> dict[str, int]:
        """Return the newest position that is folded in each room with members here."""
        ...
