"""Introductions of people, and questions about people, rooms and the server.

Clients of IRC introduce themselves, and ask about people, rooms and the server in more words than
other clients. A dialect makes these commands, and shows these events; the hub knows the facts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Literal

from attrs import define, field

if TYPE_CHECKING:
    from trio_chat.dialects import Encoding
    from trio_chat.protocol.events import Limits, Member
    from trio_chat.protocol.names import Name


@define
class About:
    """A person's own words about itself: a user name, a real name, a reason for being away.

    Each is empty if the person has not said it. `bot` means that a program speaks.
    """

    user: str = ""
    real: str = ""
    away: str = ""
    bot: bool = False


# Nicks that one connection may be told of.
MOST_WATCHED: Final = 100

# One answer has at most so many people who had a nick.
MOST_PAST: Final = 10

UNKNOWN: Final = About()
"""The words of a person that has said nothing. Nobody changes this."""

# --- commands -------------------------------------------------------------------------------------


@define
class AwaitIntroduction:
    """Use this encoding, and carry out nothing before the client has introduced itself."""

    encoding: Encoding


@define
class Introduce:
    """Take a nick, and say who one is. The reply is a `ServerShown`."""

    name: Name
    user: str
    real: str


@define
class LeaveRooms:
    """Leave all rooms."""


@define
class SetAway:
    """Say that one is away, and why; an empty text says that one is back."""

    text: str


@define
class SetRealName:
    """Change one's real name."""

    text: str


@define
class SetBot:
    """Say whether one is a program. The reply is a `PeopleShown` with the person of this nick."""

    name: Name
    bot: bool


@define
class ShowServer:
    """Ask about the server: how many are here, and what it greets people with."""


@define
class ShowPeople:
    """Ask about people: those in a room, those with these nicks, or those that a mask is for.

    In a mask `*` is for any text and `?` for any character. It finds only people who are in a room
    with the asker.
    """

    names: list[Name] = field(factory=list)
    room: str | None = None
    mask: str = ""


@define
class ShowPastNick:
    """Ask who has had a nick lately, and has it no more: at most so many, the newest first."""

    name: Name
    limit: int


@define
class Watch:
    """Be told when people with these nicks come and go, as long as the connection is there.

    The reply is a `Watched`.
    """

    names: list[Name]


@define
class Unwatch:
    """Be told no more of these nicks, or with `None` of any."""

    names: list[Name] | None = None


@define
class ShowWatched:
    """Ask for the nicks that one is told of. With `here`, the reply says who of them is here."""

    here: bool = False


@define
class DescribeRooms:
    """Ask about all rooms, or about one."""

    room: str | None = None


# --- events ---------------------------------------------------------------------------------------


@define
class ServerShown:
    """The facts about the server. Times are in seconds since 1970.

    `awaited` counts the clients that have yet to introduce themselves. `operators` counts the
    operators of the server who are here.
    """

    version: str
    began: float
    people: int
    most_people: int
    awaited: int
    operators: int
    rooms: int
    limits: Limits
    line_bytes: int
    greeting: list[str] = field(factory=list)


@define
class PersonShown:
    """A person, as it may be shown to the asker.

    `rooms` are those that both are in. `idle` is in seconds, and -1 if it is unknown. Only the
    asker itself has an `address` here. `operator` says that it is an operator of the server. Only
    people in a room with it and other operators are told so.
    """

    person: str
    nick: str
    about: About
    account: str = ""
    rooms: list[str] = field(factory=list)
    since: float = 0.0
    idle: float = -1.0
    tls: bool = False
    address: str = ""
    operator: bool = False


@define
class PeopleShown:
    """The people that were asked about; of a room, if it has one."""

    people: list[PersonShown]
    room: str | None = None


@define
class PastNick:
    """A person who had a nick `until` a time, in seconds since 1970, with its words of then.

    `key` is the casefolded nick.
    """

    key: str
    nick: str
    person: str
    user: str
    real: str
    until: float


@define
class PastNickShown:
    """The people who had a nick lately, the newest first."""

    people: list[PastNick]


@define
class AboutChanged:
    """A person has changed its words about itself: that it is away, or its real name.

    `watched` means that its clients are told because they watch the nick.
    """

    author: str
    nick: str
    what: Literal["away", "real"]
    text: str
    watched: bool = False


@define
class Watched:
    """The watched people who are here, and the nicks that nobody has.

    `refused` are nicks that were too many.
    """

    here: list[Member] = field(factory=list)
    gone: list[str] = field(factory=list)
    refused: list[str] = field(factory=list)


@define
class WatchedListed:
    """The nicks that one is told of, as one has written them."""

    nicks: list[str]


@define
class RoomShown:
    """A room, the number of its members, and its topic.

    `made` is since when it has been there, in seconds since 1970.
    """

    room: str
    members: int
    topic: str
    made: float


@define
class RoomsDescribed:
    """The rooms that were asked about, sorted by name; `more` is the number of others."""

    rooms: list[RoomShown]
    more: int = 0
