"""Remembers when people of a slow room have spoken."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from trio_chat.moderation.fields import SETTINGS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

# Nothing asks for what was longer ago.
SECONDS: Final = SETTINGS["slow"].most


class Pace:
    """The last time at which each person spoke, within an hour. Seconds of a clock of the caller's.

    A person who logs in or out has another id from then on. So a message counts for the person and
    for the device.
    """

    __slots__ = ("_spoke",)

    def __init__(self, spoke: Mapping[str, float] | None = None) -> None:
        # In the order of the times.
        self._spoke: dict[str, float] = dict(spoke or {})

    def note(self, ids: Collection[str], now: float) -> None:
        """Note that somebody with these ids speaks now."""
        for who in ids:
            self._spoke.pop(who, None)
            self._spoke[who] = now
        while (oldest := next(iter(self._spoke))) and self._spoke[oldest] + SECONDS <= now:
            del self._spoke[oldest]

    def ago(self, ids: Collection[str], now: float) -> float:
        """Return how many seconds ago somebody with these ids spoke, or `SECONDS`."""
        return min((now - self._spoke[who] for who in ids if who in self._spoke), default=SECONDS)

    def ages(self, now: float) -> dict[str, float]:
        """Return how many seconds ago each person spoke, the longest first."""
        return {who: now - spoke for who, spoke in self._spoke.items()}
