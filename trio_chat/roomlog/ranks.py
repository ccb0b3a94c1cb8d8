"""Ranks choose the room whose history is forgotten when a new room needs its place.

A room in use is never forgotten: a room with members, or a kept one. A room with a past is not
forgotten either: its kept entries span a day or more. Of the other rooms, a room with the fewest
entries is forgotten first. Among equals, it is the room that has been silent longest.

So a flood of new rooms pushes out its own rooms. To push out a room of a hundred entries, an
attacker needs a hundred entries in each of `max_rooms` rooms. The day cannot be faked.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable
from itertools import chain
from typing import TYPE_CHECKING, Final, TypeAlias

from trio_chat.errors import Code, Refused
from trio_chat.protocol.events import PERSISTENT

if TYPE_CHECKING:
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet

    from trio_chat.roomlog import Result

RoomTest: TypeAlias = Callable[[str], bool]

# A room has a past if its oldest and newest kept entries are this many seconds apart.
PAST_SECONDS: Final = 86_400.0
# After a search for a room to forget has failed, the next one waits this many seconds.
LOOK_AGAIN_SECONDS: Final = 1.0

NO_PLACE: Final = (
    "not said: the server can keep no more rooms; please go to one where people have talked before"
)

# The tier of rooms with a past. They are never searched.
PAST: Final = -1


class Ranks:
    """The rooms with a history, in tiers by the number of their kept entries.

    The tiers hold rooms of 0, 1, 2 to 3, 4 to 7 entries, and so on in powers of two. Within a tier,
    the rooms that spoke last come last.
    """

    def __init__(self) -> None:
        """Begin without rooms."""
        self._tiers: list[OrderedDict[str, None]] = [OrderedDict()]
        self._tier_of: dict[str, int] = {}
        self._look_again = 0.0

    def spoke(self, room: str, kept: int) -> None:
        """Record that a room has spoken and now keeps this many entries."""
        tier = kept.bit_length()
        before = self._tier_of.get(room)
        if before == tier:
            self._tiers[tier].move_to_end(room)
        elif before != PAST:
            self.drop(room)
            self._put(room, tier)

    def emptied(self, room: str) -> None:
        """Record that all entries of a room are gone. The room then has no past."""
        if self._tier_of.get(room):
            self.drop(room)
            self._put(room, 0)

    def drop(self, room: str) -> None:
        """Remove a room: it has no history."""
        tier = self._tier_of.pop(room, PAST)
        if tier != PAST:
            del self._tiers[tier][room]

    def in_order(self) -> list[str]:
        """Return all rooms. The rooms of a tier come in their order."""
        past = (room for room, tier in self._tier_of.items() if tier == PAST)
        return [*chain.from_iterable(self._tiers), *past]

    def least(self, held: RoomTest, has_past: RoomTest) -> str | None:
        """Return the room to forget next, or `None` if there was none a moment ago.

        `held` says whether a room has to stay now. `has_past` says whether its entries span
        `PAST_SECONDS`. Few rooms are asked about, and each at most once.
        """
        if time.monotonic() < self._look_again:
            return None
        for tier in self._tiers:
            # Each room is looked at once. A held room moves to the end, as if it had spoken.
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
    """Return drafts with all persistent entries in `rooms` refused, as there is no place for them.

    If `rooms` is empty, this returns `drafts` itself.
    """
    if not rooms:
        return drafts
    refusal = Refused(NO_PLACE, code=Code.TOO_MANY_ROOMS, limit="max_rooms")
    return [
        refusal if isinstance(draft, PERSISTENT) and draft.room in rooms else draft
        for draft in drafts
    ]
