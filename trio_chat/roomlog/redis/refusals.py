"""Refusals of drafts: what the engine's results mean, and what people read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trio_chat.errors import Code, Refused, nobody_to_resume
from trio_chat.protocol.events import (
    Entered,
    Gone,
    Held,
    Invited,
    Moved,
    NickChanged,
    PersonChanged,
    Ruled,
    Told,
)
from trio_chat.roomlog import holding
from trio_chat.roomlog.claims import nick_taken, room_full, too_many_rooms
from trio_chat.roomlog.rules import TEXTS_GONE, out_of_bounds

if TYPE_CHECKING:
    from collections.abc import Callable

    from trio_chat.protocol.events import Entry

# Results of drafts, as the script `turn` explains them.
MOVED: Final = -1
TOO_NEW: Final = -2
OUT_OF_BOUNDS: Final = -4
NO_TEXTS: Final = -5
TOO_MANY_OF_PERSON: Final = -6
ROOM_FULL: Final = -7

OUT_OF_MEMORY: Final = "the server's memory is full; please try again later"
UNDONE: Final = "not done: the server's store has lost it; please try again"
DAMAGED: Final = "not done: the server's store is damaged; please tell the operator"
OLDER_NODES: Final = "not done: a node of this server has an older version; please try again later"
ELSEWHERE: Final = "the client is in another process now"
UNREACHABLE: Final = "the one you mean has lost the connection; please try again later"

# The refusals that are the same for all drafts.
_OF_ALL: Final[dict[int, Callable[[], Refused]]] = {
    MOVED: lambda: Refused(ELSEWHERE, code=Code.CLIENT_LEFT),
    TOO_NEW: lambda: Refused(OLDER_NODES, code=Code.CANNOT_WRITE),
    NO_TEXTS: lambda: Refused(TEXTS_GONE, code=Code.NO_SUCH_ACTION),
    TOO_MANY_OF_PERSON: holding.too_many_of_person,
}


def cannot_write(sentence: str) -> Refused:
    """Return the refusal of any draft, for a reason that is the engine's."""
    return Refused(sentence, code=Code.CANNOT_WRITE)


def refusal_of(draft: Entry, result: object) -> Refused | None:
    """Return why a draft with this result is refused, or `None` if it is not."""
    if isinstance(result, int) and (known := _OF_ALL.get(result)):
        return known()
    refusal: Refused | None = None
    match draft:
        case NickChanged(name=name) | PersonChanged(name=name):
            refusal = nick_taken(name)
        case Ruled() if result == OUT_OF_BOUNDS:
            refusal = out_of_bounds(draft)
        case Entered(room_name=shown) | Ruled(room_name=shown):
            refusal = room_full(shown) if result == ROOM_FULL else too_many_rooms()
        case Held(state=state, number=number):
            waits = state == "waits"
            refusal = holding.too_many() if waits else holding.no_such_message(number)
        case Told() | Invited() if result == 0:
            refusal = Refused("the one you mean has left", code=Code.CLIENT_LEFT)
        case Told() | Invited():
            refusal = Refused(UNREACHABLE, code=Code.UNREACHABLE)
        case Gone():
            refusal = Refused(ELSEWHERE, code=Code.CLIENT_LEFT)
        case Moved():
            refusal = nobody_to_resume()
        case _:
            pass
    return refusal
