"""The amount of history that a room log keeps."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from trio_chat.config.settings import Settings

DAY = 86_400


@frozen
class Retention:
    """At most `entries` a room, at most `rooms`, and no entries older than `days` (0: no limit).

    All rooms together take at most `bytes` (0: no limit), and leave `free_bytes` of the disk free.
    """

    entries: int
    rooms: int
    days: float = 0
    bytes: int = 0
    free_bytes: int = 0

    def oldest(self) -> float:
        """The time before which nothing is kept, in seconds since 1970."""
        return time.time() - self.days * DAY if self.days else 0.0


def retention(settings: Settings) -> Retention:
    """Return the retention in these settings."""
    return Retention(
        settings.history_entries,
        settings.max_rooms,
        settings.history_days,
        settings.max_store_bytes,
        settings.min_free_disk_bytes,
    )
