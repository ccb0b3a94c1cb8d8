"""Accounts: who may be called what, proved by passwords, codes and device tokens.

`accounts` has the class `People`, which a chat calls. `passwords` has the rules for passwords, and
`hasher` hashes them. `tokens` makes tokens and codes. `throttle` slows down who guesses. `names`
knows whose a nick is. `mail` has the private messages that wait, and `reports` those to moderators.
`ignored` has the people whom accounts ignore, and `read_markers` how far accounts have read their
rooms. `administration` is what an operator may do. `keeping` is the interface of a store, with the
queries in `rows` and the tables in `schema`. `store` is a file, and `redis` is for several nodes.
`offline` opens the file for the operator while no daemon runs.

Nothing here knows of connections, rooms or commands.
"""

from __future__ import annotations

from collections.abc import Mapping

from attrs import field, frozen

from trio_chat.people.reports import Report
from trio_chat.protocol.names import Name


@frozen
class Identity:
    """An account: its id, `a.` and 16 characters, its nick, and the second since 1970 it was made.

    `name` has the keys of the time when the account was made: those are taken.
    """

    id: str
    name: Name
    made: float = 0.0


@frozen
class LoggedIn:
    """The account that somebody has proved to be, and what only that person may see, once.

    `device` is the number of the device with `token`, or 0 without one. `recovery` is a new
    recovery code, or empty. `expires` is when the login ends, in seconds since 1970; 0 for never.
    `read_markers` has how far the account has read its rooms, in seconds since 1970.
    """

    identity: Identity
    device: int = 0
    token: str = field(default="", repr=False)
    recovery: str = field(default="", repr=False)
    expires: float = 0.0
    read_markers: Mapping[str, float] = field(factory=dict)


@frozen
class Device:
    """A device that stays logged in. Times are in seconds since 1970."""

    number: int
    label: str
    made: float
    seen: float


@frozen
class Summary:
    """An account as the operator's list shows it. Times are in seconds since 1970.

    `seen` is the last login, or 0.
    """

    id: str
    nick: str
    made: float
    seen: float
    devices: int


@frozen
class Waiting:
    """A private message that waits. `time` is when it was sent, in seconds since 1970."""

    number: int
    sender: str
    sender_nick: str
    receiver: str
    receiver_nick: str
    text: str = field(repr=False)
    time: float


@frozen
class Kept:
    """All that is kept of an account, but no secret. Times are in seconds since 1970.

    `networks` has a time for each network that the account has logged in from: the last login. The
    networks themselves are not kept. `failures` counts the wrong passwords since the last login.
    `messages` are the private messages that wait for the account, and those of it that wait for
    others. `ignored` has the nicks of the people whom the account ignores,
    and `reports` those that it has made. `read_markers` has how far it has read its rooms.
    """

    id: str
    nick: str
    made: float
    seen: float
    has_password: bool
    has_recovery_code: bool
    failures: int
    devices: tuple[Device, ...]
    networks: tuple[float, ...]
    messages: tuple[Waiting, ...]
    ignored: tuple[str, ...]
    reports: tuple[Report, ...]
    read_markers: Mapping[str, float]
