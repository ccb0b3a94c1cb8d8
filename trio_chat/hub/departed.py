"""Guests who have left: moderators may still act on the networks of those who said something.

Otherwise a guest who always leaves at once could never be banned.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from trio_chat.protocol.events import PersistentEntry

# The guests that are known at most, and for how many seconds.
MOST_DEPARTED: Final = 10_000
KEPT_SECONDS: Final = 86_400.0


class Departed:
    """The tags of the networks of guests who have left. It ends with the process."""

    def __init__(self) -> None:
        # The oldest first, each with when it left in seconds since 1970.
        self._guests: OrderedDict[str, tuple[float, tuple[str, ...]]] = OrderedDict()

    def note(self, guest: str, tags: tuple[str, ...]) -> None:
        """Note that a guest with this id leaves, and what its networks are."""
        if not tags:
            return
        now = time.time()
        self._guests[guest] = now, tags
        while len(self._guests) > MOST_DEPARTED or self._oldest() < now - KEPT_SECONDS:
            self._guests.popitem(last=False)

    def _oldest(self) -> float:
        return next(iter(self._guests.values()))[0]

    def tags_of(self, entry: PersistentEntry) -> tuple[str, ...]:
        """Return the tags of the author of an entry, the narrowest first; nothing for others."""
        left, tags = self._guests.get(entry.author, (0.0, ()))
        return tags if left >= time.time() - KEPT_SECONDS else ()
