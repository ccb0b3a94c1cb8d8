"""Spans of time as moderators write them: `10m`, `2h`, `3d` or `forever`."""

from __future__ import annotations

import re
import time
from typing import Final

from trio_chat.errors import Code, Refused

MINUTE: Final = 60
HOUR: Final = 60 * MINUTE
DAY: Final = 24 * HOUR

_UNITS: Final = {"m": MINUTE, "h": HOUR, "d": DAY}
# The longest that is not for ever.
LONGEST: Final = 9999 * DAY
_SHOWN: Final = {"day": DAY, "hour": HOUR, "minute": MINUTE, "second": 1}
_SPAN: Final = re.compile(r"([0-9]{1,4})([mhd])", re.ASCII)
FOREVER: Final = "forever"


def parse_span(word: str) -> int | None:
    """Return the seconds of a TIME; `None` is for ever.

    Raises `Refused` for anything else. A number without a unit is refused, too: people mean minutes
    or days by it.
    """
    if word.lower() == FOREVER:
        return None
    found = _SPAN.fullmatch(word.lower())
    if found is None or not int(found[1]):
        raise Refused(f"{word!r} is no TIME: 10m, 2h, 3d or forever", code=Code.BAD_USAGE)
    return int(found[1]) * _UNITS[found[2]]


def is_span(word: str) -> bool:
    """Whether a word is meant as a TIME: a digit begins it, or it is `forever`."""
    return word[:1].isdigit() or word.lower() == FOREVER


def describe_span(seconds: int | None) -> str:
    """Say how long something lasts: `for 10 minutes`, or `for ever`."""
    if seconds is None:
        return "for ever"
    unit = next(unit for unit in _SHOWN if seconds % _SHOWN[unit] == 0)
    count = seconds // _SHOWN[unit]
    return f"for {count} {unit}{'' if count == 1 else 's'}"


def describe_end(until: float | None, now: float) -> str:
    """Say until when something lasts: the time (UTC), with the date if that is another day."""
    if until is None:
        return "for ever"
    same_day = time.gmtime(until)[:3] == time.gmtime(now)[:3]
    form = "until %H:%M UTC" if same_day else "until %Y-%m-%d %H:%M UTC"
    return time.strftime(form, time.gmtime(until))
