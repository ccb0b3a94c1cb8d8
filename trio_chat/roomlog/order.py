"""The order of a room's persistent entries: dense positions, and times that only grow.

A time is a whole number of milliseconds, because documents show three decimals. No two entries of a
room share a time, so a time that a client has seen identifies one entry and all entries before it.
Entries of one append are a millisecond apart. So are all entries while the clock is behind: it was
set back, or the room gets more than a thousand entries a second.
"""

from __future__ import annotations

import time
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
    rooms: dict[str, list[PersistentEntry]] = {}
    for draft in drafts:
        if isinstance(draft, PERSISTENT):
            entry: PersistentEntry = draft
        elif isinstance(draft, Held) and draft.message is not None:
            entry = draft.message
        else:
            continue
        # In most turns each room has one entry. So this costs less than a `defaultdict`.
        if (entries := rooms.get(entry.room)) is None:
            rooms[entry.room] = [entry]
        else:
            entries.append(entry)
    return rooms


def put_after(
    position: int, when: int, entries: Sequence[PersistentEntry], clock: int
) -> tuple[int, TopicSet | None, int]:
    """Give new entries of a room their positions and times, after those of its newest entry.

    Returns the time of the last entry, the newest topic among the entries or `None`, and the bytes
    of memory that their texts take. All times are in milliseconds since 1970.
    """
    topic, size = None, 0
    when = max(when, clock - 1)
    for entry in entries:
        position += 1
        when += 1
        entry.position = position
        entry.time = when / 1000
        size += entry.text.__sizeof__()
        if type(entry) is TopicSet:
            topic = entry
    return when, topic, size
