"""The order of a room's persistent entries: dense positions, and times that only grow.

A time is a whole number of milliseconds, for documents show three decimals. So a time that someone
was shown is that of one entry alone, and tells what came before it. Entries that were said at once
are a millisecond apart. So are all others while the clock is behind: it was set back, or the room
has had more than a thousand entries a second.
"""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from trio_chat.protocol.events import PERSISTENT, TopicSet

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trio_chat.protocol.events import PersistentEntry
    from trio_chat.roomlog import Result

# The end of the year 9999, in seconds since 1970: no later time can be shown as a date.
LAST_SECOND: Final = 253_402_300_799.0


def milliseconds(seconds: float) -> int:
    """The nearest whole number of milliseconds."""
    return round(seconds * 1000)


def now() -> int:
    """Milliseconds since 1970."""
    return milliseconds(time.time())


def by_room(drafts: Iterable[Result]) -> dict[str, list[PersistentEntry]]:
    """The persistent ones among drafts by room, in their order."""
    rooms: defaultdict[str, list[PersistentEntry]] = defaultdict(list)
    for draft in drafts:
        if isinstance(draft, PERSISTENT):
            rooms[draft.room].append(draft)
    return rooms


def put_after(
    position: int, when: int, entries: Sequence[PersistentEntry], clock: int
) -> tuple[int, TopicSet | None]:
    """Give a room's new entries their places, after the position and the time of its newest one.

    Gives the time of the last of them, and the newest topic among them. All times are in
    milliseconds since 1970.
    """
    topic = None
    when = max(when, clock - 1)
    for entry in entries:
        position += 1
        when += 1
        entry.position = position
        entry.time = when / 1000
        if type(entry) is TopicSet:
            topic = entry
    return when, topic
