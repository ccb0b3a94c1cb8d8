"""Changes of a room as IRC has them: modes that are given and taken, and bans as a list.

A mode is given or taken only where it changes something. So `-v` takes no operator's role away, and
`+v` takes none either. A dialect makes these commands, and shows these events.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field

if TYPE_CHECKING:
    from trio_chat.protocol.names import Name


@define
class ChangeRole:
    """Give a person a role in a room, or take it away. `role` is `operator` or `voice`."""

    name: Name
    role: str
    given: bool
    room: str


@define
class ChangeSetting:
    """Give a setting of a room this value, or end that it has this value.

    The value may be a key, which nothing shows.
    """

    setting: str
    value: str = field(repr=False)
    given: bool
    room: str


@define
class Ban:
    """Ban a person or a network from a room, or end that ban.

    `key` is the id of a person, or `net:` and the tag of a network. To end a ban, `nick` may be in
    its place: the casefolded nick that the person had when the ban came.
    """

    key: str
    given: bool
    room: str
    nick: str = ""


@define
class ListBans:
    """Ask who is banned from a room. Nobody but its operators learns anything."""

    room: str


@define
class BansShown:
    """The keys of the bans of a room that count now."""

    room: str
    keys: list[str] = field(factory=list)
