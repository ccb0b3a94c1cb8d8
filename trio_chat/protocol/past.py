"""Questions about the past of rooms, by times and by the ids of messages.

Clients of IRC ask so (CHATHISTORY). A dialect makes these commands, and the hub knows the answers.
"""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

from attrs import define, field

# Messages in one answer, at most.
MOST_MESSAGES: Final = 100

Side: TypeAlias = Literal["latest", "before", "after", "around", "between"]


@define
class Mark:
    """A place in the past of a room: the message with this id, or else a time in seconds."""

    id: str = ""
    time: float = 0.0


@define
class ShowMessages:
    """Ask for at most `limit` messages of a room. The reply is an `EntriesShown`.

    `side` says where they are: the latest, those before, after or around the mark, or those between
    two marks. The latest ones are those after the mark, if there is one. The messages at the marks
    are left out, except with `around`. Of messages between two marks, those next to the first one
    count first.
    """

    room: str
    side: Side
    limit: int
    marks: list[Mark] = field(factory=list)


@define
class RemoveMessage:
    """Take the text of one message out of a room's history, as `Remove` does.

    A `reason` is for the messages of others, and else is left out.
    """

    room: str
    id: str
    reason: str = ""


@define
class ShowActiveRooms:
    """Ask for at most `limit` of one's rooms by their newest message, between two times.

    The rooms next to the first time count first.
    """

    first: float
    second: float
    limit: int


@define
class ActiveRoom:
    """A room, and the time of its newest message in seconds since 1970."""

    room: str
    time: float


@define
class ActiveRooms:
    """The rooms that were asked about, those with the oldest messages first."""

    rooms: list[ActiveRoom]
