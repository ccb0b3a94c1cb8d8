"""The memory that entries take, for those that keep them within a bound."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection

    from trio_chat.protocol.events import PersistentEntry

# An entry takes so much beside its text, on a Python of 64 bits: the object, position, time, and
# references to it. Its room, nick and author are others' too.
ENTRY_BYTES: Final = 200
# A character takes at most so much.
WIDEST_BYTES: Final = 4


def weight(entries: Collection[PersistentEntry]) -> int:
    """About how many bytes of memory entries take, or up to four times as many.

    `sys.getsizeof` would tell exactly, and cost each message half a microsecond more.
    """
    size = ENTRY_BYTES * len(entries)
    for entry in entries:
        size += len(entry.text) if entry.text.isascii() else WIDEST_BYTES * len(entry.text)
    return size
