"""The memory that entries take, for the parts of the chat that keep them within a bound."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trio_chat.protocol.events import Removed

if TYPE_CHECKING:
    from collections.abc import Collection

    from trio_chat.protocol.events import PersistentEntry

# A run of positions in a `Removed`.
RUN_BYTES: Final = 130

# An entry without its text, on a 64-bit Python: the object, its position, its time and the
# references to it. Other entries share its room, nick and author.
ENTRY_BYTES: Final = 150


def weight(entries: Collection[PersistentEntry]) -> int:
    """Return about how many bytes of memory entries take.

    This calls `__sizeof__`, because `sys.getsizeof` costs six times as much.
    """
    size = ENTRY_BYTES * len(entries)
    for entry in entries:
        size += entry.text.__sizeof__()
        if type(entry) is Removed:
            size += RUN_BYTES * len(entry.positions)
    return size
