"""The values of tags that the server gives: times and the ids of messages."""

from __future__ import annotations

import hashlib
import time
from functools import lru_cache


def server_time(seconds: float) -> str:
    """Return a time in seconds since 1970 as server-time has it, in milliseconds."""
    # Rounded as a whole: .9996 is the next second.
    second, milliseconds = divmod(round(seconds * 1000), 1000)
    return f"{_second(second)}.{milliseconds:03}Z"


@lru_cache(maxsize=64)
def _second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


def message_id(log: str, room: str, position: int) -> str:
    """Return the id of an entry: no other entry of any room and any log has it."""
    return f"{position}-{_room_id(log, room)}"


@lru_cache(maxsize=1_024)
def _room_id(log: str, room: str) -> str:
    return hashlib.blake2b(f"{log} {room}".encode(), digest_size=6).hexdigest()
