"""The order of a room's persistent entries: dense positions, and times that only grow.

A time is a whole number of milliseconds, because documents show three decimals. No two entries of a
room share a time, so a time that a client has seen identifies one entry and all entries before it.
Entries of one append are a millisecond apart. So are all entries while the clock is behind: it was
set back, or the room gets more than a thousand entries a second.
"""

from __future__ import annotations

import time
from collections import defaultdict
from typing import TYPE_CHECKING, Final

from trio_chat.protocol.events import PERSISTENT, Held, TopicSet

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from trio_chat.protocol.events import PersistentEntry
    from trio_chat.roomlog import Result

# The end of the year 9999, in seconds since 1970. Later times cannot be shown as a date.
LAST_SECOND: Final = 253_402_300_799.0


def milliseconds(seconds: float) -> int:
    """Round seconds to whole milliseconds."""
    return round(seconds * 1000)


def now() -> int:
    """Return the milliseconds since 1970."""
    return milliseconds(time.time())


def by_room(drafts: Iterable[Result]) -> dict[str, list[PersistentEntry]]:
    """Group the persistent drafts by room, and keep their order. Passed messages are among them."""
    rooms: defaultdict[str, list[PersistentEntry]] = defaultdict(list)
    for draft in drafts:
        if isinstance(draft, PERSISTENT):
            rooms[draft.room].append(draft)
        elif isinstance(draft, Held) and draft.message is not None:
            rooms[draft.room].append(draft.message)
    return rooms


def put_after(
    position: int, when: int, entries: Sequence[PersistentEntry], clock: int
) -> tuple[int, TopicSet | None]:
    """Give new entries of a room their positions and times, after those of its newest entry.

    Returns the time of the last entry, and the newest topic among the entries or `None`. All times
    are in milliseconds since 1970.
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
