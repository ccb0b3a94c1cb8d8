"""Read markers: up to when a person has read, for all devices of that person.

Clients of IRC move them and ask for them (MARKREAD).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from attrs import define

if TYPE_CHECKING:
    from trio_chat.protocol.names import Name

# Markers of one person. Beyond that, the one of the earliest time is forgotten.
MOST_MARKERS: Final = 256


@define
class MarkRead:
    """Say up to when one has read a room, or what somebody with a nick has told one.

    Without a time one asks. The reply is a `ReadUntil`.
    """

    room: str | None = None
    name: Name | None = None
    until: float | None = None


@define
class ReadUntil:
    """Up to when one has read a room, or what somebody with a nick has told one.

    The time is in seconds since 1970, and 0 if it is unknown.
    """

    until: float
    room: str = ""
    nick: str = ""
