"""Ranks say which room's history makes place for that of a new one.

A room in use is never forgotten: one with members, or a kept one. Nor is a room with a past: what
it keeps was said over a day or longer. Of the others a room with the fewest messages goes first,
and of such rooms the one that has been silent longest.

So a flood of new rooms pushes out its own. To push out a room of a hundred messages, an attacker
needs as many in each of `max_rooms` rooms. Nobody can make up the day.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeAlias

from trio_chat.errors import Code, Refused
from trio_chat.protocol.events import PERSISTENT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

    from trio_chat.roomlog import Result

RoomTest: TypeAlias = Callable[[str], bool]

# From the oldest message that a room keeps to its newest, in seconds, if the room has a past.
PAST_SECONDS: Final = 86_400.0
# After a look at all rooms that was in vain, until the next one.
LOOK_AGAIN_SECONDS: Final = 1.0

NO_PLACE: Final = (
    "not said: the server can keep no more rooms; please go to one where people have talked before"
)

# The tier of rooms with a past, in which nobody looks.
PAST: Final = -1


class Ranks:
    """The rooms that have a history, by what they keep.

    The tiers have rooms of 0, 1, 2 to 3, 4 to 7 messages, and so on in powers of two. In a tier
    those that spoke last come last.
    """

    def __init__(self) -> None:
        """No rooms."""
        self._tiers: list[OrderedDict[str, None]] = [OrderedDict()]
        self._tier_of: dict[str, int] = {}
        self._look_again = 0.0

    def spoke(self, room: str, kept: int) -> None:
        """Note that a room has spoken, and keeps so many messages now."""
        tier = kept.bit_length()
        before = self._tier_of.get(room)
        if before == tier:
            self._tiers[tier].move_to_end(room)
        elif before != PAST:
            self.drop(room)
            self._put(room, tier)

    def emptied(self, room: str) -> None:
        """Note that all messages of a room are gone, and its past with them."""
        if self._tier_of.get(room):
            self.drop(room)
            self._put(room, 0)

    def drop(self, room: str) -> None:
        """Note that a room has no history."""
        tier = self._tier_of.pop(room, PAST)
        if tier != PAST:
            del self._tiers[tier][room]

    def least(self, held: RoomTest, has_past: RoomTest) -> str | None:
        """The room to forget next; `None` if there is none, or was none a moment ago.

        `held` tells of a room whether it has to stay now, and `has_past` whether what it keeps was
        said over `PAST_SECONDS`. That is asked of few rooms, and of each at most once.
        """
        if time.monotonic() < self._look_again:
            return None
        for tier in self._tiers:
            # Each is looked at once: a room that is held goes to the end, as if it had spoken.
            for _ in range(len(tier)):
                room = next(iter(tier))
                if held(room):
                    tier.move_to_end(room)
                elif has_past(room):
                    self.drop(room)
                    self._tier_of[room] = PAST
                else:
                    return room
        self._look_again = time.monotonic() + LOOK_AGAIN_SECONDS
        return None

    def _put(self, room: str, tier: int) -> None:
        while len(self._tiers) <= tier:
            self._tiers.append(OrderedDict())
        self._tiers[tier][room] = None
        self._tier_of[room] = tier


def without(rooms: AbstractSet[str], drafts: Sequence[Result]) -> Sequence[Result]:
    """Drafts, with what would be kept of these rooms refused, as there is no place for them.

    If there are no such rooms, `drafts` itself is given back.
    """
    if not rooms:
        return drafts
    refusal = Refused(NO_PLACE, code=Code.TOO_MANY_ROOMS, limit="max_rooms")
    return [
        refusal if isinstance(draft, PERSISTENT) and draft.room in rooms else draft
        for draft in drafts
    ]
