"""Ids of messages, for clients that know no positions.

An id has the position, and a hash of the log and the room. So no other message of any room and any
log has it, and the position can be read from it again.
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Final

# Digits of the greatest position, which is below 2 ** 63.
_DIGITS: Final = 19


def message_id(log: str, room: str, position: int) -> str:
    """Return the id of an entry of a room. `log` is the identity of the log."""
    return f"{position}-{_room_id(log, room)}"


def position_of(text: str, log: str, room: str) -> int | None:
    """Return the position that an id is for; `None` if it is of another room or log."""
    number, _, hashed = text.partition("-")
    if hashed != _room_id(log, room) or not (number.isascii() and number.isdigit()):
        return None
    return int(number[:_DIGITS])


@lru_cache(maxsize=1_024)
def _room_id(log: str, room: str) -> str:
    return hashlib.blake2b(f"{log} {room}".encode(), digest_size=6).hexdigest()
