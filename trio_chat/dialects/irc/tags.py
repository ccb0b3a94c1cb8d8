"""Times: as the values of tags, and as people read them."""

from __future__ import annotations

import re
import time
from calendar import timegm
from functools import lru_cache
from typing import Final

_TIME: Final = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,3})\d*)?Z", re.ASCII)
_SECONDS: Final = "%Y-%m-%dT%H:%M:%S"
_DATE: Final = "%Y-%m-%d %H:%M:%S UTC"


def server_time(seconds: float) -> str:
    """Return a time in seconds since 1970 as server-time has it, in milliseconds."""
    # Rounded as a whole: .9996 is the next second.
    second, milliseconds = divmod(round(seconds * 1000), 1000)
    return f"{_second(second)}.{milliseconds:03}Z"


@lru_cache(maxsize=64)
def _second(second: int) -> str:
    return time.strftime(_SECONDS, time.gmtime(second))


def shown_time(seconds: float) -> str:
    """Return a time in seconds since 1970 as people read it."""
    return time.strftime(_DATE, time.gmtime(seconds))


def read_time(text: str) -> float | None:
    """Return the seconds since 1970 of a time as server-time has it; `None` if it is none."""
    found = _TIME.fullmatch(text)
    if found is None:
        return None
    try:
        second = timegm(time.strptime(found[1], _SECONDS))
    except ValueError:
        return None
    return second + int((found[2] or "0").ljust(3, "0")) / 1000
