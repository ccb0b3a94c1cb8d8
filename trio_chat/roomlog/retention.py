"""How much of what was said a room log keeps."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from trio_chat.config.settings import Settings

DAY = 86_400


@frozen
class Retention:
    """`entries` a room, of at most so many `rooms`, none older than `days` (0: however old).

    All of it takes at most so many `bytes` (0: no such limit), and leaves `free_bytes` of the disk.
    """

    entries: int
    rooms: int
    days: float = 0
    bytes: int = 0
    free_bytes: int = 0

    def oldest(self) -> float:
        """The time, in seconds since 1970, before which nothing is kept."""
        return time.time() - self.days * DAY if self.days else 0.0


def retention(settings: Settings) -> Retention:
    """What these settings say."""
    return Retention(
        settings.history_entries,
        settings.max_rooms,
        settings.history_days,
        settings.max_store_bytes,
        settings.min_free_disk_bytes,
    )
